package reconcile

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// conflictPause is what a cache needs to catch up with the API server.
const conflictPause = 50 * time.Millisecond

// Reporter ends every pass: it summarises, writes status once and only when it
// differs, and tells of a change of Ready in an Event.
type Reporter struct {
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
}

// Finish reports the outcome or error of a pass. before is the object as it was
// read, after carries the new status. The returned result and error are what
// Reconcile returns: never both.
func (r *Reporter) Finish(ctx context.Context, before, after client.Object, outcome Outcome, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return outrun(ctx, err), nil
	}
	if errors.Is(err, context.Canceled) {
		return ctrl.Result{}, err
	}
	if err != nil {
		outcome = Wait(v1alpha1.ReasonRetrying, err.Error(), 0)
	}
	status := StatusOf(after)
	status.Summarize(outcome, r.Clock.Now())
	writeErr := r.write(ctx, before, after)
	if err == nil && apierrors.IsConflict(writeErr) {
		return outrun(ctx, writeErr), nil
	}
	if writeErr != nil {
		return ctrl.Result{}, errors.Join(err, writeErr)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return outcome.result(), nil
}

// outrun ends a pass that began with an object which somebody else has changed
// since. That says nothing about the object, and the change need not wake this
// controller, so the pass is done again as soon as the cache has caught up.
func outrun(ctx context.Context, err error) ctrl.Result {
	log.FromContext(ctx).V(1).Info("the object was changed meanwhile", "conflict", err.Error())
	return ctrl.Result{RequeueAfter: conflictPause}
}

func (r *Reporter) write(ctx context.Context, before, after client.Object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	// The patch holds only what this pass has changed, so that status.trading
	// stays the agent's; the resource version keeps a stale pass from winning.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	ready := *StatusOf(after).Get(v1alpha1.ConditionReady)
	stalled := StatusOf(after).Get(v1alpha1.ConditionStalled) != nil
	if err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(FieldOwner)); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.tell(before, after, ready, stalled)
	return nil
}

// tell emits an Event when Ready has a new status or reason, with the same word
// as the condition. A steady state emits nothing.
func (r *Reporter) tell(before, after client.Object, ready metav1.Condition, stalled bool) {
	was := StatusOf(before).Get(v1alpha1.ConditionReady)
	if was != nil && was.Status == ready.Status && was.Reason == ready.Reason {
		return
	}
	kind := corev1.EventTypeNormal
	if stalled {
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(after, nil, kind, ready.Reason, "Reconcile", "%s", ready.Message)
}
