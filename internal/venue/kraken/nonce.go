package kraken

import (
	"strconv"
	"sync"
	"time"
)

const (
	// firstAhead and mostAhead bound how far ahead of the clock nonces go after
	// Kraken has refused one for being too low.
	firstAhead = time.Second
	mostAhead  = time.Hour
)

// nonces numbers the requests of one key. Kraken takes a request only if its
// nonce is greater than every one that it has seen of that key, so numbers have
// to grow over restarts, and among all processes that use the key: they are
// nanoseconds of the clock, than which no usual program counts higher.
//
// What that proves: once Kraken has answered a request, none that was signed
// before it with the same key and has not been taken yet will ever be taken. It
// says nothing of a request that was taken and waits for the matching engine; an
// order's deadline does. An owner who has allowed a nonce window weakens the
// first, not the second, so the protocol counts on the deadline alone.
type nonces struct {
	now func() time.Time

	mu    sync.Mutex
	last  uint64
	ahead time.Duration
}

// next is a number greater than all before it.
func (n *nonces) next() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = max(n.last+1, uint64(n.now().Add(n.ahead).UnixNano()))
	return strconv.FormatUint(n.last, 10)
}

// refused goes ahead of the clock, further each time: it was set back, or that of
// another program with the same key goes ahead.
func (n *nonces) refused() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ahead = min(max(2*n.ahead, firstAhead), mostAhead)
}
