package stream

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

const (
	// Protocol is what a client names first in Sec-WebSocket-Protocol when it puts
	// its key or ticket behind it: a browser wants one of its protocols back, and
	// a key is never sent back.
	Protocol = "trading.v1"
	// DefaultMaxClients at once. Each takes some 20 KiB.
	DefaultMaxClients = 4096
	// mostRefused bounds the clients that are waited for after they were refused.
	mostRefused = 256
)

// Options of a Handler.
type Options struct {
	Auth keys.Authenticator
	// Origins whose pages may connect, such as https://desk.example.com. It is
	// asked for each connection and may change.
	Origins func() []string
	// MaxClients at once; DefaultMaxClients if zero.
	MaxClients int
}

// Handler completes WebSocket handshakes and hands the clients to a hub.
type Handler struct {
	hub     *Hub
	options Options
	refused chan struct{}
}

var _ http.Handler = (*Handler)(nil)

// NewHandler serves the hub's events.
func NewHandler(hub *Hub, options Options) *Handler {
	if options.MaxClients == 0 {
		options.MaxClients = DefaultMaxClients
	}
	return &Handler{hub: hub, options: options, refused: make(chan struct{}, mostRefused)}
}

// refusal is a close code for a client that is not let in; zero lets it in.
type refusal struct {
	code   websocket.StatusCode
	reason string
}

// ServeHTTP implements http.Handler. It completes the handshake even for a client
// that it then sends away, because a browser shows its page the code of a close
// frame, but nothing of an HTTP answer. It returns before the WebSocket ends, so
// that nothing of the request stays in memory with it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := handshakeFault(r); fault != "" {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		problem.Write(w, http.StatusUpgradeRequired, fault)
		return
	}
	identity, refused := h.judge(r)
	c := newClient(h.hub, identity)
	takeover := &hijacking{ResponseWriter: w}
	conn, err := websocket.Accept(takeover, r, &websocket.AcceptOptions{
		Subprotocols: []string{Protocol},
		// The origin was judged above, by the list in the manifest.
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { return c.heard() },
		OnPongReceived:     func(context.Context, []byte) { c.silent.Store(0) },
	})
	if err != nil {
		// Accept has answered. The error could repeat what the client sent.
		h.hub.log.V(1).Info("a WebSocket handshake failed")
		return
	}
	c.conn, c.wire = conn, takeover.wire
	conn.SetReadLimit(longestMessage)
	h.begin(c, refused) //nolint:contextcheck // The WebSocket outlives the request.
}

// begin lets the client in or sends it away. Its goroutine outlives the request.
func (h *Handler) begin(c *client, refused refusal) {
	if refused.code == 0 {
		switch admitted, ended := h.hub.admit(c, h.options.MaxClients); {
		case ended:
			refused = refusal{websocket.StatusGoingAway, "the agent ends; connect again"}
		case !admitted:
			refused = refusal{websocket.StatusTryAgainLater, "too many clients; try again later"}
		}
	}
	if refused.code == 0 {
		go c.serve()
		return
	}
	h.dismiss(c, refused)
}

// dismiss sends the close frame and waits for the client's answer, unless too many
// are waited for.
func (h *Handler) dismiss(c *client, refused refusal) {
	h.hub.metrics.closed(refused.code)
	err := c.wire.SetDeadline(time.Now().Add(linger))
	if err == nil {
		_, err = c.wire.Write(closeFrame(refused.code, refused.reason))
	}
	if err != nil || !h.wait() {
		c.abort()
		return
	}
	go func() {
		defer h.hub.working.Done()
		defer func() { <-h.refused }()
		defer c.survive()
		c.depart()
	}()
}

// wait takes one of the places for clients that are waited for.
func (h *Handler) wait() bool {
	select {
	case h.refused <- struct{}{}:
	default:
		return false
	}
	if !h.hub.hold() {
		<-h.refused
		return false
	}
	return true
}

// judge says who the client is, or why it is not let in. Nothing that it sent is
// repeated.
func (h *Handler) judge(r *http.Request) (keys.Identity, refusal) {
	if !h.allowed(r.Header.Values("Origin")) {
		return keys.Identity{}, refusal{CodeOrigin, "this origin is not allowed; add it to spec.api.allowedOrigins"}
	}
	identity, err := h.options.Auth.Authenticate(r)
	if err != nil {
		if limited, ok := errors.AsType[*keys.LimitedError](err); ok {
			return keys.Identity{}, refusal{websocket.StatusTryAgainLater, limited.Error()}
		}
		return keys.Identity{}, refusal{CodeUnauthenticated, "no valid key or ticket"}
	}
	if !identity.Allows(keys.Read) {
		return keys.Identity{}, refusal{CodeUnauthenticated, "the key has no scope that may read"}
	}
	return identity, refusal{}
}

// allowed is whether a page of the origin may connect. Clients that are no browser
// send none.
func (h *Handler) allowed(origins []string) bool {
	switch len(origins) {
	case 0:
		return true
	case 1:
		return slices.Contains(h.options.Origins(), strings.ToLower(origins[0]))
	}
	return false
}

// handshakeFault is what is wrong with a handshake; empty if nothing is. The
// library would find the same, but answers in plain text and repeats headers.
func handshakeFault(r *http.Request) string {
	const keyBytes = 16
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return "WebSockets are opened with HTTP/1.1 here"
	case !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		return "this is a WebSocket; open it with a WebSocket client"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "the version of WebSockets must be 13"
	case err != nil || len(key) != keyBytes || len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return "Sec-WebSocket-Key must be 16 bytes in base64"
	}
	return ""
}

// hasToken is whether a header that is a list has a token, in any case.
func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for word := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(word), token) {
				return true
			}
		}
	}
	return false
}
