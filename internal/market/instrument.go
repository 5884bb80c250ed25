package market

import (
	"fmt"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"
)

// Instrument is one pair with the steps that its prices and quantities are
// counted in.
type Instrument struct {
	// Pair is the canonical spelling, such as BTC-USD.
	Pair, Base, Quote string
	// Tick is the step of the price in the quote currency, Lot the step of the
	// quantity in the base currency.
	Tick, Lot decimal.Decimal
	// MinNotional is the smallest value of an order; zero is none.
	MinNotional Money

	// numerator/denominator is the value of one lot at a price of one tick, in
	// units of Money, in lowest terms.
	numerator, denominator uint64
}

// NewInstrument checks and completes an instrument. Tick and lot must be greater
// than zero and their product must fit the arithmetic of Money.
func NewInstrument(base, quote string, tick, lot, minNotional decimal.Decimal) (Instrument, error) {
	instrument := Instrument{Pair: base + "-" + quote, Base: base, Quote: quote, Tick: tick, Lot: lot}
	if tick.Sign() <= 0 || lot.Sign() <= 0 {
		return Instrument{}, fmt.Errorf("%s: tick size %s and lot size %s must be greater than zero", instrument.Pair, tick, lot)
	}
	unit := new(big.Rat).Mul(tick.Rat(), lot.Rat())
	unit.Mul(unit, new(big.Rat).SetInt64(int64(MoneyUnit)))
	if !unit.Num().IsUint64() || !unit.Denom().IsUint64() {
		return Instrument{}, fmt.Errorf("%s: tick size %s times lot size %s is too fine or too coarse to be counted", instrument.Pair, tick, lot)
	}
	instrument.numerator, instrument.denominator = unit.Num().Uint64(), unit.Denom().Uint64()
	least, err := MoneyOf(minNotional)
	if err != nil {
		return Instrument{}, fmt.Errorf("%s: minimum notional: %w", instrument.Pair, err)
	}
	instrument.MinNotional = least
	return instrument, nil
}

// Notional is the value of a quantity at a price, rounded half to even to a
// unit of Money. The sign is that of their product. A value beyond the range of
// Money saturates, so that a limit that compares it denies.
func (i Instrument) Notional(price Price, quantity Quantity) Money {
	negative := (price < 0) != (quantity < 0)
	steps, product := bits.Mul64(magnitude(int64(price)), magnitude(int64(quantity)))
	if steps != 0 {
		return i.notionalBig(price, quantity)
	}
	high, low := bits.Mul64(product, i.numerator)
	if high >= i.denominator {
		return saturated(negative)
	}
	quotient, remainder := bits.Div64(high, low, i.denominator)
	if quotient > uint64(maxMoney) {
		return saturated(negative)
	}
	if half := i.denominator - remainder; remainder > half || (remainder == half && quotient&1 == 1) {
		quotient++
	}
	if quotient > uint64(maxMoney) {
		return saturated(negative)
	}
	if negative {
		return -Money(quotient)
	}
	return Money(quotient)
}

// notionalBig is Notional where price times quantity passes 64 bits, as it does
// for a pair whose tick and lot are both very fine.
func (i Instrument) notionalBig(price Price, quantity Quantity) Money {
	value := new(big.Int).Mul(big.NewInt(int64(price)), big.NewInt(int64(quantity)))
	negative := value.Sign() < 0
	value.Abs(value).Mul(value, new(big.Int).SetUint64(i.numerator))
	divisor := new(big.Int).SetUint64(i.denominator)
	quotient, remainder := value.QuoRem(value, divisor, new(big.Int))
	half := remainder.Lsh(remainder, 1).Cmp(divisor)
	if half > 0 || (half == 0 && quotient.Bit(0) == 1) {
		quotient.Add(quotient, big.NewInt(1))
	}
	if !quotient.IsInt64() {
		return saturated(negative)
	}
	if negative {
		return -Money(quotient.Int64())
	}
	return Money(quotient.Int64())
}

// QuantityFor is the largest quantity whose value at the price is not above the
// given amount; zero if the amount or the price is not positive. It saturates
// at the greatest quantity that there is.
func (i Instrument) QuantityFor(price Price, amount Money) Quantity {
	if price <= 0 || amount <= 0 {
		return 0
	}
	lots := new(big.Int).Mul(big.NewInt(int64(amount)), new(big.Int).SetUint64(i.denominator))
	lots.Quo(lots, new(big.Int).Mul(big.NewInt(int64(price)), new(big.Int).SetUint64(i.numerator)))
	if !lots.IsInt64() {
		return Quantity(maxMoney)
	}
	return Quantity(lots.Int64())
}

// PriceOf counts a price in ticks, rounded half away from zero to the nearest.
func (i Instrument) PriceOf(price decimal.Decimal) (Price, error) {
	ticks := price.DivRound(i.Tick, 0)
	if !ticks.BigInt().IsInt64() {
		return 0, fmt.Errorf("%s: price %s is too large for a tick of %s", i.Pair, price, i.Tick)
	}
	return Price(ticks.IntPart()), nil
}

// QuantityOf counts a quantity in whole lots, rounded towards zero.
func (i Instrument) QuantityOf(quantity decimal.Decimal) (Quantity, error) {
	lots, _ := quantity.QuoRem(i.Lot, 0)
	if !lots.BigInt().IsInt64() {
		return 0, fmt.Errorf("%s: quantity %s is too large for a lot of %s", i.Pair, quantity, i.Lot)
	}
	return Quantity(lots.IntPart()), nil
}

// PriceDecimal is a price in the quote currency.
func (i Instrument) PriceDecimal(price Price) decimal.Decimal {
	return i.Tick.Mul(decimal.NewFromInt(int64(price)))
}

// QuantityDecimal is a quantity in the base currency.
func (i Instrument) QuantityDecimal(quantity Quantity) decimal.Decimal {
	return i.Lot.Mul(decimal.NewFromInt(int64(quantity)))
}

const maxMoney = Money(1<<63 - 1)

// MoneyOf converts a decimal amount, rounded half to even.
func MoneyOf(amount decimal.Decimal) (Money, error) {
	units := amount.Shift(8).RoundBank(0)
	if !units.BigInt().IsInt64() {
		return 0, fmt.Errorf("amount %s is beyond the range of some 92 billion", amount)
	}
	return Money(units.IntPart()), nil
}

// Decimal is the amount in whole units of the currency.
func (m Money) Decimal() decimal.Decimal { return decimal.New(int64(m), -8) }

// String is the amount in whole units of the currency, without trailing zeros.
func (m Money) String() string { return m.Decimal().String() }

func magnitude(v int64) uint64 {
	if v < 0 {
		return uint64(-(v + 1)) + 1 //nolint:gosec // -(v+1) is never negative
	}
	return uint64(v)
}

func saturated(negative bool) Money {
	if negative {
		return -maxMoney
	}
	return maxMoney
}
