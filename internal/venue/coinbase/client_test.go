package coinbase_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	simulated "github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

const production = v1alpha1.EnvironmentProduction

// listing is BTC-USD as Coinbase lists it.
const listing = `{"product_id":"BTC-USD","base_increment":"0.00000001","quote_increment":"0.01","price_increment":"0.01","quote_min_size":"1"}`

// start serves a simulated Coinbase.
func start(t *testing.T) (running *exchange.Exchange, url string) {
	t.Helper()
	running = exchange.New(simulated.Options())
	server := httptest.NewServer(running.Handler(simulated.New(running)))
	t.Cleanup(func() {
		running.Advance(time.Hour) // whatever is held up
		server.CloseClientConnections()
		server.Close()
	})
	running.PutProduct(bitcoin())
	return running, server.URL
}

// ask is an account that only asks.
func ask(t *testing.T, url string, environment v1alpha1.VenueEnvironment, credentials *coinbase.Credentials) *coinbase.Venue {
	t.Helper()
	account, err := coinbase.New(coinbase.Options{Environment: environment, Credentials: credentials, Gateway: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(account.Close)
	return account
}

func bitcoin() exchange.Product {
	return exchange.Product{
		Symbol: "BTC-USD", Base: "BTC", Quote: "USD", Tick: decimal.New(1, -2), Lot: decimal.New(1, -8),
		MinQuantity: decimal.New(1, -8), MinNotional: decimal.NewFromInt(1),
	}
}

func newKey(t *testing.T, running *exchange.Exchange, edit func(*exchange.Key)) (*coinbase.Credentials, exchange.Key) {
	t.Helper()
	name, privateKey, key, err := simulated.NewKey(edit)
	if err != nil {
		t.Fatal(err)
	}
	running.PutKey(key)
	credentials, err := coinbase.ParseCredentials(name, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	return credentials, key
}

func fail(t *testing.T, running *exchange.Exchange, fault exchange.Fault) {
	t.Helper()
	if err := running.SetFaults(fault); err != nil {
		t.Fatal(err)
	}
}

func TestAsksTheExchange(t *testing.T) {
	running, url := start(t)
	credentials, key := newKey(t, running, func(key *exchange.Key) { key.CanTransfer = true })
	got, err := ask(t, url, production, credentials).Account(t.Context())
	want := venue.Account{CanView: true, CanTrade: true, CanTransfer: true, ID: key.Account, Type: "DEFAULT"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	product, err := ask(t, url, production, credentials).Product(t.Context(), "BTC-USD")
	if err != nil || product.PriceIncrement.String() != "0.01" || product.BaseIncrement.String() != "0.00000001" || product.QuoteMinSize.String() != "1" || product.Untradable != "" {
		t.Errorf("got %+v, %v", product, err)
	}
	if _, err := ask(t, url, production, credentials).Product(t.Context(), "BTC-XYZ"); !errors.Is(err, venue.ErrNoSuchThing) {
		t.Errorf("a product that is not listed: got %v", err)
	}
	sandbox, _ := newKey(t, running, func(key *exchange.Key) { key.Environment = "Sandbox" })
	if _, err := ask(t, url, v1alpha1.EnvironmentSandbox, sandbox).Account(t.Context()); err != nil {
		t.Errorf("a key of the sandbox: %v", err)
	}
	if _, err := ask(t, url, production, sandbox).Account(t.Context()); !errors.Is(err, venue.ErrRefused) {
		t.Errorf("a key of the sandbox in production: got %v", err)
	}
	stranger, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, url, production, stranger).Account(t.Context()); !errors.Is(err, venue.ErrRefused) {
		t.Errorf("a key that the exchange does not know: got %v", err)
	}
	blind, _ := newKey(t, running, func(key *exchange.Key) { key.CanView = false })
	if _, err := ask(t, url, production, blind).Product(t.Context(), "BTC-USD"); !errors.Is(err, venue.ErrForbidden) {
		t.Errorf("a key that may not view: got %v", err)
	}
}

func TestProductsThatTakeNoOrders(t *testing.T) {
	running, url := start(t)
	credentials, _ := newKey(t, running, nil)
	for state, want := range map[string]string{
		simulated.Disabled:        "is disabled",
		simulated.TradingDisabled: "has trading disabled",
		simulated.ViewOnly:        "can only be viewed by this account",
		simulated.CancelOnly:      "takes cancellations only",
		"":                        "",
	} {
		product := bitcoin()
		product.State = state
		running.PutProduct(product)
		got, err := ask(t, url, production, credentials).Product(t.Context(), "BTC-USD")
		if err != nil || got.Untradable != want || got.PriceIncrement.String() != "0.01" {
			t.Errorf("got %+v, %v, want %q", got, err, want)
		}
	}
	fail(t, running, exchange.Fault{Kind: exchange.BodyBefore, Body: strings.Replace(listing, `"price_increment":"0.01",`, "", 1)})
	if got, err := ask(t, url, production, credentials).Product(t.Context(), "BTC-USD"); err != nil || got.PriceIncrement.String() != "0.01" {
		t.Errorf("without a price increment: got %+v, %v", got, err)
	}
}

func stranger() (*coinbase.Credentials, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	return coinbase.ParseCredentials("organizations/o/apiKeys/unknown", strings.ReplaceAll(text, "\n", `\n`))
}

// Whatever the exchange or the way to it does, the error has a kind to act on
// and holds nothing of the token.
func TestFailures(t *testing.T) {
	running, url := start(t)
	credentials, _ := newKey(t, running, nil)
	status := func(code int, body string) exchange.Fault {
		return exchange.Fault{Kind: exchange.StatusBefore, Status: code, Body: body}
	}
	body := func(text string) exchange.Fault { return exchange.Fault{Kind: exchange.BodyBefore, Body: text} }
	for _, test := range []struct {
		name  string
		fault exchange.Fault
		want  error
	}{
		{"refused", status(401, "token {authorization} is not valid"), venue.ErrRefused},
		{"forbidden", status(403, ""), venue.ErrForbidden},
		{"the exchange's shield", status(403, "<html>blocked {authorization}</html>"), venue.ErrUnreachable},
		{"an error that repeats the token", status(500, `{"error":"{authorization}"}`), venue.ErrUnreachable},
		{"overloaded", status(503, ""), venue.ErrUnreachable},
		{"a page of another server", status(404, "<html>nothing here</html>"), venue.ErrNoEndpoint},
		{"a redirect", status(302, "elsewhere"), venue.ErrMalformed},
		{"cut off", exchange.Fault{Kind: exchange.ResetBefore}, venue.ErrUnreachable},
		{"broken off", exchange.Fault{Kind: exchange.Truncate}, venue.ErrUnreachable},
		{"a page", body("<html>{authorization}</html>"), venue.ErrMalformed},
		{"an empty object", body("{}"), venue.ErrMalformed},
		{"a permission that is not said", body(`{"can_view":true,"can_trade":true,"portfolio_uuid":"12345678"}`), venue.ErrMalformed},
		{"no portfolio", body(`{"can_view":true,"can_trade":true,"can_transfer":false}`), venue.ErrMalformed},
		{"a portfolio that is not one", body(`{"can_view":true,"can_trade":true,"can_transfer":false,"portfolio_uuid":"{authorization}"}`), venue.ErrMalformed},
		{"endless", body(strings.Repeat(" ", 1<<17)), venue.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			fail(t, running, test.fault)
			_, err := ask(t, url, production, credentials).Account(t.Context())
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			// Every token begins with the same characters.
			if strings.Contains(fmt.Sprintf("%+v", err), "eyJ") {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

func TestProductsThatCannotBeTrue(t *testing.T) {
	running, url := start(t)
	credentials, _ := newKey(t, running, nil)
	for name, edit := range map[string][2]string{
		"no increment":        {`"base_increment":"0.00000001",`, ""},
		"an increment of nil": {`"price_increment":"0.01"`, `"price_increment":"0.00"`},
		"a negative one":      {`"base_increment":"0.00000001"`, `"base_increment":"-1"`},
		"an exponent":         {`"price_increment":"0.01"`, `"price_increment":"1e-999999999"`},
		"not a number":        {`"quote_min_size":"1"`, `"quote_min_size":"NaN"`},
		"another product":     {`BTC-USD`, `ETH-USD`},
	} {
		told := strings.Replace(listing, edit[0], edit[1], 1)
		if told == listing {
			t.Fatalf("%s: nothing is edited", name)
		}
		fail(t, running, exchange.Fault{Path: "/products", Kind: exchange.BodyBefore, Body: told})
		if got, err := ask(t, url, production, credentials).Product(t.Context(), "BTC-USD"); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestRateLimit(t *testing.T) {
	running, url := start(t)
	credentials, _ := newKey(t, running, nil)
	for _, test := range []struct {
		seconds int
		want    time.Duration
	}{{0, 10 * time.Second}, {7, 7 * time.Second}, {86400, 5 * time.Minute}} {
		fail(t, running, exchange.Fault{Kind: exchange.StatusBefore, Status: http.StatusTooManyRequests, RetryAfter: test.seconds})
		_, err := ask(t, url, production, credentials).Account(t.Context())
		limited, ok := errors.AsType[*venue.RateLimitedError](err)
		if !ok || limited.After != test.want {
			t.Errorf("Retry-After %d: got %v, want to wait %s", test.seconds, err, test.want)
		}
	}
}

// A slow exchange costs the time-out, and a pass that is cut short says nothing
// of the exchange.
func TestDeadline(t *testing.T) {
	running, url := start(t)
	credentials, _ := newKey(t, running, nil)
	fail(t, running, exchange.Fault{Kind: exchange.DelayAnswer, Delay: exchange.Duration(time.Minute)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ask(t, url, production, credentials).Account(ctx); !errors.Is(err, venue.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := ask(t, url, production, credentials).Account(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, venue.ErrUnreachable) {
		t.Errorf("cancelled: got %v", err)
	}
}

// A clock that is off makes every signature invalid; the refusal says so.
func TestClock(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(t, server.URL, production, credentials).Account(t.Context())
	if !errors.Is(err, venue.ErrRefused) || !strings.Contains(err.Error(), "clock is") {
		t.Errorf("got %v", err)
	}
}

// A token is for one address. Whoever answers with a redirect does not get it
// carried elsewhere.
func TestFollowsNoRedirect(t *testing.T) {
	asked := make(chan struct{}, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, server.URL, production, credentials).Account(t.Context()); !errors.Is(err, venue.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if len(asked) > 0 {
		t.Error("the redirect was followed")
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(t, server.URL, production, credentials).Account(t.Context())
	// The words must not change from one try to the next.
	if !errors.Is(err, venue.ErrUnreachable) || !strings.HasSuffix(err.Error(), "dial: connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	instrument := venuetest.Instrument(t)
	for name, options := range map[string]coinbase.Options{
		"an unknown environment":       {Environment: "Staging", Credentials: credentials},
		"no credentials":               {Environment: production},
		"a gateway without encryption": {Environment: production, Credentials: credentials, Gateway: "http://gateway.example"},
		"one symbol for two pairs": {Environment: production, Credentials: credentials, Instruments: []market.Instrument{
			instrument, {Pair: "XBT-USD", Base: "XBT", Quote: "USD", Tick: instrument.Tick, Lot: instrument.Lot},
		}, Symbols: map[string]string{"XBT-USD": "BTC-USD"}},
	} {
		if _, err := coinbase.New(options); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// canary is in every private key below, and must be in no error.
const canary = "canary"

func TestParseCredentials(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(key any) string {
		encoded, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	}
	for _, test := range []struct{ name, keyName, privateKey, want string }{
		{"no name", "", encode(p384), "the key's name"},
		{"a name of two lines", canary + "\nkey", encode(p384), "the key's name"},
		{"no PEM", canary, canary, "not in PEM"},
		{"PEM without a key", canary, "-----BEGIN EC PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n-----END EC PRIVATE KEY-----\n", "cannot be read"},
		{"another curve", canary, encode(p384), "P-256"},
		{"RSA", canary, encode(rsaKey), "cannot be read"},
		{"Ed25519", canary, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 64))), "Ed25519"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := coinbase.ParseCredentials(test.keyName, test.privateKey)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds a part of the credentials: %v", err)
			}
		})
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	credentials, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(map[string]any{"credentials": credentials})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(credentials), fmt.Sprintf("%v %+v %#v %s", credentials, credentials, credentials, credentials), string(marshalled)} {
		if strings.Contains(text, "organizations") || !strings.Contains(text, "(credentials)") {
			t.Errorf("they print as %s", text)
		}
	}
}
