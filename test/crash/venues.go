package main

import (
	"context"
	"maps"
	"slices"

	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
)

// venueKind is a venue that runs can be played at.
type venueKind struct {
	// line says that orders go over a line that can be cut.
	line bool
	// expires says that it refuses requests that are too old.
	expires bool
	open    func(ctx context.Context) (rig.Exchange, error)
}

var venues = map[string]venueKind{
	"alpaca":   {line: true, open: rig.Alpaca},
	"coinbase": {line: true, expires: true, open: rig.Coinbase},
	"gemini":   {line: true, expires: true, open: rig.Gemini},
	"kraken":   {line: true, expires: true, open: rig.Kraken},
	"paper":    {expires: true, open: func(context.Context) (rig.Exchange, error) { return rig.Paper(), nil }},
}

func venueNames() []string { return slices.Sorted(maps.Keys(venues)) }
