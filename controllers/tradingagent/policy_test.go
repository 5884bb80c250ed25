package tradingagent

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

func TestPolicies(t *testing.T) {
	elder := func(pair string) v1alpha1.TradingAgent {
		other := whole().agent.DeepCopy()
		other.Name, other.UID = "elder", "elder-uid"
		other.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: pair}}
		return *other
	}
	for _, test := range []struct {
		name   string
		chain  []policy
		change func(*scope)
		reason string
	}{
		{"everything is there", references, func(*scope) {}, ""},
		{"everything is right", rules, func(*scope) {}, ""},
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
		{"bad pair name", rules, func(s *scope) { s.agent.Spec.AssetPairs[0].Name = "EUR;USD" }, v1alpha1.ReasonInvalidSpec},
		{"the same pair twice", rules, func(s *scope) {
			s.agent.Spec.AssetPairs = append(s.agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "eur_usd"})
		}, v1alpha1.ReasonInvalidSpec},
		{"the same pair by an alias", rules, func(s *scope) {
			s.pairs[0].Spec.Aliases = []string{"FIBER"}
			s.agent.Spec.AssetPairs = append(s.agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "fiber"})
		}, v1alpha1.ReasonInvalidSpec},
		{"live on paper", rules, func(s *scope) { s.agent.Spec.Mode = v1alpha1.ModeLive }, v1alpha1.ReasonModeMismatch},
		{"currencies differ", rules, func(s *scope) { s.policy.Spec.Currency = "EUR" }, v1alpha1.ReasonCurrencyMismatch},
		{"an elder has the pair", rules, func(s *scope) { s.elders = []v1alpha1.TradingAgent{elder("eurusd")} }, v1alpha1.ReasonPairTaken},
		{"an elder has another pair", rules, func(s *scope) { s.elders = []v1alpha1.TradingAgent{elder("gbpusd")} }, ""},
		{"a looser limit does not stop the agent", rules, func(s *scope) {
			s.agent.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "2000"}}
		}, ""},
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

func TestNextStep(t *testing.T) {
	ended := func(s *scope, ago time.Duration) {
		s.pod.Status.Phase = corev1.PodFailed
		s.pod.Status.Conditions = nil
		s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ago))}}
	}
	for _, test := range []struct {
		name     string
		pod      bool
		mayStart bool
		change   func(*scope)
		step     podStep
	}{
		{"the first pod", false, true, nil, stepCreate},
		{"no pod before everything is there", false, false, nil, stepKeep},
		{"a pod with the newest template", true, true, nil, stepKeep},
		{"a pod with an older template", true, true, func(s *scope) { s.pod.Annotations[templateHashAnnotation] = "old" }, stepReplace},
		{"no replacement while a reference is missing", true, false, func(s *scope) { s.pod.Annotations[templateHashAnnotation] = "old" }, stepKeep},
		{"a pod that ends", true, true, func(s *scope) { s.pod.DeletionTimestamp = new(metav1.NewTime(now)) }, stepAwaitEnd},
		{"somebody else's pod", true, true, func(s *scope) { s.pod.OwnerReferences[0].UID = "another" }, stepForeign},
		{"a pod of a namesake that came before", true, false, func(s *scope) { s.pod.OwnerReferences[0].UID = "earlier" }, stepForeign},
		{"a pod that has just failed", true, true, func(s *scope) { ended(s, 9*time.Second) }, stepBackOff},
		{"a pod that failed a while ago", true, true, func(s *scope) { ended(s, 10*time.Second) }, stepRevive},
		{"a failed pod is cleared away in any case", true, false, func(s *scope) { ended(s, time.Hour) }, stepRevive},
		{"a pod that has succeeded", true, true, func(s *scope) {
			ended(s, time.Hour)
			s.pod.Status.Phase = corev1.PodSucceeded
		}, stepRevive},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := whole()
			hash, err := templateHash(s)
			if err != nil {
				t.Fatal(err)
			}
			if test.pod {
				withPod(s)
			}
			if test.change != nil {
				test.change(s)
			}
			if got := nextStep(s, hash, test.mayStart); got != test.step {
				t.Errorf("got step %d, want %d", got, test.step)
			}
		})
	}
}

// The pause doubles with every pod that fails without having been available.
func TestRevivePause(t *testing.T) {
	for _, test := range []struct {
		name    string
		missing time.Duration
		pause   time.Duration
	}{
		{"it ran until now", 0, 10 * time.Second},
		{"failing for five seconds", 5 * time.Second, 10 * time.Second},
		{"failing for a minute", time.Minute, time.Minute},
		{"failing for an hour", time.Hour, 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withPod(whole())
			s.pod.Status.Conditions = nil
			s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now)}}
			if test.missing > 0 {
				s.status().Set(v1alpha1.ConditionPodAvailable, metav1.ConditionFalse, v1alpha1.ReasonPodFailed, "", now.Add(-test.missing))
			}
			if got := revivePause(s, s.pod); got != test.pause {
				t.Errorf("got %v, want %v", got, test.pause)
			}
		})
	}
}
