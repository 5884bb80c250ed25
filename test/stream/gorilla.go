package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// gorillaHub is a server as gorilla/websocket's chat example shows it: a hub that
// owns the set of clients, a queue and two goroutines a client. Each message is a
// frame, which is prepared once for all clients.
type gorillaHub struct {
	clients              map[*gorillaClient]bool
	broadcast            chan *websocket.PreparedMessage
	register, unregister chan *gorillaClient
	done                 chan struct{}
	upgrader             websocket.Upgrader
}

type gorillaClient struct {
	hub  *gorillaHub
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

// The example's own figures.
const (
	gorillaWriteWait  = 10 * time.Second
	gorillaPongWait   = 60 * time.Second
	gorillaPingPeriod = gorillaPongWait * 9 / 10
	gorillaReadLimit  = 512
	gorillaQueue      = 256
	gorillaBuffer     = 1024
)

func newGorillaHub() *gorillaHub {
	return &gorillaHub{
		clients: map[*gorillaClient]bool{}, broadcast: make(chan *websocket.PreparedMessage),
		register: make(chan *gorillaClient), unregister: make(chan *gorillaClient), done: make(chan struct{}),
		upgrader: websocket.Upgrader{ReadBufferSize: gorillaBuffer, WriteBufferSize: gorillaBuffer},
	}
}

func (h *gorillaHub) run(ctx context.Context) error {
	defer close(h.done)
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			h.drop(c)
		case message := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- message:
				default:
					h.drop(c)
				}
			}
		}
	}
}

func (h *gorillaHub) drop(c *gorillaClient) {
	if h.clients[c] {
		delete(h.clients, c)
		close(c.send)
	}
}

func (h *gorillaHub) publish(at time.Time, size int) {
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, dataOf(at, size))
	if err != nil {
		return
	}
	select {
	case h.broadcast <- message:
	case <-h.done:
	}
}

func (h *gorillaHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &gorillaClient{hub: h, conn: conn, send: make(chan *websocket.PreparedMessage, gorillaQueue)}
	select {
	case h.register <- c:
	case <-h.done:
		return
	}
	go c.write()
	go c.read()
}

func (c *gorillaClient) read() {
	defer func() {
		select {
		case c.hub.unregister <- c:
		case <-c.hub.done:
		}
		_ = c.conn.Close()
	}()
	c.conn.SetReadLimit(gorillaReadLimit)
	_ = c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait)) })
	for {
		if _, _, err := c.conn.ReadMessage(); err != nil {
			return
		}
	}
}

func (c *gorillaClient) write() {
	ticker := time.NewTicker(gorillaPingPeriod)
	defer func() {
		ticker.Stop()
		_ = c.conn.Close()
	}()
	for {
		var err error
		select {
		case message, open := <-c.send:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if !open {
				_ = c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			err = c.conn.WritePreparedMessage(message)
		case <-ticker.C:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			err = c.conn.WriteMessage(websocket.PingMessage, nil)
		}
		if err != nil {
			return
		}
	}
}
