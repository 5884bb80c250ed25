package stream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk lets in who sends a word that it knows.
type desk struct {
	mu      sync.Mutex
	known   map[string]keys.Identity
	limited bool
}

func (d *desk) Authenticate(r *http.Request) (keys.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.limited {
		return keys.Identity{}, &keys.LimitedError{RetryAfter: 7 * time.Second}
	}
	identity, found := d.known[r.Header.Get("Authorization")]
	if !found {
		return keys.Identity{}, keys.ErrUnauthenticated
	}
	return identity, nil
}

// world is a hub behind an HTTP server that is reached through pipes, so that time
// is the test's.
type world struct {
	t       *testing.T
	hub     *Hub
	desk    *desk
	origins []string
	revoke  func()
	end     func()
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

func inWorld(t *testing.T, options Options, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(newWorld(t, options))
	})
}

func newWorld(t *testing.T, options Options) *world {
	t.Helper()
	revoked := make(chan struct{})
	w := &world{
		t: t, hub: NewHub(logr.Discard()), origins: []string{"https://desk.example.com"},
		desk:   &desk{known: map[string]keys.Identity{"good": {KeyID: "k1", Scope: keys.Read, Revoked: revoked}}},
		revoke: sync.OnceFunc(func() { close(revoked) }),
	}
	options.Auth = w.desk
	options.Origins = func() []string { return w.origins }
	listener := newPipes()
	w.dial = listener.dial
	server := &http.Server{Handler: NewHandler(w.hub, options), ReadHeaderTimeout: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	hubDone, serverDone := make(chan struct{}), make(chan struct{})
	go func() { defer close(hubDone); _ = w.hub.Run(ctx) }()
	go func() { defer close(serverDone); _ = server.Serve(listener) }()
	w.end = func() {
		cancel()
		_ = server.Close()
		<-hubDone
		<-serverDone
	}
	t.Cleanup(w.end)
	return w
}

// connect completes a handshake.
func (w *world) connect(header http.Header, protocols ...string) *peer {
	w.t.Helper()
	transport := &http.Transport{DialContext: w.dial}
	conn, response, err := websocket.Dial(w.t.Context(), "ws://agent/api/v1/stream", &websocket.DialOptions{ //nolint:bodyclose // The body has become the connection.
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: protocols,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("status %d", response.StatusCode)
	}
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &peer{t: w.t, conn: conn}
}

func (w *world) login() *peer { return w.connect(http.Header{"Authorization": {"good"}}) }

// peer is a client of the tests.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
}

// told is an event as a client sees it.
type told struct {
	ID    string          `json:"id"`
	Topic string          `json:"topic"`
	Time  time.Time       `json:"time"`
	Data  json.RawMessage `json:"data"`
}

func (p *peer) say(message string) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		p.t.Fatal(err)
	}
}

// next is the next event.
func (p *peer) next() told {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Hour)
	defer cancel()
	kind, message, err := p.conn.Read(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var event told
	if err := json.Unmarshal(message, &event); err != nil || kind != websocket.MessageText {
		p.t.Fatalf("%v message %s: %v", kind, message, err)
	}
	return event
}

// expect reads an event and compares topic and data.
func (p *peer) expect(topic, data string) told {
	p.t.Helper()
	event := p.next()
	if event.Topic != topic || data != "" && string(event.Data) != data {
		p.t.Fatalf("got %s %s, want %s %s", event.Topic, event.Data, topic, data)
	}
	return event
}

// closed is how the server ended the WebSocket; nothing may come before.
func (p *peer) closed() websocket.CloseError {
	p.t.Helper()
	_, message, err := p.conn.Read(p.t.Context())
	var end websocket.CloseError
	if !errors.As(err, &end) {
		p.t.Fatalf("got message %q and error %v, want a close frame", message, err)
	}
	return end
}

func (p *peer) wantClosed(code websocket.StatusCode) {
	p.t.Helper()
	if end := p.closed(); end.Code != code {
		p.t.Fatalf("closed with %d %q, want %d", end.Code, end.Reason, code)
	}
}

// pipes is a listener in memory.
type pipes struct {
	waiting chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{waiting: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.waiting <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.waiting:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// raw completes a handshake by hand, so that nothing reads behind the test's back.
func (w *world) raw(authorization string) net.Conn {
	w.t.Helper()
	conn, err := w.dial(w.t.Context(), "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /api/v1/stream HTTP/1.1\r\nHost: agent\r\nAuthorization: "+authorization+"\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// deaf connects a client that reads everything and answers nothing.
func (w *world) deaf() {
	w.t.Helper()
	conn := w.raw("good")
	go func() { _, _ = io.Copy(io.Discard, conn) }()
}
