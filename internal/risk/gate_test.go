package risk

import (
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// unit of value in these tests: one lot at one tick is worth 0.01.
func newInstrument(tb testing.TB) *market.Instrument {
	tb.Helper()
	instrument, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("1"), decimal.RequireFromString("0.01"), decimal.RequireFromString("10"))
	if err != nil {
		tb.Fatal(err)
	}
	return &instrument
}

const usd = market.MoneyUnit

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// allowed is an order that every limit lets pass, with room on all sides: it
// buys 1 BTC at 101 while the price is 100.
func allowed(tb testing.TB) (Limits, State, order.Intent) {
	tb.Helper()
	limits := Limits{
		MinOrderNotional: 20 * usd, MaxOrderNotional: 500 * usd, PriceCollar: 20_000_000, MaxPerSecond: 5, DuplicateWindow: time.Minute,
		MaxGross: 100_000 * usd, MaxNet: 50_000 * usd, MaxLeverage: 5 * order.Whole, MaxPositionFraction: 250_000_000, MaxPositions: 2,
		MaxCorrelatedPositions: 2, Correlation: 700_000_000, MaxValueAtRisk: 50_000_000, MaxVolatility: 50_000_000, VolatileConfidence: 800_000_000,
		MaxTradesPerDay: 5, MaxDrawdown: 150_000_000, MaxDailyLoss: 20_000_000, MaxConsecutiveLosses: 4, StopCoolDown: time.Hour,
		MaxAutomaticExits: 3, AutomaticExitWindow: time.Hour, MaxDataAge: 90 * time.Minute, MaxFrozenBars: 10, MaxMissingBars: 3,
	}
	state := State{
		PairState: PairState{
			Instrument: newInstrument(tb), Reference: 100, ReferenceAt: noon, MinQuantity: 5, MaxQuantity: 400,
			TailLong: 20_000_000, TailShort: 20_000_000, Volatility: 10_000_000,
		},
		Trading: Enabled, Now: noon, Confidence: 700_000_000, EquityKnown: true,
		Equity: 10_000 * usd, PeakEquity: 10_000 * usd, DayStartEquity: 10_000 * usd, PolicyShare: Unlimited, AccountShare: Unlimited,
	}
	return limits, state, order.Intent{Pair: "BTC-USD", Sequence: 7, Side: order.Buy, Quantity: 100, Limit: 101}
}

func TestAllowed(t *testing.T) {
	limits, state, intent := allowed(t)
	if verdict := Check(&limits, &state, &intent); !verdict.Allowed() || verdict.Leading() != "" {
		t.Fatalf("denied by %v", verdict.Reasons())
	}
}

// A tick, a lot and a nanosecond are amounts like any others.
func TestSmallestAmounts(t *testing.T) {
	instrument, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("1"), decimal.RequireFromString("0.01"), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	value := instrument.Notional(1, 1)
	for name, test := range map[string]struct {
		change func(*Limits, *State, *order.Intent)
		reason Reason
	}{
		"one lot at one tick":     {func(*Limits, *State, *order.Intent) {}, ""},
		"an own bid at one tick":  {func(_ *Limits, s *State, _ *order.Intent) { s.HighestBuy = 1 }, SelfMatch},
		"net at its limit":        {func(l *Limits, _ *State, _ *order.Intent) { l.MaxNet = value }, ""},
		"net just above it":       {func(l *Limits, _ *State, _ *order.Intent) { l.MaxNet = value - 1 }, MaxNet},
		"a window of a moment":    {func(l *Limits, _ *State, _ *order.Intent) { l.DuplicateWindow = 1 }, DuplicateOrder},
		"no window":               {func(l *Limits, _ *State, _ *order.Intent) { l.DuplicateWindow = 0 }, ""},
		"a stop a moment ago":     {func(l *Limits, s *State, _ *order.Intent) { s.LastStop, l.StopCoolDown = noon.Add(-1), 2 }, CoolDown},
		"a stop that is over":     {func(l *Limits, s *State, _ *order.Intent) { s.LastStop, l.StopCoolDown = noon.Add(-1), 1 }, ""},
		"no cool-down":            {func(_ *Limits, s *State, _ *order.Intent) { s.LastStop = noon }, ""},
		"a cool-down and no stop": {func(l *Limits, _ *State, _ *order.Intent) { l.StopCoolDown = 1 << 62 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			limits := NoLimits()
			state := State{
				PairState: PairState{Instrument: &instrument, Reference: 1, ReferenceAt: noon},
				Trading:   Enabled, Now: noon, Confidence: order.Whole, EquityKnown: true,
				Equity: usd, PeakEquity: usd, DayStartEquity: usd, PolicyShare: Unlimited, AccountShare: Unlimited,
			}
			intent := order.Intent{Pair: "BTC-USD", Sequence: 7, Side: order.Sell, Quantity: 1, Limit: 1}
			state.Recent = []Sent{{Side: intent.Side, Quantity: 1, Limit: 1, Sequence: 6, At: noon}}
			test.change(&limits, &state, &intent)
			if got := Check(&limits, &state, &intent).Leading(); got != test.reason {
				t.Errorf("denied by %q, want %q", got, test.reason)
			}
		})
	}
}

// Each limit is met one unit below, at and one unit above its boundary, with
// everything else far from its own.
func TestBoundaries(t *testing.T) {
	type situation struct {
		limits *Limits
		state  *State
		intent *order.Intent
	}
	for _, test := range []struct {
		reason             Reason
		below, at, above   int64
		deniedBelow, denAt bool
		deniedAbove        bool
		set                func(s situation, value int64)
	}{
		// The value of the order is 101.
		{MaxOrderNotional, int64(101*usd) - 1, int64(101 * usd), int64(101*usd) + 1, true, false, false,
			func(s situation, v int64) { s.limits.MaxOrderNotional = market.Money(v) }},
		{PriceCollar, 101, 102, 103, false, false, true, func(s situation, v int64) { s.intent.Limit = market.Price(v) }},
		{PriceCollar, 97, 98, 99, true, false, false, func(s situation, v int64) { s.intent.Limit = market.Price(v) }},
		{OrderRate, 4, 5, 6, false, true, true, func(s situation, v int64) { s.state.SentLastSecond = int32(v) }}, //nolint:gosec // single digits
		// 101 more than what is held at 100 must not be worth more than a quarter of
		// equity.
		{MaxPosition, int64(404*usd) - 1, int64(404 * usd), int64(404*usd) + 1, true, false, false,
			func(s situation, v int64) {
				s.state.Equity, s.state.PeakEquity, s.state.DayStartEquity = market.Money(v), 0, 0
				s.state.PeakEquity, s.state.DayStartEquity = 1, 1
			}},
		{MaxPosition, 2398, 2399, 2400, false, false, true, func(s situation, v int64) { s.state.Position = market.Quantity(v) }},
		{MaxPosition, int64(2399*usd) - 1, int64(2399 * usd), int64(2399*usd) + 1, false, false, true,
			func(s situation, v int64) { s.state.OpenBuyValue = market.Money(v) }},
		{MaxPositions, 1, 2, 3, false, true, true, func(s situation, v int64) { s.state.OtherPositions = int32(v) }}, //nolint:gosec // single digits
		{MaxTradesPerDay, 4, 5, 6, false, true, true, func(s situation, v int64) { s.state.TradesToday = int32(v) }}, //nolint:gosec // single digits
		{MaxDrawdown, int64(8500*usd) - 1, int64(8500 * usd), int64(8500*usd) + 1, true, false, false,
			func(s situation, v int64) { s.state.Equity, s.limits.MaxDailyLoss = market.Money(v), Unlimited }},
		{MaxDailyLoss, int64(9800*usd) - 1, int64(9800 * usd), int64(9800*usd) + 1, true, false, false,
			func(s situation, v int64) { s.state.Equity = market.Money(v) }},
		{StaleData, int64(90*time.Minute) - 1, int64(90 * time.Minute), int64(90*time.Minute) + 1, false, false, true,
			func(s situation, v int64) { s.state.Now = noon.Add(time.Duration(v)) }},
		{StaleData, -1, 0, 1, true, false, false, func(s situation, v int64) { s.state.Now = noon.Add(time.Duration(v)) }},
		// 0.10 BTC at 100 is worth 10; the worse of limit and reference counts.
		{MinNotional, 9, 10, 11, true, false, false, func(s situation, v int64) { s.limits.MinOrderNotional, s.intent.Quantity = 0, market.Quantity(v) }},
		{MinNotional, 10, 11, 12, true, false, false, func(s situation, v int64) {
			s.limits.MinOrderNotional, s.intent.Quantity, s.intent.Limit = 0, market.Quantity(v), 98
		}},
		{MinNotional, 19, 20, 21, true, false, false, func(s situation, v int64) { s.intent.Quantity = market.Quantity(v) }},
		{MinQuantity, 49, 50, 51, true, false, false, func(s situation, v int64) { s.state.MinQuantity, s.intent.Quantity = 50, market.Quantity(v) }},
		{MaxQuantity, 399, 400, 401, false, false, true, func(s situation, v int64) { s.intent.Quantity = market.Quantity(v) }},
		// 101 of this order, and what the others are worth.
		{MaxGross, int64(9899*usd) - 1, int64(9899 * usd), int64(9899*usd) + 1, false, false, true,
			func(s situation, v int64) { s.limits.MaxGross, s.state.OtherGross = 10_000*usd, market.Money(v) }},
		{MaxNet, int64(9899*usd) - 1, int64(9899 * usd), int64(9899*usd) + 1, false, false, true,
			func(s situation, v int64) { s.limits.MaxNet, s.state.OtherLong = 10_000*usd, market.Money(v) }},
		// A short position of 0.99 BTC at 100 has room for as much on the long side.
		{MaxNet, int64(9998*usd) - 1, int64(9998 * usd), int64(9998*usd) + 1, false, false, true, func(s situation, v int64) {
			s.limits.MaxNet, s.state.Position, s.state.OtherLong = 10_000*usd, -99, market.Money(v)
		}},
		{MaxNet, int64(10_000*usd) - 1, int64(10_000 * usd), int64(10_000*usd) + 1, false, false, true,
			func(s situation, v int64) { s.limits.MaxNet, s.state.OtherShort = 10_000*usd, market.Money(v) }},
		{MaxLeverage, int64(49_899*usd) - 1, int64(49_899 * usd), int64(49_899*usd) + 1, false, false, true,
			func(s situation, v int64) { s.state.OtherGross = market.Money(v) }},
		{PolicyTotal, int64(101*usd) - 1, int64(101 * usd), int64(101*usd) + 1, true, false, false,
			func(s situation, v int64) { s.state.PolicyShare = market.Money(v) }},
		{AccountTotal, int64(301*usd) - 1, int64(301 * usd), int64(301*usd) + 1, true, false, false,
			func(s situation, v int64) { s.state.OtherGross, s.state.AccountShare = 200*usd, market.Money(v) }},
		// The order risks 2 per cent of 101.
		{ValueAtRisk, int64(500*usd) - 202_000_001, int64(500*usd) - 202_000_000, int64(500*usd) - 201_999_999, false, false, true,
			func(s situation, v int64) { s.state.OtherAtRisk = market.Money(v) }},
		{ValueAtRisk, 499_999_999, 500_000_000, 500_000_001, false, false, true, func(s situation, v int64) {
			s.state.Equity, s.state.DayStartEquity, s.state.PeakEquity = 1010*usd, 1, 1
			s.state.TailLong = order.Fraction(v)
		}},
		{CorrelatedPositions, 1, 2, 3, false, true, true, func(s situation, v int64) { s.state.CorrelatedPositions = int32(v) }}, //nolint:gosec // single digits
		{ConsecutiveLosses, 3, 4, 5, false, true, true, func(s situation, v int64) { s.state.ConsecutiveLosses = int32(v) }},     //nolint:gosec // single digits
		{FrozenData, 9, 10, 11, false, false, true, func(s situation, v int64) { s.state.FrozenBars = int32(v) }},                //nolint:gosec // small
		{GappedData, 2, 3, 4, false, false, true, func(s situation, v int64) { s.state.MissingBars = int32(v) }},                 //nolint:gosec // small
		{Volatility, 49_999_999, 50_000_000, 50_000_001, false, false, true, func(s situation, v int64) { s.state.Volatility = order.Fraction(v) }},
		{Volatility, 799_999_999, 800_000_000, 800_000_001, true, false, false, func(s situation, v int64) {
			s.state.Volatility, s.state.Confidence = 60_000_000, order.Fraction(v)
		}},
		{CoolDown, int64(time.Hour) - 1, int64(time.Hour), int64(time.Hour) + 1, true, false, false,
			func(s situation, v int64) { s.state.LastStop = noon.Add(-time.Duration(v)) }},
		{DuplicateOrder, int64(time.Minute) - 1, int64(time.Minute), int64(time.Minute) + 1, true, false, false, func(s situation, v int64) {
			s.state.Recent = []Sent{{Sequence: 6, Side: order.Buy, Quantity: 100, Limit: 101, At: noon.Add(-time.Duration(v))}}
		}},
		{DuplicateOrder, 99, 100, 101, false, true, false, func(s situation, v int64) {
			s.state.Recent = []Sent{{Sequence: 6, Side: order.Buy, Quantity: market.Quantity(v), Limit: 101, At: noon}}
		}},
		{DuplicateOrder, 100, 101, 102, false, true, false, func(s situation, v int64) {
			s.state.Recent = []Sent{{Sequence: 6, Side: order.Buy, Quantity: 100, Limit: market.Price(v), At: noon}}
		}},
		// Another leg of the same decision is no duplicate.
		{DuplicateOrder, 6, 7, 8, true, false, true, func(s situation, v int64) {
			s.state.Recent = []Sent{{Sequence: v, Side: order.Buy, Quantity: 100, Limit: 101, At: noon}}
		}},
		{SelfMatch, 100, 101, 102, true, true, false, func(s situation, v int64) { s.state.LowestSell = market.Price(v) }},
		{SelfMatch, 98, 99, 100, false, true, true, func(s situation, v int64) {
			s.intent.Side, s.intent.Limit, s.state.HighestBuy = order.Sell, 99, market.Price(v)
		}},
	} {
		for _, point := range []struct {
			value  int64
			denied bool
		}{{test.below, test.deniedBelow}, {test.at, test.denAt}, {test.above, test.deniedAbove}} {
			limits, state, intent := allowed(t)
			test.set(situation{&limits, &state, &intent}, point.value)
			verdict := Check(&limits, &state, &intent)
			var want []Reason
			if point.denied {
				want = []Reason{test.reason}
			}
			if !slices.Equal(verdict.Reasons(), want) {
				t.Errorf("%s at %d: denied by %v; want %v", test.reason, point.value, verdict.Reasons(), want)
			}
		}
	}
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*Limits, *State, *order.Intent)
		want []Reason
	}{
		{"halted", func(_ *Limits, s *State, _ *order.Intent) { s.Trading = Halted }, []Reason{TradingHalted, ReduceOnly}},
		{"an unknown state halts", func(_ *Limits, s *State, _ *order.Intent) { s.Trading = 7 }, []Reason{TradingHalted, ReduceOnly}},
		{"reduce only", func(_ *Limits, s *State, _ *order.Intent) { s.Trading = Reducing }, []Reason{ReduceOnly}},
		{"no price", func(_ *Limits, s *State, _ *order.Intent) { s.Reference = 0 }, []Reason{UnknownPrice}},
		{"no time of the price", func(_ *Limits, s *State, _ *order.Intent) { s.ReferenceAt = time.Time{} }, []Reason{StaleData}},
		{"no equity", func(_ *Limits, s *State, _ *order.Intent) { s.EquityKnown = false }, []Reason{UnknownEquity, MaxDrawdown, MaxDailyLoss}},
		{"a crossed quote", func(_ *Limits, s *State, _ *order.Intent) { s.Crossed = true }, []Reason{CrossedData}},
		{"a restricted pair", func(_ *Limits, s *State, _ *order.Intent) { s.Restricted = true }, []Reason{RestrictedPair}},
		{"a closed session", func(_ *Limits, s *State, _ *order.Intent) { s.SessionClosed = true }, []Reason{SessionClosed}},
		{"disarmed", func(_ *Limits, s *State, _ *order.Intent) { s.Disarmed = true }, []Reason{AutomaticExits}},
		{"too few returns of the pair", func(_ *Limits, s *State, _ *order.Intent) { s.TailLong, s.TailShort = Unknown, Unknown }, []Reason{UnknownRisk}},
		{"too few returns of another", func(_ *Limits, s *State, _ *order.Intent) { s.OtherAtRisk = Unlimited }, []Reason{UnknownRisk}},
		{"too few returns for the volatility", func(_ *Limits, s *State, _ *order.Intent) { s.Volatility = Unknown }, []Reason{Volatility}},
		{"which a sure ruling passes", func(_ *Limits, s *State, _ *order.Intent) { s.Volatility, s.Confidence = Unknown, order.Whole }, nil},
		{"a stop that never was", func(_ *Limits, s *State, _ *order.Intent) { s.LastStop = time.Time{} }, nil},
		{"the same order of the other side", func(_ *Limits, s *State, _ *order.Intent) {
			s.Recent = []Sent{{Sequence: 6, Side: order.Sell, Quantity: 100, Limit: 101, At: noon}}
		}, nil},
		{"an order without answer", func(_ *Limits, s *State, _ *order.Intent) { s.Unresolved = true }, []Reason{UnresolvedOrders}},
		{"no side", func(_ *Limits, _ *State, i *order.Intent) { i.Side = 0 }, []Reason{InvalidOrder}},
		{"no quantity", func(_ *Limits, _ *State, i *order.Intent) { i.Quantity = 0 }, []Reason{InvalidOrder}},
		{"no limit price", func(_ *Limits, _ *State, i *order.Intent) { i.Limit = 0 }, []Reason{InvalidOrder}},
		{"no instrument", func(_ *Limits, s *State, _ *order.Intent) { s.Instrument = nil }, []Reason{InvalidOrder}},
		{"says that it reduces and does not", func(_ *Limits, _ *State, i *order.Intent) { i.ReduceOnly = true }, []Reason{InvalidOrder}},
		{"limits that nobody filled in", func(l *Limits, _ *State, _ *order.Intent) { *l = Limits{} },
			[]Reason{ConsecutiveLosses, MaxTradesPerDay, MaxPositions, CorrelatedPositions, MaxPosition, MaxGross, MaxNet, MaxLeverage, ValueAtRisk, MaxOrderNotional, PriceCollar, OrderRate}},
		{"no limits at all", func(l *Limits, s *State, i *order.Intent) {
			*l = NoLimits()
			s.Equity, s.MaxQuantity, i.Quantity, i.Limit = usd, 0, 1_000_000, 100_000
			s.FrozenBars, s.MissingBars, s.ConsecutiveLosses, s.TradesToday, s.OtherPositions, s.SentLastSecond = 1e9, 1e9, 1e9, 1e9, 1e9, 1e9
			s.TailLong, s.Volatility, s.LastStop = Unknown, Unknown, noon
		}, nil},
	} {
		limits, state, intent := allowed(t)
		test.set(&limits, &state, &intent)
		if verdict := Check(&limits, &state, &intent); !slices.Equal(verdict.Reasons(), test.want) {
			t.Errorf("%s: denied by %v; want %v", test.name, verdict.Reasons(), test.want)
		}
	}
}

// A reducing order passes whatever limits only opening, and nothing else.
func TestReducing(t *testing.T) {
	for _, side := range []order.Side{order.Buy, order.Sell} {
		reduce := func() (Limits, State, order.Intent) {
			limits, state, intent := allowed(t)
			intent.Side, intent.Limit, intent.ReduceOnly = side, 100, true
			state.Position = -100 * market.Quantity(side)
			state.Trading, state.Unresolved, state.TradesToday, state.OtherPositions = Reducing, true, 99, 99
			state.Now, state.Equity = noon.Add(24*time.Hour), 1
			state.Crossed, state.Restricted, state.SessionClosed, state.Disarmed, state.FrozenBars, state.MissingBars = true, true, true, true, 99, 99
			state.ConsecutiveLosses, state.LastStop, state.CorrelatedPositions, state.TailLong, state.Volatility = 99, noon.Add(24*time.Hour), 99, Unknown, Unknown
			state.OtherGross, state.OtherLong, state.OtherAtRisk, state.PolicyShare, state.AccountShare = 1<<62, 1<<62, Unlimited, 0, 0
			state.Recent = []Sent{{Sequence: 6, Side: side, Quantity: 100, Limit: 100, At: state.Now}}
			return limits, state, intent
		}
		limits, state, intent := reduce()
		if verdict := Check(&limits, &state, &intent); !verdict.Allowed() {
			t.Errorf("%s: denied by %v", side, verdict.Reasons())
		}
		intent.Quantity = 1
		if verdict := Check(&limits, &state, &intent); !verdict.Allowed() {
			t.Errorf("%s: a remainder below the smallest notional was denied by %v", side, verdict.Reasons())
		}
		limits, state, intent = reduce()
		if intent.Quantity++; side == order.Buy {
			state.OpenBuys = 0
		}
		if verdict := Check(&limits, &state, &intent); verdict.Leading() != InvalidOrder || !slices.Contains(verdict.Reasons(), ReduceOnly) {
			t.Errorf("%s: one lot too much was denied by %v", side, verdict.Reasons())
		}
		limits, state, intent = reduce()
		state.OpenBuys, state.OpenSells = 1, 1
		if verdict := Check(&limits, &state, &intent); verdict.Leading() != InvalidOrder {
			t.Errorf("%s: open orders that reduce already were not counted: %v", side, verdict.Reasons())
		}
		limits, state, intent = reduce()
		state.Trading = Halted
		if verdict := Check(&limits, &state, &intent); !slices.Equal(verdict.Reasons(), []Reason{TradingHalted}) {
			t.Errorf("%s: a halt let it pass: %v", side, verdict.Reasons())
		}
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	words := map[Reason]bool{}
	for _, row := range Explanations() {
		if words[row.Word] || row.Meaning == "" {
			t.Errorf("%s is explained twice or not at all", row.Word)
		}
		words[row.Word] = true
	}
	for _, reason := range leading {
		if !words[reason] {
			t.Errorf("%s is not explained", reason)
		}
	}
	if len(words) != len(leading) {
		t.Errorf("%d words are explained and %d exist", len(words), len(leading))
	}
}

func TestAllowingDoesNotAllocate(t *testing.T) {
	limits, state, intent := allowed(t)
	state.Recent = make([]Sent, 4)
	if count := testing.AllocsPerRun(100, func() { Check(&limits, &state, &intent) }); count != 0 {
		t.Errorf("the gate allocates %v times", count)
	}
}

// BenchmarkGate tells the 99th percentile as well, over batches of so many calls
// that the clock does not count.
func BenchmarkGate(b *testing.B) {
	const batch = 50
	limits, state, intent := allowed(b)
	state.Recent = make([]Sent, 4)
	b.ReportAllocs()
	spans := make([]time.Duration, 0, 1<<20)
	n, begun := 0, time.Now()
	for b.Loop() {
		if verdict := Check(&limits, &state, &intent); !verdict.Allowed() {
			b.Fatal(verdict.Reasons())
		}
		if n++; n%batch == 0 && len(spans) < cap(spans) {
			now := time.Now()
			spans = append(spans, now.Sub(begun))
			begun = now
		}
	}
	if len(spans) > 0 {
		slices.Sort(spans)
		b.ReportMetric(float64(spans[len(spans)*99/100])/batch, "p99-ns/op")
	}
}
