package risk

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// model is the gate written a second time, as a list of sentences over exact
// numbers of any size. It shares no arithmetic with the gate.
type model struct {
	limits *Limits
	state  *State
	intent *order.Intent
	// unit is the value of one lot at one tick, in units of Money.
	unit *big.Rat
}

// rule is one sentence: what denies an order, and whether it binds reducing ones.
type rule struct {
	reason  Reason
	reduces bool
	denies  func(model) bool
}

var rules = []rule{
	{TradingHalted, true, func(m model) bool { return m.state.Trading != Enabled && m.state.Trading != Reducing }},
	{InvalidOrder, true, func(m model) bool { return m.intent.ReduceOnly && !m.shrinks() }},
	{ReduceOnly, false, func(m model) bool { return m.state.Trading != Enabled }},
	{StaleData, false, func(m model) bool {
		oldest := m.state.Now.Add(-m.limits.MaxDataAge)
		return m.state.ReferenceAt.IsZero() || m.state.ReferenceAt.Before(oldest) || m.state.ReferenceAt.After(m.state.Now)
	}},
	{CrossedData, false, func(m model) bool { return m.state.Crossed }},
	{FrozenData, false, func(m model) bool { return m.limits.MaxFrozenBars >= 0 && m.state.FrozenBars > m.limits.MaxFrozenBars }},
	{GappedData, false, func(m model) bool {
		return m.limits.MaxMissingBars >= 0 && m.state.MissingBars > m.limits.MaxMissingBars
	}},
	{RestrictedPair, false, func(m model) bool { return m.state.Restricted }},
	{SessionClosed, false, func(m model) bool { return m.state.SessionClosed }},
	{UnknownEquity, false, func(m model) bool { return !m.state.EquityKnown || m.state.Equity < 1 }},
	{UnresolvedOrders, false, func(m model) bool { return m.state.Unresolved }},
	{AutomaticExits, false, func(m model) bool { return m.state.Disarmed }},
	{MaxDrawdown, false, func(m model) bool { return m.fell(m.limits.MaxDrawdown, m.state.PeakEquity) }},
	{MaxDailyLoss, false, func(m model) bool { return m.fell(m.limits.MaxDailyLoss, m.state.DayStartEquity) }},
	{ConsecutiveLosses, false, func(m model) bool { return reached(m.state.ConsecutiveLosses, m.limits.MaxConsecutiveLosses) }},
	{CoolDown, false, func(m model) bool {
		return !m.state.LastStop.IsZero() && m.limits.StopCoolDown > 0 && m.state.LastStop.Add(m.limits.StopCoolDown).After(m.state.Now)
	}},
	{MaxTradesPerDay, false, func(m model) bool { return reached(m.state.TradesToday, m.limits.MaxTradesPerDay) }},
	{MaxPositions, false, func(m model) bool { return reached(m.state.OtherPositions, m.limits.MaxPositions) }},
	{CorrelatedPositions, false, func(m model) bool { return reached(m.state.CorrelatedPositions, m.limits.MaxCorrelatedPositions) }},
	{MaxPosition, false, func(m model) bool {
		long, short := m.worst()
		if m.intent.Side == order.Sell {
			long = short
		}
		return m.limits.MaxPositionFraction >= 0 && m.overShare(long, m.limits.MaxPositionFraction)
	}},
	{MaxGross, false, func(m model) bool { return over(m.gross(), m.limits.MaxGross) }},
	{MaxNet, false, func(m model) bool {
		bought, sold := m.worst()
		held := m.valued(m.state.Reference, m.state.Position)
		if held.Sign() > 0 {
			sold = sub(sold, held)
		} else {
			bought = sum(bought, held)
		}
		bought, sold = sum(bought, whole(m.state.OtherLong)), sum(sold, whole(m.state.OtherShort))
		return over(bought, m.limits.MaxNet) || over(sold, m.limits.MaxNet)
	}},
	{MaxLeverage, false, func(m model) bool { return m.limits.MaxLeverage >= 0 && m.overShare(m.gross(), m.limits.MaxLeverage) }},
	{UnknownRisk, false, func(m model) bool {
		return m.limits.MaxValueAtRisk >= 0 && (m.state.TailLong < 0 || m.state.TailShort < 0 || m.state.OtherAtRisk < 0)
	}},
	{ValueAtRisk, false, func(m model) bool {
		if m.limits.MaxValueAtRisk < 0 || m.state.TailLong < 0 || m.state.TailShort < 0 {
			return false
		}
		long, short := m.worst()
		risked := larger(part(long, m.state.TailLong), part(short, m.state.TailShort))
		if m.state.OtherAtRisk > 0 {
			risked = sum(risked, whole(m.state.OtherAtRisk))
		}
		return m.overShare(risked, m.limits.MaxValueAtRisk)
	}},
	{Volatility, false, func(m model) bool {
		calm := m.state.Volatility >= 0 && m.state.Volatility <= m.limits.MaxVolatility
		return m.limits.MaxVolatility >= 0 && !calm && m.state.Confidence < m.limits.VolatileConfidence
	}},
	{PolicyTotal, false, func(m model) bool { return over(m.gross(), m.state.PolicyShare) }},
	{AccountTotal, false, func(m model) bool { return over(m.gross(), m.state.AccountShare) }},
	{MaxOrderNotional, true, func(m model) bool { return over(m.dearest(), m.limits.MaxOrderNotional) }},
	{MinNotional, false, func(m model) bool {
		cheapest := m.valued(min(m.intent.Limit, m.state.Reference), m.intent.Quantity)
		return cheapest.Cmp(whole(m.state.Instrument.MinNotional)) < 0 || cheapest.Cmp(whole(m.limits.MinOrderNotional)) < 0
	}},
	{MaxQuantity, true, func(m model) bool { return m.state.MaxQuantity > 0 && m.intent.Quantity > m.state.MaxQuantity }},
	{MinQuantity, false, func(m model) bool { return m.intent.Quantity < m.state.MinQuantity }},
	{PriceCollar, true, func(m model) bool {
		away := sub(big.NewInt(int64(m.intent.Limit)), big.NewInt(int64(m.state.Reference)))
		return m.limits.PriceCollar >= 0 && moreThan(away.Abs(away), m.limits.PriceCollar, big.NewInt(int64(m.state.Reference)))
	}},
	{DuplicateOrder, false, func(m model) bool {
		return slices.ContainsFunc(m.state.Recent, func(s Sent) bool {
			return s.At.Add(m.limits.DuplicateWindow).After(m.state.Now) && m.limits.DuplicateWindow > 0 &&
				s == Sent{s.Sequence, m.intent.Side, m.intent.Quantity, m.intent.Limit, s.At} && s.Sequence != m.intent.Sequence
		})
	}},
	{SelfMatch, true, func(m model) bool {
		if m.intent.Side == order.Buy {
			return m.state.LowestSell > 0 && m.intent.Limit >= m.state.LowestSell
		}
		return m.state.HighestBuy > 0 && m.intent.Limit <= m.state.HighestBuy
	}},
	{OrderRate, true, func(m model) bool { return reached(m.state.SentLastSecond, m.limits.MaxPerSecond) }},
}

// judge lists the reasons of the sentences that deny.
func (m model) judge() []Reason {
	var denied []Reason
	for _, r := range rules {
		if (r.reduces || !m.shrinks()) && r.denies(m) {
			denied = append(denied, r.reason)
		}
	}
	return denied
}

// shrinks tries every way in which the open orders of the order's side may fill
// before it, one lot after another.
func (m model) shrinks() bool {
	side, open := market.Quantity(m.intent.Side), m.state.OpenBuys
	if m.intent.Side == order.Sell {
		open = m.state.OpenSells
	}
	for filled := range open + 1 {
		before := (m.state.Position + side*filled) * side
		if after := before + m.intent.Quantity; before >= 0 || after > 0 {
			return false
		}
	}
	return true
}

func whole(m market.Money) *big.Int { return big.NewInt(int64(m)) }
func sum(a, b *big.Int) *big.Int    { return new(big.Int).Add(a, b) }
func sub(a, b *big.Int) *big.Int    { return new(big.Int).Sub(a, b) }

func larger(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

// even rounds to a whole number, a half to the even one.
func even(value *big.Rat) *big.Int {
	doubled := new(big.Int).Lsh(value.Num(), 1)
	doubled.Add(doubled, value.Denom())
	twice := new(big.Int).Lsh(value.Denom(), 1)
	rounded, rest := new(big.Int).DivMod(doubled, twice, new(big.Int))
	if rest.Sign() == 0 && rounded.Bit(0) == 1 {
		rounded.Sub(rounded, big.NewInt(1))
	}
	return rounded
}

func (m model) valued(price market.Price, quantity market.Quantity) *big.Int {
	steps := new(big.Int).Mul(big.NewInt(int64(price)), big.NewInt(int64(quantity)))
	return even(new(big.Rat).Mul(m.unit, new(big.Rat).SetInt(steps)))
}

func (m model) dearest() *big.Int {
	return m.valued(max(m.intent.Limit, m.state.Reference), m.intent.Quantity)
}

// worst is what the pair may be worth on either side.
func (m model) worst() (long, short *big.Int) {
	held := m.valued(m.state.Reference, m.state.Position)
	none := new(big.Int)
	long = sum(larger(held, none), whole(m.state.OpenBuyValue))
	short = sum(larger(sub(none, held), none), whole(m.state.OpenSellValue))
	if m.intent.Side == order.Buy {
		return sum(long, m.dearest()), short
	}
	return long, sum(short, m.dearest())
}

func (m model) gross() *big.Int {
	long, short := m.worst()
	return sum(larger(long, short), whole(m.state.OtherGross))
}

func over(value *big.Int, limit market.Money) bool {
	return limit >= 0 && value.Cmp(whole(limit)) > 0
}

func reached(count, limit int32) bool { return limit >= 0 && count >= limit }

func part(of *big.Int, share order.Fraction) *big.Int {
	return even(new(big.Rat).Mul(new(big.Rat).SetInt(of), big.NewRat(int64(share), 1_000_000_000)))
}

// moreThan reports whether a value is more than the share of another.
func moreThan(value *big.Int, share order.Fraction, of *big.Int) bool {
	if value.Sign() <= 0 {
		return false
	}
	bound := new(big.Rat).Mul(new(big.Rat).SetInt(of), big.NewRat(int64(share), 1_000_000_000))
	return of.Sign() <= 0 || new(big.Rat).SetInt(value).Cmp(bound) > 0
}

func (m model) overShare(value *big.Int, share order.Fraction) bool {
	return moreThan(value, share, whole(m.state.Equity))
}

func (m model) fell(share order.Fraction, from market.Money) bool {
	if share < 0 {
		return false
	}
	return !m.state.EquityKnown || from <= 0 || moreThan(sub(whole(from), whole(m.state.Equity)), share, whole(from))
}

// dice draw what an order is held against. Most values leave room; some are at a
// boundary, or one beside it.
type dice struct{ *rand.Rand }

func (d dice) within(least, most int64) int64 { return least + d.Int64N(most-least+1) }

// mostly is the generous value, except once in so many.
func (d dice) mostly(generous int64, drawn func() int64) int64 {
	if d.IntN(12) > 0 {
		return generous
	}
	return drawn()
}

func (d dice) rarely() bool { return d.IntN(60) == 0 }

// limits are drawn around what the situation comes to, so that boundaries are met.
func (d dice) limits(s *State, i *order.Intent) Limits {
	value := int64(s.Instrument.Notional(max(i.Limit, s.Reference), i.Quantity))
	after := exposureWith(s, i.Side, market.Money(value))
	gross := int64(saturatingAdd(s.OtherGross, after.gross()))
	near := func(v int64) func() int64 { return func() int64 { return max(v+d.within(-1, 1), 0) } }
	share := func(part int64) func() int64 {
		return func() int64 { return max(part*int64(order.Whole)/max(int64(s.Equity), 1)+d.within(-1, 1), 0) }
	}
	count := func(of int32) func() int64 { return near(int64(of)) }
	small := func(v int64) int32 { return int32(v) } //nolint:gosec // counts are small
	free := int64(Unlimited)
	return Limits{
		MinOrderNotional:       market.Money(d.mostly(0, near(value))),
		MaxOrderNotional:       market.Money(d.mostly(free, near(value))),
		PriceCollar:            order.Fraction(d.mostly(free, func() int64 { return d.within(0, 60) * int64(order.Whole) / 1000 })),
		MaxPerSecond:           small(d.mostly(free, count(s.SentLastSecond))),
		DuplicateWindow:        time.Duration(d.mostly(0, func() int64 { return d.within(0, 4) })) * time.Second,
		MaxGross:               market.Money(d.mostly(free, near(gross))),
		MaxNet:                 market.Money(d.mostly(free, near(int64(after.net(s))))),
		MaxLeverage:            order.Fraction(d.mostly(free, share(gross))),
		MaxPositionFraction:    order.Fraction(d.mostly(free, share(int64(after.side(i.Side))))),
		MaxPositions:           small(d.mostly(free, count(s.OtherPositions))),
		MaxCorrelatedPositions: small(d.mostly(free, count(s.CorrelatedPositions))),
		MaxValueAtRisk:         order.Fraction(d.mostly(free, share(value/10))),
		MaxVolatility:          order.Fraction(d.mostly(free, near(int64(s.Volatility)))),
		VolatileConfidence:     order.Fraction(near(int64(s.Confidence))()),
		MaxTradesPerDay:        small(d.mostly(free, count(s.TradesToday))),
		MaxDrawdown:            order.Fraction(d.mostly(free, func() int64 { return d.within(0, 300) * int64(order.Whole) / 1000 })),
		MaxDailyLoss:           order.Fraction(d.mostly(free, func() int64 { return d.within(0, 300) * int64(order.Whole) / 1000 })),
		MaxConsecutiveLosses:   small(d.mostly(free, count(s.ConsecutiveLosses))),
		StopCoolDown:           time.Duration(d.mostly(0, func() int64 { return d.within(0, 4) })) * time.Second,
		MaxDataAge:             time.Duration(d.mostly(int64(time.Hour), func() int64 { return d.within(0, 2) * int64(time.Second) })),
		MaxFrozenBars:          small(d.mostly(free, count(s.FrozenBars))),
		MaxMissingBars:         small(d.mostly(free, count(s.MissingBars))),
	}
}

func (d dice) intent(reference market.Price) order.Intent {
	side := order.Buy
	if d.IntN(2) == 0 {
		side = order.Sell
	}
	return order.Intent{
		Sequence: d.within(1, 2), Side: side, ReduceOnly: d.IntN(4) == 0, Quantity: market.Quantity(d.within(1, 12)),
		Limit: max(1, reference+market.Price(d.within(-4, 4))),
	}
}

func (d dice) state(instrument *market.Instrument) State {
	seconds := func(least, most int64) time.Time { return noon.Add(time.Duration(d.within(least, most)) * time.Second) }
	reference := market.Price(d.within(90, 110))
	s := State{
		PairState: PairState{
			Instrument: instrument, Reference: reference, ReferenceAt: seconds(-2, 0), Position: market.Quantity(d.mostly(0, func() int64 { return d.within(-20, 20) })),
			MinQuantity: market.Quantity(d.mostly(0, func() int64 { return d.within(0, 12) })), MaxQuantity: market.Quantity(d.mostly(0, func() int64 { return d.within(0, 12) })),
			Restricted: d.rarely(), SessionClosed: d.rarely(), Crossed: d.rarely(), Unresolved: d.rarely(),
			FrozenBars: int32(d.within(0, 3)), MissingBars: int32(d.within(0, 3)), //nolint:gosec // small
			LastStop: seconds(-4, 0), TailLong: order.Fraction(d.within(0, 200)) * order.Whole / 1000, TailShort: order.Fraction(d.within(0, 200)) * order.Whole / 1000,
			Volatility: order.Fraction(d.within(0, 100)) * order.Whole / 1000,
		},
		Trading: Enabled, Now: noon, Confidence: order.Fraction(d.within(500, 1000)) * order.Whole / 1000, EquityKnown: !d.rarely(),
		Equity: market.Money(d.within(700, 1100)) * usd, PeakEquity: market.Money(d.within(900, 1100)) * usd, DayStartEquity: market.Money(d.within(900, 1100)) * usd,
		OtherPositions: int32(d.within(0, 4)), CorrelatedPositions: int32(d.within(0, 4)), TradesToday: int32(d.within(0, 9)), //nolint:gosec // small
		SentLastSecond: int32(d.within(0, 9)), ConsecutiveLosses: int32(d.within(0, 9)), Disarmed: d.rarely(), //nolint:gosec // small
		OtherGross: market.Money(d.within(0, 500)) * usd / 3, OtherLong: market.Money(d.within(-300, 300)) * usd / 7, OtherShort: market.Money(d.within(-300, 300)) * usd / 7,
		OtherAtRisk: market.Money(d.within(0, 30)) * usd / 7, PolicyShare: Unlimited, AccountShare: Unlimited,
	}
	if d.IntN(3) == 0 {
		s.OpenBuys, s.HighestBuy = market.Quantity(d.within(0, 8)), reference+market.Price(d.within(-4, 4))
		s.OpenBuyValue = instrument.Notional(max(s.HighestBuy, reference), s.OpenBuys)
	}
	if d.IntN(3) == 0 {
		s.OpenSells, s.LowestSell = market.Quantity(d.within(0, 8)), reference+market.Price(d.within(-4, 4))
		s.OpenSellValue = instrument.Notional(max(s.LowestSell, reference), s.OpenSells)
	}
	d.doubt(&s)
	return s
}

// doubt takes away now and then what the gate should know.
func (d dice) doubt(s *State) {
	switch d.IntN(100) {
	case 0:
		s.Trading = Reducing
	case 1:
		s.Trading = TradingState(d.IntN(8)) //nolint:gosec // words that do not exist halt
	case 2:
		s.ReferenceAt = noon.Add(time.Second)
	case 3:
		s.ReferenceAt = time.Time{}
	case 4:
		s.TailLong, s.TailShort = Unknown, Unknown
	case 5:
		s.OtherAtRisk = Unlimited
	case 6:
		s.Volatility = Unknown
	case 7:
		s.LastStop = time.Time{}
	case 8:
		s.Equity = market.Money(d.within(-2, 2))
	case 9:
		s.PeakEquity = market.Money(d.within(-1, 1))
	}
}

// The gate and the model agree on every order, in every reason: no limit is ever
// exceeded, and none denies what it should not.
func TestGateAgreesWithTheModel(t *testing.T) {
	orders := 1_000_000
	if testing.Short() {
		orders = 60_000
	}
	fine, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.00003"), decimal.RequireFromString("0.00007"), decimal.RequireFromString("0.0000002"))
	if err != nil {
		t.Fatal(err)
	}
	instruments := []*market.Instrument{newInstrument(t), &fine}
	units := []*big.Rat{big.NewRat(1_000_000, 1), big.NewRat(21, 100)}
	seed := rand.Uint64()                     //nolint:gosec // draws of a test, which can be repeated by the seed
	d := dice{rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // orders are drawn, not secrets
	denials := map[Reason]int{}
	allowed, reducing := 0, 0
	for n := range orders {
		which := d.IntN(2)
		state := d.state(instruments[which])
		intent := d.intent(state.Reference)
		if d.IntN(3) == 0 {
			at := noon.Add(-time.Duration(d.within(0, 4)) * time.Second)
			state.Recent = []Sent{{d.within(1, 2), intent.Side, intent.Quantity, intent.Limit + market.Price(d.within(0, 1)), at}}
		}
		if d.IntN(8) == 0 {
			gross := Gross(&state, intent.Side, state.Instrument.Notional(max(intent.Limit, state.Reference), intent.Quantity))
			state.PolicyShare, state.AccountShare = gross+market.Money(d.within(-1, 1)), gross+market.Money(d.within(-1, 1))
		}
		limits := d.limits(&state, &intent)
		m := model{&limits, &state, &intent, units[which]}
		want, got := m.judge(), Check(&limits, &state, &intent).Reasons()
		if !slices.Equal(want, got) {
			t.Fatalf("order %d of seed %d: the gate says %v and the model %v\nlimits %+v\nstate %+v\nintent %+v", n, seed, got, want, limits, state, intent)
		}
		if len(got) == 0 {
			allowed++
		}
		if m.shrinks() {
			reducing++
		}
		for _, reason := range got {
			denials[reason]++
		}
	}
	t.Logf("%d orders, %d allowed, %d reducing, seed %d", orders, allowed, reducing, seed)
	if allowed < orders/20 || reducing < orders/100 {
		t.Errorf("%d of %d orders were allowed and %d were reducing; that tells too little", allowed, orders, reducing)
	}
	for _, r := range rules {
		if denials[r.reason] < orders/5000 {
			t.Errorf("%s has denied only %d of %d orders", r.reason, denials[r.reason], orders)
		}
	}
}
