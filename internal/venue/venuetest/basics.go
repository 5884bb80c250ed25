package venuetest

import (
	"bytes"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// basics are what orders do where nothing goes wrong.
var basics = []scenario{
	{"an order rests, fills and stays filled", false, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		b.expect(t, intent, order.Acked, 0)
		b.Move(t, price-2_000_00)
		found := b.expect(t, intent, order.Filled, intent.Quantity)
		if found.VenueOrderID != placed.VenueOrderID {
			t.Errorf("the venue's id was %s and is %s", placed.VenueOrderID, found.VenueOrderID)
		}
		fills, cursor := b.drain(t, "")
		if len(fills) != 1 || fills[0].OrderID != intent.ID || fills[0].Quantity != intent.Quantity || fills[0].Side != order.Buy || fills[0].Pair != intent.Pair {
			t.Errorf("the fills are %+v", fills)
		}
		if more, _ := b.drain(t, cursor); len(more) > 0 {
			t.Errorf("after the last cursor come %+v", more)
		}
	}},
	{"an order is cancelled, and again", false, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		for range 2 {
			if err := b.Venue.Cancel(t.Context(), b.ref(intent)); err != nil {
				t.Errorf("cancelling: %v", err)
			}
			b.expect(t, intent, order.Cancelled, 0)
		}
		ref := b.ref(intent)
		ref.VenueOrderID = placed.VenueOrderID
		if err := b.Venue.Cancel(t.Context(), ref); err != nil {
			t.Errorf("cancelling by the venue's id: %v", err)
		}
	}},
	{"what was never sent is not there", false, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, bitcoin/10, price)
		if found, err := b.Venue.Lookup(t.Context(), b.ref(intent)); !errors.Is(err, venue.ErrNotFound) {
			t.Errorf("looking up: %+v, %v", found, err)
		}
		if err := b.Venue.Cancel(t.Context(), b.ref(intent)); !errors.Is(err, venue.ErrNotFound) {
			t.Errorf("cancelling: %v", err)
		}
		if _, err := b.Venue.Lookup(t.Context(), venue.Ref{ID: intent.ID, Pair: intent.Pair}); !errors.Is(err, venue.ErrNotFound) {
			t.Errorf("looking up without a time: %v", err)
		}
	}},
	{"an order beyond the account's means is refused", false, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, 1_000_000*bitcoin, price-1_000_00)
		_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
		if rejected, ok := errors.AsType[*venue.RejectedError](err); !ok || rejected.Code == "" || rejected.Message == "" {
			t.Errorf("got %v", err)
		}
		if b.Exchange != nil && len(b.accepted(intent)) > 0 {
			t.Error("the exchange has accepted it")
		}
	}},
	{"a sale is a sale", false, func(b *bench) {
		t := b.t
		buy := b.intent(t, order.Buy, bitcoin/10, price+1_000_00)
		b.place(t, buy)
		b.Move(t, price)
		sell := b.intent(t, order.Sell, bitcoin/20, price+500_00)
		b.place(t, sell)
		b.Move(t, price+1_000_00)
		b.expect(t, sell, order.Filled, sell.Quantity)
		fills, _ := b.drain(t, "")
		for _, fill := range fills {
			if (fill.OrderID == sell.ID) != (fill.Side == order.Sell) {
				t.Errorf("the sides are mixed up: %+v", fill)
			}
		}
	}},
	{"a request is frozen", false, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, bitcoin/10, price)
		again, err := b.Venue.Freeze(intent, intent.NotAfter)
		if err != nil || string(again) != intent.Frozen || !utf8.Valid(again) || bytes.ContainsRune(again, 0) {
			t.Errorf("the same order was frozen as %q and as %q, %v", intent.Frozen, again, err)
		}
		if b.Exchange == nil {
			return
		}
		if _, err := b.Venue.Freeze(order.Intent{ID: intent.ID, Pair: "XXX-YYY", Side: order.Buy, Quantity: 1, Limit: 1}, intent.NotAfter); err == nil {
			t.Error("an order in a pair that is not the agent's was frozen")
		}
		for name, other := range map[string]order.Intent{
			"quantity": {ID: intent.ID, Pair: intent.Pair, Side: order.Buy, Quantity: intent.Quantity + 1, Limit: intent.Limit},
			"limit":    {ID: intent.ID, Pair: intent.Pair, Side: order.Buy, Quantity: intent.Quantity, Limit: intent.Limit + 1},
			"side":     {ID: intent.ID, Pair: intent.Pair, Side: order.Sell, Quantity: intent.Quantity, Limit: intent.Limit},
			"id":       {ID: uuid.UUID{1}, Pair: intent.Pair, Side: order.Buy, Quantity: intent.Quantity, Limit: intent.Limit},
		} {
			if frozen, err := b.Venue.Freeze(other, intent.NotAfter); err == nil && string(frozen) == intent.Frozen {
				t.Errorf("another %s is not in the frozen request", name)
			}
		}
	}},
	{"what leaves is what was frozen", true, func(b *bench) {
		t := b.t
		intent, _ := b.resting(t)
		b.Move(t, price)
		b.expect(t, intent, order.Acked, 0)
		if err := b.Venue.Cancel(t.Context(), b.ref(intent)); err != nil {
			t.Fatal(err)
		}
		asked := b.guard.leaves()
		if len(asked) != 1 || asked[0] != (leave{intent.ID, intent.Frozen}) {
			t.Errorf("the guard was asked %+v, want once for %s with %s", asked, intent.ID, intent.Frozen)
		}
	}},
	{"the guard's word is the last", true, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, bitcoin/10, price)
		for _, refusal := range []error{&venue.RejectedError{Code: venue.ApprovalExpired, Message: "halted"}, venue.ErrNotApproved} {
			b.guard.refusal = refusal
			if _, err := b.Venue.Place(t.Context(), venue.RequestOf(intent)); !errors.Is(err, refusal) {
				t.Errorf("got %v, want the guard's %v", err, refusal)
			}
			b.guard.refusal, b.guard.shut = nil, refusal
			if _, err := b.Venue.Place(t.Context(), venue.RequestOf(intent)); !errors.Is(err, refusal) {
				t.Errorf("at its way out got %v, want the guard's %v", err, refusal)
			}
		}
		if seen := b.Exchange.Requests(); len(seen) > 0 {
			t.Errorf("the exchange has seen %+v", seen)
		}
		b.guard.asked = nil
	}},
	{"nothing leaves after its time", true, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, bitcoin/10, price)
		b.Exchange.Advance(time.Minute)
		_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
		if _, ok := errors.AsType[*venue.RejectedError](err); !ok {
			t.Errorf("got %v", err)
		}
		if seen := b.Exchange.Requests(); len(seen) > 0 {
			t.Errorf("the exchange has seen %+v", seen)
		}
	}},
	{"numbers are exact", true, func(b *bench) {
		t := b.t
		b.Exchange.SetBalance(b.Account, "USD", decimal.New(1, 15))
		for _, test := range []struct {
			quantity market.Quantity
			limit    market.Price
		}{{12_345_678_901, 9_876_543}, {100_001, price - 1}, {3, 49_999_999_99}, {99_999_999_999, 1}} {
			intent := b.intent(t, order.Buy, test.quantity, test.limit)
			if b.Exchange.SetPrice(b.Symbol, decimal.NewFromInt(1_000_000_000)); b.place(t, intent).State != order.Acked {
				t.Errorf("%+v does not rest", test)
			}
			booked := b.accepted(intent)
			if len(booked) != 1 || !booked[0].Quantity.Equal(b.Instrument.QuantityDecimal(test.quantity)) || !booked[0].Limit.Equal(b.Instrument.PriceDecimal(test.limit)) {
				t.Errorf("%+v is in the book as %+v", test, booked)
			}
			b.Exchange.SetPrice(b.Symbol, decimal.New(1, -2))
		}
		fills, _ := b.drain(t, "")
		b.compareFills(t, fills)
	}},
	{"an order fills in parts", true, func(b *bench) {
		t := b.t
		b.Exchange.Behave(exchange.Behaviour{PartialFill: decimal.RequireFromString("0.4")})
		intent := b.intent(t, order.Buy, bitcoin/10, price+100_00)
		b.place(t, intent)
		b.expect(t, intent, order.Acked, intent.Quantity*4/10)
		fills, cursor := b.drain(t, "")
		b.compareFills(t, fills)
		booked := b.accepted(intent)[0]
		if err := b.Exchange.Fill(booked.ID, decimal.RequireFromString("0.01"), decimal.NewFromInt(50_050)); err != nil {
			t.Fatal(err)
		}
		b.expect(t, intent, order.Acked, intent.Quantity/2)
		b.Move(t, price)
		b.expect(t, intent, order.Filled, intent.Quantity)
		more, _ := b.drain(t, cursor)
		b.compareFills(t, unite(fills, more))
		all, _ := b.drain(t, "")
		b.compareFills(t, all)
	}},
	{"balances are the whole account's", true, func(b *bench) {
		t := b.t
		balancer, ok := b.Venue.(venue.Balancer)
		if !ok {
			return
		}
		intent, _ := b.resting(t)
		_ = intent
		b.foreign(t, b.Symbol, "", price+1_000_00)
		balances, err := balancer.Balances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]venue.Balance{}
		for _, balance := range balances {
			got[balance.Currency] = balance
		}
		for currency, want := range b.Exchange.Balances(b.Account) {
			if balance := got[currency]; !balance.Total.Equal(want.Total) || !balance.Available.Equal(want.Total.Sub(want.Held)) {
				t.Errorf("%s: got %s, of it %s available, want %s and %s", currency, balance.Total, balance.Available, want.Total, want.Total.Sub(want.Held))
			}
		}
	}},
}

// unite puts lists of fills together, each trade once.
func unite(lists ...[]order.Fill) []order.Fill {
	seen, all := map[string]bool{}, []order.Fill{}
	for _, list := range lists {
		for _, fill := range list {
			if !seen[fill.TradeID] {
				seen[fill.TradeID] = true
				all = append(all, fill)
			}
		}
	}
	return all
}
