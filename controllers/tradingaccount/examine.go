package tradingaccount

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

const (
	// askPause between two questions about a key that is good. A permission that is
	// added to a key at the venue is noticed within it; the venue allows far more.
	askPause = 10 * time.Minute
	// poorAskPause is the same for a key that is not: its cure may be at the venue,
	// where no watch tells, and a refused key must not be tried in a tight loop.
	poorAskPause = 2 * time.Minute
	// pauseJitter keeps many accounts from asking in step.
	pauseJitter = 0.2
)

// venueWord is what a venue has said of an account's key.
type venueWord struct {
	said venue.Account
	err  error
}

// examine finds out all that can be known of an account at a real venue. Its error
// is the API server's; the venue's is in the finding.
func (r *Reconciler) examine(ctx context.Context, account *v1alpha1.TradingAccount, found *finding) error {
	credentials, version, err := r.Venues.credentials(ctx, account)
	if errors.As(err, &found.credentials) {
		err = nil
	}
	if err != nil || found.credentials != nil {
		return err
	}
	word, err := r.ask(ctx, account, credentials, version)
	if err != nil {
		return err
	}
	found.word = &word
	if word.err == nil && keyFault(word.said).reason == "" {
		return r.claim(ctx, account, found)
	}
	return nil
}

// ask puts the question, unless the last answer is still to be gone by.
func (r *Reconciler) ask(ctx context.Context, account *v1alpha1.TradingAccount, credentials venues.Credentials, version secretVersion) (venueWord, error) {
	about := subject{account.Generation, version}
	if word, fresh := r.memory.recall(account.UID, about, r.Clock.Now()); fresh {
		return word, nil
	}
	var word venueWord
	word.said, word.err = r.Venues.Real.Account(ctx, account.Spec.Venue, account.Access().Environment, credentials)
	if errors.Is(word.err, context.Canceled) {
		return venueWord{}, word.err
	}
	if pause := goneByFor(word); pause > 0 {
		now := r.Clock.Now()
		r.memory.store(account.UID, about, word, now, now.Add(wait.Jitter(pause, pauseJitter)))
	}
	return word, nil
}

// goneByFor is how long an answer is gone by; zero has the venue asked again in
// the next pass, which comes after a pause of its own.
func goneByFor(word venueWord) time.Duration {
	limited, isLimited := errors.AsType[*venue.RateLimitedError](word.err)
	switch {
	case isLimited:
		return limited.After
	case errors.Is(word.err, venue.ErrRefused), errors.Is(word.err, venue.ErrForbidden),
		errors.Is(word.err, venue.ErrNoEndpoint), errors.Is(word.err, venue.ErrNoSuchThing):
		return poorAskPause
	case word.err != nil:
		return 0
	case keyFault(word.said).reason != "":
		return poorAskPause
	}
	return askPause
}

// claim makes sure that no other TradingAccount is the same account.
func (r *Reconciler) claim(ctx context.Context, account *v1alpha1.TradingAccount, found *finding) error {
	id, former := found.word.said.ID, ""
	if was := account.Status.VenueAccount; was != nil && was.ID != id {
		former = was.ID
	}
	if former != "" && *account.Status.Agents > 0 {
		found.former = former
		return nil
	}
	var err error
	if found.rival, err = r.Claims.Take(ctx, account, id); err != nil || former == "" {
		return err
	}
	return r.Claims.Release(ctx, account, former)
}

// subject is what a venue's word is about. Another spec or another content of
// the Secret makes it another.
type subject struct {
	generation int64
	secret     secretVersion
}

// memory holds the venues' last words, so that a pass for another reason asks
// nobody. Losing it costs one question an account.
type memory struct {
	mu    sync.Mutex
	words map[types.UID]remembered
}

type remembered struct {
	about subject
	word  venueWord
	until time.Time
}

func (m *memory) recall(account types.UID, about subject, now time.Time) (venueWord, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.words[account]
	return last.word, ok && last.about == about && now.Before(last.until)
}

func (m *memory) store(account types.UID, about subject, word venueWord, now, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.words == nil {
		m.words = map[types.UID]remembered{}
	}
	// Words that nobody goes by any more include those of accounts that are gone.
	maps.DeleteFunc(m.words, func(_ types.UID, last remembered) bool { return now.After(last.until) })
	m.words[account] = remembered{about, word, until}
}
