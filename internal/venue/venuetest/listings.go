package venuetest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// manyFills are more than two pages of any venue's.
const manyFills = 620

// listings are what the venue tells of orders and fills, and how it may lag.
var listings = []scenario{
	{"fills come in pages, and none is left out", true, func(b *bench) {
		t := b.t
		o := b.foreignID(t, order.NewID("account", "agent", 1_000, 0, 0), manyFills)
		for i := range manyFills {
			if i%7 == 0 {
				b.Exchange.Advance(time.Second)
			}
			if err := b.Exchange.Fill(o.ID, decimal.RequireFromString("0.001"), decimal.NewFromInt(50_000)); err != nil {
				t.Fatal(err)
			}
		}
		fills, cursor := b.drain(t, "")
		b.compareFills(t, fills)
		if !slices.IsSortedFunc(fills, func(a, b order.Fill) int { return a.MarketTime.Compare(b.MarketTime) }) {
			t.Error("the fills are not told oldest first")
		}
		if err := b.Exchange.Fill(o.ID, decimal.RequireFromString("0.001"), decimal.NewFromInt(50_000)); err != nil {
			t.Fatal(err)
		}
		more, _ := b.drain(t, cursor)
		b.compareFills(t, unite(fills, more))
		if len(more) > manyFills/2 {
			t.Errorf("after one more fill, %d come again", len(more))
		}
	}},
	{"fills since a time are all there", true, func(b *bench) {
		t := b.t
		intent, _ := b.resting(t)
		b.Exchange.Advance(time.Hour)
		since := venue.Since(b.now())
		b.Exchange.Advance(time.Second)
		b.Move(t, price-2_000_00)
		fills, cursor := b.drain(t, since)
		if len(fills) != 1 || fills[0].OrderID != intent.ID {
			t.Errorf("got %+v", fills)
		}
		if more, _ := b.drain(t, cursor); len(more) != 0 {
			t.Errorf("after the last cursor come %+v", more)
		}
	}},
	{"a fill that comes to light late is told", true, func(b *bench) {
		t := b.t
		o := b.foreignID(t, order.NewID("account", "agent", 1_000, 0, 0), 3)
		cursor := ""
		fill := func() {
			if err := b.Exchange.Fill(o.ID, decimal.RequireFromString("0.001"), decimal.NewFromInt(50_000)); err != nil {
				t.Fatal(err)
			}
		}
		fill()
		b.Exchange.Withhold(b.Exchange.Book().Trades[0].ID)
		b.Exchange.Advance(b.Venue.Traits().Settle / 2)
		fill()
		fills, cursor := b.drain(t, cursor)
		if len(fills) != 1 {
			t.Errorf("got %+v", fills)
		}
		b.Exchange.Withhold()
		more, _ := b.drain(t, cursor)
		b.compareFills(t, unite(fills, more))
	}},
	{"fills that are finer than a lot come to the whole order", true, func(b *bench) {
		t := b.t
		intent, _ := b.resting(t)
		product, _ := b.Exchange.Product(b.Symbol)
		product.Lot = decimal.New(1, -10)
		b.Exchange.PutProduct(product)
		if err := b.Exchange.Fill(b.accepted(intent)[0].ID, decimal.RequireFromString("0.0123456789"), decimal.NewFromInt(49_000)); err != nil {
			t.Fatal(err)
		}
		// What is less than a lot is not counted as bought yet.
		b.expect(t, intent, order.Acked, 1_234_567)
		fills, cursor := b.drain(t, "")
		b.Exchange.Advance(time.Second)
		b.Move(t, price-2_000_00)
		b.expect(t, intent, order.Filled, intent.Quantity)
		more, _ := b.drain(t, cursor)
		var lots market.Quantity
		for _, fill := range unite(fills, more) {
			lots += fill.Quantity
		}
		if lots != intent.Quantity {
			t.Errorf("the fills come to %d lots of %d", lots, intent.Quantity)
		}
	}},
	{"a price between two ticks is told as the worse of them", true, func(b *bench) {
		t := b.t
		buy, _ := b.resting(t)
		sell := b.intent(t, order.Sell, bitcoin/10, price+1_000_00)
		b.place(t, sell)
		byHand := b.foreign(t, b.Symbol, "entered-by-hand", price-1_000_00)
		// A venue may make its steps finer while an agent runs.
		product, _ := b.Exchange.Product(b.Symbol)
		product.Tick = decimal.New(1, -9)
		b.Exchange.PutProduct(product)
		want := map[uuid.UUID]market.Price{}
		for _, trade := range []struct {
			at, order string
			id        uuid.UUID
			told      market.Price
		}{
			{"48999.987654321", b.accepted(buy)[0].ID, buy.ID, price - 1_000_01},
			{"51000.019999999", b.accepted(sell)[0].ID, sell.ID, price + 1_000_01},
			{"48000.000000001", byHand.ID, uuid.Nil, price - 1_999_99},
		} {
			b.Exchange.Advance(time.Second)
			if err := b.Exchange.Fill(trade.order, decimal.RequireFromString("0.01"), decimal.RequireFromString(trade.at)); err != nil {
				t.Fatal(err)
			}
			want[trade.id] = trade.told
		}
		fills, cursor := b.drain(t, "")
		got := map[uuid.UUID]market.Price{}
		for _, fill := range fills {
			got[fill.OrderID] = fill.Price
		}
		if len(fills) != len(want) || !maps.Equal(got, want) {
			t.Errorf("told are %+v, want the prices %v", fills, want)
		}
		b.Exchange.Advance(time.Second)
		b.Move(t, price-2_000_00)
		b.expect(t, buy, order.Filled, buy.Quantity)
		if more, _ := b.drain(t, cursor); len(unite(fills, more)) != len(want)+2 {
			t.Errorf("what was filled afterwards is told as %+v", more)
		}
	}},
	{"fills may be repeated and shuffled", true, func(b *bench) {
		t := b.t
		o := b.foreignID(t, order.NewID("account", "agent", 1_000, 0, 0), 20)
		for range 20 {
			b.Exchange.Advance(time.Second)
			if err := b.Exchange.Fill(o.ID, decimal.RequireFromString("0.001"), decimal.NewFromInt(50_000)); err != nil {
				t.Fatal(err)
			}
		}
		b.Exchange.Behave(exchange.Behaviour{RepeatTrades: true, ShuffleTrades: true})
		fills, _ := b.drain(t, "")
		b.compareFills(t, fills)
	}},
	{"orders and fills that the venue shows late are found in the end", true, func(b *bench) {
		t := b.t
		settle := b.Venue.Traits().Settle
		b.Exchange.Behave(exchange.Behaviour{OrderLag: exchange.Duration(settle * 9 / 10), TradeLag: exchange.Duration(settle * 9 / 10)})
		intent := b.intent(t, order.Buy, bitcoin/100, price+100_00)
		b.place(t, intent)
		fills, cursor := b.drain(t, "")
		b.Exchange.Advance(settle)
		b.expect(t, intent, order.Filled, intent.Quantity)
		more, _ := b.drain(t, cursor)
		b.compareFills(t, unite(fills, more))
	}},
	{"the order that was asked for is found among many", true, func(b *bench) {
		t := b.t
		intent, _ := b.resting(t)
		sent := b.now()
		for i := range 260 {
			b.foreign(t, b.Symbol, order.NewID("account", "other", int64(i), 0, 0).String(), 10_00)
			b.Exchange.Advance(time.Millisecond)
		}
		found, err := b.Venue.Lookup(t.Context(), venue.Ref{ID: intent.ID, Pair: intent.Pair, SentAt: sent})
		if err != nil || found.ID != intent.ID {
			t.Errorf("got %+v, %v", found, err)
		}
		if found, err = b.Venue.Lookup(t.Context(), venue.Ref{ID: intent.ID, Pair: intent.Pair}); err != nil || found.ID != intent.ID {
			t.Errorf("without a time: got %+v, %v", found, err)
		}
		if err := b.Venue.Cancel(t.Context(), venue.Ref{ID: intent.ID, Pair: intent.Pair, SentAt: sent}); err != nil {
			t.Error(err)
		}
		if status := b.accepted(intent)[0].Status; status != exchange.Cancelled {
			t.Errorf("the order is %s", status)
		}
		if open, err := b.Venue.Open(t.Context()); err != nil || len(open) != 260 {
			t.Errorf("%d orders are open, want 260 (%v)", len(open), err)
		}
	}},
	{"open orders are those of the pair, whoever has placed them", true, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		orphan := order.NewID("account", "agent", 1_000, 0, 0)
		b.foreign(t, b.Symbol, orphan.String(), price-3_000_00)
		b.foreign(t, b.Symbol, "entered-by-hand", price-4_000_00)
		b.foreign(t, b.Symbol, uuid.NewString(), price-4_000_00)
		b.foreign(t, b.OtherSymbol, order.NewID("account", "agent", 1_001, 0, 0).String(), 1_000_00)
		ended := b.foreign(t, b.Symbol, order.NewID("account", "agent", 1_002, 0, 0).String(), price-4_000_00)
		if err := b.Exchange.End(ended.ID, exchange.Cancelled); err != nil {
			t.Fatal(err)
		}
		open, err := b.Venue.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids := map[uuid.UUID]int{}
		for _, o := range open {
			if ids[o.ID]++; o.State != order.Acked || o.VenueOrderID == "" || o.Pair != b.Instrument.Pair {
				t.Errorf("an open order is %+v", o)
			}
			if o.ID == intent.ID && o.VenueOrderID != placed.VenueOrderID {
				t.Errorf("the venue's id was %s and is %s", placed.VenueOrderID, o.VenueOrderID)
			}
		}
		if len(open) != 4 || ids[intent.ID] != 1 || ids[orphan] != 1 || ids[uuid.Nil] != 2 {
			t.Errorf("the open orders are %+v", open)
		}
		for _, o := range open {
			if err := b.Venue.Cancel(t.Context(), venue.Ref{ID: o.ID, VenueOrderID: o.VenueOrderID, Pair: o.Pair}); err != nil {
				t.Errorf("cancelling %+v: %v", o, err)
			}
		}
		if open, err = b.Venue.Open(t.Context()); err != nil || len(open) != 0 {
			t.Errorf("after they were cancelled, %+v are open (%v)", open, err)
		}
		if others := b.Exchange.OpenOrders(b.Account); len(others) != 1 || others[0].Symbol != b.OtherSymbol {
			t.Errorf("of the other pair, %+v are open", others)
		}
	}},
	{"fills of others are told as theirs, and other pairs' are not told", true, func(b *bench) {
		t := b.t
		intent := b.intent(t, order.Buy, bitcoin/100, price+100_00)
		b.place(t, intent)
		b.foreign(t, b.Symbol, "entered-by-hand", price+1_000_00)
		b.foreign(t, b.Symbol, uuid.NewString(), price+1_000_00)
		other := b.foreign(t, b.OtherSymbol, order.NewID("account", "agent", 1_001, 0, 0).String(), 1_000_00)
		if err := b.Exchange.Fill(other.ID, decimal.RequireFromString("0.1"), decimal.NewFromInt(1_000)); err != nil {
			t.Fatal(err)
		}
		fills, _ := b.drain(t, "")
		if len(fills) != 3 {
			t.Errorf("got %+v", fills)
		}
		b.compareFills(t, fills)
	}},
	{"an order that the venue takes back ends as it has to", true, func(b *bench) {
		t := b.t
		for status, want := range map[exchange.Status]order.State{exchange.Failed: order.Rejected, exchange.Expired: order.Cancelled, exchange.Cancelled: order.Cancelled} {
			intent, placed := b.resting(t)
			if err := b.Exchange.End(b.accepted(intent)[0].ID, status); err != nil {
				t.Fatal(err)
			}
			ref := b.ref(intent)
			ref.VenueOrderID = placed.VenueOrderID
			found, err := b.Venue.Lookup(t.Context(), ref)
			// Taken back before anything was filled, or ended: nothing is open any more.
			if err != nil || found.State != want && found.State != order.Cancelled {
				t.Errorf("%s: got %+v, %v", status, found, err)
			}
		}
	}},
	{"an order that was taken back after a part of it was filled has ended as cancelled", true, func(b *bench) {
		t := b.t
		b.Exchange.Behave(exchange.Behaviour{PartialFill: decimal.RequireFromString("0.5"), FailAccepted: true})
		intent := b.intent(t, order.Buy, bitcoin/100, price+100_00)
		if _, err := b.Venue.Place(t.Context(), venue.RequestOf(intent)); err != nil && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("placing: %v", err)
		}
		b.expect(t, intent, order.Cancelled, intent.Quantity/2)
		fills, _ := b.drain(t, "")
		b.compareFills(t, fills)
	}},
}

// foreignID is an open order with one of our ids that this process has not
// placed, good for so many fills of a thousandth.
func (b *bench) foreignID(t *testing.T, id uuid.UUID, fills int64) exchange.Order {
	t.Helper()
	placed, _, err := b.Exchange.Place(t.Context(), exchange.Placement{
		Account: b.Account, ClientID: id.String(), Symbol: b.Symbol, Side: exchange.Sell,
		Quantity: decimal.New(fills+10, -3), Limit: decimal.NewFromInt(60_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	return placed
}
