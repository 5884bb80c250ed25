package coinbase

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase/coinbasetest"
)

func TestCover(t *testing.T) {
	before := func(span time.Duration) func(string, time.Time) bool {
		return func(_ string, start time.Time) bool { return time.Since(start) < span }
	}
	after := func(span time.Duration) func(string, time.Time) bool {
		return func(_ string, start time.Time) bool { return time.Since(start) > span }
	}
	for _, test := range []struct {
		name    string
		skew    time.Duration
		idle    func(string, time.Time) bool
		past    time.Duration
		age     time.Duration
		reaches bool
		asks    int
	}{
		{"traded in every minute", 0, nil, 3 * time.Hour, 17 * time.Second, true, 1},
		{"far back", 0, nil, 40 * time.Hour, 17 * time.Second, true, 2},
		{"our clock is slow", time.Hour, nil, 3 * time.Hour, 17 * time.Second, true, 2},
		{"our clock is fast", -48 * time.Hour, nil, 3 * time.Hour, 17 * time.Second, true, 2},
		{"quiet for an hour", 0, before(time.Hour), 3 * time.Hour, time.Hour - 43*time.Second, true, 1},
		{"quiet for a day", 0, before(24 * time.Hour), 30 * time.Hour, 299 * time.Minute, true, 2},
		{"listed an hour ago", 0, after(time.Hour), 3 * time.Hour, 17 * time.Second, false, 2},
		{"never traded", 0, after(0), 3 * time.Hour, 299 * time.Minute, false, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := sleep(t.Context(), 12*time.Hour+17*time.Second); err != nil {
					t.Fatal(err)
				}
				e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}, Skew: test.skew, Idle: test.idle}
				checker, err := NewChecker("http://exchange.test/", serve(t, e))
				if err != nil {
					t.Fatal(err)
				}
				got, err := checker.Cover(t.Context(), Span{Base: "BTC", Quote: "USD", Granularity: time.Minute, Past: test.past})
				if want := (Coverage{Age: test.age, Reaches: test.reaches}); err != nil || got != want {
					t.Errorf("got %+v, %v; want %+v", got, err, want)
				}
				if asks := len(e.Asked()); asks != test.asks {
					t.Errorf("%d requests, want %d", asks, test.asks)
				}
			})
		})
	}
}

// What keeps the exchange from answering is said in the same words every time,
// because a condition must not change with a port or a time.
func TestCoverFailures(t *testing.T) {
	for name, test := range map[string]struct {
		failure http.HandlerFunc
		says    string
	}{
		"busy":       {coinbasetest.TooMany("7"), "answers 429 Too Many Requests"},
		"down":       {coinbasetest.Broken(http.StatusServiceUnavailable), "answers 503 Service Unavailable"},
		"a page":     {coinbasetest.Page, "answers something else than candles"},
		"impossible": {coinbasetest.ImpossibleCandle, "answers something else than candles"},
		"cut off":    {coinbasetest.CutOff, "closes the connection"},
		"hang up":    {coinbasetest.HangUp, "closes the connection"},
		"slow":       {coinbasetest.Hang, "does not answer in time"},
		"refused":    {coinbasetest.Broken(http.StatusBadRequest), "refuses the request"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
				e.Break(test.failure)
				checker, err := NewChecker("http://exchange.test", serve(t, e))
				if err != nil {
					t.Fatal(err)
				}
				_, err = checker.Cover(t.Context(), Span{Base: "BTC", Quote: "USD", Granularity: time.Minute})
				if err == nil || errors.Is(err, ErrNotListed) {
					t.Fatalf("got %v", err)
				}
				if got := checker.Unreachable(err); got != "Coinbase Exchange at exchange.test "+test.says {
					t.Errorf("got %q for %v", got, err)
				}
				if wait := RetryAfter(err); (wait == 7*time.Second) != (name == "busy") {
					t.Errorf("to be asked again after %s", wait)
				}
			})
		})
	}
}

func TestCoverWithoutExchange(t *testing.T) {
	server := httptest.NewUnstartedServer(&coinbasetest.Exchange{})
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	closed := httptest.NewServer(&coinbasetest.Exchange{})
	closed.Close()
	for address, says := range map[string]string{
		server.URL: "shows a certificate that is not trusted",
		closed.URL: "refuses the connection",
	} {
		checker, err := NewChecker(address, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = checker.Cover(t.Context(), Span{Base: "BTC", Quote: "USD", Granularity: time.Minute})
		if got := checker.Unreachable(err); !strings.HasSuffix(got, says) {
			t.Errorf("%s: got %q for %v", address, got, err)
		}
		if got := checker.Unreachable(&net.DNSError{Err: "no such host"}); !strings.HasSuffix(got, "has a name that cannot be resolved") {
			t.Errorf("without a name: got %q", got)
		}
	}
}

func TestCoverRefuses(t *testing.T) {
	if _, err := NewChecker("exchange.example.com", nil); err == nil {
		t.Error("an address without a scheme is taken")
	}
	server := httptest.NewServer(&coinbasetest.Exchange{Products: []string{"BTC-USD"}})
	defer server.Close()
	checker, err := NewChecker(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checker.Cover(t.Context(), Span{Base: "EUR", Quote: "USD", Granularity: time.Hour}); !errors.Is(err, ErrNotListed) {
		t.Errorf("a product that is not there: %v", err)
	}
	if _, err := checker.Cover(t.Context(), Span{Base: "BTC", Quote: "USD", Granularity: 2 * time.Minute}); err == nil {
		t.Error("candles of two minutes are there")
	}
}
