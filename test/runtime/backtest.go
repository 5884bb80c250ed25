package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

var errEnd = io.EOF

// openRecording reads the recorded hours of EUR-USD: the sample in the binary, or
// another one from a directory.
func openRecording(directory, dataset string) (*market.Recording, error) {
	pair, err := instrument("EUR")
	if err != nil {
		return nil, err
	}
	library := market.NewLibrary(nil)
	if directory != "" {
		library = market.NewLibrary(os.DirFS(directory))
	}
	return library.Open(dataset, pair)
}

// warmUp is how many bars the slowest indicator needs, and more.
const warmUp = 100

// speed of backtests over a recording, again and again for a while.
type speed struct {
	bars int64
	// used is the time of the processor.
	used   time.Duration
	result *trader.Result
}

func (s speed) perSecond() float64 { return float64(s.bars) / s.used.Seconds() }

// decideUsually is how many bars there are to a decision with minutes and what an
// agent does unless it is told otherwise.
const decideUsually = 5

// measureBacktest runs a recording on one processor, with a debate every so many
// bars and a new one for each run.
func measureBacktest(ctx context.Context, recording *market.Recording, debate func() decision.Debate, every int, atLeast time.Duration) (speed, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var total speed
	for total.used < atLeast {
		config, account := newConfig(recording.Instrument, time.Hour, debate())
		config.Interval = time.Duration(every) * time.Hour
		feed, err := newRecordingFeed(recording, warmUp)
		if err != nil {
			return speed{}, err
		}
		used := cpuTime()
		result, err := trader.Backtest(ctx, config, account, feed)
		if err != nil {
			return speed{}, err
		}
		total.used += cpuTime() - used
		total.bars += result.Bars
		total.result = result
	}
	return total, nil
}
