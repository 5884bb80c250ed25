package trader

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// older is what is left of an agent's ledger that was restored from a copy: the copy
// itself is made by whoever needs it. Whoever takes an epoch is told.
type older struct {
	*ledger.Memory
	proven time.Time
}

func (o *older) Acquire(ctx context.Context, agent ledger.Agent) (ledger.Lease, error) {
	lease, err := o.Memory.Acquire(ctx, agent)
	if err == nil && o.proven.IsZero() {
		err = o.Forget(agent.UID, "restored from an older copy")
	}
	return lease, err
}

func (o *older) Proven(ctx context.Context, lease ledger.Lease, what string) error {
	err := o.Memory.Proven(ctx, lease, what)
	if err == nil && o.proven.IsZero() {
		o.proven = time.Now()
	}
	return err
}

// shows is how long after it was found that a ledger has forgotten the last order
// shows that it may have lost.
func shows(traits venue.Traits) time.Duration {
	expiry := traits.RequestExpiry
	if expiry <= 0 {
		expiry = latestArrival
	}
	return requestExpiry + expiry + clocksDiffer + traits.Settle
}

// An order that the ledger has lost keeps its id: the next order gets another one,
// and ends, whatever became of the lost one and however often the process restarts.
func TestLostOrdersKeepTheirIDs(t *testing.T) {
	for name, end := range map[string]func(*exchange, order.Intent){
		"cancelled": func(x *exchange, lost order.Intent) {
			if err := x.Cancel(t.Context(), venue.Ref{ID: lost.ID}); err != nil {
				t.Error(err)
			}
		},
		// Its fills are too old to be told of.
		"filled": func(x *exchange, _ order.Intent) { x.fill() },
	} {
		for _, restarts := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s, %d restarts", name, restarts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := newExchange()
					d := trade(t, x, 1, nil)
					d.until("an order at the venue", func(*Status) bool { return len(x.placed) == 1 })
					lost := x.placed[0].Intent
					end(x, lost)
					d.until("its end", func(s *Status) bool { return s.OpenOrders == 0 })
					if err := d.stop(); err != nil {
						t.Fatal(err)
					}
					pass(lookBack + time.Hour)
					restored := &older{Memory: ledger.NewMemoryWithHistory()}
					x.books = restored
					for range restarts {
						d = trade(t, x, 0, nil)
						d.until("proof", func(s *Status) bool { return !restored.proven.IsZero() && s.Ready() })
						if err := d.stop(); err != nil {
							t.Fatal(err)
						}
					}
					d = trade(t, x, 30, nil)
					d.until("an order at the venue", func(*Status) bool { return len(x.placed)+x.repeated == 2 })
					if x.repeated > 0 {
						t.Fatalf("an order is sent under the id of a lost one, %s", lost.ID)
					}
					d.until("the end of the next order", func(s *Status) bool { return s.OpenOrders == 0 })
					if err := d.stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// An order that is on its way when the ledger forgets it is waited for, as long as
// the venue may take it and until it would show, counted from when that was found:
// nothing is sent meanwhile, and what arrives is cancelled before the agent goes on.
func TestLostOrderOnItsWayIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		expiry, settle time.Duration
		// arrives is when the order reaches the venue after all; zero is never.
		arrives time.Duration
		// restart ends the process after so long and starts another.
		restart time.Duration
	}{
		"never arrives":           {expiry: 10 * time.Second},
		"arrives late":            {expiry: 10 * time.Second, arrives: 14 * time.Second},
		"arrives last":            {expiry: 10 * time.Second, arrives: 16 * time.Second},
		"arrives and settles":     {expiry: 10 * time.Second, settle: 8 * time.Second, arrives: 23 * time.Second},
		"taken at any time":       {},
		"another process":         {expiry: 10 * time.Second, restart: 12 * time.Second},
		"another process, it too": {expiry: 10 * time.Second, arrives: 14 * time.Second, restart: 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange()
				x.traits.RequestExpiry, x.traits.Settle = test.expiry, max(test.settle, time.Second)
				d := trade(t, x, 1, nil)
				d.until("an order at the venue", func(*Status) bool { return len(x.placed) == 1 })
				if err := d.stop(); err != nil {
					t.Fatal(err)
				}
				late := x.hold()
				restored := &older{Memory: ledger.NewMemoryWithHistory()}
				x.books = restored
				found := time.Now()
				d = trade(t, x, 20, nil)
				if test.arrives > 0 {
					time.AfterFunc(test.arrives, func() { x.arrive(late) })
				}
				if test.restart > 0 {
					pass(test.restart)
					if err := d.stop(); err != nil {
						t.Fatal(err)
					}
					d = trade(t, x, 20, nil)
				}
				d.until("proof", func(s *Status) bool {
					if restored.proven.IsZero() && (s.Ready() || s.State != risk.Reducing || len(x.placed) > 1) {
						t.Errorf("before it was proven: %+v, %d orders", s, len(x.placed))
					}
					return !restored.proven.IsZero()
				})
				// What has arrived is filled or cancelled by then.
				waited, wait := restored.proven.Sub(found), max(shows(x.traits), test.arrives+x.traits.Settle)
				if waited < wait || waited > wait+2*longestPause {
					t.Errorf("proven after %s, want %s", waited, wait)
				}
				if o := x.orders[late.Intent.ID]; test.arrives > 0 && (o == nil || o.State != order.Cancelled) {
					t.Errorf("the order that arrives is %+v", o)
				}
				d.until("the next order", func(s *Status) bool { return s.OpenOrders == 1 && s.Ready() })
				if err := d.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// hold takes the newest order from the venue as if it was still on its way.
func (x *exchange) hold() venue.Request {
	x.mu.Lock()
	defer x.mu.Unlock()
	late := x.placed[len(x.placed)-1]
	x.placed = x.placed[:len(x.placed)-1]
	delete(x.orders, late.Intent.ID)
	return late
}

// arrive is a request that reaches the venue.
func (x *exchange) arrive(late venue.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.placed = append(x.placed, late)
	x.orders[late.Intent.ID] = &venue.Order{ID: late.Intent.ID, VenueOrderID: "late", Pair: late.Intent.Pair, State: order.Acked}
}

// A leg of which the ledger does not know that it was sent may have been: what it
// has forgotten can be that very record. It counts as never sent only where nothing
// was forgotten.
func TestIntendedIsNoProofWhenForgotten(t *testing.T) {
	for name, test := range map[string]struct {
		forgot bool
		reason string
		after  time.Duration
	}{
		"nothing was forgotten": {false, EndNeverSent, 0},
		"something was":         {true, EndNeverArrived, shows(newExchange().traits)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config, _ := setup(t, "AAA")
				config.Agent.Venue = "Live"
				books := ledger.NewMemoryWithHistory()
				noting := &notes{Ledger: books}
				lease, err := books.Acquire(t.Context(), config.Agent)
				if err != nil {
					t.Fatal(err)
				}
				leg := order.Intent{
					ID: uuid.New(), Account: config.Agent.Account, AgentUID: config.Agent.UID, Sequence: 1, Pair: "AAA-USD", Side: order.Buy,
					Quantity: 10, Limit: 9_000, Reserved: market.MoneyUnit, MarketTime: time.Now(), NotAfter: time.Now().Add(requestExpiry),
				}
				decided := ledger.Decision{Sequence: 1, Pair: "AAA-USD", BarEnd: time.Now(), Action: "Buy", Outcome: OutcomeOrdered}
				if err := books.Decide(t.Context(), lease, decided, []order.Intent{leg}, time.Time{}); err != nil {
					t.Fatal(err)
				}
				if test.forgot {
					if err := books.Forget(config.Agent.UID, "failed over"); err != nil {
						t.Fatal(err)
					}
				}
				x := newExchange()
				shell, err := NewShell(config, Options{Ledger: noting, Venue: x, Feed: func(map[string]time.Time) (market.Feed, error) {
					return record(walk(1, warmUp, config.Agent.Instruments), nil), nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := shell.start(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took < test.after || took > test.after+2*longestPause {
					t.Errorf("ready after %s, want %s", took, test.after)
				}
				if noting.last.Reason != test.reason || noting.last.State != order.Rejected {
					t.Errorf("the leg is %+v; want it rejected, %s", noting.last, test.reason)
				}
			})
		})
	}
}

// notes is a ledger that keeps the newest news of an order.
type notes struct {
	ledger.Ledger
	last ledger.OrderUpdate
}

func (n *notes) UpdateOrder(ctx context.Context, lease ledger.Lease, update ledger.OrderUpdate) error {
	n.last = update
	return n.Ledger.UpdateOrder(ctx, lease, update)
}

// An agent that trades when it is told stops and goes on by itself; a wish to reduce
// is denied meanwhile, because a lost order may be reducing the same position.
func TestToldWhileItTrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		books := ledger.NewMemoryWithHistory()
		x.books, x.held["AAA"] = books, decimal.NewFromInt(100)
		d := trade(t, x, 1, nil)
		d.until("an order at the venue", func(*Status) bool { return len(x.placed) == 1 })
		x.fill()
		d.until("the position", func(s *Status) bool { return len(s.Positions) == 1 && s.OpenOrders == 0 })
		if err := books.Forget("agent-uid", "the anchor is ahead"); err != nil {
			t.Fatal(err)
		}
		told := time.Now()
		ask := func(key string) Closed {
			closed, err := d.shell.Close(t.Context(), toClose("AAA-USD", key))
			if err != nil && !errors.Is(err, ErrNotNow) {
				t.Fatal(err)
			}
			return closed
		}
		if closed := ask("first"); len(closed.Orders) > 0 || len(closed.Denied) == 0 {
			t.Errorf("a wish when it is told leads to %+v", closed)
		}
		d.until("that it waits", func(s *Status) bool { return s.Reason == ReasonRecovering && s.State == risk.Reducing })
		if closed := ask("second"); len(closed.Orders) > 0 || len(closed.Denied) == 0 {
			t.Errorf("a wish while it waits leads to %+v", closed)
		}
		d.until("trading", func(s *Status) bool { return s.Reason == ReasonTrading })
		if waited, wait := time.Since(told), shows(x.traits); waited < wait || waited > wait+2*longestPause {
			t.Errorf("it went on after %s, want %s", waited, wait)
		}
		if closed := ask("third"); len(closed.Orders) != 1 {
			t.Fatalf("a wish afterwards leads to %+v", closed)
		}
		// The lost ones may be of any time before it was proven.
		if last := x.placed[len(x.placed)-1].Intent; last.Sequence <= told.Add(shows(x.traits)).UnixMicro() {
			t.Errorf("the next order is number %d", last.Sequence)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What the process itself knows that it has made is not made again either.
func TestSequenceOfTheProcessNeverGoesBack(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	last := h.rule(decision.Sell)
	h.filled(last)
	h.core.Handle(Impaired{ReasonPositionMismatch, "the database has forgotten"})
	h.core.Handle(Recovered{Epoch: 3, Snapshot: fresh()})
	if next := h.rule(decision.Buy); next.Decision.Sequence <= last.Decision.Sequence {
		t.Errorf("decision %d after decision %d", next.Decision.Sequence, last.Decision.Sequence)
	}
}
