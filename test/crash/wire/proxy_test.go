package wire_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/three-rivers-tech/trading-operator/test/crash/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup is a venue that counts what has come, and a client on the other end of the
// line.
func setup(t *testing.T) (*wire.Proxy, *http.Client, *atomic.Int32) {
	t.Helper()
	var came atomic.Int32
	venue := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		came.Add(1)
		_, _ = w.Write(append([]byte("got "), body...))
	}))
	proxy, err := wire.Listen(venue.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
		venue.Close()
	})
	return proxy, &http.Client{Transport: transport}, &came
}

func post(ctx context.Context, client *http.Client, proxy *wire.Proxy, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+proxy.Addr()+"/orders", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	return string(text), errors.Join(err, response.Body.Close())
}

func TestCarries(t *testing.T) {
	proxy, client, came := setup(t)
	for _, body := range []string{"", "one", strings.Repeat("two", 100_000)} {
		got, err := post(t.Context(), client, proxy, body)
		if err != nil || got != "got "+body {
			t.Fatalf("%d bytes came back as %d bytes, %v", len(body), len(got), err)
		}
	}
	if came.Load() != 3 {
		t.Errorf("%d requests came", came.Load())
	}
}

func TestCuts(t *testing.T) {
	proxy, client, came := setup(t)
	proxy.Cut(wire.Reset)
	if got, err := post(t.Context(), client, proxy, "one"); err == nil {
		t.Errorf("a cut line answers %q", got)
	}
	proxy.Cut(wire.Silent)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := post(ctx, client, proxy, "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent line answers %q, %v", got, err)
	}
	if came.Load() != 0 {
		t.Errorf("%d requests came through", came.Load())
	}
	proxy.Cut(wire.Whole)
	if got, err := post(t.Context(), client, proxy, "three"); err != nil || got != "got three" {
		t.Errorf("a mended line answers %q, %v", got, err)
	}
}

func TestHolds(t *testing.T) {
	for stage, want := range map[wire.Stage]int32{wire.FirstByte: 0, wire.LastByte: 1, wire.Answer: 1} {
		t.Run(stage.String(), func(t *testing.T) {
			proxy, client, came := setup(t)
			hold := proxy.HoldNext(stage, func(r *http.Request) bool { return r.URL.Path == "/orders" })
			answers := make(chan string, 1)
			go func() {
				got, err := post(context.WithoutCancel(t.Context()), client, proxy, "one")
				answers <- got + " " + errorText(err)
			}()
			<-hold.Reached()
			await(t, func() bool { return came.Load() == want })
			select {
			case got := <-answers:
				t.Fatalf("it was not held: %s", got)
			default:
			}
			hold.Release()
			if got := <-answers; got != "got one " {
				t.Errorf("after it was released: %q", got)
			}
		})
	}
}

// An order that is held as the line is cut is lost on its way, or its answer is.
func TestCutWhileHeld(t *testing.T) {
	for stage, want := range map[wire.Stage]int32{wire.FirstByte: 0, wire.Answer: 1} {
		t.Run(stage.String(), func(t *testing.T) {
			proxy, client, came := setup(t)
			hold := proxy.HoldNext(stage, func(*http.Request) bool { return true })
			answers := make(chan error, 1)
			go func() {
				_, err := post(context.WithoutCancel(t.Context()), client, proxy, "one")
				answers <- err
			}()
			<-hold.Reached()
			proxy.Cut(wire.Reset)
			proxy.Cut(wire.Whole)
			if err := <-answers; err == nil {
				t.Error("a cut request was answered")
			}
			if came.Load() != want {
				t.Errorf("%d requests came, want %d", came.Load(), want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func await(t *testing.T, yes func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			t.Fatal("it did not come to pass")
		case <-tick.C:
		}
	}
}
