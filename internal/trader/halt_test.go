package trader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

func haltOf(state risk.TradingState, task Task, pairs ...string) Halt {
	return Halt{UID: "uid-" + strings.Join(pairs, "-"), Name: "TradingHalt/stop", State: state, Task: task, Reason: "a test", Pairs: pairs}
}

// halt puts halts in force and returns what follows.
func (h *hand) halt(halts ...Halt) []Command {
	settings := h.core.settings
	settings.Halts = halts
	return slices.Clone(h.core.Handle(Updated{settings}))
}

// resting is a core with an opening order that waits at the venue.
func resting(t *testing.T) (*hand, order.Intent) {
	t.Helper()
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	h.core.Handle(SendBegun{commit.Intents[0].ID})
	h.core.Handle(News{ID: commit.Intents[0].ID, Event: order.Ack})
	return h, commit.Intents[0]
}

// invested is a core that holds a position.
func invested(t *testing.T) *hand {
	t.Helper()
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	return h
}

func TestHaltCancelsByItsTask(t *testing.T) {
	for name, c := range map[string]struct {
		halts   []Halt
		cancels bool
		state   risk.TradingState
	}{
		"halted":                      {[]Halt{haltOf(risk.Halted, CancelOrders)}, true, risk.Halted},
		"halted, keeping orders":      {[]Halt{haltOf(risk.Halted, KeepOrders)}, false, risk.Halted},
		"reducing":                    {[]Halt{haltOf(risk.Reducing, CancelOrders)}, true, risk.Reducing},
		"reducing, keeping orders":    {[]Halt{haltOf(risk.Reducing, KeepOrders)}, false, risk.Reducing},
		"flattening":                  {[]Halt{haltOf(risk.Halted, FlattenPositions)}, true, risk.Halted},
		"the strictest of two":        {[]Halt{haltOf(risk.Halted, KeepOrders), haltOf(risk.Reducing, CancelOrders)}, true, risk.Halted},
		"of this pair":                {[]Halt{haltOf(risk.Halted, CancelOrders, "AAA-USD")}, true, risk.Enabled},
		"of another pair":             {[]Halt{haltOf(risk.Halted, CancelOrders, "BBB-USD")}, false, risk.Enabled},
		"of both, one of them strict": {[]Halt{haltOf(risk.Halted, CancelOrders, "BBB-USD"), haltOf(risk.Reducing, KeepOrders)}, false, risk.Reducing},
	} {
		t.Run(name, func(t *testing.T) {
			h, intent := resting(t)
			commands := h.halt(c.halts...)
			if c.cancels {
				if cancel := find[Cancel](t, commands); cancel.ID != intent.ID {
					t.Errorf("cancelled %s", cancel.ID)
				}
			} else {
				none[Cancel](t, commands)
			}
			if status := h.core.Status(); status.State != c.state {
				t.Errorf("the state is %v (%s %s)", status.State, status.Reason, status.Message)
			}
		})
	}
}

// Nothing is decided, and nothing that was decided before leaves.
func TestNothingLeavesUnderAHalt(t *testing.T) {
	for name, halt := range map[string]Halt{
		"of everything": haltOf(risk.Halted, CancelOrders), "of the pair": haltOf(risk.Halted, CancelOrders, "AAA-USD"),
		"that keeps orders": haltOf(risk.Halted, KeepOrders), "that flattens": haltOf(risk.Halted, FlattenPositions), "that reduces": haltOf(risk.Reducing, CancelOrders),
	} {
		t.Run(name, func(t *testing.T) {
			h := byHand(t, fresh(), nil)
			commit := h.rule(decision.Buy)
			h.core.Handle(&Committed{})
			h.halt(halt)
			none[Send](t, h.core.Handle(SendBegun{commit.Intents[0].ID}))
			if h.core.order(commit.Intents[0].ID) != nil {
				t.Error("an order that has not left is still open")
			}
			asked := byHand(t, fresh(), nil)
			question := find[Deliberate](t, asked.bar(10_000))
			asked.halt(halt)
			ruled := find[Commit](t, asked.core.Handle(&Ruled{Pair: question.View.Pair, BarEnd: question.BarEnd, Ruling: decision.Ruling{Action: decision.Buy, ConfidenceMicros: 800_000}}))
			if len(ruled.Intents) > 0 {
				t.Errorf("a debate that was on has led to %+v", ruled.Intents)
			}
		})
	}
}

// Under a halt of one pair the agent goes on with the others.
func TestHaltOfAPairLeavesOthers(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.halt(haltOf(risk.Halted, CancelOrders, "BBB-USD"))
	if commit := h.rule(decision.Buy); len(commit.Intents) != 1 {
		t.Errorf("%+v", commit)
	}
}

// Flatten's orders are the only ones that leave: no stop, no wish, no debate.
func TestHaltFlattens(t *testing.T) {
	h := invested(t)
	none[Commit](t, h.halt(haltOf(risk.Halted, FlattenPositions)))
	told := h.core.Status().Halts
	if len(told) != 1 || told[0].Done || told[0].Left != "positions in AAA-USD" {
		t.Errorf("told %+v", told)
	}
	commit := find[Commit](t, h.bar(10_000))
	if len(commit.Intents) != 1 || !commit.Intents[0].ReduceOnly || commit.Intents[0].Reason != OrderFlatten || commit.Intents[0].Side != order.Sell {
		t.Fatalf("%+v", commit)
	}
	h.filled(commit)
	if told := h.core.Status().Halts; !told[0].Done || told[0].Left != "" {
		t.Errorf("told %+v", told)
	}
	if commands := h.bar(10_000); len(commands) > 1 {
		t.Errorf("flat, and yet %+v", commands)
	}
}

func TestHaltDeniesWishesAndStops(t *testing.T) {
	h := invested(t)
	h.halt(haltOf(risk.Halted, CancelOrders))
	answer := find[Answer](t, h.wish())
	if len(answer.Closed.Orders) > 0 || !slices.Contains(answer.Closed.Denied, string(risk.TradingHalted)) {
		t.Errorf("%+v", answer)
	}
	none[Commit](t, h.bar(5_000))
	if told := h.core.Status().Halts; !told[0].Done {
		t.Errorf("nothing is open, and yet %+v", told)
	}
}

// A release lets the agent go on, and an order of the time before stays gone.
func TestReleaseLetsTheAgentGoOn(t *testing.T) {
	h, intent := resting(t)
	h.halt(haltOf(risk.Halted, CancelOrders))
	if told := h.core.Status().Halts; told[0].Done || told[0].Left != "1 open orders" {
		t.Errorf("told %+v", told)
	}
	h.core.Handle(News{ID: intent.ID, Event: order.Cancel})
	if told := h.core.Status().Halts; !told[0].Done {
		t.Errorf("told %+v", told)
	}
	h.halt()
	if status := h.core.Status(); status.State != risk.Enabled || len(status.Halts) != 0 {
		t.Errorf("%+v", status)
	}
	if commit := h.rule(decision.Buy); len(commit.Intents) != 1 {
		t.Errorf("%+v", commit)
	}
}

// What a cancellation has not achieved is tried again without waiting for a bar.
func TestHaltUrges(t *testing.T) {
	h, intent := resting(t)
	h.halt(haltOf(risk.Halted, CancelOrders))
	if !h.core.urgent() {
		t.Error("an open order is not urgent")
	}
	if cancel := find[Cancel](t, h.core.Handle(Urged{})); cancel.ID != intent.ID {
		t.Errorf("cancelled %s", cancel.ID)
	}
	h.core.Handle(News{ID: intent.ID, Event: order.Cancel})
	if h.core.urgent() {
		t.Error("nothing is left, and yet it is urgent")
	}
}

// A new process comes up halted, and does not take what it must not know for done.
func TestHaltedFromTheStart(t *testing.T) {
	config, _ := setup(t, "AAA")
	config.Settings.Halts = []Halt{haltOf(risk.Halted, CancelOrders)}
	core, err := NewCore(config)
	if err != nil {
		t.Fatal(err)
	}
	status := core.Status()
	if status.State != risk.Halted || status.Halts[0].Done {
		t.Errorf("%+v", status)
	}
	core.Handle(Recovered{Epoch: 1, Snapshot: fresh()})
	if status := core.Status(); status.State != risk.Halted || status.Reason != ReasonTradingHalt || !status.Halts[0].Done {
		t.Errorf("%+v", status)
	}
	core.Handle(Impaired{ReasonLedgerUnavailable, "gone"})
	if status := core.Status(); status.State != risk.Halted {
		t.Errorf("%+v", status)
	}
}

// The agent that is being deleted and keeps its positions keeps them under any halt.
func TestDeletionUnderAHalt(t *testing.T) {
	h := invested(t)
	h.halt(haltOf(risk.Halted, FlattenPositions))
	h.core.Handle(Deleting{Flatten: false})
	none[Commit](t, h.bar(10_000))
	if status := h.core.Status(); status.Reason != ReasonStopped || !status.Finished {
		t.Errorf("%s %s, finished %v", status.Reason, status.Message, status.Finished)
	}
}

// What the sentry is told to forbid is what the core permits no more, whatever the
// owner has said.
func TestSentryAndCoreAgree(t *testing.T) {
	halts := map[string][]Halt{
		"no halt": nil, "a halt": {haltOf(risk.Halted, CancelOrders)}, "a halt that flattens": {haltOf(risk.Halted, FlattenPositions)},
		"a halt that reduces": {haltOf(risk.Reducing, KeepOrders)}, "another pair's": {haltOf(risk.Halted, FlattenPositions, "BBB-USD")},
	}
	for _, trading := range []risk.TradingState{risk.Halted, risk.Reducing, risk.Enabled} {
		for name, bound := range halts {
			for _, deleting := range []*Deleting{nil, {Flatten: true}, {Flatten: false}} {
				h := byHand(t, fresh(), nil)
				settings := h.core.settings
				settings.Trading, settings.Halts = trading, bound
				h.core.Handle(Updated{settings})
				if deleting != nil {
					h.core.Handle(*deleting)
				}
				h.agrees(fmt.Sprintf("trading %v, %s, deleting %+v", trading, name, deleting), deleting)
			}
		}
	}
}

func (h *hand) agrees(under string, deleting *Deleting) {
	h.t.Helper()
	for _, why := range []string{OrderDecision, OrderClose, OrderFlatten} {
		for _, reduces := range []bool{false, true} {
			permitted := h.core.permittedIn(h.core.pair("AAA-USD"), why)
			want := permitted == risk.Halted || permitted == risk.Reducing && !reduces
			if got := h.core.settings.forbids(&order.Intent{Pair: "AAA-USD", Reason: why, ReduceOnly: reduces}, deleting); got != want {
				h.t.Errorf("%s: an order %s that reduces %v: the sentry forbids it %v, the core %v", under, why, reduces, got, want)
			}
		}
	}
}

// A running agent obeys within its grace, tells since when, and says when it is done.
func TestShellObeysHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 3000, "AAA", "BBB")
		pass(10 * time.Minute)
		if d.shell.Status().Fills == 0 {
			t.Fatal("the agent has not traded")
		}
		settings := d.shell.core.config.Settings
		settings.Halts = []Halt{haltOf(risk.Halted, FlattenPositions)}
		d.scribe.hang()
		asked := time.Now()
		d.shell.Update(settings)
		pass(2 * haltGrace)
		status := d.shell.Status()
		if status.State != risk.Halted || len(status.Halts) != 1 || status.Halts[0].Acknowledged.Sub(asked) > haltGrace+100*time.Millisecond {
			t.Fatalf("%+v", status)
		}
		d.scribe.mu.Lock()
		d.scribe.hangs = false
		d.scribe.mu.Unlock()
		placed := len(d.scribe.noted())
		pass(5 * time.Minute)
		status = d.shell.Status()
		if !status.Halts[0].Done || status.Halts[0].Finished.Before(asked) || len(status.Positions) != 0 || status.OpenOrders != 0 {
			t.Errorf("%+v", status)
		}
		for _, line := range d.scribe.noted()[placed:] {
			if !strings.Contains(line, OrderFlatten) {
				t.Errorf("decided under a halt: %s", line)
			}
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What was done stays told while the ledger is away.
func TestDoneStaysDoneWithoutLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 3000, "AAA")
		pass(5 * time.Minute)
		settings := d.shell.core.config.Settings
		settings.Halts = []Halt{haltOf(risk.Halted, CancelOrders)}
		d.shell.Update(settings)
		pass(5 * time.Second)
		before := d.shell.Status().Halts
		if len(before) != 1 || !before[0].Done {
			t.Fatalf("%+v", before)
		}
		d.scribe.fail(ledger.ErrUnavailable)
		pass(time.Minute)
		if status := d.shell.Status(); status.Reason != ReasonLedgerUnavailable || !status.Halts[0].Done || !status.Halts[0].Finished.Equal(before[0].Finished) || status.State != risk.Halted {
			t.Errorf("%+v", status)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// deafVenue does not cancel before it has been asked a few times.
type deafVenue struct {
	*paper.Venue
	deaf atomic.Int64
}

func (v *deafVenue) Cancel(ctx context.Context, ref venue.Ref) error {
	if v.deaf.Add(-1) >= 0 {
		return errors.New("try later")
	}
	return v.Venue.Cancel(ctx, ref)
}

// A venue that refuses to cancel is asked again within seconds, and until it has
// cancelled the halt is not done; the market stands still meanwhile.
func TestHaltInsistsOnCancelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, account := setup(t, "AAA")
		book, err := paper.New(paper.NewMemoryBook(), account)
		if err != nil {
			t.Fatal(err)
		}
		deaf := &deafVenue{Venue: book}
		feed := record(walk(11, 400, config.Agent.Instruments), nil)
		feed.pace = 30 * time.Second
		shell, err := NewShell(config, Options{Ledger: ledger.NewMemory(), Venue: deaf, Feed: func(map[string]time.Time) (market.Feed, error) { return feed, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- shell.Run(ctx) }()
		for shell.Status().OpenOrders == 0 {
			pass(100 * time.Millisecond)
		}
		const refusals = 4
		deaf.deaf.Store(refusals)
		settings := config.Settings
		settings.Halts = []Halt{haltOf(risk.Halted, CancelOrders)}
		shell.Update(settings)
		pass(500 * time.Millisecond)
		if told := shell.Status().Halts; len(told) != 1 || told[0].Done || told[0].Acknowledged.IsZero() || told[0].Left == "" {
			t.Errorf("the venue refuses: %+v", told)
		}
		pass(refusals * urgePace)
		if told := shell.Status().Halts; !told[0].Done || deaf.deaf.Load() >= 0 {
			t.Errorf("after %d refusals: %+v", refusals-deaf.deaf.Load(), told)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
