package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

const (
	// lookPace is how often a process that cannot trade yet looks for halts by
	// itself: whatever it waits for may hang.
	lookPace = 500 * time.Millisecond
	// sweepPause is between two attempts to cancel, and sweptPause after one that has
	// succeeded: what a former process has sent may still arrive.
	sweepPause, sweptPause = time.Second, 10 * time.Second
	// sweepTimeout bounds one attempt.
	sweepTimeout = 10 * time.Second
)

// obeyMeanwhile acknowledges halts and has the venue cancel what they want cancelled,
// whatever the start of the trader waits for, until it is stopped, which waits for its
// end. Before it is called, no other process of the agent may be at work.
func (p *process) obeyMeanwhile(ctx context.Context, watcher manifests) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		bound := 0
		often(ctx, func() {
			// Whoever starts the trader ends on what cannot be read.
			desk, err := p.read(ctx, watcher)
			if err != nil {
				return
			}
			if now := len(p.halts.see(&desk)); now != bound {
				bound = now
				p.signal()
			}
		})
	})
	group.Go(func() {
		s := &sweeper{process: p}
		defer s.close()
		often(ctx, func() {
			if desk, err := watcher.Desk(ctx); err == nil {
				s.look(ctx, &desk)
			}
		})
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// often does something at the pace of looking, first after one pause: what answers at
// once leaves nothing to be done.
func often(ctx context.Context, do func()) {
	ticker := time.NewTicker(lookPace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// sweeper obeys halts while the ledger does not say yet what is open: the venue
// knows. It cancels by pairs, which on this account are the agent's alone; the
// operator starts no second agent on one. What rests on the paper venue is in the
// ledger, where nothing fills it meanwhile.
type sweeper struct {
	*process
	opened *venues.Keyed
	// pairs that were swept last, when they are due again, and the pause after
	// credentials that could not be used.
	pairs []string
	due   time.Time
	pause time.Duration
}

// look sweeps what is due.
func (s *sweeper) look(ctx context.Context, desk *link.Desk) {
	settings := s.settings(desk)
	if desk.Account == nil || desk.Account.Access() == nil {
		return
	}
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, s.holder)
	if err != nil {
		s.say("open orders cannot be cancelled at the venue: " + err.Error())
		return
	}
	var pairs []string
	for _, instrument := range config.Agent.Instruments {
		if settings.CancelsAll(instrument.Pair) {
			pairs = append(pairs, instrument.Pair)
		}
	}
	if slices.Equal(pairs, s.pairs) && time.Now().Before(s.due) {
		return
	}
	s.pairs = pairs
	if len(pairs) == 0 {
		s.say("")
		return
	}
	switch err := s.sweep(ctx, desk, &config); {
	case ctx.Err() != nil:
	case err != nil:
		s.due = time.Now().Add(s.pauseAfter(err))
		s.log.Info("open orders could not be cancelled", "error", err.Error())
		s.say(fmt.Sprintf("open orders in %s could not be cancelled at the venue yet: %s", strings.Join(pairs, ", "), err))
	default:
		s.due = time.Now().Add(sweptPause)
		s.say("open orders in " + strings.Join(pairs, ", ") + " were cancelled at the venue")
	}
}

// pauseAfter is when to try again. A venue shuts out who tries wrong keys often, and
// may say for how long it wants to be left alone.
func (s *sweeper) pauseAfter(err error) time.Duration {
	if _, wrong := errors.AsType[*venues.CredentialsError](err); wrong {
		_, s.pause = held(err, s.pause)
		return s.pause
	}
	s.pause = 0
	if away, ok := errors.AsType[*venues.UnverifiedError](err); ok {
		return max(sweepPause, away.After)
	}
	if limited, ok := errors.AsType[*venue.RateLimitedError](err); ok {
		return max(sweepPause, limited.After)
	}
	return sweepPause
}

// sweep makes one attempt. It opens the venue without a guard, by which no order
// leaves.
func (s *sweeper) sweep(ctx context.Context, desk *link.Desk, config *trader.Config) error {
	s.venueTurn <- struct{}{}
	defer func() { <-s.venueTurn }()
	if s.opened == nil {
		opened, err := s.openVenue(ctx, desk, config, nil)
		if err != nil {
			return err
		}
		s.opened = opened
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return s.opened.CancelAll(ctx, s.pairs)
}

// say has the status tell what became of open orders.
func (s *sweeper) say(swept string) {
	if s.halts.say(swept) {
		s.signal()
	}
}

func (s *sweeper) close() {
	if s.opened != nil {
		s.opened.Close()
	}
}
