package alpaca_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

type world struct {
	exchange   *exchange.Exchange
	handler    http.Handler
	id, secret string
	key        exchange.Key
}

func newWorld() *world {
	w := &world{exchange: exchange.New(alpaca.Options())}
	w.id, w.secret, w.key = alpaca.NewKey(nil)
	w.exchange.PutKey(w.key)
	w.handler = w.exchange.Handler(alpaca.New(w.exchange))
	return w
}

func (w *world) ask(t *testing.T, path string, change func(http.Header), into any) int {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://paper-api.alpaca.markets"+path, nil)
	request.Header.Set("APCA-API-KEY-ID", w.id)
	request.Header.Set("APCA-API-SECRET-KEY", w.secret)
	if change != nil {
		change(request.Header)
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, request)
	if into != nil {
		if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v", answer.Body, err)
		}
	}
	return answer.Code
}

func TestKeys(t *testing.T) {
	w := newWorld()
	for what, test := range map[string]struct {
		change func(http.Header)
		want   int
	}{
		"good":           {nil, http.StatusOK},
		"another id":     {func(h http.Header) { h.Set("APCA-API-KEY-ID", "PKOTHER") }, http.StatusUnauthorized},
		"another secret": {func(h http.Header) { h.Set("APCA-API-SECRET-KEY", "x") }, http.StatusUnauthorized},
		"nothing":        {func(h http.Header) { clear(h) }, http.StatusUnauthorized},
		"another host":   {func(h http.Header) { h.Set("X-Forwarded-Host", alpaca.Hosts["Production"]) }, http.StatusUnauthorized},
	} {
		if got := w.ask(t, "/v2/account", test.change, nil); got != test.want {
			t.Errorf("%s: got %d, want %d", what, got, test.want)
		}
	}
}

// Pages of activities meet without a gap, in either direction, and tell how far an
// order was filled.
func TestPages(t *testing.T) {
	w := newWorld()
	w.exchange.PutProduct(exchange.Product{Symbol: "BTC/USD", Base: "BTC", Quote: "USD", Tick: decimal.New(1, -2), Lot: decimal.New(1, -8)})
	w.exchange.SetBalance(w.key.Account, "USD", decimal.NewFromInt(1_000_000))
	placed, _, err := w.exchange.Place(t.Context(), exchange.Placement{
		Account: w.key.Account, ClientID: "one", Symbol: "BTC/USD", Side: exchange.Buy, Quantity: decimal.NewFromInt(7), Limit: decimal.NewFromInt(100),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 7 {
		if err := w.exchange.Fill(placed.ID, decimal.NewFromInt(1), decimal.NewFromInt(100)); err != nil {
			t.Fatal(err)
		}
		w.exchange.Advance(time.Second)
	}
	for _, direction := range []string{"asc", "desc"} {
		var got []string
		for token := ""; ; {
			var page []struct {
				ID         string `json:"id"`
				Cumulative string `json:"cum_qty"`
			}
			if status := w.ask(t, "/v2/account/activities/FILL?page_size=3&direction="+direction+"&page_token="+token, nil, &page); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			for _, activity := range page {
				got = append(got, activity.Cumulative)
				token = activity.ID
			}
			if len(page) < 3 {
				break
			}
		}
		want := `["1","2","3","4","5","6","7"]`
		if direction == "desc" {
			want = `["7","6","5","4","3","2","1"]`
		}
		if text, err := json.Marshal(got); err != nil || string(text) != want {
			t.Errorf("%s: got %s, want %s", direction, text, want)
		}
	}
	if status := w.ask(t, "/v2/account/activities/FILL?page_token=20260101000000000::x", nil, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("a token of another: status %d", status)
	}
}
