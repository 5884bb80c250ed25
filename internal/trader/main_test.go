package trader

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func instrument(tb testing.TB, base string) market.Instrument {
	tb.Helper()
	i, err := market.NewInstrument(base, "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.001"), decimal.RequireFromString("1"))
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

// coin is a judge that rules by the last price alone, so that it trades often
// and rules the same after a restart.
type coin struct{}

func (coin) Name() string { return "test/coin" }

func (coin) Rule(_ context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s/%d", view.Pair, view.Fast.Close)
	action := []decision.Action{decision.Buy, decision.Sell, decision.Hold}[h.Sum32()%3]
	return decision.Ruling{Action: action, ConfidenceMicros: 900_000, Judge: "test/coin", Arguments: []decision.Argument{bull, bear}}, nil
}

func coinDebate(tb testing.TB) decision.Debate {
	tb.Helper()
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		tb.Fatal(err)
	}
	debate.Judge = coin{}
	return debate
}

const balance = 10_000 * market.MoneyUnit

// setup is an agent on one or more pairs that decides every minute.
func setup(tb testing.TB, pairs ...string) (Config, paper.Config) {
	tb.Helper()
	config := Config{
		Agent:    ledger.Agent{UID: "agent-uid", Namespace: "desk", Name: "coin", Account: "account-uid", Venue: paper.Name, Currency: "USD", Balance: balance, Holder: "pod-uid"},
		Interval: time.Minute, MinConfidence: 700_000_000, LongShort: true, Risk: 10_000_000, Stop: 5_000_000, Target: 9_000_000,
		Debate:   coinDebate(tb),
		Settings: Settings{Trading: risk.Enabled, Generation: 1, Limits: risk.NoLimits()},
	}
	limits := &config.Settings.Limits
	limits.MaxOrderNotional, limits.PriceCollar, limits.MaxPerSecond = 1500*market.MoneyUnit, 20_000_000, 5
	limits.MaxPositionFraction, limits.MaxPositions, limits.MaxTradesPerDay = 250_000_000, 2, 1000
	limits.MaxDrawdown, limits.MaxDataAge = 500_000_000, time.Hour
	for _, pair := range pairs {
		config.Agent.Instruments = append(config.Agent.Instruments, instrument(tb, pair))
	}
	return config, paper.Config{
		Account: config.Agent.Account, Currency: "USD", Balance: balance, TakerFee: 600_000, MakerFee: 250_000, Spread: 500_000,
		Slippage: 1_000_000, PartialFill: 300_000_000, Latency: 50 * time.Millisecond, Seed: 7, Instruments: config.Agent.Instruments,
	}
}

// walk is a random walk of minute bars of every pair, merged.
func walk(seed uint64, count int, instruments []market.Instrument) []market.PairBar {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a random walk must be the same every time
	prices := make([]market.Price, len(instruments))
	for i := range prices {
		prices[i] = 10_000
	}
	at := start
	bars := make([]market.PairBar, 0, count*len(instruments))
	for range count {
		if random.IntN(40) == 0 {
			at = at.Add(time.Duration(random.IntN(600)) * time.Minute)
		}
		for i := range instruments {
			open := prices[i]
			closing := max(open+market.Price(random.IntN(121)-60), 1000)
			prices[i] = closing
			bars = append(bars, market.PairBar{Pair: instruments[i].Pair, Bar: market.Bar{
				Start: at, End: at.Add(time.Minute), Open: open, Close: closing,
				High: max(open, closing) + market.Price(random.IntN(30)), Low: min(open, closing) - market.Price(random.IntN(30)),
			}})
		}
		at = at.Add(time.Minute)
	}
	return bars
}

// recorded is a feed of given bars that goes on behind the marks.
type recorded struct {
	history, bars []market.PairBar
	next          int
	pace          time.Duration
}

func record(bars []market.PairBar, resume map[string]time.Time) *recorded {
	from := 0
	for from < len(bars) && (from < warmUp || !bars[from].End.After(resume[bars[from].Pair])) {
		from++
	}
	return &recorded{history: bars[:from], bars: bars[from:]}
}

func (r *recorded) History() []market.PairBar { return r.history }
func (r *recorded) Describe() string          { return "test" }
func (r *recorded) Next(ctx context.Context) (market.PairBar, error) {
	if r.pace > 0 {
		select {
		case <-time.After(r.pace):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return market.PairBar{}, err
	}
	if r.next == len(r.bars) {
		return market.PairBar{}, io.EOF
	}
	r.next++
	return r.bars[r.next-1], nil
}

// pass lets time pass in a bubble, where it costs nothing.
func pass(span time.Duration) { <-time.After(span) }
