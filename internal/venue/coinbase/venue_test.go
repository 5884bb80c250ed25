package coinbase_test

import (
	"net/http/httptest"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	simulated "github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// harness is an account at a simulated Coinbase.
func harness(t *testing.T, guard venue.Guard) *venuetest.Harness {
	t.Helper()
	behind := exchange.New(simulated.Options())
	server := httptest.NewServer(behind.Handler(simulated.New(behind)))
	name, privateKey, key, err := simulated.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	behind.PutKey(key)
	venuetest.Furnish(behind, key.Account, "BTC-USD", "ETH-USD")
	credentials, err := coinbase.ParseCredentials(name, privateKey)
	if err != nil {
		t.Fatal(err)
	}
	instrument := venuetest.Instrument(t)
	adapter, err := coinbase.New(coinbase.Options{
		Environment: production, Instruments: []market.Instrument{instrument}, Credentials: credentials,
		Gateway: server.URL, Now: behind.Time, Guard: guard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		adapter.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return &venuetest.Harness{
		Venue: adapter, Instrument: instrument, Move: venuetest.MoveAt(behind, "BTC-USD"),
		Exchange: behind, Account: key.Account, Symbol: "BTC-USD", OtherSymbol: "ETH-USD", Secrets: []string{name, "Bearer", "eyJ"},
	}
}

func TestConforms(t *testing.T) { venuetest.Run(t, harness) }
