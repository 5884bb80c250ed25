package trader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// scribe is a ledger that notes decisions and intents, and fails while it is
// told to.
type scribe struct {
	ledger.Ledger
	mu    sync.Mutex
	lines []string
	fails error
}

func (s *scribe) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails
}

func (s *scribe) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *scribe) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *scribe) Decide(ctx context.Context, lease ledger.Lease, decision ledger.Decision, intents []order.Intent) error {
	if err := s.failure(); err != nil {
		return err
	}
	s.mu.Lock()
	s.lines = append(s.lines, fmt.Sprintf("%d %s %s %s %s %v", decision.Sequence, decision.Pair, decision.BarEnd, decision.Action, decision.Outcome, intents))
	s.mu.Unlock()
	return s.Ledger.Decide(ctx, lease, decision, intents)
}

func (s *scribe) SaveMark(ctx context.Context, lease ledger.Lease, mark ledger.Mark) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.Ledger.SaveMark(ctx, lease, mark)
}

func (s *scribe) Load(ctx context.Context, lease ledger.Lease) (ledger.Snapshot, error) {
	if err := s.failure(); err != nil {
		return ledger.Snapshot{}, err
	}
	return s.Ledger.Load(ctx, lease)
}

// desk is an agent that runs in a bubble of its own time.
type desk struct {
	t      *testing.T
	shell  *Shell
	scribe *scribe
	book   *paper.MemoryBook
	venue  *paper.Venue
	cancel context.CancelFunc
	ended  chan error
}

// run starts an agent on a random walk with one bar of each pair a second.
func run(t *testing.T, bars int, pairs ...string) *desk {
	t.Helper()
	config, account := setup(t, pairs...)
	d := &desk{t: t, scribe: &scribe{Ledger: ledger.NewMemory()}, book: paper.NewMemoryBook(), ended: make(chan error, 1)}
	var err error
	if d.venue, err = paper.New(d.book, account); err != nil {
		t.Fatal(err)
	}
	d.shell, err = NewShell(config, Options{Ledger: d.scribe, Venue: d.venue, Settle: DefaultSettle,
		Feed: func(resume map[string]time.Time) (market.Feed, error) {
			feed := record(walk(11, bars, config.Agent.Instruments), resume, warmUp)
			feed.pace = time.Second
			return feed, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.cancel = cancel
	go func() { d.ended <- d.shell.Run(ctx) }()
	return d
}

// stop ends the agent and returns what Run returned.
func (d *desk) stop() error {
	d.cancel()
	return <-d.ended
}

// until lets time pass until the status is as wanted.
func (d *desk) until(what string, wanted func(*Status) bool) *Status {
	d.t.Helper()
	for range 36_000 {
		if status := d.shell.Status(); wanted(status) {
			return status
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	d.t.Fatalf("%s: not within an hour; the status is %+v", what, d.shell.Status())
	return nil
}

func (d *desk) openAtVenue() int {
	d.t.Helper()
	open, err := d.book.Open(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return len(open)
}

func trading(s *Status) bool   { return s.State == risk.Enabled && s.Ready() && s.Fills > 0 }
func replayed(s *Status) bool  { return s.Reason == ReasonReplayFinished }
func holding(s *Status) bool   { return trading(s) && len(s.Positions) > 0 }
func withOpen(s *Status) bool  { return trading(s) && s.OpenOrders > 0 }
func isHalted(s *Status) bool  { return s.State == risk.Halted && s.OpenOrders == 0 }
func isEnabled(s *Status) bool { return s.State == risk.Enabled }

// The backtest and the agent decide the same on the same data, to the letter.
func TestBacktestDecidesLikeTheAgent(t *testing.T) {
	var paced []string
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 200, "AAA", "BBB")
		d.until("the end of the data", replayed)
		paced = d.scribe.noted()
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	})
	config, account := setup(t, "AAA", "BBB")
	notes := &scribe{Ledger: ledger.NewMemory()}
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := NewShell(config, Options{Ledger: notes, Venue: simulated, inline: true, Feed: func(resume map[string]time.Time) (market.Feed, error) {
		return record(walk(11, 200, config.Agent.Instruments), resume, warmUp), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(paced) < 100 || !slices.Equal(paced, notes.lines) {
		t.Fatalf("the agent made %d decisions and the backtest %d, or they differ:\n%s\n%s", len(paced), len(notes.lines), strings.Join(paced, "\n"), strings.Join(notes.lines, "\n"))
	}
}

func backtest(t testing.TB, bars int) *Result {
	t.Helper()
	config, account := setup(t, "AAA", "BBB")
	result, err := Backtest(t.Context(), config, account, record(walk(5, bars, config.Agent.Instruments), nil, warmUp))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Twice the same, byte for byte, and the figures belong together.
func TestBacktestIsReproducible(t *testing.T) {
	var texts [2]string
	for i := range texts {
		result := backtest(t, 3000)
		var text bytes.Buffer
		if err := errors.Join(result.WriteText(&text), result.WriteJSON(&text)); err != nil {
			t.Fatal(err)
		}
		texts[i] = text.String()
		if result.Trades < 20 || result.Wins > result.Trades || result.Fills < result.Trades || result.Bars != 6000-warmUp {
			t.Errorf("implausible counts: %+v", result)
		}
		if !result.Balance.Add(result.PNL).Equal(result.Equity) || result.Fees.Sign() <= 0 {
			t.Errorf("implausible amounts: %+v", result)
		}
		if result.Sharpe == nil || result.ExposureFraction.Sign() <= 0 || result.MaxDrawdownFraction.Sign() <= 0 {
			t.Errorf("missing figures: %+v", result)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("two runs differ:\n%s\n%s", texts[0], texts[1])
	}
	for _, word := range []string{"Trades", "PnL", "Max drawdown", "Sharpe", "Exposure", "Fees", "% won", `"pnl"`} {
		if !strings.Contains(texts[0], word) {
			t.Errorf("the report says nothing of %q:\n%s", word, texts[0])
		}
	}
}

func TestBacktestWithoutDataIsRefused(t *testing.T) {
	config, account := setup(t, "AAA")
	if _, err := Backtest(t.Context(), config, account, record(walk(5, warmUp, config.Agent.Instruments), nil, warmUp)); err == nil {
		t.Error("a recording that the warm-up uses up gave a result")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Backtest(ctx, config, account, record(walk(5, 200, config.Agent.Instruments), nil, warmUp)); !errors.Is(err, context.Canceled) {
		t.Errorf("a backtest that was broken off gave %v", err)
	}
}

func TestHaltCancelsAndEnableResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		d.until("an open order", withOpen)
		settings := d.shell.config.Settings
		settings.Trading, settings.Message = risk.Halted, "spec.trading of the agent is Halted"
		d.shell.Update(settings)
		synctest.Wait()
		if status := d.shell.Status(); !isHalted(status) || status.Reason != ReasonHalted || status.Message == "" || d.openAtVenue() > 0 {
			t.Fatalf("directly after the halt: %+v, and %d orders at the venue", status, d.openAtVenue())
		}
		fills := d.shell.Status().Fills
		time.Sleep(time.Minute)
		if status := d.shell.Status(); status.Fills != fills || !isHalted(status) || status.LastBarTime.Before(start) {
			t.Errorf("a minute after the halt: %+v", status)
		}
		settings.Trading = risk.Enabled
		d.shell.Update(settings)
		d.until("trading again", func(s *Status) bool { return s.Fills > fills })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReduceOnlyOnlyReduces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		d.until("a position", holding)
		settings := d.shell.config.Settings
		settings.Trading = risk.Reducing
		d.shell.Update(settings)
		d.until("flat by the judge's own rulings", func(s *Status) bool { return len(s.Positions) == 0 && s.OpenOrders == 0 })
		time.Sleep(time.Minute)
		if status := d.shell.Status(); len(status.Positions) > 0 || status.Reason != ReasonReduceOnly || status.State != risk.Reducing {
			t.Errorf("something was opened: %+v", status)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDeletion(t *testing.T) {
	for _, flatten := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := run(t, 2000, "AAA", "BBB")
			held := d.until("two positions", func(s *Status) bool { return holding(s) && len(s.Positions) == 2 })
			d.shell.Delete(flatten)
			status := d.until("the end", func(s *Status) bool { return s.Finished })
			switch {
			case d.openAtVenue() > 0 || status.OpenOrders > 0:
				t.Errorf("flatten %v: orders are open", flatten)
			case flatten && (len(status.Positions) > 0 || status.Reason != ReasonFlat):
				t.Errorf("not flat: %+v", status)
			case !flatten && (len(status.Positions) != len(held.Positions) || status.Reason != ReasonStopped):
				t.Errorf("positions were not kept: %+v", status)
			}
			fills := status.Fills
			time.Sleep(time.Minute)
			if status := d.shell.Status(); status.Fills != fills || !status.Finished {
				t.Errorf("flatten %v: it went on: %+v", flatten, status)
			}
			if err := d.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLedgerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		before := d.until("trading", trading)
		d.scribe.fail(ledger.ErrUnavailable)
		d.until("that it is noticed", func(s *Status) bool { return s.Reason == ReasonLedgerUnavailable && s.State == risk.Reducing })
		bar, decisions := d.shell.Status().LastBarTime, len(d.scribe.noted())
		time.Sleep(time.Minute)
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

// A limit that is breached shows as the reason, and tightening it is enough.
func TestDrawdownReduces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		d.until("a fall from the peak", func(s *Status) bool { return trading(s) && s.Equity < s.Peak })
		settings := d.shell.config.Settings
		settings.Limits.MaxDrawdown = 0
		d.shell.Update(settings)
		status := d.until("the reason", func(s *Status) bool { return s.Reason == string(risk.MaxDrawdown) })
		if status.State != risk.Reducing || status.Message == "" {
			t.Errorf("%+v", status)
		}
		settings.Limits.MaxDrawdown, settings.Limits.MaxDailyLoss = risk.Unlimited, 0
		d.shell.Update(settings)
		d.until("the daily loss as the reason", func(s *Status) bool { return s.Reason == string(risk.MaxDailyLoss) || s.Equity >= s.DayStartEquity })
		if err := d.stop(); err != nil {
			t.Error(err)
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
		return record(walk(11, 300, config.Agent.Instruments), nil, warmUp), nil
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

func (s *silentVenue) Place(ctx context.Context, intent order.Intent) (venue.Order, error) {
	if s.placed == nil {
		s.placed, s.asked = map[uuid.UUID]bool{}, map[uuid.UUID]int{}
	}
	s.twice = s.twice || s.placed[intent.ID]
	s.placed[intent.ID] = true
	if len(s.placed)%2 == 0 {
		return venue.Order{}, venue.ErrUnknownOutcome
	}
	_, err := s.Venue.Place(ctx, intent)
	return venue.Order{}, errors.Join(venue.ErrUnknownOutcome, err)
}

func (s *silentVenue) Lookup(ctx context.Context, id uuid.UUID) (venue.Order, error) {
	if s.asked[id]++; s.asked[id] < 2 {
		return venue.Order{}, errLine
	}
	return s.Venue.Lookup(ctx, id)
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
		if _, err := simulated.Place(t.Context(), orphan); err != nil {
			t.Fatal(err)
		}
		shell, err := NewShell(config, Options{Ledger: ledger.NewMemory(), Venue: simulated, Feed: func(map[string]time.Time) (market.Feed, error) {
			return record(walk(1, 100, config.Agent.Instruments), nil, warmUp), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := simulated.Lookup(t.Context(), orphan.ID); err != nil || found.State != order.Cancelled {
			t.Errorf("the orphan is %+v, %v", found, err)
		}
	})
}

// An order is not sent any more when its time is over, for instance because the
// process was paused.
func TestLateOrdersAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shell := &Shell{sendBy: map[uuid.UUID]time.Time{}}
		id := uuid.New()
		shell.sendBy[id] = time.Now().Add(requestExpiry)
		time.Sleep(requestExpiry)
		// Without a venue: sending it would panic.
		if news, ok := shell.send(t.Context(), order.Intent{ID: id}).(News); !ok || news.Event != order.Absent {
			t.Errorf("%+v", news)
		}
	})
}

func TestAliveNoticesAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shell := &Shell{}
		if err := shell.Alive(); err != nil {
			t.Error(err)
		}
		shell.work()
		time.Sleep(longestWork)
		if err := shell.Alive(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := shell.Alive(); err == nil {
			t.Error("a hanging loop counts as alive")
		}
	})
}

func BenchmarkBacktestBars(b *testing.B) {
	config, account := setup(b, "AAA", "BBB")
	bars := walk(5, 10_000, config.Agent.Instruments)
	b.ReportAllocs()
	count := int64(0)
	for b.Loop() {
		result, err := Backtest(b.Context(), config, account, record(bars, nil, warmUp))
		if err != nil {
			b.Fatal(err)
		}
		count += result.Bars
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "bars/s")
}
