package coinbase

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase/coinbasetest"
)

func pair(tb testing.TB, base string) market.Instrument {
	tb.Helper()
	instrument, err := market.NewInstrument(base, "USD", decimal.New(1, -2), decimal.New(1, -8), decimal.Zero)
	if err != nil {
		tb.Fatal(err)
	}
	return instrument
}

// follow opens a feed on the exchange, inside a bubble with a fake clock.
func follow(t *testing.T, e *coinbasetest.Exchange, options Options) *Feed {
	t.Helper()
	// The bubble begins at midnight, which is the end of candles of all lengths.
	if err := sleep(t.Context(), 12*time.Hour+17*time.Second); err != nil {
		t.Fatal(err)
	}
	options.Client, options.URL, options.Granularity = serve(t, e), "http://exchange.test", time.Minute
	instruments := make([]market.Instrument, len(e.Products))
	for i, product := range e.Products {
		instruments[i] = pair(t, strings.TrimSuffix(product, "-USD"))
	}
	feed, err := Open(t.Context(), instruments, options)
	if err != nil {
		t.Fatal(err)
	}
	return feed
}

// next takes a bar and wants it to be a finished candle.
func next(t *testing.T, e *coinbasetest.Exchange, feed *Feed) market.PairBar {
	t.Helper()
	bar, err := feed.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, e, bar)
	return bar
}

func check(t *testing.T, e *coinbasetest.Exchange, bar market.PairBar) {
	t.Helper()
	open := market.Price(700_000 + bar.Start.Unix()/60%1000)
	want := market.Bar{Start: bar.Start, End: bar.End, Open: open, High: open + 100, Low: open - 100, Close: open + 50, Volume: 2764374762}
	if bar.Bar != want {
		t.Errorf("%s: got %+v, want %+v", bar.Pair, bar.Bar, want)
	}
	if bar.End.After(e.Now()) {
		t.Errorf("the candle of %s is not over at %s", bar.Start, e.Now())
	}
}

func TestFollowsTheMarket(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 100})
		history := feed.History()
		if len(history) != 100 {
			t.Fatalf("%d candles of history", len(history))
		}
		last := history[len(history)-1].End
		if want := time.Now().UTC().Truncate(time.Minute); !last.Equal(want) {
			t.Errorf("the history ends at %s, not at %s", last, want)
		}
		for i := range history {
			check(t, e, history[i])
		}
		for range 200 {
			bar := next(t, e, feed)
			if !bar.Start.Equal(last) || bar.Pair != "BTC-USD" {
				t.Fatalf("after %s comes %s of %s", last, bar.Start, bar.Pair)
			}
			if after := time.Since(bar.End); bar.Late || after < settle || after > settle+time.Second {
				t.Errorf("delivered %s after its end", after)
			}
			last = bar.End
		}
		if requests := len(e.Asked()); requests > 210 {
			t.Errorf("%d requests for 200 candles", requests)
		}
	})
}

func TestALongHistoryIsAskedForInParts(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 700})
		history := feed.History()
		if len(history) != 700 || e.Widest() > 300 {
			t.Errorf("%d candles, up to %d a request", len(history), e.Widest())
		}
		for i := 1; i < len(history); i++ {
			if !history[i].Start.Equal(history[i-1].End) {
				t.Fatalf("%s after %s", history[i].Start, history[i-1].End)
			}
		}
	})
}

func TestPairsComeInOrderOfTheirEnd(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"ETH-USD", "BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 2})
		got := make([]string, 0, 8)
		for _, bar := range feed.History() {
			got = append(got, bar.Pair)
		}
		for range 4 {
			got = append(got, next(t, e, feed).Pair)
		}
		if want := slices.Repeat([]string{"ETH-USD", "BTC-USD"}, 4); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
}

func TestATimeWithoutATradeHasNoCandle(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD", "ETH-USD"}, Idle: func(product string, start time.Time) bool {
		return product == "BTC-USD" && start.Minute()%3 != 0
	}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{})
		if len(feed.History()) != 0 {
			t.Errorf("%d candles of history without warm-up", len(feed.History()))
		}
		seen := map[string]int{}
		var last market.PairBar
		for range 40 {
			bar := next(t, e, feed)
			if bar.End.Before(last.End) || (bar.End.Equal(last.End) && bar.Pair == last.Pair) {
				t.Fatalf("%s %s after %s %s", bar.Pair, bar.End, last.Pair, last.End)
			}
			if after := time.Since(bar.End); after > settle+11*time.Second {
				t.Errorf("delivered %s after its end", after)
			}
			seen[bar.Pair]++
			last = bar
		}
		if seen["BTC-USD"] != 10 || seen["ETH-USD"] != 30 {
			t.Errorf("%v", seen)
		}
	})
}

func TestALatePublicationIsAwaited(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 1})
		e.Lag = 6 * time.Second
		last := feed.History()[0].End
		for range 20 {
			bar := next(t, e, feed)
			if !bar.Start.Equal(last) || time.Since(bar.End) < e.Lag {
				t.Fatalf("%s after %s", bar.Start, last)
			}
			last = bar.End
		}
	})
}

func TestFailuresLoseAndDoubleNothing(t *testing.T) {
	for name, failure := range map[string]http.HandlerFunc{
		"429 without a time":   coinbasetest.TooMany(""),
		"429 with seconds":     coinbasetest.TooMany("7"),
		"429 with a date":      coinbasetest.TooMany("Sat, 01 Jan 2000 12:05:00 GMT"),
		"500":                  coinbasetest.Broken(http.StatusInternalServerError),
		"502":                  coinbasetest.Broken(http.StatusBadGateway),
		"503":                  coinbasetest.Broken(http.StatusServiceUnavailable),
		"403 of the shield":    coinbasetest.Broken(http.StatusForbidden),
		"a page instead":       coinbasetest.Page,
		"an answer cut off":    coinbasetest.CutOff,
		"a broken connection":  coinbasetest.HangUp,
		"no answer":            coinbasetest.Hang,
		"an impossible candle": coinbasetest.ImpossibleCandle,
	} {
		t.Run(name, func(t *testing.T) {
			e := &coinbasetest.Exchange{Products: []string{"BTC-USD", "ETH-USD"}}
			var reports []error
			synctest.Test(t, func(t *testing.T) {
				feed := follow(t, e, Options{WarmUp: 1, Report: func(err error) { reports = append(reports, err) }})
				last := feed.History()[0].End
				for round := range 10 {
					if round%3 == 0 {
						e.Fail(failure, failure)
					}
					for _, want := range []string{"BTC-USD", "ETH-USD"} {
						bar := next(t, e, feed)
						if bar.Pair != want || !bar.Start.Equal(last) {
							t.Fatalf("%s %s, want %s %s", bar.Pair, bar.Start, want, last)
						}
					}
					last = last.Add(time.Minute)
				}
				want := 8
				if name == "a broken connection" {
					want = 4 // net/http repeats a GET itself when a kept connection breaks
				}
				if len(reports) != want {
					t.Errorf("%d failures reported, want %d: %v", len(reports), want, reports)
				}
				for _, err := range reports {
					if !strings.Contains(err.Error(), "Coinbase Exchange") {
						t.Errorf("the report does not say who failed: %v", err)
					}
				}
			})
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 1})
		e.Fail(coinbasetest.TooMany("40"))
		next(t, e, feed)
		asked := e.Asked()
		if pause := asked[len(asked)-1].Sub(asked[len(asked)-2]); pause < 40*time.Second || pause > 41*time.Second {
			t.Errorf("asked again after %s", pause)
		}
	})
}

func TestTheBackOffGrowsToAMinute(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 1})
		before := len(e.Asked())
		e.Fail(slices.Repeat([]http.HandlerFunc{coinbasetest.Broken(503)}, 12)...)
		next(t, e, feed)
		asked := e.Asked()[before:]
		limit := minBackOff
		for i := 1; i <= 12; i++ {
			if pause := asked[i].Sub(asked[i-1]); pause < limit/2 || pause > limit+time.Second {
				t.Errorf("pause %d of %s, want %s to %s", i, pause, limit/2, limit)
			}
			limit = min(2*limit, maxBackOff)
		}
	})
}

func TestAnOutageIsMadeUpFor(t *testing.T) {
	for name, test := range map[string]struct {
		outage time.Duration
		bars   int
	}{
		"20 minutes": {20 * time.Minute, 20},
		"10 hours":   {10 * time.Hour, 600},
		// The time before the last 1,495 candles is left out.
		"two days": {48 * time.Hour, maxCatchUp},
	} {
		t.Run(name, func(t *testing.T) {
			e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
			synctest.Test(t, func(t *testing.T) {
				feed := follow(t, e, Options{WarmUp: 1})
				if err := sleep(t.Context(), test.outage); err != nil { // the reader was stopped
					t.Fatal(err)
				}
				until := time.Now().UTC().Truncate(time.Minute)
				last := until.Add(-time.Duration(test.bars) * time.Minute)
				for range test.bars {
					bar := next(t, e, feed)
					if !bar.Start.Equal(last) {
						t.Fatalf("%s, want %s", bar.Start, last)
					}
					last = bar.End
					if bar.Late != last.Before(until) {
						t.Fatalf("%s is late: %v", bar.Start, bar.Late)
					}
				}
				if !last.Equal(until) || e.Widest() > 300 {
					t.Errorf("made up to %s, want %s, with up to %d candles a request", last, until, e.Widest())
				}
				if bar := next(t, e, feed); !bar.Start.Equal(last) || bar.Late {
					t.Errorf("then comes %s, late: %v", bar.Start, bar.Late)
				}
			})
		})
	}
}

func TestTheExchangesClockCounts(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Hour, -45 * time.Second, 45 * time.Second, 3 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}, Skew: skew}
			synctest.Test(t, func(t *testing.T) {
				feed := follow(t, e, Options{WarmUp: 3})
				if len(feed.History()) != 3 {
					t.Fatalf("%d candles of history", len(feed.History()))
				}
				last := feed.History()[2].End
				for range 10 {
					bar := next(t, e, feed)
					if !bar.Start.Equal(last) || e.Now().Sub(bar.End) > settle+2*time.Second {
						t.Fatalf("%s after %s, at %s", bar.Start, last, e.Now())
					}
					last = bar.End
				}
			})
		})
	}
}

func TestTheContextEndsTheWait(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{WarmUp: 1})
		last := feed.History()[0].End
		for _, failures := range [][]http.HandlerFunc{nil, {coinbasetest.Hang}, slices.Repeat([]http.HandlerFunc{coinbasetest.Broken(503)}, 20)} {
			e.Fail(failures...)
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			_, err := feed.Next(ctx)
			for err == nil {
				last = last.Add(time.Minute)
				_, err = feed.Next(ctx)
			}
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		if bar := next(t, e, feed); !bar.Start.Equal(last) {
			t.Errorf("%s is next, not %s", bar.Start, last)
		}
	})
}

func TestDescribe(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD", "ETH-USD"}}
	synctest.Test(t, func(t *testing.T) {
		feed := follow(t, e, Options{})
		if got := feed.Describe(); got != "Coinbase Exchange candles of 1m0s for BTC-USD, ETH-USD" {
			t.Error(got)
		}
	})
}

// TestOverTheNetwork speaks HTTP over the loopback interface.
func TestOverTheNetwork(t *testing.T) {
	e := &coinbasetest.Exchange{Products: []string{"BTC-USD"}}
	server := httptest.NewServer(e)
	defer server.Close()
	e.Fail(coinbasetest.Hang)
	var reports []error
	feed, err := Open(t.Context(), []market.Instrument{pair(t, "BTC")}, Options{
		Granularity: time.Hour, WarmUp: 5, URL: server.URL + "/",
		Client: &http.Client{Timeout: 200 * time.Millisecond},
		Report: func(err error) { reports = append(reports, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(feed.History()) != 5 || len(reports) != 1 || !strings.Contains(reports[0].Error(), "cannot reach the exchange") {
		t.Errorf("%d candles, %v", len(feed.History()), reports)
	}
	for _, bar := range feed.History() {
		check(t, e, bar)
	}
}

func TestOpenRefuses(t *testing.T) {
	server := httptest.NewServer(&coinbasetest.Exchange{Products: []string{"BTC-USD"}})
	defer server.Close()
	btc := []market.Instrument{pair(t, "BTC")}
	minute := Options{Granularity: time.Minute, URL: server.URL}
	for _, test := range []struct {
		name        string
		instruments []market.Instrument
		change      func(*Options)
		want        string
	}{
		{"a pair that is not traded", []market.Instrument{pair(t, "BTC"), pair(t, "FOO")}, func(*Options) {}, "no such product: FOO-USD; check base and quote"},
		{"a length that there is not", btc, func(o *Options) { o.Granularity = 2 * time.Minute }, "do not exist"},
		{"no pair", nil, func(*Options) {}, "at least one pair"},
		{"a negative warm-up", btc, func(o *Options) { o.WarmUp = -1 }, "zero or more"},
		{"no address", btc, func(o *Options) { o.URL = "exchange" }, "must be like https://"},
		{"no web address", btc, func(o *Options) { o.URL = "file:///etc/passwd" }, "must be like https://"},
	} {
		options := minute
		test.change(&options)
		if _, err := Open(t.Context(), test.instruments, options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	c := &client{granularity: time.Minute}
	from := time.Unix(0, 0)
	for body, want := range map[string]string{
		`{"message":"x"}`:                           "not a list of candles",
		`[[1522834200,1,1,1,1]]`:                    "has 5 fields",
		`[[1522834200,1,1,1,1,1,1]]`:                "has 7 fields",
		`[[1522834201,1,1,1,1,1]]`:                  "does not begin a candle",
		`[[1522834200.5,1,1,1,1,1]]`:                "does not begin a candle",
		`[[-60,1,1,1,1,1]]`:                         "does not begin a candle",
		`[[null,1,1,1,1,1]]`:                        "does not begin a candle",
		`[[1522834200,null,1,1,1,1]]`:               "is not a decimal number",
		`[[1522834200,1,1e999999999,1,1,1]]`:        "exponent",
		`[[1522834200,1,1,1,1,1e30]]`:               "too large",
		`[[1522834200,2,1,1,1,1]]`:                  "cannot be true",
		`[[1522834200,0,1,1,1,1]]`:                  "cannot be true",
		`[[1522834200,"x",1,1,1,1]]`:                "not a list of candles",
		`[[1522834200,1,1,1,1,1]`:                   "not a list of candles",
		`[[1522834200,1,1,1,1,1],[1522834140,1,1]]`: "candle 2",
	} {
		if _, err := c.decode([]byte(body), pair(t, "BTC"), from, from.AddDate(100, 0, 0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[[1522834260,1,2,1.5,1.5,0.1],[1522834200,1e0,2,1.5,1.5,1e-5]]`))
	f.Add([]byte(`[[1522834200,1,2,1.5,1.5,0.1],[1522834200,1,2,1.5,1.5,0.1]]`))
	f.Add([]byte(`[]`))
	from := time.Unix(1522834000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &client{granularity: time.Minute}
		bars, err := c.decode(body, pair(t, "BTC"), from, from.AddDate(1, 0, 0))
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is no JSON and was read", body)
		}
		for i, bar := range bars {
			if bar.Check() != nil || bar.Start.Before(from) || (i > 0 && bar.Start.Before(bars[i-1].End)) {
				t.Fatalf("bar %d: %+v", i, bar)
			}
		}
	})
}
