package market

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"
)

// Bounds on one number of a file. What float64 and the exchanges print is far
// inside them; they keep a hostile exponent from becoming a gigabyte of zeros.
const (
	maxDecimalLength   = 64
	maxDecimalExponent = 400
)

var (
	errNotDecimal = errors.New("is not a decimal number such as 1.2345 or 1e-05")
	errTooLarge   = errors.New("is too large to be counted in the pair's tick or lot size")
)

// powersOfTen are all that fit 64 bits.
var powersOfTen = func() (powers [20]uint64) {
	powers[0] = 1
	for i := 1; i < len(powers); i++ {
		powers[i] = powers[i-1] * 10
	}
	return powers
}()

// step is a tick or lot size, coefficient × 10^exponent, against which the
// digits of a file are counted without passing through floating point.
type step struct {
	coefficient uint64
	exponent    int
}

// stepOf takes a tick or lot size apart.
func stepOf(size decimal.Decimal) (step, error) {
	coefficient, exponent := new(big.Int).Set(size.Coefficient()), int(size.Exponent())
	ten, remainder := big.NewInt(10), new(big.Int)
	for coefficient.Sign() > 0 {
		quotient, rest := new(big.Int).QuoRem(coefficient, ten, remainder)
		if rest.Sign() != 0 {
			break
		}
		coefficient, exponent = quotient, exponent+1
	}
	if coefficient.Sign() <= 0 || !coefficient.IsUint64() || exponent < -maxDecimalExponent || exponent > maxDecimalExponent {
		return step{}, fmt.Errorf("%s cannot be counted in: a tick or lot size must be greater than zero and of at most 19 digits", size)
	}
	return step{coefficient: coefficient.Uint64(), exponent: exponent}, nil
}

// scaled is the step against which to count numbers that a file holds
// multiplied by 10^digits.
func (s step) scaled(digits int) step {
	s.exponent += digits
	return s
}

// count is how many steps a decimal number makes, rounded half away from zero,
// and whether it was a whole number of them. Scientific notation is exact.
func (s step) count(field []byte) (count int64, whole bool, err error) {
	number, err := scanDecimal(field)
	if err != nil {
		return 0, false, err
	}
	shift := number.exponent - s.exponent
	if number.long || shift > 19 || shift < -19 {
		return s.countBig(field, number)
	}
	var quotient, remainder, divisor uint64
	if shift >= 0 {
		divisor = s.coefficient
		high, low := bits.Mul64(number.mantissa, powersOfTen[shift])
		if high >= divisor {
			return 0, false, errTooLarge
		}
		quotient, remainder = bits.Div64(high, low, divisor)
	} else {
		high, low := bits.Mul64(powersOfTen[-shift], s.coefficient)
		if high != 0 {
			return s.countBig(field, number)
		}
		divisor = low
		quotient, remainder = number.mantissa/divisor, number.mantissa%divisor
	}
	if quotient > math.MaxInt64-1 {
		return 0, false, errTooLarge
	}
	count = int64(quotient)
	if remainder >= divisor-remainder && remainder != 0 {
		count++
	}
	if number.negative {
		count = -count
	}
	return count, remainder == 0, nil
}

// countBig is count for numbers beyond 64 bits; they are rare.
func (s step) countBig(field []byte, number scanned) (int64, bool, error) {
	mantissa := new(big.Int)
	for _, c := range field {
		if c == 'e' || c == 'E' {
			break
		}
		if c >= '0' && c <= '9' {
			mantissa.Mul(mantissa, big.NewInt(10)).Add(mantissa, big.NewInt(int64(c-'0')))
		}
	}
	divisor := new(big.Int).SetUint64(s.coefficient)
	shift := number.exponent - s.exponent
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil)
	if shift >= 0 {
		mantissa.Mul(mantissa, power)
	} else {
		divisor.Mul(divisor, power)
	}
	quotient, remainder := new(big.Int).QuoRem(mantissa, divisor, new(big.Int))
	if new(big.Int).Lsh(remainder, 1).Cmp(divisor) >= 0 {
		quotient.Add(quotient, big.NewInt(1))
	}
	if !quotient.IsInt64() {
		return 0, false, errTooLarge
	}
	count := quotient.Int64()
	if number.negative {
		count = -count
	}
	return count, remainder.Sign() == 0, nil
}

// scanned is a decimal number, mantissa × 10^exponent. When the digits do not
// fit 64 bits, long is set and the mantissa is void; the exponent then belongs
// to all digits of the text.
type scanned struct {
	mantissa uint64
	exponent int
	negative bool
	long     bool
}

// scanDecimal reads [+-]digits[.digits][e[+-]digits].
func scanDecimal(field []byte) (scanned, error) {
	if len(field) > maxDecimalLength {
		return scanned{}, fmt.Errorf("is longer than %d characters", maxDecimalLength)
	}
	var number scanned
	i := 0
	if i < len(field) && (field[i] == '-' || field[i] == '+') {
		number.negative = field[i] == '-'
		i++
	}
	digits, fraction, point := 0, 0, false
	for ; i < len(field); i++ {
		c := field[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits++
		if point {
			fraction++
		}
		if number.mantissa > (math.MaxUint64-9)/10 {
			number.long = true
		} else {
			number.mantissa = number.mantissa*10 + uint64(c-'0')
		}
	}
	if digits == 0 {
		return scanned{}, errNotDecimal
	}
	exponent, err := scanExponent(field[i:])
	if err != nil {
		return scanned{}, err
	}
	number.exponent = exponent - fraction
	return number, nil
}

// scanExponent reads nothing, or e[+-]digits.
func scanExponent(text []byte) (int, error) {
	if len(text) == 0 {
		return 0, nil
	}
	if text[0] != 'e' && text[0] != 'E' {
		return 0, errNotDecimal
	}
	text = text[1:]
	sign := 1
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, errNotDecimal
	}
	exponent := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, errNotDecimal
		}
		exponent = exponent*10 + int(c-'0')
		if exponent > maxDecimalExponent {
			return 0, fmt.Errorf("has an exponent beyond %d", maxDecimalExponent)
		}
	}
	return sign * exponent, nil
}

// ParsePrice counts a price written as a decimal, in ticks, rounded half away
// from zero. Unlike a decimal library it takes bounded time on any text.
func (i Instrument) ParsePrice(text string) (Price, error) {
	ticks, err := parseCount(text, i.Tick)
	if err != nil {
		return 0, fmt.Errorf("%s: price %.40q %w", i.Pair, text, err)
	}
	return Price(ticks), nil
}

// ParseQuantity counts a traded quantity written as a decimal, in lots, rounded
// half away from zero.
func (i Instrument) ParseQuantity(text string) (Quantity, error) {
	lots, err := parseCount(text, i.Lot)
	if err != nil {
		return 0, fmt.Errorf("%s: quantity %.40q %w", i.Pair, text, err)
	}
	return Quantity(lots), nil
}

func parseCount(text string, size decimal.Decimal) (int64, error) {
	unit, err := stepOf(size)
	if err != nil {
		return 0, err
	}
	count, _, err := unit.count([]byte(text))
	return count, err
}

// Check says what is wrong with a bar that no market can have printed; nil if
// nothing is.
func (b Bar) Check() error {
	if problem := impossible(b.Open, b.High, b.Low, b.Close); problem != "" {
		return errors.New(problem)
	}
	return nil
}
