package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// writeTime bounds how long the kernel may take to accept a part of a placement. A
// halt waits for it, and has a second in all.
const writeTime = 250 * time.Millisecond

var errOver = errors.New("the placement is over, or left by another connection")

// gate is a connection below TLS. What is written on it while a placement has it
// must be let out by the guard: bytes reach the kernel nowhere else.
type gate struct {
	net.Conn

	// flight is the placement that has the connection; nil for any other request.
	// HTTP/1.1 has one request at a time on a connection.
	flight atomic.Pointer[flight]
}

// Write implements net.Conn.
func (g *gate) Write(part []byte) (int, error) {
	if flight := g.flight.Load(); flight != nil {
		return flight.write(g, part)
	}
	return g.Conn.Write(part)
}

// gateOf finds the gate below the layers of TLS of a connection.
func gateOf(conn net.Conn) *gate {
	for {
		switch layer := conn.(type) {
		case *gate:
			return layer
		case interface{ NetConn() net.Conn }:
			conn = layer.NetConn()
		default:
			return nil
		}
	}
}

// freely takes a connection for a request that is no placement.
var freely = &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
	if g := gateOf(info.Conn); g != nil {
		g.flight.Store(nil)
	}
}}

// flight is a placement on its way out.
type flight struct {
	id     uuid.UUID
	guard  venue.Guard
	frozen func(http.Header, []byte) ([]byte, error)
	// breakOff ends the request.
	breakOff context.CancelFunc
	exit     venue.Exit

	mu sync.Mutex
	// left says that bytes have left, and by which gate.
	left    bool
	by      *gate
	refusal error
	over    bool
}

// traced is a context in which the flight takes the connection that the transport
// has found or made for it. It may be another one if the first was dead.
func (f *flight) traced(ctx context.Context) context.Context {
	var taken *gate
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if taken = gateOf(info.Conn); taken != nil {
				taken.flight.Store(f)
				return
			}
			_ = f.refuse(&venue.RejectedError{Code: NotSent, Message: "what is written on its connection cannot be held up"})
			_ = info.Conn.Close() // nobody can have written on it
		},
		// Its next request may have the connection already.
		PutIdleConn: func(err error) {
			if err == nil && taken != nil {
				taken.flight.CompareAndSwap(f, nil)
			}
		},
	})
}

// clear reads what is about to leave and asks the guard. What it has read is put
// back in a form that the transport cannot read twice, and so not send twice.
func (f *flight) clear(r *http.Request) error {
	body := []byte{}
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return f.refuse(&venue.RejectedError{Code: Unsigned, Message: "what is to be sent cannot be read"})
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	r.GetBody = nil
	// These two headers would have the transport repeat the request by itself.
	delete(r.Header, "Idempotency-Key")
	delete(r.Header, "X-Idempotency-Key")
	said := body
	if f.frozen != nil {
		var err error
		if said, err = f.frozen(r.Header, body); err != nil {
			return f.refuse(&venue.RejectedError{Code: venue.ChangedAfterApproval, Message: "what is to be sent does not hold what was approved"})
		}
	}
	var err error
	if f.exit, err = f.guard.Leaves(f.id, said); err != nil {
		return f.refuse(err)
	}
	return nil
}

// refuse remembers why the placement does not leave.
func (f *flight) refuse(reason error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusal = reason
	return reason
}

// handOver asks for the last time before a transport whose writes are not seen.
func (f *flight) handOver() error {
	if err := f.exit(func() { f.left = true }); err != nil {
		return f.refuse(err)
	}
	return nil
}

// write lets a part of the placement out by a gate. Where the guard refuses it, the
// connection is of no more use.
func (f *flight) write(g *gate, part []byte) (written int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.refusal != nil:
		return 0, f.refusal
	case f.over, f.left && f.by != g:
		return 0, errOver
	}
	refusal := f.exit(func() {
		if err = g.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return
		}
		if written, err = g.Conn.Write(part); written > 0 {
			f.left, f.by = true, g
		}
		if err == nil {
			err = g.SetWriteDeadline(time.Time{})
		}
	})
	if refusal == nil {
		return written, err
	}
	f.refusal = refusal
	_ = g.Close() // what was read from it is of no use either
	f.breakOff()
	return 0, refusal
}

// end lets nothing more out and tells whether anything has left, and why the rest
// has not.
func (f *flight) end() (left bool, refusal error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	return f.left, f.refusal
}

// gatedTransport is a transport whose connections are gates, unless the given one
// tells nothing of connections. It speaks HTTP/1.1 only: one request is on a
// connection at a time, so that what is written can be told apart.
func gatedTransport(given http.RoundTripper) (transport http.RoundTripper, gated bool) {
	made := newTransport()
	if given != nil {
		known, ok := given.(*http.Transport)
		if !ok {
			return given, false
		}
		made = known.Clone()
	}
	dial := made.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	made.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &gate{Conn: conn}, nil
	}
	made.Protocols = new(http.Protocols)
	made.Protocols.SetHTTP1(true)
	made.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if made.TLSClientConfig != nil {
		made.TLSClientConfig.NextProtos = nil
	}
	return made, true
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
