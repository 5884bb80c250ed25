// Package coinbasetest is an exchange that answers as Coinbase Exchange does, and
// fails as it does.
package coinbasetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Exchange is a server that answers as Coinbase Exchange does: the newest candle
// first, the unfinished one among them, one more before the range, none for a
// time without a trade, at most 300 of them, numbers as JSON numbers, errors as
// {"message": …}, and no answer to who does not say who they are.
type Exchange struct {
	// Products that are traded.
	Products []string
	// Skew is the exchange's clock less the machine's.
	Skew time.Duration
	// Lag is how long after its end a candle is published.
	Lag time.Duration
	// Idle tells the candles in which nothing was traded; nil is none.
	Idle func(product string, start time.Time) bool

	mu sync.Mutex
	// failures are answers to give, in order, before the right ones.
	failures []http.HandlerFunc
	// outage is the answer to everything, until it is nil again.
	outage http.HandlerFunc
	// requests that came, and the greatest number of candles that one asked for.
	requests []time.Time
	widest   int
}

// Now is the exchange's time.
func (e *Exchange) Now() time.Time { return time.Now().Add(e.Skew).UTC() }

// Fail gives answers, in order, before the right ones.
func (e *Exchange) Fail(failures ...http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = append(e.failures, failures...)
}

// Break gives one answer to everything from now on; nil is the right ones again.
func (e *Exchange) Break(outage http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outage = outage
}

// List has the exchange trade another product.
func (e *Exchange) List(product string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Products = append(e.Products, product)
}

// Widest is the greatest number of candles that one request asked for.
func (e *Exchange) Widest() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.widest
}

// Asked are the times of the requests that came.
func (e *Exchange) Asked() []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// ServeHTTP implements http.Handler.
func (e *Exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests = append(e.requests, time.Now())
	failure := e.outage
	if len(e.failures) > 0 {
		failure, e.failures = e.failures[0], e.failures[1:]
	}
	e.mu.Unlock()
	w.Header().Set("Date", e.Now().Format(http.TimeFormat))
	if failure != nil {
		failure(w, r)
		return
	}
	e.answer(w, r)
}

func (e *Exchange) answer(w http.ResponseWriter, r *http.Request) {
	if r.UserAgent() == "" || strings.HasPrefix(r.UserAgent(), "Go-http-client") {
		say(w, http.StatusBadRequest, "User-Agent header is required.")
		return
	}
	product, found := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/products/"), "/candles")
	e.mu.Lock()
	known := slices.Contains(e.Products, product)
	e.mu.Unlock()
	if !found || !known {
		say(w, http.StatusNotFound, "NotFound")
		return
	}
	granularity, err := strconv.ParseInt(r.URL.Query().Get("granularity"), 10, 64)
	start, err1 := time.Parse(time.RFC3339, r.URL.Query().Get("start"))
	end, err2 := time.Parse(time.RFC3339, r.URL.Query().Get("end"))
	if err != nil || err1 != nil || err2 != nil {
		say(w, http.StatusBadRequest, "Unsupported granularity")
		return
	}
	count := (end.Unix()-start.Unix())/granularity + 1
	e.mu.Lock()
	e.widest = max(e.widest, int(count))
	e.mu.Unlock()
	if count > 300 {
		say(w, http.StatusBadRequest, "granularity too small for the requested time range. Count of aggregations requested exceeds 300")
		return
	}
	candles := [][]any{}
	for at := end.Unix() / granularity * granularity; at >= start.Unix()-granularity; at -= granularity {
		begin := time.Unix(at, 0).UTC()
		over := begin.Add(time.Duration(granularity)*time.Second + e.Lag)
		running := begin.Add(time.Duration(granularity) * time.Second).After(e.Now())
		if begin.After(e.Now()) || (!running && over.After(e.Now())) || (e.Idle != nil && e.Idle(product, begin)) {
			continue
		}
		candles = append(candles, candle(begin, running))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	text, err := json.Marshal(candles)
	if err != nil {
		say(w, http.StatusInternalServerError, err.Error())
		return
	}
	write(w, string(text))
}

// candle is time, low, high, open, close, volume; its prices tell its minute.
func candle(begin time.Time, running bool) []any {
	open := 7000 + float64(begin.Unix()/60%1000)/100
	if running {
		return []any{begin.Unix(), 1, 99999, open, 1, 0.5}
	}
	return []any{begin.Unix(), open - 1, open + 1, open, open + 0.5, 27.643747620000003}
}

func say(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	write(w, fmt.Sprintf("{\"message\":%q}", message))
}

// write sends what it can; the other side may be gone by then.
func write(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

// TooMany answers 429, with or without a time to come back.
func TooMany(retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		say(w, http.StatusTooManyRequests, "Public rate limit exceeded")
	}
}

// Broken answers with a status and a page.
func Broken(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		write(w, "<html><body><h1>"+http.StatusText(code)+"</h1></body></html>")
	}
}

// Page answers with a page in place of candles.
func Page(w http.ResponseWriter, _ *http.Request) { write(w, "<html>We will be back soon</html>") }

// CutOff ends an answer before its end.
func CutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	write(w, "[[1522834200, 1,")
}

// HangUp closes the connection.
func HangUp(w http.ResponseWriter, _ *http.Request) {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
	}
}

// Hang never answers.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// ImpossibleCandle has a low above its high.
func ImpossibleCandle(w http.ResponseWriter, _ *http.Request) {
	write(w, fmt.Sprintf("[[%d, 10, 9, 9.5, 9.5, 1]]", time.Now().Unix()/60*60-60))
}
