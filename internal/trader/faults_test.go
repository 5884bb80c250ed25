package trader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// A fault strikes one call to the ledger or the venue.
type fault int

const (
	failBefore fault = iota // the call fails and has had no effect
	failAfter               // the call fails although it has had its effect
	killBefore              // the process dies before the call
	killAfter               // the process dies after the call's effect
	halt                    // the owner halts trading while the call is under way
	wish                    // somebody asks to close a position while the call is under way
)

// killed is the panic that ends a process of the test.
type killed struct{}

// world is what outlives a process: the ledger, the paper book, and what the
// test has seen. Its faults strike at given calls.
type world struct {
	t       failer
	config  Config
	account paper.Config
	ledger  *ledger.Memory
	book    *paper.MemoryBook
	bars    []market.PairBar
	faults  map[int]fault
	calls   int
	placed  map[uuid.UUID]int
	booked  map[string]order.Fill
	halted  bool
	shell   *Shell
	lookups int
	// wishes counts what was asked for; each wish is asked for twice. closed are
	// the orders placed for them.
	wishes int
	closed map[uuid.UUID]bool
}

// wanted is the wish that is asked for the given time.
func (w *world) wanted(count int) ledger.Request {
	return ledger.Request{Key: ledger.RequestKey(fmt.Sprint("wish ", count/2)), Pair: "AAA-USD"}
}

type failer interface {
	Fatalf(format string, args ...any)
	Helper()
}

// strike runs a call under the fault that is due. The failure is what the part
// would say.
func (w *world) strike(failure error, call func() error) error {
	w.calls++
	kind, due := w.faults[w.calls]
	if !due {
		return call()
	}
	switch kind {
	case failBefore:
		return failure
	case killBefore:
		panic(killed{}) //nolint:forbidigo // only a panic ends a process of the test wherever it is
	case halt:
		w.halted = true
		settings := w.config.Settings
		settings.Trading = risk.Halted
		w.shell.Update(settings)
		return call()
	case wish:
		w.shell.post(Closing{w.wanted(w.wishes)})
		w.wishes++
		return call()
	case failAfter, killAfter:
	}
	if err := call(); err != nil {
		return err
	}
	if kind == killAfter {
		panic(killed{}) //nolint:forbidigo // only a panic ends a process of the test wherever it is
	}
	return failure
}

// faultyLedger is the world's ledger as one process sees it.
type faultyLedger struct{ w *world }

var _ ledger.Ledger = faultyLedger{}

func (f faultyLedger) Acquire(ctx context.Context, agent ledger.Agent) (lease ledger.Lease, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { lease, err = f.w.ledger.Acquire(ctx, agent); return err })
	return lease, err
}

func (f faultyLedger) Load(ctx context.Context, lease ledger.Lease) (snapshot ledger.Snapshot, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { snapshot, err = f.w.ledger.Load(ctx, lease); return err })
	return snapshot, err
}

func (f faultyLedger) Decide(ctx context.Context, lease ledger.Lease, decision ledger.Decision, intents []order.Intent, sentAt time.Time) error {
	return f.w.strike(ledger.ErrOutcomeUnknown, func() error { return f.w.ledger.Decide(ctx, lease, decision, intents, sentAt) })
}

func (f faultyLedger) Request(ctx context.Context, lease ledger.Lease, request ledger.Request, intents []order.Intent, sentAt time.Time) error {
	return f.w.strike(ledger.ErrOutcomeUnknown, func() error { return f.w.ledger.Request(ctx, lease, request, intents, sentAt) })
}

func (f faultyLedger) Recall(ctx context.Context, lease ledger.Lease, request ledger.Request) (orders []uuid.UUID, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { orders, err = f.w.ledger.Recall(ctx, lease, request); return err })
	return orders, err
}

func (f faultyLedger) UpdateOrder(ctx context.Context, lease ledger.Lease, update ledger.OrderUpdate) error {
	return f.w.strike(ledger.ErrUnavailable, func() error { return f.w.ledger.UpdateOrder(ctx, lease, update) })
}

func (f faultyLedger) BookFill(ctx context.Context, lease ledger.Lease, fill order.Fill) (isNew bool, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) {
		isNew, err = f.w.ledger.BookFill(ctx, lease, fill)
		if err == nil && isNew {
			f.w.booked[fill.TradeID] = fill
		}
		return err
	})
	return isNew, err
}

func (f faultyLedger) SaveMark(ctx context.Context, lease ledger.Lease, mark ledger.Mark) error {
	return f.w.strike(ledger.ErrUnavailable, func() error { return f.w.ledger.SaveMark(ctx, lease, mark) })
}

func (f faultyLedger) Disarm(ctx context.Context, lease ledger.Lease, reason string, at time.Time) error {
	return f.w.strike(ledger.ErrUnavailable, func() error { return f.w.ledger.Disarm(ctx, lease, reason, at) })
}

func (f faultyLedger) Arming(ctx context.Context, lease ledger.Lease) (arming ledger.Arming, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { arming, err = f.w.ledger.Arming(ctx, lease); return err })
	return arming, err
}

func (f faultyLedger) Fund(ctx context.Context, lease ledger.Lease, claims []ledger.Claim) (shares map[string]market.Money, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { shares, err = f.w.ledger.Fund(ctx, lease, claims); return err })
	return shares, err
}

func (f faultyLedger) Holdings(ctx context.Context, lease ledger.Lease) (held map[string]ledger.Holding, err error) {
	err = f.w.strike(ledger.ErrUnavailable, func() (err error) { held, err = f.w.ledger.Holdings(ctx, lease); return err })
	return held, err
}

func (f faultyLedger) Proven(ctx context.Context, lease ledger.Lease, what string) error {
	return f.w.strike(ledger.ErrUnavailable, func() error { return f.w.ledger.Proven(ctx, lease, what) })
}

// faultyVenue is the paper venue as one process sees it.
type faultyVenue struct {
	w     *world
	venue *paper.Venue
}

var (
	_ venue.Venue = faultyVenue{}
	_ BarTaker    = faultyVenue{}

	errLine = errors.New("the line is dead")
)

func (f faultyVenue) Traits() venue.Traits { return f.venue.Traits() }

func (f faultyVenue) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	return f.venue.Freeze(intent, notAfter)
}

func (f faultyVenue) Place(ctx context.Context, request venue.Request) (placed venue.Order, err error) {
	intent := request.Intent
	if f.w.placed[intent.ID]++; f.w.placed[intent.ID] > 1 {
		f.w.t.Fatalf("order %s was placed %d times", intent.ID, f.w.placed[intent.ID])
	}
	if f.w.halted {
		f.w.t.Fatalf("order %s was placed after the halt", intent.ID)
	}
	if intent.Reason == OrderClose {
		f.w.closed[intent.ID] = true
	}
	err = f.w.strike(venue.ErrUnknownOutcome, func() (err error) { placed, err = f.venue.Place(ctx, request); return err })
	return placed, err
}

func (f faultyVenue) Cancel(ctx context.Context, ref venue.Ref) error {
	return f.w.strike(errLine, func() error { return f.venue.Cancel(ctx, ref) })
}

func (f faultyVenue) Lookup(ctx context.Context, ref venue.Ref) (found venue.Order, err error) {
	f.w.lookups++
	err = f.w.strike(errLine, func() (err error) { found, err = f.venue.Lookup(ctx, ref); return err })
	return found, err
}

func (f faultyVenue) Open(ctx context.Context) (open []venue.Order, err error) {
	err = f.w.strike(errLine, func() (err error) { open, err = f.venue.Open(ctx); return err })
	return open, err
}

func (f faultyVenue) Fills(ctx context.Context, cursor string) (fills []order.Fill, next string, err error) {
	err = f.w.strike(errLine, func() (err error) { fills, next, err = f.venue.Fills(ctx, cursor); return err })
	return fills, next, err
}

func (f faultyVenue) OnBar(ctx context.Context, bar market.PairBar) (fills []order.Fill, err error) {
	err = f.w.strike(errLine, func() (err error) { fills, err = f.venue.OnBar(ctx, bar); return err })
	return fills, err
}

// warmUp is how many bars the test's agents learn from before they trade.
const warmUp = 80

// process starts the agent and lives until the data ends (true) or a fault kills
// it (false).
func (w *world) process(ctx context.Context) (ended bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r) //nolint:forbidigo // not the test's own
			}
			ended = false
		}
	}()
	simulated, err := paper.New(w.book, w.account)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	config := w.config
	if w.halted {
		config.Settings.Trading = risk.Halted
	}
	w.shell, err = NewShell(config, Options{
		Ledger: faultyLedger{w}, Venue: faultyVenue{w, simulated},
		Feed: func(resume map[string]time.Time) (market.Feed, error) { return record(w.bars, resume), nil },
	})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	if err := w.shell.start(ctx); err != nil {
		w.t.Fatalf("start: %v", err)
	}
	for {
		bar, err := w.shell.feed.Next(ctx)
		if err != nil {
			break
		}
		w.turn(ctx, func() error { return w.shell.step(ctx, bar) })
		pass(time.Second)
	}
	for range 100 {
		if w.shell.core.recovered && w.shell.core.Status().Unknown == 0 {
			return true
		}
		pass(time.Second)
		w.turn(ctx, func() error { return w.shell.reconcile(ctx) })
	}
	w.t.Fatalf("after the faults the agent does not recover: %+v", w.shell.core.Status())
	return false
}

// turn does what the shell's loop does in one turn.
func (w *world) turn(ctx context.Context, do func() error) {
	steps := []func() error{do, func() error {
		if w.shell.core.recovered {
			return nil
		}
		return w.shell.reconcile(ctx)
	}, func() error { return w.shell.hear(ctx) }}
	for _, step := range steps {
		if err := step(); err != nil {
			if fatal(err) {
				w.t.Fatalf("%v", err)
			}
			w.shell.core.Handle(impairedBy(err))
		}
	}
}

func newWorld(tb testing.TB, t failer, seed uint64, bars int, pairs ...string) *world {
	tb.Helper()
	config, account := setup(tb, pairs...)
	account.Seed = int64(seed) //nolint:gosec // any seed will do
	return &world{
		t: t, config: config, account: account, ledger: ledger.NewMemory(), book: paper.NewMemoryBook(),
		bars: walk(seed, bars, config.Agent.Instruments), placed: map[uuid.UUID]int{}, closed: map[uuid.UUID]bool{}, booked: map[string]order.Fill{},
	}
}

// judge compares ledger, book and core after the data has ended.
func (w *world) judge(ctx context.Context) {
	w.t.Helper()
	snapshot, err := w.ledger.Load(ctx, w.shell.lease)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	executed := map[string]order.Fill{}
	held := map[string]market.Quantity{}
	cash := balance
	for cursor := ""; ; {
		fills, next, err := w.book.Fills(ctx, cursor)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		if len(fills) == 0 {
			break
		}
		for _, fill := range fills {
			executed[fill.TradeID] = fill
			quantity := fill.Quantity * market.Quantity(fill.Side)
			held[fill.Pair] += quantity
			cash -= w.shell.core.pair(fill.Pair).instrument.Notional(fill.Price, quantity) + fill.Fee
		}
		cursor = next
	}
	if !maps.Equal(executed, w.booked) || snapshot.Fills != int64(len(executed)) {
		w.t.Fatalf("the book has %d fills, the ledger booked %d and counts %d", len(executed), len(w.booked), snapshot.Fills)
	}
	if err := compare(held, snapshot, w.config.Agent.Instruments); err != nil {
		w.t.Fatalf("%v", err)
	}
	if cash != snapshot.Cash || cash != w.shell.core.cash {
		w.t.Fatalf("cash: the book says %s, the ledger %s and the core %s", cash, snapshot.Cash, w.shell.core.cash)
	}
	for i := range w.shell.core.pairs {
		pair := &w.shell.core.pairs[i]
		if pair.position != snapshot.Positions[pair.instrument.Pair] {
			w.t.Fatalf("%s: the core holds %+v and the ledger %+v", pair.instrument.Pair, pair.position, snapshot.Positions[pair.instrument.Pair])
		}
	}
	open, err := w.book.Open(ctx)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	atVenue := func(id uuid.UUID) bool {
		return slices.ContainsFunc(open, func(o paper.BookOrder) bool { return o.ID == id })
	}
	if len(open) != len(snapshot.OpenOrders) || len(open) != len(w.shell.core.open) {
		w.t.Fatalf("open orders: %d at the venue, %d in the ledger, %d in the core", len(open), len(snapshot.OpenOrders), len(w.shell.core.open))
	}
	for _, o := range snapshot.OpenOrders {
		if !atVenue(o.ID) {
			w.t.Fatalf("order %s is open in the ledger and not at the venue", o.ID)
		}
	}
	if w.halted && len(open) > 0 {
		w.t.Fatalf("%d orders are open under a halt", len(open))
	}
	w.judgeWishes(ctx)
}

// judgeWishes looks for orders that no wish accounts for.
func (w *world) judgeWishes(ctx context.Context) {
	w.t.Helper()
	granted := map[uuid.UUID]bool{}
	for count := 0; count < w.wishes; count += 2 {
		orders, err := w.ledger.Recall(ctx, w.shell.lease, w.wanted(count))
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		for _, id := range orders {
			granted[id] = true
		}
	}
	for id := range w.closed {
		if !granted[id] {
			w.t.Fatalf("order %s closes a position, and nobody asked for it", id)
		}
	}
}

// Whatever fails, and wherever the process dies, no order is placed twice or
// lost, and ledger, venue and core agree in the end.
func TestFaultsNeitherDoubleNorLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trades, closed := 0, 0
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			w := newWorld(t, rt, rapid.Uint64().Draw(rt, "seed"), 160, "AAA", "BBB")
			w.faults = map[int]fault{}
			at := 0
			for i := range rapid.IntRange(0, 12).Draw(rt, "faults") {
				at += rapid.IntRange(1, 60).Draw(rt, fmt.Sprintf("gap %d", i))
				w.faults[at] = rapid.SampledFrom([]fault{failBefore, failAfter, killBefore, killAfter, wish}).Draw(rt, fmt.Sprintf("kind %d", i))
			}
			if rapid.Bool().Draw(rt, "halts") {
				w.faults[at+rapid.IntRange(1, 400).Draw(rt, "halt at")] = halt
			}
			for !w.process(t.Context()) {
			}
			w.judge(t.Context())
			trades += len(w.placed)
			closed += len(w.closed)
		})
		if trades == 0 || closed == 0 {
			t.Fatal("no order was ever placed, so nothing was tested")
		}
	})
}

// The process dies at every single call of a run in turn.
func TestKilledAtEveryCall(t *testing.T) {
	for _, kind := range []fault{killBefore, killAfter, failBefore, failAfter, halt, wish} {
		synctest.Test(t, func(t *testing.T) {
			calls, orders := 0, 0
			for at := 1; at == 1 || at <= calls; at++ {
				w := newWorld(t, t, 3, 120, "AAA")
				w.faults = map[int]fault{at: kind}
				for !w.process(t.Context()) {
				}
				w.judge(t.Context())
				if at == 1 {
					calls = w.calls
				}
				orders += len(w.placed)
			}
			if orders == 0 {
				t.Fatal("no order was ever placed, so nothing was tested")
			}
		})
	}
}
