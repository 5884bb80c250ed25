// Package tally counts what venues tell of executions in the ticks and lots of an
// instrument. Venues execute in finer steps than they take orders in: Gemini in two
// decimal places more (https://docs.gemini.com/market-data/symbols-and-minimums),
// and any where an AssetPair's steps are coarser than the venue's own. What is less
// than a step is always counted against the agent, so that its books never hold more
// than its account does.
package tally

import (
	"errors"
	"fmt"
	"math"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// ErrRange means a number that no order of ours can have.
var ErrRange = errors.New("is not one that can be counted")

// Filled is how many lots of an order count as filled when a quantity of the base
// currency is: whole lots only for a purchase, each lot that was begun for a sale.
func Filled(instrument market.Instrument, side order.Side, filled decimal.Decimal) (market.Quantity, error) {
	if filled.IsNegative() {
		return 0, fmt.Errorf("the filled quantity %w", ErrRange)
	}
	whole, rest := filled.QuoRem(instrument.Lot, 0)
	if side == order.Sell && rest.IsPositive() {
		whole = whole.Add(decimal.NewFromInt(1))
	}
	if whole.GreaterThan(decimal.NewFromInt(math.MaxInt64)) {
		return 0, fmt.Errorf("the filled quantity %w", ErrRange)
	}
	return market.Quantity(whole.IntPart()), nil
}

// Execution is how many lots one execution adds to those that its order had filled
// before it. The parts of an order add up to Filled of the whole; zero is an
// execution that completes no lot.
func Execution(instrument market.Instrument, side order.Side, before, quantity decimal.Decimal) (market.Quantity, error) {
	first, err := Filled(instrument, side, before)
	if err != nil {
		return 0, err
	}
	last, err := Filled(instrument, side, before.Add(quantity))
	if err != nil {
		return 0, err
	}
	return last - first, nil
}

// Price is the price of one execution in whole ticks: the tick above for a purchase,
// the tick below for a sale. A limit is a whole tick, so that what was executed
// within it stays within it.
func Price(instrument market.Instrument, side order.Side, price decimal.Decimal) (market.Price, error) {
	ticks, rest := price.QuoRem(instrument.Tick, 0)
	if side == order.Buy && rest.IsPositive() {
		ticks = ticks.Add(decimal.NewFromInt(1))
	}
	if !ticks.IsPositive() || ticks.GreaterThan(decimal.NewFromInt(math.MaxInt64)) {
		return 0, fmt.Errorf("the price %w in ticks of %s", ErrRange, instrument.Tick)
	}
	return market.Price(ticks.IntPart()), nil
}

// moneyPlaces is how many decimal places market.Money has.
const moneyPlaces = 8

// Fee is an amount paid, rounded up to a unit of market.Money.
func Fee(amount decimal.Decimal) (market.Money, error) {
	fee, err := market.MoneyOf(amount.RoundCeil(moneyPlaces))
	if err != nil {
		return 0, fmt.Errorf("the fee %w", ErrRange)
	}
	return fee, nil
}
