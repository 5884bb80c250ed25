package gemini_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// open is a guard that lets everything leave.
type open struct{}

func (open) Leaves(uuid.UUID, []byte) (venue.Exit, error) { return venuetest.Exit, nil }

// timeToLeave of the orders below.
const timeToLeave = 5 * time.Second

// intent is an order that rests in the book.
func (w *world) intent(t *testing.T) order.Intent {
	t.Helper()
	intent := order.Intent{
		ID: order.NewID("account", "agent", 1, 0, 0), Pair: "BTC-USD", Side: order.Buy, Quantity: 10_000_000, Limit: 4_000_000,
		NotAfter: w.exchange.Time().Add(timeToLeave),
	}
	frozen, err := w.venue.Freeze(intent, intent.NotAfter)
	if err != nil {
		t.Fatal(err)
	}
	intent.Frozen = string(frozen)
	return intent
}

func (w *world) fail(t *testing.T, faults ...exchange.Fault) {
	t.Helper()
	if err := w.exchange.SetFaults(faults...); err != nil {
		t.Fatal(err)
	}
}

// The frozen payload is what Gemini's manual asks for, to the byte, with a nonce
// whose window ends when the order must not be accepted any more.
func TestFreeze(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	intent := w.intent(t)
	frozen := func(notAfter time.Time) string {
		return `{"request":"/v1/order/new","nonce":` + strconv.FormatInt(notAfter.Unix()-30, 10) + `,"client_order_id":"` + intent.ID.String() +
			`","symbol":"btcusd","amount":"0.1","price":"40000","side":"buy","type":"exchange limit","options":[]}`
	}
	if want := frozen(intent.NotAfter); intent.Frozen != want {
		t.Errorf("got  %s\nwant %s", intent.Frozen, want)
	}
	// However late an order may leave, a request does not live longer than the traits say.
	late, err := w.venue.Freeze(intent, intent.NotAfter.Add(time.Hour))
	expiry := w.venue.Traits().RequestExpiry
	if now := w.exchange.Time(); err != nil || string(late) != frozen(now.Add(expiry)) && string(late) != frozen(now.Add(expiry-time.Second)) {
		t.Errorf("got %s, %v", late, err)
	}
	for name, edit := range map[string]func(*order.Intent){
		"quantity": func(i *order.Intent) { i.Quantity = 0 }, "limit": func(i *order.Intent) { i.Limit = -1 }, "side": func(i *order.Intent) { i.Side = 0 },
	} {
		wrong := intent
		edit(&wrong)
		if body, err := w.venue.Freeze(wrong, wrong.NotAfter); err == nil {
			t.Errorf("an order without %s was frozen as %s", name, body)
		}
	}
}

// A request that is held up on its way is accepted until the order's time is over,
// and not after.
func TestRequestsExpire(t *testing.T) {
	for _, test := range []struct {
		held     time.Duration
		accepted bool
	}{{0, true}, {timeToLeave - 2*time.Second, true}, {timeToLeave + time.Second, false}, {time.Hour, false}} {
		w := newWorld(t, nil, open{}, venuetest.Instrument(t))
		intent := w.intent(t)
		// The exchange's clock is ahead by as much as the request is late.
		w.exchange.Behave(exchange.Behaviour{Skew: exchange.Duration(test.held)})
		_, err := w.venue.Place(t.Context(), venue.RequestOf(intent))
		if (err == nil) != test.accepted || err != nil && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("held up for %s: %v", test.held, err)
		}
		if orders := w.exchange.Book().Orders; (len(orders) == 1) != test.accepted {
			t.Errorf("held up for %s: the book has %+v", test.held, orders)
		}
	}
}

// Only reasons that say so are definitive.
func TestRefusals(t *testing.T) {
	for reason, test := range map[string]struct {
		status     int
		definitive bool
	}{
		"InsufficientFunds": {406, true}, "InvalidPrice": {400, true}, "InvalidQuantity": {400, true}, "InvalidSignature": {400, true},
		"MarketNotOpen": {400, true}, "MissingRole": {403, true}, "InvalidSymbol": {400, true},
		"InvalidNonce": {400, false}, "Maintenance": {503, false}, "System": {500, false}, "SomethingNew": {400, false},
	} {
		w := newWorld(t, nil, open{}, venuetest.Instrument(t))
		w.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: test.status, Body: `{"result":"error","reason":"` + reason + `","message":"m"}`})
		_, err := w.venue.Place(t.Context(), venue.RequestOf(w.intent(t)))
		rejected, refused := errors.AsType[*venue.RejectedError](err)
		switch {
		case test.definitive && (!refused || rejected.Code != reason || rejected.Message == ""):
			t.Errorf("%s: got %v", reason, err)
		case !test.definitive && (refused || !errors.Is(err, venue.ErrUnknownOutcome)):
			t.Errorf("%s: got %v", reason, err)
		}
	}
	for _, body := range []string{"<html>", `{"reason":"InvalidPrice"}`, ""} {
		w := newWorld(t, nil, open{}, venuetest.Instrument(t))
		w.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: 502, Body: body})
		if _, err := w.venue.Place(t.Context(), venue.RequestOf(w.intent(t))); !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("%q: got %v", body, err)
		}
	}
}

// At Gemini a repeat is another order. Two of them are told as an error, never as
// one that is not there.
func TestRepeat(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	intent := w.intent(t)
	for range 2 {
		if _, err := w.venue.Place(t.Context(), venue.RequestOf(intent)); err != nil {
			t.Fatal(err)
		}
	}
	if orders := w.exchange.Book().Orders; len(orders) != 2 {
		t.Fatalf("the book has %+v", orders)
	}
	if found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: intent.ID}); !errors.Is(err, venue.ErrMalformed) || errors.Is(err, venue.ErrNotFound) {
		t.Errorf("got %+v, %v", found, err)
	}
	if found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: intent.ID, VenueOrderID: "2"}); err != nil || found.VenueOrderID != "2" {
		t.Errorf("got %+v, %v", found, err)
	}
}

// Somebody else's 404 is not Gemini's word that an order is not there.
func TestForeign404(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	for _, body := range []string{"404 page not found", `{"result":"error","reason":"EndpointNotFound"}`, `{"reason":"OrderNotFound"}`} {
		w.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: 404, Body: body})
		ref := venue.Ref{ID: order.NewID("account", "agent", 1, 0, 0)}
		if found, err := w.venue.Lookup(t.Context(), ref); err == nil || errors.Is(err, venue.ErrNotFound) {
			t.Errorf("%s: looking up: %+v, %v", body, found, err)
		}
		ref.VenueOrderID = "17"
		if err := w.venue.Cancel(t.Context(), ref); err == nil || errors.Is(err, venue.ErrNotFound) {
			t.Errorf("%s: cancelling: %v", body, err)
		}
	}
	if err := w.venue.Cancel(t.Context(), venue.Ref{VenueOrderID: "no number"}); err == nil || errors.Is(err, venue.ErrNotFound) {
		t.Errorf("cancelling what is no id: %v", err)
	}
}

// Orders of other pairs stay.
func TestCancelAllOfAPair(t *testing.T) {
	bitcoin := venuetest.Instrument(t)
	ether, err := market.NewInstrument("ETH", "USD", bitcoin.Tick, bitcoin.Lot, decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil, open{}, bitcoin, ether)
	for _, listed := range []string{symbol, otherSymbol} {
		if _, _, err := w.exchange.Place(t.Context(), exchange.Placement{
			Account: w.key.Account, ClientID: "by hand", Symbol: listed, Side: exchange.Buy, Quantity: decimal.New(1, -2), Limit: decimal.NewFromInt(1_000),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.venue.CancelAll(t.Context(), []string{ether.Pair}); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.exchange.Book().Orders {
		if (o.Status == exchange.Cancelled) != (o.Symbol == otherSymbol) {
			t.Errorf("the order in %s is %s", o.Symbol, o.Status)
		}
	}
	if err := w.venue.CancelAll(t.Context(), []string{"XXX-YYY"}); err == nil {
		t.Error("a pair that is not the agent's was cancelled")
	}
	if err := w.venue.CancelAllAfter(t.Context(), time.Minute); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the dead-man switch: %v", err)
	}
}

// Gemini executes in parts of its own steps, two decimal places finer. They are
// counted in lots by what their order had before them.
func TestPartsOfLots(t *testing.T) {
	coarse, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -2), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil, open{}, coarse)
	w.exchange.SetBalance(w.key.Account, "BTC", decimal.NewFromInt(10))
	id := order.NewID("account", "agent", 1, 0, 0)
	placed, _, err := w.exchange.Place(t.Context(), exchange.Placement{
		Account: w.key.Account, ClientID: id.String(), Symbol: symbol, Side: exchange.Sell, Quantity: decimal.New(3, -2), Limit: decimal.NewFromInt(60_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	cursor := ""
	for i, step := range []struct {
		part string
		lots market.Quantity
	}{{"0.0000000001", 1}, {"0.0099999999", 0}, {"0.01", 1}, {"0.004", 1}, {"0.006", 0}} {
		w.exchange.Advance(time.Second)
		if err := w.exchange.Fill(placed.ID, decimal.RequireFromString(step.part), decimal.NewFromInt(60_000)); err != nil {
			t.Fatal(err)
		}
		fills, next, err := w.venue.Fills(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		got := market.Quantity(0)
		for _, fill := range fills {
			if fill.OrderID != id || fill.Side != order.Sell {
				t.Errorf("it is told as %+v", fill)
			}
			got += fill.Quantity
		}
		if cursor = next; got != step.lots {
			t.Errorf("part %d of %s is told as %d lots, want %d", i+1, step.part, got, step.lots)
		}
	}
	if found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: id}); err != nil || found.State != order.Filled || found.Filled != 3 {
		t.Errorf("got %+v, %v", found, err)
	}
}

// tradeTold is a trade in Gemini's words.
func tradeTold(id int, milliseconds int64, more string) string {
	return fmt.Sprintf(`{"tid":%d,"order_id":"7","timestampms":%d,"type":"Buy","price":"50000","amount":"0.5","fee_currency":"usd","fee_amount":"-0.025","symbol":"BTCUSD"%s}`,
		id, milliseconds, more)
}

// Rebates are fees below zero; a trade that was broken is as if it had never been.
func TestTrades(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: "[" + tradeTold(2, 1_700_000_000_002, `,"break":"full"`) + "," + tradeTold(1, 1_700_000_000_001, `,"break":""`) + "]"})
	fills, _, err := w.venue.Fills(t.Context(), "")
	if err != nil || len(fills) != 1 || fills[0].TradeID != "1" || fills[0].Fee != -2_500_000 || fills[0].FeeCurrency != "USD" || fills[0].OrderID != uuid.Nil {
		t.Errorf("got %+v, %v", fills, err)
	}
}

// A full list that does not reach back to what is known leaves trades out.
func TestTradesLeftOut(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	const start = 1_700_000_000_000
	w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: "[" + tradeTold(1, start, "") + "]"})
	_, cursor, err := w.venue.Fills(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	list := func(first int, milliseconds func(i int) int64) string {
		told := make([]string, 500)
		for i := range told {
			told[i] = tradeTold(first+i, milliseconds(i), "")
		}
		return "[" + strings.Join(told, ",") + "]"
	}
	last := tradeTold(501, start+499, "")
	for name, body := range map[string]string{
		"the newest only":    list(2, func(i int) int64 { return start + int64(i) }),
		"all of one time":    list(1, func(int) int64 { return start - 10_000 }),
		"a trade without id": "[" + strings.ReplaceAll(tradeTold(2, start, ""), `"tid":2`, `"tid":"x"`) + "]",
	} {
		w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: body, Next: 1}, exchange.Fault{Kind: exchange.BodyBefore, Body: "[" + last + "]", Skip: 1})
		if fills, _, err := w.venue.Fills(t.Context(), cursor); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: %d fills, %v", name, len(fills), err)
		}
	}
}

func TestCursorOfAnother(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	for _, wrong := range []string{"17", "null", "x"} {
		if _, _, err := w.venue.Fills(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "cursor") {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
}
