package order

import (
	"cmp"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Fraction is a share in billionths, exact for every fraction that a manifest
// can hold.
type Fraction int64

// Whole is the fraction that is all of something.
const Whole Fraction = 1_000_000_000

// FractionOf converts an exact value; it fails below a billionth and outside
// of 0 to 1.
func FractionOf(value *big.Rat) (Fraction, error) {
	scaled := new(big.Rat).Mul(value, new(big.Rat).SetInt64(int64(Whole)))
	if !scaled.IsInt() || scaled.Sign() < 0 || scaled.Cmp(new(big.Rat).SetInt64(int64(Whole))) > 0 {
		return 0, fmt.Errorf("%s is not a fraction between 0 and 1 with at most nine digits", value.FloatString(10))
	}
	return Fraction(scaled.Num().Int64()), nil
}

// Of is the share of an amount, rounded half to even to a unit of Money. The
// fraction must not be negative; a result beyond the range saturates.
func (f Fraction) Of(amount market.Money) market.Money {
	return market.Money(scale(int64(amount), uint64(f), uint64(Whole))) //nolint:gosec // a share is never negative, nor are these amounts
}

// Scale is the amount × numerator ÷ denominator, rounded half to even; the
// denominator must be greater than zero. A result beyond the range saturates.
func Scale(amount market.Money, numerator, denominator int64) market.Money {
	return market.Money(scale(int64(amount), uint64(numerator), uint64(denominator))) //nolint:gosec // a share is never negative, nor are these amounts
}

// OfPrice is the share of a price in whole ticks, rounded towards zero.
func (f Fraction) OfPrice(price market.Price) market.Price {
	high, low := bits.Mul64(magnitude(int64(price)), uint64(f)) //nolint:gosec // a share is never negative, nor are these amounts
	if high >= uint64(Whole) {
		return market.Price(sign(price) * maxInt64)
	}
	quotient, _ := bits.Div64(high, low, uint64(Whole))
	return market.Price(sign(price) * int64(min(quotient, maxInt64)))
}

// String is the fraction as it stands in a manifest.
func (f Fraction) String() string {
	return decimal.New(int64(f), -9).String()
}

// ExceedsShare reports whether part is more than the share of whole, exactly.
// A part that is not positive never is; a whole that is not positive has no
// share.
func ExceedsShare(part market.Money, share Fraction, whole market.Money) bool {
	return part > 0 && (whole <= 0 || compareShare(part, share, whole) > 0)
}

// ReachesShare reports whether part is at least the share of whole, exactly. A
// part that is not positive never does; a whole that is not positive has no
// share.
func ReachesShare(part market.Money, share Fraction, whole market.Money) bool {
	return part > 0 && (whole <= 0 || compareShare(part, share, whole) >= 0)
}

// compareShare compares part with share × whole, both positive, in 128 bits.
func compareShare(part market.Money, share Fraction, whole market.Money) int {
	leftHigh, leftLow := bits.Mul64(uint64(part), uint64(Whole))    //nolint:gosec // a share is never negative, nor are these amounts
	rightHigh, rightLow := bits.Mul64(uint64(whole), uint64(share)) //nolint:gosec // a share is never negative, nor are these amounts
	if leftHigh != rightHigh {
		return cmp.Compare(leftHigh, rightHigh)
	}
	return cmp.Compare(leftLow, rightLow)
}

const maxInt64 = 1<<63 - 1

// scale is value × numerator ÷ denominator, rounded half to even.
func scale(value int64, numerator, denominator uint64) int64 {
	high, low := bits.Mul64(magnitude(value), numerator)
	if high >= denominator {
		return sign(value) * maxInt64
	}
	quotient, remainder := bits.Div64(high, low, denominator)
	twice, carry := bits.Add64(remainder, remainder, 0)
	if carry == 1 || twice > denominator || (twice == denominator && quotient&1 == 1) {
		quotient++
	}
	return sign(value) * int64(min(quotient, maxInt64))
}

func magnitude(value int64) uint64 {
	if value < 0 {
		return uint64(-(value + 1)) + 1 //nolint:gosec // -(v+1) is never negative
	}
	return uint64(value)
}

func sign[T ~int64](value T) int64 {
	if value < 0 {
		return -1
	}
	return 1
}
