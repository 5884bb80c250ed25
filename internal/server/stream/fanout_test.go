package stream

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// nowhere is a connection that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(frames []byte) (int, error) { return len(frames), nil }

// fanOut is a hub with so many clients that subscribed to quotes, and what hands one
// event to all of them.
func fanOut(clients int) (hub *Hub, hand func()) {
	hub = NewHub(logr.Discard())
	for range clients {
		c := newClient(hub, keys.Identity{})
		c.wire = &wire{Conn: nowhere{}}
		c.topics, c.subscribed = topicSet(0).with(Quotes), true
		hub.crowd = append(hub.crowd, c)
	}
	data := []byte(`{"pair":"BTC-USD"}`)
	seen := uint64(0)
	return hub, func() {
		hub.Publish(Quotes, "BTC-USD", noon, data)
		<-hub.published
		seen = hub.fanOut(seen)
		hub.working.Wait()
	}
}

func TestAMessageAllocatesNothingPerClient(t *testing.T) {
	const clients = 500
	hub, hand := fanOut(clients)
	for range ringSize { // until goroutines and the ring are warm
		hand()
	}
	// The event itself takes a few.
	if allocations := testing.AllocsPerRun(200, hand); allocations > clients/10 {
		t.Errorf("a message to %d clients takes %.0f allocations", clients, allocations)
	}
	for _, c := range hub.crowd {
		if c.cursor != hub.head.Load() {
			t.Fatalf("a client is at %d of %d", c.cursor, hub.head.Load())
		}
	}
}

// faulty is a connection with a bug.
type faulty struct {
	net.Conn

	closed bool
}

func (*faulty) Write([]byte) (int, error)   { panic("a bug") } //nolint:forbidigo // It is what is tested.
func (*faulty) SetDeadline(time.Time) error { return nil }

func (f *faulty) Close() error {
	f.closed = true
	return nil
}

func TestAFaultEndsOneWebSocketOnly(t *testing.T) {
	hub, hand := fanOut(2)
	conn := &faulty{}
	hub.crowd[0].wire = &wire{Conn: conn}
	hand()
	hand()
	if !conn.closed {
		t.Error("the connection with the fault is still open")
	}
	if c := hub.crowd[1]; c.cursor != 2 {
		t.Errorf("the other one is at %d", c.cursor)
	}
}

// Events that were overwritten before the clients heard of them are never passed
// over in silence.
func TestOverwrittenEventsDropWhoWantedThem(t *testing.T) {
	hub, hand := fanOut(1)
	c := hub.crowd[0]
	conn := &faulty{}
	c.wire, c.topics = &wire{Conn: conn}, topicSet(0).with(Fills)
	hub.PublishNews(news(1, 1)...)
	for range ringSize {
		hub.Publish(Quotes, "BTC-USD", noon, []byte(`1`))
	}
	hand()
	if codeOf(c.ending) != CodeSlow {
		t.Errorf("the client is at %d and its close frame is %x", c.cursor, c.ending)
	}
}

// A client that is written to while it is looked after may be ahead of what was the
// newest event a moment before.
func TestAClientThatIsAheadIsNotSlow(t *testing.T) {
	hub, _ := fanOut(1)
	c := hub.crowd[0]
	c.wire = &wire{Conn: &faulty{}}
	for head, slow := range map[uint64]bool{5: false, 10: false, 10 + ringSize - 1: false, 10 + ringSize: true} {
		c.cursor, c.writing, c.ending = 10, true, nil
		c.check(noon, head)
		if (c.ending != nil) != slow {
			t.Errorf("at 10 of %d its close frame is %x", head, c.ending)
		}
	}
}

func BenchmarkFanOut(b *testing.B) {
	const clients = 2000
	_, hand := fanOut(clients)
	b.ReportAllocs()
	began := time.Now()
	for b.Loop() {
		hand()
	}
	b.ReportMetric(float64(b.N)*clients/time.Since(began).Seconds(), "messages/s")
}

// Who waits for something rare is not behind while others get a lot.
func TestQuietSubscribersAreNotSlow(t *testing.T) {
	hub, hand := fanOut(2)
	c, conn := hub.crowd[0], &kept{}
	c.wire, c.topics = &wire{Conn: conn}, topicSet(0).with(Fills)
	for range 2 * ringSize {
		hand()
		if c.cursor != hub.head.Load() || c.writing {
			t.Fatalf("it is at %d of %d, writing: %t", c.cursor, hub.head.Load(), c.writing)
		}
	}
	hub.PublishNews(news(1, 1)...)
	hand()
	if c.ending != nil || !bytes.Contains(conn.Bytes(), []byte(`{"fill":1}`)) || bytes.Contains(conn.Bytes(), []byte("quotes")) {
		t.Errorf("it was sent %q and is closed with %x", conn.Bytes(), c.ending)
	}
}
