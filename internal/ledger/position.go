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
	// fee is how many whole lots of the position went to a fee in the base currency,
	// or came back from what earlier ones had left, which is negative.
	fee market.Quantity
}

// payInKind pays a fee in the base currency from what earlier ones have left of
// their lots. Where that does not suffice, whole lots leave the position that the
// fill has left, at its average cost, which is thereby lost; whole lots that are
// left over come back in the same way. So what can be sold is every whole lot that
// is there, and no more. Where no long position suffices, change goes below zero.
func (e *execution) payInKind(instrument market.Instrument, fee market.Money) error {
	change, overflow := add(int64(e.position.Change), -int64(fee))
	if overflow {
		return fmt.Errorf("change: %w", errRange)
	}
	e.position.Change = market.Money(change)
	whole := lotsToPay(-e.position.Change, instrument.Lot)
	left := decimal.NewFromInt(int64(e.position.Quantity)).Sub(whole)
	if whole.IsZero() || e.position.Quantity <= 0 || left.IsNegative() || !left.BigInt().IsInt64() {
		return nil
	}
	lots := market.Quantity(whole.IntPart())
	lost := share(e.position.Cost, lots, e.position.Quantity)
	if lots < 0 {
		lost = -lost
	}
	cost, overflow := add(int64(e.position.Cost), -int64(lost))
	paid, err := market.MoneyOf(whole.Mul(instrument.Lot))
	if overflow || err != nil {
		// Lots whose cost cannot be counted stay change: no fee refuses its fill.
		return nil //nolint:nilerr // As it says.
	}
	e.position.Quantity -= lots
	e.position.Cost = market.Money(cost)
	e.position.Change += paid
	e.released += lost
	e.realised -= lost
	e.fee = lots
	return nil
}

// lotsToPay is how many whole lots pay an amount of the base currency, rounded up;
// negative if the amount is. Of lots finer than Money counts, only as many at once
// as it can count, so that no change is ever rounded.
func lotsToPay(amount market.Money, lot decimal.Decimal) decimal.Decimal {
	unit, digits := lot, int32(0)
	for !unit.Equal(unit.Truncate(moneyPlaces)) {
		unit, digits = unit.Shift(1), digits+1
	}
	whole, rest := amount.Decimal().QuoRem(unit, 0)
	if rest.Sign() > 0 {
		whole = whole.Add(decimal.NewFromInt(1))
	}
	return whole.Shift(digits)
}

// moneyPlaces is how many decimal places market.Money has.
const moneyPlaces = 8

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
	result.position.Change = before.Change
	if fill.Fee != 0 && fill.FeeCurrency == instrument.Base {
		if err := result.payInKind(instrument, fill.Fee); err != nil {
			return execution{}, fmt.Errorf("fill %s of %s: %w", fill.TradeID, fill.Pair, err)
		}
	}
	return result, nil
}

// share is cost × part/whole with the sign of cost, rounded half to even; the signs
// of part and whole do not matter. What is beyond Money is the most that it counts.
func share(cost market.Money, part, whole market.Quantity) market.Money {
	denominator := new(big.Int).Abs(big.NewInt(int64(whole)))
	product := new(big.Int).Abs(big.NewInt(int64(part)))
	product.Mul(product, big.NewInt(int64(cost)))
	quotient, remainder := product.QuoRem(product, denominator, new(big.Int))
	half := remainder.Lsh(remainder, 1).CmpAbs(denominator)
	if half > 0 || (half == 0 && quotient.Bit(0) == 1) {
		quotient.Add(quotient, big.NewInt(int64(cmp.Compare(cost, 0))))
	}
	if !quotient.IsInt64() {
		return market.Money(int64(quotient.Sign()) * math.MaxInt64)
	}
	return market.Money(quotient.Int64())
}

func add(a, b int64) (sum int64, overflow bool) {
	sum = a + b
	return sum, (a > 0 && b > 0 && sum < 0) || (a < 0 && b < 0 && sum >= 0)
}
