package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
)

// Counts are what one simulation, or many, came to.
type Counts struct {
	// Seed of a single one.
	Seed uint64
	// Decisions committed, orders that left and that were accepted, and fills.
	Decisions, Sent, Orders, Fills int64
	// Mishaps of requests, of which Lost placements and Expired ones; Outages of
	// the ledger; debates that hung; pages with fills that were told before.
	Mishaps, Lost, Expired, Outages, Hangs, Repeated int64
	// Processes that were killed, stopped for a while and doubled, halts, and agents
	// that were deleted.
	Kills, Stops, Doubles, Halts, Deletions int64
}

// Add sums up.
func (c *Counts) Add(other *Counts) {
	for _, pair := range []struct{ into, from *int64 }{
		{&c.Decisions, &other.Decisions}, {&c.Sent, &other.Sent}, {&c.Orders, &other.Orders}, {&c.Fills, &other.Fills},
		{&c.Mishaps, &other.Mishaps}, {&c.Lost, &other.Lost}, {&c.Expired, &other.Expired}, {&c.Outages, &other.Outages},
		{&c.Hangs, &other.Hangs}, {&c.Repeated, &other.Repeated}, {&c.Kills, &other.Kills}, {&c.Stops, &other.Stops},
		{&c.Doubles, &other.Doubles}, {&c.Halts, &other.Halts}, {&c.Deletions, &other.Deletions},
	} {
		*pair.into += *pair.from
	}
}

// Result is what one simulation came to.
type Result struct {
	Counts Counts
	// Trace is the hash of all that happened: the same seed has the same.
	Trace uint64
	// Faults of the product, in words; none is as it should be.
	Faults []string
}

// Run simulates what follows from a seed. What happens is written as text too if
// a writer is given.
func Run(seed uint64, text io.Writer) (Result, error) {
	w := &world{random: rand.New(rand.NewPCG(seed, 0x51d)), now: beginning, trace: newTrace(text), books: newBooks()} //nolint:gosec // the same every time
	w.counts.Seed = seed
	var err error
	if w.plan, err = newPlan(w.random); err != nil {
		return Result{}, fmt.Errorf("seed %d: %w", seed, err)
	}
	w.judge = newJudge(w)
	w.note(fmt.Sprintf("class %s, expiry %s, settle %s, spot %v, %d agents, %d bars, mishaps %d, outages %d, blows %d, orders %d", w.plan.class,
		w.plan.expiry, w.plan.settle, w.plan.spot, w.plan.agents, w.plan.bars, w.plan.mishaps, w.plan.outages, w.plan.blows, w.plan.orders))
	w.openExchange()
	if err := w.hire(); err != nil {
		return Result{}, fmt.Errorf("seed %d: %w", seed, err)
	}
	w.scheme()
	w.run(w.plan.calm.Add(drain))
	w.judge.end()
	for _, a := range w.agents {
		for _, p := range a.processes {
			if p.alive {
				p.alive = false
				p.stop()
			}
		}
	}
	return Result{Counts: w.counts, Trace: w.trace.sum.Sum64(), Faults: w.judge.faults}, nil
}
