package venuetest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// unknowns are what becomes of an order whose answer does not come.
var unknowns = []scenario{
	{"an order whose answer is lost is found", true, func(b *bench) {
		t := b.t
		for _, fault := range []exchange.Fault{
			{Kind: exchange.ResetAfter}, {Kind: exchange.ResetAnswer}, {Kind: exchange.Truncate},
			{Kind: exchange.StatusAfter, Status: http.StatusBadGateway}, {Kind: exchange.StatusAfter, Status: http.StatusInternalServerError},
			{Kind: exchange.StatusAfter, Status: http.StatusServiceUnavailable, Body: "<html>{authorization}</html>"},
			{Kind: exchange.StatusAfter, Status: http.StatusGatewayTimeout},
			{Kind: exchange.BodyAfter, Body: "{}"}, {Kind: exchange.BodyAfter, Body: "{authorization}"}, {Kind: exchange.BodyAfter, Body: "null"},
		} {
			fault.Endpoint, fault.Next = exchange.EndpointPlace, 1
			b.fail(t, fault)
			intent := b.intent(t, order.Buy, bitcoin/100, price-1_000_00)
			_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
			if !errors.Is(err, venue.ErrUnknownOutcome) {
				t.Errorf("%s %d: got %v", fault.Kind, fault.Status, err)
			}
			b.quiet(t, err)
			b.fail(t)
			b.expect(t, intent, order.Acked, 0)
			if booked := b.accepted(intent); len(booked) != 1 || booked[0].Repeats != 0 {
				t.Errorf("%s %d: the book has %+v", fault.Kind, fault.Status, booked)
			}
		}
	}},
	{"an order that does not arrive is absent", true, func(b *bench) {
		t := b.t
		for _, fault := range []exchange.Fault{
			{Kind: exchange.ResetBefore}, {Kind: exchange.ResetRequest},
			{Kind: exchange.StatusBefore, Status: http.StatusServiceUnavailable},
			{Kind: exchange.StatusBefore, Status: http.StatusInternalServerError, Body: "nothing known"},
			{Kind: exchange.BodyBefore, Body: `{"success":true}`},
		} {
			// A request before it leaves a connection that is kept, which is where a
			// library would repeat.
			if _, err := b.Venue.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			fault.Endpoint, fault.Next = exchange.EndpointPlace, 1
			b.fail(t, fault)
			intent := b.intent(t, order.Buy, bitcoin/100, price-1_000_00)
			if _, err := b.Venue.Place(t.Context(), venue.RequestOf(intent)); !errors.Is(err, venue.ErrUnknownOutcome) {
				t.Errorf("%s %d: got %v", fault.Kind, fault.Status, err)
			}
			b.fail(t)
			if found, err := b.Venue.Lookup(t.Context(), b.ref(intent)); !errors.Is(err, venue.ErrNotFound) {
				t.Errorf("%s %d: looking up gives %+v, %v", fault.Kind, fault.Status, found, err)
			}
			if booked := b.accepted(intent); len(booked) != 0 {
				t.Errorf("%s %d: the book has %+v", fault.Kind, fault.Status, booked)
			}
		}
	}},
	{"an order whose answer is late is unknown", true, func(b *bench) {
		t := b.t
		b.fail(t, exchange.Fault{Kind: exchange.DelayAnswer, Endpoint: exchange.EndpointPlace, Delay: exchange.Duration(10 * time.Minute), Next: 1})
		intent := b.intent(t, order.Buy, bitcoin/100, price-1_000_00)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			eventually(t, "the order is accepted", func() bool { return len(b.accepted(intent)) == 1 && b.Exchange.Waiting() == 1 })
		}()
		if _, err := b.Venue.Place(ctx, venue.RequestOf(intent)); !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		<-ctx.Done()
		b.expect(t, intent, order.Acked, 0)
	}},
	{"an order that is held up within its time arrives", true, func(b *bench) {
		t := b.t
		delay := min(b.Venue.Traits().Settle, 10*time.Minute) / 2
		if b.Venue.Traits().RequestExpiry > 0 {
			delay = min(delay, timeToLeave-time.Second) // the venue keeps the request's own end
		}
		b.heldUp(t, exchange.DelayAcceptance, delay)
		booked := b.Exchange.Book().Orders
		if len(booked) != 1 {
			t.Errorf("the book has %+v", booked)
		}
	}},
	{"an order that is held up for too long is refused", true, func(b *bench) {
		t := b.t
		expiry := b.Venue.Traits().RequestExpiry
		if expiry == 0 {
			return // the venue takes it at any time, and its adapter does not say otherwise
		}
		b.heldUp(t, exchange.DelayArrival, expiry+2*time.Second)
		if booked := b.Exchange.Book().Orders; len(booked) != 0 {
			t.Errorf("the book has %+v", booked)
		}
	}},
	{"a limit on requests refuses", true, func(b *bench) {
		t := b.t
		b.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Endpoint: exchange.EndpointPlace, Status: http.StatusTooManyRequests, RetryAfter: 1})
		intent := b.intent(t, order.Buy, bitcoin/100, price)
		_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
		if _, rejected := errors.AsType[*venue.RejectedError](err); !rejected && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("placing: %v", err)
		}
		if booked := b.accepted(intent); len(booked) != 0 {
			t.Errorf("the book has %+v", booked)
		}
		b.Exchange.Advance(2 * time.Second)
		b.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: http.StatusTooManyRequests, RetryAfter: 1})
		_, err = b.Venue.Lookup(t.Context(), b.ref(intent))
		b.notAbsent(t, err)
	}},
	{"a repeat is what the venue's class says", true, func(b *bench) {
		t := b.t
		intent, first := b.resting(t)
		again, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
		booked := b.accepted(intent)
		switch class := b.Venue.Traits().Class; class {
		case venue.ClassReturns:
			if err != nil || again.VenueOrderID != first.VenueOrderID || len(booked) != 1 {
				t.Errorf("got %+v, %v; the book has %+v", again, err, booked)
			}
		case venue.ClassRefuses, venue.ClassRefusesOpen:
			// The refusal of a repeat does not say that there is no order.
			if !errors.Is(err, venue.ErrUnknownOutcome) || len(booked) != 1 {
				t.Errorf("got %+v, %v; the book has %+v", again, err, booked)
			}
		case venue.ClassIgnores:
			if err != nil || len(booked) != 2 {
				t.Errorf("got %+v, %v; the book has %+v", again, err, booked)
			}
		default:
			t.Errorf("there is no class %q", class)
		}
	}},
	{"an answer that cannot be read says nothing", true, func(b *bench) {
		t := b.t
		intent, placed := b.resting(t)
		known := b.ref(intent)
		known.VenueOrderID = placed.VenueOrderID
		for _, fault := range []exchange.Fault{
			{Kind: exchange.StatusBefore, Status: http.StatusInternalServerError}, {Kind: exchange.StatusBefore, Status: http.StatusBadGateway, Body: "<html></html>"},
			{Kind: exchange.StatusBefore, Status: http.StatusUnauthorized}, {Kind: exchange.StatusBefore, Status: http.StatusForbidden, Body: "{authorization}"},
			{Kind: exchange.StatusBefore, Status: http.StatusNotFound, Body: "no such page"},
			{Kind: exchange.BodyBefore, Body: ""}, {Kind: exchange.BodyBefore, Body: "{}"}, {Kind: exchange.BodyBefore, Body: "null"},
			{Kind: exchange.BodyBefore, Body: `{"authorization": "{authorization}"}`}, {Kind: exchange.BodyBefore, Body: "[{}]"},
			{Kind: exchange.ResetBefore}, {Kind: exchange.ResetAnswer}, {Kind: exchange.Truncate},
		} {
			b.fail(t, fault)
			for _, ref := range []venue.Ref{b.ref(intent), known} {
				_, err := b.Venue.Lookup(t.Context(), ref)
				b.notAbsent(t, err)
				if t.Failed() {
					t.Fatalf("with %s %d %q", fault.Kind, fault.Status, fault.Body)
				}
			}
			// What is broken off has happened, and an answer may have no body to break.
			happened := fault.Kind == exchange.ResetAnswer || fault.Kind == exchange.Truncate
			if err := b.Venue.Cancel(t.Context(), known); err == nil && !happened || errors.Is(err, venue.ErrNotFound) {
				t.Errorf("%s %d %q: cancelling gives %v", fault.Kind, fault.Status, fault.Body, err)
			}
			if open, err := b.Venue.Open(t.Context()); err == nil && fault.Kind != exchange.BodyBefore {
				t.Errorf("%s %d %q: open orders are %+v", fault.Kind, fault.Status, fault.Body, open)
			}
			if fills, _, err := b.Venue.Fills(t.Context(), ""); err == nil && fault.Kind != exchange.BodyBefore {
				t.Errorf("%s %d %q: fills are %+v", fault.Kind, fault.Status, fault.Body, fills)
			}
		}
	}},
	{"a venue whose clock is off accepts no order that counts as refused", true, func(b *bench) {
		t := b.t
		for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
			b.Exchange.Behave(exchange.Behaviour{Skew: exchange.Duration(skew)})
			intent := b.intent(t, order.Buy, bitcoin/100, price-1_000_00)
			_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
			_, rejected := errors.AsType[*venue.RejectedError](err)
			booked := b.accepted(intent)
			if err == nil && len(booked) != 1 || rejected && len(booked) != 0 {
				t.Errorf("skew of %s: got %v, and the book has %+v", skew, err, booked)
			}
			found, err := b.Venue.Lookup(t.Context(), b.ref(intent))
			if err == nil && found.ID != intent.ID || errors.Is(err, venue.ErrNotFound) && len(booked) > 0 {
				t.Errorf("skew of %s: looking up gives %+v, %v, and the book has %+v", skew, found, err, booked)
			}
		}
	}},
	{"maintenance refuses or leaves open, and never doubles", true, func(b *bench) {
		t := b.t
		b.Exchange.Behave(exchange.Behaviour{Maintenance: true})
		intent := b.intent(t, order.Buy, bitcoin/100, price)
		_, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
		if _, rejected := errors.AsType[*venue.RejectedError](err); !rejected && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		b.Exchange.Behave(exchange.Behaviour{})
		if _, err := b.Venue.Lookup(t.Context(), b.ref(intent)); !errors.Is(err, venue.ErrNotFound) {
			t.Errorf("looking up: %v", err)
		}
	}},
}

// heldUp places an order that is held up for some time, while its sender has
// given up.
func (b *bench) heldUp(t *testing.T, kind exchange.Kind, delay time.Duration) {
	t.Helper()
	b.fail(t, exchange.Fault{Kind: kind, Endpoint: exchange.EndpointPlace, Delay: exchange.Duration(delay), Next: 1})
	intent := b.intent(t, order.Buy, bitcoin/100, price-1_000_00)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		eventually(t, "the order is held up", func() bool { return b.Exchange.Waiting() == 1 })
	}()
	if _, err := b.Venue.Place(ctx, venue.RequestOf(intent)); !errors.Is(err, venue.ErrUnknownOutcome) {
		t.Errorf("placing: %v", err)
	}
	<-ctx.Done()
	if len(b.accepted(intent)) != 0 {
		t.Error("the order was not held up")
	}
	b.Exchange.Advance(delay)
	eventually(t, "the request was answered", func() bool { return len(b.Exchange.Requests()) == 1 })
	accepted := len(b.accepted(intent)) == 1
	b.Exchange.Advance(b.Venue.Traits().Settle)
	found, err := b.Venue.Lookup(t.Context(), b.ref(intent))
	if accepted && (err != nil || found.ID != intent.ID) || !accepted && !errors.Is(err, venue.ErrNotFound) {
		t.Errorf("the order was accepted: %t; looking it up gives %+v, %v", accepted, found, err)
	}
}
