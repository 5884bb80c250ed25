package trader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

type feedResult struct {
	bar market.PairBar
	err error
}

// loop takes bars, wishes of the owner and the time to try again, whichever
// comes first.
func (s *Shell) loop(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	results := make(chan feedResult)
	var reader sync.WaitGroup
	reader.Go(func() { s.read(reading, results) })
	defer reader.Wait()
	defer stop()
	var retry, still <-chan time.Time
	for {
		if still == nil && s.core.ended && s.core.unsettled() {
			still = time.After(stillPace)
		}
		if s.core.recovered {
			retry = nil
		} else if retry == nil {
			retry = time.After(s.pause())
		}
		var err error
		s.busySince.Store(0)
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.work()
			err = s.hear(ctx)
		case result := <-results:
			s.work()
			err = s.take(ctx, result)
		case <-still:
			s.work()
			still = nil
			err = s.standStill(ctx)
		case <-retry:
			s.work()
			retry = nil
			if err = s.reconcile(ctx); err == nil {
				s.backoff = firstBackoff
			} else if !fatal(err) {
				s.options.Log.Info("still not ready to trade", "reason", err.Error())
				s.core.Handle(impairedBy(err))
				err = nil
			}
		}
		s.publish()
		if err != nil {
			return err
		}
	}
}

// work marks the beginning of a turn of the loop.
func (s *Shell) work() { s.busySince.Store(time.Now().UnixNano()) }

// read hands on what the feed delivers, and tries again when it fails.
func (s *Shell) read(ctx context.Context, results chan<- feedResult) {
	pause := firstBackoff
	for ctx.Err() == nil {
		bar, err := s.feed.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case results <- feedResult{bar, err}:
		case <-ctx.Done():
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err == nil:
			pause = firstBackoff
		default:
			select {
			case <-time.After(pause):
				pause = min(2*pause, longestPause)
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *Shell) take(ctx context.Context, result feedResult) error {
	switch {
	case errors.Is(result.err, io.EOF):
		s.options.Log.Info("the market data is at its end")
		return s.dispatch(ctx, DataEnded{})
	case result.err != nil:
		s.options.Log.Info("the market data fails", "reason", result.err.Error())
		return s.dispatch(ctx, DataLost{"market data: " + result.err.Error()})
	}
	return s.step(ctx, result.bar)
}

const (
	// stillPace and stillBar are how often a market that stands still is acted
	// on, and how much of its time passes then.
	stillPace = time.Second
	stillBar  = time.Minute
)

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
	if err := s.dispatch(ctx, Arrived{bar}); err != nil {
		return err
	}
	if s.options.OnBar != nil {
		s.options.OnBar(bar)
	}
	return nil
}

// match lets a venue that lives on the agent's own data fill orders, and books
// new fills. Bars that it could not take are kept for later.
func (s *Shell) match(ctx context.Context, bar market.PairBar) error {
	taker, ok := s.options.Venue.(BarTaker)
	if !s.core.recovered {
		if ok {
			s.miss(bar)
		}
		return nil
	}
	if ok {
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
	}
	call, cancel := s.bounded(ctx)
	events := s.newFills(call)
	cancel()
	for _, event := range events {
		if err := s.dispatch(ctx, event); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shell) miss(bar market.PairBar) {
	if len(s.missed) == mostMissed {
		s.missed = s.missed[1:]
	}
	s.missed = append(s.missed, bar)
}
