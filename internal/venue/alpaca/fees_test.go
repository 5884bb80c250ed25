package alpaca

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
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

// Between two ticks the price is told as the worse of them; the fee is that of what
// was paid, or it could be less than Alpaca takes.
func TestFeesOfPricesBetweenTicks(t *testing.T) {
	instrument, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -4), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	v := &Venue{spellings: venue.Spellings{Instruments: map[string]market.Instrument{"BTC-USD": instrument}}}
	for _, test := range []struct {
		side, price string
		want        market.Price
		fee         string
	}{
		{"buy", "40000.003", 4_000_001, "0.000025"},
		{"sell", "40000.003", 4_000_000, "1.01"},
	} {
		told := execution{ID: "20261124000000000::x", Price: test.price, Quantity: "0.01", Cumulative: "0.01", Side: test.side}
		fill, err := v.readFill(&told, "BTC-USD", time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
		if err != nil || fill.Price != test.want || fill.Fee.String() != test.fee {
			t.Errorf("%s at %s: got %+v, %v, want %d with a fee of %s", test.side, test.price, fill, err, test.want, test.fee)
		}
	}
}
