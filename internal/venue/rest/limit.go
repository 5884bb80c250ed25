package rest

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"
)

// Limit on one kind of requests.
type Limit struct {
	PerSecond float64
	// Burst is how many may leave at once after a rest.
	Burst int
}

// Limits are one for each kind, so that none takes another's turn: a flood of
// questions holds up no cancellation. Their sum must stay below what the venue
// allows.
type Limits struct{ Questions, Placements, Cancellations Limit }

// kind of a request.
type kind int

const (
	question kind = iota
	placing
	cancellation
)

type limiter interface{ Wait(context.Context) error }

func (l Limits) limiters() (made [3]limiter, err error) {
	for kind, limit := range map[kind]Limit{question: l.Questions, placing: l.Placements, cancellation: l.Cancellations} {
		if limit.PerSecond <= 0 || limit.Burst < 1 {
			return made, fmt.Errorf("a limit of %g requests a second, %d at once, lets none out", limit.PerSecond, limit.Burst)
		}
		made[kind] = rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst)
	}
	return made, nil
}
