package ledger

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// errRange is arithmetic that leaves the range of Money or Quantity.
var errRange = errors.New("the amount is beyond what the ledger can count")

// execution is what one fill does to a position, in the quote currency.
type execution struct {
	position Position
	// quantity and value are signed: positive for a purchase.
	quantity market.Quantity
	value    market.Money
	// released is the cost of what was closed, realised the result of closing it.
	released, realised market.Money
	// opened says that a position began with this fill.
	opened bool
}

// execute applies a fill to a position at average cost. A position that turns
// is closed first; what is left opens anew at the fill's price. The parts add
// up to the fill's value to the last unit.
func execute(instrument market.Instrument, before Position, fill order.Fill) (execution, error) {
	quantity := fill.Quantity * market.Quantity(fill.Side)
	value := instrument.Notional(fill.Price, quantity)
	if value == math.MaxInt64 || value == -math.MaxInt64 {
		return execution{}, fmt.Errorf("fill %s of %s: %w", fill.TradeID, fill.Pair, errRange)
	}
	after, overflow := add(int64(before.Quantity), int64(quantity))
	if overflow {
		return execution{}, fmt.Errorf("fill %s of %s: position: %w", fill.TradeID, fill.Pair, errRange)
	}
	result := execution{quantity: quantity, value: value}
	result.position.Quantity = market.Quantity(after)
	switch {
	case before.Quantity == 0 || (before.Quantity > 0) == (quantity > 0):
		cost, overflow := add(int64(before.Cost), int64(value))
		if overflow {
			return execution{}, fmt.Errorf("fill %s of %s: cost: %w", fill.TradeID, fill.Pair, errRange)
		}
		result.position.Cost = market.Money(cost)
		result.opened = before.Quantity == 0
	case after == 0 || (after > 0) == (before.Quantity > 0):
		result.released = share(before.Cost, quantity, before.Quantity)
		result.realised = -value - result.released
		result.position.Cost = before.Cost - result.released
	default:
		closing := instrument.Notional(fill.Price, -before.Quantity)
		result.released = before.Cost
		result.realised = -closing - before.Cost
		result.position.Cost = value - closing
		result.opened = true
	}
	return result, nil
}

// share is cost × part/whole with the sign of cost, rounded half to even. The
// part is not greater than the whole; their signs do not matter.
func share(cost market.Money, part, whole market.Quantity) market.Money {
	numerator, denominator := magnitude(int64(part)), magnitude(int64(whole))
	high, low := bits.Mul64(magnitude(int64(cost)), numerator)
	quotient, remainder := bits.Div64(high, low, denominator)
	twice, carry := bits.Add64(remainder, remainder, 0)
	if carry == 1 || twice > denominator || (twice == denominator && quotient&1 == 1) {
		quotient++
	}
	if cost < 0 {
		return -market.Money(quotient)
	}
	return market.Money(quotient)
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return uint64(-(v + 1)) + 1
	}
	return uint64(v)
}

func add(a, b int64) (sum int64, overflow bool) {
	sum = a + b
	return sum, (a > 0 && b > 0 && sum < 0) || (a < 0 && b < 0 && sum >= 0)
}
