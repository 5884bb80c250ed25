package risk

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

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
		MaxOrderNotional: 500 * usd, PriceCollar: 20_000_000, MaxPerSecond: 5, MaxPositionFraction: 250_000_000, MaxPositions: 2,
		MaxTradesPerDay: 5, MaxDrawdown: 150_000_000, MaxDailyLoss: 20_000_000, MaxDataAge: 90 * time.Minute,
	}
	state := State{
		Trading: Enabled, Now: noon, Instrument: newInstrument(tb), Reference: 100, ReferenceAt: noon, EquityKnown: true,
		Equity: 10_000 * usd, PeakEquity: 10_000 * usd, DayStartEquity: 10_000 * usd,
	}
	return limits, state, order.Intent{Pair: "BTC-USD", Side: order.Buy, Quantity: 100, Limit: 101}
}

func TestAllowed(t *testing.T) {
	limits, state, intent := allowed(t)
	if verdict := Check(&limits, &state, &intent); !verdict.Allowed() || verdict.Leading() != "" {
		t.Fatalf("denied by %v", verdict.Reasons())
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
		{MinNotional, 9, 10, 11, true, false, false, func(s situation, v int64) { s.intent.Quantity = market.Quantity(v) }},
		{MinNotional, 10, 11, 12, true, false, false, func(s situation, v int64) { s.intent.Quantity, s.intent.Limit = market.Quantity(v), 98 }},
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
		{"an order without answer", func(_ *Limits, s *State, _ *order.Intent) { s.Unresolved = true }, []Reason{UnresolvedOrders}},
		{"no side", func(_ *Limits, _ *State, i *order.Intent) { i.Side = 0 }, []Reason{InvalidOrder}},
		{"no quantity", func(_ *Limits, _ *State, i *order.Intent) { i.Quantity = 0 }, []Reason{InvalidOrder}},
		{"no limit price", func(_ *Limits, _ *State, i *order.Intent) { i.Limit = 0 }, []Reason{InvalidOrder}},
		{"no instrument", func(_ *Limits, s *State, _ *order.Intent) { s.Instrument = nil }, []Reason{InvalidOrder}},
		{"says that it reduces and does not", func(_ *Limits, _ *State, i *order.Intent) { i.ReduceOnly = true }, []Reason{InvalidOrder}},
		{"limits that nobody filled in", func(l *Limits, _ *State, _ *order.Intent) { *l = Limits{} },
			[]Reason{MaxTradesPerDay, MaxPositions, MaxPosition, MaxOrderNotional, PriceCollar, OrderRate}},
		{"no limits at all", func(l *Limits, s *State, i *order.Intent) {
			l.MaxOrderNotional, l.PriceCollar, l.MaxPositionFraction, l.MaxDrawdown, l.MaxDailyLoss = Unlimited, Unlimited, Unlimited, Unlimited, Unlimited
			s.Equity, i.Quantity, i.Limit = usd, 1_000_000, 100_000
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

// No order that the gate allows is beyond a limit that exact arithmetic, written
// down another way, computes.
func TestAllowedNeverExceeds(t *testing.T) {
	instrument := newInstrument(t)
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		fraction := rapid.Int64Range(int64(order.Whole)/10, int64(order.Whole))
		small := rapid.Int64Range(-400, 400)
		limits := Limits{
			MaxOrderNotional: market.Money(rapid.Int64Range(0, 1000).Draw(t, "notional")) * usd, PriceCollar: order.Fraction(fraction.Draw(t, "collar")),
			MaxPerSecond: 5, MaxPositionFraction: order.Fraction(fraction.Draw(t, "share")), MaxPositions: 2, MaxTradesPerDay: 5,
			MaxDrawdown: order.Fraction(fraction.Draw(t, "drawdown")), MaxDailyLoss: Unlimited, MaxDataAge: time.Hour,
		}
		state := State{
			Trading: rapid.SampledFrom([]TradingState{Enabled, Enabled, Enabled, Reducing, Halted}).Draw(t, "trading"), Now: noon, ReferenceAt: noon, Instrument: instrument,
			Reference: market.Price(rapid.Int64Range(1, 300).Draw(t, "reference")), EquityKnown: true,
			Equity: market.Money(rapid.Int64Range(1, 3000).Draw(t, "equity")) * usd, PeakEquity: market.Money(rapid.Int64Range(1, 4000).Draw(t, "peak")) * usd,
			Position: market.Quantity(small.Draw(t, "position")), OpenBuys: market.Quantity(rapid.Int64Range(0, 50).Draw(t, "buys")),
			OpenSells: market.Quantity(rapid.Int64Range(0, 50).Draw(t, "sells")), TradesToday: int32(rapid.IntRange(0, 5).Draw(t, "trades")), //nolint:gosec // single digits
		}
		state.OpenBuyValue = instrument.Notional(state.Reference, state.OpenBuys)
		state.OpenSellValue = instrument.Notional(state.Reference, state.OpenSells)
		for range 20 {
			intent := order.Intent{
				Side: rapid.SampledFrom([]order.Side{order.Buy, order.Sell}).Draw(t, "side"), ReduceOnly: rapid.Bool().Draw(t, "reduce"),
				Quantity: market.Quantity(rapid.Int64Range(1, 200).Draw(t, "quantity")),
				Limit:    max(1, state.Reference+market.Price(rapid.Int64Range(-30, 30).Draw(t, "distance"))),
			}
			verdict := Check(&limits, &state, &intent)
			if again := Check(&limits, &state, &intent); again != verdict {
				t.Fatalf("%v and then %v", verdict, again)
			}
			if verdict.Allowed() {
				passed++
				judgeExactly(t, &limits, &state, &intent)
			}
		}
	})
	if passed < 20 {
		t.Fatalf("only %d orders were allowed, so hardly anything was tested", passed)
	}
}

// judgeExactly fails on an allowed order that exact arithmetic would deny.
func judgeExactly(t *rapid.T, limits *Limits, state *State, intent *order.Intent) {
	rat := func(v int64) *big.Rat { return new(big.Rat).SetInt64(v) }
	// The value in USD of lots at ticks: a lot is 0.01.
	value := func(lots market.Quantity, ticks market.Price) *big.Rat {
		return new(big.Rat).Mul(rat(int64(lots)), big.NewRat(int64(ticks), 100))
	}
	worst := max(intent.Limit, state.Reference)
	if value(intent.Quantity, worst).Cmp(rat(int64(limits.MaxOrderNotional/usd))) > 0 {
		t.Fatalf("an order of %s passed a limit of %s", value(intent.Quantity, worst), limits.MaxOrderNotional)
	}
	distance := new(big.Rat).Sub(big.NewRat(int64(intent.Limit), int64(state.Reference)), rat(1))
	if distance.Abs(distance).Cmp(big.NewRat(int64(limits.PriceCollar), int64(order.Whole))) > 0 {
		t.Fatalf("a price %s away passed a collar of %s", distance, limits.PriceCollar)
	}
	// Every subset of the open orders may fill before this one does.
	before, after := int64(0), int64(0)
	for _, open := range []market.Quantity{state.OpenBuys, -state.OpenSells} {
		for _, position := range []market.Quantity{state.Position, state.Position + open} {
			next := position + intent.Quantity*market.Quantity(intent.Side)
			if lots := int64(next) * int64(intent.Side); lots > after {
				after, before = lots, int64(position)*int64(intent.Side)
			}
		}
	}
	if after <= max(before, 0) || after <= 0 {
		return
	}
	if state.Trading != Enabled || intent.ReduceOnly || state.TradesToday >= limits.MaxTradesPerDay {
		t.Fatal("an order that can open or enlarge passed what forbids that")
	}
	share := new(big.Rat).Mul(big.NewRat(int64(limits.MaxPositionFraction), int64(order.Whole)), rat(int64(state.Equity/usd)))
	if exposure := value(market.Quantity(after), state.Reference); exposure.Cmp(share) > 0 {
		t.Fatalf("a position of %s passed a limit of %s", exposure, share)
	}
	floor := new(big.Rat).Mul(new(big.Rat).Sub(rat(1), big.NewRat(int64(limits.MaxDrawdown), int64(order.Whole))), rat(int64(state.PeakEquity/usd)))
	if rat(int64(state.Equity/usd)).Cmp(floor) < 0 {
		t.Fatalf("equity of %s below %s passed the drawdown", state.Equity, floor)
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
	if count := testing.AllocsPerRun(100, func() { Check(&limits, &state, &intent) }); count != 0 {
		t.Errorf("the gate allocates %v times", count)
	}
}

func BenchmarkGate(b *testing.B) {
	limits, state, intent := allowed(b)
	b.ReportAllocs()
	for b.Loop() {
		if verdict := Check(&limits, &state, &intent); !verdict.Allowed() {
			b.Fatal(verdict.Reasons())
		}
	}
}
