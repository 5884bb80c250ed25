// Package risk is the gate that every order passes. It holds every limit in one
// function, says which failed by name, and is closed on doubt: what is not known
// denies.
package risk

import (
	"math/bits"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Verdict is the gate's answer: a bit for each limit that failed, in the order
// in which they lead. The zero value allows.
type Verdict struct{ failed uint64 }

// Allowed reports whether every limit held.
func (v Verdict) Allowed() bool { return v.failed == 0 }

// Reasons lists the limits that failed, the leading one first.
func (v Verdict) Reasons() []Reason {
	var reasons []Reason
	for i, reason := range leading {
		if v.failed&(1<<i) != 0 {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

// Leading is the first limit that failed; empty if none did.
func (v Verdict) Leading() Reason {
	if v.failed == 0 {
		return ""
	}
	return leading[bits.TrailingZeros64(v.failed)]
}

// NeedsShare reports whether nothing failed but the agent's shares of the totals
// of its policy and account, which may be topped up.
func (v Verdict) NeedsShare() bool {
	const shares = 1<<bitPolicyTotal | 1<<bitAccountTotal
	return v.failed != 0 && v.failed&^shares == 0
}

func deny(v *Verdict, failed bool, bit int) {
	if failed {
		v.failed |= 1 << bit
	}
}

// Check holds an order against every limit. It is deterministic and does not
// allocate.
func Check(limits *Limits, state *State, intent *order.Intent) Verdict {
	var verdict Verdict
	deny(&verdict, state.Trading != Enabled && state.Trading != Reducing, bitTradingHalted)
	if malformed(state, intent) {
		deny(&verdict, true, bitInvalidOrder)
		return verdict
	}
	reduces := Reduces(state, intent)
	deny(&verdict, intent.ReduceOnly && !reduces, bitInvalidOrder)
	if state.Reference <= 0 {
		deny(&verdict, true, bitUnknownPrice)
		return verdict
	}
	value := state.Instrument.Notional(max(intent.Limit, state.Reference), intent.Quantity)
	checkAny(&verdict, limits, state, intent, value)
	if !reduces {
		deny(&verdict, state.Trading != Enabled, bitReduceOnly)
		checkData(&verdict, limits, state)
		checkRecord(&verdict, limits, state)
		checkSize(&verdict, limits, state, intent)
		checkExposure(&verdict, limits, state, intent, value)
	}
	return verdict
}

// checkAny holds any order against what binds it, reducing or not. Value is the
// order's at the worse of limit and reference.
func checkAny(verdict *Verdict, limits *Limits, state *State, intent *order.Intent, value market.Money) {
	deny(verdict, above(value, limits.MaxOrderNotional), bitMaxOrderNotional)
	deny(verdict, state.MaxQuantity != 0 && intent.Quantity > state.MaxQuantity, bitMaxQuantity)
	deny(verdict, beyondCollar(limits.PriceCollar, state.Reference, intent.Limit), bitPriceCollar)
	deny(verdict, limits.MaxPerSecond != Unlimited && state.SentLastSecond >= limits.MaxPerSecond, bitOrderRate)
	deny(verdict, meetsOwn(state, intent), bitSelfMatch)
}

// checkData holds an opening order against what the prices must be like.
func checkData(verdict *Verdict, limits *Limits, state *State) {
	age := state.Now.Sub(state.ReferenceAt)
	deny(verdict, state.ReferenceAt.IsZero() || age < 0 || age > limits.MaxDataAge, bitStaleData)
	deny(verdict, state.Crossed, bitCrossedData)
	deny(verdict, limits.MaxFrozenBars != Unlimited && state.FrozenBars > limits.MaxFrozenBars, bitFrozenData)
	deny(verdict, limits.MaxMissingBars != Unlimited && state.MissingBars > limits.MaxMissingBars, bitGappedData)
	deny(verdict, state.Restricted, bitRestrictedPair)
	deny(verdict, state.SessionClosed, bitSessionClosed)
	deny(verdict, limits.MaxVolatility != Unlimited && state.Confidence < limits.VolatileConfidence &&
		(state.Volatility < 0 || state.Volatility > limits.MaxVolatility), bitVolatility)
}

// checkRecord holds an opening order against what the agent has done so far.
func checkRecord(verdict *Verdict, limits *Limits, state *State) {
	deny(verdict, !state.EquityKnown || state.Equity <= 0, bitUnknownEquity)
	deny(verdict, state.Unresolved, bitUnresolvedOrders)
	deny(verdict, state.Disarmed, bitAutomaticExits)
	deny(verdict, DrawdownExceeded(limits, state), bitMaxDrawdown)
	deny(verdict, DailyLossExceeded(limits, state), bitMaxDailyLoss)
	deny(verdict, LossesExceeded(limits, state), bitConsecutiveLosses)
	deny(verdict, coolsDown(limits, state), bitCoolDown)
	deny(verdict, limits.MaxTradesPerDay != Unlimited && state.TradesToday >= limits.MaxTradesPerDay, bitMaxTradesPerDay)
	deny(verdict, limits.MaxPositions != Unlimited && state.OtherPositions >= limits.MaxPositions, bitMaxPositions)
	deny(verdict, limits.MaxCorrelatedPositions != Unlimited && state.CorrelatedPositions >= limits.MaxCorrelatedPositions, bitCorrelatedPositions)
}

// checkSize holds an opening order against the smallest sizes and against those
// that were sent before.
func checkSize(verdict *Verdict, limits *Limits, state *State, intent *order.Intent) {
	least := state.Instrument.Notional(min(intent.Limit, state.Reference), intent.Quantity)
	deny(verdict, least < max(state.Instrument.MinNotional, limits.MinOrderNotional), bitMinNotional)
	deny(verdict, intent.Quantity < state.MinQuantity, bitMinQuantity)
	deny(verdict, duplicates(limits, state, intent), bitDuplicateOrder)
}

// checkExposure holds an opening order against what all positions may be worth
// with this and all open orders filled.
func checkExposure(verdict *Verdict, limits *Limits, state *State, intent *order.Intent, value market.Money) {
	after := exposureWith(state, intent.Side, value)
	gross := saturatingAdd(state.OtherGross, after.gross())
	deny(verdict, limits.MaxPositionFraction != Unlimited &&
		order.ExceedsShare(after.side(intent.Side), limits.MaxPositionFraction, state.Equity), bitMaxPosition)
	deny(verdict, above(gross, limits.MaxGross), bitMaxGross)
	deny(verdict, above(after.net(state), limits.MaxNet), bitMaxNet)
	deny(verdict, limits.MaxLeverage != Unlimited && order.ExceedsShare(gross, limits.MaxLeverage, state.Equity), bitMaxLeverage)
	deny(verdict, above(gross, state.PolicyShare), bitPolicyTotal)
	deny(verdict, above(gross, state.AccountShare), bitAccountTotal)
	if limits.MaxValueAtRisk == Unlimited {
		return
	}
	risked, known := after.atRisk(state)
	deny(verdict, !known || state.OtherAtRisk < 0, bitUnknownRisk)
	deny(verdict, known && order.ExceedsShare(saturatingAdd(risked, max(state.OtherAtRisk, 0)), limits.MaxValueAtRisk, state.Equity), bitValueAtRisk)
}

func malformed(state *State, intent *order.Intent) bool {
	return state.Instrument == nil || (intent.Side != order.Buy && intent.Side != order.Sell) ||
		intent.Quantity <= 0 || intent.Limit <= 0
}

// Reduces reports whether the order can only shrink the position, whichever of
// the open orders fill: it and all open orders of its side together are not more
// than the position.
func Reduces(state *State, intent *order.Intent) bool {
	if intent.Side == order.Sell {
		return state.Position > 0 && intent.Quantity <= state.Position-state.OpenSells
	}
	return state.Position < 0 && intent.Quantity <= -state.Position-state.OpenBuys
}

// meetsOwn reports whether the order would be filled by an open one of the same
// agent.
func meetsOwn(state *State, intent *order.Intent) bool {
	if intent.Side == order.Buy {
		return state.LowestSell != 0 && intent.Limit >= state.LowestSell
	}
	return state.HighestBuy != 0 && intent.Limit <= state.HighestBuy
}

// duplicates reports whether another decision has sent the same order within the
// window.
func duplicates(limits *Limits, state *State, intent *order.Intent) bool {
	if limits.DuplicateWindow <= 0 {
		return false
	}
	for i := range state.Recent {
		sent := &state.Recent[i]
		if sent.Side == intent.Side && sent.Quantity == intent.Quantity && sent.Limit == intent.Limit &&
			sent.Sequence != intent.Sequence && state.Now.Sub(sent.At) < limits.DuplicateWindow {
			return true
		}
	}
	return false
}

// coolsDown reports whether the pair's last stop is too new. A stop that never was
// is longer ago than any cool-down.
func coolsDown(limits *Limits, state *State) bool {
	return state.Now.Sub(state.LastStop) < limits.StopCoolDown
}

// DrawdownExceeded reports whether equity has fallen further from its peak than
// the limit. Unknown equity exceeds every limit.
func DrawdownExceeded(limits *Limits, state *State) bool {
	return fallen(limits.MaxDrawdown, state.PeakEquity, state)
}

// DailyLossExceeded reports whether the day's loss is larger than the limit.
func DailyLossExceeded(limits *Limits, state *State) bool {
	return fallen(limits.MaxDailyLoss, state.DayStartEquity, state)
}

// LossesExceeded reports whether so many trades in a row have lost that nothing
// is opened any more.
func LossesExceeded(limits *Limits, state *State) bool {
	return limits.MaxConsecutiveLosses != Unlimited && state.ConsecutiveLosses >= limits.MaxConsecutiveLosses
}

// fallen reports whether equity is below the base by more than the share of it.
func fallen(share order.Fraction, base market.Money, state *State) bool {
	switch {
	case share == Unlimited:
		return false
	case !state.EquityKnown || base <= 0:
		return true
	}
	return order.ExceedsShare(base-state.Equity, share, base)
}

func beyondCollar(collar order.Fraction, reference, limit market.Price) bool {
	if collar == Unlimited {
		return false
	}
	distance := max(limit-reference, reference-limit)
	return order.ExceedsShare(market.Money(distance), collar, market.Money(reference))
}

func above(value, limit market.Money) bool { return limit != Unlimited && value > limit }
