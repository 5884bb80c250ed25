package trader

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

func TestLedgerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		before := d.until("trading", trading)
		d.scribe.fail(ledger.ErrUnavailable)
		d.until("that it is noticed", func(s *Status) bool { return s.Reason == ReasonLedgerUnavailable && s.State == risk.Reducing })
		bar, decisions := d.shell.Status().LastBarTime, len(d.scribe.noted())
		pass(time.Minute)
		status := d.shell.Status()
		if !status.LastBarTime.After(bar) || len(d.scribe.noted()) != decisions {
			t.Errorf("during the outage: last bar %s after %s, %d decisions after %d", status.LastBarTime, bar, len(d.scribe.noted()), decisions)
		}
		d.scribe.fail(nil)
		d.until("trading again", func(s *Status) bool { return isEnabled(s) && s.Fills > before.Fills && s.Ready() })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A halt is obeyed within a second although the ledger does not answer.
func TestHaltWhileTheLedgerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := runOn(t, 2000, func(account *paper.Config) { account.PartialFill = order.Whole }, "AAA", "BBB")
		d.until("orders that are filled in part", func(s *Status) bool { return withOpen(s) && s.Fills > 5 })
		d.scribe.hang()
		pass(1500 * time.Millisecond)
		if d.openAtVenue() == 0 {
			t.Fatal("nothing is open, so nothing would be tested")
		}
		settings := d.shell.config.Settings
		settings.Trading = risk.Halted
		d.shell.Update(settings)
		pass(time.Second)
		if open := d.openAtVenue(); open > 0 || d.shell.Status().State != risk.Halted {
			t.Errorf("a second after the halt %d orders are open, and the state is %+v", open, d.shell.Status())
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A process that starts halted and cannot reach its ledger cancels what its
// predecessor left open in the pairs that are halted, says so, and does not take it
// for done.
func TestHaltedStartWithoutLedger(t *testing.T) {
	for name, test := range map[string]struct {
		trading risk.TradingState
		halts   []Halt
		// left are the pairs with open orders.
		left, said string
	}{
		"no halt":             {risk.Enabled, nil, "AAA-USD BBB-USD", ""},
		"by the settings":     {risk.Halted, nil, "", ""},
		"of the agent":        {risk.Enabled, []Halt{haltOf(risk.Halted, CancelOrders)}, "", "open orders in AAA-USD, BBB-USD were cancelled at the venue"},
		"of a pair":           {risk.Enabled, []Halt{haltOf(risk.Halted, CancelOrders, "AAA-USD")}, "BBB-USD", "open orders in AAA-USD were cancelled at the venue"},
		"that keeps orders":   {risk.Enabled, []Halt{haltOf(risk.Halted, KeepOrders)}, "AAA-USD BBB-USD", ""},
		"that reduces":        {risk.Enabled, []Halt{haltOf(risk.Reducing, CancelOrders)}, "AAA-USD BBB-USD", ""},
		"the strictest holds": {risk.Enabled, []Halt{haltOf(risk.Halted, KeepOrders), haltOf(risk.Reducing, CancelOrders, "BBB-USD")}, "AAA-USD", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := runOn(t, 2000, func(account *paper.Config) { account.PartialFill = order.Whole }, "AAA", "BBB")
				d.until("open orders in both pairs", func(s *Status) bool { return withOpen(s) && s.Fills > 5 && d.pairsAtVenue() == "AAA-USD BBB-USD" })
				if err := d.stop(); err != nil {
					t.Fatal(err)
				}
				d.scribe.fail(ledger.ErrUnavailable)
				config := d.shell.config
				config.Settings.Trading, config.Settings.Halts = test.trading, test.halts
				shell, err := NewShell(config, d.shell.options)
				if err != nil {
					t.Fatal(err)
				}
				d.shell = shell
				ctx, cancel := context.WithCancel(t.Context())
				d.cancel = cancel
				go func() { d.ended <- shell.Run(ctx) }()
				pass(time.Second)
				if left := d.pairsAtVenue(); left != test.left {
					t.Errorf("orders are open in %q; want %q", left, test.left)
				}
				if told := shell.Status().Halts; len(told) > 0 && told[0].Task != KeepOrders && (told[0].Done || !strings.Contains(told[0].Left, test.said)) {
					t.Errorf("told %+v; want %q", told, test.said)
				}
				d.scribe.fail(nil)
				d.until("that it agrees with its venue", func(s *Status) bool { return s.Ready() })
				if told := shell.Status().Halts; len(told) > 0 && strings.Contains(told[0].Left, "at the venue") {
					t.Errorf("the ledger is back, and yet %+v", told)
				}
				if err := d.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// pairsAtVenue are those with open orders.
func (d *desk) pairsAtVenue() string {
	d.t.Helper()
	open, err := d.venue.Open(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	pairs := make([]string, 0, len(open))
	for i := range open {
		pairs = append(pairs, open[i].Pair)
	}
	slices.Sort(pairs)
	return strings.Join(slices.Compact(pairs), " ")
}

func TestFencedProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA")
		d.until("trading", trading)
		if _, err := d.scribe.Acquire(t.Context(), d.shell.config.Agent); err != nil {
			t.Fatal(err)
		}
		if err := <-d.ended; !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// A venue that does not answer a placement: the exposure stays reserved, nothing
// more is opened in the pair, and the venue's word resolves it.
func TestUnknownOutcomeIsAskedFor(t *testing.T) {
	config, account := setup(t, "AAA")
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	silent := &silentVenue{Venue: simulated}
	book := ledger.NewMemory()
	shell, err := NewShell(config, Options{Ledger: book, Venue: silent, inline: true, Feed: func(map[string]time.Time) (market.Feed, error) {
		return record(walk(11, 300, config.Agent.Instruments), nil), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	shell.options.OnBar = func(market.PairBar) {
		status := shell.core.Status()
		if status.Unknown > 0 {
			seen++
			state := shell.core.riskState(&shell.core.pairs[0], nil)
			if state.OpenBuyValue+state.OpenSellValue == 0 || !state.Unresolved {
				t.Errorf("the exposure of an unknown order is not held: %+v", state)
			}
		}
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen == 0 || silent.twice || shell.core.Status().Fills == 0 {
		t.Errorf("unknown outcomes at %d bars, placed twice %v, %d fills", seen, silent.twice, shell.core.Status().Fills)
	}
}

// silentVenue takes every second order without an answer, and the others not at
// all. Whoever asks is told the truth, on the second time of asking.
type silentVenue struct {
	*paper.Venue
	placed map[uuid.UUID]bool
	asked  map[uuid.UUID]int
	twice  bool
}

func (s *silentVenue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	intent := request.Intent
	if s.placed == nil {
		s.placed, s.asked = map[uuid.UUID]bool{}, map[uuid.UUID]int{}
	}
	s.twice = s.twice || s.placed[intent.ID]
	s.placed[intent.ID] = true
	if len(s.placed)%2 == 0 {
		return venue.Order{}, venue.ErrUnknownOutcome
	}
	_, err := s.Venue.Place(ctx, request)
	return venue.Order{}, errors.Join(venue.ErrUnknownOutcome, err)
}

func (s *silentVenue) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	if s.asked[ref.ID]++; s.asked[ref.ID] < 2 {
		return venue.Order{}, errLine
	}
	return s.Venue.Lookup(ctx, ref)
}

// left is a ledger in which a process has died after it recorded that an order
// is being sent.
func left(t *testing.T, config Config) (*ledger.Memory, order.Intent) {
	t.Helper()
	book := ledger.NewMemory()
	lease, err := book.Acquire(t.Context(), config.Agent)
	if err != nil {
		t.Fatal(err)
	}
	intent := order.Intent{
		ID: order.NewID(config.Agent.Account, config.Agent.UID, 1, 0, 0), Account: config.Agent.Account, AgentUID: config.Agent.UID, Sequence: 1,
		Pair: "AAA-USD", Side: order.Buy, Quantity: 1000, Limit: 9_000, Reserved: 90 * market.MoneyUnit, MarketTime: start, Reason: OrderDecision,
	}
	decided := ledger.Decision{Sequence: 1, Pair: "AAA-USD", BarEnd: start, Action: "Buy", Outcome: OutcomeOrdered}
	if err := book.Decide(t.Context(), lease, decided, []order.Intent{intent}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := book.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: intent.ID, State: order.Sent, MarketTime: start}); err != nil {
		t.Fatal(err)
	}
	return book, intent
}

// deniesFills is a venue that says an order is filled and does not list the
// fills yet.
type deniesFills struct {
	*paper.Venue
	asked int
}

func (d *deniesFills) Lookup(_ context.Context, ref venue.Ref) (venue.Order, error) {
	d.asked++
	return venue.Order{ID: ref.ID, VenueOrderID: "v", State: order.Filled, Filled: 1000}, nil
}

// What was being sent when the last process died is waited for until the venue has
// it or its time is over, and only then is the agent ready.
func TestSentByTheLastProcess(t *testing.T) {
	whole := requestExpiry + clocksDiffer + time.Second
	for _, test := range []struct {
		name string
		// arrives is when the order reaches the venue after all; zero is never.
		arrives time.Duration
		filled  bool
		want    order.State
		// takes is how long it takes until the agent is ready.
		atLeast, atMost time.Duration
	}{
		{"never arrives", 0, false, order.Rejected, whole, whole + longestPause},
		{"arrives late", 3 * time.Second, false, order.Acked, 3 * time.Second, 3*time.Second + longestPause},
		{"is filled, and the fills are late", 0, true, order.Acked, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			config, account := setup(t, "AAA")
			book, intent := left(t, config)
			simulated, err := paper.New(paper.NewMemoryBook(), account)
			if err != nil {
				t.Fatal(err)
			}
			options := Options{Ledger: book, Venue: simulated, Feed: func(map[string]time.Time) (market.Feed, error) {
				return record(walk(1, warmUp, config.Agent.Instruments), nil), nil
			}}
			if test.filled {
				options.Venue = &deniesFills{Venue: simulated}
			}
			shell, err := NewShell(config, options)
			if err != nil {
				t.Fatal(err)
			}
			if test.arrives > 0 {
				time.AfterFunc(test.arrives, func() {
					if _, err := simulated.Place(context.WithoutCancel(t.Context()), venue.RequestOf(intent)); err != nil {
						t.Error(err)
					}
				})
			}
			begun := time.Now()
			if err := shell.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took < test.atLeast || took > test.atMost {
				t.Errorf("%s: ready after %s", test.name, took)
			}
			o := shell.core.order(intent.ID)
			if (o == nil) != test.want.Final() || (o != nil && o.state != test.want) {
				t.Errorf("%s: %+v; want %s", test.name, o, test.want)
			}
		})
	}
}

// lame is a venue that cannot take some bars.
type lame struct {
	*paper.Venue
	fails int
}

func (l *lame) OnBar(ctx context.Context, bar market.PairBar) ([]order.Fill, error) {
	if l.fails > 0 {
		l.fails--
		return nil, errLine
	}
	return l.Venue.OnBar(ctx, bar)
}

// Bars that the venue could not take are made up for, so that its fills are
// those of an undisturbed run.
func TestMissedBarsAreMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, account := setup(t, "AAA")
		simulated, err := paper.New(paper.NewMemoryBook(), account)
		if err != nil {
			t.Fatal(err)
		}
		bars := walk(1, warmUp+10, config.Agent.Instruments)
		weak := &lame{Venue: simulated}
		shell, err := NewShell(config, Options{Ledger: ledger.NewMemory(), Venue: weak, Feed: func(map[string]time.Time) (market.Feed, error) {
			return record(bars, nil), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var placed time.Time
		for placed.IsZero() {
			bar, err := shell.feed.Next(t.Context())
			if err != nil {
				t.Fatal("no order in ten bars")
			}
			if err := shell.step(t.Context(), bar); err != nil {
				t.Fatal(err)
			}
			if len(shell.core.open) > 0 {
				placed = bar.End
			}
		}
		weak.fails = 2
		for range 3 {
			bar, err := shell.feed.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := shell.step(t.Context(), bar); err != nil {
				t.Fatal(err)
			}
			if err := shell.reconcile(t.Context()); err != nil && !errors.Is(err, errVenue) {
				t.Fatal(err)
			}
		}
		fills, _, err := simulated.Fills(t.Context(), "")
		if err != nil || len(fills) == 0 || fills[0].MarketTime.Sub(placed) > time.Minute {
			t.Errorf("placed at %s, filled %+v, %v", placed, fills, err)
		}
	})
}

// An order that a paused process sent after it was given up is cancelled.
func TestOrphansAreCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, account := setup(t, "AAA")
		book := paper.NewMemoryBook()
		simulated, err := paper.New(book, account)
		if err != nil {
			t.Fatal(err)
		}
		orphan := order.Intent{ID: uuid.New(), Pair: "AAA-USD", Side: order.Buy, Quantity: 100, Limit: 5000, MarketTime: start}
		if _, err := simulated.Place(t.Context(), venue.RequestOf(orphan)); err != nil {
			t.Fatal(err)
		}
		shell, err := NewShell(config, Options{Ledger: ledger.NewMemory(), Venue: simulated, Feed: func(map[string]time.Time) (market.Feed, error) {
			return record(walk(1, 100, config.Agent.Instruments), nil), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := simulated.Lookup(t.Context(), venue.Ref{ID: orphan.ID}); err != nil || found.State != order.Cancelled {
			t.Errorf("the orphan is %+v, %v", found, err)
		}
	})
}

// An order is not sent any more when its time is over, for instance because the
// process was paused.
func TestLateOrdersAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shell := &Shell{clock: &wallClock{}}
		intent := order.Intent{ID: uuid.New(), NotAfter: time.Now().Add(requestExpiry)}
		pass(requestExpiry)
		// Without a venue: sending it would panic.
		if news, ok := shell.send(t.Context(), intent)[0].(News); !ok || news.Event != order.Absent {
			t.Errorf("%+v", news)
		}
	})
}
