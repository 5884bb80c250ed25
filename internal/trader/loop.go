package trader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// loop takes bars, wishes of the owner and what is due, whichever comes first.
func (s *Shell) loop(ctx context.Context) error {
	for {
		s.schedule()
		s.busySince.Store(0)
		came := s.clock.Next(ctx, Awaited{Until: s.due(), Woken: s.wake, Feed: s.feed})
		if ctx.Err() != nil {
			// gofail: var stopping struct{}
			return nil //nolint:nilerr // the end of the context is no failure
		}
		s.work()
		var err error
		switch {
		case came.Woken:
			err = s.hear(ctx)
		case came.Due:
			err = s.attend(ctx)
		default:
			err = s.take(ctx, came.Bar, came.Err)
		}
		s.publish()
		if err != nil {
			return err
		}
	}
}

// work marks the beginning of a turn of the loop.
func (s *Shell) work() { s.busySince.Store(time.Now().UnixNano()) }

// progress marks the end of a command in a turn of the loop: a venue that is down
// costs each of many orders a time-out, and no restart would help.
func (s *Shell) progress() {
	if s.busySince.Load() != 0 {
		s.work()
	}
}

// timetable is when the shell acts of itself; a time that is zero has no
// appointment.
type timetable struct {
	// retry reconciliation, let a market that stands still go on, ask the venue, try
	// again what a halt asks for.
	retry, still, poll, urge time.Time
	// pace of asking, which slows down while nothing happens.
	pace time.Duration
}

const (
	// stillPace and stillBar are how often a market that stands still is acted
	// on, and how much of its time passes then.
	stillPace = time.Second
	stillBar  = time.Minute
	// urgePace is how often what a halt asks for is tried again.
	urgePace = time.Second
	// A venue is asked for open orders as often as this at first, and ever less
	// while there is no news. Where nothing is open it is asked for fills that
	// come to light late, or that are not ours.
	firstPoll, longestPoll = time.Second, 10 * time.Second
	idlePoll               = 30 * time.Second
	unboundedPoll          = 3 * time.Second / 2
)

// schedule makes the appointments that the core's state asks for.
func (s *Shell) schedule() {
	now := s.clock.Now()
	keep := func(at *time.Time, wanted bool, in time.Duration) {
		switch {
		case !wanted:
			*at = time.Time{}
		case at.IsZero():
			*at = now.Add(in)
		}
	}
	keep(&s.times.still, s.core.ended && s.core.unsettled(), stillPace)
	keep(&s.times.urge, s.core.urgent(), urgePace)
	if s.core.recovered {
		s.times.retry = time.Time{}
	} else if s.times.retry.IsZero() {
		s.times.retry = now.Add(s.pause())
	}
	pace := s.pollPace()
	if latest := now.Add(pace); s.times.poll.After(latest) {
		s.times.poll = latest
	}
	keep(&s.times.poll, s.core.recovered && pace > 0, pace)
}

// pollPace is how soon the venue is to be asked; never, if zero. One that fills
// orders against the agent's own data tells of fills with each bar.
func (s *Shell) pollPace() time.Duration {
	switch {
	case s.core.unresolved() && s.traits.RequestExpiry <= 0:
		// The venue may take it at any time, and then it must be known within two
		// seconds. Others refuse it soon, and are not asked more often than they like.
		return unboundedPoll
	case s.core.live && !s.core.ended && (len(s.core.open) > 0 || s.core.unsettled()), s.core.unresolved():
		return max(s.times.pace, firstPoll)
	case s.core.live:
		return idlePoll
	}
	return 0
}

// due is the next appointment; zero if there is none.
func (s *Shell) due() time.Time {
	var next time.Time
	for _, at := range []time.Time{s.times.retry, s.times.still, s.times.poll, s.times.urge} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// attend keeps the appointments that are due.
func (s *Shell) attend(ctx context.Context) error {
	now := s.clock.Now()
	met := func(at *time.Time) bool {
		if at.IsZero() || now.Before(*at) {
			return false
		}
		*at = time.Time{}
		return true
	}
	if met(&s.times.still) {
		if err := s.standStill(ctx); err != nil {
			return err
		}
	}
	if met(&s.times.urge) {
		if err := s.dispatch(ctx, Urged{}); err != nil {
			return err
		}
	}
	if met(&s.times.poll) {
		if err := s.poll(ctx); err != nil {
			return err
		}
	}
	if !met(&s.times.retry) {
		return nil
	}
	err := s.reconcile(ctx)
	switch {
	case err == nil:
		s.backoff = firstBackoff
		return nil
	case fatal(err):
		return err
	}
	s.options.Log.Info("still not ready to trade", "reason", err.Error())
	s.core.Handle(impairedBy(err))
	s.times.retry = s.again(err)
	return nil
}

// poll asks the venue for fills and for the orders whose state it alone knows.
func (s *Shell) poll(ctx context.Context) error {
	s.times.pace = min(2*max(s.times.pace, firstPoll/2), longestPoll)
	if !s.core.recovered {
		return nil
	}
	if s.core.live {
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	return s.dispatch(ctx, Polled{})
}

// mostSilences is how many times in a row a venue may fail to tell of fills
// before it counts as unreachable.
const mostSilences = 5

// ask books what the venue has filled since it was last asked.
func (s *Shell) ask(ctx context.Context) error {
	call, cancel := s.bounded(ctx)
	events, err := s.newFills(call)
	cancel()
	s.silences++
	switch {
	case err == nil:
		s.silences = 0
	case s.silences < mostSilences:
		s.options.Log.Info("the venue does not tell of fills", "reason", err.Error())
	default:
		events = append(events, impairedBy(err))
	}
	return s.dispatchAll(ctx, events)
}

func (s *Shell) dispatchAll(ctx context.Context, events []Event) error {
	for _, event := range events {
		if err := s.dispatch(ctx, event); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shell) take(ctx context.Context, bar market.PairBar, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		s.options.Log.Info("the market data is at its end")
		return s.dispatch(ctx, DataEnded{})
	case err != nil:
		s.options.Log.Info("the market data fails", "reason", err.Error())
		return s.dispatch(ctx, DataLost{"market data: " + err.Error()})
	}
	return s.step(ctx, bar)
}

// standStill lets an agent close positions after the end of a recording: a
// venue that lives on the agent's data goes on at the last prices, because there
// will be no others.
func (s *Shell) standStill(ctx context.Context) error {
	from := s.core.now
	if _, ok := s.options.Venue.(BarTaker); !ok || !s.core.recovered {
		return nil
	}
	for i := range s.core.pairs {
		pair := &s.core.pairs[i]
		if pair.price <= 0 {
			continue
		}
		bar := market.Bar{Start: from, End: from.Add(stillBar), Open: pair.price, High: pair.price, Low: pair.price, Close: pair.price}
		if err := s.match(ctx, market.PairBar{Pair: pair.instrument.Pair, Bar: bar}); err != nil {
			return err
		}
	}
	return s.dispatch(ctx, Ticked{from.Add(stillBar)})
}

func (s *Shell) runInline(ctx context.Context) error {
	for {
		bar, err := s.feed.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the market data: %w", err)
		}
		if err := s.step(ctx, bar); err != nil {
			return err
		}
		if !s.core.recovered {
			return errors.New(s.core.impairment.Message)
		}
	}
}

// step deals with one bar: the venue fills what it fills, the ledger books it,
// and the core decides.
func (s *Shell) step(ctx context.Context, bar market.PairBar) error {
	if err := s.match(ctx, bar); err != nil {
		return err
	}
	s.arrived = Arrived{bar}
	var event Event = &s.arrived
	if bar.Late {
		event = Observed{bar}
	}
	if err := s.dispatch(ctx, event); err != nil {
		return err
	}
	if s.options.OnBar != nil {
		s.options.OnBar(bar)
	}
	return nil
}

// match lets a venue that lives on the agent's own data fill orders, and books
// new fills. Bars that it could not take are kept for later. Other venues tell of
// fills when they are asked.
func (s *Shell) match(ctx context.Context, bar market.PairBar) error {
	taker, ok := s.options.Venue.(BarTaker)
	if !ok {
		return nil
	}
	if !s.core.recovered {
		s.miss(bar)
		return nil
	}
	call, cancel := s.bounded(ctx)
	fills, err := taker.OnBar(call, bar)
	cancel()
	if err != nil {
		s.miss(bar)
		return s.dispatch(ctx, Impaired{ReasonVenueUnreachable, err.Error()})
	}
	if len(fills) == 0 {
		return nil
	}
	call, cancel = s.bounded(ctx)
	events, err := s.newFills(call)
	cancel()
	if err != nil {
		events = append(events, impairedBy(err))
	}
	return s.dispatchAll(ctx, events)
}

func (s *Shell) miss(bar market.PairBar) {
	if len(s.missed) == mostMissed {
		s.missed = s.missed[1:]
	}
	s.missed = append(s.missed, bar)
}
