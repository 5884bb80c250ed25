package alpaca_test

import (
	"errors"
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

// intent is an order that rests in the book.
func (w *world) intent(t *testing.T) order.Intent {
	t.Helper()
	intent := order.Intent{
		ID: order.NewID("account", "agent", 1, 0, 0), Pair: "BTC-USD", Side: order.Buy, Quantity: 10_000_000, Limit: 4_000_000,
		NotAfter: w.exchange.Time().Add(5 * time.Second),
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

// The frozen request is what Alpaca's manual asks for, to the byte.
func TestFreeze(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	want := `{"symbol":"BTC/USD","qty":"0.1","side":"buy","type":"limit","time_in_force":"gtc","limit_price":"40000","client_order_id":"` +
		order.NewID("account", "agent", 1, 0, 0).String() + `"}`
	if got := w.intent(t).Frozen; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, edit := range map[string]func(*order.Intent){
		"quantity": func(i *order.Intent) { i.Quantity = 0 }, "limit": func(i *order.Intent) { i.Limit = -1 }, "side": func(i *order.Intent) { i.Side = 0 },
	} {
		intent := w.intent(t)
		edit(&intent)
		if body, err := w.venue.Freeze(intent, intent.NotAfter); err == nil {
			t.Errorf("an order without %s was frozen as %s", name, body)
		}
	}
}

// Only codes that say so are definitive; the code for a client id that was used
// before says that an order is there.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		status     int
		body       string
		definitive string
	}{
		{403, `{"code":40310000,"message":"insufficient balance for USD"}`, "40310000"},
		{422, `{"code":42210000,"message":"invalid qty"}`, "42210000"},
		{401, `{"code":40110000,"message":"request is not authorized"}`, "40110000"},
		{429, `{"code":42910000,"message":"rate limit exceeded"}`, "42910000"},
		{422, `{"code":40010001,"message":"client_order_id must be unique"}`, ""},
		{500, `{"code":50010000,"message":"internal server error"}`, ""},
		{403, `{"message":"forbidden."}`, ""},
		{422, "<html>", ""},
		{404, `{"code":40410000,"message":"not found"}`, ""},
	} {
		w := newWorld(t, nil, open{}, venuetest.Instrument(t))
		w.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: test.status, Body: test.body})
		_, err := w.venue.Place(t.Context(), venue.RequestOf(w.intent(t)))
		rejected, refused := errors.AsType[*venue.RejectedError](err)
		switch {
		case test.definitive != "" && (!refused || rejected.Code != test.definitive || rejected.Message == ""):
			t.Errorf("%d %s: got %v", test.status, test.body, err)
		case test.definitive == "" && (refused || !errors.Is(err, venue.ErrUnknownOutcome)):
			t.Errorf("%d %s: got %v", test.status, test.body, err)
		}
	}
}

// Alpaca refuses a repeat for ever, and that says nothing of the first: it is there.
func TestRepeat(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	intent := w.intent(t)
	placed, err := w.venue.Place(t.Context(), venue.RequestOf(intent))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.venue.Cancel(t.Context(), venue.Ref{ID: intent.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.adapter(t, open{}, venuetest.Instrument(t)).Place(t.Context(), venue.RequestOf(intent)); !errors.Is(err, venue.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: intent.ID})
	if err != nil || found.VenueOrderID != placed.VenueOrderID || found.State != order.Cancelled {
		t.Errorf("got %+v, %v", found, err)
	}
}

// An order that Alpaca takes back after it was accepted has ended without a fill.
func TestRejectedLater(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	intent := w.intent(t)
	if _, err := w.venue.Place(t.Context(), venue.RequestOf(intent)); err != nil {
		t.Fatal(err)
	}
	if err := w.exchange.End(w.exchange.Book().Orders[0].ID, exchange.Failed); err != nil {
		t.Fatal(err)
	}
	if found, err := w.venue.Lookup(t.Context(), venue.Ref{ID: intent.ID}); err != nil || found.State != order.Cancelled || found.Filled != 0 {
		t.Errorf("got %+v, %v", found, err)
	}
}

// Somebody else's 404 is not Alpaca's word that an order is not there.
func TestForeign404(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	for _, body := range []string{"404 page not found", `{"message":"not found"}`, `{"code":40410001}`} {
		w.fail(t, exchange.Fault{Kind: exchange.StatusBefore, Status: 404, Body: body})
		ref := venue.Ref{ID: order.NewID("account", "agent", 1, 0, 0)}
		if found, err := w.venue.Lookup(t.Context(), ref); err == nil || errors.Is(err, venue.ErrNotFound) {
			t.Errorf("%s: looking up: %+v, %v", body, found, err)
		}
		ref.VenueOrderID = "61e69015-8549-4bfd-b9c3-01e75843f47d"
		if err := w.venue.Cancel(t.Context(), ref); err == nil || errors.Is(err, venue.ErrNotFound) {
			t.Errorf("%s: cancelling: %v", body, err)
		}
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
			Account: w.key.Account, ClientID: "by hand " + listed, Symbol: listed, Side: exchange.Buy,
			Quantity: decimal.New(1, -2), Limit: decimal.NewFromInt(1_000),
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

// A lot that is coarser than Alpaca's own is filled bit by bit, and the books never
// hold more of it than the account.
func TestPartsOfLots(t *testing.T) {
	coarse, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -2), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil, open{}, coarse)
	id := order.NewID("account", "agent", 1, 0, 0)
	placed, _, err := w.exchange.Place(t.Context(), exchange.Placement{
		Account: w.key.Account, ClientID: id.String(), Symbol: symbol, Side: exchange.Buy, Quantity: decimal.New(3, -2), Limit: decimal.NewFromInt(40_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	cursor := ""
	for i, step := range []struct {
		part string
		lots market.Quantity
	}{{"0.004", 0}, {"0.0077", 1}, {"0.0103", 1}, {"0.008", 1}} {
		if err := w.exchange.Fill(placed.ID, decimal.RequireFromString(step.part), decimal.NewFromInt(40_000)); err != nil {
			t.Fatal(err)
		}
		fills, next, err := w.venue.Fills(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		got := market.Quantity(0)
		for _, fill := range fills {
			if fill.OrderID != id {
				t.Errorf("it is told as a fill of %s", fill.OrderID)
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

// What the books hold after any trades is never more than what the account does.
func TestFeesAreNeverTooSmall(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	before := w.exchange.Balances(w.key.Account)
	sequence := int64(0)
	for _, part := range []string{"0.1", "0.01234567", "0.00020003"} {
		for _, asked := range []struct {
			side  exchange.Side
			limit int64
		}{{exchange.Buy, 50_000}, {exchange.Buy, 49_000}, {exchange.Sell, 50_000}, {exchange.Sell, 51_000}} {
			sequence++
			w.exchange.SetPrice(symbol, decimal.NewFromInt(50_000))
			if _, _, err := w.exchange.Place(t.Context(), exchange.Placement{
				Account: w.key.Account, ClientID: order.NewID("account", "agent", sequence, 0, 0).String(), Symbol: symbol, Side: asked.side,
				Quantity: decimal.RequireFromString(part), Limit: decimal.NewFromInt(asked.limit),
			}); err != nil {
				t.Fatal(err)
			}
			// What rests is filled here, as a maker.
			w.exchange.SetPrice(symbol, decimal.NewFromInt(asked.limit))
		}
	}
	books := map[string]decimal.Decimal{"BTC": before["BTC"].Total, "USD": before["USD"].Total}
	instrument := venuetest.Instrument(t)
	fills, _, err := w.venue.Fills(t.Context(), "")
	if err != nil || len(fills) != 12 {
		t.Fatalf("%d fills, %v", len(fills), err)
	}
	for _, fill := range fills {
		signed := instrument.QuantityDecimal(fill.Quantity * market.Quantity(fill.Side))
		books["BTC"] = books["BTC"].Add(signed)
		books["USD"] = books["USD"].Sub(signed.Mul(instrument.PriceDecimal(fill.Price)))
		books[fill.FeeCurrency] = books[fill.FeeCurrency].Sub(fill.Fee.Decimal())
	}
	for currency, booked := range books {
		held := w.exchange.Balances(w.key.Account)[currency].Total
		if booked.GreaterThan(held) {
			t.Errorf("the books have %s %s, the account %s", booked, currency, held)
		}
		if off := held.Sub(booked); off.GreaterThan(held.Mul(decimal.New(1, -2))) {
			t.Errorf("the books have %s %s less than the account", off, currency)
		}
	}
}

// One call lists all that there is, page by page.
func TestManyFills(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	placed, _, err := w.exchange.Place(t.Context(), exchange.Placement{
		Account: w.key.Account, ClientID: "by hand", Symbol: symbol, Side: exchange.Buy, Quantity: decimal.NewFromInt(3), Limit: decimal.NewFromInt(40_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	const many = 250
	for range many {
		if err := w.exchange.Fill(placed.ID, decimal.New(1, -2), decimal.NewFromInt(40_000)); err != nil {
			t.Fatal(err)
		}
	}
	fills, _, err := w.venue.Fills(t.Context(), "")
	if err != nil || len(fills) != many || fills[0].OrderID != uuid.Nil {
		t.Errorf("%d fills, %v", len(fills), err)
	}
}

func TestCursorOfAnother(t *testing.T) {
	w := newWorld(t, nil, open{}, venuetest.Instrument(t))
	if _, _, err := w.venue.Fills(t.Context(), "17"); err == nil || !strings.Contains(err.Error(), "cursor") {
		t.Errorf("got %v", err)
	}
}
