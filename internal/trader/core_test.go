package trader

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// hand drives a core without a shell.
type hand struct {
	t    *testing.T
	core *Core
	at   time.Time
}

// past is how many bars a core by hand has learnt from: enough for intervals of
// five minutes.
const past = 400

// byHand is a core on AAA-USD that has learnt enough to decide and whose ledger
// holds the given snapshot.
func byHand(t *testing.T, snapshot ledger.Snapshot, change func(*Config)) *hand {
	t.Helper()
	config, _ := setup(t, "AAA", "BBB")
	if change != nil {
		change(&config)
	}
	core, err := NewCore(config)
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, core: core, at: start}
	if !snapshot.Newest.MarketTime.IsZero() {
		h.at = snapshot.Newest.MarketTime.Add(-past * time.Minute)
	}
	for range past {
		h.core.Handle(Observed{h.next("AAA-USD", 10_000)})
	}
	h.core.Handle(Recovered{Epoch: 3, Snapshot: snapshot})
	return h
}

func (h *hand) next(pair string, price market.Price) market.PairBar {
	bar := market.PairBar{Pair: pair, Bar: market.Bar{Start: h.at, End: h.at.Add(time.Minute), Open: price, High: price, Low: price, Close: price}}
	h.at = bar.End
	return bar
}

// bar gives the core a bar and returns its commands.
func (h *hand) bar(price market.Price) []Command {
	return slices.Clone(h.core.Handle(&Arrived{h.next("AAA-USD", price)}))
}

// find returns the only command of a kind, or fails.
func find[C Command](t *testing.T, commands []Command) C {
	t.Helper()
	var found []C
	for _, command := range commands {
		if c, ok := commandOf[C](command); ok {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d commands of type %T in %+v", len(found), *new(C), commands)
	}
	return found[0]
}

func none[C Command](t *testing.T, commands []Command) {
	t.Helper()
	for _, command := range commands {
		if c, ok := commandOf[C](command); ok {
			t.Fatalf("unwanted %+v", c)
		}
	}
}

// commandOf is a command of a type, or what one points to.
func commandOf[C Command](command Command) (C, bool) {
	if p, ok := command.(any).(*C); ok {
		return *p, true
	}
	c, ok := command.(C)
	return c, ok
}

func fresh() ledger.Snapshot { return ledger.Snapshot{Cash: balance} }

// rule lets the judge rule on the next bar, at 10,000, and returns the commit.
func (h *hand) rule(action decision.Action) Commit {
	h.t.Helper()
	asked := find[Deliberate](h.t, h.bar(10_000))
	return find[Commit](h.t, h.core.Handle(&Ruled{Pair: asked.View.Pair, BarEnd: asked.BarEnd, Ruling: decision.Ruling{Action: action, ConfidenceMicros: 800_000}}))
}

// filled lets an order be committed, sent, acknowledged and filled at 10,000.
func (h *hand) filled(commit Commit) {
	h.t.Helper()
	h.core.Handle(&Committed{})
	for i, intent := range commit.Intents {
		find[Send](h.t, h.core.Handle(SendBegun{intent.ID}))
		h.core.Handle(News{ID: intent.ID, Event: order.Ack})
		h.core.Handle(FillBooked{New: true, Fill: order.Fill{TradeID: intent.ID.String() + "-1", OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side,
			Quantity: intent.Quantity, Price: 10_000, Venue: paper.Name}})
		if h.core.order(intent.ID) != nil {
			h.t.Fatalf("order %d is still open", i)
		}
	}
}

func TestSizeFollowsRiskAndLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		// quantity in thousandths of a unit; the price at the limit is 101.
		quantity market.Quantity
	}{
		// 10,000 × 0.01 ÷ 0.1 = 1,000 USD
		{"risk over stop", func(c *Config) { c.Stop = 100_000_000 }, 9900},
		{"the largest order", func(c *Config) {}, 14_851},
		{"the largest position", func(c *Config) { c.Settings.Limits.MaxOrderNotional = risk.Unlimited }, 24_752},
		{"the cash at hand, less a hundredth", func(c *Config) {
			c.Settings.Limits.MaxOrderNotional, c.Settings.Limits.MaxPositionFraction = risk.Unlimited, risk.Unlimited
		}, 98_019},
	} {
		h := byHand(t, fresh(), test.change)
		commit := h.rule(decision.Buy)
		if len(commit.Intents) != 1 || commit.Intents[0].Quantity != test.quantity || commit.Intents[0].Limit != 10_100 || commit.Decision.Outcome != OutcomeOrdered {
			t.Errorf("%s: %+v", test.name, commit)
		}
	}
}

func TestOutcomes(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.LongShort = false })
	if commit := h.rule(decision.Hold); commit.Decision.Outcome != OutcomeHold || len(commit.Intents) > 0 {
		t.Errorf("Hold: %+v", commit)
	}
	h.core.Handle(&Committed{})
	if commit := h.rule(decision.Sell); commit.Decision.Outcome != OutcomeLongOnly {
		t.Errorf("selling what is not held: %+v", commit)
	}
	h.core.Handle(&Committed{})
	asked := find[Deliberate](t, h.bar(10_000))
	weak := decision.Ruling{Action: decision.Buy, ConfidenceMicros: 699_999}
	if commit := find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, Ruling: weak})); commit.Decision.Outcome != OutcomeLowConfidence {
		t.Errorf("too little confidence: %+v", commit)
	}
	h.core.Handle(&Committed{})
	asked = find[Deliberate](t, h.bar(10_000))
	if commit := find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, Err: errors.New("no model")})); commit.Decision.Outcome != OutcomeModelFailed || commit.Decision.Action != "Hold" {
		t.Errorf("a model that fails: %+v", commit)
	}
	h.core.Handle(&Committed{})
	h.filled(h.rule(decision.Buy))
	if commit := h.rule(decision.Buy); commit.Decision.Outcome != OutcomeAlreadyHeld {
		t.Errorf("buying what is held: %+v", commit)
	}
	h.core.Handle(&Committed{})
	commit := h.rule(decision.Sell)
	if len(commit.Intents) != 1 || !commit.Intents[0].ReduceOnly || commit.Intents[0].Quantity != 14_851 {
		t.Errorf("leaving: %+v", commit)
	}
	if status := h.core.Status(); status.Decisions != 6 || status.Fills != 1 || status.LastDecision.Outcome != OutcomeAlreadyHeld {
		t.Errorf("status: %+v", status)
	}
}

// A denied proposal is recorded with the limit's own word, and nothing is sent.
func TestDeniedProposals(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.Settings.Limits.MaxTradesPerDay = 0 })
	commit := h.rule(decision.Buy)
	if commit.Decision.Outcome != string(risk.MaxTradesPerDay) || len(commit.Intents) > 0 {
		t.Errorf("%+v", commit)
	}
	none[BeginSend](t, h.core.Handle(&Committed{}))
}

func TestOneDecisionAtATime(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.Interval = 3 * time.Minute })
	asked := find[Deliberate](t, untilAsked(t, h))
	none[Deliberate](t, h.bar(10_000))
	find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, BarEnd: asked.BarEnd, Ruling: decision.Ruling{Action: decision.Hold}}))
	none[Deliberate](t, h.bar(10_000))
	h.core.Handle(&Committed{})
	before := h.core.pairs[0].lastDecided
	untilAsked(t, h)
	if gap := h.core.now.Sub(before); gap < 3*time.Minute {
		t.Errorf("decided again after %s", gap)
	}
}

func untilAsked(t *testing.T, h *hand) []Command {
	t.Helper()
	for range 200 {
		commands := h.bar(10_000)
		if slices.ContainsFunc(commands, func(c Command) bool { _, ok := commandOf[Deliberate](c); return ok }) {
			return commands
		}
	}
	t.Fatal("no debate in 200 bars")
	return nil
}

func TestStop(t *testing.T) {
	for _, side := range []decision.Action{decision.Buy, decision.Sell} {
		h := byHand(t, fresh(), nil)
		h.filled(h.rule(side))
		// The stop is 0.005 of the entry: 50 ticks are not more than that, 51 are.
		at, beyond := market.Price(9_950), market.Price(9_949)
		if side == decision.Sell {
			at, beyond = 10_050, 10_051
		}
		asked := find[Deliberate](t, h.bar(at))
		find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, Ruling: decision.Ruling{Action: decision.Hold}}))
		h.core.Handle(&Committed{})
		commands := h.bar(beyond)
		none[Deliberate](t, commands)
		commit := find[Commit](t, commands)
		total := market.Quantity(0)
		for _, leg := range commit.Intents {
			total += leg.Quantity
			if leg.Reason != OrderStop || !leg.ReduceOnly {
				t.Errorf("%s: %+v", side, leg)
			}
		}
		if total != magnitude(h.core.pairs[0].position.Quantity) {
			t.Errorf("%s: %d lots of %+v are closed", side, total, h.core.pairs[0].position)
		}
	}
}

// The target is the mirror of the stop, but reaching it is enough.
func TestTarget(t *testing.T) {
	for _, side := range []decision.Action{decision.Buy, decision.Sell} {
		h := byHand(t, fresh(), func(config *Config) { config.Target = 20_000_000 })
		h.filled(h.rule(side))
		// The target is 0.02 of the entry: 199 ticks are less than that, 200 are not.
		before, at := market.Price(10_199), market.Price(10_200)
		if side == decision.Sell {
			before, at = 9_801, 9_800
		}
		asked := find[Deliberate](t, h.bar(before))
		find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, Ruling: decision.Ruling{Action: decision.Hold}}))
		h.core.Handle(&Committed{})
		commands := h.bar(at)
		none[Deliberate](t, commands)
		total := market.Quantity(0)
		for _, leg := range find[Commit](t, commands).Intents {
			total += leg.Quantity
			if leg.Reason != OrderTarget || !leg.ReduceOnly {
				t.Errorf("%s: %+v", side, leg)
			}
		}
		if total != magnitude(h.core.pairs[0].position.Quantity) {
			t.Errorf("%s: %d lots of %+v are closed", side, total, h.core.pairs[0].position)
		}
	}
}

// Without a target a gain, however large, is the debate's to judge.
func TestNoTarget(t *testing.T) {
	h := byHand(t, fresh(), func(config *Config) { config.Target = 0 })
	h.filled(h.rule(decision.Buy))
	find[Deliberate](t, h.bar(15_000))
}

// A position that has outgrown the largest order is left in several legs.
func TestExitInLegs(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	settings := h.core.settings
	settings.Limits.MaxOrderNotional = 600 * market.MoneyUnit
	h.core.Handle(Updated{settings})
	commit := h.rule(decision.Sell)
	var total market.Quantity
	ids := map[string]bool{}
	for i, leg := range commit.Intents {
		total += leg.Quantity
		ids[leg.ID.String()] = true
		if leg.Leg != int32(i) || leg.Reserved > settings.Limits.MaxOrderNotional {
			t.Errorf("leg %d: %+v", i, leg)
		}
	}
	if total != 14_851 || len(ids) != 3 {
		t.Errorf("%d legs of %d lots: %+v", len(ids), total, commit.Intents)
	}
	h.filled(commit)
	if h.core.pairs[0].position.Quantity != 0 {
		t.Errorf("left over: %+v", h.core.pairs[0].position)
	}
}

// An order that the market has moved away from is cancelled.
func TestRestingOrderIsCancelled(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	h.core.Handle(SendBegun{commit.Intents[0].ID})
	h.core.Handle(News{ID: commit.Intents[0].ID, Event: order.Ack})
	for range restingBars - 1 {
		none[Cancel](t, h.bar(10_000))
	}
	find[Cancel](t, h.bar(10_000))
	// The venue did not answer: the next bar tries again.
	find[Cancel](t, h.bar(10_000))
	record := find[Record](t, h.core.Handle(News{ID: commit.Intents[0].ID, Event: order.Cancel, Reason: EndExpired}))
	if record.Update.State != order.Cancelled || h.core.Status().OpenOrders != 0 {
		t.Errorf("%+v", record)
	}
}

// When only reducing is allowed, what would open is cancelled, and what reduces
// stays.
func TestReduceOnlyCancelsWhatOpens(t *testing.T) {
	for _, reduces := range []bool{false, true} {
		h := byHand(t, fresh(), nil)
		commit := h.rule(decision.Buy)
		if reduces {
			h.filled(commit)
			commit = h.rule(decision.Sell)
		}
		id := commit.Intents[0].ID
		h.core.Handle(&Committed{})
		h.core.Handle(SendBegun{id})
		h.core.Handle(News{ID: id, Event: order.Ack})
		settings := h.core.settings
		settings.Trading = risk.Reducing
		commands := h.core.Handle(Updated{settings})
		if reduces {
			none[Cancel](t, commands)
		} else if cancel := find[Cancel](t, commands); cancel.ID != id {
			t.Errorf("cancelled %s", cancel.ID)
		}
	}
}

// The time of the last decision is the ledger's, not the process's.
func TestIntervalSurvivesARestart(t *testing.T) {
	newest := ledger.Mark{Pair: "AAA-USD", MarketTime: start.Add(10 * time.Hour), Price: 10_000, PeakEquity: balance, DayStart: start, DayStartEquity: balance}
	last := newest.MarketTime.Add(-time.Minute)
	snapshot := ledger.Snapshot{Cash: balance, Newest: newest, LastDecided: map[string]time.Time{"AAA-USD": last}}
	h := byHand(t, snapshot, func(c *Config) { c.Interval = 5 * time.Minute })
	untilAsked(t, h)
	if gap := h.core.now.Sub(last); gap < 5*time.Minute {
		t.Errorf("decided again after %s", gap)
	}
}

// Whatever is heard between the beginning of a send and its end has the order judged
// again. It does not count as one before itself.
func TestAnOrderIsNotItsOwnPredecessor(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.Settings.Limits.MaxPerSecond = 1 })
	id := h.rule(decision.Buy).Intents[0].ID
	h.core.Handle(&Committed{})
	for range 2 {
		find[Send](t, h.core.Handle(SendBegun{id}))
		h.core.Handle(Updated{h.core.settings})
	}
}

// What an interruption leaves in hand is not done later.
func TestImpairedDropsWhatIsInHand(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(Impaired{ReasonLedgerUnavailable, "gone"})
	if commands := h.core.Handle(&Committed{}); len(commands) > 0 {
		t.Errorf("%+v", commands)
	}
	h.core.Handle(Recovered{Epoch: 3, Snapshot: fresh()})
	if commands := h.core.Handle(SendBegun{commit.Intents[0].ID}); len(commands) > 0 {
		t.Errorf("%+v", commands)
	}
	if again := h.rule(decision.Buy); again.Decision.Sequence != commit.Decision.Sequence {
		t.Errorf("the sequence went on to %d without a decision", again.Decision.Sequence)
	}
}

func TestRefusedDecisionIsNotRepeated(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	if commands := h.core.Handle(Refused{ledger.ErrDecided}); len(commands) > 0 {
		t.Errorf("%+v", commands)
	}
	if got := h.core.pairs[0].lastDecided; !got.Equal(commit.Decision.BarEnd) || h.core.sequence != 0 {
		t.Errorf("decided at %s, sequence %d", got, h.core.sequence)
	}
}

func TestDataTroubleOnlyReduces(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.bar(10_000)
	h.core.Handle(DataLost{"no route"})
	if status := h.core.Status(); status.State != risk.Reducing || status.Reason != ReasonDataUnavailable || status.Message != "no route" {
		t.Errorf("%+v", status)
	}
	h.bar(10_000)
	if status := h.core.Status(); status.State != risk.Enabled {
		t.Errorf("after the next bar: %+v", status)
	}
	h.core.Handle(DataEnded{})
	if status := h.core.Status(); status.State != risk.Reducing || status.Reason != ReasonReplayFinished {
		t.Errorf("at the end: %+v", status)
	}
}

// Without bars, the market's clock alone makes prices stale and days end.
func TestTicks(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	now := h.core.now
	h.core.Handle(Ticked{now.Add(-time.Minute)})
	if !h.core.now.Equal(now) {
		t.Error("time went backwards")
	}
	h.core.Handle(Ticked{now.Add(61 * time.Minute)})
	state := h.core.riskState(&h.core.pairs[0], nil)
	intent := h.core.intent(&h.core.pairs[0], order.Buy, 1000, 10_000, 0, OrderDecision)
	if verdict := risk.Check(&h.core.settings.Limits, &state, &intent); !slices.Contains(verdict.Reasons(), risk.StaleData) {
		t.Errorf("an hour without a price: %v", verdict.Reasons())
	}
	// A deletion closes the position even so.
	commit := find[Commit](t, h.core.Handle(Deleting{Flatten: true}))
	if commit.Intents[0].Reason != OrderFlatten || !commit.Decision.BarEnd.Equal(h.core.now) {
		t.Errorf("%+v", commit)
	}
}

func TestNewCoreRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no pairs":         func(c *Config) { c.Agent.Instruments = nil },
		"no interval":      func(c *Config) { c.Interval = 0 },
		"no stop":          func(c *Config) { c.Stop = 0 },
		"negative target":  func(c *Config) { c.Target = -1 },
		"no debate":        func(c *Config) { c.Debate = decision.Debate{} },
		"another currency": func(c *Config) { c.Agent.Currency = "EUR" },
	} {
		config, _ := setup(t, "AAA")
		change(&config)
		if _, err := NewCore(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
