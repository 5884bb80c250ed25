package keys

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Record keeps what was done with the keys of one agent, in its ledger.
type Record interface {
	Auditor
	// LastUses is when each key was last used, as far as the ledger knows.
	LastUses(ctx context.Context) (map[string]time.Time, error)
	// SaveLastUses moves last uses forward, never back.
	SaveLastUses(ctx context.Context, uses map[string]time.Time) error
}

const (
	// saveInterval is how often a key's last use goes to the ledger at most.
	saveInterval = time.Minute
	// loadInterval is how often a ledger that does not answer yet is asked.
	loadInterval = 5 * time.Second
)

// lastUse is when a key was used, in nanoseconds of Unix time; zero is never.
type lastUse struct{ at, saved atomic.Int64 }

// Status is what may be told of a key.
type Status struct {
	ID    string
	Entry Entry
	// LastUse is zero if the key was never used, or not since its use was recorded.
	LastUse time.Time
}

// Keys are those in force, by id.
func (k *Keyring) Keys() []Status {
	k.mu.RLock()
	defer k.mu.RUnlock()
	found := make([]Status, 0, len(k.held))
	for _, id := range slices.Sorted(maps.Keys(k.held)) {
		key := k.held[id]
		status := Status{ID: id, Entry: key.entry}
		status.Entry.Expires = key.expires
		if at := key.use.at.Load(); at != 0 {
			status.LastUse = time.Unix(0, at)
		}
		found = append(found, status)
	}
	return found
}

// Audit implements Auditor. Of requests that a key's scope does not allow it keeps
// those that tell of a mistake, not those of a flood.
func (k *Keyring) Audit(ctx context.Context, use Use) error {
	if k.options.Record == nil {
		return ErrNoRecord
	}
	if use.Outcome == Forbidden {
		k.mu.RLock()
		key, known := k.held[use.KeyID]
		k.mu.RUnlock()
		if known && !key.forbidden.Allow() {
			return nil
		}
	}
	return k.options.Record.Audit(ctx, use)
}

// Run takes the last uses over from the ledger, and keeps them there, until the
// context ends. No request ever waits for it.
func (k *Keyring) Run(ctx context.Context, log logr.Logger) error {
	if k.options.Record == nil {
		<-ctx.Done()
		return nil
	}
	for loaded := false; ; {
		pause := saveInterval
		if !loaded {
			if loaded = k.loadLastUses(ctx, log); !loaded {
				pause = loadInterval
			}
		}
		select {
		case <-ctx.Done():
			// The context is done; the last minute's uses still get their time.
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
			defer cancel()
			k.saveLastUses(closing, log)
			return nil
		case <-time.After(pause):
		}
		if loaded {
			k.saveLastUses(ctx, log)
		}
	}
}

func (k *Keyring) loadLastUses(ctx context.Context, log logr.Logger) bool {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	uses, err := k.options.Record.LastUses(ctx)
	if err != nil {
		log.V(1).Info("the last uses of the API keys cannot be read yet", "error", err.Error())
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, at := range uses {
		use, known := k.lastUses[id]
		if !known {
			continue
		}
		use.saved.Store(at.UnixNano())
		use.at.CompareAndSwap(0, at.UnixNano())
	}
	return true
}

func (k *Keyring) saveLastUses(ctx context.Context, log logr.Logger) {
	news := map[string]time.Time{}
	k.mu.RLock()
	uses := maps.Clone(k.lastUses)
	k.mu.RUnlock()
	for id, use := range uses {
		if at := use.at.Load(); at > use.saved.Load() {
			news[id] = time.Unix(0, at)
		}
	}
	if len(news) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	if err := k.options.Record.SaveLastUses(ctx, news); err != nil {
		log.Info("the last uses of the API keys could not be saved; trying again in a minute", "error", err.Error())
		return
	}
	for id, at := range news {
		uses[id].saved.Store(at.UnixNano())
	}
}

// LastUseMetric is the name under which /metrics tells when each key was last used.
const LastUseMetric = "trading_api_key_last_use_timestamp_seconds"
