package main

import (
	"context"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

const (
	// balance that the measured agent begins with.
	balance = 10_000 * market.MoneyUnit
	percent = order.Whole / 100
)

// instrument is a pair against dollars in hundred-thousandths and whole units.
func instrument(base string) (market.Instrument, error) {
	return market.NewInstrument(base, "USD", decimal.New(1, -5), decimal.NewFromInt(1), decimal.NewFromInt(1))
}

// everyLimit has every limit of the gate on, so wide that an agent trades on.
func everyLimit(barLength time.Duration) risk.Limits {
	return risk.Limits{
		MinOrderNotional: market.MoneyUnit, MaxOrderNotional: 2_500 * market.MoneyUnit, PriceCollar: 2 * percent,
		MaxPerSecond: 1_000_000, DuplicateWindow: time.Nanosecond,
		MaxGross: 50_000 * market.MoneyUnit, MaxNet: 50_000 * market.MoneyUnit, MaxLeverage: 5 * order.Whole,
		MaxPositionFraction: 25 * percent, MaxPositions: 2, MaxCorrelatedPositions: 2, Correlation: 70 * percent,
		MaxValueAtRisk: 50 * percent, MaxVolatility: 50 * percent, VolatileConfidence: 80 * percent,
		MaxTradesPerDay: 1_000_000_000, MaxDrawdown: 99 * percent, MaxDailyLoss: 99 * percent, MaxConsecutiveLosses: 1_000_000_000,
		StopCoolDown: barLength, MaxAutomaticExits: 1_000_000_000, AutomaticExitWindow: time.Hour,
		MaxDataAge: 2 * barLength, MaxFrozenBars: 1_000, MaxMissingBars: 1_000,
	}
}

// newConfig is an agent that decides on every bar of one pair.
func newConfig(pair market.Instrument, barLength time.Duration, debate decision.Debate) (trader.Config, paper.Config) {
	config := trader.Config{
		Agent: ledger.Agent{
			UID: "agent", Namespace: "desk", Name: "measured", Account: "account", Venue: paper.Name, Currency: pair.Quote,
			Balance: balance, Holder: "pod", Instruments: []market.Instrument{pair},
		},
		Interval: barLength, MinConfidence: 70 * percent, LongShort: true, Risk: percent, Stop: 2 * percent, Debate: debate,
		Settings: trader.Settings{Trading: risk.Enabled, Generation: 1, Limits: everyLimit(barLength)},
	}
	return config, paper.Config{
		Account: config.Agent.Account, Currency: pair.Quote, Balance: balance, TakerFee: 600_000, MakerFee: 250_000,
		Spread: 500_000, Slippage: 1_000_000, Seed: 7, Instruments: config.Agent.Instruments,
	}
}

// recordingFeed delivers a recording as fast as it is taken. Unlike a replay it
// copies nothing, so that only the agent is measured.
type recordingFeed struct {
	pair    string
	bars    []market.Bar
	history []market.PairBar
	next    int
}

func newRecordingFeed(recording *market.Recording, warmUp int) (*recordingFeed, error) {
	if len(recording.Bars) <= warmUp {
		return nil, fmt.Errorf("%s has %d bars, and %d are needed to warm up", recording.Name, len(recording.Bars), warmUp)
	}
	feed := &recordingFeed{pair: recording.Instrument.Pair, bars: recording.Bars[warmUp:]}
	for _, bar := range recording.Bars[:warmUp] {
		feed.history = append(feed.history, market.PairBar{Pair: feed.pair, Bar: bar})
	}
	return feed, nil
}

func (f *recordingFeed) History() []market.PairBar { return f.history }
func (f *recordingFeed) Describe() string          { return "recording" }
func (f *recordingFeed) Next(context.Context) (market.PairBar, error) {
	if f.next == len(f.bars) {
		return market.PairBar{}, errEnd
	}
	f.next++
	return market.PairBar{Pair: f.pair, Bar: f.bars[f.next-1]}, nil
}
