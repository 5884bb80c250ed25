package kraken_test

import (
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/kraken"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	sim "github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "AA88N84GWOAKNMOI"

// A key as Kraken gives it out.
var (
	apiKey     = strings.Repeat("k", 56)
	privateKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 64)))
)

// world is a simulated Kraken with one account, and an adapter that trades on it.
type world struct {
	exchange *exchange.Exchange
	url      string
	venue    *kraken.Venue
}

func newWorld(t *testing.T, guard venue.Guard, instruments ...market.Instrument) *world {
	t.Helper()
	behind := exchange.New(sim.Options())
	venuetest.Furnish(behind, account, "XBTUSD", "ETHUSD")
	behind.PutKey(exchange.Key{Name: apiKey, Secret: privateKey, Account: account, Environment: "Production", CanView: true, CanTrade: true})
	server := httptest.NewServer(behind.Handler(sim.New(behind)))
	t.Cleanup(server.Close)
	w := &world{exchange: behind, url: server.URL}
	w.venue = w.adapter(t, guard, instruments...)
	return w
}

func (w *world) adapter(t *testing.T, guard venue.Guard, instruments ...market.Instrument) *kraken.Venue {
	t.Helper()
	credentials, err := kraken.ParseCredentials(apiKey, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	adapter, err := kraken.New(kraken.Options{
		Environment: v1alpha1.EnvironmentProduction, Instruments: instruments, Credentials: credentials,
		Gateway: w.url, Now: w.exchange.Time, Guard: guard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(adapter.Close)
	return adapter
}

func TestConformance(t *testing.T) {
	venuetest.Run(t, func(t *testing.T, guard venue.Guard) *venuetest.Harness {
		t.Helper()
		instrument := venuetest.Instrument(t)
		w := newWorld(t, guard, instrument)
		return &venuetest.Harness{
			Venue: w.venue, Instrument: instrument, Move: venuetest.MoveAt(w.exchange, "XBTUSD"), Exchange: w.exchange,
			Account: account, Symbol: "XBTUSD", OtherSymbol: "ETHUSD", Secrets: []string{apiKey, privateKey},
		}
	})
}
