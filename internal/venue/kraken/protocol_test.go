package kraken_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/kraken"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// open lets everything leave.
type openGuard struct{}

func (openGuard) Leaves(uuid.UUID, []byte) (venue.Exit, error) { return venuetest.Exit, nil }

func (w *world) fail(t *testing.T, faults ...exchange.Fault) {
	t.Helper()
	if err := w.exchange.SetFaults(faults...); err != nil {
		t.Fatal(err)
	}
}

// request is an order that may leave for five seconds.
func (w *world) request(t *testing.T, sequence int64, side order.Side, quantity market.Quantity, limit market.Price) venue.Request {
	t.Helper()
	intent := order.Intent{
		ID: order.NewID("account", "agent", sequence, 0, 0), Account: "account", AgentUID: "agent", Sequence: sequence, Pair: "BTC-USD",
		Side: side, Quantity: quantity, Limit: limit, NotAfter: w.exchange.Time().Add(5 * time.Second).Truncate(time.Microsecond),
	}
	frozen, err := w.venue.Freeze(intent, intent.NotAfter)
	if err != nil {
		t.Fatal(err)
	}
	intent.Frozen = string(frozen)
	return venue.RequestOf(intent)
}

func ref(request venue.Request) venue.Ref {
	return venue.Ref{ID: request.Intent.ID, Pair: request.Intent.Pair}
}

func TestFrozenForm(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	intent := order.Intent{ID: order.NewID("a", "b", 1, 0, 0), Pair: "BTC-USD", Side: order.Sell, Quantity: 12_345, Limit: 5_000_000}
	at := time.Date(2026, 3, 2, 12, 0, 0, 123_999_000, time.FixedZone("east", 3600))
	frozen, err := w.venue.Freeze(intent, at)
	if err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(string(frozen))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cl_ord_id": intent.ID.String(), "deadline": "2026-03-02T11:00:00.123Z", "oflags": "fciq", "ordertype": "limit",
		"pair": "XBTUSD", "price": "50000", "timeinforce": "GTC", "type": "sell", "volume": "0.00012345",
	} {
		if got := form.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(form) != 9 || form.Has("nonce") || form.Encode() != string(frozen) {
		t.Errorf("the form is %s", frozen)
	}
	for name, change := range map[string]func(*order.Intent){
		"no quantity": func(i *order.Intent) { i.Quantity = 0 }, "no limit": func(i *order.Intent) { i.Limit = 0 }, "no side": func(i *order.Intent) { i.Side = 0 },
	} {
		wrong := intent
		change(&wrong)
		if frozen, err := w.venue.Freeze(wrong, at); err == nil {
			t.Errorf("%s: frozen as %s", name, frozen)
		}
	}
	if frozen, err := w.venue.Freeze(intent, time.Time{}); err == nil {
		t.Errorf("without a deadline: frozen as %s", frozen)
	}
}

// A placement whose nonce was overtaken is refused, and what that means is open:
// the same bytes may have been taken before.
func TestInvalidNonceLeavesAPlacementOpen(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	other := w.adapter(t, openGuard{}, venuetest.Instrument(t))
	request := w.request(t, 1, order.Buy, 1_000_000, 4_000_000)
	w.fail(t, exchange.Fault{Kind: exchange.DelayArrival, Endpoint: exchange.EndpointPlace, Delay: exchange.Duration(3 * time.Second), Next: 1})
	placed := make(chan error, 1)
	go func() {
		_, err := w.venue.Place(t.Context(), request)
		placed <- err
	}()
	eventually(t, "the placement is on its way", func() bool { return w.exchange.Waiting() == 1 })
	// Another process asks meanwhile, with the same key and a later nonce.
	if _, err := other.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exchange.Advance(3 * time.Second)
	if err := <-placed; !errors.Is(err, venue.ErrUnknownOutcome) || !strings.Contains(err.Error(), "EAPI:Invalid nonce") {
		t.Errorf("got %v", err)
	}
	if orders := w.exchange.Book().Orders; len(orders) != 0 {
		t.Errorf("a request that was overtaken made %+v", orders)
	}
	if _, err := w.venue.Lookup(t.Context(), ref(request)); !errors.Is(err, venue.ErrNotFound) {
		t.Errorf("looking up: %v", err)
	}
}

// A clock that was set back stops neither questions nor cancellations.
func TestNoncesOfAClockThatIsBehind(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	request := w.request(t, 1, order.Buy, 1_000_000, 4_000_000)
	if _, err := w.venue.Place(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	credentials, err := kraken.ParseCredentials(apiKey, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	late, err := kraken.New(kraken.Options{
		Environment: "Production", Instruments: []market.Instrument{venuetest.Instrument(t)}, Credentials: credentials, Gateway: w.url,
		Now: func() time.Time { return w.exchange.Time().Add(-2 * time.Second) }, Guard: openGuard{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(late.Close)
	if found, err := late.Lookup(t.Context(), ref(request)); err != nil || found.State != order.Acked {
		t.Errorf("looking up: %+v, %v", found, err)
	}
	if err := late.Cancel(t.Context(), ref(request)); err != nil {
		t.Errorf("cancelling: %v", err)
	}
}

// What a placement is answered with that is neither one order nor a definitive no
// leaves it open.
func TestAnswersToPlacements(t *testing.T) {
	for answer, rejected := range map[string]bool{
		`{"error":[],"result":{"txid":["OUF4EM-FRGI2-MQMWZD","OUF4EM-FRGI2-MQMWZE"]}}`:    false,
		`{"error":[],"result":{"txid":[]}}`:                                               false,
		`{"error":[],"result":{"txid":["<b>"]}}`:                                          false,
		`{"error":["EService:Timeout"],"result":{"txid":["OUF4EM-FRGI2-MQMWZD"]}}`:        false,
		`{"error":["EOrder:Insufficient funds","EGeneral:Internal error"]}`:               false,
		`{"error":["EGeneral:Invalid arguments:cl_ord_id"]}`:                              false,
		`{"error":["EOrder:Insufficient funds"]}`:                                         true,
		`{"error":["WGeneral:Danger","EService:Market in cancel_only mode"],"result":{}}`: true,
	} {
		w := newWorld(t, openGuard{}, venuetest.Instrument(t))
		w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Endpoint: exchange.EndpointPlace, Body: answer})
		got, err := w.venue.Place(t.Context(), w.request(t, 1, order.Buy, 1_000_000, 4_000_000))
		_, refused := errors.AsType[*venue.RejectedError](err)
		if refused != rejected || !refused && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("%s: got %+v, %v", answer, got, err)
		}
	}
}

// A list that was not filtered by the id says nothing about the order: it may be
// beyond the page.
func TestAListOfOtherOrdersIsNoAnswer(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	other := w.request(t, 1, order.Buy, 1_000_000, 4_000_000)
	if _, err := w.venue.Place(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	asked := w.request(t, 2, order.Buy, 1_000_000, 4_000_000)
	told := `{"OUF4EM-FRGI2-MQMWZD":{"status":"open","opentm":1,"vol":"1","vol_exec":"0","descr":{"pair":"XBTUSD","type":"buy"},"cl_ord_id":"` + other.Intent.ID.String() + `"}}`
	for _, list := range []string{`"open":` + told, `"open":{},"closed":` + told} {
		w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Endpoint: exchange.EndpointOrders, Body: `{"error":[],"result":{` + list + `}}`})
		if found, err := w.venue.Lookup(t.Context(), ref(asked)); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", list, found, err)
		}
	}
}

// With lots that Kraken divides, fills come to what the order tells, whatever parts
// it was executed in, and wherever the cursor stood.
func TestCoarseLots(t *testing.T) {
	coarse, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.001"), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range []order.Side{order.Buy, order.Sell} {
		w := newWorld(t, openGuard{}, coarse)
		limit := market.Price(4_000_000)
		if side == order.Sell {
			limit = 6_000_000
		}
		request := w.request(t, 1, side, 10, limit)
		placed, err := w.venue.Place(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		booked := w.exchange.Book().Orders[0]
		cursor, sum := "", market.Quantity(0)
		for _, part := range []string{"0.0004", "0.0003", "0.0004", "0.0029", "0.006"} {
			if err := w.exchange.Fill(booked.ID, decimal.RequireFromString(part), decimal.NewFromInt(50_000)); err != nil {
				t.Fatal(err)
			}
			fills, next, err := w.venue.Fills(t.Context(), cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, fill := range fills {
				sum += fill.Quantity
			}
			found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: request.Intent.ID, VenueOrderID: placed.VenueOrderID, Pair: "BTC-USD"})
			if err != nil || found.Filled != sum {
				t.Errorf("%s: after %s the fills come to %d lots and the order tells %+v, %v", side, part, sum, found, err)
			}
			cursor = next
			// So long that what was executed before is behind the cursor.
			w.exchange.Advance(3 * time.Minute)
		}
		if sum != request.Intent.Quantity {
			t.Errorf("%s: %d lots were told of %d", side, sum, request.Intent.Quantity)
		}
	}
}

// What was told long ago is not read again, except as far as Kraken may be late.
func TestReadsOnFromTheCursor(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	if _, err := w.venue.Place(t.Context(), w.request(t, 1, order.Buy, 1_000_000, 6_000_000)); err != nil {
		t.Fatal(err)
	}
	traded := w.exchange.Book().Trades[0].At
	_, cursor, err := w.venue.Fills(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.venue.Fills(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	requests := w.exchange.Requests()
	form, err := url.ParseQuery(requests[len(requests)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	start, err := strconv.ParseInt(form.Get("start"), 10, 64)
	if lag := traded.Sub(time.Unix(start, 0)); err != nil || lag < w.venue.Traits().Settle || lag > 5*time.Minute {
		t.Errorf("trades are read from %s before the last one on (%v)", lag, err)
	}
}

// A trade that shows before its order is told when the order shows, and is a fault
// if that does not happen.
func TestATradeWithoutItsOrder(t *testing.T) {
	w := newWorld(t, openGuard{}, venuetest.Instrument(t))
	w.exchange.Behave(exchange.Behaviour{OrderLag: exchange.Duration(10 * time.Second)})
	request := w.request(t, 1, order.Buy, 1_000_000, 6_000_000)
	if _, err := w.venue.Place(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	fills, cursor, err := w.venue.Fills(t.Context(), "")
	if err != nil || len(fills) != 0 {
		t.Errorf("before its order shows: %+v, %v", fills, err)
	}
	w.exchange.Advance(11 * time.Second)
	if fills, _, err = w.venue.Fills(t.Context(), cursor); err != nil || len(fills) != 1 || fills[0].OrderID != request.Intent.ID {
		t.Errorf("after: %+v, %v", fills, err)
	}
	w.exchange.Behave(exchange.Behaviour{OrderLag: exchange.Duration(time.Hour)})
	w.exchange.Advance(time.Minute)
	if fills, _, err := w.adapter(t, openGuard{}, venuetest.Instrument(t)).Fills(t.Context(), ""); !errors.Is(err, venue.ErrMalformed) {
		t.Errorf("a trade whose order does not show: %+v, %v", fills, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
