package rest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// adapter is the least that a venue's adapter does to place an order.
type adapter struct {
	venue.Venue
	client *rest.Client
	// inHeader says that the order is in a header, and that there is no body.
	inHeader bool
}

func (a adapter) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	placement := rest.Placement{
		ID: request.Intent.ID, NotAfter: request.NotAfter,
		Request: rest.Request{Method: http.MethodPost, Path: "/orders", Body: request.Body},
	}
	if a.inHeader {
		placement.Sign = func(leaving *rest.Leaving) error {
			leaving.Header.Set("X-Payload", string(leaving.Body))
			leaving.Body = nil
			return nil
		}
	}
	_, err := a.client.Place(ctx, placement)
	return venue.Order{}, err
}

func payload(header http.Header, _ []byte) ([]byte, error) {
	return []byte(header.Get("X-Payload")), nil
}

// approved is a sentry that lets one order leave.
func approved() (*venue.Sentry, order.Intent) {
	sentry := venue.NewSentry(time.Now)
	intent := order.Intent{ID: uuid.UUID{1}, Frozen: string(body), NotAfter: time.Now().Add(time.Minute)}
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	return sentry, intent
}

func everything(*order.Intent) bool { return true }

func refusedAs(err error, code string) bool {
	refusal, ok := errors.AsType[*venue.RejectedError](err)
	return ok && refusal.Code == code
}

// A halt that has returned holds back an order that the sentry has let pass, wherever
// its connection has got to by then.
func TestNothingLeavesAfterAHalt(t *testing.T) {
	for name, test := range map[string]struct {
		kept, inHeader, plain bool
		at                    func(sentry *venue.Sentry) (*httptrace.ClientTrace, func())
	}{
		"at the handshake": {at: func(sentry *venue.Sentry) (*httptrace.ClientTrace, func()) {
			return &httptrace.ClientTrace{}, func() { sentry.Forbid(everything) }
		}},
		"on a new connection":          {at: onceConnected},
		"on a new one without TLS":     {plain: true, at: onceConnected},
		"on a kept one":                {kept: true, at: onceConnected},
		"on a kept one, in a header":   {kept: true, inHeader: true, at: onceConnected},
		"when the request is prepared": {kept: true, at: oncePrepared},
	} {
		t.Run(name, func(t *testing.T) {
			sentry, intent := approved()
			trace, atHandshake := test.at(sentry)
			var placements atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					placements.Add(1)
				}
			}))
			t.Cleanup(server.Close)
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				atHandshake()
				return nil, nil
			}}
			if test.plain {
				server.Start()
			} else {
				server.StartTLS()
			}
			options := rest.Options{Gateway: server.URL, Guard: sentry, Transport: server.Client().Transport}
			if test.inHeader {
				options.Frozen = payload
			}
			client := newClient(t, options)
			ask := func() {
				if _, err := client.Ask(t.Context(), rest.Request{Method: http.MethodGet, Path: "/"}); err != nil {
					t.Fatal(err)
				}
			}
			if test.kept {
				ask()
			}
			_, err := sentry.Place(httptrace.WithClientTrace(t.Context(), trace), adapter{client: client, inHeader: test.inHeader}, venue.RequestOf(intent))
			if !refusedAs(err, venue.HaltedMeanwhile) || placements.Load() != 0 {
				t.Errorf("got %v, and %d placements have arrived", err, placements.Load())
			}
			if refused := sentry.Refused()[3]; refused.Count != 1 {
				t.Errorf("counted as %+v", refused)
			}
			ask()
		})
	}
}

func onceConnected(sentry *venue.Sentry) (*httptrace.ClientTrace, func()) {
	return &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sentry.Forbid(everything) }}, func() {}
}

// oncePrepared halts when all of the request is in the transport's buffer.
func oncePrepared(sentry *venue.Sentry) (*httptrace.ClientTrace, func()) {
	return &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sentry.Forbid(everything) }}, func() {}
}

// What was begun does not go on after a halt, and what became of it nobody knows.
func TestAHaltCutsAnOrder(t *testing.T) {
	var arrived atomic.Int64
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		read, _ := io.Copy(io.Discard, r.Body)
		arrived.Store(read)
	})
	one := &guard{most: 1}
	client := newClient(t, rest.Options{Gateway: address, Guard: one})
	long := placement(nil)
	long.Body = bytes.Repeat([]byte("x"), 64<<10)
	_, err := client.Place(t.Context(), long)
	if !errors.Is(err, venue.ErrUnknownOutcome) || arrived.Load() == int64(len(long.Body)) || one.parts != 2 {
		t.Errorf("got %v, and %d bytes of %d have arrived in %d parts", err, arrived.Load(), len(long.Body), one.parts)
	}
}

// broken is a connection that fails to write placements.
type broken struct {
	net.Conn
	fails *atomic.Int32
}

func (b broken) Write(part []byte) (int, error) {
	if bytes.HasPrefix(part, []byte(http.MethodPost)) && b.fails.Add(-1) >= 0 {
		return 0, errors.New("broken pipe")
	}
	return b.Conn.Write(part)
}

// A kept connection may turn out to be dead. The order, of which not a byte has left
// then, leaves once by another, if the transport can, and not under a halt.
func TestADeadConnection(t *testing.T) {
	for name, test := range map[string]struct {
		inHeader, halted bool
		want             string
		arrive           int32
	}{
		"with a body":         {false, false, rest.NotSent, 0},
		"in a header":         {true, false, "", 1},
		"halted, in a header": {true, true, venue.HaltedMeanwhile, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var placements, fails atomic.Int32
			address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					placements.Add(1)
				}
			})
			sentry, intent := approved()
			options := rest.Options{Gateway: address, Guard: sentry, Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
					return broken{conn, &fails}, err
				},
			}}
			if test.inHeader {
				options.Frozen = payload
			}
			client := newClient(t, options)
			if _, err := client.Ask(t.Context(), rest.Request{Method: http.MethodGet, Path: "/"}); err != nil {
				t.Fatal(err)
			}
			fails.Store(1)
			connections := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				if connections++; test.halted && connections == 2 {
					sentry.Forbid(everything)
				}
			}})
			_, err := sentry.Place(ctx, adapter{client: client, inHeader: test.inHeader}, venue.RequestOf(intent))
			if test.want == "" && err != nil || test.want != "" && !refusedAs(err, test.want) {
				t.Errorf("got %v on %d connections", err, connections)
			}
			if placements.Load() != test.arrive {
				t.Errorf("%d placements have arrived", placements.Load())
			}
		})
	}
}

// A peer that takes nothing holds a write up, and with it a halt, for a moment only.
func TestAWriteDoesNotHoldUpAHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		client := newClient(t, rest.Options{Gateway: "http://127.0.0.1", Guard: &guard{}, Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil },
		}})
		begun := time.Now()
		_, err := client.Place(t.Context(), placement(nil))
		if took := time.Since(begun); !refusedAs(err, rest.NotSent) || took > time.Second/2 {
			t.Errorf("got %v after %s", err, took)
		}
	})
}

// A connection on which nothing can be held up is not written on, and no transport
// speaks HTTP/2, in which connections are shared.
func TestOnlyGatesAreUsed(t *testing.T) {
	var arrived, others atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if arrived.Add(1); r.Proto != "HTTP/1.1" {
			others.Add(1)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	given := server.Client().Transport.(*http.Transport)
	if _, err := newClient(t, rest.Options{Gateway: server.URL, Guard: &guard{}, Transport: given}).Place(t.Context(), placement(nil)); err != nil {
		t.Error(err)
	}
	ungated := given.Clone()
	ungated.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{RootCAs: given.TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}}).DialContext(ctx, network, address)
	}
	client := newClient(t, rest.Options{Gateway: server.URL, Guard: &guard{}, Transport: ungated})
	if _, err := client.Place(t.Context(), placement(nil)); !refusedAs(err, rest.NotSent) {
		t.Errorf("on a connection that is no gate: %v", err)
	}
	if arrived.Load() != 1 || others.Load() != 0 {
		t.Errorf("%d placements have arrived, %d of them by another protocol than HTTP/1.1", arrived.Load(), others.Load())
	}
}
