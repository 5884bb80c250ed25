package venuetest

import (
	"errors"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// stops are cancellations that meet something, and the venue's own controls.
var stops = []scenario{
	{"an order that fills whole while it is cancelled is filled", true, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		b.Exchange.Behave(exchange.Behaviour{FillOnCancel: decimal.NewFromInt(1)})
		ref := b.ref(intent)
		ref.VenueOrderID = placed.VenueOrderID
		if err := b.Venue.Cancel(t.Context(), ref); err != nil {
			t.Errorf("cancelling: %v", err)
		}
		b.expect(t, intent, order.Filled, intent.Quantity)
		fills, _ := b.drain(t, "")
		b.compareFills(t, fills)
	}},
	{"an order that fills in part while it is cancelled is cancelled", true, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		b.Exchange.Behave(exchange.Behaviour{FillOnCancel: decimal.RequireFromString("0.5")})
		ref := b.ref(intent)
		ref.VenueOrderID = placed.VenueOrderID
		if err := b.Venue.Cancel(t.Context(), ref); err != nil {
			t.Errorf("cancelling: %v", err)
		}
		b.expect(t, intent, order.Cancelled, intent.Quantity/2)
		fills, _ := b.drain(t, "")
		b.compareFills(t, fills)
	}},
	{"a cancellation whose answer is lost has happened, and may be asked for again", true, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		ref := b.ref(intent)
		ref.VenueOrderID = placed.VenueOrderID
		b.fail(t, exchange.Fault{Kind: exchange.ResetAfter, Endpoint: exchange.EndpointCancel, Next: 1})
		if err := b.Venue.Cancel(t.Context(), ref); errors.Is(err, venue.ErrNotFound) {
			t.Errorf("cancelling: %v", err)
		}
		if err := b.Venue.Cancel(t.Context(), ref); err != nil {
			t.Errorf("cancelling again: %v", err)
		}
		b.expect(t, intent, order.Cancelled, 0)
	}},
	{"all orders of a pair are cancelled at once", true, func(b *bench) {
		t := b.t
		stopper, ok := b.Venue.(venue.Stopper)
		if !ok {
			return
		}
		intent, _ := b.resting(t)
		b.foreign(t, b.Symbol, "entered-by-hand", price-4_000_00)
		b.foreign(t, b.OtherSymbol, "by-hand-too", 1_000_00)
		if err := stopper.CancelAll(t.Context(), []string{b.Instrument.Pair}); err != nil {
			t.Fatal(err)
		}
		b.expect(t, intent, order.Cancelled, 0)
		if open := b.Exchange.OpenOrders(b.Account); len(open) != 1 || open[0].Symbol != b.OtherSymbol {
			t.Errorf("open are %+v", open)
		}
		if err := stopper.CancelAll(t.Context(), []string{b.Instrument.Pair}); err != nil {
			t.Errorf("where none are left: %v", err)
		}
	}},
	{"a dead-man switch cancels unless it is pressed", true, func(b *bench) {
		t := b.t
		stopper, ok := b.Venue.(venue.Stopper)
		if !ok {
			return
		}
		intent, _ := b.resting(t)
		err := stopper.CancelAllAfter(t.Context(), time.Minute)
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Exchange.Advance(50 * time.Second)
		if err := stopper.CancelAllAfter(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		b.Exchange.Advance(50 * time.Second)
		b.expect(t, intent, order.Acked, 0)
		if err := stopper.CancelAllAfter(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		b.Exchange.Advance(time.Hour)
		b.expect(t, intent, order.Acked, 0)
		if err := stopper.CancelAllAfter(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		b.Exchange.Advance(61 * time.Second)
		b.expect(t, intent, order.Cancelled, 0)
	}},
}
