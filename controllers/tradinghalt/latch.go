package tradinghalt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

const (
	// latchPause is how soon a ledger is told again that was not reached.
	latchPause = 2 * time.Second
	// latchTimeout bounds one word with one ledger, while a halt's report waits.
	latchTimeout = 2 * time.Second
)

// bonds are the agents that a halt binds by their ledgers: their manifests may have
// changed since, and a process that could say so may not run.
type bonds struct {
	// agents by UID, each with the Ledger that has it latched; with none, the ledger
	// has yet to be told.
	agents map[types.UID]client.ObjectKey
	// asked are the Ledgers that have said whom the halt binds by them.
	asked map[client.ObjectKey]bool
}

// bondsOf are a halt's. One halt is never reconciled twice at a time.
func (r *Reconciler) bondsOf(halt v1alpha1.Halt) *bonds {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.bonds[client.ObjectKeyFromObject(halt)]
	if known == nil {
		known = &bonds{agents: map[types.UID]client.ObjectKey{}, asked: map[client.ObjectKey]bool{}}
		r.bonds[client.ObjectKeyFromObject(halt)] = known
	}
	return known
}

// forget ends the memory of a halt that binds nobody any more.
func (r *Reconciler) forget(key client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.bonds, key)
}

// binding is what the halt means for an agent: by what the manifests say now, or
// because a process or a ledger of the agent is known to have been bound.
func (b *bonds) binding(halt v1alpha1.Halt, m *member, pairs []v1alpha1.AssetPair) v1alpha1.Binding {
	if _, latched := b.agents[m.agent.UID]; latched || v1alpha1.HaltTold(halt, m.agent) {
		return v1alpha1.HaltHolds(halt, m.runs, m.account, pairs)
	}
	return v1alpha1.HaltBinds(halt, m.runs, m.account, pairs)
}

// ledger names the Ledger that the agent writes to; no name without an account.
func (m *member) ledger() client.ObjectKey {
	key := client.ObjectKey{Namespace: m.agent.Namespace}
	if m.account != nil {
		key.Name = m.account.Spec.LedgerRef.Name
	}
	return key
}

// latch has the ledgers remember the halt for agents that have no process to do so:
// they come up halted, whatever becomes of their manifests before.
func (r *Reconciler) latch(ctx context.Context, halt v1alpha1.Halt, members []member) {
	known := r.bondsOf(halt)
	missing := map[client.ObjectKey][]*member{}
	for i := range members {
		m := &members[i]
		by, latched := known.agents[m.agent.UID]
		if m.told != nil || !m.absent && !latched || latched && by == m.ledger() {
			continue
		}
		missing[m.ledger()] = append(missing[m.ledger()], m)
	}
	_ = r.each(ctx, missing, func(ctx context.Context, uri string, group []*member) error {
		spec, bound := halt.HaltSpec(), make(map[string]ledger.LatchedHalt, len(group))
		for _, m := range group {
			bound[string(m.agent.UID)] = ledger.LatchedHalt{
				UID: string(halt.GetUID()), Name: halt.Reference(), Reason: spec.Reason, Pairs: m.pairs,
				State: string(spec.Trading()), Task: string(spec.EffectiveTask()),
			}
		}
		return r.World.Latch(ctx, uri, bound)
	}, func(key client.ObjectKey, group []*member, err error) {
		for _, m := range group {
			m.loose = err
			if noLedger(err) {
				m.loose = nil // nothing that could trade, or tell that it had been bound
			}
			if err == nil {
				known.agents[m.agent.UID] = key
			} else if _, meant := known.agents[m.agent.UID]; !meant {
				known.agents[m.agent.UID] = client.ObjectKey{}
			}
		}
	})
}

// recollect adds those to the members whom the halt binds by nothing but their
// ledgers. Each ledger is asked once for as long as this operator leads: what is
// latched later, it has latched itself, or a process of the agent says so.
func (r *Reconciler) recollect(ctx context.Context, halt v1alpha1.Halt, members, outside []member) ([]member, error) {
	known := r.bondsOf(halt)
	unasked := map[client.ObjectKey][]*member{}
	for i := range outside {
		if key := outside[i].ledger(); key.Name != "" && !known.asked[key] {
			unasked[key] = append(unasked[key], &outside[i])
		}
	}
	var mu sync.Mutex
	found := map[string]client.ObjectKey{}
	failed := r.each(ctx, unasked, func(ctx context.Context, uri string, group []*member) error {
		bound, err := r.World.Bound(ctx, uri, string(halt.GetUID()))
		mu.Lock()
		defer mu.Unlock()
		for _, uid := range bound {
			found[uid] = group[0].ledger()
		}
		return err
	}, func(key client.ObjectKey, _ []*member, err error) { known.asked[key] = err == nil })
	for i := range outside {
		m := &outside[i]
		by, bound := found[string(m.agent.UID)]
		if !bound {
			continue
		}
		known.agents[m.agent.UID] = by
		r.meet(halt, m)
		members = append(members, *m)
	}
	return members, failed
}

// each does something with the ledger of each group of agents, some at a time, and
// then tells how it went, one after the other. It returns what has failed.
func (r *Reconciler) each(ctx context.Context, groups map[client.ObjectKey][]*member,
	do func(ctx context.Context, uri string, group []*member) error, tell func(client.ObjectKey, []*member, error)) error {
	var doing sync.WaitGroup
	var mu sync.Mutex
	failed := make(map[client.ObjectKey]error, len(groups))
	slots := make(chan struct{}, fencers)
	for key, group := range groups {
		slots <- struct{}{}
		doing.Go(func() {
			defer func() { <-slots }()
			limited, cancel := context.WithTimeout(ctx, latchTimeout)
			defer cancel()
			uri, err := r.ledgerOf(limited, group[0])
			if err == nil {
				err = do(limited, uri, group)
			}
			mu.Lock()
			defer mu.Unlock()
			failed[key] = err
		})
	}
	doing.Wait()
	var errs []error
	for key, group := range groups {
		tell(key, group, failed[key])
		if err := failed[key]; err != nil {
			errs = append(errs, fmt.Errorf("agent %s/%s: %w", group[0].agent.Namespace, group[0].agent.Name, err))
		}
	}
	return errors.Join(errs[:min(len(errs), mostNamed)]...)
}

// looseWords say which agents without a process a halt does not hold yet.
func looseWords(members []member) string {
	var loose []string
	for i := range members {
		if m := &members[i]; m.absent && m.loose != nil {
			loose = append(loose, fmt.Sprintf("%s/%s: %v", m.agent.Namespace, m.agent.Name, m.loose))
		}
	}
	if len(loose) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d more have no process, and their ledgers could not be told, so that an edit might free them: %s", len(loose), clip(slices.Min(loose)))
}
