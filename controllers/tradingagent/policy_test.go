package tradingagent

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

func TestReferences(t *testing.T) {
	for _, test := range []struct {
		name   string
		chain  []policy
		change func(*scope)
		reason string
	}{
		{"everything is there", references, func(*scope) {}, ""},
		{"no account", references, func(s *scope) { s.account, s.ledger = nil, nil }, v1alpha1.ReasonAccountNotFound},
		{"no policy", references, func(s *scope) { s.policy = nil }, v1alpha1.ReasonRiskPolicyNotFound},
		{"no pair", references, func(s *scope) { s.pairs = nil }, v1alpha1.ReasonAssetPairNotFound},
		{"no ledger", references, func(s *scope) { s.ledger = nil }, v1alpha1.ReasonLedgerNotFound},
		{"no secret", references, func(s *scope) {
			reconcile.StatusOf(s.ledger).Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonLedgerSecretNotFound, "", now)
		}, v1alpha1.ReasonLedgerSecretNotFound},
		{"ledger not looked at", references, func(s *scope) { s.ledger.Status.Conditions = nil }, v1alpha1.ReasonReferenceNotReady},
		{"pair not Ready", references, func(s *scope) {
			reconcile.StatusOf(&s.pairs[0]).Summarize(reconcile.Stall(v1alpha1.ReasonAliasCollision, ""), now)
		}, v1alpha1.ReasonReferenceNotReady},
		{"an edited policy that was Ready will do", references, func(s *scope) { s.policy.Generation++ }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := whole()
			test.change(s)
			if got := check(s, test.chain); got.reason != test.reason || (got.message == "") != got.ok() {
				t.Errorf("got %+v, want reason %q", got, test.reason)
			}
		})
	}
}
