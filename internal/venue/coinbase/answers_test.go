package coinbase_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	simulated "github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// answering is a Coinbase that says one thing to whatever it is asked.
type answering func(*http.Request) (status int, body string)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func always(status int, body string) answering {
	return func(*http.Request) (int, string) { return status, body }
}

// trusting is a guard that lets everything leave.
type trusting struct{}

func (trusting) Leaves(uuid.UUID, []byte) (venue.Exit, error) { return venuetest.Exit, nil }

// told is an account whose exchange answers as it is told to.
func told(t *testing.T, transport http.RoundTripper) *coinbase.Venue {
	t.Helper()
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	instrument, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -8), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	account, err := coinbase.New(coinbase.Options{
		Environment: production, Instruments: []market.Instrument{instrument}, Credentials: credentials, Transport: transport, Guard: trusting{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// purchase is a placement that may leave.
func purchase(t *testing.T, account *coinbase.Venue) venue.Request {
	t.Helper()
	intent := order.Intent{ID: order.NewID("account", "agent", 1, 0, 0), Pair: "BTC-USD", Side: order.Buy, Quantity: 1_000_000, Limit: 50_000_00, NotAfter: time.Now().Add(5 * time.Second)}
	frozen, err := account.Freeze(intent, intent.NotAfter)
	if err != nil {
		t.Fatal(err)
	}
	intent.Frozen = string(frozen)
	return venue.RequestOf(intent)
}

// These bytes are in ledgers: they must not come out differently for an order
// that is on its way.
func TestFrozenBytes(t *testing.T) {
	const want = `{"client_order_id":"1d17b155-4a17-5119-8099-392774789dae","product_id":"BTC-USD","side":"BUY","order_configuration":{"limit_limit_gtc":{"base_size":"0.01","limit_price":"50000","post_only":false}}}`
	if got := string(purchase(t, told(t, always(200, ""))).Body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Only a word that Coinbase is known to use for a no is one.
func TestPlacementAnswers(t *testing.T) {
	const accepted = `{"success":true,"success_response":{"order_id":"o-1","product_id":"BTC-USD","side":"BUY","client_order_id":"1d17b155-4a17-5119-8099-392774789dae"}}`
	// An id that was used before is answered with the order that it was used for.
	withTerms := func(limit string) string {
		return strings.TrimSuffix(accepted, "}") + `,"order_configuration":{"limit_limit_gtc":{` + limit + `}}}`
	}
	for _, test := range []struct {
		status int
		body   string
		code   string
		known  bool
	}{
		{200, accepted, "", true},
		{200, strings.Replace(accepted, "o-1", "../o", 1), "", false},
		{200, strings.Replace(accepted, "o-1", "", 1), "", false},
		{200, strings.Replace(accepted, "BUY", "SELL", 1), "", false},
		{200, strings.Replace(accepted, "BTC-USD", "ETH-USD", 1), "", false},
		{200, strings.Replace(accepted, "1d17", "2d17", 1), "", false},
		{200, withTerms(`"base_size":"0.01","limit_price":"50000","post_only":false`), "", true},
		{200, withTerms(`"base_size":"0.01000000","limit_price":"50000.00"`), "", true},
		{200, withTerms(``), "", true},
		{200, withTerms(`"base_size":"0.02","limit_price":"50000"`), "", false},
		{200, withTerms(`"base_size":"0.01","limit_price":"50001"`), "", false},
		{200, withTerms(`"base_size":"0.01","limit_price":"50000","post_only":true`), "", false},
		{200, withTerms(`"base_size":"all of it","limit_price":"50000"`), "", false},
		{200, strings.TrimSuffix(accepted, "}") + `,"order_configuration":{}}`, "", true},
		{200, `{"success":true}`, "", false},
		{200, `{"success_response":{}}`, "", false},
		{200, `[]`, "", false},
		{200, `{"success":false,"error_response":{"error":"INSUFFICIENT_FUND"}}`, "INSUFFICIENT_FUND", true},
		{200, `{"success":false,"failure_reason":"UNKNOWN_FAILURE_REASON","error_response":{"error":"INVALID_LIMIT_PRICE_POST_ONLY"}}`, "INVALID_LIMIT_PRICE_POST_ONLY", true},
		{200, `{"success":false,"error_response":{"error":"UNKNOWN_FAILURE_REASON","preview_failure_reason":"PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"}}`, "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL", true},
		{200, `{"success":false,"failure_reason":"UNKNOWN_FAILURE_REASON","error_response":{"error":"UNKNOWN_FAILURE_REASON"}}`, "", false},
		{200, `{"success":false,"error_response":{"error":"A_NEW_WORD"}}`, "", false},
		{200, `{"success":false}`, "", false},
		{400, `{"error":"INVALID_ARGUMENT"}`, "INVALID_ARGUMENT", true},
		{400, `{"error":"UNKNOWN"}`, "", false},
		{401, "Unauthorized\n", "Unauthorized", true},
		{401, "<html>Unauthorized</html>", "", false},
		{403, `{"error":"PERMISSION_DENIED"}`, "PERMISSION_DENIED", true},
		{403, `<html></html>`, "", false},
		{429, `{"error":"RESOURCE_EXHAUSTED"}`, "RESOURCE_EXHAUSTED", true},
		{500, `{"error":"INVALID_ARGUMENT"}`, "", false},
		{503, `{"success":false,"error_response":{"error":"INSUFFICIENT_FUND"}}`, "", false},
		{302, accepted, "", false},
	} {
		account := told(t, always(test.status, test.body))
		placed, err := account.Place(t.Context(), purchase(t, account))
		refusal, refused := errors.AsType[*venue.RejectedError](err)
		switch {
		case !test.known && !errors.Is(err, venue.ErrUnknownOutcome):
			t.Errorf("%d %s: got %+v, %v, want an unknown outcome", test.status, test.body, placed, err)
		case test.known && test.code != "" && (!refused || refusal.Code != test.code || refusal.Message == ""):
			t.Errorf("%d %s: got %v, want it refused as %s", test.status, test.body, err, test.code)
		case test.known && test.code == "" && (err != nil || placed.VenueOrderID != "o-1" || placed.State != order.Acked):
			t.Errorf("%d %s: got %+v, %v, want it accepted", test.status, test.body, placed, err)
		}
	}
}

// A pair's lot may be coarser than Coinbase's: the parts come to the whole, and
// never to more.
func TestFillsFinerThanALot(t *testing.T) {
	h := harness(t, trusting{})
	h.Exchange.PutProduct(exchange.Product{
		Symbol: "BTC-USD", Base: "BTC", Quote: "USD", Tick: decimal.New(1, -2), Lot: decimal.New(1, -10), MinNotional: decimal.NewFromInt(1),
	})
	intent := order.Intent{ID: order.NewID("account", "agent", 1, 0, 0), Pair: "BTC-USD", Side: order.Buy, Quantity: 10_000_000, Limit: 49_000_00, NotAfter: h.Exchange.Time().Add(5 * time.Second)}
	frozen, err := h.Venue.Freeze(intent, intent.NotAfter)
	if err != nil {
		t.Fatal(err)
	}
	intent.Frozen = string(frozen)
	placed, err := h.Venue.Place(t.Context(), venue.RequestOf(intent))
	if err != nil {
		t.Fatal(err)
	}
	ref := venue.Ref{ID: intent.ID, VenueOrderID: placed.VenueOrderID, Pair: intent.Pair}
	var lots market.Quantity
	cursor := ""
	for _, step := range []struct {
		size  string
		fills int
		total market.Quantity
	}{{"0.0123456789", 1, 1_234_567}, {"0.000000001", 0, 1_234_567}, {"0.0000000001", 1, 1_234_568}, {"0.01", 1, 2_234_568}, {"0.07765432", 1, 10_000_000}} {
		h.Exchange.Advance(time.Second)
		if err := h.Exchange.Fill(placed.VenueOrderID, decimal.RequireFromString(step.size), decimal.NewFromInt(49_000)); err != nil {
			t.Fatal(err)
		}
		fills, next, err := h.Venue.Fills(t.Context(), cursor)
		if err != nil || len(fills) != step.fills {
			t.Fatalf("after %s: got %+v, %v", step.size, fills, err)
		}
		for _, fill := range fills {
			lots += fill.Quantity
		}
		cursor = next
		found, err := h.Venue.Lookup(t.Context(), ref)
		if err != nil || lots != step.total || found.Filled != step.total {
			t.Errorf("after %s: the fills come to %d and the order tells %+v, %v, want %d", step.size, lots, found, err, step.total)
		}
	}
}

const fillOf = `{"trade_id":"t-1","order_id":"o-1","trade_time":"2026-03-02T12:00:00.5Z","trade_type":"FILL","price":"50000.01","size":"0.01",` +
	`"commission":"0.0012345678901","product_id":"BTC-USD","sequence_timestamp":"2026-03-02T12:00:00.6Z","size_in_quote":false,"side":"SELL"}`

const orderOf = `{"order_id":"o-1","client_order_id":"1d17b155-4a17-5119-8099-392774789dae","product_id":"BTC-USD","side":"SELL","status":"FILLED","filled_size":"0.01"}`

// filled answers with one fill and its order.
func filled(fill, o string) answering {
	return func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/fills") {
			return 200, `{"fills":[` + fill + `],"cursor":""}`
		}
		return 200, `{"orders":[` + o + `],"has_next":false,"cursor":""}`
	}
}

func TestReadsFills(t *testing.T) {
	want := order.Fill{
		Venue: "Coinbase", TradeID: "t-1", OrderID: order.NewID("account", "agent", 1, 0, 0), Pair: "BTC-USD", Side: order.Sell, Quantity: 1_000_000, Price: 50_000_01,
		Fee: 123_457, FeeCurrency: "USD", MarketTime: time.Date(2026, 3, 2, 12, 0, 0, 500_000_000, time.UTC),
	}
	fills, _, err := told(t, filled(fillOf, orderOf)).Fills(t.Context(), "")
	if err != nil || len(fills) != 1 || fills[0] != want {
		t.Errorf("got %+v, %v, want %+v", fills, err, want)
	}
	byValue := strings.NewReplacer(`"size":"0.01"`, `"size":"500.0001"`, `"size_in_quote":false`, `"size_in_quote":true`).Replace(fillOf)
	if fills, _, err := told(t, filled(byValue, orderOf)).Fills(t.Context(), ""); err != nil || len(fills) != 1 || fills[0].Quantity != 1_000_000 {
		t.Errorf("a fill by value: got %+v, %v", fills, err)
	}
	rebate := strings.Replace(fillOf, `"0.0012345678901"`, `"-0.0012345678901"`, 1)
	if fills, _, err := told(t, filled(rebate, orderOf)).Fills(t.Context(), ""); err != nil || len(fills) != 1 || fills[0].Fee != -123_456 {
		t.Errorf("a rebate: got %+v, %v", fills, err)
	}
	// By the exact price, and not by the tick below it, 0.01 were sold.
	between := strings.NewReplacer(`"50000.01"`, `"50000.019"`, `"size":"0.01"`, `"size":"500.00019"`, `"size_in_quote":false`, `"size_in_quote":true`).Replace(fillOf)
	if fills, _, err := told(t, filled(between, orderOf)).Fills(t.Context(), ""); err != nil || len(fills) != 1 || fills[0] != want {
		t.Errorf("a fill by value between two ticks: got %+v, %v", fills, err)
	}
	for name, edit := range map[string][2]string{
		"a reversal":            {`"FILL"`, `"REVERSAL"`},
		"no trade id":           {`"t-1"`, `""`},
		"an id of another form": {`"t-1"`, `"t,1@2"`},
		"another pair":          {`"BTC-USD"`, `"ETH-USD"`},
		"less than a tick":      {`"50000.01"`, `"0.009"`},
		"no price":              {`"price":"50000.01",`, ``},
		"no size":               {`"0.01"`, `"0"`},
		"a fee of no number":    {`"0.0012345678901"`, `"--1"`},
		"no time":               {`"2026-03-02T12:00:00.6Z"`, `"yesterday"`},
		"no side":               {`"SELL"`, `""`},
		"what the size counts":  {`"size_in_quote":false,`, ``},
	} {
		edited := strings.Replace(fillOf, edit[0], edit[1], 1)
		if edited == fillOf {
			t.Fatalf("%s: nothing is edited", name)
		}
		if fills, _, err := told(t, filled(edited, orderOf)).Fills(t.Context(), ""); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, fills, err)
		}
	}
	unlisted := strings.Replace(orderOf, "o-1", "o-2", 1)
	if _, _, err := told(t, filled(fillOf, unlisted)).Fills(t.Context(), ""); !errors.Is(err, venue.ErrMalformed) {
		t.Errorf("a fill whose order is not listed: got %v", err)
	}
	for _, cursor := range []string{"x", "{}", "null", "[]", "since:never"} {
		if _, _, err := told(t, filled(fillOf, orderOf)).Fills(t.Context(), cursor); err == nil {
			t.Errorf("the cursor %q is taken", cursor)
		}
	}
}

// An order on its way into the book, or out of it, is open. Coinbase takes no
// other status beside OPEN in one question.
func TestOpenOrdersInEveryState(t *testing.T) {
	account := told(t, answering(func(r *http.Request) (int, string) {
		states := r.URL.Query()["order_status"]
		if slices.Contains(states, "OPEN") && len(states) > 1 {
			return 400, `{"error":"INVALID_ARGUMENT"}`
		}
		var orders []string
		for _, state := range states {
			orders = append(orders, strings.NewReplacer("o-1", "o-"+state, "FILLED", state).Replace(orderOf))
		}
		return 200, `{"orders":[` + strings.Join(orders, ",") + `],"has_next":false}`
	}))
	open, err := account.Open(t.Context())
	if err != nil || len(open) != 5 {
		t.Errorf("got %+v, %v", open, err)
	}
	for _, o := range open {
		if o.State != order.Acked {
			t.Errorf("an order is %+v", o)
		}
	}
}

// A cancellation that is refused has only happened if the order has ended.
func TestRefusedCancellation(t *testing.T) {
	for status, cancelled := range map[string]bool{"OPEN": false, "CANCEL_QUEUED": false, "FILLED": true, "CANCELLED": true} {
		account := told(t, answering(func(r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/batch_cancel") {
				return 200, `{"results":[{"success":false,"failure_reason":"INVALID_CANCEL_REQUEST","order_id":"o-1"}]}`
			}
			return 200, `{"order":` + strings.Replace(orderOf, "FILLED", status, 1) + `}`
		}))
		err := account.Cancel(t.Context(), venue.Ref{ID: order.NewID("account", "agent", 1, 0, 0), VenueOrderID: "o-1", Pair: "BTC-USD"})
		if (err == nil) != cancelled || errors.Is(err, venue.ErrNotFound) {
			t.Errorf("of an order that is %s: got %v", status, err)
		}
	}
}

// A list that does not end is broken, and is not read for ever.
func TestListsThatDoNotEnd(t *testing.T) {
	for name, body := range map[string]string{
		"the same page again":    `{"orders":[],"fills":[],"has_next":true,"cursor":"1"}`,
		"no place to go on from": `{"orders":[],"fills":[],"has_next":true,"cursor":""}`,
	} {
		if _, err := told(t, always(200, body)).Open(t.Context()); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzAnswers lets Coinbase say anything. What cannot be understood is an error:
// it neither accepts nor refuses an order, and none is missing because of it.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", orderOf, fillOf, `{"order":` + orderOf + `}`, `{"orders":[` + orderOf + `],"has_next":false}`,
		`{"fills":[` + fillOf + `],"cursor":""}`, `{"orders":[` + orderOf + `],"fills":[` + fillOf + `],"has_next":false,"cursor":""}`,
		`{"accounts":[{"currency":"BTC","available_balance":{"value":"1.5","currency":"BTC"},"hold":{"value":"0","currency":"BTC"}}],"has_next":false}`,
		`{"success":true,"success_response":{"order_id":"o-1","product_id":"BTC-USD","side":"BUY","client_order_id":"1d17b155-4a17-5119-8099-392774789dae"}}`,
		`{"success":false,"error_response":{"error":"INSUFFICIENT_FUND"}}`, `{"results":[{"success":true,"failure_reason":"","order_id":"o-1"}]}`,
		`{"can_view":true,"can_trade":true,"can_transfer":false,"portfolio_uuid":"12345678","portfolio_type":"DEFAULT"}`, listing,
	} {
		f.Add(200, []byte(body))
		f.Add(404, []byte(body))
	}
	f.Add(404, []byte(`{"error":"NOT_FOUND"}`))
	f.Add(429, []byte(`{"error":"RESOURCE_EXHAUSTED"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		account := told(t, always(status, string(body)))
		request := purchase(t, account)
		ctx := t.Context()
		placed, err := account.Place(ctx, request)
		_, refused := errors.AsType[*venue.RejectedError](err)
		if err == nil && (placed.ID != request.Intent.ID || status != http.StatusOK) || err != nil && !refused && !errors.Is(err, venue.ErrUnknownOutcome) {
			t.Errorf("placing: %+v, %v", placed, err)
		}
		ref := venue.Ref{ID: request.Intent.ID, Pair: "BTC-USD"}
		if found, err := account.Lookup(ctx, ref); err == nil && found.ID != ref.ID || errors.Is(err, venue.ErrNotFound) && status != http.StatusOK {
			t.Errorf("looking up: %+v, %v", found, err)
		}
		ref.VenueOrderID = "o-1"
		if found, err := account.Lookup(ctx, ref); err == nil && (found.ID != ref.ID || found.VenueOrderID != "o-1") || errors.Is(err, venue.ErrNotFound) && status != http.StatusNotFound {
			t.Errorf("looking up by Coinbase's id: %+v, %v", found, err)
		}
		if err := account.Cancel(ctx, ref); err == nil && !bytes.Contains(bytes.ToLower(body), []byte("success")) {
			t.Errorf("it counts as cancelled")
		}
		if fills, cursor, err := account.Fills(ctx, ""); err == nil {
			for _, fill := range fills {
				if fill.Quantity <= 0 || fill.Price <= 0 || fill.TradeID == "" || fill.Pair != "BTC-USD" {
					t.Errorf("a fill is %+v", fill)
				}
			}
			if more, _, err := account.Fills(ctx, cursor); err != nil || len(more) > 0 {
				t.Errorf("behind its own cursor come %+v, %v", more, err)
			}
		}
		if balances, err := account.Balances(ctx); err == nil {
			for _, balance := range balances {
				if balance.Available.IsNegative() || balance.Total.LessThan(balance.Available) {
					t.Errorf("a balance is %+v", balance)
				}
			}
		}
	})
}

// A placement that is on its way when its token ends is not accepted.
func TestTokenEnds(t *testing.T) {
	behind := exchange.New(simulated.Options())
	server := httptest.NewServer(behind.Handler(simulated.New(behind)))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	credentials, key := newKey(t, behind, nil)
	venuetest.Furnish(behind, key.Account, "BTC-USD", "ETH-USD")
	for held, want := range map[time.Duration]int{5 * time.Second: 1, 12 * time.Second: 0} {
		account, err := coinbase.New(coinbase.Options{
			Environment: production, Instruments: []market.Instrument{venuetest.Instrument(t)}, Credentials: credentials, Gateway: server.URL, Now: behind.Time, Guard: trusting{},
		})
		if err != nil {
			t.Fatal(err)
		}
		fail(t, behind, exchange.Fault{Kind: exchange.DelayArrival, Endpoint: exchange.EndpointPlace, Delay: exchange.Duration(held)})
		before := len(behind.Book().Orders)
		request := purchase(t, account)
		request.NotAfter = behind.Time().Add(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		ended := make(chan error, 1)
		go func() {
			_, err := account.Place(ctx, request)
			ended <- err
		}()
		for behind.Waiting() == 0 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		behind.Advance(held)
		if err := <-ended; (err == nil) != (want == 1) {
			t.Errorf("held up for %s: got %v", held, err)
		}
		cancel()
		if got := len(behind.Book().Orders) - before; got != want {
			t.Errorf("held up for %s: %d orders were accepted, want %d", held, got, want)
		}
		account.Close()
	}
}
