package link

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// BoundHalt is a halt that binds the agent.
type BoundHalt struct {
	UID  types.UID
	Name string
	Spec v1alpha1.TradingHaltSpec
	// Pairs that it binds, in canonical spelling; nil is all.
	Pairs []string
}

// Latch remembers which halts bind an agent, until it sees that they are released.
// A halt whose object has gone, or whose scope the agent has left by an edit, binds
// on. Its methods may be called from any goroutine.
type Latch struct {
	mu       sync.Mutex
	bound    []BoundHalt
	released map[types.UID]bool
}

// Restore takes up halts that a former process of the agent was bound by.
func (l *Latch) Restore(halts []BoundHalt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, halt := range halts {
		l.bind(halt)
	}
}

// See takes up what the manifests say now, and what the agent's own status says that
// a former process was bound by. It returns the halts that bind, those first that
// did before.
func (l *Latch) See(desk *Desk) []BoundHalt {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, halt := range desk.Halts {
		if halt.HaltSpec().Released() {
			l.free(halt.GetUID())
			continue
		}
		binding := v1alpha1.HaltBinds(halt, desk.Agent, desk.Account, desk.Pairs)
		// What a former process has told binds on, where its ledger may know nothing.
		if !binding.Bound && v1alpha1.HaltTold(halt, desk.Agent) && !l.binds(halt.GetUID()) {
			binding = v1alpha1.HaltHolds(halt, desk.Agent, desk.Account, desk.Declared)
		}
		if binding.Bound {
			l.bind(BoundHalt{UID: halt.GetUID(), Name: halt.Reference(), Spec: *halt.HaltSpec().DeepCopy(), Pairs: binding.Pairs})
		}
	}
	return slices.Clone(l.bound)
}

func (l *Latch) binds(uid types.UID) bool {
	return slices.ContainsFunc(l.bound, func(halt BoundHalt) bool { return halt.UID == uid })
}

// bind adds a halt, or more pairs to one that binds already. One whose release was
// seen never binds again: a slower way of seeing may still show it as it was.
func (l *Latch) bind(halt BoundHalt) {
	if l.released[halt.UID] {
		return
	}
	for i := range l.bound {
		known := &l.bound[i]
		if known.UID != halt.UID {
			continue
		}
		switch {
		case halt.Pairs == nil:
			known.Pairs = nil
		case known.Pairs != nil:
			grown := slices.Concat(known.Pairs, halt.Pairs)
			slices.Sort(grown)
			known.Pairs = slices.Compact(grown)
		}
		return
	}
	l.bound = append(l.bound, halt)
}

// Release frees the agent of a halt that is known to be released although no object
// says so any more.
func (l *Latch) Release(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free(uid)
}

func (l *Latch) free(uid types.UID) {
	if l.released == nil {
		l.released = map[types.UID]bool{}
	}
	l.released[uid] = true
	l.bound = slices.DeleteFunc(l.bound, func(halt BoundHalt) bool { return halt.UID == uid })
}
