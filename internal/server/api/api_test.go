package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// everyPage are requests that read each list in each way.
var everyPage = []string{
	"/api/v1/orders", "/api/v1/orders?state=Open", "/api/v1/orders?state=Cancelled&pair=btc%2Fusd", "/api/v1/orders?pair=ETH-USD",
	"/api/v1/orders/" + orderID.String(), "/api/v1/fills", "/api/v1/fills?order=" + orderID.String(), "/api/v1/fills?pair=eth_usd",
	"/api/v1/decisions", "/api/v1/decisions?pair=BTCUSD&limit=1", "/api/v1/equity", "/api/v1/equity?stepSeconds=86400",
	"/api/v1/equity?from=2018-03-05T12:30:00Z&to=2018-03-05T13:30:00%2B00:00",
}

// The ledger in memory and the one in PostgreSQL give the same answers.
func TestBothLedgersAnswerAlike(t *testing.T) {
	stored := inPostgres(t)
	one, two := handlerOf(inMemory(t), &gate{scope: keys.Read}), handlerOf(stored, &gate{scope: keys.Read})
	for _, target := range everyPage {
		first, memory := ask(t, one, http.MethodGet, target)
		next, postgres := ask(t, two, http.MethodGet, target)
		if diff := cmp.Diff(memory, postgres); diff != "" || first.StatusCode != http.StatusOK || next.StatusCode != http.StatusOK {
			t.Errorf("%s: %d and %d (-memory +PostgreSQL):\n%s", target, first.StatusCode, next.StatusCode, diff)
		}
	}
}

// What the API tells of a small history, to the last word.
func TestAnswers(t *testing.T) {
	handler := handlerOf(inMemory(t), &gate{scope: keys.Read})
	for target, want := range map[string]string{
		"/api/v1/effective": `{"generation":3,"values":[{"field":"trading","value":"Enabled","source":"Spec"}]}`,
		"/api/v1/status": `{"namespace":"desk","name":"eur-trend","trading":{"podUID":"pod","observedGeneration":3,"epoch":2,"reconciledEpoch":2,
			"state":"Enabled","reason":"Trading","loop":"IDLE","currency":"USD","equity":"10003.5","pnl":"3.5","decisions":2,"fills":1,"openOrders":0}}`,
		"/api/v1/positions": `{"currency":"USD","items":[{"pair":"BTC-USD","quantity":"0.5","averagePrice":"10000","lastPrice":"10013","cost":"5000",
			"value":"5006.5","unrealised":"6.5"}]}`,
		"/api/v1/orders": `{"items":[{"id":"1d17b155-4a17-5119-8099-392774789dae","pair":"BTC-USD","side":"Buy","quantity":"2","limit":"10100",
			"filled":"0.5","reduceOnly":false,"state":"Cancelled","reason":"Decision","ended":"Expired","venueOrderID":"v1","sequence":1,"leg":0,
			"decided":"2018-03-05T12:00:00Z","updated":"2018-03-05T12:03:00Z"}]}`,
		"/api/v1/orders?state=Open": `{"items":[]}`,
		"/api/v1/fills": `{"items":[{"tradeID":"t1","orderID":"1d17b155-4a17-5119-8099-392774789dae","pair":"BTC-USD","side":"Buy","quantity":"0.5",
			"price":"10000","value":"5000","fee":"3","feeCurrency":"USD","realised":"0","time":"2018-03-05T12:01:00Z"}]}`,
		"/api/v1/decisions?pair=btcusd": `{"items":[{"sequence":1,"time":"2018-03-05T12:00:00Z","pair":"BTC-USD","action":"Buy",
			"confidenceFraction":"0.8125","outcome":"Ordered","judge":"builtin/quorum","reasons":["One side convinces."],"arguments":[
			{"role":"Bull","model":"builtin/trend","confidenceFraction":"0.8125","reasons":["ADX is 31.0: 0.16 for."]},
			{"role":"Bear","model":"builtin/reversion","confidenceFraction":"0.2"}],"orders":["1d17b155-4a17-5119-8099-392774789dae"]}]}`,
		"/api/v1/equity?stepSeconds=7200": `{"items":[{"time":"2018-03-05T14:00:00Z","equity":"10003.5","peak":"10003.5","dayStart":"10000"},
			{"time":"2018-03-05T12:00:00Z","equity":"10000","peak":"10003.5","dayStart":"10000"}]}`,
	} {
		_, got := ask(t, handler, http.MethodGet, target)
		var wanted map[string]any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

func TestListsAreReadPageByPage(t *testing.T) {
	handler := handlerOf(inMemory(t), &gate{scope: keys.Read})
	var times []any
	target := "/api/v1/equity?limit=1"
	for range 3 {
		_, page := ask(t, handler, http.MethodGet, target)
		for _, item := range page["items"].([]any) {
			times = append(times, item.(map[string]any)["equity"])
		}
		next, more := page["next"]
		if !more {
			break
		}
		target = "/api/v1/equity?limit=1&cursor=" + next.(string)
	}
	if diff := cmp.Diff([]any{"10003.5", "9997", "10000"}, times); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
}

func TestPulseSaysWhatIsMissing(t *testing.T) {
	a := inMemory(t)
	handler := handlerOf(a, &gate{scope: keys.Read})
	_, body := ask(t, handler, http.MethodGet, "/api/v1/pulse?pair=BTC-USD")
	item := body["items"].([]any)[0].(map[string]any)
	frames := map[string]map[string]any{}
	for _, frame := range item["frames"].([]any) {
		frames[frame.(map[string]any)["frame"].(string)] = frame.(map[string]any)
	}
	if len(frames) != 4 || item["lastBarTime"] != "2018-03-06T13:00:00Z" {
		t.Fatalf("the pulse is %v", item)
	}
	quarter, hour, day := frames["15m"], frames["1h"], frames["1d"]
	for _, name := range []string{"rsi", "macd", "bollinger", "adx", "atr", "close", "time"} {
		if quarter[name] == nil {
			t.Errorf("after 100 bars of 15m there is no %s", name)
		}
		if day[name] != nil && name != "close" && name != "time" {
			t.Errorf("after one bar of 1d there is a %s: %v", name, day[name])
		}
	}
	if quarter["message"] != nil || quarter["barsNeeded"] != float64(indicator.Bars) {
		t.Errorf("the pulse of 15m says %v", quarter)
	}
	if hour["rsi"] == nil || hour["macd"] != nil || !strings.Contains(hour["message"].(string), "ADX (25 of 28 bars), MACD (25 of 34 bars)") {
		t.Errorf("after 25 bars of 1h the pulse says %v", hour)
	}
	// The other pair has no bar yet, and is told all the same.
	_, body = ask(t, handler, http.MethodGet, "/api/v1/pulse")
	if items := body["items"].([]any); len(items) != 2 || len(items[1].(map[string]any)["frames"].([]any)) != 0 {
		t.Errorf("the pulse of all pairs is %v", body)
	}
	if response, body := ask(t, handler, http.MethodGet, "/api/v1/pulse?pair=SOL-USD"); response.StatusCode != http.StatusNotFound || !strings.Contains(body["detail"].(string), "BTC-USD, ETH-USD") {
		t.Errorf("a pair of others: %d %v", response.StatusCode, body)
	}
}

// While the ledger is down, what does not need it still answers, and what does
// says so and when to come again.
func TestLedgerDown(t *testing.T) {
	stored := inPostgres(t)
	var lines []string
	log := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	handler := New(Options{Namespace: "desk", Name: "eur-trend", Agent: stored, Auth: &gate{scope: keys.Read}, Log: log})
	if err := database.Stop(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.StartAgain(); err != nil {
			t.Error(err)
		}
	})
	lists := []string{"/api/v1/orders", "/api/v1/orders/" + orderID.String(), "/api/v1/fills", "/api/v1/decisions", "/api/v1/equity"}
	for _, target := range lists {
		response, body := ask(t, handler, http.MethodGet, target)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || body["reason"] != v1alpha1.ReasonLedgerUnavailable {
			t.Errorf("%s: %d %v", target, response.StatusCode, body)
		}
	}
	for _, target := range []string{"/api/v1/status", "/api/v1/effective", "/api/v1/positions", "/api/v1/pulse", "/api/v1/openapi.json"} {
		if response, body := ask(t, handler, http.MethodGet, target); response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %v", target, response.StatusCode, body)
		}
	}
	if len(lines) != len(lists) {
		t.Errorf("%d lines in the log for %d failures", len(lines), len(lists))
	}
}

// Before there is a trader, the agent says why it cannot tell.
func TestBeforeTheBeginning(t *testing.T) {
	a := &agent{pulse: indicator.NewBoard(), status: v1alpha1.TradingStatus{
		PodUID: "pod", State: v1alpha1.TradingReduceOnly, Reason: v1alpha1.ReasonRecovering, Message: "the agent has started",
	}}
	handler := handlerOf(a, &gate{scope: keys.Trade})
	for target, method := range map[string]string{
		"/api/v1/effective": http.MethodGet, "/api/v1/positions": http.MethodGet, "/api/v1/orders": http.MethodGet, "/api/v1/pulse": http.MethodGet,
		"/api/v1/orders/" + orderID.String(): http.MethodGet, "/api/v1/positions/BTC-USD/close": http.MethodPost,
	} {
		response, body := ask(t, handler, method, target, "12345678")
		if response.StatusCode != http.StatusServiceUnavailable || body["reason"] != v1alpha1.ReasonRecovering || body["detail"] != "the agent has started" {
			t.Errorf("%s: %d %v", target, response.StatusCode, body)
		}
	}
	a.snapshot = &trader.Status{}
	if response, _ := ask(t, handler, http.MethodGet, "/api/v1/positions"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("positions that nobody knows yet: %d", response.StatusCode)
	}
	if response, _ := ask(t, handler, http.MethodGet, "/api/v1/status"); response.StatusCode != http.StatusOK {
		t.Errorf("the status: %d", response.StatusCode)
	}
}

func TestClose(t *testing.T) {
	const key = "8b0e6c1e-my-key"
	granted := trader.Closed{Orders: []uuid.UUID{orderID}, Remaining: 12}
	for name, test := range map[string]struct {
		target, key string
		scope       keys.Scope
		answer      trader.Closed
		err         error
		status      int
		reason      string
	}{
		"granted":              {"/api/v1/positions/btc%2Fusd/close", key, keys.Trade, granted, nil, http.StatusAccepted, ""},
		"by an admin":          {"/api/v1/positions/BTC-USD/close", key, keys.Admin, granted, nil, http.StatusAccepted, ""},
		"by a reader":          {"/api/v1/positions/BTC-USD/close", key, keys.Read, granted, nil, http.StatusForbidden, ""},
		"a pair of others":     {"/api/v1/positions/SOL-USD/close", key, keys.Trade, granted, nil, http.StatusNotFound, ""},
		"not a pair":           {"/api/v1/positions/BTC;USD/close", key, keys.Trade, granted, nil, http.StatusUnprocessableEntity, ""},
		"without a key":        {"/api/v1/positions/BTC-USD/close", "", keys.Trade, granted, nil, http.StatusUnprocessableEntity, ""},
		"with a short key":     {"/api/v1/positions/BTC-USD/close", "1", keys.Trade, granted, nil, http.StatusUnprocessableEntity, ""},
		"nothing held":         {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{Denied: []string{trader.ReasonNothingHeld}}, nil, http.StatusConflict, trader.ReasonNothingHeld},
		"halted":               {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{Denied: []string{string(risk.TradingHalted), "OrderRate"}}, nil, http.StatusConflict, string(risk.TradingHalted)},
		"the ledger is down":   {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{Denied: []string{trader.ReasonLedgerUnavailable}}, nil, http.StatusServiceUnavailable, trader.ReasonLedgerUnavailable},
		"another use of a key": {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{Known: true, Err: ledger.ErrConflict}, nil, http.StatusUnprocessableEntity, ""},
		"no answer in time":    {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{}, trader.ErrNotNow, http.StatusServiceUnavailable, v1alpha1.ReasonTrading},
		"something unforeseen": {"/api/v1/positions/BTC-USD/close", key, keys.Trade, trader.Closed{}, errors.New(key), http.StatusInternalServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := inMemory(t)
			a.answer, a.err = test.answer, test.err
			door := &gate{scope: test.scope}
			response, body := ask(t, handlerOf(a, door), http.MethodPost, test.target, test.key)
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			if reason, _ := body["reason"].(string); response.StatusCode != test.status || reason != test.reason || strings.Contains(string(text), key) {
				t.Errorf("%d %s", response.StatusCode, text)
			}
			if (response.Header.Get("Retry-After") != "") != (test.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After is %q", response.Header.Get("Retry-After"))
			}
			if response.StatusCode == http.StatusAccepted {
				want := ledger.Request{Key: ledger.RequestKey(key), Pair: "BTC-USD"}
				if len(a.asked) != 1 || a.asked[0] != want || body["remaining"] != "0.0012" || response.Header.Get("Location") != "/api/v1/orders/"+orderID.String() {
					t.Errorf("asked %v, answered %s with %v", a.asked, text, response.Header)
				}
				if len(door.uses) != 2 {
					t.Errorf("the record has %v", door.uses)
				}
			}
		})
	}
}

// A body would be ignored, and could have been meant: a quantity, say.
func TestNoRouteTakesABody(t *testing.T) {
	a := inMemory(t)
	handler := handlerOf(a, &gate{scope: keys.Trade})
	for _, length := range []int64{int64(len(`{"quantity":"0.1"}`)), -1} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/positions/BTC-USD/close", strings.NewReader(`{"quantity":"0.1"}`))
		request.ContentLength = length
		request.Header.Set("Idempotency-Key", "12345678")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusUnprocessableEntity || len(a.asked) != 0 {
			t.Errorf("a body of length %d: %d %s", length, recorder.Code, recorder.Body)
		}
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	handler := handlerOf(inMemory(t), &gate{scope: keys.Admin})
	for _, test := range []struct {
		method, target, allow string
		status                int
	}{
		{http.MethodGet, "/api/v1/nonsense", "", http.StatusNotFound},
		{http.MethodGet, "/api/v2/status", "", http.StatusNotFound},
		{http.MethodDelete, "/api/v1/orders", "GET, HEAD", http.StatusMethodNotAllowed},
		{http.MethodGet, "/api/v1/positions/BTC-USD/close", "POST", http.StatusMethodNotAllowed},
		{http.MethodPut, "/api/v1/openapi.json", "GET, HEAD", http.StatusMethodNotAllowed},
		{http.MethodPatch, "/api/v1/effective", "GET, HEAD", http.StatusMethodNotAllowed},
	} {
		response, body := ask(t, handler, test.method, test.target)
		if response.StatusCode != test.status || response.Header.Get("Allow") != test.allow || body["status"] != float64(test.status) {
			t.Errorf("%s %s: %d, Allow %q", test.method, test.target, response.StatusCode, response.Header.Get("Allow"))
		}
	}
}

// What a client gets wrong is named, and nothing that it sent is repeated.
func TestWrongRequests(t *testing.T) {
	const canary = "ta_canary_c2VjcmV0"
	handler := handlerOf(inMemory(t), &gate{scope: keys.Read})
	for target, location := range map[string]string{
		"/api/v1/orders?limit=0":              "query.limit",
		"/api/v1/orders?limit=501":            "query.limit",
		"/api/v1/orders?limit=" + canary:      "query.limit",
		"/api/v1/orders?state=" + canary:      "query.state",
		"/api/v1/orders?limt=5":               "query",
		"/api/v1/orders?" + canary + "=1":     "query",
		"/api/v1/orders?cursor=" + canary:     "query.cursor",
		"/api/v1/orders?pair=BTC%E2%82%ACUSD": "query.pair",
		"/api/v1/orders/" + canary:            "path.id",
		"/api/v1/fills?order=" + canary:       "query.order",
		"/api/v1/equity?from=" + canary:       "query.from",
		"/api/v1/equity?stepSeconds=1e3":      "query.stepSeconds",
		"/api/v1/pulse?pair=x":                "query.pair",
	} {
		response, body := ask(t, handler, http.MethodGet, target)
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		faults, _ := body["errors"].([]any)
		elsewhere := func(fault any) bool { return fault.(map[string]any)["location"] != location }
		if response.StatusCode != http.StatusUnprocessableEntity || len(faults) == 0 || slices.ContainsFunc(faults, elsewhere) {
			t.Errorf("%s: %d %s", target, response.StatusCode, text)
		}
		if strings.Contains(string(text), canary) {
			t.Errorf("%s: the answer repeats what came: %s", target, text)
		}
	}
}

func TestNobodyWithoutAKey(t *testing.T) {
	a := inMemory(t)
	handler := handlerOf(a, &gate{err: keys.ErrUnauthenticated})
	for path, methods := range methodsByPath(register(http.NewServeMux(), Options{})) {
		if path == "/api/v1/stream" || path == "/api/v1/tickets" {
			continue
		}
		for _, method := range methods {
			if method == http.MethodHead {
				continue
			}
			target := strings.NewReplacer("{pair}", "BTC-USD", "{id}", orderID.String()).Replace(path)
			response, _ := ask(t, handler, method, target, "12345678")
			if response.StatusCode != http.StatusUnauthorized || response.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s without a key: %d", method, target, response.StatusCode)
			}
		}
	}
	if len(a.asked) != 0 {
		t.Error("a stranger was heard")
	}
}

// A reader that fails in a way that nobody has foreseen is the ledger's failure
// too, and its words are for the log.
type brokenReader struct{ ledger.Reader }

func (brokenReader) Orders(context.Context, ledger.OrderQuery) (ledger.Page[ledger.OrderRecord], error) {
	return ledger.Page[ledger.OrderRecord]{}, errors.New("relation trading.intents does not exist")
}

func TestUnforeseenFailures(t *testing.T) {
	a := inMemory(t)
	a.records = brokenReader{}
	handler := New(Options{Agent: a, Auth: &gate{scope: keys.Read}, Log: logr.Discard()})
	response, body := ask(t, handler, http.MethodGet, "/api/v1/orders")
	if text, err := json.Marshal(body); err != nil || response.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(text), "relation") {
		t.Errorf("%d %s", response.StatusCode, text)
	}
}
