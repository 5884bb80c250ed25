package trader

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// The backtest and the agent decide the same on the same data, to the letter.
func TestBacktestDecidesLikeTheAgent(t *testing.T) {
	var paced []string
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 200, "AAA", "BBB")
		d.until("the end of the data", replayed)
		paced = d.scribe.noted()
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	})
	config, account := setup(t, "AAA", "BBB")
	notes := &scribe{Ledger: ledger.NewMemory()}
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := NewShell(config, Options{Ledger: notes, Venue: simulated, inline: true, Feed: func(resume map[string]time.Time) (market.Feed, error) {
		return record(walk(11, 200, config.Agent.Instruments), resume), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(paced) < 100 || !slices.Equal(paced, notes.lines) {
		t.Fatalf("the agent made %d decisions and the backtest %d, or they differ:\n%s\n%s", len(paced), len(notes.lines), strings.Join(paced, "\n"), strings.Join(notes.lines, "\n"))
	}
}

func backtest(tb testing.TB, bars int) *Result {
	tb.Helper()
	config, account := setup(tb, "AAA", "BBB")
	result, err := Backtest(tb.Context(), config, account, record(walk(5, bars, config.Agent.Instruments), nil))
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// Twice the same, byte for byte, and the figures belong together.
func TestBacktestIsReproducible(t *testing.T) {
	var texts [2]string
	for i := range texts {
		result := backtest(t, 3000)
		var text bytes.Buffer
		if err := errors.Join(result.WriteText(&text), result.WriteJSON(&text)); err != nil {
			t.Fatal(err)
		}
		texts[i] = text.String()
		if result.Trades < 20 || result.Wins > result.Trades || result.Fills < result.Trades || result.Bars != 6000-warmUp {
			t.Errorf("implausible counts: %+v", result)
		}
		if !result.Balance.Add(result.PNL).Equal(result.Equity) || result.Fees.Sign() <= 0 {
			t.Errorf("implausible amounts: %+v", result)
		}
		if result.Sharpe == nil || result.ExposureFraction.Sign() <= 0 || result.MaxDrawdownFraction.Sign() <= 0 {
			t.Errorf("missing figures: %+v", result)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("two runs differ:\n%s\n%s", texts[0], texts[1])
	}
	for _, word := range []string{"Trades", "PnL", "Max drawdown", "Sharpe", "Exposure", "Fees", "% won", `"pnl"`} {
		if !strings.Contains(texts[0], word) {
			t.Errorf("the report says nothing of %q:\n%s", word, texts[0])
		}
	}
}

func TestBacktestWithoutDataIsRefused(t *testing.T) {
	config, account := setup(t, "AAA")
	if _, err := Backtest(t.Context(), config, account, record(walk(5, warmUp, config.Agent.Instruments), nil)); err == nil {
		t.Error("a recording that the warm-up uses up gave a result")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Backtest(ctx, config, account, record(walk(5, 200, config.Agent.Instruments), nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("a backtest that was broken off gave %v", err)
	}
}

func BenchmarkBacktestBars(b *testing.B) {
	config, account := setup(b, "AAA", "BBB")
	bars := walk(5, 10_000, config.Agent.Instruments)
	b.ReportAllocs()
	count := int64(0)
	for b.Loop() {
		result, err := Backtest(b.Context(), config, account, record(bars, nil))
		if err != nil {
			b.Fatal(err)
		}
		count += result.Bars
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "bars/s")
}
