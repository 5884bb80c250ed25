package ledger

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// anchorPause is how long an anchor holds before the next one is taken, if the
// chains have grown: a status is no place for every trade.
const anchorPause = time.Hour

// hold holds a database that answers to the anchor in the ledger's status, tells
// its agents where it has forgotten something, and takes the next anchor when it is
// time.
func (r *Reconciler) hold(ctx context.Context, uri string, object *v1alpha1.Ledger, found *finding) {
	footing := found.server.Footing
	if found.err != nil || footing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	now := r.Clock.Now()
	status := reconcile.StatusOf(object)
	told := status.Get(v1alpha1.ConditionIntact)
	known := told != nil && told.Reason == v1alpha1.ReasonLedgerForgot
	behind := ""
	if object.Status.Anchor != nil {
		behind = footing.Behind(anchorOf(object.Status.Anchor))
	}
	if behind != "" && !known {
		if _, err := r.Forget(ctx, uri, behind); err != nil {
			notAnchored(status, err, now)
			return
		}
		message := behind + "; no agent opens a position before it has proven its open orders at the venue"
		status.Set(v1alpha1.ConditionIntact, metav1.ConditionFalse, v1alpha1.ReasonLedgerForgot, message, now)
		r.Reporter.Recorder.Eventf(object, nil, corev1.EventTypeWarning, v1alpha1.ReasonLedgerForgot, "Reconcile", "%s", message)
		return
	}
	// What was told stays until every agent has done its part; then the database is
	// held to what it has now.
	if known && footing.Unproven > 0 {
		return
	}
	if known || due(object.Status.Anchor, footing, now) {
		taken, err := r.Anchor(ctx, uri)
		if err != nil {
			notAnchored(status, err, now)
			return
		}
		object.Status.Anchor = statusOf(taken, now)
	}
	status.Set(v1alpha1.ConditionIntact, metav1.ConditionTrue, v1alpha1.ReasonLedgerIntact, "the database has what it had when it was last anchored", now)
}

// due reports whether it is time for another anchor: if there is none, or if the
// chains have grown since and an hour has gone by.
func due(kept *v1alpha1.LedgerAnchor, footing *ledger.Footing, now time.Time) bool {
	if kept == nil {
		return true
	}
	last := anchorOf(kept)
	grown := footing.Links != last.Links || footing.Epochs != last.Epochs || footing.Agents != last.Agents
	return grown && (kept.Time == nil || now.Sub(kept.Time.Time) >= anchorPause)
}

func notAnchored(status reconcile.Status, err error, now time.Time) {
	message := fmt.Sprintf("the database could not be held to its anchor: %v", err)
	status.Set(v1alpha1.ConditionIntact, metav1.ConditionUnknown, v1alpha1.ReasonLedgerNotAnchored, message, now)
}

func anchorOf(kept *v1alpha1.LedgerAnchor) ledger.Anchor {
	value := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	return ledger.Anchor{
		Serial: kept.Serial, Agents: value(kept.Agents), Links: value(kept.Links), Epochs: value(kept.Epochs),
		Digest: kept.Digest, SystemIdentifier: kept.SystemIdentifier, Timeline: kept.Timeline,
	}
}

func statusOf(taken ledger.Anchor, now time.Time) *v1alpha1.LedgerAnchor {
	return &v1alpha1.LedgerAnchor{
		Serial: taken.Serial, Agents: &taken.Agents, Links: &taken.Links, Epochs: &taken.Epochs,
		Digest: taken.Digest, SystemIdentifier: taken.SystemIdentifier, Timeline: taken.Timeline, Time: new(metav1.NewTime(now)),
	}
}
