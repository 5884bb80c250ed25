package rest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	plenty = rest.Limits{
		Questions: rest.Limit{PerSecond: 1e6, Burst: 1000}, Placements: rest.Limit{PerSecond: 1e6, Burst: 1000}, Cancellations: rest.Limit{PerSecond: 1e6, Burst: 1000},
	}
	body = []byte(`{"order":"frozen"}`)
)

// guard lets pass what it is told to, and remembers what it was asked.
type guard struct {
	mu      sync.Mutex
	asked   []string
	refusal error
	// parts were asked for, and most of them are let out; all if it is zero.
	parts, most int
}

func (g *guard) Leaves(_ uuid.UUID, body []byte) (venue.Exit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, string(body))
	return func(write func()) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.parts++; g.parts > g.most && g.most > 0 {
			return &venue.RejectedError{Code: venue.HaltedMeanwhile}
		}
		write()
		return nil
	}, g.refusal
}

func newClient(t *testing.T, options rest.Options) *rest.Client {
	t.Helper()
	if options.Host == "" {
		options.Host = "venue.example"
	}
	if options.Limits == (rest.Limits{}) {
		options.Limits = plenty
	}
	client, err := rest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func placement(sign func(*rest.Leaving) error) rest.Placement {
	return rest.Placement{
		ID: uuid.UUID{1}, NotAfter: time.Now().Add(time.Minute),
		Request: rest.Request{Method: http.MethodPost, Path: "/orders", Body: body, Sign: sign},
	}
}

// A kept connection breaks when an order is on it: the transport would send it
// again, since the header says that it may.
func TestSendsAPlacementOnce(t *testing.T) {
	for name, sign := range map[string]func(*rest.Leaving) error{
		"with a body": func(leaving *rest.Leaving) error {
			leaving.Header.Set("Idempotency-Key", "1")
			leaving.Header.Set("X-Idempotency-Key", "1")
			return nil
		},
		"in a header": func(leaving *rest.Leaving) error {
			leaving.Header.Set("Idempotency-Key", "1")
			leaving.Header.Set("X-Payload", string(leaving.Body))
			leaving.Body = nil
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var listener net.ListenConfig
			listening, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var connections, placements atomic.Int32
			var served sync.WaitGroup
			served.Go(func() {
				for {
					connection, err := listening.Accept()
					if err != nil {
						return
					}
					connections.Add(1)
					breakAtPlacement(connection, &placements)
				}
			})
			t.Cleanup(served.Wait)
			t.Cleanup(func() { _ = listening.Close() })
			asked := &guard{}
			options := rest.Options{Gateway: "http://" + listening.Addr().String(), Guard: asked}
			if name == "in a header" {
				options.Frozen = func(header http.Header, _ []byte) ([]byte, error) { return []byte(header.Get("X-Payload")), nil }
			}
			client := newClient(t, options)
			if _, err := client.Ask(t.Context(), rest.Request{Method: http.MethodGet, Path: "/"}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Place(t.Context(), placement(sign)); !errors.Is(err, venue.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
			if connections.Load() != 1 || placements.Load() != 1 {
				t.Errorf("%d placements came on %d connections, want one on the kept one", placements.Load(), connections.Load())
			}
			if len(asked.asked) != 1 || asked.asked[0] != string(body) {
				t.Errorf("the guard was asked %q", asked.asked)
			}
		})
	}
}

// breakAtPlacement answers questions, and resets the connection at a placement.
func breakAtPlacement(connection net.Conn, placements *atomic.Int32) {
	defer func() { _ = connection.Close() }()
	buffer := make([]byte, 4096)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if bytes.HasPrefix(buffer[:n], []byte("POST")) {
			placements.Add(1)
			if tcp, ok := connection.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			return
		}
		if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			return
		}
	}
}

func TestTellsWhatHasNotLeft(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	good := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	rejected := func(code string) func(error) bool {
		return func(err error) bool {
			refusal, ok := errors.AsType[*venue.RejectedError](err)
			return ok && refusal.Code == code
		}
	}
	late := placement(nil)
	late.NotAfter = time.Now()
	for name, test := range map[string]struct {
		options   rest.Options
		placement rest.Placement
		want      func(error) bool
	}{
		"nobody there":         {rest.Options{Gateway: closed.URL, Guard: &guard{}}, placement(nil), rejected(rest.NotSent)},
		"no guard":             {rest.Options{Gateway: good}, placement(nil), rejected(venue.NotApproved)},
		"too late":             {rest.Options{Gateway: good, Guard: &guard{}}, late, rejected(venue.ApprovalExpired)},
		"cannot be signed":     {rest.Options{Gateway: good, Guard: &guard{}}, placement(func(*rest.Leaving) error { return errors.New("no key") }), rejected(rest.Unsigned)},
		"the guard objects":    {rest.Options{Gateway: good, Guard: &guard{refusal: &venue.RejectedError{Code: venue.ApprovalExpired}}}, placement(nil), rejected(venue.ApprovalExpired)},
		"the guard knows none": {rest.Options{Gateway: good, Guard: &guard{refusal: venue.ErrNotApproved}}, placement(nil), func(err error) bool { return errors.Is(err, venue.ErrNotApproved) }},
		"nothing frozen in it": {rest.Options{Gateway: good, Guard: &guard{}, Frozen: func(http.Header, []byte) ([]byte, error) { return nil, errors.New("none") }}, placement(nil), rejected(venue.ChangedAfterApproval)},
		"a transport that does not tell": {rest.Options{Guard: &guard{}, Transport: answering(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") })}, placement(nil),
			func(err error) bool { return errors.Is(err, venue.ErrUnknownOutcome) }},
		"all is well": {rest.Options{Gateway: good, Guard: &guard{}}, placement(nil), func(err error) bool { return err == nil }},
	} {
		if _, err := newClient(t, test.options).Place(t.Context(), test.placement); !test.want(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What leaves is what is compared, whatever signing does to the body.
func TestComparesWhatLeaves(t *testing.T) {
	var arrived []byte
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) { arrived, _ = io.ReadAll(r.Body) })
	asked := &guard{}
	client := newClient(t, rest.Options{Gateway: address, Guard: asked, Frozen: func(_ http.Header, body []byte) ([]byte, error) {
		return bytes.TrimPrefix(body, []byte("nonce=1&")), nil
	}})
	if _, err := client.Place(t.Context(), placement(func(leaving *rest.Leaving) error {
		leaving.Body = append([]byte("nonce=1&"), leaving.Body...)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	if string(arrived) != "nonce=1&"+string(body) || len(asked.asked) != 1 || asked.asked[0] != string(body) {
		t.Errorf("%q has arrived, and the guard was asked %q", arrived, asked.asked)
	}
}

// Nothing is left in a placement that a transport could repeat it by.
func TestCannotBeRepeated(t *testing.T) {
	seen := 0
	client := newClient(t, rest.Options{Guard: &guard{}, Transport: answering(func(r *http.Request) (*http.Response, error) {
		seen++
		if r.GetBody != nil || r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("it can be repeated: %v", r.Header)
		}
		return says(http.StatusOK, nil)(r)
	})})
	_, err := client.Place(t.Context(), placement(func(leaving *rest.Leaving) error {
		leaving.Header["Idempotency-Key"], leaving.Header["X-Idempotency-Key"] = []string{"1"}, []string{"1"}
		return nil
	}))
	if err != nil || seen != 1 {
		t.Errorf("%d were seen, %v", seen, err)
	}
}

func TestSignsWhatItSends(t *testing.T) {
	var got *http.Request
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r })
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	client := newClient(t, rest.Options{Gateway: address + "/prefix", Now: func() time.Time { return now }})
	var signed rest.Leaving
	_, err := client.Ask(t.Context(), rest.Request{
		Method: http.MethodGet, Path: "/orders/a%2Fb", Query: url.Values{"a": {"1", "2"}},
		Sign: func(leaving *rest.Leaving) error {
			signed = *leaving
			leaving.Header.Set("X-Signature", "s")
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if signed.Host != "venue.example" || signed.Path != "/orders/a%2Fb" || !signed.Now.Equal(now) || signed.Query.Encode() != "a=1&a=2" {
		t.Errorf("signed was %+v", signed)
	}
	if got.URL.EscapedPath() != "/prefix/orders/a%2Fb" || got.URL.RawQuery != "a=1&a=2" || got.Header.Get("X-Signature") != "s" {
		t.Errorf("%s has arrived with %v", got.URL, got.Header)
	}
}

// A signature is for one address. Whoever answers with a redirect does not get
// it carried elsewhere.
func TestFollowsNoRedirect(t *testing.T) {
	asked := make(chan struct{}, 1)
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	client := newClient(t, rest.Options{Gateway: serve(t, http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect).ServeHTTP)})
	answer, err := client.Ask(t.Context(), rest.Request{Method: http.MethodGet, Path: "/"})
	if err != nil || answer.Status != http.StatusTemporaryRedirect || !errors.Is(answer.Question(""), venue.ErrMalformed) {
		t.Errorf("got %+v, %v", answer, err)
	}
	if len(asked) > 0 {
		t.Error("the redirect was followed")
	}
}

// An error says what to do about it and holds nothing of the request.
func TestErrorsAreQuiet(t *testing.T) {
	const secret = "c4nary"
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"endless": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat(secret, 1000)) }, venue.ErrMalformed},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, secret)
		}, venue.ErrUnreachable},
		"late": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hangs:
			case <-r.Context().Done():
			}
		}, venue.ErrUnreachable},
		"a wrong header": {func(w http.ResponseWriter, _ *http.Request) {
			connection, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: "+secret+"\r\n\r\n")
			_ = connection.Close()
		}, venue.ErrUnreachable},
	} {
		client := newClient(t, rest.Options{Gateway: serve(t, test.handler), MaxBody: 1000, Timeout: 200 * time.Millisecond})
		_, err := client.Ask(t.Context(), rest.Request{
			Method: http.MethodGet, Path: "/" + secret, Query: url.Values{"key": {secret}},
			Sign: func(leaving *rest.Leaving) error { leaving.Header.Set("Authorization", secret); return nil },
		})
		if !errors.Is(err, test.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := newClient(t, rest.Options{Gateway: "http://127.0.0.1:1"})
	if _, err := client.Ask(ctx, rest.Request{Method: http.MethodGet, Path: "/"}); !errors.Is(err, context.Canceled) || errors.Is(err, venue.ErrUnreachable) {
		t.Errorf("broken off by its asker: got %v", err)
	}
}

// answering is a transport that needs no network.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func says(status int, header http.Header) answering {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	}
}

// A flood of one kind of requests holds up no other.
func TestLimitsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := rest.Limit{PerSecond: 0.1, Burst: 1}
		client := newClient(t, rest.Options{Transport: says(http.StatusOK, nil), Guard: &guard{}, Limits: rest.Limits{Questions: one, Placements: one, Cancellations: one}})
		question := rest.Request{Method: http.MethodGet, Path: "/"}
		started := time.Now()
		if _, err := client.Ask(t.Context(), question); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Place(t.Context(), placement(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Cancel(t.Context(), question); err != nil {
			t.Fatal(err)
		}
		if time.Since(started) != 0 {
			t.Errorf("one of each took %s", time.Since(started))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Ask(short, question); !errors.Is(err, venue.ErrUnreachable) {
			t.Errorf("a second question: got %v", err)
		}
		brief := placement(nil)
		brief.NotAfter = time.Now().Add(time.Second)
		if _, err := client.Place(t.Context(), brief); !strings.Contains(err.Error(), rest.Throttled) {
			t.Errorf("a second placement: got %v", err)
		}
		if _, err := client.Cancel(t.Context(), question); err != nil || time.Since(started) != 10*time.Second {
			t.Errorf("a second cancellation: got %v after %s", err, time.Since(started))
		}
	})
}

// A venue that asks to be left alone is, except for cancellations.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		client := newClient(t, rest.Options{Guard: &guard{}, Transport: answering(func(r *http.Request) (*http.Response, error) {
			sent++
			return says(http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}})(r)
		})})
		question := rest.Request{Method: http.MethodGet, Path: "/"}
		answer, err := client.Ask(t.Context(), question)
		if err != nil {
			t.Fatal(err)
		}
		if limited, ok := errors.AsType[*venue.RateLimitedError](answer.Question("")); !ok || limited.After != 7*time.Second {
			t.Errorf("the answer means %v", answer.Question(""))
		}
		for range 2 {
			_, err := client.Ask(t.Context(), question)
			if limited, ok := errors.AsType[*venue.RateLimitedError](err); !ok || limited.After != 7*time.Second {
				t.Errorf("a question in the pause: got %v", err)
			}
			if _, err := client.Place(t.Context(), placement(nil)); !strings.Contains(err.Error(), rest.Throttled) {
				t.Errorf("a placement in the pause: got %v", err)
			}
		}
		if _, err := client.Cancel(t.Context(), question); err != nil || sent != 2 {
			t.Errorf("a cancellation in the pause: got %v, and %d requests were sent", err, sent)
		}
		<-time.After(8 * time.Second)
		if _, err := client.Place(t.Context(), placement(nil)); err != nil || sent != 3 {
			t.Errorf("a placement after the pause: got %v, and %d requests were sent", err, sent)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 10 * time.Second, "0": time.Second, "7": 7 * time.Second, "86400": 5 * time.Minute, "-1": 10 * time.Second, "soon": 10 * time.Second,
		"Mon, 02 Mar 2026 12:00:42 GMT": 42 * time.Second, "Mon, 02 Mar 2026 11:00:00 GMT": time.Second,
	} {
		answer := rest.Answer{Header: http.Header{"Retry-After": {header}}, ReceivedAt: at}
		if got := answer.RetryAfter(); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func TestQuestion(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		want   error
	}{
		{401, "", venue.ErrRefused}, {403, "DENIED", venue.ErrForbidden}, {403, "", venue.ErrUnreachable}, {403, "<html>", venue.ErrUnreachable},
		{404, "NOT_FOUND", venue.ErrNoSuchThing}, {404, "", venue.ErrNoEndpoint}, {405, "", venue.ErrNoEndpoint}, {408, "", venue.ErrUnreachable},
		{500, "", venue.ErrUnreachable}, {503, "X", venue.ErrUnreachable}, {302, "", venue.ErrMalformed}, {400, "BAD", venue.ErrMalformed}, {200, "", venue.ErrMalformed},
	} {
		answer := rest.Answer{Status: test.status}
		if err := answer.Question(test.code); !errors.Is(err, test.want) {
			t.Errorf("%d %q: got %v, want %v", test.status, test.code, err, test.want)
		}
	}
	off := rest.Answer{Status: 401, ReceivedAt: time.Unix(1000, 0), Header: http.Header{"Date": {time.Unix(400, 0).UTC().Format(http.TimeFormat)}}}
	if err := off.Question(""); !strings.Contains(err.Error(), "clock is 10m0s off") {
		t.Errorf("a clock that is off: got %v", err)
	}
}

func TestOutcome(t *testing.T) {
	answer := rest.Answer{Status: 200}
	definitive := map[string]string{"NO_FUNDS": "there is not enough"}
	if refusal, ok := errors.AsType[*venue.RejectedError](answer.Outcome("NO_FUNDS", definitive)); !ok || refusal.Code != "NO_FUNDS" || refusal.Message != "there is not enough" {
		t.Errorf("got %v", refusal)
	}
	for _, code := range []string{"", "OTHER", "no_funds", "<html>secret</html>"} {
		err := answer.Outcome(code, definitive)
		if _, ok := errors.AsType[*venue.RejectedError](err); ok || !errors.Is(err, venue.ErrUnknownOutcome) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", code, err)
		}
	}
}

func TestGateway(t *testing.T) {
	for address, good := range map[string]bool{
		"https://gateway.example": true, "https://gateway.example/proxy": true, "http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:8080": true,
		"http://gateway.example": false, "https://user:pw@gateway": false, "https://gateway?x=1": false, "https://gateway#x": false, "gateway.example": false,
		"ftp://127.0.0.1": false, "": false, "https://": false, "http://127.0.0.1.example": false,
	} {
		if _, err := rest.ParseGateway(address); (err == nil) != good {
			t.Errorf("%q: got %v", address, err)
		} else if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if _, err := rest.New(rest.Options{Gateway: "http://gateway.example", Limits: plenty}); err == nil {
		t.Error("a gateway without encryption is taken")
	}
	if _, err := rest.New(rest.Options{Host: "h"}); err == nil {
		t.Error("a client without limits is made")
	}
}

// What a venue writes into an answer is in no error unless it looks like a code.
func FuzzErrors(f *testing.F) {
	f.Add(200, "NO_FUNDS", "7")
	f.Add(429, "<html>", "Mon, 02 Mar 2026 12:00:42 GMT")
	f.Add(404, base64.StdEncoding.EncodeToString([]byte("key=secret")), "")
	f.Fuzz(func(t *testing.T, status int, code, after string) {
		answer := rest.Answer{Status: status, Header: http.Header{"Retry-After": {after}, "Date": {after}}}
		if wait := answer.RetryAfter(); wait < time.Second || wait > 5*time.Minute {
			t.Errorf("it waits for %s", wait)
		}
		for _, err := range []error{answer.Question(code), answer.Outcome(code, nil)} {
			if err == nil {
				t.Fatal("an answer of no use is no error")
			}
			if strings.ContainsAny(err.Error(), "<>&=?{}\"\n") {
				t.Errorf("the error repeats what was written: %q", err)
			}
		}
	})
}
