package coinbase

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

const (
	// maxCandles is how many buckets the exchange allows in one request, less
	// one because it counts both ends of the range.
	maxCandles = 299
	// maxBody bounds an answer; 300 candles are some 20 KiB.
	maxBody = 1 << 20
	// maxRetryAfter bounds how long the exchange can make the feed wait.
	maxRetryAfter = 5 * time.Minute
)

var (
	// errRefused marks what no repetition mends: the request itself is wrong.
	errRefused = errors.New("refused by the exchange")
	// errMalformed marks an answer that is not what was asked for.
	errMalformed = errors.New("the answer is not a list of candles")
)

// busyError is an answer that asks to come back later.
type busyError struct {
	status string
	after  time.Duration
}

func (e *busyError) Error() string {
	if e.after > 0 {
		return fmt.Sprintf("the exchange answers %s, to be asked again after %s", e.status, e.after)
	}
	return "the exchange answers " + e.status
}

// client speaks the one request that the feed needs.
type client struct {
	base        string
	http        *http.Client
	limiter     *rate.Limiter
	granularity time.Duration
}

// candles are the buckets that begin at from or later and end at to or before,
// in order, and the exchange's own time. The exchange lists the newest first,
// may add some before the range and the one that is not over, and leaves out
// those without a trade. More than maxCandles must not be asked for.
func (c *client) candles(ctx context.Context, instrument market.Instrument, from, to time.Time) ([]market.Bar, time.Time, error) {
	if err := c.limiter.Wait(ctx); err != nil {
		return nil, time.Time{}, err
	}
	query := url.Values{
		"granularity": {strconv.Itoa(int(c.granularity / time.Second))},
		"start":       {from.Format(time.RFC3339)},
		"end":         {to.Format(time.RFC3339)},
	}
	product := instrument.Base + "-" + instrument.Quote
	address := c.base + "/products/" + url.PathEscape(product) + "/candles?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", errRefused, err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "trading-operator") // without one the exchange answers 400
	response, err := c.http.Do(request)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("cannot reach the exchange: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the answer breaks off: %w", err)
	}
	now := serverTime(response)
	if response.StatusCode != http.StatusOK {
		return nil, now, refusal(response, body, product)
	}
	bars, err := c.decode(body, instrument, from, to)
	return bars, now, err
}

// serverTime is the exchange's clock, to the second; ours if it does not say.
func serverTime(response *http.Response) time.Time {
	if at, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		return at.UTC()
	}
	return time.Now().UTC()
}

// refusal tells an answer that may change from one that will not.
func refusal(response *http.Response, body []byte, product string) error {
	switch code := response.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusForbidden, code >= 500:
		// The exchange's shield answers 403 when it is under attack.
		return &busyError{status: response.Status, after: retryAfter(response.Header.Get("Retry-After"))}
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w: %s; check base and quote of the AssetPair", errRefused, ErrNotListed, product)
	}
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = "no reason given"
	}
	return fmt.Errorf("%w: %s: %.200q", errRefused, response.Status, said.Message)
}

// retryAfter reads seconds or a date; zero is no wish.
func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// decode reads [[time, low, high, open, close, volume], …].
func (c *client) decode(body []byte, instrument market.Instrument, from, to time.Time) ([]market.Bar, error) {
	var buckets [][]json.Number
	if err := json.Unmarshal(body, &buckets); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	bars := make([]market.Bar, 0, len(buckets))
	for i, bucket := range buckets {
		bar, err := c.bar(bucket, instrument)
		if err != nil {
			return nil, fmt.Errorf("%w: candle %d: %w", errMalformed, i+1, err)
		}
		if !bar.Start.Before(from) && !bar.End.After(to) {
			bars = append(bars, bar)
		}
	}
	slices.SortStableFunc(bars, func(a, b market.Bar) int { return cmp.Compare(a.Start.Unix(), b.Start.Unix()) })
	return slices.CompactFunc(bars, func(a, b market.Bar) bool { return a.Start.Equal(b.Start) }), nil
}

func (c *client) bar(bucket []json.Number, instrument market.Instrument) (market.Bar, error) {
	const fields = 6
	if len(bucket) != fields {
		return market.Bar{}, fmt.Errorf("has %d fields where time, low, high, open, close and volume are expected", len(bucket))
	}
	seconds, err := bucket[0].Int64()
	if err != nil || seconds < 0 || seconds%int64(c.granularity/time.Second) != 0 {
		return market.Bar{}, fmt.Errorf("its time %.40q does not begin a candle of %s", bucket[0], c.granularity)
	}
	start := time.Unix(seconds, 0).UTC()
	bar := market.Bar{Start: start, End: start.Add(c.granularity)}
	for i, price := range []*market.Price{&bar.Low, &bar.High, &bar.Open, &bar.Close} {
		if *price, err = instrument.ParsePrice(bucket[i+1].String()); err != nil {
			return market.Bar{}, err
		}
	}
	if bar.Volume, err = instrument.ParseQuantity(bucket[5].String()); err != nil {
		return market.Bar{}, err
	}
	if err := bar.Check(); err != nil {
		return market.Bar{}, fmt.Errorf("of %s cannot be true: %w", start.Format(time.RFC3339), err)
	}
	return bar, nil
}

// checkBase refuses an address that is not one.
func checkBase(base string) (string, error) {
	parsed, err := url.Parse(base)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") || parsed.RawQuery != "" {
		return "", fmt.Errorf("the exchange's address %q must be like %s", base, DefaultURL)
	}
	return strings.TrimSuffix(base, "/"), nil
}
