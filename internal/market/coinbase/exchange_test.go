package coinbase

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// exchange is a server that answers as Coinbase Exchange does: the newest candle
// first, the unfinished one among them, one more before the range, none for a
// time without a trade, at most 300 of them, numbers as JSON numbers, errors as
// {"message": …}, and no answer to who does not say who they are.
type exchange struct {
	// products that are traded.
	products []string
	// skew is the exchange's clock less the machine's.
	skew time.Duration
	// lag is how long after its end a candle is published.
	lag time.Duration
	// idle tells the candles in which nothing was traded.
	idle func(product string, start time.Time) bool

	mu sync.Mutex
	// failures are answers to give, in order, before the right ones.
	failures []http.HandlerFunc
	// requests that came, and the greatest number of candles that one asked for.
	requests []time.Time
	widest   int
}

func (e *exchange) now() time.Time { return time.Now().Add(e.skew).UTC() }

func (e *exchange) fail(failures ...http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = append(e.failures, failures...)
}

func (e *exchange) asked() []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]time.Time(nil), e.requests...)
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests = append(e.requests, time.Now())
	var failure http.HandlerFunc
	if len(e.failures) > 0 {
		failure, e.failures = e.failures[0], e.failures[1:]
	}
	e.mu.Unlock()
	w.Header().Set("Date", e.now().Format(http.TimeFormat))
	if failure != nil {
		failure(w, r)
		return
	}
	e.answer(w, r)
}

func (e *exchange) answer(w http.ResponseWriter, r *http.Request) {
	if r.UserAgent() == "" || strings.HasPrefix(r.UserAgent(), "Go-http-client") {
		say(w, http.StatusBadRequest, "User-Agent header is required.")
		return
	}
	product, found := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/products/"), "/candles")
	known := false
	for _, one := range e.products {
		known = known || one == product
	}
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
		over := begin.Add(time.Duration(granularity)*time.Second + e.lag)
		running := begin.Add(time.Duration(granularity) * time.Second).After(e.now())
		if begin.After(e.now()) || (!running && over.After(e.now())) || (e.idle != nil && e.idle(product, begin)) {
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

// The ways in which the real one fails.
func tooMany(retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		say(w, http.StatusTooManyRequests, "Public rate limit exceeded")
	}
}

func broken(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		write(w, "<html><body><h1>"+http.StatusText(code)+"</h1></body></html>")
	}
}

func page(w http.ResponseWriter, _ *http.Request) { write(w, "<html>We will be back soon</html>") }

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	write(w, "[[1522834200, 1,")
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func impossibleCandle(w http.ResponseWriter, _ *http.Request) {
	write(w, fmt.Sprintf("[[%d, 10, 9, 9.5, 9.5, 1]]", time.Now().Unix()/60*60-60))
}

// pipes is a listener without a network, so that a synctest bubble can tell when
// all wait and its clock may move on.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case connection := <-p.connections:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.connections <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts the exchange inside a bubble and returns a client that reaches it.
func (e *exchange) serve(t *testing.T) *http.Client {
	t.Helper()
	listener := &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
	server := httptest.NewUnstartedServer(e)
	if err := server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	transport := &http.Transport{DialContext: listener.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return &http.Client{Transport: transport, Timeout: requestTimeout}
}
