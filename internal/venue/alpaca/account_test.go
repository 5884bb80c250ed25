package alpaca_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/alpaca"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	sim "github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

func TestAccount(t *testing.T) {
	for _, test := range []struct {
		name                  string
		edit                  func(*exchange.Key)
		view, trade, transfer bool
	}{
		{"paper", func(*exchange.Key) {}, true, true, false},
		{"paper, transfers not blocked", func(k *exchange.Key) { k.CanTransfer = true }, true, true, false},
		{"live", func(k *exchange.Key) { k.Environment = "Production" }, true, true, false},
		{"live, transfers not blocked", func(k *exchange.Key) { k.Environment, k.CanTransfer = "Production", true }, true, true, true},
		{"trading blocked", func(k *exchange.Key) { k.CanTrade = false }, true, false, false},
		{"no crypto", func(k *exchange.Key) { k.AccountType = "INACTIVE" }, true, false, false},
		{"blocked", func(k *exchange.Key) { k.CanView = false }, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.edit, nil)
			got, err := w.venue.Account(t.Context())
			want := venue.Account{ID: w.key.Account, Type: w.key.AccountType, CanView: test.view, CanTrade: test.trade, CanTransfer: test.transfer}
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// What is not said must not let a key pass.
func TestAccountThatSaysTooLittle(t *testing.T) {
	w := newWorld(t, nil, nil)
	for _, body := range []string{
		"{}", "[]", `{"id":"904837e3-3b76-47ec-b432-046db621571b","status":"ACTIVE","crypto_status":"ACTIVE"}`,
		`{"id":"904837e3-3b76-47ec-b432-046db621571b","trading_blocked":false,"account_blocked":false,"trade_suspended_by_user":false}`,
		`{"id":"","trading_blocked":false,"transfers_blocked":true,"account_blocked":false,"trade_suspended_by_user":false}`,
	} {
		if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.BodyBefore, Body: body}); err != nil {
			t.Fatal(err)
		}
		if got, err := w.venue.Account(t.Context()); !errors.Is(err, venue.ErrMalformed) {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}

func TestUnknownKey(t *testing.T) {
	w := newWorld(t, nil, nil)
	for name, edit := range map[string]func(*alpaca.Options){
		"another environment": func(o *alpaca.Options) { o.Environment = v1alpha1.EnvironmentProduction },
		"another secret": func(o *alpaca.Options) {
			credentials, err := alpaca.ParseCredentials(w.name, strings.Repeat("x", 40))
			if err != nil {
				t.Fatal(err)
			}
			o.Credentials = credentials
		},
	} {
		options := w.options(t, nil)
		edit(&options)
		stranger, err := alpaca.New(options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stranger.Close)
		if _, err := stranger.Account(t.Context()); !errors.Is(err, venue.ErrRefused) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProduct(t *testing.T) {
	w := newWorld(t, nil, nil)
	want := venue.Product{
		PriceIncrement: decimal.RequireFromString("0.01"), BaseIncrement: decimal.RequireFromString("0.00000001"),
		BaseMinSize: decimal.RequireFromString("0.00000001"),
	}
	for state, untradable := range map[string]string{"": "", sim.Untradable: "is not tradable", sim.Inactive: "is not active"} {
		listed, _ := w.exchange.Product(symbol)
		listed.State = state
		w.exchange.PutProduct(listed)
		want.Untradable = untradable
		if got, err := w.venue.Product(t.Context(), alpaca.Symbol("BTC", "USD")); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %+v, %v, want %+v", state, got, err, want)
		}
	}
	for _, unknown := range []string{"DOGE/USD", "AAPL"} {
		if got, err := w.venue.Product(t.Context(), unknown); !errors.Is(err, venue.ErrNoSuchThing) {
			t.Errorf("%s: got %+v, %v", unknown, got, err)
		}
	}
	if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.BodyBefore, Body: `{"symbol":"ETH/USD","class":"crypto"}`}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.venue.Product(t.Context(), symbol); !errors.Is(err, venue.ErrMalformed) {
		t.Errorf("another asset: got %+v, %v", got, err)
	}
}

// A loan shows as cash below zero, and stocks are not an agent's.
func TestBalances(t *testing.T) {
	w := newWorld(t, nil, nil, venuetest.Instrument(t))
	if err := w.exchange.SetFaults(
		exchange.Fault{Kind: exchange.BodyBefore, Endpoint: exchange.EndpointAccount, Body: `{"currency":"USD","cash":"-23140.2","non_marginable_buying_power":"0"}`}, //nolint:misspell // Alpaca's word
		exchange.Fault{Kind: exchange.BodyBefore, Endpoint: exchange.EndpointBalances, Body: `[{"symbol":"AAPL","asset_class":"us_equity","qty":"5","qty_available":"5"},
			{"symbol":"USDCUSD","asset_class":"crypto","qty":"66.748","qty_available":"60"},{"symbol":"BTC/USD","asset_class":"crypto","qty":"0.000024974","qty_available":"0"}]`},
	); err != nil {
		t.Fatal(err)
	}
	got, err := w.venue.Balances(t.Context())
	want := "[{USD -23140.2 -23140.2} {USDC 66.748 60} {BTC 0.000024974 0}]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	for _, body := range []string{`[{"symbol":"BTCEUR","asset_class":"crypto","qty":"1","qty_available":"1"}]`, `[{"symbol":"BTCUSD","asset_class":"crypto","qty":"-1","qty_available":"1"}]`, "{}"} {
		if err := w.exchange.SetFaults(exchange.Fault{Kind: exchange.BodyBefore, Endpoint: exchange.EndpointBalances, Body: body}); err != nil {
			t.Fatal(err)
		}
		if got, err := w.venue.Balances(t.Context()); !errors.Is(err, venue.ErrMalformed) {
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
		edit func(*alpaca.Options)
		want string
	}{
		"no environment":  {func(o *alpaca.Options) { o.Environment = "Paper" }, `no environment "Paper"`},
		"no credentials":  {func(o *alpaca.Options) { o.Credentials = nil }, "needs credentials"},
		"a plain gateway": {func(o *alpaca.Options) { o.Gateway = "http://gateway.example" }, "https://"},
		"a stock":         {func(o *alpaca.Options) { o.Symbols = map[string]string{bitcoin.Pair: "BTC"} }, "stocks are not traded"},
		"one symbol twice": {func(o *alpaca.Options) {
			o.Instruments = append(o.Instruments, ether)
			o.Symbols = map[string]string{ether.Pair: symbol}
		}, "same symbol"},
	} {
		options := w.options(t, nil, bitcoin)
		test.edit(&options)
		if _, err := alpaca.New(options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	w := newWorld(t, nil, nil)
	credentials, err := alpaca.ParseCredentials(" "+w.name+"\n", w.secret)
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
