// Package risk is the gate that every order passes. It holds every limit in one
// function, says which failed by name, and is closed on doubt: what is not known
// denies.
package risk

import (
	"math/bits"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// TradingState says how far an agent may trade. The zero value halts.
type TradingState int8

// The states of trading, the strictest first.
const (
	Halted TradingState = iota
	Reducing
	Enabled
)

// Unlimited is the value of an amount or fraction that does not bind. The zero
// value of a limit is its strictest, so that limits nobody filled in deny.
const Unlimited = -1

// Limits are what binds each order of one agent.
type Limits struct {
	// MaxOrderNotional is the largest value of one order at its worst price,
	// reducing orders included; equal passes.
	MaxOrderNotional market.Money
	// PriceCollar is the furthest that a limit price may be from the reference
	// price, as a share of it; equal passes.
	PriceCollar order.Fraction
	// MaxPerSecond is how many orders may be sent within one second, this one
	// included.
	MaxPerSecond int32
	// MaxPositionFraction is the largest share of equity that a position may be
	// worth with this and all open orders filled; equal passes.
	MaxPositionFraction order.Fraction
	// MaxPositions is how many pairs may be held or being opened, this one
	// included.
	MaxPositions int32
	// MaxTradesPerDay is how many opening orders may be made in one day, this
	// one included.
	MaxTradesPerDay int32
	// MaxDrawdown is the largest fall from the highest equity, as a share of
	// it; equal passes.
	MaxDrawdown order.Fraction
	// MaxDailyLoss is the largest loss since the day began, as a share of the
	// equity then; equal passes.
	MaxDailyLoss order.Fraction
	// MaxDataAge is how old the reference price may be; equal passes.
	MaxDataAge time.Duration
}

// State is what the gate must know of the agent and of the pair of the order.
type State struct {
	Trading TradingState
	// Now in the time of the market data.
	Now        time.Time
	Instrument *market.Instrument
	// Reference is the newest price of the pair and ReferenceAt its time; zero
	// is unknown.
	Reference   market.Price
	ReferenceAt time.Time
	// EquityKnown is false if a held pair has no price.
	EquityKnown                        bool
	Equity, PeakEquity, DayStartEquity market.Money
	// Position of the pair, signed.
	Position market.Quantity
	// OpenBuys and OpenSells are what open orders of the pair may yet fill,
	// those of unknown outcome included, and their values at the worse of limit
	// and reference.
	OpenBuys, OpenSells         market.Quantity
	OpenBuyValue, OpenSellValue market.Money
	// Unresolved says that an order of the pair has an unknown outcome.
	Unresolved bool
	// OtherPositions is how many other pairs are held or being opened.
	OtherPositions int32
	// TradesToday is how many opening orders the day has had.
	TradesToday int32
	// SentLastSecond is how many orders were sent within the last second.
	SentLastSecond int32
}

// Verdict is the gate's answer: a bit for each limit that failed, in the order
// in which they lead. The zero value allows.
type Verdict struct{ failed uint32 }

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
	return leading[bits.TrailingZeros32(v.failed)]
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
	if !reduces {
		deny(&verdict, state.Trading != Enabled, bitReduceOnly)
		checkOpening(&verdict, limits, state, intent)
	}
	value := state.Instrument.Notional(max(intent.Limit, state.Reference), intent.Quantity)
	deny(&verdict, limits.MaxOrderNotional != Unlimited && value > limits.MaxOrderNotional, bitMaxOrderNotional)
	least := state.Instrument.Notional(min(intent.Limit, state.Reference), intent.Quantity)
	deny(&verdict, !reduces && least < state.Instrument.MinNotional, bitMinNotional)
	deny(&verdict, beyondCollar(limits.PriceCollar, state.Reference, intent.Limit), bitPriceCollar)
	deny(&verdict, state.SentLastSecond >= limits.MaxPerSecond, bitOrderRate)
	return verdict
}

// checkOpening holds an order against what binds only opening or enlarging.
func checkOpening(verdict *Verdict, limits *Limits, state *State, intent *order.Intent) {
	age := state.Now.Sub(state.ReferenceAt)
	deny(verdict, state.ReferenceAt.IsZero() || age < 0 || age > limits.MaxDataAge, bitStaleData)
	deny(verdict, !state.EquityKnown || state.Equity <= 0, bitUnknownEquity)
	deny(verdict, state.Unresolved, bitUnresolvedOrders)
	deny(verdict, DrawdownExceeded(limits, state), bitMaxDrawdown)
	deny(verdict, DailyLossExceeded(limits, state), bitMaxDailyLoss)
	deny(verdict, state.TradesToday >= limits.MaxTradesPerDay, bitMaxTradesPerDay)
	deny(verdict, state.OtherPositions >= limits.MaxPositions, bitMaxPositions)
	deny(verdict, limits.MaxPositionFraction != Unlimited &&
		order.ExceedsShare(WorstPosition(state, intent), limits.MaxPositionFraction, state.Equity), bitMaxPosition)
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

// WorstPosition is the value of the pair's position if this order and all open
// orders of its side were filled, each at the worse of its limit and the
// reference price. What the other side could take away is not counted on.
func WorstPosition(state *State, intent *order.Intent) market.Money {
	held := state.Instrument.Notional(state.Reference, state.Position*market.Quantity(intent.Side))
	open := state.OpenBuyValue
	if intent.Side == order.Sell {
		open = state.OpenSellValue
	}
	worst := saturatingAdd(max(held, 0), open)
	return saturatingAdd(worst, state.Instrument.Notional(max(intent.Limit, state.Reference), intent.Quantity))
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
	distance := limit - reference
	if distance < 0 {
		distance = -distance
	}
	return order.ExceedsShare(market.Money(distance), collar, market.Money(reference))
}

func saturatingAdd(a, b market.Money) market.Money {
	const most = market.Money(1<<63 - 1)
	if a > most-b {
		return most
	}
	return a + b
}
