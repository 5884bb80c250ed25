package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"golang.org/x/sync/errgroup"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// writing collects everything that is logged.
type writing struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *writing) add(prefix, args string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.text.WriteString(prefix + args + "\n")
}

func (w *writing) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *writing) logger() logr.Logger {
	return funcr.New(w.add, funcr.Options{Verbosity: 10})
}

// reached is a sample agent that trades in memory and serves its API in the clear on
// a loopback address, with keys from a file.
type reached struct {
	base     string
	keysFile string
	logged   *writing
	book     *ledger.Memory
	agentUID string
	front    *front
	// stop ends the agent as SIGTERM does.
	stop context.CancelFunc
}

func reach(t *testing.T) *reached {
	t.Helper()
	desk := sampleDesk(t)
	desk.Agent.Spec.MarketData.Replay.Speed = 1_000_000
	r := &reached{keysFile: filepath.Join(t.TempDir(), "keys.json"), logged: &writing{}, book: ledger.NewMemoryWithHistory()}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	r.base = "http://" + address
	running := newProcess("test", market.NewLibrary(nil), r.logged.logger())
	options := &frontOptions{listen: address, keysFile: r.keysFile}
	if running.front, err = newFront(options, desk.Agent.Namespace, desk.Agent.Name, running, r.logged.logger()); err != nil {
		t.Fatal(err)
	}
	r.front = running.front
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	group, ctx := errgroup.WithContext(ctx)
	running.learn(&desk)
	if err := running.front.serveFromFiles(ctx, group, options); err != nil {
		t.Fatal(err)
	}
	kept := memoryBooks()
	kept.ledger, kept.audit = r.book, r.book
	kept.reader = func(_ context.Context, agentUID string) (reader, error) { return r.book.Reader(agentUID), nil }
	shell, err := running.start(ctx, &desk, kept)
	if err != nil {
		t.Fatal(err)
	}
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, "test")
	if err != nil {
		t.Fatal(err)
	}
	r.agentUID = config.Agent.UID
	group.Go(func() error { return shell.Run(ctx) })
	group.Go(func() error { return follow(ctx, running, shell) })
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); running.Ready() != nil; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the agent is not ready: %v", running.Ready())
		}
	}
	return r
}

// create makes a key by the command, and waits until the agent knows it.
func (r *reached) create(t *testing.T, name string, scope keys.Scope) string {
	t.Helper()
	before := len(r.front.keyring.Keys())
	key, _, err := command(t, "keys", "create", "--keys-file", r.keysFile, "--name", name, "--scope", string(scope))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(r.front.keyring.Keys()) == before; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent has not learnt of the key")
		}
	}
	return strings.TrimSpace(key)
}

// ask sends one request and returns all that comes back, as text.
func (r *reached) ask(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var told strings.Builder
	if err := response.Header.Write(&told); err != nil {
		t.Fatal(err)
	}
	// A WebSocket says why it closes, and then ends.
	if _, err := io.Copy(&told, io.LimitReader(response.Body, 1<<20)); err != nil && response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(err)
	}
	return response.StatusCode, told.String()
}

// routes are all paths of the API, with the method that each is for.
var routes = map[string]string{
	"/healthz": "GET", "/readyz": "GET", "/metrics": "GET", "/": "GET", "/api/v2": "GET",
	"/api/v1/status": "GET", "/api/v1/effective": "GET", "/api/v1/pulse": "GET", "/api/v1/positions": "GET",
	"/api/v1/orders": "GET", "/api/v1/fills": "GET", "/api/v1/decisions": "GET", "/api/v1/equity": "GET",
	"/api/v1/openapi.json": "GET", "/api/v1/positions/EUR-USD/close": "POST",
	"/api/v1/tickets": "POST", "/api/v1/stream": "GET",
}

// Keys are shown at every route, in every place, in every shape; then all that came
// out of the agent is searched for them.
func TestNoCanaryIsTold(t *testing.T) {
	r := reach(t)
	canaries := []string{
		"ta_abcdefgh_" + strings.Repeat("Canary", 7) + "A",
		"tt_" + strings.Repeat("Canary", 7) + "A",
		"CanaryOfNoShape",
		r.create(t, "reader", keys.Read), r.create(t, "trader", keys.Trade),
	}
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	var told strings.Builder
	asked := 0
	for path, method := range routes {
		for _, canary := range canaries {
			for _, place := range []func(http.Header) string{
				func(h http.Header) string { h.Set("Authorization", "Bearer "+canary); return "" },
				func(h http.Header) string { h.Set("Authorization", canary); return "" },
				func(http.Header) string { return "?token=" + url.QueryEscape(canary) },
				func(http.Header) string { return "?" + url.QueryEscape(canary) + "=%zz" },
				func(h http.Header) string { h.Set("Sec-Websocket-Protocol", "trading.v1, bearer."+canary); return "" },
				func(h http.Header) string { h.Set("Idempotency-Key", canary); return "" },
				func(h http.Header) string { h.Set("X-Forwarded-Proto", "http"); return "?token=" + canary },
				func(h http.Header) string { h.Set("Origin", "https://"+canary); return "" },
			} {
				for _, base := range []http.Header{{}, upgrade} {
					if path == "/api/v1/stream" && len(base) > 0 && strings.Contains(canary, "_") && !strings.Contains(canary, "Canary") {
						// A right key opens a socket that stays open; the stream's own tests have it.
						continue
					}
					header := base.Clone()
					query := place(header)
					for _, verb := range []string{method, "DELETE"} {
						_, answer := r.ask(t, verb, path+query, "", header)
						_, _ = told.WriteString(answer)
						_, answer = r.ask(t, verb, path+query, canary, header)
						_, _ = told.WriteString(answer)
						asked += 2
					}
				}
			}
		}
	}
	_, metrics := r.ask(t, "GET", "/metrics", "", http.Header{})
	var audit strings.Builder
	for _, use := range r.book.Uses(r.agentUID) {
		_, _ = audit.WriteString(use.Path + use.KeyID + use.KeyName + use.Method + "\n")
	}
	file, err := os.ReadFile(r.keysFile)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"answers": told.String(), "logs": r.logged.String(), "metrics": metrics, "audit": audit.String(), "keys file": string(file)} {
		if text == "" {
			t.Errorf("there are no %s to search", where)
		}
		for _, canary := range canaries {
			for _, part := range []string{canary, canary[len(canary)-12:]} {
				if strings.Contains(text, part) {
					t.Errorf("%s tell the key %s…", where, canary[:8])
				}
			}
		}
	}
	if asked < 1000 {
		t.Errorf("only %d requests were made", asked)
	}
}

// What a key does beyond reading is on record before and after it.
func TestClosingIsOnRecord(t *testing.T) {
	r := reach(t)
	key := r.create(t, "trader", keys.Trade)
	code, answer := r.ask(t, "POST", "/api/v1/positions/EUR-USD/close", "", http.Header{
		"Authorization": {"Bearer " + key}, "Idempotency-Key": {"wish-0001"},
	})
	// The replay decides whether something is held at this moment.
	if code != http.StatusOK && code != http.StatusAccepted && code != http.StatusConflict {
		t.Fatalf("%d %s", code, answer)
	}
	uses := r.book.Uses(r.agentUID)
	if len(uses) != 2 || uses[0].Outcome != "Begun" || uses[1].Outcome != "Done" || uses[1].Status != code ||
		uses[1].KeyName != "trader" || uses[1].Path != "/api/v1/positions/EUR-USD/close" || uses[0].Request != uses[1].Request {
		t.Errorf("answered %d, on record is %+v", code, uses)
	}
	// Reading leaves no row.
	if code, answer := r.ask(t, "GET", "/api/v1/positions", "", http.Header{"Authorization": {"Bearer " + key}}); code != http.StatusOK || len(r.book.Uses(r.agentUID)) != 2 {
		t.Errorf("reading: %d %s, %d rows", code, answer, len(r.book.Uses(r.agentUID)))
	}
}

// open is a socket that follows the status, and has heard it.
func (r *reached) open(t *testing.T, key string) *websocket.Conn {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(r.base, "http")+"/api/v1/stream",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.CloseNow()
		if response.Body != nil {
			_ = response.Body.Close()
		}
	})
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"subscribe":["status","positions"]}`)); err != nil {
		t.Fatal(err)
	}
	for heard := ""; !strings.Contains(heard, `"topic":"status"`); {
		_, message, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heard += string(message)
	}
	return conn
}

// ends waits for the end of a socket and returns its code.
func ends(t *testing.T, conn *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	return websocket.CloseStatus(err)
}

// A key that is taken out of the file is out at once, and so is what it holds open.
func TestKeysFileIsLive(t *testing.T) {
	r := reach(t)
	key := r.create(t, "reader", keys.Read)
	header := http.Header{"Authorization": {"Bearer " + key}}
	if code, answer := r.ask(t, "GET", "/api/v1/status", "", header); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	conn := r.open(t, key)
	if _, _, err := command(t, "keys", "--keys-file", r.keysFile, "revoke", "reader"); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, conn); code != stream.CodeUnauthenticated {
		t.Errorf("the socket ended with %d", code)
	}
	if code, answer := r.ask(t, "GET", "/api/v1/status", "", header); code != http.StatusUnauthorized {
		t.Errorf("%d %s", code, answer)
	}
}

func TestStoppingAgentSaysGoodbye(t *testing.T) {
	r := reach(t)
	conn := r.open(t, r.create(t, "reader", keys.Read))
	r.stop()
	if code := ends(t, conn); code != websocket.StatusGoingAway {
		t.Errorf("the socket ended with %d, want 1001", code)
	}
}
