package probe

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Sample is what one of the recordings inside the agent holds for one pair.
type Sample struct {
	Bars int
	// Length of the bars.
	Length time.Duration
}

// opened are the samples that were read, by name and steps of the pair. They are
// part of the binary, so what was found once stays true; only names and pairs that
// fit are kept, and those are few.
var opened sync.Map

// IsSample reports whether a data set ships inside the agent.
func IsSample(dataset string) bool { return strings.HasPrefix(dataset, "sample/") }

// OpenSample reads what a recording inside the agent holds for each of the pairs.
// Its error says that there is no such data set, or that it is another pair's, and
// what there is.
func OpenSample(dataset string, pairs []*v1alpha1.AssetPair) ([]Sample, error) {
	instruments := make([]market.Instrument, len(pairs))
	key := make([]string, 0, 1+len(pairs))
	key = append(key, dataset)
	for i, pair := range pairs {
		var err error
		if instruments[i], err = instrumentOf(pair); err != nil {
			return nil, err
		}
		key = append(key, pair.Canonical(), string(pair.Spec.TickSize), string(pair.Spec.LotSize))
	}
	if found, ok := opened.Load(strings.Join(key, " ")); ok {
		return found.([]Sample), nil
	}
	recordings, err := market.NewLibrary(nil).OpenAll(dataset, instruments)
	if err != nil {
		return nil, err
	}
	found := make([]Sample, len(recordings))
	for i, recording := range recordings {
		found[i] = Sample{Bars: len(recording.Bars), Length: recording.Length}
	}
	opened.Store(strings.Join(key, " "), found)
	return found, nil
}

// instrumentOf is the pair as recordings are read for it.
func instrumentOf(pair *v1alpha1.AssetPair) (market.Instrument, error) {
	tick, err := decimal.NewFromString(string(pair.Spec.TickSize))
	if err != nil {
		return market.Instrument{}, fmt.Errorf("AssetPair %q: spec.tickSize: %w", pair.Name, err)
	}
	lot, err := decimal.NewFromString(string(pair.Spec.LotSize))
	if err != nil {
		return market.Instrument{}, fmt.Errorf("AssetPair %q: spec.lotSize: %w", pair.Name, err)
	}
	return market.NewInstrument(string(pair.Spec.Base), string(pair.Spec.Quote), tick, lot, decimal.Zero)
}
