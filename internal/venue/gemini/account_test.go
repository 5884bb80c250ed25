package gemini_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/gemini"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	sim "github.com/three-rivers-tech/trading-operator/test/venuesim/gemini"
)

func TestAccount(t *testing.T) {
	for _, test := range []struct {
		name                  string
		edit                  func(*exchange.Key)
		view, trade, transfer bool
	}{
		{"trader", func(*exchange.Key) {}, true, true, false},
		{"trader of the sandbox", func(k *exchange.Key) { k.Environment = "Sandbox" }, true, true, false},
		{"trader and fund manager", func(k *exchange.Key) { k.CanTransfer = true }, true, true, true},
		{"auditor", func(k *exchange.Key) { k.CanTrade = false }, true, false, false},
		{"fund manager", func(k *exchange.Key) { k.CanTrade, k.CanView, k.CanTransfer = false, false, true }, false, false, true},
		{"custody", func(k *exchange.Key) { k.AccountType = sim.CustodyAccount }, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.edit, nil)
			got, err := w.venue.Account(t.Context())
			want := venue.Account{ID: "created-" + w.key.Account, Type: w.key.AccountType, CanView: test.view, CanTrade: test.trade, CanTransfer: test.transfer}
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// A key whose nonces have no window has requests that never expire.
func TestKeyWithoutTimeBasedNonces(t *testing.T) {
	w := newWorld(t, func(k *exchange.Key) { k.AccountType = sim.IncreasingNonces }, nil)
	if got, err := w.venue.Account(t.Context()); !errors.Is(err, venue.ErrRefused) || !strings.Contains(err.Error(), "time based nonce") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestClockThatIsOff(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.exchange.Behave(exchange.Behaviour{Skew: exchange.Duration(time.Minute)})
	if got, err := w.venue.Account(t.Context()); !errors.Is(err, venue.ErrRefused) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What is not said must not let a key pass.
func TestAccountThatSaysTooLittle(t *testing.T) {
	w := newWorld(t, nil, nil)
	const good, roles = `{"account":{"type":"exchange","created":1498245007981}}`, `{"isAuditor":false,"isFundManager":false,"isTrader":true}`
	for _, said := range [][2]string{
		{"{}", roles}, {`{"account":{"type":"exchange","created":"x"}}`, roles}, {`{"account":{"created":"1498245007981"}}`, roles}, {"[]", roles},
		{good, "{}"}, {good, `{"isAuditor":false,"isTrader":true}`}, {good, `{"isFundManager":"no","isAuditor":false,"isTrader":true}`},
	} {
		if err := w.exchange.SetFaults(
			exchange.Fault{Kind: exchange.BodyBefore, Path: "/v1/account", Body: said[0]}, exchange.Fault{Kind: exchange.BodyBefore, Path: "/v1/roles", Body: said[1]},
		); err != nil {
			t.Fatal(err)
		}
		if got, err := w.venue.Account(t.Context()); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%v: got %+v, %v", said, got, err)
		}
	}
	if err := w.exchange.SetFaults(
		exchange.Fault{Kind: exchange.BodyBefore, Path: "/v1/account", Body: good}, exchange.Fault{Kind: exchange.BodyBefore, Path: "/v1/roles", Body: roles},
	); err != nil {
		t.Fatal(err)
	}
	if got, err := w.venue.Account(t.Context()); err != nil || got.ID != "created-1498245007981" || !got.CanTrade {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	for reason, test := range map[string]struct {
		status int
		want   error
	}{
		"InvalidSignature": {400, venue.ErrRefused}, "InvalidNonce": {400, venue.ErrRefused}, "MissingRole": {403, venue.ErrForbidden},
		"EndpointNotFound": {404, venue.ErrNoEndpoint}, "OrderNotFound": {404, venue.ErrNoSuchThing}, "Maintenance": {503, venue.ErrUnreachable},
		"System": {500, venue.ErrUnreachable}, "Anything": {400, venue.ErrMalformed},
	} {
		w := newWorld(t, nil, nil)
		if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.StatusBefore, Status: test.status, Body: `{"result":"error","reason":"` + reason + `","message":"m"}`}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.venue.Balances(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", reason, err, test.want)
		}
	}
	w := newWorld(t, nil, nil)
	if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.StatusBefore, Status: 429}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.venue.Balances(t.Context()); func() bool { _, limited := errors.AsType[*venue.RateLimitedError](err); return !limited }() {
		t.Errorf("429: got %v", err)
	}
}

func TestProduct(t *testing.T) {
	w := newWorld(t, nil, nil)
	want := venue.Product{
		PriceIncrement: decimal.RequireFromString("0.01"), BaseIncrement: decimal.RequireFromString("0.00000001"),
		BaseMinSize: decimal.RequireFromString("0.00000001"),
	}
	for state, untradable := range map[string]string{
		"": "", "limit_only": "", "closed": "is closed", "cancel_only": "takes cancellations only",
		"post_only": "takes only orders that do not trade at once", "other": "is in a state that is not known",
	} {
		listed, _ := w.exchange.Product(symbol)
		listed.State = state
		w.exchange.PutProduct(listed)
		want.Untradable = untradable
		if got, err := w.venue.Product(t.Context(), gemini.Symbol("BTC", "USD")); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %+v, %v, want %+v", state, got, err, want)
		}
	}
	if got, err := w.venue.Product(t.Context(), "dogeusd"); !errors.Is(err, venue.ErrNoSuchThing) {
		t.Errorf("got %+v, %v", got, err)
	}
	for body, untradable := range map[string]string{
		`{"symbol":"BTCUSD","tick_size":1E-8,"quote_increment":0.01,"min_order_size":"0.00000001","status":"open","product_type":"swap"}`: "is not a spot pair",
		`{"symbol":"BTCUSD","tick_size":1e-08,"quote_increment":1e-2,"min_order_size":0.00000001,"status":"open"}`:                        "",
	} {
		if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.BodyBefore, Body: body}); err != nil {
			t.Fatal(err)
		}
		want.Untradable = untradable
		if got, err := w.venue.Product(t.Context(), symbol); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %+v, %v, want %+v", body, got, err, want)
		}
	}
	for _, body := range []string{`{"symbol":"ETHUSD"}`, `{"symbol":"BTCUSD","tick_size":0,"quote_increment":1,"min_order_size":"1"}`, `{"symbol":"BTCUSD","tick_size":1e-999,"quote_increment":1,"min_order_size":"1"}`} {
		if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.BodyBefore, Body: body}); err != nil {
			t.Fatal(err)
		}
		if got, err := w.venue.Product(t.Context(), symbol); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}

func TestNew(t *testing.T) {
	w := newWorld(t, nil, nil)
	bitcoin := venuetest.Instrument(t)
	ether, err := market.NewInstrument("ETH", "USD", bitcoin.Tick, bitcoin.Lot, decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		edit func(*gemini.Options)
		want string
	}{
		"no environment":  {func(o *gemini.Options) { o.Environment = "Paper" }, `no environment "Paper"`},
		"no credentials":  {func(o *gemini.Options) { o.Credentials = nil }, "needs credentials"},
		"a plain gateway": {func(o *gemini.Options) { o.Gateway = "http://gateway.example" }, "https://"},
		"one symbol twice": {func(o *gemini.Options) {
			o.Instruments = append(o.Instruments, ether)
			o.Symbols = map[string]string{ether.Pair: "BTCUSD"}
		}, "same symbol"},
	} {
		options := w.options(t, nil, bitcoin)
		test.edit(&options)
		if _, err := gemini.New(options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	options := w.options(t, nil, bitcoin)
	options.Environment = v1alpha1.EnvironmentSandbox
	stranger, err := gemini.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	if _, err := stranger.Account(t.Context()); !errors.Is(err, venue.ErrRefused) {
		t.Errorf("a key of another environment: %v", err)
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	w := newWorld(t, nil, nil)
	credentials, err := gemini.ParseCredentials(" "+w.name+"\n", w.secret)
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(map[string]any{"credentials": credentials})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %s", credentials, credentials, credentials, credentials, marshalled)
	if strings.Contains(text, w.name) || strings.Contains(text, w.secret) {
		t.Errorf("they print as %s", text)
	}
}
