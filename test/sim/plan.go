package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	account   = "account-uid"
	barLength = time.Minute
	// warmUp is how many bars agents learn from before they trade.
	warmUp = 80
	// drain is how long the world goes on after the last fault: longer than the
	// latest request can be late, and as long again for agents to prove it.
	drain   = 30 * time.Minute
	balance = 10_000 * market.MoneyUnit
)

// plan is what follows from a seed before anything happens. Chances are in
// thousandths.
type plan struct {
	class          venue.Class
	expiry, settle time.Duration
	spot           bool
	// inKind says that what is bought pays the fee.
	inKind      bool
	instruments []market.Instrument
	agents      int
	funds       market.Money
	bars        int
	limits      risk.Limits
	total       *trader.Total
	// chances of mishaps of requests to the venue, of outages of the ledger, of
	// debates that hang and of fills in parts.
	mishaps, outages, hangs, partial int
	// slowness of fills, connecting before a request leaves, and how late the
	// latest requests arrive.
	slowness, connecting, latest time.Duration
	// calm is when the last fault strikes.
	calm time.Time
	// blows are how many processes are killed, stopped or doubled, and orders how
	// often the owner changes his mind.
	blows, orders int
}

func newPlan(random *rand.Rand) (plan, error) {
	p := plan{agents: 1 + random.IntN(3), bars: 25 + random.IntN(20), spot: random.IntN(2) == 0}
	p.class = []venue.Class{venue.ClassReturns, venue.ClassRefuses, venue.ClassRefusesOpen, venue.ClassIgnores}[random.IntN(4)]
	p.inKind = p.spot && random.IntN(2) == 0
	p.latest = 10 * time.Minute
	switch p.class {
	case venue.ClassReturns:
		p.expiry, p.latest = 2*time.Minute, 4*time.Minute
	case venue.ClassRefusesOpen:
		p.expiry, p.latest = 10*time.Second, 20*time.Second
	case venue.ClassRefuses, venue.ClassIgnores:
	}
	p.settle = time.Duration(random.IntN(3000)) * time.Millisecond
	p.slowness = time.Duration(1+random.IntN(40)) * time.Second
	p.connecting = time.Duration(random.IntN(2000)) * time.Millisecond
	p.partial = random.IntN(1000)
	if random.IntN(10) > 0 {
		p.mishaps, p.outages, p.hangs = random.IntN(250), random.IntN(40), random.IntN(60)
		p.blows, p.orders = random.IntN(7), random.IntN(4)
	}
	p.calm = beginning.Add(time.Duration(p.bars) * barLength)
	p.funds = market.Money(p.agents) * balance
	for i := range p.agents * 2 {
		instrument, err := market.NewInstrument(fmt.Sprintf("C%02d", i), "USD", decimal.New(1, -2), decimal.New(1, -3), decimal.New(1, 0))
		if err != nil {
			return plan{}, err
		}
		p.instruments = append(p.instruments, instrument)
	}
	p.limits = risk.NoLimits()
	p.limits.MaxOrderNotional, p.limits.PriceCollar, p.limits.MaxPerSecond = 1500*market.MoneyUnit, 20_000_000, 5
	p.limits.MaxPositions, p.limits.MaxTradesPerDay = int32(1+random.IntN(2)), int32(5+random.IntN(40)) //nolint:gosec // small
	p.limits.MaxGross, p.limits.MaxDataAge = market.Money(1600+random.IntN(2000))*market.MoneyUnit, 3*barLength
	p.limits.MaxDrawdown = 500_000_000
	if random.IntN(2) == 0 {
		p.total = &trader.Total{Scope: "account/" + account, MaxGross: market.Money(1600+random.IntN(2500)) * market.MoneyUnit}
	}
	return p, nil
}

// hire makes the plan's agents and starts a process of each.
func (w *world) hire() error {
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		return err
	}
	for i := range w.plan.agents {
		a := &agent{name: fmt.Sprintf("a%d", i+1)}
		a.settings = trader.Settings{Trading: risk.Enabled, Generation: 1, Limits: w.plan.limits, AccountTotal: w.plan.total}
		a.config = trader.Config{
			Agent: ledger.Agent{
				UID: a.name + "-uid", Namespace: "desk", Name: a.name, Account: account, Venue: Name, Currency: "USD", Balance: balance,
				Instruments: w.plan.instruments[2*i : 2*i+2],
			},
			Interval: barLength, MinConfidence: 700_000_000, LongShort: !w.plan.spot, Risk: 10_000_000, Stop: 5_000_000, Target: 9_000_000,
			Debate: debate,
		}
		w.agents = append(w.agents, a)
		w.spawn(a)
	}
	return nil
}

// scheme lays down when what strikes whom.
func (w *world) scheme() {
	span := w.plan.calm.Sub(beginning)
	for range w.plan.blows {
		a := w.agents[w.random.IntN(len(w.agents))]
		w.strike(a, beginning.Add(w.between(0, span)), func() { w.blow(a) })
	}
	for i := range w.plan.orders {
		a := w.agents[w.random.IntN(len(w.agents))]
		at := beginning.Add(w.between(0, span))
		end := at.Add(w.between(0, 10*time.Minute))
		switch w.random.IntN(7) {
		case 0, 1:
			w.strike(a, at, func() { w.command(a, "halt", func(s *trader.Settings) { s.Trading = risk.Halted }) })
		case 2:
			w.strike(a, at, func() { w.command(a, "reduce", func(s *trader.Settings) { s.Trading = risk.Reducing }) })
		case 6:
			w.at(at, func() { w.dismiss(a) })
			continue
		default:
			halt := w.halt(a, i)
			w.strike(a, at, func() {
				w.command(a, halt.Name, func(s *trader.Settings) { s.Halts = append(slices.Clone(s.Halts), halt) })
			})
			if w.chance(800) {
				w.at(end, func() {
					w.command(a, "end "+halt.Name, func(s *trader.Settings) {
						s.Halts = slices.DeleteFunc(slices.Clone(s.Halts), func(h trader.Halt) bool { return h.UID == halt.UID })
					})
				})
			}
			continue
		}
		if w.chance(800) {
			w.at(end, func() { w.command(a, "trade", func(s *trader.Settings) { s.Trading = risk.Enabled }) })
		}
	}
}

// strike lets something happen to an agent: at the time, or when the next order
// after it is on its way.
func (w *world) strike(a *agent, at time.Time, do func()) {
	if w.chance(500) {
		w.at(at, do)
		return
	}
	a.ambushes = append(a.ambushes, appointment{at: at, do: do})
}

// ambush an agent whose order was just committed.
func (w *world) ambush(a *agent) {
	a.ambushes = slices.DeleteFunc(a.ambushes, func(ambush appointment) bool {
		if ambush.at.After(w.now) {
			return false
		}
		if w.stormy() {
			w.in(w.between(0, w.plan.connecting+50*time.Millisecond), ambush.do)
		}
		return true
	})
}

// halt is one of an agent or of one of its pairs.
func (w *world) halt(a *agent, number int) trader.Halt {
	halt := trader.Halt{
		UID: "halt-" + strconv.Itoa(number), Name: "halt " + strconv.Itoa(number), Reason: "a drill", State: risk.Halted,
		Task: []trader.Task{trader.CancelOrders, trader.FlattenPositions}[w.random.IntN(2)],
	}
	if w.chance(300) {
		halt.State = risk.Reducing
	}
	if w.chance(500) {
		halt.Pairs = []string{a.config.Agent.Instruments[w.random.IntN(2)].Pair}
	}
	return halt
}

// dismiss deletes an agent, which is to close its positions.
func (w *world) dismiss(a *agent) {
	w.note(a.name, "is deleted")
	w.counts.Deletions++
	a.leaves = true
	for _, p := range a.processes {
		if p.alive {
			p.shell.Delete(true)
			p.poke()
		}
	}
}

// blow kills a process, stops it for a while, or takes it for dead.
func (w *world) blow(a *agent) {
	p := a.current()
	again := w.between(0, 20*time.Second)
	switch w.random.IntN(3) {
	case 0:
		w.counts.Kills++
		p.kill()
	case 1:
		// It is stopped while another one takes its place, and goes on afterwards.
		w.counts.Stops++
		p.paused = w.now.Add(w.between(time.Second, 2*time.Minute))
		w.note(p.name, "stopped")
	default:
		w.counts.Doubles++
	}
	w.in(again, func() { w.spawn(a) })
}

// command is what the owner wants of an agent; every process that lives hears it.
func (w *world) command(a *agent, what string, change func(*trader.Settings)) {
	change(&a.settings)
	a.settings.Generation++
	w.note(a.name, "is told to", what)
	if strings.HasPrefix(what, "halt") {
		w.counts.Halts++
	}
	for _, p := range a.processes {
		if p.alive {
			p.shell.Update(a.settings)
			p.poke()
		}
	}
}
