package stream

import (
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
