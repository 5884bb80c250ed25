package trader

import (
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// Peak, day and counts come from the ledger, so that a crash loop resets nothing.
func TestCountsSurviveARestart(t *testing.T) {
	day := start.Truncate(24 * time.Hour)
	newest := ledger.Mark{Pair: "AAA-USD", MarketTime: start.Add(10 * time.Hour), Price: 10_000, Equity: balance, PeakEquity: balance * 2, DayStart: day, DayStartEquity: balance / 2 * 3}
	snapshot := ledger.Snapshot{Cash: balance, LastSequence: 41, Decisions: 41, Fills: 7, Openings: map[time.Time]int32{day: 4}, Newest: newest,
		LastMark: map[string]ledger.Mark{"AAA-USD": newest}}
	h := byHand(t, snapshot, func(c *Config) { c.Settings.Limits.MaxDrawdown, c.Settings.Limits.MaxTradesPerDay = risk.Unlimited, 5 })
	status := h.core.Status()
	if status.Peak != balance*2 || status.DayStartEquity != balance/2*3 || status.TradesToday != 4 || status.Decisions != 41 || status.Fills != 7 || !status.Ready() {
		t.Errorf("%+v", status)
	}
	commit := h.rule(decision.Buy)
	if commit.Decision.Sequence != 42 || len(commit.Intents) != 1 {
		t.Fatalf("%+v", commit)
	}
	h.filled(commit)
	h.filled(h.rule(decision.Sell))
	if commit := h.rule(decision.Buy); commit.Decision.Outcome != string(risk.MaxTradesPerDay) {
		t.Errorf("a sixth trade of the day: %+v", commit)
	}
	h.core.Handle(&Committed{})
	// The next day begins with the equity that the last one ended with.
	equity := h.core.Status().Equity
	h.at = day.Add(24 * time.Hour)
	h.bar(10_000)
	if status := h.core.Status(); status.TradesToday != 0 || status.DayStartEquity != equity || status.Peak != balance*2 {
		t.Errorf("the next day: %+v", status)
	}
}

// The ledger was away at midnight: yesterday's counts do not come back.
func TestOutageOverMidnight(t *testing.T) {
	day := start.Truncate(24 * time.Hour)
	newest := ledger.Mark{Pair: "AAA-USD", MarketTime: day.Add(23*time.Hour + 55*time.Minute), Price: 10_000, PeakEquity: balance, DayStart: day, DayStartEquity: balance * 2}
	snapshot := ledger.Snapshot{Cash: balance, Openings: map[time.Time]int32{day: 5}, Newest: newest, LastMark: map[string]ledger.Mark{"AAA-USD": newest}}
	h := byHand(t, snapshot, nil)
	h.core.Handle(Impaired{ReasonLedgerUnavailable, "gone"})
	if status := h.core.Status(); status.State != risk.Reducing || status.Reason != ReasonLedgerUnavailable {
		t.Errorf("%+v", status)
	}
	h.at = day.Add(24 * time.Hour)
	if commands := h.bar(10_000); len(commands) > 0 {
		t.Errorf("during the outage: %+v", commands)
	}
	h.core.Handle(Recovered{Epoch: 3, Snapshot: snapshot})
	if status := h.core.Status(); status.TradesToday != 0 || status.DayStartEquity != balance || status.State != risk.Enabled {
		t.Errorf("%+v", status)
	}
}

// A debate over the last bar of a day may end in the next one. Its order counts for
// the day in which it was decided on, though no mark of that day is in the ledger.
func TestOpeningsBeforeTheFirstMarkOfTheirDay(t *testing.T) {
	day := start.Truncate(24 * time.Hour)
	next := day.Add(24 * time.Hour)
	newest := ledger.Mark{Pair: "AAA-USD", MarketTime: next.Add(-time.Minute), Price: 10_000, PeakEquity: balance, DayStart: day, DayStartEquity: balance}
	snapshot := ledger.Snapshot{Cash: balance, Newest: newest, LastMark: map[string]ledger.Mark{"AAA-USD": newest},
		Openings: map[time.Time]int32{day: 2, next: 1}}
	for name, now := range map[string]time.Time{"before midnight": next.Add(-time.Second), "after midnight": next.Add(time.Minute)} {
		t.Run(name, func(t *testing.T) {
			h := byHand(t, fresh(), nil)
			h.core.current = true
			h.core.Handle(Impaired{ReasonLedgerUnavailable, "gone"})
			h.core.Handle(Passed{now})
			h.core.Handle(Recovered{Epoch: 3, Snapshot: snapshot})
			h.core.Handle(Passed{next.Add(2 * time.Minute)})
			if status := h.core.Status(); status.TradesToday != 1 {
				t.Errorf("today has had %d opening orders, want 1", status.TradesToday)
			}
		})
	}
}
