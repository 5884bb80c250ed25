package keys

import (
	"crypto/hmac"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// OperatorURI is the name in the operator's client certificate, which lets it read
// without a key.
const OperatorURI = "spiffe://trading.three-rivers-tech.com/operator"

// OperatorID is the key id of whoever shows that certificate.
const OperatorID = "operator"

// startingPause is when a client shall ask again that came before the keys were read.
const startingPause = 2 * time.Second

// expiryCheck bounds how long the timer of a key sleeps, so that a clock that was
// set right, or a laptop that slept, does not keep a socket open.
const expiryCheck = time.Minute

// Options of a Keyring.
type Options struct {
	// TrustedProxies are the networks whose X-Forwarded-For is believed. Without
	// any, all clients of an ingress share one limit for wrong keys; valid keys are
	// not slowed either way.
	TrustedProxies []netip.Prefix
	// Record keeps the audit and the last uses. Without it nobody gets past
	// Require(Trade, …).
	Record Record
}

// Keyring knows the keys of one agent and finds out who sends a request. Its keys
// can change at any time. Stop must be called in the end.
type Keyring struct {
	options    Options
	limiter    *limiter
	tickets    *tickets
	ticketOnly atomic.Bool

	mu   sync.RWMutex
	held map[string]*held
	// known is whether keys have been read at all.
	known bool
	// lastUses outlive their keys' replacement, but not their removal.
	lastUses map[string]*lastUse
}

// held is a key in force.
type held struct {
	entry   Entry
	expires time.Time
	revoked chan struct{}
	timer   *time.Timer
	use     *lastUse
	// forbidden bounds the rows that its vain attempts take in the ledger.
	forbidden *rate.Limiter
}

// NewKeyring lets nobody in until Replace gives it keys, and until then asks who shows
// one to come again.
func NewKeyring(options Options) *Keyring {
	return &Keyring{
		options: options, limiter: newLimiter(), tickets: newTickets(),
		held: map[string]*held{}, lastUses: map[string]*lastUse{},
	}
}

// SetQueryToken says what ?token= may hold from now on.
func (k *Keyring) SetQueryToken(policy v1alpha1.QueryTokenPolicy) {
	k.ticketOnly.Store(policy == v1alpha1.QueryTokenTicketOnly)
}

// Load replaces all keys by those of the Secret's data; nil is a Secret that does
// not exist. Entries that are not understood are left out, and the error names
// them.
func (k *Keyring) Load(data map[string][]byte) error {
	entries, err := ParseEntries(data)
	k.Replace(entries)
	return err
}

// Replace puts entries in force in place of all others. Keys that are no longer
// among them, or have another hash, name or scope, are revoked; a key whose expiry
// alone has changed stays open until then.
func (k *Keyring) Replace(entries Entries) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = true
	for id, old := range k.held {
		entry, still := entries[id]
		if still && old.same(&entry) {
			old.disarm()
			old.expires = entry.Expires
			k.arm(id, old, now)
			continue
		}
		k.drop(id, old)
	}
	for id := range entries {
		entry := entries[id]
		if _, known := k.held[id]; known || entry.ended(now) {
			continue
		}
		use, known := k.lastUses[id]
		if !known {
			use = &lastUse{}
			k.lastUses[id] = use
		}
		added := &held{entry: entry, expires: entry.Expires, revoked: make(chan struct{}), use: use, forbidden: newBucket()}
		k.held[id] = added
		k.arm(id, added, now)
	}
	for id := range k.lastUses {
		if _, still := entries[id]; !still {
			delete(k.lastUses, id)
		}
	}
}

func (h *held) same(entry *Entry) bool {
	return h.entry.Name == entry.Name && h.entry.Scope == entry.Scope && h.entry.Created.Equal(entry.Created) &&
		hmac.Equal(h.entry.Hash, entry.Hash) && hmac.Equal(h.entry.Salt, entry.Salt)
}

// arm ends a key when its time has come. The lock is held.
func (k *Keyring) arm(id string, key *held, now time.Time) {
	if key.expires.IsZero() {
		return
	}
	left := key.expires.Sub(now)
	if left <= 0 {
		k.drop(id, key)
		return
	}
	key.timer = time.AfterFunc(min(left, expiryCheck), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.held[id] == key {
			k.arm(id, key, time.Now())
		}
	})
}

// drop takes a key out of force. The lock is held.
func (k *Keyring) drop(id string, key *held) {
	key.disarm()
	delete(k.held, id)
	close(key.revoked)
}

func (h *held) disarm() {
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
}

// Stop ends the timers. What the keys hold open is ended by others, who say why.
func (k *Keyring) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.held {
		key.disarm()
	}
}

// Authenticate implements Authenticator. A key is taken from Authorization; when a
// WebSocket is asked for, also from Sec-WebSocket-Protocol or ?token=, where a
// ticket will do as well. A request without any may show the operator's
// certificate. A key that came in the clear lets nobody in.
func (k *Keyring) Authenticate(r *http.Request) (Identity, error) {
	now := time.Now()
	shown, err := credentialOf(r)
	if err == nil && shown.text == "" {
		if identity, ok := operator(r); ok {
			return identity, nil
		}
		// Nothing was guessed, so nothing is counted: the verifier behind the same
		// proxy as an attacker still gets its answer.
		return Identity{}, ErrUnauthenticated
	}
	if err == nil && private(r) {
		if identity, ok := k.find(shown, now); ok {
			return identity, nil
		}
		if k.starting() {
			return Identity{}, &LimitedError{RetryAfter: startingPause, Starting: true}
		}
	}
	if err := k.limiter.failed(addressOf(r, k.options.TrustedProxies), now); err != nil {
		return Identity{}, err
	}
	return Identity{}, ErrUnauthenticated
}

// starting is whether no keys have been read yet, right or wrong.
func (k *Keyring) starting() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return !k.known
}

// find looks a credential up.
func (k *Keyring) find(shown credential, now time.Time) (Identity, bool) {
	if validTicket(shown.text) {
		if !shown.socket {
			return Identity{}, false
		}
		identity, ok := k.tickets.redeem(shown.text, now)
		if ok {
			select {
			case <-identity.Revoked:
				ok = false
			default:
			}
		}
		return identity, ok
	}
	id, ok := parseKey(shown.text)
	if !ok || shown.query && k.ticketOnly.Load() {
		return Identity{}, false
	}
	k.mu.RLock()
	key, known := k.held[id]
	var expires time.Time
	if known {
		expires = key.expires
	}
	k.mu.RUnlock()
	if !known {
		// As much work as for a key that is known, so that time tells no ids.
		hmac.Equal(hash(make([]byte, saltBytes), shown.text), make([]byte, 32))
		return Identity{}, false
	}
	if !hmac.Equal(hash(key.entry.Salt, shown.text), key.entry.Hash) || !expires.IsZero() && !now.Before(expires) {
		return Identity{}, false
	}
	key.use.at.Store(now.UnixNano())
	return Identity{KeyID: id, Name: key.entry.Name, Scope: key.entry.Scope, Expires: expires, Revoked: key.revoked}, true
}

// IssueTicket makes a ticket for a client that Require let in. It opens one
// WebSocket within TicketLifetime, with the rights of the client's key and for as
// long as that is in force. It fails with a *LimitedError.
func (k *Keyring) IssueTicket(identity Identity) (text string, expires time.Time, err error) {
	return k.tickets.issue(identity, time.Now())
}

// operator is the identity of a client that has shown the operator's certificate,
// which the TLS listener has verified.
func operator(r *http.Request) (Identity, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Identity{}, false
	}
	leaf := r.TLS.PeerCertificates[0]
	if !names(leaf, OperatorURI) {
		return Identity{}, false
	}
	return Identity{KeyID: OperatorID, Name: "trading-operator", Scope: Read, Expires: leaf.NotAfter}, true
}

func names(certificate *x509.Certificate, uri string) bool {
	for _, named := range certificate.URIs {
		if named.String() == uri {
			return true
		}
	}
	return false
}

// private is whether nobody on the way could read the request: it came over TLS,
// at the last proxy too, or did not leave this machine.
func private(r *http.Request) bool {
	if InTheClear(r) {
		return false
	}
	if r.TLS != nil {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// InTheClear is whether a proxy says that its client does not use TLS.
func InTheClear(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	switch strings.ToLower(strings.TrimSpace(first)) {
	case "http", "ws":
		return true
	}
	return false
}
