//go:build browser

// Package browser lets a real browser use the stream: what a page is told when it is
// not let in cannot be seen with any other client.
package browser

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
)

// judgement is how long all of it may take.
const judgement = 2 * time.Minute

// agent is a stream with real keys behind an HTTP server.
type agent struct {
	t       *testing.T
	entries keys.Entries
	keyring *keys.Keyring
	hub     *stream.Hub
	// key that is valid.
	key string
	// home is an origin that is allowed; abroad serves the same page and is not.
	home, abroad string
	// end ends the agent.
	end func()
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{t: t, entries: keys.Entries{}, keyring: keys.NewKeyring(keys.Options{}), hub: stream.NewHub(logr.Discard())}
	var err error
	if _, a.key, err = a.entries.Create("browser", keys.Read, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	a.keyring.Replace(a.entries)
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/stream", stream.NewHandler(a.hub, stream.Options{Auth: a.keyring, Origins: func() []string { return []string{a.home} }}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>desk</title>"))
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.hub.Run(ctx) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	for _, origin := range []*string{&a.home, &a.abroad} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*origin = "http://" + listener.Addr().String()
		running.Go(func() { _ = server.Serve(listener) })
	}
	a.end = cancel
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		a.keyring.Stop()
		running.Wait()
	})
	a.hub.Publish(stream.Status, "", time.Now(), []byte(`{"state":"Enabled"}`))
	return a
}

func (a *agent) ticket() string { // as POST /api/v1/tickets makes it
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.home, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.key)
	r.TLS = &tls.ConnectionState{}
	identity, err := a.keyring.Authenticate(r)
	if err != nil {
		a.t.Fatal(err)
	}
	text, _, err := a.keyring.IssueTicket(identity)
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// chromium starts a browser that leaves with the test.
func chromium(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, // it may run as root
		chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := context.WithTimeout(t.Context(), judgement)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return ctx
}

// outcome is what a page is told of its WebSocket.
type outcome struct {
	// Code of its end; 0 if it is open after the topics that were waited for.
	Code     int      `json:"code"`
	Protocol string   `json:"protocol"`
	Topics   []string `json:"topics"`
}

// visit lets a page of the origin open a WebSocket and subscribe, until it has heard
// two messages or the WebSocket is closed.
func visit(browser context.Context, t *testing.T, origin, url string, protocols ...string) outcome {
	t.Helper()
	if _, err := chromedp.Run(browser, chromedp.Navigate(origin+"/")); err != nil {
		t.Fatal(err)
	}
	offered, err := json.Marshal(append([]string{}, protocols...))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := chromedp.Run(browser, chromedp.Evaluate[outcome](`new Promise(resolve => {
		const socket = new WebSocket(`+strconv.Quote(url)+`, `+string(offered)+`);
		const topics = [];
		const told = code => resolve({code, protocol: socket.protocol, topics});
		window.ended = new Promise(ended => {
			socket.onclose = event => { ended(event.code); told(event.code); };
		});
		socket.onopen = () => socket.send(JSON.stringify({subscribe: ["status"]}));
		socket.onmessage = event => { if (topics.push(JSON.parse(event.data).topic) == 2) told(0); };
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestABrowserIsToldWhy(t *testing.T) {
	a, browser := newAgent(t), chromium(t)
	url := "ws" + a.home[len("http"):] + "/api/v1/stream"
	const wrong = "ta_AAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	closed := func(name, origin, url string, want int, protocols ...string) {
		t.Helper()
		if seen := visit(browser, t, origin, url, protocols...); seen.Code != want || len(seen.Topics) > 0 {
			t.Errorf("%s: the page is told %d and hears %v, want %d and nothing", name, seen.Code, seen.Topics, want)
		}
	}
	open := func(name, url, protocol string, protocols ...string) {
		t.Helper()
		seen := visit(browser, t, a.home, url, protocols...)
		if seen.Code != 0 || seen.Protocol != protocol || !slices.Equal(seen.Topics, []string{"subscribed", "status"}) {
			t.Errorf("%s: the page sees %+v", name, seen)
		}
	}
	ended := func(name string, want int) {
		t.Helper()
		code, err := chromedp.Run(browser, chromedp.Evaluate[int](`window.ended`, chromedp.EvalAwaitPromise))
		if err != nil || code != want {
			t.Errorf("%s: the page is told %d, %v, want %d", name, code, err, want)
		}
	}

	closed("no key", a.home, url, 4001)
	closed("a wrong key in the address", a.home, url+"?token="+wrong, 4001)
	closed("a wrong key as protocol", a.home, url, 4001, stream.Protocol, "bearer."+wrong)
	closed("a page from elsewhere", a.abroad, url+"?token="+a.key, 4003)
	// A key is never sent back, and a browser wants one of its protocols back.
	closed("a key as the only protocol", a.home, url, 1006, "bearer."+a.key)

	open("a ticket", url+"?token="+a.ticket(), "")
	open("a key as protocol", url, stream.Protocol, stream.Protocol, "bearer."+a.key)
	spent := a.ticket()
	open("a ticket as protocol", url, stream.Protocol, stream.Protocol, "bearer."+spent)
	closed("a ticket that was used", a.home, url+"?token="+spent, 4001)

	open("a key in the address", url+"?token="+a.key, "")
	a.keyring.Replace(nil)
	revoked := time.Now()
	ended("a key that is revoked", 4001)
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("it took %s", took)
	}

	a.keyring.Replace(a.entries)
	open("a key that is back", url+"?token="+a.key, "")
	a.end()
	ended("the agent ends", 1001)
}

func TestABrowserThatGuessesIsSlowed(t *testing.T) {
	a, browser := newAgent(t), chromium(t)
	url := "ws" + a.home[len("http"):] + "/api/v1/stream"
	for range 200 {
		switch seen := visit(browser, t, a.home, url+"?token=wrong"); seen.Code {
		case 4001:
			continue
		case 1013:
			return
		default:
			t.Fatalf("the page is told %d", seen.Code)
		}
	}
	t.Error("200 guesses were answered")
}
