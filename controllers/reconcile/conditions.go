package reconcile

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Status is the part of status that every kind has.
type Status struct {
	Conditions         *[]metav1.Condition
	ObservedGeneration *int64
	generation         int64
}

// StatusOf returns the shared part of an object's status. That of a kind which
// is not the desk's is empty.
func StatusOf(object client.Object) Status {
	status := Status{generation: object.GetGeneration()}
	switch o := object.(type) {
	case *v1alpha1.TradingAgent:
		status.Conditions, status.ObservedGeneration = &o.Status.Conditions, &o.Status.ObservedGeneration
	case *v1alpha1.TradingAccount:
		status.Conditions, status.ObservedGeneration = &o.Status.Conditions, &o.Status.ObservedGeneration
	case *v1alpha1.RiskPolicy:
		status.Conditions, status.ObservedGeneration = &o.Status.Conditions, &o.Status.ObservedGeneration
	case *v1alpha1.AssetPair:
		status.Conditions, status.ObservedGeneration = &o.Status.Conditions, &o.Status.ObservedGeneration
	case *v1alpha1.Ledger:
		status.Conditions, status.ObservedGeneration = &o.Status.Conditions, &o.Status.ObservedGeneration
	case v1alpha1.Halt:
		status.Conditions, status.ObservedGeneration = &o.HaltStatus().Conditions, &o.HaltStatus().ObservedGeneration
	default:
		status.Conditions, status.ObservedGeneration = new([]metav1.Condition), new(int64)
	}
	return status
}

// Get returns the condition of a type, or nil.
func (s Status) Get(conditionType string) *metav1.Condition {
	return meta.FindStatusCondition(*s.Conditions, conditionType)
}

// Set sets a condition. The time of its last transition changes only with its
// status.
func (s Status) Set(conditionType string, status metav1.ConditionStatus, reason, message string, now time.Time) {
	meta.SetStatusCondition(s.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             reason,
		Message:            clip(message),
		ObservedGeneration: s.generation,
		LastTransitionTime: metav1.NewTime(now),
	})
}

// Remove takes a condition away that is present only while it is True.
func (s Status) Remove(conditionType string) {
	meta.RemoveStatusCondition(s.Conditions, conditionType)
}

// Since is when the condition took the given status; now if it is about to.
func (s Status) Since(conditionType string, status metav1.ConditionStatus, now time.Time) time.Time {
	condition := s.Get(conditionType)
	if condition == nil || condition.Status != status {
		return now
	}
	return condition.LastTransitionTime.Time
}

// Summarize turns the outcome of a pass into Ready, Reconciling and Stalled as
// kstatus reads them: the latter two exist only while they are True, and never
// both.
func (s Status) Summarize(outcome Outcome, now time.Time) {
	*s.ObservedGeneration = s.generation
	ready, during, not := metav1.ConditionFalse, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
	switch outcome.verdict {
	case verdictDone:
		s.Set(v1alpha1.ConditionReady, metav1.ConditionTrue, outcome.reason, outcome.message, now)
		meta.RemoveStatusCondition(s.Conditions, v1alpha1.ConditionReconciling)
		meta.RemoveStatusCondition(s.Conditions, v1alpha1.ConditionStalled)
		return
	case verdictStall:
		during, not = not, during
	case verdictWait:
	}
	s.Set(v1alpha1.ConditionReady, ready, outcome.reason, outcome.message, now)
	s.Set(during, metav1.ConditionTrue, outcome.reason, outcome.message, now)
	meta.RemoveStatusCondition(s.Conditions, not)
}
