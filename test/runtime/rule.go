package main

import (
	"context"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
)

// Lengths of the two averages of the rule that both backtesters follow.
const (
	fastBars = 10
	slowBars = 30
)

// crossing is a judge that buys when the fast average of the closes is above the
// slow one and sells when it is below. It counts in ticks, so that it rules the same
// wherever it is computed. It must see every bar once.
type crossing struct {
	closes [slowBars]int64
	count  int
	fast   int64
	slow   int64
}

func (c *crossing) Name() string { return "measure/crossing" }

// Rule implements decision.Judge.
func (c *crossing) Rule(_ context.Context, _, _ decision.Argument, view decision.View) (decision.Ruling, error) {
	price := int64(view.Fast.Close)
	if c.count >= fastBars {
		c.fast -= c.closes[(c.count-fastBars)%slowBars]
	}
	c.slow -= c.closes[c.count%slowBars]
	c.closes[c.count%slowBars] = price
	c.fast, c.slow, c.count = c.fast+price, c.slow+price, c.count+1
	ruling := decision.Ruling{Action: decision.Hold, ConfidenceMicros: 900_000, Judge: c.Name()}
	if c.count < slowBars {
		return ruling, nil
	}
	const each = slowBars / fastBars
	switch {
	case each*c.fast > c.slow && view.Position == 0:
		ruling.Action = decision.Buy
	case each*c.fast < c.slow && view.Position > 0:
		ruling.Action = decision.Sell
	}
	return ruling, nil
}

// restless is a judge that wants what it does not have, every so many times that it
// is asked.
type restless struct{ every, asked int }

func (*restless) Name() string { return "measure/restless" }

// Rule implements decision.Judge.
func (r *restless) Rule(_ context.Context, _, _ decision.Argument, view decision.View) (decision.Ruling, error) {
	ruling := decision.Ruling{Action: decision.Hold, ConfidenceMicros: 900_000, Judge: r.Name()}
	if r.asked++; r.asked%r.every != 0 {
		return ruling, nil
	}
	ruling.Action = decision.Buy
	if view.Position > 0 {
		ruling.Action = decision.Sell
	}
	return ruling, nil
}
