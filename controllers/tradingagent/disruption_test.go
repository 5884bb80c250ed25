package tradingagent

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestDrain(t *testing.T) {
	cordoned := func(s *scope) { s.node.Spec.Unschedulable = true }
	holding := func(s *scope) {
		s.agent.Status.Trading.Positions = []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "1"}}
	}
	waitingFor := func(since time.Duration) func(*scope) {
		return func(s *scope) {
			s.status().Set(v1alpha1.ConditionDraining, metav1.ConditionTrue, v1alpha1.ReasonDrainWaiting, "", now.Add(-since))
		}
	}
	for _, test := range []struct {
		name    string
		changes []func(*scope)
		reason  string
		after   time.Duration
		overdue bool
	}{
		{"an agent that holds nothing", []func(*scope){cordoned}, "", 0, false},
		{"a node that stays", []func(*scope){holding}, "", 0, false},
		{"a position", []func(*scope){cordoned, holding}, v1alpha1.ReasonDrainWaiting, 10 * time.Minute, false},
		{"an open order", []func(*scope){cordoned, func(s *scope) { s.agent.Status.Trading.OpenOrders = 1 }}, v1alpha1.ReasonDrainWaiting, 10 * time.Minute, false},
		{"waiting", []func(*scope){cordoned, holding, waitingFor(9 * time.Minute)}, v1alpha1.ReasonDrainWaiting, time.Minute, false},
		{"waiting too long", []func(*scope){cordoned, holding, waitingFor(10 * time.Minute)}, v1alpha1.ReasonDrainOverdue, 0, true},
		{"flat at last", []func(*scope){cordoned, waitingFor(9 * time.Minute)}, "", 0, false},
		{"uncordoned", []func(*scope){holding, waitingFor(9 * time.Minute)}, "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withTrading(whole())
			s.node = &corev1.Node{ObjectMeta: meta("node-1")}
			for _, change := range test.changes {
				change(s)
			}
			if _, overdue := s.drain(); overdue != test.overdue {
				t.Errorf("overdue: %v", overdue)
			}
			outcome := report(s)
			reason := ""
			if draining := s.status().Get(v1alpha1.ConditionDraining); draining != nil {
				reason = draining.Reason
			}
			if reason != test.reason || outcome.After() != test.after || !outcome.IsDone() {
				t.Errorf("Draining %q, looked at again after %s, Ready %s", reason, outcome.After(), outcome.Reason())
			}
		})
	}
}

func TestPodsInTrouble(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*scope)
		reason  string
		stalled bool
	}{
		{"a node that does not answer", func(s *scope) {
			s.node = &corev1.Node{ObjectMeta: meta("node-1"), Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}
		}, v1alpha1.ReasonNodeLost, false},
		{"a pod that is ending", func(s *scope) {
			s.step, s.pod.DeletionTimestamp = stepAwaitEnd, new(metav1.NewTime(now.Add(20*time.Second)))
		}, v1alpha1.ReasonPodReplacing, false},
		{"a pod that does not end", func(s *scope) {
			s.step, s.pod.DeletionTimestamp = stepAwaitEnd, new(metav1.NewTime(now.Add(-endGrace)))
		}, v1alpha1.ReasonPodEndOverdue, true},
		{"out of memory", func(s *scope) {
			s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
			s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			s.pod.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled"}
		}, v1alpha1.ReasonOutOfMemory, false},
		{"evicted", func(s *scope) {
			s.step, s.pod.Status.Phase, s.pod.Status.Reason = stepRevive, corev1.PodFailed, "Evicted"
		}, v1alpha1.ReasonPodEvicted, false},
		{"a duplicate", func(s *scope) { s.duplicates = []string{"copy"} }, v1alpha1.ReasonDuplicatePod, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withTrading(whole())
			test.change(s)
			if outcome := report(s); outcome.Reason() != test.reason || outcome.Stalled() != test.stalled {
				t.Errorf("got %s, stalled %v: %s", outcome.Reason(), outcome.Stalled(), outcome.Message())
			}
		})
	}
}
