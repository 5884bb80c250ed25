package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func number(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// furnished is an exchange where account a holds 1,000 USD and 10 BTC, which are
// worth 100 each.
func furnished(options exchange.Options) *exchange.Exchange {
	e := exchange.New(options)
	e.PutProduct(exchange.Product{Symbol: "BTC-USD", Base: "BTC", Quote: "USD", Tick: number("0.01"), Lot: number("0.001"), MinQuantity: number("0.002"), MinNotional: number("1")})
	e.SetBalance("a", "USD", number("1000"))
	e.SetBalance("a", "BTC", number("10"))
	e.SetPrice("BTC-USD", number("100"))
	return e
}

func buy(client, quantity, limit string) exchange.Placement {
	return exchange.Placement{Account: "a", ClientID: client, Symbol: "BTC-USD", Side: exchange.Buy, Quantity: number(quantity), Limit: number(limit)}
}

func place(t *testing.T, e *exchange.Exchange, p exchange.Placement) exchange.Order {
	t.Helper()
	o, _, err := e.Place(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestMatching(t *testing.T) {
	e := furnished(exchange.Options{TakerFee: number("0.01"), MakerFee: number("0.005")})
	if o := place(t, e, buy("taker", "1", "101")); o.Status != exchange.Filled || !o.Cost.Equal(number("100")) || !o.Fees.Equal(number("1")) {
		t.Errorf("an order above the price is %+v", o)
	}
	if o := place(t, e, buy("maker", "1", "99")); o.Status != exchange.Open || !o.Filled.IsZero() {
		t.Errorf("an order below the price is %+v", o)
	}
	if usd := e.Balances("a")["USD"]; !usd.Total.Equal(number("899")) || !usd.Held.Equal(number("99.99")) {
		t.Errorf("the account holds %+v", usd)
	}
	e.SetPrice("BTC-USD", number("98"))
	if o, _ := e.OrderByClientID("a", "maker"); o.Status != exchange.Filled || !o.Cost.Equal(number("99")) || !o.Fees.Equal(number("0.495")) {
		t.Errorf("a resting order that the price has passed is %+v", o)
	}
	sale := buy("sale", "2", "98")
	sale.Side = exchange.Sell
	if o := place(t, e, sale); o.Status != exchange.Filled || !o.Fees.Equal(number("1.96")) {
		t.Errorf("a sale is %+v", o)
	}
	if e.Balances("a")["USD"].Total.String() != "993.545" || !e.Balances("a")["BTC"].Total.Equal(number("10")) {
		t.Errorf("the account holds %+v", e.Balances("a"))
	}
	immediate := buy("immediate", "1", "90")
	immediate.Immediate = true
	if o := place(t, e, immediate); o.Status != exchange.Cancelled {
		t.Errorf("an immediate order that does not fill is %+v", o)
	}
	timed := buy("timed", "1", "90")
	timed.Expires = e.Clock().Add(time.Minute)
	place(t, e, timed)
	e.Advance(time.Minute)
	if o, _ := e.OrderByClientID("a", "timed"); o.Status != exchange.Expired {
		t.Errorf("an order whose time is over is %+v", o)
	}
}

func TestRefuses(t *testing.T) {
	e := furnished(exchange.Options{})
	for reason, edit := range map[exchange.Reason]func(*exchange.Placement){
		exchange.ReasonUnknownProduct: func(p *exchange.Placement) { p.Symbol = "ETH-USD" },
		exchange.ReasonPrice:          func(p *exchange.Placement) { p.Limit = number("99.001") },
		exchange.ReasonQuantity:       func(p *exchange.Placement) { p.Quantity = number("1.0001") },
		exchange.ReasonTooSmall:       func(p *exchange.Placement) { p.Quantity = number("0.001") },
		exchange.ReasonFunds:          func(p *exchange.Placement) { p.Quantity = number("10.2") },
		exchange.ReasonExpired:        func(p *exchange.Placement) { p.NotAfter = e.Clock().Add(-time.Second) },
	} {
		p := buy("id", "1", "99")
		edit(&p)
		_, _, err := e.Place(t.Context(), p)
		if refusal, ok := errors.AsType[*exchange.Refusal](err); !ok || refusal.Reason != reason {
			t.Errorf("got %v, want %q", err, reason)
		}
	}
	place(t, e, buy("first", "10", "99"))
	if _, _, err := e.Place(t.Context(), buy("second", "1", "99")); err == nil {
		t.Error("what is held by one order pays for another")
	}
	if len(e.Book().Orders) != 1 {
		t.Errorf("the book has %+v", e.Book().Orders)
	}
}

// Each class does with a repeat what its venues do.
func TestRepeats(t *testing.T) {
	for _, test := range []struct {
		repeat            exchange.Repeat
		whileOpen, closed int // orders in the book
		refusedOpen       bool
		refusedClosed     bool
	}{
		{exchange.RepeatReturns, 1, 1, false, false},
		{exchange.RepeatRefused, 1, 1, true, true},
		{exchange.RepeatRefusedWhileOpen, 1, 2, true, false},
		{exchange.RepeatAccepted, 2, 3, false, false},
	} {
		e := furnished(exchange.Options{Repeat: test.repeat})
		first := place(t, e, buy("id", "1", "99"))
		again, repeated, err := e.Place(t.Context(), buy("id", "1", "99"))
		if (err != nil) != test.refusedOpen || len(e.Book().Orders) != test.whileOpen || repeated != (test.repeat == exchange.RepeatReturns) || repeated && again.ID != first.ID {
			t.Errorf("%s, open: got %+v, %t, %v", test.repeat, again, repeated, err)
		}
		for _, o := range e.OpenOrders("a") {
			if _, err := e.Cancel(t.Context(), "a", o.ID); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err = e.Place(t.Context(), buy("id", "1", "99")); (err != nil) != test.refusedClosed || len(e.Book().Orders) != test.closed {
			t.Errorf("%s, closed: got %v, and the book has %d orders", test.repeat, err, len(e.Book().Orders))
		}
		other := buy("id", "1", "1")
		other.Account = "b"
		e.SetBalance("b", "USD", number("100"))
		if _, _, err := e.Place(t.Context(), other); err != nil {
			t.Errorf("%s: another account's id counts as a repeat: %v", test.repeat, err)
		}
	}
}

// Whatever happens, no money is made: what an account has is what it had, what its
// trades have moved and what they have cost; and what is held is there.
func TestMoneyIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := furnished(exchange.Options{
			TakerFee: number("0.003"), MakerFee: number("0.001"), FeeOnReceived: rapid.Bool().Draw(t, "fee on received"),
			Repeat: rapid.SampledFrom([]exchange.Repeat{exchange.RepeatReturns, exchange.RepeatRefused, exchange.RepeatRefusedWhileOpen, exchange.RepeatAccepted}).Draw(t, "repeat"),
		})
		e.Behave(exchange.Behaviour{PartialFill: decimal.New(rapid.Int64Range(0, 10).Draw(t, "partial"), -1), FillOnCancel: decimal.New(rapid.Int64Range(0, 10).Draw(t, "on cancel"), -1)})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				p := buy(rapid.SampledFrom([]string{"1", "2", "3", "4", ""}).Draw(t, "client"), "1", "1")
				p.Quantity, p.Limit = decimal.New(rapid.Int64Range(2, 3000).Draw(t, "quantity"), -3), decimal.New(rapid.Int64Range(9000, 11000).Draw(t, "limit"), -2)
				p.Side = rapid.SampledFrom([]exchange.Side{exchange.Buy, exchange.Sell}).Draw(t, "side")
				_, _, _ = e.Place(context.Background(), p) // refused or not
			case 2:
				e.SetPrice("BTC-USD", decimal.New(rapid.Int64Range(9000, 11000).Draw(t, "price"), -2))
			case 3:
				if open := e.OpenOrders("a"); len(open) > 0 {
					_, _ = e.Cancel(context.Background(), "a", open[0].ID) // refused if it fills
				}
			}
		}
		want := map[string]decimal.Decimal{"USD": number("1000"), "BTC": number("10")}
		filled := map[string]decimal.Decimal{}
		for _, trade := range e.Book().Trades {
			sign := decimal.NewFromInt(1)
			if trade.Side == exchange.Sell {
				sign = sign.Neg()
			}
			want["BTC"] = want["BTC"].Add(trade.Quantity.Mul(sign))
			want["USD"] = want["USD"].Sub(trade.Quantity.Mul(trade.Price).Mul(sign))
			want[trade.FeeCurrency] = want[trade.FeeCurrency].Sub(trade.Fee)
			filled[trade.OrderID] = filled[trade.OrderID].Add(trade.Quantity)
		}
		for currency, balance := range e.Balances("a") {
			if !balance.Total.Equal(want[currency]) || balance.Held.IsNegative() || balance.Held.GreaterThan(balance.Total) {
				t.Fatalf("%s: the account has %+v, and its trades come to %s", currency, balance, want[currency])
			}
		}
		for _, o := range e.Book().Orders {
			if !o.Filled.Equal(filled[o.ID]) || o.Filled.GreaterThan(o.Quantity) || (o.Status == exchange.Filled) != o.Remaining().IsZero() {
				t.Fatalf("the trades of %+v come to %s", o, filled[o.ID])
			}
		}
	})
}

func TestLags(t *testing.T) {
	e := furnished(exchange.Options{})
	e.Behave(exchange.Behaviour{OrderLag: exchange.Duration(time.Minute), TradeLag: exchange.Duration(2 * time.Minute)})
	o := place(t, e, buy("id", "1", "101"))
	shown := func() [2]int { return [2]int{len(e.Orders("a")), len(e.Trades("a"))} }
	if got := shown(); got != [2]int{0, 0} {
		t.Errorf("at once %v are shown", got)
	}
	if _, found := e.Order("a", o.ID); found {
		t.Error("the order is found at once")
	}
	e.Advance(time.Minute)
	if got := shown(); got != [2]int{1, 0} {
		t.Errorf("after a minute %v are shown", got)
	}
	e.Advance(time.Minute)
	if got := shown(); got != [2]int{1, 1} {
		t.Errorf("after two minutes %v are shown", got)
	}
	e.Withhold(e.Trades("a")[0].ID)
	if got := shown(); got != [2]int{1, 0} {
		t.Errorf("with a trade withheld %v are shown", got)
	}
	if book := e.Book(); len(book.Orders) != 1 || len(book.Trades) != 1 {
		t.Errorf("the book has %+v", book)
	}
}

// plain is a front that takes a quantity as the body of an order.
type plain struct{ e *exchange.Exchange }

func (p plain) Endpoint(r *http.Request) exchange.Endpoint {
	if r.Method == http.MethodPost {
		return exchange.EndpointPlace
	}
	return exchange.EndpointOrders
}

func (p plain) Fail(w http.ResponseWriter, status int) { http.Error(w, "in plain words", status) }

func (p plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		exchange.Say(w, http.StatusOK, p.e.Orders("a"))
		return
	}
	if _, _, err := p.e.Place(r.Context(), buy("", string(exchange.Body(r.Context())), "99")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	exchange.Say(w, http.StatusOK, "accepted, and it rests in the book")
}

// What each fault lets happen, and what the client sees of it.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		fault    exchange.Fault
		accepted int
		status   int // zero for a broken connection
		whole    bool
	}{
		{exchange.Fault{Kind: exchange.StatusBefore, Status: 502}, 0, 502, true},
		{exchange.Fault{Kind: exchange.StatusBefore}, 0, 503, true},
		{exchange.Fault{Kind: exchange.StatusAfter, Status: 500}, 1, 500, true},
		{exchange.Fault{Kind: exchange.ResetBefore}, 0, 0, false},
		{exchange.Fault{Kind: exchange.ResetRequest}, 0, 0, false},
		{exchange.Fault{Kind: exchange.ResetAfter}, 1, 0, false},
		{exchange.Fault{Kind: exchange.ResetAnswer}, 1, 200, false},
		{exchange.Fault{Kind: exchange.Truncate}, 1, 200, false},
		{exchange.Fault{Kind: exchange.BodyBefore, Body: "{authorization}"}, 0, 200, true},
		{exchange.Fault{Kind: exchange.BodyAfter, Body: "x"}, 1, 200, true},
		{exchange.Fault{Kind: exchange.DelayAnswer, Delay: exchange.Duration(time.Millisecond)}, 1, 200, true},
	} {
		t.Run(string(test.fault.Kind), func(t *testing.T) {
			e := furnished(exchange.Options{})
			server := httptest.NewServer(e.Handler(plain{e}))
			defer server.Close()
			test.fault.Endpoint, test.fault.Next = exchange.EndpointPlace, 1
			if err := e.SetFaults(test.fault); err != nil {
				t.Fatal(err)
			}
			status, body, err := post(t, server.URL, "1")
			if status != test.status || (err == nil) != test.whole {
				t.Errorf("got %d %q, %v", status, body, err)
			}
			if test.fault.Kind == exchange.BodyBefore && body != "secret" {
				t.Errorf("the answer is %q", body)
			}
			if got := len(e.Book().Orders); got != test.accepted {
				t.Errorf("%d orders are in the book", got)
			}
			seen := e.Requests()
			if len(seen) != 1 || len(seen[0].Struck) != 1 || seen[0].Struck[0] != test.fault.Kind {
				t.Errorf("seen were %+v", seen)
			}
			// The next request is struck by nothing.
			if status, _, err := post(t, server.URL, "1"); status != http.StatusOK || err != nil {
				t.Errorf("afterwards: %d, %v", status, err)
			}
		})
	}
}

// post places an order. The status is that of whatever has come.
func post(t *testing.T, url, body string) (status int, answer string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/orders", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "secret")
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// What is held up arrives, whether or not its sender still waits, and when the
// exchange's time has come.
func TestHoldsUp(t *testing.T) {
	for _, kind := range []exchange.Kind{exchange.DelayArrival, exchange.DelayAcceptance} {
		e := furnished(exchange.Options{})
		noticed := make(chan struct{})
		handler := e.Handler(plain{e})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { close(noticed) })
			handler.ServeHTTP(w, r)
		}))
		if err := e.SetFaults(exchange.Fault{Kind: kind, Endpoint: exchange.EndpointPlace, Delay: exchange.Duration(10 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan struct{})
		go func() {
			defer close(gaveUp)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("1"))
			if err != nil {
				t.Error(err)
				return
			}
			transport := &http.Transport{}
			if response, err := transport.RoundTrip(request); err == nil {
				_ = response.Body.Close()
				t.Error("an answer came")
			}
			transport.CloseIdleConnections()
		}()
		await(t, func() bool { return e.Waiting() == 1 })
		cancel()
		<-gaveUp
		<-noticed
		e.Advance(9 * time.Minute)
		for range 20 { // others are answered meanwhile, and it would be if it were not held up
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil))
			runtime.Gosched()
		}
		if e.Waiting() != 1 || len(e.Book().Orders) != 0 {
			t.Errorf("%s: after nine minutes %d wait, and the book has %+v", kind, e.Waiting(), e.Book().Orders)
		}
		e.Advance(time.Minute)
		await(t, func() bool { return len(e.Book().Orders) == 1 })
		if o := e.Book().Orders[0]; o.AcceptedAt.Sub(o.ArrivedAt) < 10*time.Minute || o.Body != "1" {
			t.Errorf("%s: the order is %+v", kind, o)
		}
		server.Close()
	}
}

func await(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for poll := time.NewTicker(time.Millisecond); !holds(); {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}

// The same seed throws the same dice.
func TestProbability(t *testing.T) {
	strikes := func(seed uint64) (struck []bool) {
		e := furnished(exchange.Options{Seed: seed})
		if err := e.SetFaults(exchange.Fault{Kind: exchange.StatusBefore, Probability: 0.5, Skip: 2}); err != nil {
			t.Fatal(err)
		}
		handler := e.Handler(plain{e})
		for range 200 {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			struck = append(struck, answer.Code != http.StatusOK)
		}
		return struck
	}
	first, again, other := strikes(1), strikes(1), strikes(2)
	count, same := 0, true
	for i := range first {
		if first[i] != again[i] {
			t.Fatalf("request %d is struck in one run only", i)
		}
		if first[i] {
			count++
		}
		same = same && first[i] == other[i]
	}
	if first[0] || first[1] || count < 60 || count > 140 || same {
		t.Errorf("%d of 200 were struck, the first two %v; another seed strikes alike: %t", count, first[:2], same)
	}
}

func TestControl(t *testing.T) {
	e := exchange.New(exchange.Options{})
	handler := e.Handler(plain{e})
	control := func(method, path, body string) (int, string) {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, "/control"+path, strings.NewReader(body)))
		return answer.Code, answer.Body.String()
	}
	for _, step := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", "/products", `{"symbol":"BTC-USD","base":"BTC","quote":"USD","tick":"0.01","lot":"0.001"}`, 204},
		{"PUT", "/balances", `{"account":"a","currency":"USD","total":"1000"}`, 204},
		{"PUT", "/prices", `{"symbol":"BTC-USD","price":"100"}`, 204},
		{"POST", "/orders", `{"account":"a","clientId":"c","symbol":"BTC-USD","side":"buy","quantity":"1","limit":"99"}`, 204},
		{"PUT", "/behaviour", `{"skew":"-1m","orderLag":"5s"}`, 204},
		{"PUT", "/faults", `[{"kind":"delay-answer","endpoint":"place","delay":"10m","next":1}]`, 204},
		{"POST", "/time", `{"by":"1h"}`, 204},
		{"PUT", "/withheld", `["x"]`, 204},
		{"PUT", "/keys", `{"name":"k","account":"a"}`, 204},
		{"PUT", "/faults", `[{"kind":"nonsense"}]`, 400},
		{"PUT", "/faults", `[{"kind":"reset-before","probability":2}]`, 400},
		{"PUT", "/faults", `[{"kind":"status-before","status":200}]`, 400},
		{"PUT", "/faults", `[{"kind":"delay-answer","delay":"-1s"}]`, 400},
		{"PUT", "/products", `{"symbl":"BTC-USD"}`, 400},
		{"PUT", "/behaviour", `{"skew":5}`, 400},
		{"POST", "/orders", `{"account":"a","symbol":"BTC-USD","side":"buy","quantity":"100","limit":"99"}`, 400},
		{"POST", "/fills", `{"order":"none","quantity":"1","price":"1"}`, 400},
		{"POST", "/ends", `{"order":"none","status":"cancelled"}`, 400},
		{"GET", "/nothing", "", 404},
	} {
		if got, said := control(step.method, step.path, step.body); got != step.want {
			t.Errorf("%s %s %s: got %d %s", step.method, step.path, step.body, got, said)
		}
	}
	_, text := control("GET", "/book", "")
	var book exchange.Book
	if err := json.Unmarshal([]byte(text), &book); err != nil || len(book.Orders) != 1 || book.Orders[0].ClientID != "c" || !book.Balances["a"]["USD"].Held.Equal(number("99")) {
		t.Errorf("the book is %s, %v", text, err)
	}
	if err := e.Fill(book.Orders[0].ID, number("0.4"), number("99")); err != nil || !e.Book().Orders[0].Filled.Equal(number("0.4")) {
		t.Errorf("filling: %v", err)
	}
	if control("DELETE", "/products/BTC-USD", ""); len(e.Products()) != 0 {
		t.Error("the product is still listed")
	}
}

func TestDeadMansSwitch(t *testing.T) {
	e := furnished(exchange.Options{})
	place(t, e, buy("id", "1", "99"))
	e.CancelAllAfter("a", time.Minute)
	e.Advance(59 * time.Second)
	e.CancelAllAfter("a", time.Minute)
	e.Advance(59 * time.Second)
	if len(e.OpenOrders("a")) != 1 {
		t.Error("it was cancelled too early")
	}
	e.Advance(time.Second)
	if len(e.OpenOrders("a")) != 0 {
		t.Error("it was not cancelled")
	}
}
