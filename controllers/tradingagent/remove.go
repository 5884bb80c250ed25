package tradingagent

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// removalDeadline is how long an agent is given to lay down its work before
	// its user is told. Closing positions takes as long as the market is slow.
	removalDeadline = 5 * time.Minute

	// releaseTimeout bounds one try at giving the agent's claims back.
	releaseTimeout = 10 * time.Second

	// releasePause between two tries.
	releasePause = 5 * time.Second
)

// remove carries out the deletionPolicy: the agent's own process cancels its
// orders and closes or keeps its positions, then its pod ends, then its claims
// are released, then the object goes. gone reports the last step.
func (r *Reconciler) remove(ctx context.Context, s *scope) (outcome reconcile.Outcome, gone bool, err error) {
	if err := r.setFinalizers(ctx, s, dropForegroundDeletion); err != nil {
		return reconcile.Outcome{}, false, err
	}
	if !controllerutil.ContainsFinalizer(s.agent, v1alpha1.AgentFinalizer) {
		return reconcile.Outcome{}, true, nil
	}
	abandoned := s.agent.Annotations[v1alpha1.AbandonAnnotation] == "true"
	if !abandoned && !laidDown(s) {
		// Only the agent's process can lay down its work, so it is kept running,
		// and started once more if it was lost.
		err := r.keepForRemoval(ctx, s, mayStart(s))
		report(s)
		return waitForStop(s, err)
	}
	s.step = nextStep(s)
	report(s)
	if pod := s.ownPod(); pod != nil && pod.DeletionTimestamp.IsZero() {
		if err := r.endPod(ctx, pod); err != nil {
			return reconcile.Outcome{}, false, err
		}
	}
	podGone, err := r.podIsGone(ctx, s.agent)
	if err != nil || !podGone {
		return overdue(s, v1alpha1.ReasonTerminating, fmt.Sprintf("Pod %q is ending; if its node is lost for good, delete the Node object", ChildName(s.agent))), false, err
	}
	if outcome, wait := r.release(ctx, s); wait {
		return outcome, false, nil
	}
	if abandoned && !laidDown(s) {
		r.Reporter.Recorder.Eventf(s.agent, nil, corev1.EventTypeWarning, v1alpha1.ReasonPositionsAbandoned, "Remove", "deleted by annotation without proof that the agent was flat: %s", stillHeld(s))
	}
	err = r.setFinalizers(ctx, s, func(agent *v1alpha1.TradingAgent) bool {
		return controllerutil.RemoveFinalizer(agent, v1alpha1.AgentFinalizer)
	})
	return reconcile.Outcome{}, err == nil, err
}

// waitForStop says what an agent that must still lay down its work waits for.
// err is why its process could not be seen to.
func waitForStop(s *scope, err error) (outcome reconcile.Outcome, gone bool, _ error) {
	told, isTold := refused(err)
	switch {
	case isTold:
		// In a namespace that is being deleted, for one, no pod can start.
		outcome = overdue(s, told.Reason(), stillHeld(s)+", and its process cannot start: "+told.Message()).Again(refusedPause)
	case err != nil:
		return reconcile.Outcome{}, false, err
	case s.step == stepBackOff:
		outcome = overdue(s, v1alpha1.ReasonTerminating, stillHeld(s)).Again(revivePause(s, s.pod))
	default:
		outcome = overdue(s, v1alpha1.ReasonTerminating, stillHeld(s))
	}
	return outcome, false, nil
}

// dropForegroundDeletion takes the garbage collector's finalizer off the agent.
// With it (kubectl delete --cascade=foreground, and Argo CD's default) the
// collector would end the pod before it has closed its positions, again and
// again. Owner references still have every child collected in the end.
func dropForegroundDeletion(agent *v1alpha1.TradingAgent) bool {
	return controllerutil.ContainsFinalizer(agent, v1alpha1.AgentFinalizer) &&
		controllerutil.RemoveFinalizer(agent, metav1.FinalizerDeleteDependents)
}

// keepForRemoval sees to a running pod without replacing one whose template is
// old.
func (r *Reconciler) keepForRemoval(ctx context.Context, s *scope, mayStart bool) error {
	return r.apply(ctx, s, mayStart && s.pod == nil)
}

// laidDown reports whether the agent has done what its deletionPolicy says, in
// its own words, or never had a process that could hold anything.
func laidDown(s *scope) bool {
	trading := s.agent.Status.Trading
	if trading == nil {
		pod := s.ownPod()
		return pod == nil || neverStarted(pod)
	}
	if trading.OpenOrders > 0 {
		return false
	}
	if s.settings.DeletionPolicy == v1alpha1.DeletionFlatten {
		return trading.Reason == v1alpha1.ReasonFlat && len(trading.Positions) == 0
	}
	return trading.Reason == v1alpha1.ReasonFlat || trading.Reason == v1alpha1.ReasonStopped
}

// neverStarted reports whether no process of the pod has ever run. One that
// starts at this moment sees that its agent is being deleted and opens nothing.
func neverStarted(pod *corev1.Pod) bool {
	for _, container := range pod.Status.ContainerStatuses {
		if container.State.Running != nil || container.State.Terminated != nil || container.LastTerminationState.Terminated != nil || container.RestartCount > 0 {
			return false
		}
	}
	return true
}

// stillHeld says what a deletion waits for.
func stillHeld(s *scope) string {
	trading := s.agent.Status.Trading
	if trading == nil {
		return "the agent's process has not reported that it has stopped"
	}
	return fmt.Sprintf("the agent holds %d positions and %d open orders (%s)", len(trading.Positions), trading.OpenOrders, trading.Reason)
}

// overdue waits until the deadline and stalls after it, naming the way out.
func overdue(s *scope, reason, message string) reconcile.Outcome {
	if left := s.agent.DeletionTimestamp.Add(removalDeadline).Sub(s.now); left > 0 {
		return reconcile.Wait(reason, message, left)
	}
	return reconcile.Stall(v1alpha1.ReasonDeletionBlocked, fmt.Sprintf("%s; to give up what it holds, kubectl annotate tradingagent %s %s=true", message, s.agent.Name, v1alpha1.AbandonAnnotation))
}

// release gives the agent's claims on its pairs back. A ledger that cannot be
// reached holds the deletion up to the deadline and no longer.
func (r *Reconciler) release(ctx context.Context, s *scope) (outcome reconcile.Outcome, wait bool) {
	if s.agent.Status.Trading == nil {
		return reconcile.Outcome{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	uri, err := r.ledgerURI(ctx, s)
	missing := err == nil && uri == ""
	if err == nil && !missing {
		err = r.Release(ctx, uri, string(s.agent.UID))
	}
	if err == nil && !missing {
		return reconcile.Outcome{}, false
	}
	if !missing && s.now.Before(s.agent.DeletionTimestamp.Add(removalDeadline)) {
		return reconcile.Wait(v1alpha1.ReasonTerminating, "the ledger does not take the agent's claims back yet", releasePause), true
	}
	r.Reporter.Recorder.Eventf(s.agent, nil, corev1.EventTypeWarning, v1alpha1.ReasonClaimsNotReleased, "Remove", "the agent's claims on pairs stay in the ledger, which is missing or does not answer")
	return reconcile.Outcome{}, false
}
