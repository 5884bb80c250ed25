package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

const (
	// linger is how long a client has to answer the close frame. With the sweep
	// before it, a revoked key's socket is gone within a second.
	linger = 500 * time.Millisecond
	// Silence before a ping, and then before the client counts as gone, in sweeps.
	pingAfter  = int32(30 * time.Second / sweepInterval)
	silentFrom = pingAfter + int32(15*time.Second/sweepInterval)
	// stuckFrom is how long one write may take, in sweeps.
	stuckFrom = int32(10 * time.Second / sweepInterval)
	// A client that behaves says a few things when it connects and pings now and
	// then. It may say mostSaid things in a budgetSweeps long while.
	mostSaid     = 20
	budgetSweeps = int32(time.Second / sweepInterval)
	// mostOwed bounds the frames that wait for one client alone.
	mostOwed = 2*historySize + 64
)

// client is one WebSocket.
type client struct {
	hub      *Hub
	conn     *websocket.Conn
	wire     *wire
	identity keys.Identity
	// write is flush, made once so that starting it allocates nothing.
	write func()
	// place in the hub's crowd; -1 outside.
	place int

	mu     sync.Mutex
	topics topicSet
	// subscribed once, so that cursor means something.
	subscribed bool
	// cursor is the number of the newest event that was sent or passed over.
	cursor uint64
	// owed are frames that only this client gets, before those of the ring.
	owed [][]byte
	ping bool
	// ending is the close frame to send; over says that it was handed to a write.
	ending []byte
	over   bool
	// writing says that a goroutine runs flush.
	writing bool
	// stuck counts the sweeps since flush last asked for more.
	stuck int32

	// silent counts the sweeps since the client was last heard; said what it has
	// said in its while, which has lasted for spell sweeps.
	silent, said, spell atomic.Int32
}

func newClient(hub *Hub, identity keys.Identity) *client {
	c := &client{hub: hub, identity: identity, place: -1}
	c.write = c.flush
	return c
}

// offer tells the client of events up to head, which are about topics.
func (c *client) offer(head uint64, topics topicSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.writing: // It will see for itself.
	case c.topics.meets(topics):
		c.wake()
	default:
		c.cursor = max(c.cursor, head)
	}
}

// wake starts a goroutine that writes. The caller holds mu.
func (c *client) wake() {
	if c.writing || c.over {
		return
	}
	c.writing = true
	c.hub.working.Add(1)
	go c.write()
}

// flush writes until the client has everything.
func (c *client) flush() {
	defer c.hub.working.Done()
	defer c.survive()
	var b batch
	defer b.release()
	for c.collect(&b) {
		if _, err := c.wire.Write(b.bytes()); err != nil {
			if !errors.Is(err, errClosing) {
				c.abort()
			}
			return
		}
		c.hub.metrics.sent.Add(float64(b.frames))
	}
}

// collect fills a batch with what the client is to get next. When there is nothing
// it ends the right to write and says false.
func (c *client) collect(b *batch) bool {
	b.reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck = 0
	if c.ending == nil {
		c.gather(b)
	}
	if c.ending != nil && !c.over {
		b.reset()
		b.add(c.ending)
		c.over = true
		return true
	}
	c.writing = b.frames > 0
	return c.writing
}

func (c *client) gather(b *batch) {
	if c.ping {
		c.ping = false
		b.add(pingFrame)
	}
	sent := 0
	for sent < len(c.owed) && !b.full() {
		b.add(c.owed[sent])
		sent++
	}
	if c.owed = c.owed[sent:]; len(c.owed) > 0 {
		return
	}
	c.owed = nil
	head := c.hub.head.Load()
	for c.cursor < head && !b.full() {
		e := c.hub.ring[(c.cursor+1)%ringSize].Load()
		if e.number != c.cursor+1 {
			c.finish(CodeSlow, "too slow; subscribe to less, or read faster")
			return
		}
		c.cursor++
		if c.topics.has(e.topic) {
			b.add(e.frame)
		}
	}
}

// end closes the WebSocket with a code, unless it is being closed already.
func (c *client) end(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(code, reason)
	c.wake()
}

// finish is end without the writing. The caller holds mu.
func (c *client) finish(code websocket.StatusCode, reason string) {
	if c.ending != nil {
		return
	}
	c.ending = closeFrame(code, reason)
	// The deadline frees a writer that is stuck and ends the wait for the client's
	// answer. If it cannot be set, the connection is gone already.
	_ = c.wire.SetDeadline(time.Now().Add(linger))
}

// check looks after the client, once a sweep.
func (c *client) check(now time.Time, head uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil {
		return
	}
	select {
	case <-c.identity.Revoked:
		c.finish(CodeUnauthenticated, "the key was revoked or has expired")
	default:
	}
	if expires := c.identity.Expires; !expires.IsZero() && !now.Before(expires) {
		c.finish(CodeUnauthenticated, "the key has expired")
	}
	if c.writing {
		c.stuck++
		// The cursor may be ahead of a head that was read a moment ago.
		if c.stuck >= stuckFrom || c.cursor+ringSize <= head {
			c.finish(CodeSlow, "too slow; subscribe to less, or read faster")
		}
	}
	if c.spell.Add(1) >= budgetSweeps {
		c.spell.Store(0)
		c.said.Store(0)
	}
	switch silence := c.silent.Add(1); {
	case silence == pingAfter:
		c.ping = true
	case silence >= silentFrom:
		c.finish(CodeSilent, "no answer to a ping")
	}
	if c.ping || c.ending != nil {
		c.wake()
	}
}

// heard counts something that the client has said, and says whether that is still
// within its budget.
func (c *client) heard() bool {
	c.silent.Store(0)
	if c.said.Add(1) <= mostSaid {
		return true
	}
	c.end(websocket.StatusPolicyViolation, "too many messages")
	return false
}

// serve reads one message, does what it asks for, and leaves the next to a fresh
// goroutine: by then its own stack has grown, and clients that are silent are many.
func (c *client) serve() {
	goesOn := false
	defer func() {
		if !goesOn {
			c.hub.remove(c)
			c.hub.working.Done()
		}
	}()
	defer c.survive()
	if err := c.receive(); err != nil {
		c.drain(err)
		c.abort()
		_ = c.conn.CloseNow() // It is closed by now; this frees what the library holds.
		c.hub.metrics.closed(c.wire.closedWith())
		return
	}
	goesOn = true
	go c.serve()
}

// receive fails when the connection has ended.
func (c *client) receive() error {
	// The connection ends by its deadline or by being closed, so no context watches
	// every read.
	kind, reader, err := c.conn.Reader(context.Background())
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	message, err := io.ReadAll(reader)
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	switch {
	case !c.heard(): // The rest is read only until the client has gone.
	case kind != websocket.MessageText:
		c.end(websocket.StatusUnsupportedData, "send text messages")
	default:
		c.hear(message)
	}
	return nil
}

// depart reads until the client has answered the close frame or its time is up.
func (c *client) depart() {
	for {
		_, reader, err := c.conn.Reader(context.Background())
		if err == nil {
			_, err = io.Copy(io.Discard, reader)
		}
		if err != nil {
			c.abort()
			_ = c.conn.CloseNow() // It is closed by now; this frees what the library holds.
			return
		}
	}
}

// drain reads the rest of what a client sends that the library has sent away: a
// connection that is closed with something unread is reset, and the close frame
// may be lost.
func (c *client) drain(err error) {
	c.mu.Lock()
	ours := c.ending != nil
	c.mu.Unlock()
	if ours || c.wire.closedWith() == 0 || websocket.CloseStatus(err) != -1 {
		return
	}
	if err := c.wire.SetDeadline(time.Now().Add(linger)); err == nil {
		_, _ = io.Copy(io.Discard, c.wire.Conn)
	}
}

// abort closes the connection under TLS, so that nothing waits for a peer that does
// not read.
func (c *client) abort() { _ = c.wire.inner().Close() }

// survive keeps a fault of the stream from ending the agent.
func (c *client) survive() {
	if recover() != nil { // What it holds may be a client's.
		c.hub.log.Error(nil, "a fault in the stream ended a WebSocket", "stack", string(debug.Stack()))
		c.abort()
	}
}

// hear does what a message asks for.
func (c *client) hear(message []byte) {
	wanted, err := parseSubscription(message)
	if err != nil {
		c.owe(c.notice(topicError, map[string]any{"message": err.Error()}))
		return
	}
	p := c.hub.plan(wanted.topics, wanted.after)
	frames := make([][]byte, 0, 3+len(p.replay)+len(p.state))
	frames = append(frames, c.confirmation(wanted, p))
	if len(wanted.unknown) > 0 {
		known := (newsTopics | stateTopics).words()
		frames = append(frames, c.notice(topicError, map[string]any{"message": "unknown topics", "topics": wanted.unknown, "known": known}))
	}
	if p.missed != 0 {
		frames = append(frames, c.notice(topicGap, map[string]any{
			"message": "events of these topics may be missing; read them over HTTP", "topics": p.missed.words(),
		}))
	}
	frames = append(append(frames, p.replay...), p.state...)
	c.mu.Lock()
	// Who changes a subscription still gets what is on its way.
	if !c.subscribed || wanted.after != "" {
		c.cursor = p.cursor
	}
	c.topics, c.subscribed = wanted.topics, true
	c.mu.Unlock()
	c.owe(frames...)
}

// confirmation tells the client what it will get. It has an id when nothing of the
// past comes before the ring, so that the client can resume even if nothing follows.
func (c *client) confirmation(wanted subscription, p plan) []byte {
	data, err := json.Marshal(map[string]any{"topics": wanted.topics.words()})
	if err != nil {
		return c.notice(topicError, nil)
	}
	return encode([]byte(p.begin), topicSubscribed, time.Now(), data)
}

// notice is a frame of the stream's own, without an id.
func (c *client) notice(topic string, data map[string]any) []byte {
	text, err := json.Marshal(data)
	if err != nil { // Words and lists of words cannot fail.
		text = []byte("{}")
	}
	return encode(nil, topic, time.Now(), text)
}

// owe sends frames to this client alone.
func (c *client) owe(frames ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.owed)+len(frames) > mostOwed {
		c.finish(CodeSlow, "too slow; read before you ask for more")
	} else {
		c.owed = append(c.owed, frames...)
	}
	c.wake()
}
