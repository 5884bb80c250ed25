package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/shopspring/decimal"

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
	// fee is how much of the position went to a fee in the base currency, in whole
	// lots, and change what the last of them was too much; both zero where the fee
	// was paid from cash.
	fee    market.Quantity
	change decimal.Decimal
}

// payInKind takes a fee in the base currency from the position that a fill has
// left, at its average cost, which is thereby lost. A fee is seldom a whole number
// of lots: it is rounded up, so that no more can be sold than is there, and what
// is left of the last lot is cash in the base currency. Where no long position
// suffices, the fee is paid from that cash.
func (e *execution) payInKind(instrument market.Instrument, fee market.Money) {
	whole, rest := fee.Decimal().QuoRem(instrument.Lot, 0)
	if rest.Sign() > 0 {
		whole = whole.Add(decimal.NewFromInt(1))
	}
	if whole.GreaterThan(decimal.NewFromInt(int64(e.position.Quantity))) {
		return
	}
	lots := market.Quantity(whole.IntPart())
	lost := share(e.position.Cost, lots, e.position.Quantity)
	e.position.Quantity -= lots
	e.position.Cost -= lost
	e.released += lost
	e.realised -= lost
	e.fee, e.change = lots, whole.Mul(instrument.Lot).Sub(fee.Decimal())
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
	if fill.Fee > 0 && fill.FeeCurrency == instrument.Base {
		result.payInKind(instrument, fill.Fee)
	}
	return result, nil
}

// share is cost × part/whole with the sign of cost, rounded half to even. The
// part is not greater than the whole; their signs do not matter.
func share(cost market.Money, part, whole market.Quantity) market.Money {
	denominator := new(big.Int).Abs(big.NewInt(int64(whole)))
	product := new(big.Int).Abs(big.NewInt(int64(part)))
	product.Mul(product, big.NewInt(int64(cost)))
	quotient, remainder := product.QuoRem(product, denominator, new(big.Int))
	half := remainder.Lsh(remainder, 1).CmpAbs(denominator)
	if half > 0 || (half == 0 && quotient.Bit(0) == 1) {
		quotient.Add(quotient, big.NewInt(int64(cmp.Compare(cost, 0))))
	}
	return market.Money(quotient.Int64())
}

func add(a, b int64) (sum int64, overflow bool) {
	sum = a + b
	return sum, (a > 0 && b > 0 && sum < 0) || (a < 0 && b < 0 && sum >= 0)
}
