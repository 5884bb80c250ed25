package keys

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

const (
	// failuresAtOnce and failuresEvery are what a person who mistypes needs, and
	// what makes guessing visible and pointless.
	failuresAtOnce = 10
	failuresEvery  = 5 * time.Second
	// maxAddresses bounds the memory for strangers. The one that failed longest ago
	// is forgotten first.
	maxAddresses = 4096
	// maxHops bounds how far back X-Forwarded-For is followed.
	maxHops = 16
)

// limiter slows down addresses that send wrong keys. It is asked only once a key
// was found wrong, so nobody can slow a valid one down, not even from behind the
// same proxy.
type limiter struct {
	mu        sync.Mutex
	addresses *lru.Cache
}

func newLimiter() *limiter { return &limiter{addresses: lru.New(maxAddresses)} }

func newBucket() *rate.Limiter { return rate.NewLimiter(rate.Every(failuresEvery), failuresAtOnce) }

// failed counts a failure, and fails with a *LimitedError if there were too many.
func (l *limiter) failed(address netip.Prefix, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var bucket *rate.Limiter
	if known, found := l.addresses.Get(address); found {
		bucket, _ = known.(*rate.Limiter)
	} else {
		bucket = newBucket()
		l.addresses.Add(address, bucket)
	}
	reservation := bucket.ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	reservation.CancelAt(now)
	return &LimitedError{RetryAfter: max(delay, time.Second)}
}

// addressOf is where a request comes from: the nearest hop that is not a trusted
// proxy. An IPv6 client owns a /64, so that is what counts.
func addressOf(r *http.Request, trusted []netip.Prefix) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	address := peer.Addr()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= max(0, len(hops)-maxHops) && contains(trusted, address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop
	}
	return network(address)
}

func network(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // the bits fit
	return prefix
}

func contains(networks []netip.Prefix, address netip.Addr) bool {
	for _, known := range networks {
		if known.Contains(address.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
