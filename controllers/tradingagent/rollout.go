package tradingagent

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// targetRevision is what shall run: what the spec asks for, or the last good
// revision once that was given up. A pod that was lost comes back with the good
// one, too, where the spec asks for what cannot be right: somebody must mind the
// agent's positions.
func (s *scope) targetRevision() *revision {
	if s.rolledBack() || s.good != nil && s.lost() && !valid(s, true) {
		return s.good
	}
	return s.wanted
}

// rolledBack reports whether the revision that the spec asks for was given up.
func (s *scope) rolledBack() bool {
	told := s.agent.Status.Revision
	return told != nil && told.Failed != nil && told.Failed.Name == s.wanted.name && s.mayRollBack()
}

// mayRollBack reports whether there is anything to go back to, and leave to.
func (s *scope) mayRollBack() bool {
	return s.settings.Rollback == v1alpha1.RollbackAutomatic && s.good != nil
}

// reportRevision says which revision the pod runs or is being brought to. A pass
// that may not start anything leaves what an earlier one has said.
func reportRevision(s *scope) {
	if !s.mayStart {
		return
	}
	told := s.agent.Status.Revision
	if told == nil {
		told = &v1alpha1.RevisionStatus{}
		s.agent.Status.Revision = told
	}
	if told.Current != s.target.name {
		told.Current, told.Since = s.target.name, new(metav1.NewTime(s.now))
	}
	told.Image = s.target.content.Image
	if told.Failed != nil && !s.rolledBack() {
		told.Failed = nil
	}
}

// reportRollout ends a pass over an agent whose revision is new: it becomes good
// by getting Ready, and is given up if it does not in time.
func reportRollout(s *scope, outcome reconcile.Outcome) reconcile.Outcome {
	told := s.agent.Status.Revision
	switch {
	case !s.mayStart || told == nil:
		return outcome
	case s.rolledBack():
		return rolledBackOutcome(s, outcome)
	case outcome.IsDone():
		told.Good = told.Current
		return outcome
	case told.Good == told.Current || !s.runsTarget():
		// What was Ready before has another trouble than its revision.
		return outcome
	}
	left := rolloutBegan(s).Add(time.Duration(s.settings.ProgressDeadlineSeconds) * time.Second).Sub(s.now)
	switch {
	case left > 0:
		return outcome.Within(left)
	case !blamesRevision(s, outcome.Reason()):
		return outcome
	case s.mayRollBack():
		told.Failed = &v1alpha1.RevisionFailure{
			Name: s.wanted.name, Time: new(metav1.NewTime(s.now)), Reason: outcome.Reason(), Message: outcome.Message(),
		}
		return rolledBackOutcome(s, outcome)
	}
	return reconcile.Stall(v1alpha1.ReasonRolloutFailed, fmt.Sprintf("revision %s did not get Ready in %d s: %s: %s; correct the spec",
		s.wanted.name, s.settings.ProgressDeadlineSeconds, outcome.Reason(), outcome.Message()))
}

// rolledBackOutcome shows the evidence, and how the good revision does.
func rolledBackOutcome(s *scope, outcome reconcile.Outcome) reconcile.Outcome {
	failed := s.agent.Status.Revision.Failed
	message := fmt.Sprintf("revision %s did not get Ready in %d s (%s), so %s runs again (%s); correct the spec. It said: %s",
		failed.Name, s.settings.ProgressDeadlineSeconds, failed.Reason, s.good.name, outcome.Reason(), failed.Message)
	return reconcile.Stall(v1alpha1.ReasonRolledBack, message).Again(outcome.After())
}

// rolloutBegan is when the time of a new revision began to run: with the
// revision, or when what it needs was there again.
func rolloutBegan(s *scope) time.Time {
	began := s.agent.Status.Revision.Since.Time
	for _, status := range []reconcile.Status{reconcile.StatusOf(s.ledger), reconcile.StatusOf(s.account)} {
		if ready := status.Get(v1alpha1.ConditionReady); ready != nil && ready.LastTransitionTime.After(began) {
			began = ready.LastTransitionTime.Time
		}
	}
	if s.node != nil {
		if ready := nodeReady(s.node); ready != nil && ready.LastTransitionTime.After(began) {
			began = ready.LastTransitionTime.Time
		}
	}
	return began
}

// blamesRevision reports whether a new revision can be at fault. A pod that no
// node takes, a node that is lost, and a venue or ledger that does not answer are
// no reason to go back: the old revision would meet the same.
func blamesRevision(s *scope, reason string) bool {
	switch reason {
	case v1alpha1.ReasonNodeLost, v1alpha1.ReasonPodEvicted, v1alpha1.ReasonDuplicatePod, v1alpha1.ReasonPodEndOverdue,
		v1alpha1.ReasonLedgerUnavailable, v1alpha1.ReasonVenueUnreachable, v1alpha1.ReasonUnresolvedOrders,
		v1alpha1.ReasonPositionMismatch, v1alpha1.ReasonFenced, v1alpha1.ReasonReferenceNotReady:
		return false
	}
	return isScheduled(s.ownPod())
}

// runsTarget reports whether the agent's pod is one of the target revision.
func (s *scope) runsTarget() bool {
	pod := s.ownPod()
	return pod != nil && pod.DeletionTimestamp.IsZero() && pod.Annotations[templateHashAnnotation] == s.hash
}

func isScheduled(pod *corev1.Pod) bool { return pod != nil && pod.Spec.NodeName != "" }
