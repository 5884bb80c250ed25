// Package decision holds the debate: the models that argue for and against on
// the market's pulse, and the judge who rules. Everything in it is deterministic;
// the same bars give the same ruling on every machine.
package decision

import (
	"context"
	"fmt"

	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Action is what a judge rules.
type Action string

// The actions.
const (
	Buy  Action = "Buy"
	Sell Action = "Sell"
	Hold Action = "Hold"
)

// Role is the side that a model speaks for.
type Role string

// The two roles: the bull argues for buying, the bear for selling.
const (
	Bull Role = "Bull"
	Bear Role = "Bear"
)

// side is +1 for the bull and -1 for the bear: what is good for the one is bad
// for the other by the same measure.
func (r Role) side() int64 {
	if r == Bear {
		return -1
	}
	return 1
}

// View is what the debate looks at.
type View struct {
	Pair string
	// Fast is the pulse of the bars that decisions are made on, Slow that of
	// bars SlowFactor times as long. SlowReady is false while the past is too
	// short for it.
	Fast, Slow indicator.Reading
	SlowReady  bool
	// Position is +1 if the pair is held, -1 if it is short, 0 if it is flat.
	Position int
	// Gain of the position since its entry, in millionths of the entry price.
	Gain int64
	// Terse says that nobody will read the reasons: voices that are asked by the
	// million leave them out. It changes no confidence and no ruling.
	Terse bool
}

// SlowFactor is how many of the fast pulse's bars make one of the slow pulse.
const SlowFactor = 6

// Argument is what one side says.
type Argument struct {
	Role  Role   `json:"role"`
	Model string `json:"model"`
	// ConfidenceMicros is how sure the side is of its case, 0 to 1,000,000.
	ConfidenceMicros int64 `json:"confidenceMicros"`
	// Reasons are short sentences with the figures that they rest on.
	Reasons []string `json:"reasons"`
}

// Ruling is the outcome of a debate.
type Ruling struct {
	Action           Action     `json:"action"`
	ConfidenceMicros int64      `json:"confidenceMicros"`
	Judge            string     `json:"judge"`
	Reasons          []string   `json:"reasons"`
	Arguments        []Argument `json:"arguments"`
}

// Model argues for one side. An error means that it has nothing to say; no
// order then follows, and it is not asked again about the same bar.
type Model interface {
	Name() string
	Argue(ctx context.Context, role Role, view View) (Argument, error)
}

// Judge weighs both sides.
type Judge interface {
	Name() string
	Rule(ctx context.Context, bull, bear Argument, view View) (Ruling, error)
}

// Debate is the three voices.
type Debate struct {
	Bull, Bear Model
	Judge      Judge
	// Terse debates keep no reasons; backtests hold them.
	Terse bool
}

// NewDebate finds the voices by name.
func NewDebate(bull, bear, judge string) (Debate, error) {
	models := map[string]Model{"builtin/trend": trend{}, "builtin/reversion": reversion{}}
	judges := map[string]Judge{"builtin/quorum": quorum{}}
	debate := Debate{Bull: models[bull], Bear: models[bear], Judge: judges[judge]}
	for _, voice := range []struct {
		role, name string
		found      bool
	}{{"bull", bull, debate.Bull != nil}, {"bear", bear, debate.Bear != nil}} {
		if !voice.found {
			return Debate{}, fmt.Errorf("the %s's model %q is not known; choose builtin/trend or builtin/reversion", voice.role, voice.name)
		}
	}
	if debate.Judge == nil {
		return Debate{}, fmt.Errorf("the judge's model %q is not known; choose builtin/quorum", judge)
	}
	return debate, nil
}

// Hold hears both sides and the judge.
func (d Debate) Hold(ctx context.Context, view View) (Ruling, error) {
	view.Terse = d.Terse
	bull, err := d.Bull.Argue(ctx, Bull, view)
	if err != nil {
		return Ruling{}, fmt.Errorf("the bull %s: %w", d.Bull.Name(), err)
	}
	bear, err := d.Bear.Argue(ctx, Bear, view)
	if err != nil {
		return Ruling{}, fmt.Errorf("the bear %s: %w", d.Bear.Name(), err)
	}
	ruling, err := d.Judge.Rule(ctx, bull, bear, view)
	if err != nil {
		return Ruling{}, fmt.Errorf("the judge %s: %w", d.Judge.Name(), err)
	}
	return ruling, nil
}

// Side of the order that the action asks for; 0 for Hold.
func (a Action) Side() order.Side {
	switch a {
	case Buy:
		return order.Buy
	case Sell:
		return order.Sell
	case Hold:
	}
	return 0
}
