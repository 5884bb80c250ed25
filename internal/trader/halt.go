package trader

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// Task says what becomes of open orders and positions under a halt. The zero
// value keeps them.
type Task int8

// The tasks, the widest last.
const (
	KeepOrders Task = iota
	CancelOrders
	FlattenPositions
)

// Halt binds the agent, or some of its pairs, until it is released. It is part of
// the settings: one that is no longer among them binds no more.
type Halt struct {
	// UID of the halt; Name is for people, such as TradingHalt/stop.
	UID, Name string
	// State is risk.Halted or risk.Reducing.
	State risk.TradingState
	Task  Task
	// Reason why, in the words of who requested it.
	Reason string
	// Pairs that it binds, in canonical spelling; nil is all.
	Pairs []string
}

// NewHalt is what a halt's manifest means for an agent that it binds.
func NewHalt(uid, name string, spec *v1alpha1.TradingHaltSpec, pairs []string) Halt {
	bound := Halt{UID: uid, Name: name, State: risk.Halted, Task: CancelOrders, Reason: spec.Reason, Pairs: pairs}
	if spec.Trading() == v1alpha1.TradingReduceOnly {
		bound.State = risk.Reducing
	}
	switch spec.EffectiveTask() {
	case v1alpha1.HaltKeep:
		bound.Task = KeepOrders
	case v1alpha1.HaltFlatten:
		bound.Task = FlattenPositions
	case v1alpha1.HaltCancelOrders:
	}
	return bound
}

// CancelsAll reports whether the halt, by itself, lets no order stay open that it
// binds.
func (h *Halt) CancelsAll() bool { return h.State == risk.Halted && h.Task != KeepOrders }

func (h *Halt) binds(pair string) bool { return h.Pairs == nil || slices.Contains(h.Pairs, pair) }

// restraint is what all halts together ask of a pair: the strictest state and the
// widest task. By are their names.
type restraint struct {
	state risk.TradingState
	task  Task
	by    []string
}

// restrain is what the halts ask that a function picks.
func restrain(halts []Halt, picks func(*Halt) bool) restraint {
	r := restraint{state: risk.Enabled}
	for i := range halts {
		h := &halts[i]
		if !picks(h) {
			continue
		}
		r.state, r.task = min(r.state, h.State), max(r.task, h.Task)
		r.by = append(r.by, fmt.Sprintf("%s (%s)", h.Name, h.Reason))
	}
	return r
}

// message names the halts behind a restraint.
func (r *restraint) message() string { return "under " + strings.Join(r.by, ", ") }

// halt puts the halts of the settings in force.
func (c *Core) halt() {
	c.halted = restrain(c.settings.Halts, func(h *Halt) bool { return h.Pairs == nil })
	for i := range c.pairs {
		pair := &c.pairs[i]
		pair.halted = restrain(c.settings.Halts, func(h *Halt) bool { return h.binds(pair.instrument.Pair) })
	}
}

// permittedIn is how far orders of a pair may go now, before any limit of the
// gate; why is the reason of the order, because a halt that flattens lets its own
// orders out and no others.
func (c *Core) permittedIn(pair *pairState, why string) risk.TradingState {
	if why == OrderFlatten && c.recovered && c.haltFlattens(pair) {
		return risk.Reducing
	}
	return min(c.permitted(), pair.halted.state)
}

// haltFlattens reports whether a halt wants the pair's position closed. An agent
// that is being deleted and keeps its positions keeps them.
func (c *Core) haltFlattens(pair *pairState) bool {
	return pair.halted.task == FlattenPositions && (c.deleting == nil || c.deleting.Flatten)
}

// haltsDebate reports whether nothing may come of a debate on a pair any more: what
// waits for its end would wait in vain.
func (c *Core) haltsDebate(name string) bool {
	pair := c.pair(name)
	return c.permittedIn(pair, "") == risk.Halted || c.haltFlattens(pair)
}

// mustGo reports whether the halts of its pair, or what is permitted otherwise, want
// an open order cancelled.
func (c *Core) mustGo(o *openOrder) bool {
	pair := c.pair(o.Pair)
	permitted := c.permitted()
	if !c.recovered {
		permitted = c.settings.Trading
	}
	if pair.halted.task != KeepOrders {
		permitted = min(permitted, pair.halted.state)
		if o.Reason == OrderFlatten && c.haltFlattens(pair) {
			permitted = max(permitted, risk.Reducing)
		}
	}
	return permitted == risk.Halted || (permitted == risk.Reducing && !o.ReduceOnly)
}

// urge does once more what a halt asks for and what has not succeeded yet, without
// waiting for the next bar.
func (c *Core) urge() {
	for i := range c.open {
		o := &c.open[i]
		switch {
		case !o.cancelling || len(c.pair(o.Pair).halted.by) == 0:
		case o.state.Unsettled():
			c.emit(Lookup{o.ID})
		default:
			c.emit(Cancel{o.ID})
		}
	}
	c.obey()
}

// Obeyed is how far the agent has obeyed a halt.
type Obeyed struct {
	Halt
	// Done says that the task is done too, confirmed by the venue; Left says what
	// is not.
	Done bool
	Left string
	// Acknowledged is since when no order leaves that the halt forbids, and
	// Finished when the task was done; both by the wall clock.
	Acknowledged, Finished time.Time
}

// obeyed is how far each halt in force has been obeyed. That no order leaves any
// more follows from its being in the core's settings.
func (c *Core) obeyed() []Obeyed {
	told := make([]Obeyed, 0, len(c.settings.Halts))
	for i := range c.settings.Halts {
		told = append(told, c.progress(&c.settings.Halts[i]))
	}
	return told
}

func (c *Core) progress(h *Halt) Obeyed {
	told := Obeyed{Halt: *h}
	if h.Task == KeepOrders {
		told.Done = true
		return told
	}
	orders := 0
	for i := range c.open {
		o := &c.open[i]
		if h.binds(o.Pair) && (h.State == risk.Halted || !o.ReduceOnly || h.Task == FlattenPositions) {
			orders++
		}
	}
	var held []string
	for i := range c.pairs {
		pair := &c.pairs[i]
		if h.Task == FlattenPositions && h.binds(pair.instrument.Pair) && pair.position.Quantity != 0 {
			held = append(held, pair.instrument.Pair)
		}
	}
	var left []string
	if !c.recovered {
		// What the ledger does not know of, the venue may have.
		_, reason, message := c.tradingState()
		left = append(left, reason+": "+message)
	}
	if orders > 0 {
		left = append(left, fmt.Sprintf("%d open orders", orders))
	}
	if len(held) > 0 {
		left = append(left, "positions in "+strings.Join(held, ", "))
	}
	if c.inHand != nil && len(c.inHand.Intents) > 0 {
		left = append(left, "a decision that is being recorded")
	}
	told.Done, told.Left = len(left) == 0, strings.Join(left, "; ")
	return told
}

// urgent reports whether a halt has something left to be done that another attempt
// may do.
func (c *Core) urgent() bool {
	return c.recovered && slices.ContainsFunc(c.obeyed(), func(o Obeyed) bool { return !o.Done })
}

// stamp adds to the status when each halt was acknowledged and done.
func (s *Shell) stamp(status *Status) {
	stamped := make(map[string]Obeyed, len(status.Halts))
	now := s.clock.Now()
	for i := range status.Halts {
		told := &status.Halts[i]
		before, known := s.obeyed[told.UID]
		told.Acknowledged, told.Finished = before.Acknowledged, before.Finished
		if !known {
			told.Acknowledged = now
		}
		if s.swept != "" && told.Left != "" && told.CancelsAll() {
			told.Left += "; " + s.swept
		}
		switch {
		case before.Done && !told.Done && !s.core.recovered:
			// What the venue has confirmed stays true while the ledger is away.
			told.Done, told.Left = true, ""
		case told.Done && told.Finished.IsZero():
			told.Finished = now
		case !told.Done:
			told.Finished = time.Time{}
		}
		stamped[told.UID] = *told
	}
	s.obeyed = stamped
}
