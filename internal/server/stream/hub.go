package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"
)

const (
	// ringSize is how many events a client may be behind, and how many it can
	// resume after. At 50 events a second it is 40 s.
	ringSize = 2048
	// historySize is how many news of the ledger can be told again to a client
	// that comes back after longer, or after a restart of the agent.
	historySize = 1024
	// sweepInterval is how often clients are looked after: keys that have ended,
	// time-outs, budgets.
	sweepInterval = 250 * time.Millisecond
	bootBytes     = 5
)

// Hub takes events from the agent and hands them to the clients. Run must run for
// clients to get anything.
type Hub struct {
	// boot tells this process's events from those of others.
	boot    string
	log     logr.Logger
	metrics *metrics

	// ring holds the newest events, each at its number modulo the ring's size. It
	// is written under mu and read without.
	ring [ringSize]atomic.Pointer[event]
	// head is the number of the newest event.
	head atomic.Uint64
	// published has something when there are events that fanOut has not seen.
	published chan struct{}

	// mu orders the publications.
	mu      sync.Mutex
	history history
	latest  map[subject]*event

	crowdMu sync.Mutex
	crowd   []*client
	ended   bool
	// working counts the goroutines of clients.
	working sync.WaitGroup
}

// subject is what a state is of: a topic, and a pair where there are several.
type subject struct {
	topic Topic
	of    string
}

// NewHub makes a hub without events.
func NewHub(log logr.Logger) *Hub {
	boot := make([]byte, bootBytes)
	_, _ = rand.Read(boot) // It never fails.
	return &Hub{
		boot: hex.EncodeToString(boot), log: log, metrics: newMetrics(),
		published: make(chan struct{}, 1), latest: map[subject]*event{},
	}
}

// Publish makes an event of data, which is JSON and must not be changed
// afterwards. The newest event of each topic and subject, such as a pair, is kept
// for clients that come later. It may be called from any goroutine and waits for
// no client.
func (h *Hub) Publish(topic Topic, of string, at time.Time, data []byte) {
	h.mu.Lock()
	e := h.append(topic, at, data)
	if stateTopics.has(topic) {
		h.latest[subject{topic, of}] = e
	}
	h.mu.Unlock()
	h.announce()
}

// News are what the ledger has committed, in its order.
type News struct {
	// ID is the ledger's number of the news; it grows.
	ID    int64
	Topic Topic
	At    time.Time
	// Data is JSON.
	Data []byte
}

// PublishNews makes events of news, the oldest first. Those that it knows already
// are left out.
func (h *Hub) PublishNews(news ...News) {
	h.mu.Lock()
	for _, n := range news {
		if n.ID > h.history.newest {
			h.history.newest = n.ID
			h.history.add(h.append(n.Topic, n.At, n.Data))
		}
	}
	h.mu.Unlock()
	h.announce()
}

// Recall fills the history with news that are older than the process, the oldest
// first, so that clients can resume across a restart. With complete the ledger has
// no others. It must come before PublishNews.
func (h *Hub) Recall(news []News, complete bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !complete && len(news) > 0 {
		h.history.floor = news[0].ID - 1
	}
	h.history.known = true
	for _, n := range news {
		h.history.newest = n.ID
		e := &event{news: n.ID, topic: n.Topic, at: n.At, data: n.Data}
		e.frame = encode(position{n.ID, h.boot, 0}.appendTo(nil), n.Topic.String(), n.At, n.Data)
		h.history.add(e)
	}
}

// append puts an event into the ring.
func (h *Hub) append(topic Topic, at time.Time, data []byte) *event {
	e := &event{number: h.head.Load() + 1, news: h.history.newest, topic: topic, at: at, data: data}
	var id [longestID]byte
	e.frame = encode(position{e.news, h.boot, e.number}.appendTo(id[:0]), topic.String(), at, data)
	h.ring[e.number%ringSize].Store(e)
	h.head.Store(e.number)
	h.metrics.published[topic].Inc()
	return e
}

// announce tells Run that there is something to hand out.
func (h *Hub) announce() {
	select {
	case h.published <- struct{}{}:
	default:
	}
}

// Run hands out events and looks after the clients until the context ends. Then it
// closes every WebSocket with 1001 and returns when the last is gone, which takes
// no longer than a second.
func (h *Hub) Run(ctx context.Context) error {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	seen := h.head.Load()
	for {
		select {
		case <-ctx.Done():
			h.end()
			return nil
		case <-h.published:
			seen = h.fanOut(seen)
		case now := <-sweep.C:
			h.sweep(now)
		}
	}
}

// fanOut gives every client that wants an event after seen a goroutine that writes
// it, unless one is at it already.
func (h *Hub) fanOut(seen uint64) uint64 {
	head := h.head.Load()
	topics := newsTopics | stateTopics
	if head-seen < ringSize {
		topics = 0
		for number := seen + 1; number <= head; number++ {
			topics = topics.with(h.ring[number%ringSize].Load().topic)
		}
	}
	h.crowdMu.Lock()
	defer h.crowdMu.Unlock()
	for _, c := range h.crowd {
		c.offer(head, topics)
	}
	return head
}

func (h *Hub) sweep(now time.Time) {
	head := h.head.Load()
	h.crowdMu.Lock()
	defer h.crowdMu.Unlock()
	for _, c := range h.crowd {
		c.check(now, head)
	}
}

// admit takes a client in, unless the hub has ended or has as many as it may. The
// caller then runs serve.
func (h *Hub) admit(c *client, most int) (admitted, ended bool) {
	h.crowdMu.Lock()
	defer h.crowdMu.Unlock()
	if h.ended || len(h.crowd) >= most {
		return false, h.ended
	}
	c.place = len(h.crowd)
	h.crowd = append(h.crowd, c)
	h.working.Add(1)
	h.metrics.clients.Inc()
	return true, false
}

// hold makes Run wait for a goroutine that calls working.Done, unless it has ended.
func (h *Hub) hold() bool {
	h.crowdMu.Lock()
	defer h.crowdMu.Unlock()
	if !h.ended {
		h.working.Add(1)
	}
	return !h.ended
}

// remove lets a client go, if it was admitted.
func (h *Hub) remove(c *client) {
	h.crowdMu.Lock()
	defer h.crowdMu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(h.crowd) - 1
	h.crowd[c.place] = h.crowd[last]
	h.crowd[c.place].place = c.place
	h.crowd[last] = nil
	h.crowd = h.crowd[:last]
	c.place = -1
	h.metrics.clients.Dec()
}

func (h *Hub) end() {
	h.crowdMu.Lock()
	h.ended = true
	for _, c := range h.crowd {
		c.end(websocket.StatusGoingAway, "the agent ends; connect again")
	}
	h.crowdMu.Unlock()
	h.working.Wait()
}

// history holds the newest news, so that they can be told again.
type history struct {
	// known says that the ledger has been asked for what is older than the process.
	known bool
	// All news above floor are in events, up to newest.
	floor, newest int64
	// events are a ring that begins at first once it is full.
	events []*event
	first  int
}

func (h *history) add(e *event) {
	if len(h.events) < historySize {
		h.events = append(h.events, e)
		return
	}
	h.floor = h.events[h.first].news
	h.events[h.first] = e
	h.first = (h.first + 1) % historySize
}

// after returns the frames of the news of some topics after one of them, and
// whether these are all.
func (h *history) after(news int64, topics topicSet) (frames [][]byte, all bool) {
	for i := range h.events {
		e := h.events[(h.first+i)%len(h.events)]
		if e.news > news && topics.has(e.topic) {
			frames = append(frames, e.frame)
		}
	}
	return frames, h.known && h.floor <= news && news <= h.newest
}

// plan is how a subscription begins.
type plan struct {
	// cursor is the number of the event after which the client reads the ring, and
	// begin the id of that place if nothing else comes before.
	cursor uint64
	begin  string
	// missed are the topics of which events may be missing.
	missed topicSet
	// replay is sent before what the ring holds.
	replay [][]byte
	// state is sent behind the replay: what held at the cursor.
	state [][]byte
}

// plan says how a client with these topics goes on after an event.
func (h *Hub) plan(topics topicSet, after string) plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := plan{cursor: h.head.Load()}
	if after == "" {
		p.begin = position{h.history.newest, h.boot, p.cursor}.String()
	} else {
		at, err := parsePosition(after)
		switch {
		case err != nil:
			p.missed = topics
		case at.boot == h.boot && at.number > 0 && at.number <= p.cursor && p.cursor-at.number < ringSize:
			p.cursor, p.begin = at.number, after
		default:
			var all bool
			if p.replay, all = h.history.after(at.news, topics&newsTopics); !all {
				p.missed = topics & newsTopics
			}
			p.missed |= topics & stateTopics
		}
	}
	p.state = h.state(topics, p.cursor)
	return p
}

// state is the newest event of every subject of the topics, unless it comes after
// the cursor; the oldest first. These frames have no id: they are no place in the
// stream.
func (h *Hub) state(topics topicSet, cursor uint64) [][]byte {
	var events []*event
	for s, e := range h.latest {
		if topics.has(s.topic) && e.number <= cursor {
			events = append(events, e)
		}
	}
	slices.SortFunc(events, func(a, b *event) int { return int(a.number) - int(b.number) }) //nolint:gosec // Numbers of one process.
	frames := make([][]byte, len(events))
	for i, e := range events {
		frames[i] = encode(nil, e.topic.String(), e.at, e.data)
	}
	return frames
}
