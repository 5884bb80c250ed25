package kraken_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/kraken"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	sim "github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

func TestAccount(t *testing.T) {
	w := newWorld(t, nil)
	for _, rights := range [][3]bool{{true, true, false}, {true, false, false}, {false, true, false}, {true, true, true}, {}} {
		w.exchange.PutKey(exchange.Key{
			Name: apiKey, Secret: privateKey, Account: "AA88 N84G WOAK NMOI", CanView: rights[0], CanTrade: rights[1], CanTransfer: rights[2],
		})
		want := venue.Account{ID: account, CanView: rights[0], CanTrade: rights[1], CanTransfer: rights[2]}
		if got, err := w.venue.Account(t.Context()); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestAccountOfAnAnswerThatSaysLess(t *testing.T) {
	const whole = `"iban":"AA88 N84G WOAK NMOI","queryFrom":"0","queryTo":"0"`
	const all = `"permissions":["query-funds","query-open-trades","query-closed-trades","modify-trades","close-trades"]`
	for answer, want := range map[string]error{
		`{` + whole + `}`:                                                     venue.ErrMalformed,
		`{"iban":"","permissions":[]}`:                                        venue.ErrMalformed,
		`{"iban":"<script>","permissions":[]}`:                                venue.ErrMalformed,
		`{` + whole + `,"permissions":["<script>"]}`:                          venue.ErrMalformed,
		`{"iban":"AA88","queryFrom":"1700000000",` + all + `}`:                venue.ErrMalformed,
		`{"iban":"AA88 N84G WOAK NMOI","queryFrom":"1700000000",` + all + `}`: venue.ErrForbidden,
		`{"iban":"AA88 N84G WOAK NMOI","queryTo":"1700000000",` + all + `}`:   venue.ErrForbidden,
	} {
		w := newWorld(t, nil)
		w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: `{"error":[],"result":` + answer + `}`})
		if got, err := w.venue.Account(t.Context()); !errors.Is(err, want) || strings.Contains(err.Error(), "script") {
			t.Errorf("%s: got %+v, %v, want %v", answer, got, err, want)
		}
	}
	w := newWorld(t, nil)
	w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: `{"error":[],"result":{` + whole + `,"permissions":["query-funds","internal-transfer"]}}`})
	if got, err := w.venue.Account(t.Context()); err != nil || !got.CanTransfer || got.CanView || got.CanTrade {
		t.Errorf("a permission of a new kind: got %+v, %v", got, err)
	}
}

func TestAccountOfAKeyThatIsNotTaken(t *testing.T) {
	w := newWorld(t, nil)
	w.exchange.PutKey(exchange.Key{Name: apiKey, Secret: "AAAA", Account: account})
	if _, err := w.venue.Account(t.Context()); !errors.Is(err, venue.ErrRefused) {
		t.Errorf("a signature by another secret: got %v", err)
	}
	w.exchange.PutKey(exchange.Key{Name: apiKey, Secret: privateKey, Account: account})
	if _, err := w.venue.Balances(t.Context()); err == nil {
		t.Error("a key that may not view is told balances")
	}
}

func TestProduct(t *testing.T) {
	w := newWorld(t, nil)
	put := func(state string) {
		w.exchange.PutProduct(exchange.Product{
			Symbol: "XBTUSD", Base: "BTC", Quote: "USD", Tick: decimal.RequireFromString("0.1"), Lot: decimal.RequireFromString("0.00000001"),
			MinQuantity: decimal.RequireFromString("0.0001"), MinNotional: decimal.RequireFromString("0.5"), State: state,
		})
	}
	put("")
	for _, symbol := range []string{"XBTUSD", "XXBTZUSD", "XBT/USD"} {
		got, err := w.venue.Product(t.Context(), symbol)
		want := venue.Product{
			PriceIncrement: decimal.RequireFromString("0.1"), BaseIncrement: decimal.RequireFromString("0.00000001"),
			BaseMinSize: decimal.RequireFromString("0.0001"), QuoteMinSize: decimal.RequireFromString("0.5"),
		}
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %+v, %v", symbol, got, err)
		}
	}
	for state, tradable := range map[string]bool{
		"online": true, "limit_only": true, sim.CancelOnly: false, sim.PostOnly: false, sim.ReduceOnly: false, "delisted": false, "work_in_progress": false,
	} {
		put(state)
		if got, err := w.venue.Product(t.Context(), "XBTUSD"); err != nil || (got.Untradable == "") != tradable {
			t.Errorf("%s: got %+v, %v", state, got, err)
		}
	}
	for _, symbol := range []string{"NOSUCH", "XBTUSD&x=1", "XBTUSD,ETHUSD", ""} {
		if got, err := w.venue.Product(t.Context(), symbol); !errors.Is(err, venue.ErrNoSuchThing) {
			t.Errorf("%q: got %+v, %v", symbol, got, err)
		}
	}
}

func TestBalancesInTheUsualNames(t *testing.T) {
	w := newWorld(t, nil)
	w.fail(t, exchange.Fault{Kind: exchange.BodyBefore, Body: `{"error":[],"result":{
		"ZUSD":{"balance":"100.5","hold_trade":"20.25"}, "XXBT":{"balance":"1.00000001","hold_trade":"0"}, "XBT.F":{"balance":"0.5","hold_trade":"0"},
		"SOL":{"balance":"3"}, "SOL.S":{"balance":"7"}, "XXDG":{"balance":"-2"}}}`})
	got, err := w.venue.Balances(t.Context())
	if want := "[{BTC 1.50000001 1.50000001} {DOGE -2 -2} {SOL 3 3} {USD 100.5 80.25}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

func TestOptions(t *testing.T) {
	credentials, err := kraken.ParseCredentials(apiKey, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	btc := venuetest.Instrument(t)
	for name, change := range map[string]func(*kraken.Options){
		"the sandbox":                func(o *kraken.Options) { o.Environment = v1alpha1.EnvironmentSandbox },
		"no credentials":             func(o *kraken.Options) { o.Credentials = nil },
		"a gateway without TLS":      func(o *kraken.Options) { o.Gateway = "http://kraken.example" },
		"a symbol that is no symbol": func(o *kraken.Options) { o.Symbols = map[string]string{btc.Pair: "XBT USD"} },
		"a symbol of two pairs": func(o *kraken.Options) {
			other := btc
			other.Pair = "BTC-EUR"
			o.Instruments, o.Symbols = []market.Instrument{btc, other}, map[string]string{"BTC-EUR": "XBTUSD"}
		},
	} {
		options := kraken.Options{Environment: v1alpha1.EnvironmentProduction, Credentials: credentials, Instruments: []market.Instrument{btc}}
		if _, err := kraken.New(options); err != nil {
			t.Fatal(err)
		}
		change(&options)
		if _, err := kraken.New(options); err == nil || strings.Contains(err.Error(), privateKey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Kraken has no sandbox. What a simulator is sent would be checked there, and
// nothing more.
func TestSandboxExecutesNothingAtKraken(t *testing.T) {
	credentials, err := kraken.ParseCredentials(apiKey, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	btc := venuetest.Instrument(t)
	intent := order.Intent{ID: order.NewID("account", "agent", 1, 0, 0), Pair: btc.Pair, Side: order.Buy, Quantity: 1, Limit: 1}
	for environment, want := range map[v1alpha1.VenueEnvironment]bool{v1alpha1.EnvironmentProduction: false, v1alpha1.EnvironmentSandbox: true} {
		opened, err := kraken.New(kraken.Options{
			Environment: environment, Credentials: credentials, Instruments: []market.Instrument{btc}, Gateway: "http://127.0.0.1:1",
		})
		if err != nil {
			t.Fatal(err)
		}
		body, err := opened.Freeze(intent, time.Now())
		if err != nil || strings.Contains(string(body), "validate=true") != want {
			t.Errorf("%s: %s, %v", environment, body, err)
		}
	}
}
