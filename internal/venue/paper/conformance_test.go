package paper_test

import (
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venuetest"
)

// Paper does what every other venue does, as far as it has no wire to break.
func TestConforms(t *testing.T) {
	venuetest.RunWithoutWire(t, func(t *testing.T, _ venue.Guard) *venuetest.Harness {
		t.Helper()
		instrument := venuetest.Instrument(t)
		simulated, err := paper.New(paper.NewMemoryBook(), paper.Config{
			Account: "account", Currency: "USD", Balance: 10_000_000 * market.MoneyUnit, Instruments: []market.Instrument{instrument},
		})
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
		return &venuetest.Harness{Venue: simulated, Instrument: instrument, Move: func(t *testing.T, price market.Price) {
			t.Helper()
			bar := market.PairBar{Pair: instrument.Pair, Bar: market.Bar{Start: at, End: at.Add(time.Minute), Open: price, High: price, Low: price, Close: price}}
			if _, err := simulated.OnBar(t.Context(), bar); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Minute)
		}}
	})
}
