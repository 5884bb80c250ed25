package rest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

func TestNumbersAreExact(t *testing.T) {
	for _, text := range []string{"0", "50000.05", "00.10", "0.000000000000000000000000000000000001", "999999999999999999"} {
		if got, err := rest.Number("price", text); err != nil || !got.Equal(decimal.RequireFromString(text)) {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"0": "0", "-0": "0", "1.5": "1.5", "-0.00002": "-0.00002"} {
		if got, err := rest.Signed("fee", text); err != nil || !got.Equal(decimal.RequireFromString(want)) {
			t.Errorf("signed %s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"-", "--1", "+1", "- 1", "-1e3"} {
		if got, err := rest.Signed("fee", text); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("signed %q: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1e3", "1.", ".5", " 1", "1 ", "NaN", "Infinity", "0x10", "1,5", "92233720368547758080000000"} {
		if got, err := rest.Number("price", text); !errors.Is(err, venue.ErrMalformed) || len(text) > 2 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %s, %v", text, got, err)
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
	f.Fuzz(func(t *testing.T, text string) {
		if number, err := rest.Number("price", text); err == nil {
			exact, parseErr := decimal.NewFromString(text)
			if parseErr != nil || number.IsNegative() || !number.Equal(exact) {
				t.Errorf("%q is read as %s", text, number)
			}
		}
		if amount, err := rest.Signed("fee", text); err == nil {
			if exact, parseErr := decimal.NewFromString(text); parseErr != nil || !amount.Equal(exact) {
				t.Errorf("%q is read as %s", text, amount)
			}
		}
	})
}
