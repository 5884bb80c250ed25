package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// judge watches what leaves and what the exchange's own book says, and compares
// it with what the ledger holds in the end.
type judge struct {
	w      *world
	limits *limits
	sent   map[uuid.UUID]int
	taken  map[uuid.UUID]int
	faults []string
}

func newJudge(w *world) *judge {
	return &judge{w: w, limits: newLimits(w), sent: map[uuid.UUID]int{}, taken: map[uuid.UUID]int{}}
}

// mostFaults is how many faults of one simulation are told.
const mostFaults = 10

func (j *judge) fail(format string, values ...any) {
	if len(j.faults) < mostFaults {
		text := fmt.Sprintf("seed %d after %s: ", j.w.counts.Seed, j.w.now.Sub(beginning)) + fmt.Sprintf(format, values...)
		j.faults = append(j.faults, text)
		j.w.note("FAULT", text)
	}
}

// left is told of every placement at the moment at which its first byte leaves.
func (j *judge) left(p *process, request *venue.Request) {
	intent := &request.Intent
	j.w.note("left", intent.ID.String(), p.name)
	j.w.counts.Sent++
	if j.sent[intent.ID]++; j.sent[intent.ID] > 1 {
		j.fail("order %s left %d times", intent.ID, j.sent[intent.ID])
	}
	if committed, ok := j.w.books.committed[intent.ID]; !ok || committed != *intent {
		j.fail("order %s left, and the ledger has %+v", intent.ID, committed)
	}
	switch trading := p.agent.allowed(intent); {
	case trading == risk.Halted:
		j.fail("order %s left under a halt", intent.ID)
	case trading == risk.Reducing && !intent.ReduceOnly:
		j.fail("order %s opens, and left when only reducing was allowed", intent.ID)
	}
	j.limits.left(p.agent, intent)
}

// allowed is what the owner and his halts let an order do; an agent that is deleted
// only closes its positions. A halt that flattens lets its own orders out whatever
// else is forbidden.
func (a *agent) allowed(intent *order.Intent) risk.TradingState {
	state, flattens := a.settings.Trading, false
	for _, halt := range a.settings.Halts {
		if halt.Pairs != nil && !slices.Contains(halt.Pairs, intent.Pair) {
			continue
		}
		state = min(state, halt.State)
		flattens = flattens || halt.Task == trader.FlattenPositions
	}
	if flattens && intent.Reason == trader.OrderFlatten {
		return risk.Reducing
	}
	if a.leaves {
		state = min(state, risk.Reducing)
	}
	return state
}

// accepted is told of every order that the exchange takes.
func (j *judge) accepted(o *placed) {
	if j.taken[o.id]++; j.taken[o.id] > 1 {
		j.fail("order %s was accepted %d times", o.id, j.taken[o.id])
	}
	j.limits.accepted(o)
	if j.w.exchange.traits.RequestExpiry == 0 {
		return
	}
	for _, younger := range o.by.agent.processes {
		if younger.epoch > o.by.epoch && younger.shell.Status().Ready() {
			j.fail("order %s of epoch %d was accepted when epoch %d was ready", o.id, o.by.epoch, younger.epoch)
		}
	}
}

// end compares the exchange's book with the ledger and with what agents say.
func (j *judge) end() {
	booked := map[string]order.Fill{}
	for _, fill := range j.w.exchange.executed {
		booked[fill.TradeID] = fill
	}
	if !maps.Equal(booked, j.w.books.booked) {
		j.fail("the exchange has %d fills, and the ledger booked %d", len(booked), len(j.w.books.booked))
	}
	open := map[uuid.UUID]bool{}
	for _, o := range j.w.exchange.orders {
		if _, ok := j.w.books.committed[o.id]; !ok {
			j.fail("order %s was accepted, and no intent was committed", o.id)
		}
		open[o.id] = !o.state.Final()
	}
	for _, a := range j.w.agents {
		j.endOf(a, open)
	}
	for _, id := range slices.SortedFunc(maps.Keys(open), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		if open[id] {
			j.fail("order %s is open at the exchange and not in the ledger", id)
		}
	}
}

// obeyed judges whether an agent has done in the end what its owner wanted last.
func (j *judge) obeyed(a *agent, status *trader.Status) {
	halted := a.settings.Trading == risk.Halted
	for _, halt := range a.settings.Halts {
		halted = halted || halt.State == risk.Halted
	}
	for i := range status.Halts {
		if told := &status.Halts[i]; !told.Done {
			j.fail("%s in the end: %s is not done: %s", a.name, told.Name, told.Left)
		}
	}
	if a.leaves && !halted && !status.Finished {
		j.fail("%s in the end: it was to close its positions and holds %d, with %d open orders", a.name, len(status.Positions), status.OpenOrders)
	}
	if halted && a.settings.Trading == risk.Halted && status.OpenOrders > 0 {
		j.fail("%s in the end: %d orders are open under a halt", a.name, status.OpenOrders)
	}
}

// positionOf is what an agent says that it holds of a pair.
func positionOf(status *trader.Status, pair string) ledger.Position {
	for i := range status.Positions {
		if status.Positions[i].Instrument.Pair == pair {
			return status.Positions[i].Position
		}
	}
	return ledger.Position{}
}

// endOf judges one agent, and takes its orders off those that are open at the
// exchange.
func (j *judge) endOf(a *agent, open map[uuid.UUID]bool) {
	// Of processes that were taken for dead the one that came last to the ledger
	// is left.
	p := a.current()
	for _, other := range a.processes {
		if other.epoch > p.epoch {
			p = other
		}
	}
	status := p.shell.Status()
	if !p.alive || !status.Ready() || status.Unknown > 0 {
		j.fail("%s in the end: alive %v, ready %v, %d unknown orders, %s: %s", p.name, p.alive, status.Ready(), status.Unknown, status.Reason, status.Message)
	}
	j.obeyed(a, status)
	lease, err := j.w.books.Acquire(context.Background(), p.configured())
	if err != nil {
		j.fail("%s: %v", a.name, err)
		return
	}
	snapshot, err := j.w.books.Load(context.Background(), lease)
	if err != nil {
		j.fail("%s: %v", a.name, err)
		return
	}
	cash := balance
	for _, fill := range j.w.exchange.executed {
		if !slices.ContainsFunc(a.config.Agent.Instruments, func(i market.Instrument) bool { return i.Pair == fill.Pair }) {
			continue
		}
		cash -= j.w.exchange.instruments[fill.Pair].Notional(fill.Price, fill.Quantity) * market.Money(fill.Side)
		if fill.FeeCurrency == "USD" {
			cash -= fill.Fee
		}
	}
	if cash != snapshot.Cash {
		j.fail("%s: the ledger has %s in cash, and by the exchange's book it is %s", a.name, snapshot.Cash, cash)
	}
	for _, instrument := range a.config.Agent.Instruments {
		// What fees in kind have left of a lot is cash in the base currency, and never a
		// whole lot of a position.
		held := snapshot.Positions[instrument.Pair]
		got := instrument.QuantityDecimal(held.Quantity).Add(j.w.books.Cash(lease.Agent.UID)[instrument.Base].Decimal())
		if want := j.w.exchange.held[instrument.Pair]; !got.Equal(want) {
			j.fail("%s: the ledger holds %s of %s, and the exchange %s", a.name, got, instrument.Base, want)
		}
		if want := j.w.exchange.lots(instrument.Pair); held.Quantity != want {
			j.fail("%s: the ledger holds %d lots of %s, and the exchange %d", a.name, held.Quantity, instrument.Base, want)
		}
		if told := positionOf(status, instrument.Pair); told.Quantity != held.Quantity || told.Quantity != 0 && told != held {
			j.fail("%s: the agent holds %+v of %s, and the ledger %+v", a.name, told, instrument.Base, held)
		}
	}
	for _, o := range snapshot.OpenOrders {
		if !open[o.ID] {
			j.fail("order %s is %s in the ledger and not open at the exchange", o.ID, o.State)
		}
		open[o.ID] = false
	}
}
