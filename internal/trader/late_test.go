package trader

import (
	"slices"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// TestNobodyTradesOnLateBars plays an outage of the exchange: what it delivers
// afterwards is learned from, and first decided on when it is up to date.
func TestNobodyTradesOnLateBars(t *testing.T) {
	config, account := setup(t, "BTC")
	scribe := &scribe{Ledger: ledger.NewMemoryWithHistory()}
	venue, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	bars := walk(11, 600, config.Agent.Instruments)
	from, until := bars[300].End, bars[450].End
	for i := range bars {
		bars[i].Late = !bars[i].End.Before(from) && bars[i].End.Before(until)
	}
	shell, err := NewShell(config, Options{Ledger: scribe, Venue: venue, inline: true,
		Feed: func(resume map[string]time.Time) (market.Feed, error) { return record(bars, resume), nil }})
	if err != nil {
		t.Fatal(err)
	}
	before, after, during := 0, 0, 0
	shell.options.OnBar = func(bar market.PairBar) {
		switch decisions := len(scribe.noted()); {
		case bar.End.Before(from):
			before, during = decisions, decisions
		case bar.Late && decisions > during:
			t.Errorf("decided on the late bar of %s: %s", bar.End, slices.Clone(scribe.noted())[decisions-1])
			during = decisions
		default:
			after = decisions - before
		}
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before == 0 || after == 0 {
		t.Errorf("%d decisions before the outage and %d after it", before, after)
	}
	// The newest prices were learned all the same.
	if last := bars[len(bars)-1]; shell.core.pairs[0].price != last.Close {
		t.Errorf("the last price is %d, want %d", shell.core.pairs[0].price, last.Close)
	}
}

// A venue that is polled is asked for an unknown order by polls alone, however fast
// bars come and however long the order has been out.
func TestBarsDoNotAskForWhatIsUnknown(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	id := commit.Intents[0].ID
	h.core.Handle(&Committed{})
	h.core.Handle(SendBegun{id})
	h.core.Handle(News{ID: id, Event: order.Lose})
	h.core.live = true
	for range 2 * restingBars {
		commands := h.bar(10_000)
		none[Lookup](t, commands)
		none[Cancel](t, commands)
	}
	if cancel := find[Cancel](t, h.core.Handle(Polled{})); cancel.ID != id {
		t.Errorf("the poll cancels %s", cancel.ID)
	}
}
