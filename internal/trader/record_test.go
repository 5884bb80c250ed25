package trader

import (
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

// settle lets the orders of a commit be sent and filled at a price.
func (h *hand) settle(commit Commit, price market.Price) {
	h.t.Helper()
	for _, intent := range commit.Intents {
		find[Send](h.t, h.core.Handle(SendBegun{intent.ID}))
		h.core.Handle(News{ID: intent.ID, Event: order.Ack})
		h.core.Handle(FillBooked{New: true, Fill: order.Fill{TradeID: intent.ID.String(), OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side,
			Quantity: intent.Quantity, Price: price, Venue: paper.Name}})
	}
}

// stopOut opens a position and leaves it at its stop; it returns what came with
// the commit of the stop.
func (h *hand) stopOut() []Command {
	h.t.Helper()
	h.filled(h.rule(decision.Buy))
	commit := find[Commit](h.t, h.bar(9000))
	if commit.Intents[0].Reason != OrderStop {
		h.t.Fatalf("left because of %q", commit.Intents[0].Reason)
	}
	commands := slices.Clone(h.core.Handle(&Committed{}))
	h.settle(commit, 9000)
	return commands
}

// outcome is what becomes of a ruling to buy, without anything being committed.
func (h *hand) outcome() string {
	h.t.Helper()
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	if len(commit.Intents) > 0 {
		find[Send](h.t, h.core.Handle(SendBegun{commit.Intents[0].ID}))
		h.core.Handle(News{ID: commit.Intents[0].ID, Event: order.Reject})
	}
	return commit.Decision.Outcome
}

// pass gives the core a bar on which nothing is ruled.
func (h *hand) pass() []Command {
	h.t.Helper()
	commands := h.bar(10_000)
	asked := find[Deliberate](h.t, commands)
	h.core.Handle(&Ruled{Pair: asked.View.Pair, BarEnd: asked.BarEnd, Ruling: decision.Ruling{Action: decision.Hold}})
	h.core.Handle(&Committed{})
	return commands
}

func TestStopsDisarm(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) {
		c.Settings.Limits.MaxAutomaticExits, c.Settings.Limits.AutomaticExitWindow = 2, time.Hour
	})
	none[Disarm](t, h.stopOut())
	if got := h.outcome(); got != OutcomeOrdered {
		t.Fatalf("after one stop: %s", got)
	}
	find[Disarm](t, h.stopOut())
	if got := h.outcome(); got != string(risk.AutomaticExits) {
		t.Errorf("after two stops: %s", got)
	}
	if status := h.core.Status(); status.State != risk.Reducing || status.Reason != string(risk.AutomaticExits) {
		t.Errorf("%d because of %s", status.State, status.Reason)
	}
	// It asks with every bar, and goes on only when a person has allowed it.
	find[AskArmed](t, h.pass())
	h.core.Handle(Armed{ledger.Arming{Disarmed: true}})
	if got := h.outcome(); got != string(risk.AutomaticExits) {
		t.Errorf("still disarmed: %s", got)
	}
	h.core.Handle(Armed{})
	none[AskArmed](t, h.pass())
	if got := h.outcome(); got != OutcomeOrdered {
		t.Errorf("rearmed: %s", got)
	}
}

func TestStopsThatAreFarApartDoNotDisarm(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) {
		c.Settings.Limits.MaxAutomaticExits, c.Settings.Limits.AutomaticExitWindow = 2, time.Second
	})
	for range 3 {
		none[Disarm](t, h.stopOut())
	}
	if got := h.outcome(); got != OutcomeOrdered {
		t.Error(got)
	}
}

// What the ledger has counted holds after a restart, and a record that is beyond
// the limits disarms at once.
func TestTheRecordHoldsAfterARestart(t *testing.T) {
	before := start.Add(-time.Minute)
	for name, test := range map[string]struct {
		change func(*ledger.Snapshot, *risk.Limits)
		want   string
	}{
		"nothing":  {func(*ledger.Snapshot, *risk.Limits) {}, OutcomeOrdered},
		"disarmed": {func(s *ledger.Snapshot, _ *risk.Limits) { s.Disarmed = true }, string(risk.AutomaticExits)},
		"too many stops": {func(s *ledger.Snapshot, l *risk.Limits) {
			s.AutomaticExits, l.MaxAutomaticExits, l.AutomaticExitWindow = []time.Time{before, before}, 2, time.Hour
		}, string(risk.AutomaticExits)},
		"losses":    {func(s *ledger.Snapshot, l *risk.Limits) { s.ConsecutiveLosses, l.MaxConsecutiveLosses = 3, 3 }, string(risk.ConsecutiveLosses)},
		"one fewer": {func(s *ledger.Snapshot, l *risk.Limits) { s.ConsecutiveLosses, l.MaxConsecutiveLosses = 2, 3 }, OutcomeOrdered},
		"a stop": {func(s *ledger.Snapshot, l *risk.Limits) {
			s.LastStop, l.StopCoolDown = map[string]time.Time{"AAA-USD": start.Add(past * time.Minute)}, time.Hour
		}, string(risk.CoolDown)},
		"a stop of another pair": {func(s *ledger.Snapshot, l *risk.Limits) {
			s.LastStop, l.StopCoolDown = map[string]time.Time{"BBB-USD": start.Add(past * time.Minute)}, time.Hour
		}, OutcomeOrdered},
		"the same order": {func(s *ledger.Snapshot, l *risk.Limits) {
			s.RecentOpenings = []order.Intent{{Sequence: 90, Pair: "AAA-USD", Side: order.Buy, Quantity: 14_851, Limit: 10_100, MarketTime: start.Add(past * time.Minute)}}
			l.DuplicateWindow = time.Hour
		}, string(risk.DuplicateOrder)},
	} {
		snapshot, limits := fresh(), risk.Limits{}
		h := byHand(t, snapshot, func(c *Config) {
			limits = c.Settings.Limits
			test.change(&snapshot, &limits)
			c.Settings.Limits = limits
		})
		h.core.Handle(Recovered{Epoch: 4, Snapshot: snapshot})
		if got := h.outcome(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestLossesInARow(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.Settings.Limits.MaxConsecutiveLosses = 2 })
	h.stopOut()
	// A gain ends the row.
	h.filled(h.rule(decision.Buy))
	commit := find[Commit](t, h.bar(11_000))
	h.core.Handle(&Committed{})
	h.settle(commit, 11_000)
	h.stopOut()
	if got := h.outcome(); got != OutcomeOrdered {
		t.Fatalf("after a loss, a gain and a loss: %s", got)
	}
	h.stopOut()
	if got := h.outcome(); got != string(risk.ConsecutiveLosses) {
		t.Errorf("after two losses in a row: %s", got)
	}
	if status := h.core.Status(); status.Reason != string(risk.ConsecutiveLosses) {
		t.Errorf("the agent says %s", status.Reason)
	}
}

func TestPairSettingsBind(t *testing.T) {
	for name, test := range map[string]struct {
		settings PairSettings
		want     string
		quantity market.Quantity
	}{
		"nothing":         {PairSettings{}, OutcomeOrdered, 14_851},
		"restricted":      {PairSettings{Restricted: true}, string(risk.RestrictedPair), 0},
		"never open":      {PairSettings{Session: market.NewSession(time.UTC, nil)}, string(risk.SessionClosed), 0},
		"smallest order":  {PairSettings{MinQuantity: 14_852}, string(risk.MinQuantity), 0},
		"largest order":   {PairSettings{MaxQuantity: 100}, OutcomeOrdered, 100},
		"of another pair": {PairSettings{Pair: "BBB-USD", Restricted: true}, OutcomeOrdered, 14_851},
	} {
		h := byHand(t, fresh(), nil)
		if test.settings.Pair == "" {
			test.settings.Pair = "AAA-USD"
		}
		settings := h.core.config.Settings
		settings.Pairs = []PairSettings{test.settings}
		h.core.Handle(Updated{settings})
		commit := h.rule(decision.Buy)
		if commit.Decision.Outcome != test.want || (len(commit.Intents) > 0) != (test.quantity > 0) || (test.quantity > 0 && commit.Intents[0].Quantity != test.quantity) {
			t.Errorf("%s: %s, %+v", name, commit.Decision.Outcome, commit.Intents)
		}
	}
}

// A position that is larger than the largest order is left in several.
func TestLeavingInLargestOrders(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	settings := h.core.config.Settings
	settings.Pairs = []PairSettings{{Pair: "AAA-USD", MaxQuantity: 5000}}
	h.core.Handle(Updated{settings})
	commit := find[Commit](t, h.bar(9000))
	quantities := make([]market.Quantity, 0, len(commit.Intents))
	for _, leg := range commit.Intents {
		quantities = append(quantities, leg.Quantity)
	}
	if !slices.Equal(quantities, []market.Quantity{4951, 4950, 4950}) {
		t.Errorf("left in %v", quantities)
	}
}

func TestBarsThatCannotBeTradedOn(t *testing.T) {
	next := func(change func(h *hand, bar *market.Bar)) *hand {
		h := byHand(t, fresh(), func(c *Config) { c.Settings.Limits.MaxFrozenBars, c.Settings.Limits.MaxMissingBars = past, 3 })
		bar := h.next("AAA-USD", 10_001)
		change(h, &bar.Bar)
		h.at = bar.End
		asked := find[Deliberate](t, h.core.Handle(&Arrived{bar}))
		commit := find[Commit](t, h.core.Handle(&Ruled{Pair: asked.View.Pair, BarEnd: asked.BarEnd, Ruling: decision.Ruling{Action: decision.Buy, ConfidenceMicros: 800_000}}))
		h.core.lastDecision = &commit.Decision
		return h
	}
	shift := func(by time.Duration) func(*hand, *market.Bar) {
		return func(_ *hand, bar *market.Bar) { bar.Start, bar.End = bar.Start.Add(by), bar.End.Add(by) }
	}
	still := func(_ *hand, bar *market.Bar) {
		bar.Open, bar.High, bar.Low, bar.Close = 10_000, 10_000, 10_000, 10_000
	}
	for name, test := range map[string]struct {
		change func(*hand, *market.Bar)
		want   string
	}{
		"a sound bar":       {func(*hand, *market.Bar) {}, OutcomeOrdered},
		"a locked quote":    {func(_ *hand, bar *market.Bar) { bar.Bid, bar.Ask = 10_001, 10_001 }, OutcomeOrdered},
		"a crossed quote":   {func(_ *hand, bar *market.Bar) { bar.Bid, bar.Ask = 10_002, 10_001 }, string(risk.CrossedData)},
		"three are missing": {shift(3 * time.Minute), OutcomeOrdered},
		"four are missing":  {shift(4 * time.Minute), string(risk.GappedData)},
		"as many as may":    {still, OutcomeOrdered},
		"one more": {func(h *hand, bar *market.Bar) {
			h.core.Handle(Observed{market.PairBar{Pair: "AAA-USD", Bar: market.Bar{Start: bar.Start, End: bar.End, Open: 10_000, High: 10_000, Low: 10_000, Close: 10_000}}})
			shift(time.Minute)(h, bar)
			still(h, bar)
		}, string(risk.FrozenData)},
	} {
		if got := next(test.change).core.lastDecision.Outcome; got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A ruling that needs a larger share of a total waits for it, once.
func TestTotalsAreAskedFor(t *testing.T) {
	policy, account := &Total{"policy/p", 9000 * market.MoneyUnit}, &Total{"account/a", 5000 * market.MoneyUnit}
	h := byHand(t, fresh(), func(c *Config) { c.Settings.PolicyTotal, c.Settings.AccountTotal = policy, account })
	asked := find[Deliberate](t, h.bar(10_000))
	ruled := &Ruled{Pair: asked.View.Pair, BarEnd: asked.BarEnd, Ruling: decision.Ruling{Action: decision.Buy, ConfidenceMicros: 800_000}}
	fund := find[Fund](t, h.core.Handle(ruled))
	if len(fund.Claims) != 2 || fund.Claims[0] != (ledger.Claim{Scope: "policy/p", Total: policy.MaxGross, Want: fund.Claims[1].Want}) || fund.Claims[1].Scope != "account/a" {
		t.Fatalf("%+v", fund)
	}
	need := fund.Claims[0].Want
	if want := h.core.pairs[0].instrument.Notional(10_100, 14_851); need != want {
		t.Errorf("asked for %s, want %s", need, want)
	}
	// Too little is granted: the limit's own word is recorded.
	commit := find[Commit](t, h.core.Handle(Funded{map[string]market.Money{"policy/p": need, "account/a": need - 1}}))
	if commit.Decision.Outcome != string(risk.AccountTotal) || len(commit.Intents) > 0 {
		t.Errorf("%+v", commit)
	}
	h.core.Handle(&Committed{})
	// What is not needed goes back when nothing else is to be done.
	back := find[Fund](t, h.bar(10_000))
	if back.Claims[0].Want != 0 || back.Claims[1].Want != 0 {
		t.Errorf("%+v", back)
	}
	h.core.Handle(Funded{map[string]market.Money{}})
	h.core.deliberating = true
	find[Fund](t, h.core.Handle(ruled))
	commit = find[Commit](t, h.core.Handle(Funded{map[string]market.Money{"policy/p": need, "account/a": need}}))
	if commit.Decision.Outcome != OutcomeOrdered {
		t.Errorf("with its shares: %+v", commit)
	}
	h.core.Handle(&Committed{})
	h.settle(commit, 10_000)
	none[Fund](t, h.bar(10_000))
}

// Agents without totals never ask for shares, and leaving never does.
func TestOnlyOpeningAsksForShares(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	settings := h.core.config.Settings
	settings.PolicyTotal = &Total{"policy/p", 1}
	h.core.Handle(Updated{settings})
	commands := h.bar(9000)
	none[Fund](t, commands)
	find[Commit](t, commands)
}
