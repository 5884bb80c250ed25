package main

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a backtest comes to is the same before and after it was made faster.
func TestBacktestsStayTheSame(t *testing.T) {
	recording, err := openRecording("", "sample/eurusd-1h")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name          string
		debate        func() decision.Debate
		fills, trades int64
		equity        string
	}{
		{"the builtin voices", newTerse, 64, 30, "9950.31511011"},
		{"with their reasons", func() decision.Debate { debate := newTerse(); debate.Terse = false; return debate }, 64, 30, "9950.31511011"},
	} {
		measured, err := measureBacktest(t.Context(), recording, test.debate, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r := measured.result; r.Fills != test.fills || r.Trades != test.trades || r.Equity.String() != test.equity || r.Bars != 6125 || r.Decisions != 6125 {
			t.Errorf("%s: %d bars, %d decisions, %d fills, %d trades, equity %s", test.name, r.Bars, r.Decisions, r.Fills, r.Trades, r.Equity)
		}
	}
}

func TestTicksLeadToOrders(t *testing.T) {
	taken, err := measureTicks(t.Context(), 1000, 200*time.Millisecond)
	if err != nil || len(taken) < 200/ticksAnOrder*9/10 {
		t.Errorf("%d orders, %v", len(taken), err)
	}
	for _, latency := range taken {
		if latency <= 0 {
			t.Errorf("an order came %s before its tick", -latency)
		}
	}
}

func TestHistoriesAreExact(t *testing.T) {
	if _, err := measureHistories(t.Context(), 300); err != nil {
		t.Error(err)
	}
	// A fill that the venue forgets is seen.
	h, err := newHistory(t.Context(), 3, newTerse())
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := h.reconcile(t.Context())
	if err != nil || len(h.venue.fills) == 0 {
		t.Fatalf("%d fills, %v", len(h.venue.fills), err)
	}
	h.venue.fills = h.venue.fills[1:]
	if h.check(&snapshot) == nil {
		t.Error("a ledger with a fill that the venue does not have counts as exact")
	}
}
