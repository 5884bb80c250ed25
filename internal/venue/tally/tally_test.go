package tally_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

func instrument(t interface{ Fatal(...any) }, lot string) market.Instrument {
	made, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString(lot), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestFilled(t *testing.T) {
	for _, test := range []struct {
		side   order.Side
		filled string
		want   market.Quantity
	}{
		{order.Buy, "0", 0}, {order.Buy, "0.0099", 0}, {order.Buy, "0.01", 1}, {order.Buy, "0.0199999999", 1},
		{order.Sell, "0", 0}, {order.Sell, "0.0000000001", 1}, {order.Sell, "0.01", 1}, {order.Sell, "0.0100000001", 2},
	} {
		if got, err := tally.Filled(instrument(t, "0.01"), test.side, decimal.RequireFromString(test.filled)); got != test.want || err != nil {
			t.Errorf("%s %s: got %d, %v, want %d", test.side, test.filled, got, err, test.want)
		}
	}
	for _, wrong := range []string{"-0.01", "100000000000000000000"} {
		if got, err := tally.Filled(instrument(t, "0.01"), order.Buy, decimal.RequireFromString(wrong)); !errors.Is(err, tally.ErrRange) {
			t.Errorf("%s: got %d, %v", wrong, got, err)
		}
	}
}

// However an order is cut into executions, the lots of its parts are those of the
// whole, none is negative, and books never hold more than the account.
func TestExecutionsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pair := instrument(t, rapid.SampledFrom([]string{"0.00000001", "0.001", "0.37"}).Draw(t, "lot"))
		side := rapid.SampledFrom([]order.Side{order.Buy, order.Sell}).Draw(t, "side")
		parts := rapid.SliceOfN(rapid.Int64Range(1, 1_000_000_000), 1, 20).Draw(t, "parts")
		done, lots := decimal.Zero, market.Quantity(0)
		for _, part := range parts {
			quantity := decimal.New(part, -10)
			added, err := tally.Execution(pair, side, done, quantity)
			if err != nil || added < 0 {
				t.Fatalf("%s after %s: got %d, %v", quantity, done, added, err)
			}
			if quantity.Mod(pair.Lot).IsZero() && added != market.Quantity(quantity.Div(pair.Lot).IntPart()) {
				t.Fatalf("%s, which is whole lots, after %s: got %d", quantity, done, added)
			}
			done, lots = done.Add(quantity), lots+added
		}
		whole, err := tally.Filled(pair, side, done)
		if err != nil || whole != lots {
			t.Fatalf("the parts come to %d, the whole to %d (%v)", lots, whole, err)
		}
		if booked := pair.QuantityDecimal(lots); booked.Cmp(done)*int(side) > 0 {
			t.Fatalf("a %s of %s is booked as %s", side, done, booked)
		}
	})
}

func TestPrice(t *testing.T) {
	for _, test := range []struct {
		side  order.Side
		price string
		want  market.Price
	}{
		{order.Buy, "100.01", 10_001}, {order.Buy, "100.010000001", 10_002}, {order.Buy, "0.000000001", 1},
		{order.Sell, "100.01", 10_001}, {order.Sell, "100.019999999", 10_001}, {order.Sell, "0.01", 1},
	} {
		if got, err := tally.Price(instrument(t, "0.01"), test.side, decimal.RequireFromString(test.price)); got != test.want || err != nil {
			t.Errorf("%s at %s: got %d, %v, want %d", test.side, test.price, got, err, test.want)
		}
	}
	// A ledger has no price of zero, and the tick above would be better than it was.
	for side, wrong := range map[order.Side][]string{
		order.Buy: {"0", "-1", "92233720368547758.071"}, order.Sell: {"0", "-1", "0.009999999", "92233720368547758.08"},
	} {
		for _, price := range wrong {
			if got, err := tally.Price(instrument(t, "0.01"), side, decimal.RequireFromString(price)); !errors.Is(err, tally.ErrRange) {
				t.Errorf("%s at %s: got %d, %v", side, price, got, err)
			}
		}
	}
}

// A price is never told better than it was, nor a whole tick worse, and what was
// executed within a limit stays within it.
func TestPricesAreRoundedAgainstTheAgent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pair := instrument(t, "0.001")
		side := rapid.SampledFrom([]order.Side{order.Buy, order.Sell}).Draw(t, "side")
		exact := decimal.New(rapid.Int64Range(10_000_000, 1_000_000_000_000).Draw(t, "price"), -9)
		limit := market.Price(rapid.Int64Range(1, 100_000).Draw(t, "limit"))
		got, err := tally.Price(pair, side, exact)
		if err != nil {
			t.Fatal(err)
		}
		worse := pair.PriceDecimal(got).Sub(exact).Mul(decimal.NewFromInt(int64(side)))
		if worse.IsNegative() || worse.GreaterThanOrEqual(pair.Tick) {
			t.Fatalf("%s at %s is told as %s", side, exact, pair.PriceDecimal(got))
		}
		within := exact.Cmp(pair.PriceDecimal(limit))*int(side) <= 0
		if within && int64(got)*int64(side) > int64(limit)*int64(side) {
			t.Fatalf("%s at %s, within %d, is told as %d", side, exact, limit, got)
		}
	})
}

func TestFee(t *testing.T) {
	for text, want := range map[string]market.Money{"0": 0, "0.000000001": 1, "0.00000001": 1, "0.000000011": 2, "-0.000000019": -1, "12.5": 1_250_000_000} {
		if got, err := tally.Fee(decimal.RequireFromString(text)); got != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	if got, err := tally.Fee(decimal.New(1, 30)); !errors.Is(err, tally.ErrRange) {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestCursor(t *testing.T) {
	start := time.Date(2026, 11, 2, 12, 0, 0, 123_456_789, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	cursor, err := tally.ParseCursor("")
	if err != nil || !cursor.From.IsZero() || cursor.String() != "" {
		t.Fatalf("the beginning is %+v, %v", cursor, err)
	}
	if same := cursor.After(nil, time.Minute); same.String() != "" {
		t.Errorf("after nothing comes %s", same)
	}
	cursor = cursor.After([]tally.Entry{{"a", at(0)}, {"c", at(20)}, {"b", at(15)}, {"c", at(20)}}, 10*time.Second)
	again, err := tally.ParseCursor(cursor.String())
	if err != nil || !again.From.Equal(at(10)) || !slices.Equal(again.Listed, []string{"c", "b"}) {
		t.Errorf("got %+v, %v", again, err)
	}
	passed := again.Passed()
	for entry, want := range map[tally.Entry]bool{
		{"a", at(0)}: true, {"b", at(15)}: true, {"c", at(20)}: true, {"new", at(10).Add(-time.Nanosecond)}: true, {"new", at(10)}: false, {"new", at(15)}: false,
	} {
		if passed(entry) != want {
			t.Errorf("%+v was passed: %t", entry, !want)
		}
	}
	if late := again.After([]tally.Entry{{"z", at(12)}, {"b", at(15)}, {"c", at(20)}}, time.Hour); !late.From.Equal(at(10)) || len(late.Listed) != 3 {
		t.Errorf("it went back to %+v", late)
	}
	if since, err := tally.ParseCursor(venue.Since(start)); err != nil || !since.From.Before(start) || start.Sub(since.From) > 2*time.Minute || len(since.Listed) > 0 {
		t.Errorf("got %+v, %v", since, err)
	}
	for _, wrong := range []string{"x", "{}", `{"listed":["a"]}`, "since:x"} {
		if got, err := tally.ParseCursor(wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, got)
		}
	}
}
