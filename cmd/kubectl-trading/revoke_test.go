package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/stream"
)

// served is an agent's stream whose keys come from the API server.
func served(t *testing.T, identity link.Identity) (keyring *keys.Keyring, server *httptest.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	keyring = keys.NewKeyring(keys.Options{})
	hub := stream.NewHub(logr.Discard())
	server = httptest.NewTLSServer(stream.NewHandler(hub, stream.Options{Auth: keyring, Origins: func() []string { return nil }}))
	ended := make(chan error, 2)
	go func() { ended <- hub.Run(ctx) }()
	go func() {
		ended <- link.FollowKeys(ctx, apiServer, identity, logr.Discard(), func(data map[string][]byte) { _ = keyring.Load(data) })
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		server.Close()
		keyring.Stop()
	})
	return keyring, server
}

func dial(t *testing.T, server *httptest.Server, key string) *websocket.Conn {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(server.URL, "https"), &websocket.DialOptions{
		HTTPClient: server.Client(), Subprotocols: []string{"trading.v1", "bearer." + key},
	})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// A key is made, used and ended by the commands that people use, through a real API
// server. What it holds open ends with the command, by a watch.
func TestRevokedKeyEndsItsSockets(t *testing.T) {
	admin := newClient(t)
	for name, end := range map[string][]string{
		"revoked": {"revoke", "socketed", "desk"},
		"rotated": {"rotate", "socketed", "desk", "--grace", "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			agent := newAgent(t, admin, "socketed")
			keyring, server := served(t, link.Identity{Namespace: agent.Namespace, Name: agent.Name, UID: agent.UID})
			key, _, err := trading(t, "keys", "create", "socketed", "--name", "desk")
			if err != nil {
				t.Fatal(err)
			}
			key = strings.TrimSpace(key)
			if _, _, err := trading(t, "keys", "create", "socketed", "--name", "other"); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(20 * time.Second); len(keyring.Keys()) < 2; <-time.After(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the agent has not learnt of its keys")
				}
			}
			conns := make([]*websocket.Conn, 5)
			for i := range conns {
				conns[i] = dial(t, server, key)
				// Authenticated: an answer comes only then.
				if err := conns[i].Write(t.Context(), websocket.MessageText, []byte(`{"subscribe":["status"]}`)); err != nil {
					t.Fatal(err)
				}
				if _, _, err := conns[i].Read(t.Context()); err != nil {
					t.Fatalf("before its end the key opens a socket: %v", err)
				}
			}
			if _, _, err := trading(t, append([]string{"keys"}, end...)...); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for i, conn := range conns {
				_, _, err := conn.Read(ctx)
				if code := websocket.CloseStatus(err); code != stream.CodeUnauthenticated {
					t.Errorf("socket %d ended with %d: %v", i, code, err)
				}
			}
			// It takes some milliseconds, and a kubelet's next look at a mounted Secret a minute.
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the sockets ended %s after the command", took)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://host/", nil)
			r.Header.Set("Authorization", "Bearer "+key)
			if _, err := keyring.Authenticate(r); err == nil {
				t.Error("the key still opens")
			}
			if len(keyring.Keys()) == 0 {
				t.Error("another's key was ended too")
			}
		})
	}
}
