//go:build e2etls

package e2etls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
)

// streams is how many WebSockets are open while a certificate is renewed.
const streams = 200

// newKey makes an API key of an agent, as "trading-agent keys create" does.
func newKey(ctx context.Context, agent string, scope keys.Scope) string {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: agent + "-api-keys"}}
	Expect(client.IgnoreNotFound(cluster.Get(ctx, client.ObjectKeyFromObject(secret), secret))).To(Succeed())
	var key string
	data, err := keys.Change(secret.Data, func(entries keys.Entries) (err error) {
		name := "e2e-tls-" + string(scope)
		_, _ = entries.Revoke(name) // the one of an earlier run, if there was one
		_, key, err = entries.Create(name, scope, time.Hour, time.Now())
		return err
	})
	Expect(err).NotTo(HaveOccurred())
	secret.Data = data
	if secret.UID == "" {
		Expect(cluster.Create(ctx, secret)).To(Succeed())
	} else {
		Expect(cluster.Update(ctx, secret)).To(Succeed())
	}
	return key
}

// load is a crowd of WebSocket clients that read until they are told to stop.
type load struct {
	messages atomic.Int64
	stopping atomic.Bool
	readers  sync.WaitGroup
	stop     context.CancelFunc

	mu      sync.Mutex
	dropped []error
}

// startLoad connects every client by the agent's address, through Traefik.
func startLoad(ctx context.Context, host, key string) *load {
	GinkgoHelper()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &load{stop: stop}
	DeferCleanup(l.end)
	for range streams {
		conn, err := connect(ctx, host, key)
		Expect(err).NotTo(HaveOccurred())
		l.readers.Go(func() { l.read(ctx, conn) })
	}
	return l
}

func connect(ctx context.Context, host, key string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, judgement)
	defer cancel()
	//nolint:bodyclose // The library says that nobody has to.
	conn, _, err := websocket.Dial(ctx, "wss://"+host+"/api/v1/stream", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(front, "443"))
			},
		}},
		Subprotocols: []string{stream.Protocol, "bearer." + key},
	})
	if err != nil {
		return nil, err
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"subscribe": ["status", "equity", "quotes", "decisions"]}`)); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return conn, nil
}

func (l *load) read(ctx context.Context, conn *websocket.Conn) {
	defer func() { _ = conn.CloseNow() }()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if !l.stopping.Load() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.dropped = append(l.dropped, err)
			}
			return
		}
		l.messages.Add(1)
	}
}

// heard is how many messages the clients have read; an error that nothing heals if
// one was dropped.
func (l *load) heard() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.dropped) > 0 {
		return 0, StopTrying(fmt.Sprintf("%d clients were dropped", len(l.dropped))).Wrap(errors.Join(l.dropped...))
	}
	return l.messages.Load(), nil
}

// end stops the clients and returns what those met that were dropped before.
func (l *load) end() []error {
	l.stopping.Store(true)
	l.stop()
	l.readers.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}
