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

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venues/coinbase/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venues/coinbase/process"
)

const production = v1alpha1.EnvironmentProduction

var bitcoin = exchange.Product{
	ID: "BTC-USD", BaseIncrement: "0.00000001", QuoteIncrement: "0.01", PriceIncrement: "0.01",
	BaseMinSize: "0.00000001", QuoteMinSize: "1", Status: "online",
}

func start(t *testing.T) (*process.Exchange, *coinbase.Client) {
	t.Helper()
	running, err := process.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := running.PutProduct(t.Context(), bitcoin); err != nil {
		t.Fatal(err)
	}
	return running, newClient(t, running.API)
}

func newClient(t *testing.T, url string) *coinbase.Client {
	t.Helper()
	client, err := coinbase.New(coinbase.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func newKey(t *testing.T, running *process.Exchange, edit func(*exchange.Key)) (*coinbase.Credentials, exchange.Key) {
	t.Helper()
	given, key, err := running.NewKey(t.Context(), edit)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := coinbase.ParseCredentials(given.Name, given.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return credentials, key
}

func TestAsksTheExchange(t *testing.T) {
	running, client := start(t)
	credentials, key := newKey(t, running, func(key *exchange.Key) { key.CanTransfer = true })
	got, err := client.Account(t.Context(), production, credentials)
	want := venue.Account{CanView: true, CanTrade: true, CanTransfer: true, ID: key.PortfolioID, Type: "DEFAULT"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	product, err := client.Product(t.Context(), production, credentials, "BTC-USD")
	if err != nil || product.PriceIncrement.String() != "0.01" || product.BaseIncrement.String() != "0.00000001" || product.QuoteMinSize.String() != "1" || product.Untradable != "" {
		t.Errorf("got %+v, %v", product, err)
	}
	if _, err := client.Product(t.Context(), production, credentials, "BTC-XYZ"); !errors.Is(err, coinbase.ErrNotFound) {
		t.Errorf("a product that is not listed: got %v", err)
	}
	sandbox, _ := newKey(t, running, func(key *exchange.Key) { key.Environment = "Sandbox" })
	if _, err := client.Account(t.Context(), v1alpha1.EnvironmentSandbox, sandbox); err != nil {
		t.Errorf("a key of the sandbox: %v", err)
	}
	if _, err := client.Account(t.Context(), production, sandbox); !errors.Is(err, coinbase.ErrRefused) {
		t.Errorf("a key of the sandbox in production: got %v", err)
	}
	stranger, err := stranger()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Account(t.Context(), production, stranger); !errors.Is(err, coinbase.ErrRefused) {
		t.Errorf("a key that the exchange does not know: got %v", err)
	}
	blind, _ := newKey(t, running, func(key *exchange.Key) { key.CanView = false })
	if _, err := client.Product(t.Context(), production, blind, "BTC-USD"); !errors.Is(err, coinbase.ErrForbidden) {
		t.Errorf("a key that may not view: got %v", err)
	}
}

func TestProductsThatTakeNoOrders(t *testing.T) {
	running, client := start(t)
	credentials, _ := newKey(t, running, nil)
	for _, test := range []struct {
		edit func(*exchange.Product)
		want string
	}{
		{func(p *exchange.Product) { p.IsDisabled = true }, "is disabled"},
		{func(p *exchange.Product) { p.TradingDisabled = true }, "has trading disabled"},
		{func(p *exchange.Product) { p.ViewOnly = true }, "can only be viewed by this account"},
		{func(p *exchange.Product) { p.CancelOnly = true }, "takes cancellations only"},
		{func(p *exchange.Product) { p.PriceIncrement = "" }, ""},
	} {
		product := bitcoin
		test.edit(&product)
		if err := running.PutProduct(t.Context(), product); err != nil {
			t.Fatal(err)
		}
		got, err := client.Product(t.Context(), production, credentials, "BTC-USD")
		if err != nil || got.Untradable != test.want || got.PriceIncrement.String() != "0.01" {
			t.Errorf("got %+v, %v, want %q", got, err, test.want)
		}
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
	running, client := start(t)
	credentials, _ := newKey(t, running, nil)
	status := func(code int, body string) exchange.Fault {
		return exchange.Fault{Kind: exchange.FaultStatus, Status: code, Body: body}
	}
	body := func(text string) exchange.Fault { return exchange.Fault{Kind: exchange.FaultBody, Body: text} }
	for _, test := range []struct {
		name  string
		fault exchange.Fault
		want  error
	}{
		{"refused", status(401, "token {token} is not valid"), coinbase.ErrRefused},
		{"forbidden", status(403, ""), coinbase.ErrForbidden},
		{"the exchange's shield", status(403, "<html>blocked {token}</html>"), coinbase.ErrUnreachable},
		{"an error that repeats the token", status(500, `{"error":"{token}"}`), coinbase.ErrUnreachable},
		{"overloaded", status(503, ""), coinbase.ErrUnreachable},
		{"a page of another server", status(404, "<html>nothing here</html>"), coinbase.ErrNoEndpoint},
		{"a redirect", status(302, "elsewhere"), coinbase.ErrMalformed},
		{"cut off", exchange.Fault{Kind: exchange.FaultReset}, coinbase.ErrUnreachable},
		{"broken off", exchange.Fault{Kind: exchange.FaultTruncate}, coinbase.ErrUnreachable},
		{"a page", body("<html>{token}</html>"), coinbase.ErrMalformed},
		{"an empty object", body("{}"), coinbase.ErrMalformed},
		{"a permission that is not said", body(`{"can_view":true,"can_trade":true,"portfolio_uuid":"12345678"}`), coinbase.ErrMalformed},
		{"no portfolio", body(`{"can_view":true,"can_trade":true,"can_transfer":false}`), coinbase.ErrMalformed},
		{"a portfolio that is not one", body(`{"can_view":true,"can_trade":true,"can_transfer":false,"portfolio_uuid":"{token}"}`), coinbase.ErrMalformed},
		{"endless", body(strings.Repeat(" ", 1<<17)), coinbase.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := running.Fail(t.Context(), test.fault); err != nil {
				t.Fatal(err)
			}
			_, err := client.Account(t.Context(), production, credentials)
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
	running, client := start(t)
	credentials, _ := newKey(t, running, nil)
	for name, edit := range map[string]func(*exchange.Product){
		"no increment":        func(p *exchange.Product) { p.BaseIncrement = "" },
		"an increment of nil": func(p *exchange.Product) { p.PriceIncrement = "0.00" },
		"a negative one":      func(p *exchange.Product) { p.BaseIncrement = "-1" },
		"an exponent":         func(p *exchange.Product) { p.PriceIncrement = "1e-999999999" },
		"not a number":        func(p *exchange.Product) { p.QuoteMinSize = "NaN" },
	} {
		product := bitcoin
		edit(&product)
		if err := running.PutProduct(t.Context(), product); err != nil {
			t.Fatal(err)
		}
		if got, err := client.Product(t.Context(), production, credentials, "BTC-USD"); !errors.Is(err, coinbase.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	another, err := json.Marshal(bitcoin)
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Fail(t.Context(), exchange.Fault{Path: "/products", Kind: exchange.FaultBody, Body: string(another)}); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Product(t.Context(), production, credentials, "ETH-USD"); !errors.Is(err, coinbase.ErrMalformed) {
		t.Errorf("another product: got %+v, %v", got, err)
	}
}

func TestRateLimit(t *testing.T) {
	running, client := start(t)
	credentials, _ := newKey(t, running, nil)
	for _, test := range []struct {
		seconds int
		want    time.Duration
	}{{0, 10 * time.Second}, {7, 7 * time.Second}, {86400, 5 * time.Minute}} {
		if err := running.Fail(t.Context(), exchange.Fault{Kind: exchange.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: test.seconds}); err != nil {
			t.Fatal(err)
		}
		_, err := client.Account(t.Context(), production, credentials)
		limited, ok := errors.AsType[*coinbase.RateLimitedError](err)
		if !ok || limited.After != test.want {
			t.Errorf("Retry-After %d: got %v, want to wait %s", test.seconds, err, test.want)
		}
	}
}

// A slow exchange costs the time-out, and a pass that is cut short says nothing
// of the exchange.
func TestDeadline(t *testing.T) {
	running, client := start(t)
	credentials, _ := newKey(t, running, nil)
	if err := running.Fail(t.Context(), exchange.Fault{Kind: exchange.FaultSlow, DelayMilliseconds: 60_000}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Account(ctx, production, credentials); !errors.Is(err, coinbase.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := client.Account(ctx, production, credentials); !errors.Is(err, context.Canceled) || errors.Is(err, coinbase.ErrUnreachable) {
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
	_, err = newClient(t, server.URL).Account(t.Context(), production, credentials)
	if !errors.Is(err, coinbase.ErrRefused) || !strings.Contains(err.Error(), "clock is") {
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
	if _, err := newClient(t, server.URL).Account(t.Context(), production, credentials); !errors.Is(err, coinbase.ErrMalformed) {
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
	_, err = newClient(t, server.URL).Account(t.Context(), production, credentials)
	// The words must not change from one try to the next.
	if !errors.Is(err, coinbase.ErrUnreachable) || !strings.HasSuffix(err.Error(), "dial: connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestURL(t *testing.T) {
	for url, good := range map[string]bool{
		"":                              true,
		"https://gateway.example":       true,
		"https://gateway.example/proxy": true,
		"http://127.0.0.1:8080":         true,
		"http://localhost:8080":         true,
		"http://[::1]:8080":             true,
		"http://gateway.example":        false,
		"https://user:pw@gateway":       false,
		"https://gateway?x=1":           false,
		"gateway.example":               false,
		"ftp://127.0.0.1":               false,
	} {
		if _, err := coinbase.New(coinbase.Options{URL: url}); (err == nil) != good {
			t.Errorf("%q: got %v", url, err)
		} else if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the error tells the password: %v", err)
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
