package trader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// scribe is a ledger that notes decisions and intents, and fails while it is
// told to.
type scribe struct {
	ledger.Ledger
	mu    sync.Mutex
	lines []string
	fails error
	hangs bool
}

// hang lets every call wait for its context.
func (s *scribe) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs = true
}

func (s *scribe) failure(ctx context.Context) error {
	s.mu.Lock()
	fails, hangs := s.fails, s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", ledger.ErrUnavailable, ctx.Err())
	}
	return fails
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

func (s *scribe) Decide(ctx context.Context, lease ledger.Lease, decision ledger.Decision, intents []order.Intent, sentAt time.Time) error {
	if err := s.failure(ctx); err != nil {
		return err
	}
	// Until when an order may leave is in the time of the clock on the wall.
	timeless := slices.Clone(intents)
	for i := range timeless {
		timeless[i].NotAfter = time.Time{}
	}
	s.mu.Lock()
	s.lines = append(s.lines, fmt.Sprintf("%d %s %s %s %s %v", decision.Sequence, decision.Pair, decision.BarEnd, decision.Action, decision.Outcome, timeless))
	s.mu.Unlock()
	return s.Ledger.Decide(ctx, lease, decision, intents, sentAt)
}

func (s *scribe) Recall(ctx context.Context, lease ledger.Lease, request ledger.Request) ([]uuid.UUID, error) {
	if err := s.failure(ctx); err != nil {
		return nil, err
	}
	return s.Ledger.Recall(ctx, lease, request)
}

func (s *scribe) SaveMark(ctx context.Context, lease ledger.Lease, mark ledger.Mark) error {
	if err := s.failure(ctx); err != nil {
		return err
	}
	return s.Ledger.SaveMark(ctx, lease, mark)
}

func (s *scribe) Load(ctx context.Context, lease ledger.Lease) (ledger.Snapshot, error) {
	if err := s.failure(ctx); err != nil {
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
	return runOn(t, bars, func(*paper.Config) {}, pairs...)
}

func runOn(t *testing.T, bars int, change func(*paper.Config), pairs ...string) *desk {
	t.Helper()
	config, account := setup(t, pairs...)
	change(&account)
	d := &desk{t: t, scribe: &scribe{Ledger: ledger.NewMemoryWithHistory()}, book: paper.NewMemoryBook(), ended: make(chan error, 1)}
	var err error
	if d.venue, err = paper.New(d.book, account); err != nil {
		t.Fatal(err)
	}
	d.shell, err = NewShell(config, Options{Ledger: d.scribe, Venue: d.venue,
		Feed: func(resume map[string]time.Time) (market.Feed, error) {
			feed := record(walk(11, bars, config.Agent.Instruments), resume)
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
		pass(100 * time.Millisecond)
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

func trading(s *Status) bool { return s.State == risk.Enabled && s.Ready() && s.Fills > 0 }

func replayed(s *Status) bool { return s.Reason == ReasonReplayFinished }

func holding(s *Status) bool { return trading(s) && len(s.Positions) > 0 }

func withOpen(s *Status) bool { return trading(s) && s.OpenOrders > 0 }

func isHalted(s *Status) bool { return s.State == risk.Halted && s.OpenOrders == 0 }

func isEnabled(s *Status) bool { return s.State == risk.Enabled }

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
		pass(time.Minute)
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
		pass(time.Minute)
		if status := d.shell.Status(); len(status.Positions) > 0 || status.Reason != ReasonReduceOnly || status.State != risk.Reducing {
			t.Errorf("something was opened: %+v", status)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// The next agent on the account takes over what a deleted one has kept, and can
// close it.
func TestKeptPositionsAreTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		d.until("two positions", func(s *Status) bool { return holding(s) && len(s.Positions) == 2 })
		d.shell.Delete(false)
		kept := d.until("the end", func(s *Status) bool { return s.Finished })
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		if err := d.scribe.Ledger.(*ledger.Memory).Release(t.Context(), d.shell.config.Agent.UID); err != nil {
			t.Fatal(err)
		}
		config, account := setup(t, "AAA", "BBB")
		config.Agent.UID, config.Settings.Trading = "heir-uid", risk.Reducing
		d.book = paper.NewMemoryBook()
		simulated, err := paper.New(d.book, account)
		if err != nil {
			t.Fatal(err)
		}
		options := d.shell.options
		options.Venue = simulated
		if d.shell, err = NewShell(config, options); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		d.cancel = cancel
		go func() { d.ended <- d.shell.Run(ctx) }()
		status := d.until("agreement", func(s *Status) bool { return s.Ready() })
		for i, position := range status.Positions {
			if position.Position != kept.Positions[i].Position {
				t.Errorf("taken over: %+v; kept: %+v", position, kept.Positions[i])
			}
		}
		d.shell.Delete(true)
		d.until("flat", func(s *Status) bool { return s.Finished && s.Reason == ReasonFlat && s.Fills > 1 })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A recording that is over must not keep an agent from closing its positions.
func TestDeletionAfterTheEndOfTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 120, "AAA", "BBB")
		if status := d.until("the end of the data", replayed); len(status.Positions) == 0 {
			t.Fatal("nothing is held, so nothing would be tested")
		}
		d.shell.Delete(true)
		status := d.until("the end", func(s *Status) bool { return s.Finished })
		if len(status.Positions) > 0 || d.openAtVenue() > 0 || status.Reason != ReasonFlat {
			t.Errorf("%+v", status)
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
			pass(time.Minute)
			if status := d.shell.Status(); status.Fills != fills || !status.Finished {
				t.Errorf("flatten %v: it went on: %+v", flatten, status)
			}
			if err := d.stop(); err != nil {
				t.Error(err)
			}
		})
	}
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

func TestAliveNoticesAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shell := &Shell{}
		if err := shell.Alive(); err != nil {
			t.Error(err)
		}
		shell.work()
		pass(longestWork)
		if err := shell.Alive(); err != nil {
			t.Error(err)
		}
		pass(time.Second)
		if err := shell.Alive(); err == nil {
			t.Error("a hanging loop counts as alive")
		}
	})
}
