package trader

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Clock is where a shell's time comes from and how it waits. Its methods are
// called by Run's goroutine, but for After.
type Clock interface {
	// Now is the wall-clock time.
	Now() time.Time
	// Bound is a context that ends once a span has passed.
	Bound(ctx context.Context, span time.Duration) (context.Context, context.CancelFunc)
	// After calls a function once a span has passed. It is called from any
	// goroutine and does not wait.
	After(span time.Duration, do func())
	// Next waits for what comes first, or for the end of the context.
	Next(ctx context.Context, awaited Awaited) Came
}

// Awaited is what a shell waits for.
type Awaited struct {
	// Until is when to stop waiting; zero is never.
	Until time.Time
	// Woken receives when somebody wants something of the shell.
	Woken <-chan struct{}
	// Feed of bars; nil if none is wanted.
	Feed market.Feed
}

// Came is what has come: a wish, the time, or a result of the feed.
type Came struct {
	Woken, Due bool
	// Bar is the next one, unless Err says why there is none.
	Bar market.PairBar
	Err error
}

// wallClock is the machine's clock. It reads the feed in a goroutine.
type wallClock struct {
	results chan Came
	stop    context.CancelFunc
	reader  sync.WaitGroup
}

// Now implements Clock.
func (c *wallClock) Now() time.Time { return time.Now() }

// Bound implements Clock.
func (c *wallClock) Bound(ctx context.Context, span time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, span)
}

// After implements Clock.
func (c *wallClock) After(span time.Duration, do func()) { time.AfterFunc(span, do) }

// Next implements Clock.
func (c *wallClock) Next(ctx context.Context, awaited Awaited) Came {
	var due <-chan time.Time
	if !awaited.Until.IsZero() {
		timer := time.NewTimer(time.Until(awaited.Until))
		defer timer.Stop()
		due = timer.C
	}
	var results <-chan Came
	if awaited.Feed != nil {
		results = c.read(ctx, awaited.Feed)
	}
	select {
	case <-ctx.Done():
		return Came{}
	case <-awaited.Woken:
		return Came{Woken: true}
	case <-due:
		return Came{Due: true}
	case came := <-results:
		return came
	}
}

// read begins to read the feed, once.
func (c *wallClock) read(ctx context.Context, feed market.Feed) <-chan Came {
	if c.results != nil {
		return c.results
	}
	reading, stop := context.WithCancel(ctx)
	c.results, c.stop = make(chan Came), stop
	c.reader.Go(func() { readInto(reading, feed, c.results) })
	return c.results
}

// close ends the reading.
func (c *wallClock) close() {
	if c.stop != nil {
		c.stop()
		c.reader.Wait()
	}
}

// readInto hands on what the feed delivers, and tries again when it fails.
func readInto(ctx context.Context, feed market.Feed, results chan<- Came) {
	pause := firstBackoff
	for ctx.Err() == nil {
		bar, err := feed.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case results <- Came{Bar: bar, Err: err}:
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

// marketClock is the time of the data that a backtest goes through: it never
// waits, and two runs are alike.
type marketClock struct{ core *Core }

// Now implements Clock.
func (c marketClock) Now() time.Time { return c.core.now }

// Bound implements Clock; a backtest's calls have no time limit.
func (c marketClock) Bound(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return ctx, func() {}
}

// After implements Clock. Nobody interferes with a backtest.
func (c marketClock) After(time.Duration, func()) {}

// Next implements Clock.
func (c marketClock) Next(ctx context.Context, awaited Awaited) Came {
	bar, err := awaited.Feed.Next(ctx)
	return Came{Bar: bar, Err: err}
}
