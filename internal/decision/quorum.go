package decision

import "context"

// The judge's thresholds, in millionths. They are the rule that the desk has
// always used.
const (
	convincing = 700_000
	clearLead  = 150_000
	exitNeeds  = 750_000
)

// quorum rules Hold unless one side convinces. Hold yields to a side with
// confidence of 0.70 and a lead of 0.15, and to the side that argues for leaving
// a position with confidence of 0.75 that the other side does not exceed. Two
// sides that both convince contradict each other: Hold.
type quorum struct{}

// Name implements Judge.
func (quorum) Name() string { return "builtin/quorum" }

// Rule implements Judge.
func (q quorum) Rule(_ context.Context, bull, bear Argument, view View) (Ruling, error) {
	ruling := Ruling{Action: Hold, Judge: q.Name()}
	if !view.Terse {
		ruling.Arguments = []Argument{bull, bear}
	}
	winner, loser, action := bull, bear, Buy
	if bear.ConfidenceMicros > bull.ConfidenceMicros {
		winner, loser, action = bear, bull, Sell
	}
	exit := (view.Position > 0 && action == Sell) || (view.Position < 0 && action == Buy)
	lead := winner.ConfidenceMicros - loser.ConfidenceMicros
	ruling.ConfidenceMicros = winner.ConfidenceMicros
	say := func(sentence string) []string {
		if view.Terse {
			return nil
		}
		text := append(make([]byte, 0, 128), sentence...)
		text = appendRatio(append(text, ": bull "...), bull.ConfidenceMicros)
		text = appendRatio(append(text, ", bear "...), bear.ConfidenceMicros)
		return []string{string(append(text, '.'))}
	}
	switch {
	case winner.ConfidenceMicros >= convincing && lead >= clearLead:
		ruling.Action = action
		ruling.Reasons = say("One side convinces with a clear lead")
	case exit && winner.ConfidenceMicros >= exitNeeds:
		ruling.Action = action
		ruling.Reasons = say("The case for leaving the position is strong enough")
	case winner.ConfidenceMicros >= convincing:
		ruling.Reasons = say("Both sides have a case and contradict each other")
	default:
		ruling.Reasons = say("Neither side convinces")
	}
	return ruling, nil
}
