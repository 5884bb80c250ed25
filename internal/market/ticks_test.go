package market

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

func stepFor(tb testing.TB, size string) step {
	tb.Helper()
	s, err := stepOf(decimal.RequireFromString(size))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestCountIsExact(t *testing.T) {
	for _, test := range []struct {
		size, text string
		want       int64
		whole      bool
	}{
		{"0.01", "7424.91", 742491, true},
		{"0.01", "7424.9", 742490, true},
		{"0.01", "7425", 742500, true},
		{"0.01", "7424.914999999999999999", 742491, false},
		{"0.01", "7424.915", 742492, false},
		{"0.01", "-7424.915", -742492, false},
		{"0.01", "+1.00", 100, true},
		{"0.01", ".5", 50, true},
		{"0.01", "5.", 500, true},
		{"0.01", "1e-05", 0, false},
		{"0.00000001", "1e-05", 1000, true},
		{"0.00000001", "1.2345E-4", 12345, true},
		{"0.00000001", "27.643747620000003", 2764374762, false},
		{"0.00000001", "33.353996010000020000000000000", 3335399601, false},
		{"0.01", "1.5e3", 150000, true},
		{"0.25", "1674.75", 6699, true},
		{"0.25", "1674.80", 6699, false},
		{"0.25", "1674.875", 6700, false},
		{"5", "12.5", 3, false},
		{"100", "250", 3, false},
		{"0.01", "0", 0, true},
		{"0.01", "-0.00", 0, true},
		{"1", "9223372036854775806", math.MaxInt64 - 1, true},
		{"1", "0.00000000000000000000000000000000001", 0, false},
		{"1e-30", "1e-30", 1, true},
	} {
		got, whole, err := stepFor(t, test.size).count([]byte(test.text))
		if err != nil || got != test.want || whole != test.whole {
			t.Errorf("%s in steps of %s: %d, %t, %v; want %d, %t", test.text, test.size, got, whole, err, test.want, test.whole)
		}
	}
}

func TestCountRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "is not a decimal number",
		"-":                      "is not a decimal number",
		".":                      "is not a decimal number",
		"1.2.3":                  "is not a decimal number",
		"1,5":                    "is not a decimal number",
		"NaN":                    "is not a decimal number",
		"inf":                    "is not a decimal number",
		"0x10":                   "is not a decimal number",
		"1e":                     "is not a decimal number",
		"1e+":                    "is not a decimal number",
		"1e1.5":                  "is not a decimal number",
		"1_000":                  "is not a decimal number",
		"１":                      "is not a decimal number",
		"1e401":                  "has an exponent beyond 400",
		"1e99999999999999999999": "has an exponent beyond 400",
		"9223372036854775807":    "is too large",
		"1e19":                   "is too large",
		"1e300":                  "is too large",
		strings.Repeat("1", 65):  "is longer than 64 characters",
	} {
		if _, _, err := stepFor(t, "1").count([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error that says it %s", text, err, want)
		}
	}
}

func TestStepRefusesWhatCannotBeCountedIn(t *testing.T) {
	for _, size := range []decimal.Decimal{decimal.Zero, decimal.New(-1, -2), decimal.RequireFromString("1.00000000000000000001"), decimal.New(1, -500)} {
		if _, err := stepOf(size); err == nil {
			t.Errorf("a step of %s was admitted", size)
		}
	}
}

// TestCountAgreesWithArithmetic compares with rational arithmetic.
func TestCountAgreesWithArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,24}(\.[0-9]{1,24})?(e[-+]?[0-9]{1,2})?`).Draw(t, "text")
		size := decimal.New(rapid.Int64Range(1, 1000).Draw(t, "coefficient"), rapid.Int32Range(-20, 5).Draw(t, "exponent"))
		checkCount(t, text, size)
	})
}

func checkCount(t rapid.TB, text string, size decimal.Decimal) {
	s, err := stepOf(size)
	if err != nil {
		t.Fatal(err)
	}
	got, whole, err := s.count([]byte(text))
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no number for math/big", text)
	}
	steps := value.Quo(value, size.Rat())
	twice := new(big.Rat).Abs(steps)
	twice.Add(twice.Mul(twice, big.NewRat(2, 1)), big.NewRat(1, 1))
	want := new(big.Int).Quo(twice.Num(), new(big.Int).Mul(twice.Denom(), big.NewInt(2)))
	if steps.Sign() < 0 {
		want.Neg(want)
	}
	if want.CmpAbs(big.NewInt(math.MaxInt64-1)) > 0 {
		if err == nil && want.CmpAbs(big.NewInt(math.MaxInt64)) > 0 {
			t.Fatalf("%s in steps of %s: %d, although it is %s", text, size, got, want)
		}
		return
	}
	if err != nil || got != want.Int64() || whole != steps.IsInt() {
		t.Fatalf("%s in steps of %s: %d, %t, %v; want %s, %t", text, size, got, whole, err, want, steps.IsInt())
	}
}

func TestCountAgreesWithPriceOf(t *testing.T) {
	instrument := pairOf(t, "EUR", "USD", "0.0005", "1")
	tick := stepFor(t, "0.0005")
	rapid.Check(t, func(t *rapid.T) {
		text := fmt.Sprintf("%d.%06d", rapid.IntRange(0, 99999).Draw(t, "whole"), rapid.IntRange(0, 999999).Draw(t, "fraction"))
		want, err := instrument.PriceOf(decimal.RequireFromString(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := tick.count([]byte(text)); err != nil || Price(got) != want {
			t.Fatalf("%s: %d, %v; PriceOf says %d", text, got, err, want)
		}
	})
}

func TestCountDoesNotAllocate(t *testing.T) {
	tick, text := stepFor(t, "0.00000001"), []byte("27.643747620000003")
	if allocations := testing.AllocsPerRun(100, func() {
		if _, _, err := tick.count(text); err != nil {
			t.Fatal(err)
		}
	}); allocations != 0 {
		t.Errorf("%v allocations for one number", allocations)
	}
}

func FuzzDecimalTicks(f *testing.F) {
	for _, seed := range []string{"7424.91", "27.643747620000003", "1e-05", "-0.00", "1.5E+3", "9223372036854775807", "NaN", "1,5", ".5", "00000000000000000000000000000001"} {
		f.Add(seed, int64(1), int32(-2))
	}
	f.Fuzz(func(t *testing.T, text string, coefficient int64, exponent int32) {
		if coefficient <= 0 || exponent < -40 || exponent > 40 {
			return
		}
		number, err := scanDecimal([]byte(text))
		if err != nil {
			return
		}
		if number.exponent < -200 || number.exponent > 200 {
			return
		}
		checkCount(t, strings.TrimPrefix(text, "+"), decimal.New(coefficient, exponent))
	})
}
