package market

import (
	"math"
	"math/big"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

// pairOf is an instrument for tests.
func pairOf(tb testing.TB, base, quote, tick, lot string) Instrument {
	tb.Helper()
	instrument, err := NewInstrument(base, quote, decimal.RequireFromString(tick), decimal.RequireFromString(lot), decimal.Zero)
	if err != nil {
		tb.Fatal(err)
	}
	return instrument
}

// anyInstrument draws tick and lot sizes as markets have them, and finer ones.
func anyInstrument(t *rapid.T) Instrument {
	coefficient := rapid.SampledFrom([]int64{1, 2, 5, 25, 125})
	instrument, err := NewInstrument("BTC", "USD",
		decimal.New(coefficient.Draw(t, "tick"), rapid.Int32Range(-9, 2).Draw(t, "tick exponent")),
		decimal.New(coefficient.Draw(t, "lot"), rapid.Int32Range(-9, 2).Draw(t, "lot exponent")), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	return instrument
}

// exactNotional is the value in units of Money, unrounded.
func exactNotional(i Instrument, price Price, quantity Quantity) *big.Rat {
	value := new(big.Rat).Mul(i.PriceDecimal(price).Rat(), i.QuantityDecimal(quantity).Rat())
	return value.Mul(value, new(big.Rat).SetInt64(int64(MoneyUnit)))
}

// halfEven rounds as Money is rounded.
func halfEven(value *big.Rat) *big.Int {
	floor := new(big.Int).Div(value.Num(), value.Denom())
	rest := new(big.Rat).Sub(value, new(big.Rat).SetInt(floor))
	half := rest.Cmp(big.NewRat(1, 2))
	if half > 0 || (half == 0 && floor.Bit(0) == 1) {
		floor.Add(floor, big.NewInt(1))
	}
	return floor
}

func TestNotionalIsExactThenRoundedHalfToEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instrument := anyInstrument(t)
		price := Price(rapid.Int64().Draw(t, "price"))
		quantity := Quantity(rapid.Int64().Draw(t, "quantity"))
		want := halfEven(exactNotional(instrument, price, quantity))
		limit := big.NewInt(math.MaxInt64)
		if want.CmpAbs(limit) > 0 {
			want = limit.Mul(limit, big.NewInt(int64(want.Sign())))
		}
		if got := instrument.Notional(price, quantity); big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Fatalf("%s ticks of %s × %d lots of %s: %d, want %s", instrument.PriceDecimal(price), instrument.Tick, quantity, instrument.Lot, got, want)
		}
	})
}

func TestNotionalAtItsBounds(t *testing.T) {
	btc := pairOf(t, "BTC", "USD", "0.01", "0.00000001")
	fine := pairOf(t, "BTC", "USD", "0.00000001", "0.00000001")
	halves := pairOf(t, "A", "B", "0.0001", "0.00005")
	for _, test := range []struct {
		name       string
		instrument Instrument
		price      Price
		quantity   Quantity
		want       Money
	}{
		{"one bitcoin at 7424.91", btc, 742491, 100_000_000, 7424_91000000},
		{"sold, it counts negative", btc, 742491, -100_000_000, -7424_91000000},
		{"nothing", btc, 742491, 0, 0},
		{"half a unit goes to the even zero", halves, 1, 1, 0},
		{"one and a half units go to the even two", halves, 3, 1, 2},
		{"price times quantity beyond 64 bits is still exact", fine, 70_000_00000000, 100_000_000, 70_000 * MoneyUnit},
		{"too much saturates", btc, math.MaxInt64, math.MaxInt64, maxMoney},
		{"too much sold saturates below", btc, math.MaxInt64, math.MinInt64, -maxMoney},
		{"the least quantity has a magnitude", btc, math.MinInt64, math.MinInt64, maxMoney},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.instrument.Notional(test.price, test.quantity); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestNotionalJustBeyondMoneySaturates(t *testing.T) {
	// A quotient of 2^64-1 with a remainder above one half must not wrap to zero.
	instrument := pairOf(t, "A", "B", "0.0001", "0.00005")
	if got := instrument.Notional(math.MaxInt64, 5); got != maxMoney {
		t.Errorf("got %d, want the greatest amount", got)
	}
}

func TestQuantityForIsTheLargestWithinTheAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instrument := anyInstrument(t)
		price := Price(rapid.Int64Range(1, math.MaxInt64).Draw(t, "price"))
		amount := Money(rapid.Int64Range(1, math.MaxInt64).Draw(t, "amount"))
		quantity := instrument.QuantityFor(price, amount)
		limit := new(big.Rat).SetInt64(int64(amount))
		if exactNotional(instrument, price, quantity).Cmp(limit) > 0 {
			t.Fatalf("%d lots are worth more than %s", quantity, amount)
		}
		if instrument.Notional(price, quantity) > amount {
			t.Fatalf("%d lots are worth %s, above %s", quantity, instrument.Notional(price, quantity), amount)
		}
		if quantity < math.MaxInt64 && exactNotional(instrument, price, quantity+1).Cmp(limit) <= 0 {
			t.Fatalf("one lot more than %d is within %s, too", quantity, amount)
		}
	})
	btc := pairOf(t, "BTC", "USD", "0.01", "0.00000001")
	for _, none := range []Quantity{btc.QuantityFor(0, MoneyUnit), btc.QuantityFor(-1, MoneyUnit), btc.QuantityFor(1, 0), btc.QuantityFor(1, -1)} {
		if none != 0 {
			t.Errorf("%d lots for a price or an amount that is not positive", none)
		}
	}
}

func TestPricesRoundToTheNearestTickAndQuantitiesDown(t *testing.T) {
	instrument := pairOf(t, "EUR", "USD", "0.0005", "0.03")
	for _, test := range []struct {
		price string
		want  Price
	}{{"1.0005", 2001}, {"1.00074", 2001}, {"1.00075", 2002}, {"-1.00075", -2002}, {"0.00025", 1}, {"0.00024", 0}} {
		if got, err := instrument.PriceOf(decimal.RequireFromString(test.price)); err != nil || got != test.want {
			t.Errorf("price %s: %d, %v, want %d ticks", test.price, got, err, test.want)
		}
	}
	for _, test := range []struct {
		quantity string
		want     Quantity
	}{{"0.03", 1}, {"0.0599999999999999999999999999", 1}, {"0.06", 2}, {"-0.0599", -1}, {"0.0299", 0}} {
		if got, err := instrument.QuantityOf(decimal.RequireFromString(test.quantity)); err != nil || got != test.want {
			t.Errorf("quantity %s: %d, %v, want %d lots", test.quantity, got, err, test.want)
		}
	}
	huge := decimal.New(1, 40)
	if _, err := instrument.PriceOf(huge); err == nil {
		t.Error("a price of 1e40 was counted")
	}
	if _, err := instrument.QuantityOf(huge); err == nil {
		t.Error("a quantity of 1e40 was counted")
	}
}

func TestPriceSurvivesItsDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instrument := anyInstrument(t)
		price := Price(rapid.Int64().Draw(t, "price"))
		if got, err := instrument.PriceOf(instrument.PriceDecimal(price)); err != nil || got != price {
			t.Fatalf("%d ticks came back as %d, %v", price, got, err)
		}
		quantity := Quantity(rapid.Int64().Draw(t, "quantity"))
		if got, err := instrument.QuantityOf(instrument.QuantityDecimal(quantity)); err != nil || got != quantity {
			t.Fatalf("%d lots came back as %d, %v", quantity, got, err)
		}
		amount := Money(rapid.Int64().Draw(t, "amount"))
		if got, err := MoneyOf(amount.Decimal()); err != nil || got != amount {
			t.Fatalf("%d came back as %d, %v", amount, got, err)
		}
	})
}

func TestMoneyIsRoundedHalfToEven(t *testing.T) {
	for text, want := range map[string]Money{"0.000000005": 0, "0.000000015": 2, "-0.000000015": -2, "92233720368.54775807": maxMoney} {
		if got, err := MoneyOf(decimal.RequireFromString(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	if _, err := MoneyOf(decimal.RequireFromString("92233720368.54775808")); err == nil {
		t.Error("an amount beyond the range was converted")
	}
	if got := Money(1_50000000).String(); got != "1.5" {
		t.Errorf("1.5 prints as %s", got)
	}
}

func TestNewInstrumentRefuses(t *testing.T) {
	for _, test := range []struct{ tick, lot, least string }{
		{"0", "1", "0"}, {"1", "0", "0"}, {"-0.01", "1", "0"}, {"0.01", "-1", "0"},
		{"0.0000000000000001", "0.0000000000000000001", "0"}, {"100000000000", "100000000000", "0"},
		{"0.01", "1", "1e30"},
	} {
		_, err := NewInstrument("BTC", "USD", decimal.RequireFromString(test.tick), decimal.RequireFromString(test.lot), decimal.RequireFromString(test.least))
		if err == nil {
			t.Errorf("tick %s, lot %s, minimum %s: admitted", test.tick, test.lot, test.least)
		}
	}
}
