package trader

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// trade starts an agent at a venue that has to be asked, in a bubble: its data ends
// after so many bars.
func trade(t *testing.T, x *exchange, bars int, change func(*Config)) *desk {
	t.Helper()
	return tradeAt(t, x, x, bars, change)
}

// tradeAt is trade with an adapter in front of the venue.
func tradeAt(t *testing.T, x *exchange, adapter venue.Venue, bars int, change func(*Config)) *desk {
	t.Helper()
	config, _ := setup(t, "AAA")
	config.Agent.Venue, config.Debate.Judge = "Live", rules{decision.Buy}
	if change != nil {
		change(&config)
	}
	d := &desk{t: t, scribe: &scribe{Ledger: x.books}, ended: make(chan error, 1)}
	sentry := venue.NewSentry(time.Now)
	x.guard = sentry
	var err error
	d.shell, err = NewShell(config, Options{Ledger: d.scribe, Venue: adapter, Sentry: sentry, Feed: func(map[string]time.Time) (market.Feed, error) {
		past := walk(11, warmUp, config.Agent.Instruments)
		begins := time.Now()
		shift := begins.Sub(past[len(past)-1].End)
		for i := range past {
			past[i].Start, past[i].End = past[i].Start.Add(shift), past[i].End.Add(shift)
		}
		feed := record(past, nil)
		for i := range bars {
			at := begins.Add(time.Duration(i) * time.Minute)
			feed.bars = append(feed.bars, market.PairBar{Pair: "AAA-USD", Bar: market.Bar{
				Start: at, End: at.Add(time.Minute), Open: 10_000, High: 10_000, Low: 10_000, Close: 10_000,
			}})
		}
		return &silentAfter{feed, bars}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.cancel = cancel
	go func() { d.ended <- d.shell.Run(ctx) }()
	return d
}

// hungExchange takes every connection and answers nothing while it is hung; it tells
// of fills unless it is mute too.
type hungExchange struct {
	*exchange
	hung, mute atomic.Bool
	// since is when the call under way began, in nanoseconds of the Unix time; 0
	// while there is none.
	since atomic.Int64
}

func (h *hungExchange) answer(ctx context.Context, hangs bool) error {
	if !hangs {
		return nil
	}
	h.since.Store(time.Now().UnixNano())
	defer h.since.Store(0)
	<-ctx.Done()
	return ctx.Err()
}

func (h *hungExchange) Cancel(ctx context.Context, ref venue.Ref) error {
	if err := h.answer(ctx, h.hung.Load()); err != nil {
		return err
	}
	return h.exchange.Cancel(ctx, ref)
}

func (h *hungExchange) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	if err := h.answer(ctx, h.hung.Load()); err != nil {
		return venue.Order{}, err
	}
	return h.exchange.Lookup(ctx, ref)
}

func (h *hungExchange) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	if err := h.answer(ctx, h.hung.Load() && h.mute.Load()); err != nil {
		return nil, cursor, err
	}
	return h.exchange.Fills(ctx, cursor)
}

// until a call has waited for an answer for so long.
func (h *hungExchange) until(t *testing.T, waited time.Duration) {
	t.Helper()
	for range 1000 {
		if since := h.since.Load(); since != 0 && time.Since(time.Unix(0, since)) >= waited {
			return
		}
		pass(100 * time.Millisecond)
		synctest.Wait()
	}
	t.Fatal("the venue is not asked for anything")
}

// resting puts orders into the ledger and the venue that a former process has left
// open.
func (h *hungExchange) resting(t *testing.T, count int) {
	t.Helper()
	config, _ := setup(t, "AAA")
	config.Agent.Venue = "Live"
	lease, err := h.books.Acquire(t.Context(), config.Agent)
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		sequence, at := int64(i+1), start.Add(time.Duration(i)*time.Minute)
		intent := order.Intent{
			ID: order.NewID(config.Agent.Account, config.Agent.UID, sequence, 0, 0), Account: config.Agent.Account, AgentUID: config.Agent.UID, Sequence: sequence,
			Pair: "AAA-USD", Side: order.Buy, Quantity: 100, Limit: 9_000, Reserved: 9 * market.MoneyUnit, MarketTime: at, Reason: OrderDecision,
		}
		decided := ledger.Decision{Sequence: sequence, Pair: "AAA-USD", BarEnd: at, Action: "Buy", Outcome: OutcomeOrdered}
		if err := h.books.Decide(t.Context(), lease, decided, []order.Intent{intent}, at); err != nil {
			t.Fatal(err)
		}
		update := ledger.OrderUpdate{ID: intent.ID, State: order.Acked, VenueOrderID: "v" + strconv.Itoa(i), MarketTime: at}
		if err := h.books.UpdateOrder(t.Context(), lease, update); err != nil {
			t.Fatal(err)
		}
		h.orders[intent.ID] = &venue.Order{ID: intent.ID, VenueOrderID: update.VenueOrderID, Pair: intent.Pair, State: order.Acked}
	}
}

// A venue that does not answer holds up neither a halt nor the one after it, however
// many orders it is asked for one after another; the loop counts as alive meanwhile.
func TestHaltsWhileTheVenueHangs(t *testing.T) {
	for name, test := range map[string]struct {
		orders int
		mute   bool
	}{
		"a few orders":                {5, false},
		"and tells of no fills":       {5, true},
		"as many as outlast the loop": {15, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &hungExchange{exchange: newExchange()}
				x.resting(t, test.orders)
				d := tradeAt(t, x.exchange, x, 0, nil)
				d.until("the open orders", func(s *Status) bool { return s.Ready() && int(s.OpenOrders) == test.orders })
				x.mute.Store(test.mute)
				x.hung.Store(true)
				settings := d.shell.config.Settings
				for _, uid := range []string{"first", "second", "third"} {
					x.until(t, 2*time.Second)
					settings.Halts = append(slices.Clip(settings.Halts), Halt{UID: uid, Name: uid, State: risk.Halted, Task: CancelOrders})
					asked := time.Now()
					d.shell.Update(settings)
					pass(time.Second)
					synctest.Wait()
					told := d.shell.Status().Halts
					if len(told) != len(settings.Halts) || told[len(told)-1].UID != uid || told[len(told)-1].Acknowledged.Sub(asked) > haltGrace {
						t.Fatalf("a second after the %s halt: %+v", uid, told)
					}
					if told[0].Done || told[0].Left == "" {
						t.Fatalf("nothing is cancelled, and yet %+v", told)
					}
				}
				for range test.orders {
					pass(callTimeout)
					if err := d.shell.Alive(); err != nil {
						t.Fatal(err)
					}
				}
				x.hung.Store(false)
				d.until("that all is cancelled", func(s *Status) bool { return s.OpenOrders == 0 && s.Halts[0].Done && s.Halts[2].Done })
				if err := d.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Once a halt has waited for its grace, no further call begins before it is heard.
func TestNoCallBeginsWhileAHaltIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shell := &Shell{clock: &wallClock{}, wake: make(chan struct{}, 1)}
		begin := func() error {
			call, cancel := shell.bounded(t.Context())
			defer cancel()
			return call.Err()
		}
		shell.post(Deleting{})
		if err := begin(); err != nil {
			t.Errorf("within the grace: %v", err)
		}
		shell.breakOff()
		if err := begin(); err == nil {
			t.Error("a call begins although a halt is overdue")
		}
		shell.posted()
		if err := begin(); err != nil {
			t.Errorf("after the owner was heard: %v", err)
		}
	})
}

// wishing is a venue at which the owner says something while it cancels.
type wishing struct {
	*exchange
	say func()
}

func (w *wishing) Cancel(ctx context.Context, ref venue.Ref) error {
	w.say()
	return w.exchange.Cancel(ctx, ref)
}

// begin starts a shell up to its loop.
func begin(t *testing.T, x *exchange, adapter venue.Venue, change func(*Config)) *Shell {
	t.Helper()
	config, _ := setup(t, "AAA", "BBB")
	config.Agent.Venue = "Live"
	if change != nil {
		change(&config)
	}
	shell, err := NewShell(config, Options{Ledger: x.books, Venue: adapter, Feed: func(map[string]time.Time) (market.Feed, error) {
		return record(walk(11, warmUp, config.Agent.Instruments), nil), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return shell
}

// An order that the gate has let pass and that waits for a cancellation does not leave
// on the strength of what was known before the owner spoke.
func TestAWaitingOrderMeetsTheGateAgain(t *testing.T) {
	for name, test := range map[string]struct {
		wish   Event
		leaves int
	}{
		"nothing is said":                      {nil, 1},
		"its pair is to be closed":             {Closing{ledger.Request{Key: ledger.RequestKey("why"), Pair: "AAA-USD"}}, 0},
		"another pair is to be closed":         {Closing{ledger.Request{Key: ledger.RequestKey("why"), Pair: "BBB-USD"}}, 1},
		"the agent goes and keeps what it has": {Deleting{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &wishing{exchange: newExchange()}
				shell := begin(t, x.exchange, x, nil)
				x.say = func() {
					if test.wish != nil {
						shell.post(test.wish)
					}
				}
				intent := order.Intent{
					ID: uuid.New(), Account: "account-uid", AgentUID: "agent-uid", Pair: "AAA-USD", Side: order.Buy, Quantity: 100,
					Limit: shell.core.pairs[0].price, MarketTime: shell.core.now, NotAfter: time.Now().Add(requestExpiry),
				}
				shell.core.open = append(shell.core.open, openOrder{Intent: intent, state: order.Sent})
				shell.sentry.Approve([]order.Intent{intent})
				shell.sentry.Release(intent.ID)
				if err := shell.carryOut(t.Context(), []Command{Cancel{uuid.New()}, Send{intent}}); err != nil {
					t.Fatal(err)
				}
				if len(x.placed) != test.leaves {
					t.Errorf("%d orders have left; want %d", len(x.placed), test.leaves)
				}
			})
		})
	}
}

// asked is a judge that counts.
type asked struct {
	rules
	times int
}

func (a *asked) Rule(ctx context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	a.times++
	return a.rules.Rule(ctx, bull, bear, view)
}

// A halt that is heard before a debate begins does not wait for its end.
func TestNoDebateUnderAHalt(t *testing.T) {
	for name, test := range map[string]struct {
		halts []Halt
		held  int
	}{
		"no halt":         {nil, 1},
		"of the agent":    {[]Halt{haltOf(risk.Halted, CancelOrders)}, 0},
		"of the pair":     {[]Halt{haltOf(risk.Halted, KeepOrders, "AAA-USD")}, 0},
		"of another pair": {[]Halt{haltOf(risk.Halted, FlattenPositions, "BBB-USD")}, 1},
		"that flattens":   {[]Halt{haltOf(risk.Reducing, FlattenPositions)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, judge := newExchange(), &asked{rules: rules{decision.Hold}}
				shell := begin(t, x, x, func(c *Config) { c.Debate.Judge = judge })
				settings := shell.config.Settings
				settings.Halts = test.halts
				shell.post(Updated{settings})
				shell.core.deliberating = true
				question := &Deliberate{View: shell.core.pairs[0].frames.View("AAA-USD"), BarEnd: shell.core.now.Add(time.Minute)}
				if err := shell.carryOut(t.Context(), []Command{question}); err != nil {
					t.Fatal(err)
				}
				if judge.times != test.held || shell.core.busy() {
					t.Errorf("%d debates were held; want %d; busy %v", judge.times, test.held, shell.core.busy())
				}
			})
		})
	}
}
