package keys

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// TicketLifetime is the time between asking for a ticket and using it.
	TicketLifetime = 30 * time.Second
	// maxTickets bounds the open tickets of one key.
	maxTickets = 100
)

// tickets stand in for keys where an address can be seen, such as in ?token=: each
// opens one WebSocket, once.
type tickets struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]ticket
	// count of open tickets by key.
	count map[string]int
	// queue of the open and the used ones, the oldest first; all live equally long.
	queue [][sha256.Size]byte
}

type ticket struct {
	identity Identity
	expires  time.Time
}

func newTickets() *tickets {
	return &tickets{open: map[[sha256.Size]byte]ticket{}, count: map[string]int{}}
}

// issue makes a ticket, or fails with a *LimitedError for a key that has too many.
func (t *tickets) issue(identity Identity, now time.Time) (text string, expires time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	if t.count[identity.KeyID] >= maxTickets {
		return "", time.Time{}, &LimitedError{RetryAfter: TicketLifetime}
	}
	text = ticketPrefix + newSecret()
	digest, expires := sha256.Sum256([]byte(text)), now.Add(TicketLifetime)
	t.open[digest] = ticket{identity: identity, expires: expires}
	t.count[identity.KeyID]++
	t.queue = append(t.queue, digest)
	return text, expires, nil
}

// redeem uses a ticket up.
func (t *tickets) redeem(text string, now time.Time) (Identity, bool) {
	// Looking a digest up tells by its timing nothing that helps to find a ticket.
	digest := sha256.Sum256([]byte(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.open[digest]
	if ok {
		t.remove(digest)
	}
	return found.identity, ok && now.Before(found.expires)
}

// forget drops the tickets whose time is over.
func (t *tickets) forget(now time.Time) {
	for len(t.queue) > 0 {
		found, open := t.open[t.queue[0]]
		if open && now.Before(found.expires) {
			return
		}
		if open {
			t.remove(t.queue[0])
		}
		t.queue = t.queue[1:]
	}
}

func (t *tickets) remove(digest [sha256.Size]byte) {
	id := t.open[digest].identity.KeyID
	delete(t.open, digest)
	if t.count[id]--; t.count[id] == 0 {
		delete(t.count, id)
	}
}
