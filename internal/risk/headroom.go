package risk

import (
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Room is how much of a limit is used.
type Room struct {
	// Limit is the word of the reason with which it denies.
	Limit Reason
	// Used is the share of the limit that is used: 1 is at the limit, more is
	// beyond it.
	Used float64
}

// Headroom tells how much of each limit is used now, without another order, in
// the order in which the limits lead. Limits that do not bind are absent, and so
// are those of which it is not known.
func Headroom(limits *Limits, state *State) []Room {
	var rooms []Room
	add := func(limit Reason, used, most float64, binds bool) {
		if binds && most > 0 {
			rooms = append(rooms, Room{limit, max(used, 0) / most})
		}
	}
	count := func(limit Reason, used, most int32) { add(limit, float64(used), float64(most), most != Unlimited) }
	amount := func(limit Reason, used, most market.Money) {
		add(limit, float64(used), float64(most), most != Unlimited)
	}
	// shareOf tells of a limit that is a share of some amount.
	shareOf := func(limit Reason, used market.Money, most order.Fraction, of market.Money) {
		add(limit, float64(used), fraction(most)*float64(of), most != Unlimited && of > 0 && state.EquityKnown)
	}
	priced := state.Instrument != nil && state.Reference > 0
	if priced && !state.ReferenceAt.IsZero() {
		add(StaleData, state.Now.Sub(state.ReferenceAt).Seconds(), limits.MaxDataAge.Seconds(), true)
	}
	count(FrozenData, state.FrozenBars, limits.MaxFrozenBars)
	count(GappedData, state.MissingBars, limits.MaxMissingBars)
	shareOf(MaxDrawdown, state.PeakEquity-state.Equity, limits.MaxDrawdown, state.PeakEquity)
	shareOf(MaxDailyLoss, state.DayStartEquity-state.Equity, limits.MaxDailyLoss, state.DayStartEquity)
	count(ConsecutiveLosses, state.ConsecutiveLosses, limits.MaxConsecutiveLosses)
	count(MaxTradesPerDay, state.TradesToday, limits.MaxTradesPerDay)
	if priced {
		exposure := ExposureOf(&state.PairState)
		gross := saturatingAdd(state.OtherGross, exposure.gross())
		held := int32(0)
		if exposure.gross() > 0 {
			held = 1
		}
		count(MaxPositions, state.OtherPositions+held, limits.MaxPositions)
		count(CorrelatedPositions, state.CorrelatedPositions+held, limits.MaxCorrelatedPositions)
		shareOf(MaxPosition, exposure.gross(), limits.MaxPositionFraction, state.Equity)
		amount(MaxGross, gross, limits.MaxGross)
		amount(MaxNet, exposure.net(state), limits.MaxNet)
		shareOf(MaxLeverage, gross, limits.MaxLeverage, state.Equity)
		if risked, known := exposure.atRisk(state); known && state.OtherAtRisk >= 0 {
			shareOf(ValueAtRisk, saturatingAdd(risked, state.OtherAtRisk), limits.MaxValueAtRisk, state.Equity)
		}
		amount(PolicyTotal, gross, state.PolicyShare)
		amount(AccountTotal, gross, state.AccountShare)
	}
	if state.Volatility >= 0 {
		add(Volatility, fraction(state.Volatility), fraction(limits.MaxVolatility), limits.MaxVolatility != Unlimited)
	}
	count(OrderRate, state.SentLastSecond, limits.MaxPerSecond)
	return rooms
}

func fraction(f order.Fraction) float64 { return float64(f) / float64(order.Whole) }
