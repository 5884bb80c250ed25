// Package coinbase follows the public candles of Coinbase Exchange, for which no
// credentials are needed.
package coinbase

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// DefaultURL is the exchange's public address.
const DefaultURL = "https://api.exchange.coinbase.com"

const (
	// requestTimeout is for one request; the exchange answers within a second.
	requestTimeout = 10 * time.Second
	// settle is how long after its end a candle is first asked for.
	settle = 2 * time.Second
	// The exchange allows ten public requests a second and address; several
	// agents may share one.
	requestsPerSecond, requestBurst = 3, 3
	// The pause after a failure doubles between these.
	minBackOff, maxBackOff = time.Second, time.Minute
	// maxCatchUp is how many candles are made up for after an outage.
	maxCatchUp = 5 * maxCandles
)

// asks are the pauses after which a candle that is not there yet is asked for
// again. After the last the pair had no trade in that time.
var asks = []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second}

// Granularities are the lengths of candles that the exchange has.
var Granularities = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// Options say which candles to follow.
type Options struct {
	// Granularity is one of Granularities.
	Granularity time.Duration
	// WarmUp is how many candles before now go to the history of each pair. A
	// pair that traded rarely has fewer.
	WarmUp int
	// URL of the exchange; DefaultURL when empty.
	URL string
	// Client for the requests; one with sensible time-outs when nil.
	Client *http.Client
	// Report is told of every failed request that will be repeated; nil is
	// nobody.
	Report func(error)
}

// Feed follows the market: each candle once, after it has ended, never the one
// that is still changing. A candle that the exchange publishes only after those
// of the same time were delivered is left out, so that time never runs
// backwards; so is the time before the last 1,495 candles of an outage.
type Feed struct {
	client      *client
	instruments []market.Instrument
	report      func(error)
	history     []market.PairBar
	queue       []market.PairBar
	// done is the end of the last candles that were delivered or given up.
	done time.Time
	// skew is the exchange's clock less ours.
	skew time.Duration
}

var _ market.Feed = (*Feed)(nil)

// Open reads the history and begins to follow the market. It repeats failed
// requests until the context ends; an error otherwise means that the exchange
// does not know a pair or that the options are wrong.
func Open(ctx context.Context, instruments []market.Instrument, options Options) (*Feed, error) {
	if !slices.Contains(Granularities, options.Granularity) {
		return nil, fmt.Errorf("candles of %s do not exist on the exchange; it has %v", options.Granularity, Granularities)
	}
	if len(instruments) == 0 || options.WarmUp < 0 {
		return nil, errors.New("at least one pair and a warm-up of zero or more candles are needed")
	}
	if options.URL == "" {
		options.URL = DefaultURL
	}
	base, err := checkBase(options.URL)
	if err != nil {
		return nil, err
	}
	if options.Client == nil {
		options.Client = &http.Client{Timeout: requestTimeout}
	}
	if options.Report == nil {
		options.Report = func(error) {}
	}
	feed := &Feed{
		client:      &client{base: base, http: options.Client, limiter: rate.NewLimiter(requestsPerSecond, requestBurst), granularity: options.Granularity},
		instruments: instruments,
		report:      options.Report,
	}
	if err := feed.readHistory(ctx, options.WarmUp); err != nil {
		return nil, err
	}
	return feed, nil
}

// readHistory asks at least for one candle of each pair, which is how a pair
// that the exchange does not have is found at once.
func (f *Feed) readHistory(ctx context.Context, warmUp int) error {
	end := f.closed()
	if _, err := f.ask(ctx, f.instruments[0], end.Add(-f.client.granularity), end); err != nil {
		return err
	}
	f.done = f.closed() // by the exchange's clock, which is known now
	from := f.done.Add(-time.Duration(max(warmUp, 1)) * f.client.granularity)
	for _, instrument := range f.instruments {
		bars, err := f.askAll(ctx, instrument, from, f.done)
		if err != nil {
			return err
		}
		if warmUp > 0 {
			f.history = appendPair(f.history, instrument.Pair, bars)
		}
	}
	sortByEnd(f.history)
	return nil
}

// closed is the end of the newest candle that has settled, by the exchange's
// clock.
func (f *Feed) closed() time.Time {
	return time.Now().Add(f.skew - settle).UTC().Truncate(f.client.granularity)
}

// History implements market.Feed.
func (f *Feed) History() []market.PairBar { return f.history }

// Describe implements market.Feed.
func (f *Feed) Describe() string {
	const shown = 8
	pairs := make([]string, 0, shown+1)
	for i, instrument := range f.instruments {
		if i == shown {
			pairs = append(pairs, fmt.Sprintf("%d more", len(f.instruments)-shown))
			break
		}
		pairs = append(pairs, instrument.Pair)
	}
	return fmt.Sprintf("Coinbase Exchange candles of %s for %s", f.client.granularity, strings.Join(pairs, ", "))
}

// Next implements market.Feed. While the exchange cannot be reached it blocks;
// what was missed is delivered, in order and marked as late, when it can be.
func (f *Feed) Next(ctx context.Context) (market.PairBar, error) {
	for len(f.queue) == 0 {
		if err := f.collect(ctx); err != nil {
			return market.PairBar{}, err
		}
	}
	bar := f.queue[0]
	f.queue = f.queue[1:]
	return bar, nil
}

// collect waits for the next candles to end and queues them. A failure leaves
// nothing half done, so that it can be called again.
func (f *Feed) collect(ctx context.Context) error {
	due := f.done.Add(f.client.granularity + settle - f.skew)
	if err := sleep(ctx, time.Until(due)); err != nil {
		return err
	}
	to := f.closed()
	if !to.After(f.done) {
		return nil // the exchange's clock was corrected meanwhile
	}
	from := f.done
	if earliest := to.Add(-maxCatchUp * f.client.granularity); from.Before(earliest) {
		from = earliest
	}
	collected := make([][]market.Bar, len(f.instruments))
	for attempt := 0; ; attempt++ {
		late := false
		for i, instrument := range f.instruments {
			if n := len(collected[i]); n > 0 && collected[i][n-1].End.Equal(to) {
				continue
			}
			bars, err := f.askAll(ctx, instrument, from, to)
			if err != nil {
				return err
			}
			collected[i] = bars
			late = late || len(bars) == 0 || !bars[len(bars)-1].End.Equal(to)
		}
		if !late || attempt == len(asks) {
			break
		}
		if err := sleep(ctx, asks[attempt]); err != nil {
			return err
		}
	}
	for i, bars := range collected {
		f.queue = appendPair(f.queue, f.instruments[i].Pair, bars)
	}
	for i := range f.queue {
		f.queue[i].Late = f.queue[i].End.Before(to)
	}
	sortByEnd(f.queue)
	f.done = to
	return nil
}

// askAll asks for a range of any length, in parts that the exchange allows.
func (f *Feed) askAll(ctx context.Context, instrument market.Instrument, from, to time.Time) ([]market.Bar, error) {
	var all []market.Bar
	for from.Before(to) {
		until := from.Add(maxCandles * f.client.granularity)
		if until.After(to) {
			until = to
		}
		bars, err := f.ask(ctx, instrument, from, until)
		if err != nil {
			return nil, err
		}
		all = append(all, bars...)
		from = until
	}
	return all, nil
}

// ask repeats one request until it is answered or refused.
func (f *Feed) ask(ctx context.Context, instrument market.Instrument, from, to time.Time) ([]market.Bar, error) {
	pause := minBackOff
	for {
		bars, now, err := f.client.candles(ctx, instrument, from, to)
		if !now.IsZero() {
			f.skew = time.Until(now)
		}
		if err == nil {
			return bars, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = fmt.Errorf("candles of %s at Coinbase Exchange: %w", instrument.Pair, err)
		if errors.Is(err, errRefused) {
			return nil, err
		}
		f.report(err)
		// Half of the pause is left to chance, so that a desk's agents do not
		// come back together.
		wait := pause/2 + rand.N(pause/2+1) //nolint:gosec // chance spreads the load here and guards nothing
		var busy *busyError
		if errors.As(err, &busy) && busy.after > wait {
			wait = busy.after
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		pause = min(2*pause, maxBackOff)
	}
}

func appendPair(to []market.PairBar, pair string, bars []market.Bar) []market.PairBar {
	for _, bar := range bars {
		to = append(to, market.PairBar{Pair: pair, Bar: bar})
	}
	return to
}

// sortByEnd keeps the order of pairs among bars of the same end.
func sortByEnd(bars []market.PairBar) {
	slices.SortStableFunc(bars, func(a, b market.PairBar) int { return a.End.Compare(b.End) })
}

// sleep waits, or returns the context's error when that ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
