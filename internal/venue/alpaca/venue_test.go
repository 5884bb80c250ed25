package alpaca_test

import (
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/alpaca"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
	sim "github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a simulated exchange with one account, and an adapter that trades on it.
type world struct {
	exchange     *exchange.Exchange
	url          string
	key          exchange.Key
	name, secret string
	venue        *alpaca.Venue
}

func newWorld(t *testing.T, edit func(*exchange.Key), guard venue.Guard, instruments ...market.Instrument) *world {
	t.Helper()
	behind := exchange.New(sim.Options())
	w := &world{exchange: behind}
	w.name, w.secret, w.key = sim.NewKey(edit)
	behind.PutKey(w.key)
	venuetest.Furnish(behind, w.key.Account, symbol, otherSymbol)
	server := httptest.NewServer(behind.Handler(sim.New(behind)))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.venue = w.adapter(t, guard, instruments...)
	return w
}

func (w *world) options(t *testing.T, guard venue.Guard, instruments ...market.Instrument) alpaca.Options {
	t.Helper()
	credentials, err := alpaca.ParseCredentials(w.name, w.secret)
	if err != nil {
		t.Fatal(err)
	}
	return alpaca.Options{
		Environment: v1alpha1.VenueEnvironment(w.key.Environment), Instruments: instruments, Credentials: credentials,
		Gateway: w.url, Now: w.exchange.Time, Guard: guard,
	}
}

func (w *world) adapter(t *testing.T, guard venue.Guard, instruments ...market.Instrument) *alpaca.Venue {
	t.Helper()
	adapter, err := alpaca.New(w.options(t, guard, instruments...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(adapter.Close)
	return adapter
}

// The agent's pair and another at Alpaca.
const symbol, otherSymbol = "BTC/USD", "ETH/USD"

func TestConformance(t *testing.T) {
	venuetest.Run(t, func(t *testing.T, guard venue.Guard) *venuetest.Harness {
		t.Helper()
		instrument := venuetest.Instrument(t)
		w := newWorld(t, nil, guard, instrument)
		return &venuetest.Harness{
			Venue: w.venue, Instrument: instrument, Move: venuetest.MoveAt(w.exchange, symbol), Exchange: w.exchange,
			Account: w.key.Account, Symbol: symbol, OtherSymbol: otherSymbol, Secrets: []string{w.name, w.secret}, FeesUnknown: true,
		}
	})
}
