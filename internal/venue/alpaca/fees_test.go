package alpaca

import (
	"testing"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// The fee is in what a trade brings in, and never below what Alpaca takes: a billionth
// of a coin is rounded up to Money, and dollars to the cent, as it does.
func TestFee(t *testing.T) {
	for _, test := range []struct {
		quote           string
		side            order.Side
		quantity, price string
		want, currency  string
	}{
		{"USD", order.Buy, "1", "50000", "0.0025", "BTC"},
		// Charged were 0.000000063 and 0.000003138.
		{"USD", order.Buy, "0.000025037", "78314.105", "0.00000007", "BTC"},
		{"USD", order.Buy, "0.001254903", "79660.98", "0.00000314", "BTC"},
		// Charged were 15 cents.
		{"USD", order.Sell, "56.7732", "0.99912", "0.15", "USD"},
		{"USD", order.Sell, "1", "4", "0.01", "USD"},
		{"USDC", order.Sell, "1", "4.00000001", "0.01000001", "USDC"},
	} {
		instrument, err := market.NewInstrument("BTC", test.quote, decimal.New(1, -5), decimal.New(1, -9), decimal.Zero)
		if err != nil {
			t.Fatal(err)
		}
		fee, currency, err := feeOf(instrument, test.side, decimal.RequireFromString(test.quantity), decimal.RequireFromString(test.price))
		if err != nil || fee.String() != test.want || currency != test.currency {
			t.Errorf("%s %s at %s: got %s %s, %v, want %s %s", test.side, test.quantity, test.price, fee, currency, err, test.want, test.currency)
		}
	}
}
