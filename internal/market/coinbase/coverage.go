package coinbase

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Span is how much of the past of one product is needed.
type Span struct {
	Base, Quote string
	// Granularity is one of Granularities.
	Granularity time.Duration
	// Past is how far back the candles must reach.
	Past time.Duration
}

// Coverage is what the exchange has of a span.
type Coverage struct {
	// Age is how long ago the newest candle ended, by the exchange's clock. Where
	// the last 299 candles had no trade it is their length.
	Age time.Duration
	// Reaches says that there are candles from before the span.
	Reaches bool
}

// ErrNotListed says that the exchange has no such product.
var ErrNotListed = errors.New("it has no such product")

// Checker asks the exchange what it has, and trades on nothing of it.
type Checker struct {
	base, host string
	http       *http.Client
	limiter    *rate.Limiter
}

// NewChecker makes a checker for the exchange at an address; DefaultURL when
// empty. A nil client is one with sensible time-outs.
func NewChecker(address string, with *http.Client) (*Checker, error) {
	if address == "" {
		address = DefaultURL
	}
	base, err := checkBase(address)
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if with == nil {
		with = &http.Client{Timeout: requestTimeout}
	}
	return &Checker{base: base, host: parsed.Host, http: with, limiter: rate.NewLimiter(requestsPerSecond, requestBurst)}, nil
}

// Cover asks what the exchange has of a span, in two requests, three if
// our clock is wrong. It
// fails with ErrNotListed, and with an error that Unreachable explains while the
// exchange does not answer as it should.
func (c *Checker) Cover(ctx context.Context, span Span) (Coverage, error) {
	if !slices.Contains(Granularities, span.Granularity) {
		return Coverage{}, fmt.Errorf("candles of %s do not exist on the exchange; it has %v", span.Granularity, Granularities)
	}
	// The steps of the AssetPair do not matter here, because no price leaves this
	// function: these hold the cheapest coin and the largest volume.
	instrument, err := market.NewInstrument(span.Base, span.Quote, decimal.New(1, -10), decimal.New(1, 0), decimal.Zero)
	if err != nil {
		return Coverage{}, err
	}
	asking := &client{base: c.base, http: c.http, limiter: c.limiter, granularity: span.Granularity}
	width := maxCandles * span.Granularity
	recent := func(now time.Time) ([]market.Bar, time.Time, error) {
		end := now.UTC().Truncate(span.Granularity)
		return asking.candles(ctx, instrument, end.Add(-width), end)
	}
	asked := time.Now()
	bars, now, err := recent(asked)
	if err == nil && now.Sub(asked).Abs() > span.Granularity {
		// Our clock is wrong by so much that the wrong candles were asked for.
		bars, now, err = recent(now)
	}
	if err != nil {
		return Coverage{}, err
	}
	coverage := Coverage{Age: width}
	needed := now.Add(-span.Past)
	if len(bars) > 0 {
		coverage.Age = max(now.Sub(bars[len(bars)-1].End), 0)
		coverage.Reaches = !bars[0].Start.After(needed)
	}
	if !coverage.Reaches {
		end := needed.Truncate(span.Granularity)
		older, _, err := asking.candles(ctx, instrument, end.Add(-width), end)
		if err != nil {
			return Coverage{}, err
		}
		coverage.Reaches = len(older) > 0
	}
	return coverage, nil
}

// Unreachable says in words that stay the same from one attempt to the next why
// Cover had no answer.
func (c *Checker) Unreachable(err error) string {
	var busy *busyError
	var timeout net.Error
	var unknownHost *net.DNSError
	var untrusted *tls.CertificateVerificationError
	why := "cannot be reached"
	switch {
	case errors.As(err, &busy):
		why = "answers " + busy.status
	case errors.Is(err, errRefused):
		why = "refuses the request"
	case errors.Is(err, errMalformed):
		why = "answers something else than candles"
	case errors.As(err, &unknownHost):
		why = "has a name that cannot be resolved"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		why = "does not answer in time"
	case errors.As(err, &untrusted):
		why = "shows a certificate that is not trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "refuses the connection"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		why = "closes the connection"
	}
	return fmt.Sprintf("Coinbase Exchange at %s %s", c.host, why)
}

// RetryAfter is how long the exchange has asked to be left alone; zero if it has
// not.
func RetryAfter(err error) time.Duration {
	if busy, ok := errors.AsType[*busyError](err); ok {
		return busy.after
	}
	return 0
}
