package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// line is the exchange as one process reaches it: an adapter and the network in
// between, which loses, delays and overtakes.
type line struct {
	*process
	guard venue.Guard
}

var (
	_ venue.Venue    = (*line)(nil)
	_ venue.Balancer = (*line)(nil)
)

// silence is how long an adapter waits for an answer.
const silence = 2 * time.Second

// mishap is what happens to one request.
type mishap int

const (
	nothing mishap = iota
	requestLost
	replyLost
	// late requests arrive when nobody waits for the answer any more.
	late
	// failsAfter is a server's error although it has done what was asked.
	failsAfter
	// limited is a refusal because of too many requests.
	limited
)

// mishap that strikes now.
func (l *line) mishap() mishap {
	if !l.w.stormy() || !l.w.chance(l.w.plan.mishaps) {
		return nothing
	}
	l.w.counts.Mishaps++
	return mishap(1 + l.w.random.IntN(int(limited)))
}

// ask sends a request that reads, or cancels, and waits for the answer.
func (l *line) ask(ctx context.Context, what string, do func() error) error {
	happens := l.mishap()
	if happens == limited {
		return fmt.Errorf("%w: too many requests", errLine)
	}
	var answered bool
	var failure error
	until := l.w.now.Add(silence)
	if happens != requestLost {
		arrives := l.w.between(5*time.Millisecond, 300*time.Millisecond)
		if happens == late {
			arrives = l.w.between(silence, 20*time.Second)
		}
		l.w.in(arrives, func() {
			err := do()
			if happens == replyLost || happens == late {
				return
			}
			l.w.in(l.w.between(5*time.Millisecond, 300*time.Millisecond), func() {
				answered, failure = true, err
				if happens == failsAfter {
					failure = fmt.Errorf("%w: 502", errLine)
				}
				l.poke()
			})
		})
	}
	l.w.at(until, l.poke)
	if err := l.await(ctx, func() bool { return answered || !l.w.now.Before(until) }); err != nil {
		return fmt.Errorf("%w to %s: %w", errLine, what, err)
	}
	if !answered {
		return fmt.Errorf("%w to %s", errLine, what)
	}
	return failure
}

// Traits implements venue.Venue.
func (l *line) Traits() venue.Traits { return l.w.exchange.traits }

// Freeze implements venue.Venue.
func (l *line) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	instrument := l.w.exchange.instruments[intent.Pair]
	return fmt.Appendf(nil, "%s %s %s %s at %s until %s", intent.ID, intent.Side, instrument.QuantityDecimal(intent.Quantity), intent.Pair,
		instrument.PriceDecimal(intent.Limit), notAfter.Format(time.RFC3339Nano)), nil
}

// Place implements venue.Venue.
func (l *line) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	id := request.Intent.ID
	exit, err := l.guard.Leaves(id, request.Body)
	if err != nil {
		l.w.note("kept", id.String(), l.name)
		return venue.Order{}, err
	}
	// Connecting takes its time, and much may happen meanwhile.
	if err := l.sleep(ctx, l.w.between(0, l.w.plan.connecting)); err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
	}
	if err := exit(func() { l.w.judge.left(l.process, &request) }); err != nil {
		l.w.note("kept", id.String(), l.name)
		return venue.Order{}, err
	}
	happens := l.mishap()
	if happens == limited {
		l.w.judge.limits.over(id)
		return venue.Order{}, &venue.RejectedError{Code: "RateLimited", Message: "too many requests"}
	}
	var answered bool
	var answer venue.Order
	var failure error
	if happens == requestLost {
		l.w.counts.Lost++
		l.w.judge.limits.over(id)
	} else {
		arrives := l.w.between(5*time.Millisecond, 300*time.Millisecond)
		if happens == late {
			arrives = l.w.between(time.Second, l.w.plan.latest)
		}
		signed := l.w.now
		if expiry := l.w.exchange.traits.RequestExpiry; expiry > 0 && arrives > expiry {
			l.w.in(expiry, func() { l.w.judge.limits.over(id) })
		}
		l.w.in(arrives, func() {
			placed, err := l.w.exchange.accept(&request, signed, l.process)
			if err != nil {
				l.w.judge.limits.over(id)
			}
			if happens == replyLost {
				return
			}
			l.w.in(l.w.between(5*time.Millisecond, 300*time.Millisecond), func() {
				answered, answer, failure = true, placed, err
				if happens == failsAfter {
					failure = fmt.Errorf("%w: 502", venue.ErrUnknownOutcome)
				}
				l.poke()
			})
		})
	}
	if err := l.await(ctx, func() bool { return answered }); err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
	}
	return answer, failure
}

// Cancel implements venue.Venue.
func (l *line) Cancel(ctx context.Context, ref venue.Ref) error {
	return l.ask(ctx, "cancel", func() error { return l.w.exchange.cancel(ref) })
}

// Lookup implements venue.Venue.
func (l *line) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	var found venue.Order
	err := l.ask(ctx, "lookup", func() error {
		o := l.w.exchange.find(ref)
		if o == nil {
			return venue.ErrNotFound
		}
		found = o.tell()
		return nil
	})
	return found, err
}

// Open implements venue.Venue.
func (l *line) Open(ctx context.Context) ([]venue.Order, error) {
	var open []venue.Order
	err := l.ask(ctx, "open orders", func() error { open = l.w.exchange.open(l.pairs()); return nil })
	return open, err
}

// Fills implements venue.Venue.
func (l *line) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	var fills []order.Fill
	next := cursor
	err := l.ask(ctx, "fills", func() (err error) { fills, next, err = l.w.exchange.fills(l.pairs(), cursor); return err })
	return fills, next, err
}

// Balances implements venue.Balancer.
func (l *line) Balances(ctx context.Context) ([]venue.Balance, error) {
	var balances []venue.Balance
	err := l.ask(ctx, "balances", func() error { balances = l.w.exchange.balances(); return nil })
	return balances, err
}

func (l *line) pairs() []string {
	pairs := make([]string, 0, len(l.agent.config.Agent.Instruments))
	for _, instrument := range l.agent.config.Agent.Instruments {
		pairs = append(pairs, instrument.Pair)
	}
	return pairs
}
