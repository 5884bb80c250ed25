package reconcile

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// TestOwnReportWakesTheController guards against a lost wake-up: a pod that went
// away and came back within the time that a status write takes to return to the
// cache left an agent unready for good, because the second pass compared with
// the status before the first.
func TestOwnReportWakesTheController(t *testing.T) {
	unready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPodStarting}}
	cases := map[string]struct{ before, after client.Object }{
		"agent":   {&v1alpha1.TradingAgent{}, &v1alpha1.TradingAgent{Status: v1alpha1.TradingAgentStatus{Conditions: unready}}},
		"policy":  {&v1alpha1.RiskPolicy{}, &v1alpha1.RiskPolicy{Status: v1alpha1.RiskPolicyStatus{Agents: Count(1)}}},
		"pair":    {&v1alpha1.AssetPair{}, &v1alpha1.AssetPair{Status: v1alpha1.AssetPairStatus{Canonical: "BTC-USD"}}},
		"account": {&v1alpha1.TradingAccount{}, &v1alpha1.TradingAccount{Status: v1alpha1.TradingAccountStatus{Conditions: unready}}},
		"ledger":  {&v1alpha1.Ledger{}, &v1alpha1.Ledger{Status: v1alpha1.LedgerStatus{SchemaVersion: new(int64(3))}}},
	}
	for name, c := range cases {
		if !OwnChanges().Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}) {
			t.Errorf("%s: the arrival of the controller's own report does not wake it", name)
		}
		if OwnChanges().Update(event.UpdateEvent{ObjectOld: c.after, ObjectNew: c.after.DeepCopyObject().(client.Object)}) {
			t.Errorf("%s: an update that changes nothing wakes the controller", name)
		}
	}
	tick := &v1alpha1.TradingAgent{Status: v1alpha1.TradingAgentStatus{Trading: &v1alpha1.TradingStatus{Equity: "10001"}}}
	if Reported(&v1alpha1.TradingAgent{}, tick) {
		t.Error("the agent's own report counts as the controller's")
	}
}
