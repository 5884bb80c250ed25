package tradinghalt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// release records a release in every ledger that may hold the halt latched, so that
// an agent that comes up later is free although the halt's object may be gone.
func (r *Reconciler) release(ctx context.Context, halt v1alpha1.Halt, members []member) (reconcile.Outcome, error) {
	status := reconcile.StatusOf(halt)
	if enforced := status.Get(v1alpha1.ConditionEnforced); enforced != nil && enforced.Reason == v1alpha1.ReasonHaltReleased {
		return reconcile.Done(v1alpha1.ReasonHaltReleased, enforced.Message), nil
	}
	without, failed := r.unlatch(ctx, halt, members)
	if ctx.Err() != nil {
		return reconcile.Outcome{}, ctx.Err() // the operator ends, and no ledger is to blame
	}
	if len(failed) > 0 {
		err := fmt.Errorf("record the release in the ledgers of %d agents: %s", len(failed), some(failed))
		status.Set(v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonRetrying, err.Error(), r.Clock.Now())
		return reconcile.Outcome{}, err
	}
	r.forget(client.ObjectKeyFromObject(halt))
	given := halt.HaltSpec().Release
	message := fmt.Sprintf("released by %s: %s", given.By, given.Reason)
	if len(without) > 0 {
		message += fmt.Sprintf("; not recorded for %d agents that have no ledger: %s", len(without), some(without))
	}
	halt.HaltStatus().OverdueAgents, halt.HaltStatus().Overdue = nil, reconcile.Count(0)
	status.Set(v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonHaltReleased, message, r.Clock.Now())
	return reconcile.Done(v1alpha1.ReasonHaltReleased, message), nil
}

// some of many, the same ones whenever there are the same.
func some(words []string) string {
	slices.Sort(words)
	return strings.Join(words[:min(len(words), mostNamed)], "; ")
}

// unlatch records a release in the ledgers of members. It returns who has neither a
// process nor a ledger in which one could have latched the halt, and for whom else it
// has failed.
func (r *Reconciler) unlatch(ctx context.Context, halt v1alpha1.Halt, members []member) (without, failed []string) {
	found := r.locate(ctx, members)
	recorded := r.record(ctx, halt, found)
	for i := range members {
		m, missing := &members[i], false
		err := found[i].err
		if err == nil {
			err = recorded[found[i].uri]
		} else {
			missing = noLedger(err)
		}
		words := fmt.Sprintf("%s/%s: %v", m.agent.Namespace, m.agent.Name, err)
		switch {
		case err == nil:
		case missing && m.absent:
			without = append(without, words)
		default:
			failed = append(failed, words)
		}
	}
	return without, failed
}

// noLedger reports whether an agent's ledger cannot be found because the account, the
// Ledger, its Secret or the key in it does not exist.
func noLedger(err error) bool { return errors.Is(err, errMissing) || apierrors.IsNotFound(err) }

// located is where a ledger is, or why that cannot be found out.
type located struct {
	uri string
	err error
}

// locate finds the ledger of each member. Those of one Ledger cost one look at its
// Secret.
func (r *Reconciler) locate(ctx context.Context, members []member) []located {
	known := map[client.ObjectKey]located{}
	found := make([]located, len(members))
	for i := range members {
		key := members[i].ledger()
		at, met := known[key]
		if !met {
			at.uri, at.err = r.ledgerOf(ctx, &members[i])
		}
		if key.Name != "" {
			known[key] = at
		}
		found[i] = at
	}
	return found
}

// record writes a release once into each ledger, into many at a time: one that is
// away must not hold up the fencing under another halt.
func (r *Reconciler) record(ctx context.Context, halt v1alpha1.Halt, found []located) map[string]error {
	given := halt.HaltSpec().Release
	results := map[string]error{}
	for i := range found {
		if found[i].err == nil {
			results[found[i].uri] = nil
		}
	}
	var mu sync.Mutex
	var recording sync.WaitGroup
	slots := make(chan struct{}, fencers)
	for _, uri := range slices.Collect(maps.Keys(results)) {
		slots <- struct{}{}
		recording.Go(func() {
			defer func() { <-slots }()
			limited, cancel := context.WithTimeout(ctx, stepTimeout)
			defer cancel()
			err := r.World.Unlatch(limited, uri, string(halt.GetUID()), given.By, given.Reason)
			mu.Lock()
			defer mu.Unlock()
			results[uri] = err
		})
	}
	recording.Wait()
	return results
}
