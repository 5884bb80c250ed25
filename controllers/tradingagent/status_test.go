package tradingagent

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestReport(t *testing.T) {
	trading := func(edit func(*v1alpha1.TradingStatus)) func() *scope {
		return func() *scope {
			s := withTrading(whole())
			edit(s.agent.Status.Trading)
			return s
		}
	}
	for _, test := range []struct {
		name    string
		scope   func() *scope
		reason  string
		ready   bool
		stalled bool
		// conditions that must have these statuses.
		conditions map[string]metav1.ConditionStatus
	}{
		{
			name: "it trades", scope: trading(func(*v1alpha1.TradingStatus) {}), reason: v1alpha1.ReasonTrading, ready: true,
			conditions: map[string]metav1.ConditionStatus{
				v1alpha1.ConditionAccepted: metav1.ConditionTrue, v1alpha1.ConditionResolvedRefs: metav1.ConditionTrue,
				v1alpha1.ConditionPodAvailable: metav1.ConditionTrue, v1alpha1.ConditionVenueReconciled: metav1.ConditionTrue,
				v1alpha1.ConditionTradingEnabled: metav1.ConditionTrue,
			},
		},
		{
			name: "a halted agent does what its spec says", ready: true, reason: v1alpha1.ReasonHalted,
			scope: trading(func(s *v1alpha1.TradingStatus) {
				s.State, s.Reason = v1alpha1.TradingHalted, v1alpha1.ReasonHalted
			}),
			conditions: map[string]metav1.ConditionStatus{v1alpha1.ConditionTradingEnabled: metav1.ConditionFalse},
		},
		{
			name: "another epoch is not reconciled", scope: trading(func(s *v1alpha1.TradingStatus) { s.Epoch = 4 }), reason: v1alpha1.ReasonVenueReconciling,
			conditions: map[string]metav1.ConditionStatus{v1alpha1.ConditionVenueReconciled: metav1.ConditionFalse},
		},
		{name: "epoch zero is none", scope: trading(func(s *v1alpha1.TradingStatus) { s.Epoch, s.ReconciledEpoch = 0, 0 }), reason: v1alpha1.ReasonVenueReconciling},
		{
			name: "what an earlier pod has said does not count", scope: trading(func(s *v1alpha1.TradingStatus) { s.PodUID = "earlier" }), reason: v1alpha1.ReasonNotReporting,
			conditions: map[string]metav1.ConditionStatus{v1alpha1.ConditionVenueReconciled: metav1.ConditionUnknown},
		},
		{name: "the newest spec is not in force", scope: trading(func(s *v1alpha1.TradingStatus) { s.ObservedGeneration-- }), reason: v1alpha1.ReasonSpecNotInForce},
		{
			name: "positions that nobody can explain", reason: v1alpha1.ReasonPositionMismatch, stalled: true,
			scope: trading(func(s *v1alpha1.TradingStatus) {
				s.State, s.Reason, s.ReconciledEpoch = v1alpha1.TradingReduceOnly, v1alpha1.ReasonPositionMismatch, 0
			}),
		},
		{name: "a pod that starts", reason: v1alpha1.ReasonPodStarting, scope: func() *scope {
			s := withPod(whole())
			s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
			return s
		}},
		{name: "a process that runs says best why it is not ready", reason: v1alpha1.ReasonLedgerUnavailable, scope: func() *scope {
			s := withTrading(whole())
			s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
			s.agent.Status.Trading.State, s.agent.Status.Trading.Reason = v1alpha1.TradingReduceOnly, v1alpha1.ReasonLedgerUnavailable
			return s
		}},
		{name: "a process that keeps failing", reason: v1alpha1.ReasonPodFailed, scope: func() *scope {
			s := withPod(whole())
			s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
			s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			return s
		}},
		{name: "a missing reference is waited for", reason: v1alpha1.ReasonRiskPolicyNotFound, scope: func() *scope {
			s := withTrading(whole())
			s.policy = nil
			return s
		}},
		{name: "for a minute", reason: v1alpha1.ReasonRiskPolicyNotFound, stalled: true, scope: func() *scope {
			s := withTrading(whole())
			s.policy = nil
			s.status().Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonRiskPolicyNotFound, "", now.Add(-time.Minute))
			return s
		}},
		{name: "a broken rule is the user's to mend", reason: v1alpha1.ReasonModeMismatch, stalled: true, scope: func() *scope {
			s := withTrading(whole())
			goLive(s)
			return s
		}},
		{name: "somebody else's pod", reason: v1alpha1.ReasonPodNotOwned, stalled: true, scope: func() *scope {
			s := withPod(whole())
			s.pod.OwnerReferences = nil
			s.step = stepForeign
			return s
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.scope()
			outcome := report(s)
			s.status().Summarize(outcome, s.now)
			ready := s.status().Get(v1alpha1.ConditionReady)
			if ready.Reason != test.reason || (ready.Status == metav1.ConditionTrue) != test.ready || outcome.Stalled() != test.stalled {
				t.Errorf("got Ready=%s %s (%s), stalled %v", ready.Status, ready.Reason, ready.Message, outcome.Stalled())
			}
			for conditionType, wanted := range test.conditions {
				if got := s.status().Get(conditionType); got == nil || got.Status != wanted {
					t.Errorf("%s is %+v, want %s", conditionType, got, wanted)
				}
			}
		})
	}
}

func TestReportNamesOnlyItsOwnPod(t *testing.T) {
	s := withPod(whole())
	report(s)
	if got := s.agent.Status; got.PodName != "eur-trader" || got.PodUID != "pod-uid" || got.NodeName != "node-1" {
		t.Errorf("got %q %q %q", got.PodName, got.PodUID, got.NodeName)
	}
	s.pod.OwnerReferences[0].UID = "another"
	report(s)
	if got := s.agent.Status; got.PodName != "" || got.PodUID != "" || got.NodeName != "" {
		t.Errorf("a foreign pod may speak for the agent: %q %q %q", got.PodName, got.PodUID, got.NodeName)
	}
}

func TestLaidDown(t *testing.T) {
	for _, test := range []struct {
		name   string
		scope  *scope
		policy v1alpha1.DeletionPolicy
		change func(*v1alpha1.TradingStatus)
		want   bool
	}{
		{name: "no pod ever", scope: whole(), want: true},
		{name: "a process that has not reported", scope: withPod(whole()), want: false},
		{name: "still trading", scope: withTrading(whole()), policy: v1alpha1.DeletionKeep, want: false},
		{name: "stopped, to keep", scope: withTrading(whole()), policy: v1alpha1.DeletionKeep, want: true,
			change: func(s *v1alpha1.TradingStatus) {
				s.Reason, s.Positions = v1alpha1.ReasonStopped, []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "1"}}
			}},
		{name: "stopped with an open order", scope: withTrading(whole()), policy: v1alpha1.DeletionKeep, want: false,
			change: func(s *v1alpha1.TradingStatus) { s.Reason, s.OpenOrders = v1alpha1.ReasonStopped, 1 }},
		{name: "stopped, to flatten", scope: withTrading(whole()), policy: v1alpha1.DeletionFlatten, want: false,
			change: func(s *v1alpha1.TradingStatus) { s.Reason = v1alpha1.ReasonStopped }},
		{name: "flat", scope: withTrading(whole()), policy: v1alpha1.DeletionFlatten, want: true,
			change: func(s *v1alpha1.TradingStatus) { s.Reason = v1alpha1.ReasonFlat }},
		{name: "flat in word but not in fact", scope: withTrading(whole()), policy: v1alpha1.DeletionFlatten, want: false,
			change: func(s *v1alpha1.TradingStatus) {
				s.Reason, s.Positions = v1alpha1.ReasonFlat, []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "1"}}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.scope.agent.Spec.DeletionPolicy = test.policy
			settle(test.scope)
			if test.change != nil {
				test.change(test.scope.agent.Status.Trading)
			}
			if got := laidDown(test.scope); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
