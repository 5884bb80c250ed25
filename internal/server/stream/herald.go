package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

const (
	// heraldPart is how many news are read at once.
	heraldPart = 256
	// heraldPace is how long news may gather before they are read: a bar leads to
	// several commits, which then cost one read.
	heraldPace = 20 * time.Millisecond
	// Pauses while the ledger does not answer.
	firstHeraldPause   = 500 * time.Millisecond
	longestHeraldPause = 30 * time.Second
)

// Herald takes the ledger's news to a hub. It reads what was committed, so it tells
// nothing that did not happen, and after a restart it goes on where it was.
type Herald struct {
	hub  *Hub
	wake chan struct{}
	log  logr.Logger
}

// NewHerald tells a hub's clients the news.
func NewHerald(hub *Hub, log logr.Logger) *Herald {
	return &Herald{hub: hub, wake: make(chan struct{}, 1), log: log}
}

// Wake says that there may be news. It may be called from any goroutine and does
// not wait.
func (h *Herald) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run reads the news of one agent until the context ends.
func (h *Herald) Run(ctx context.Context, source ledger.NewsReader) error {
	if err := h.follow(ctx, source); ctx.Err() == nil {
		return err
	}
	return nil
}

func (h *Herald) follow(ctx context.Context, source ledger.NewsReader) error {
	last, err := h.recall(ctx, source)
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		}
		if err = pause(ctx, heraldPace); err == nil {
			last, err = h.catchUp(ctx, source, last)
		}
	}
	return err
}

// recall fills the hub's history, and returns the last news.
func (h *Herald) recall(ctx context.Context, source ledger.NewsReader) (int64, error) {
	found, err := h.persist(ctx, func() ([]ledger.News, error) { return source.LatestNews(ctx, historySize) })
	if err != nil {
		return 0, err
	}
	h.hub.Recall(eventsOf(found), len(found) < historySize)
	if len(found) == 0 {
		return 0, nil
	}
	return found[len(found)-1].ID, nil
}

// catchUp publishes what came after the last news.
func (h *Herald) catchUp(ctx context.Context, source ledger.NewsReader, last int64) (int64, error) {
	for {
		found, err := h.persist(ctx, func() ([]ledger.News, error) { return source.NewsAfter(ctx, last, heraldPart) })
		if err != nil || len(found) == 0 {
			return last, err
		}
		h.hub.PublishNews(eventsOf(found)...)
		last = found[len(found)-1].ID
		if len(found) < heraldPart {
			return last, nil
		}
	}
}

// persist reads until the ledger answers or the context ends.
func (h *Herald) persist(ctx context.Context, read func() ([]ledger.News, error)) ([]ledger.News, error) {
	wait := firstHeraldPause
	for {
		found, err := read()
		if err == nil {
			return found, nil
		}
		if ctx.Err() == nil && wait == firstHeraldPause {
			h.log.Info("the stream cannot read the ledger's news; its clients get them later", "error", err.Error())
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, longestHeraldPause)
	}
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	case <-time.After(length):
		return nil
	}
}

// eventsOf makes events of news. Those that a newer program has written and this one
// does not know are left out.
func eventsOf(found []ledger.News) []News {
	events := make([]News, 0, len(found))
	for i := range found {
		if event, ok := eventOf(&found[i]); ok {
			events = append(events, event)
		}
	}
	return events
}

// wording says how news of the ledger become an event: the words of the HTTP API take
// the place of the ledger's.
type wording struct {
	topic Topic
	// key is the field that the news' key goes to, as a number if it is one.
	key      string
	numbered bool
	renamed  map[string]string
}

var wordings = map[string]wording{
	ledger.NewsFill:     {topic: Fills, key: "tradeID", renamed: map[string]string{"order": "orderID", "state": "orderState", "marketTime": "time"}},
	ledger.NewsOrder:    {topic: Orders, key: "id"},
	ledger.NewsDecision: {topic: Decisions, key: "sequence", numbered: true, renamed: map[string]string{"barEnd": "time"}},
}

func eventOf(n *ledger.News) (News, bool) {
	words, known := wordings[n.Topic]
	if !known {
		return News{}, false
	}
	var told map[string]json.RawMessage
	if err := json.Unmarshal(n.Payload, &told); err != nil {
		return News{}, false
	}
	document := make(map[string]any, len(told)+1)
	for word, value := range told {
		document[cmp.Or(words.renamed[word], word)] = value
	}
	document[words.key] = n.Key
	if words.numbered {
		document[words.key] = json.Number(n.Key)
	}
	data, err := json.Marshal(document)
	if err != nil {
		return News{}, false
	}
	return News{ID: n.ID, Topic: words.topic, At: n.RecordedAt, Data: data}, true
}
