package rest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

func bitcoin(tb testing.TB) market.Instrument {
	tb.Helper()
	instrument, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.05"), decimal.RequireFromString("0.00000001"), decimal.Zero)
	if err != nil {
		tb.Fatal(err)
	}
	return instrument
}

func TestNumbersAreExact(t *testing.T) {
	instrument := bitcoin(t)
	for text, want := range map[string]market.Price{"0.05": 1, "50000.00": 1_000_000, "50000.05": 1_000_001, "00.10": 2} {
		if got, err := rest.Price(instrument, "price", text); err != nil || got != want {
			t.Errorf("price %s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]market.Quantity{"0": 0, "0.00000001": 1, "1.000000010": 100_000_001, "92233720368.54775807": 1<<63 - 1} {
		if got, err := rest.Quantity(instrument, "quantity", text); err != nil || got != want {
			t.Errorf("quantity %s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]market.Money{"0": 0, "1.000000005": 100_000_000, "1.000000015": 100_000_002, "0.1234567890123456789012345": 12_345_679} {
		if got, err := rest.Money("fee", text); err != nil || got != want {
			t.Errorf("money %s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1e3", "1.", ".5", " 1", "1 ", "NaN", "Infinity", "0x10", "1,5", "0.03", "0.000000001", "0", "92233720368547758080000000"} {
		if got, err := rest.Price(instrument, "price", text); !errors.Is(err, venue.ErrMalformed) || len(text) > 2 && strings.Contains(err.Error(), text) {
			t.Errorf("price %q: got %d, %v", text, got, err)
		}
	}
}

func TestOwnID(t *testing.T) {
	own := order.NewID("account", "agent", 1, 0, 0)
	if got := rest.OwnID(own.String()); got != own {
		t.Errorf("our own id is told as %s", got)
	}
	for _, text := range []string{"", "entered-by-hand", uuid.NewString(), strings.ToUpper(own.String()), "{" + own.String() + "}", "urn:uuid:" + own.String(), strings.ReplaceAll(own.String(), "-", "")} {
		if got := rest.OwnID(text); got != uuid.Nil {
			t.Errorf("%q is told as %s", text, got)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"0", "0.05", "50000.00", "1e9999999", "-0", "0.000000000000000000000000000000000001", "99999999999999999999"} {
		f.Add(text)
	}
	instrument := bitcoin(f)
	f.Fuzz(func(t *testing.T, text string) {
		price, err := rest.Price(instrument, "price", text)
		if err == nil {
			exact, parseErr := decimal.NewFromString(text)
			if parseErr != nil || price <= 0 || !instrument.PriceDecimal(price).Equal(exact) {
				t.Errorf("%q is read as %d ticks", text, price)
			}
		}
		quantity, err := rest.Quantity(instrument, "quantity", text)
		if err == nil {
			exact, parseErr := decimal.NewFromString(text)
			if parseErr != nil || quantity < 0 || !instrument.QuantityDecimal(quantity).Equal(exact) {
				t.Errorf("%q is read as %d lots", text, quantity)
			}
		}
		if amount, err := rest.Money("fee", text); err == nil && amount < 0 {
			t.Errorf("%q is read as %d", text, amount)
		}
	})
}
