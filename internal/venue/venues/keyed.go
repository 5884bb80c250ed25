package venues

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// lookPause is how often the files are looked at, where nobody says otherwise.
	lookPause = 5 * time.Second
	// maxKeyFile bounds a file with a part of a key.
	maxKeyFile = 64 << 10
	// renewTimeout bounds the questions whose account new credentials are for.
	renewTimeout = 20 * time.Second
)

// Keyed is an account whose credentials are in files that may change while it is
// traded on. It goes by the newest that the venue says are for the same account;
// what is wrong with others is logged, without a word of them.
type Keyed struct {
	venues  *Venues
	account Account
	access  v1alpha1.VenueAccess
	folder  string
	log     logr.Logger
	pause   time.Duration
	// cancel ends following the files, and the group is at rest then.
	cancel context.CancelFunc
	group  sync.WaitGroup

	// id of the account at its venue, empty until it had to be known; the digests of
	// the credentials in use and of the newest that were found wrong.
	id              string
	digest, refused [sha256.Size]byte

	mu      sync.Mutex
	current Venue
}

var _ Venue = (*Keyed)(nil)

// CredentialsError says why the files with an account's credentials cannot be used.
// It holds no part of their content.
type CredentialsError struct {
	// Reason is one of the API's, such as ReasonCredentialsInvalid.
	Reason string
	err    error
}

// Error says what is wrong, and where.
func (e *CredentialsError) Error() string { return e.err.Error() }

// Unwrap tells the cause.
func (e *CredentialsError) Unwrap() error { return e.err }

// OpenKeyed opens an account with the credentials in a directory: for each key of
// its Secret a file of that name, in a directory named as the Secret is, or in the
// given one itself. It fails with a *CredentialsError where those cannot be used.
// The files are followed until the context ends; the caller closes the account.
func (v *Venues) OpenKeyed(ctx context.Context, account Account, access v1alpha1.VenueAccess, folder string, log logr.Logger) (*Keyed, error) {
	k := &Keyed{venues: v, account: account, access: access, folder: folder, log: log, pause: cmp.Or(v.options.LookEvery, lookPause), id: account.ID}
	k.account.Environment = access.Environment
	content, err := k.read()
	if err != nil {
		return nil, err
	}
	if k.current, err = k.open(content); err != nil {
		return nil, err
	}
	k.digest = digestOf(access.Keys, content)
	ctx, k.cancel = context.WithCancel(ctx)
	k.group.Go(func() { k.follow(ctx) })
	return k, nil
}

// read reads the files.
func (k *Keyed) read() (map[string][]byte, error) {
	folder := filepath.Join(k.folder, k.access.Secret)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		folder = k.folder
	}
	content := map[string][]byte{}
	for _, key := range k.access.Keys {
		path := filepath.Join(folder, key)
		text, err := fs.ReadFile(os.DirFS(folder), key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &CredentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Errorf("the file with %q of Secret %q does not exist: %s", key, k.access.Secret, path)}
		case err != nil:
			return nil, &CredentialsError{v1alpha1.ReasonCredentialsNotFound, fmt.Errorf("read %q of Secret %q: %w", key, k.access.Secret, err)}
		case len(text) == 0 || len(text) > maxKeyFile:
			return nil, &CredentialsError{v1alpha1.ReasonCredentialsInvalid, fmt.Errorf("the file with %q of Secret %q is empty or too long: %s", key, k.access.Secret, path)}
		}
		content[key] = text
	}
	return content, nil
}

// open makes an adapter that signs with this content.
func (k *Keyed) open(content map[string][]byte) (Venue, error) {
	credentials, err := ParseCredentials(k.account.Venue, content)
	if err != nil {
		return nil, &CredentialsError{v1alpha1.ReasonCredentialsInvalid, fmt.Errorf("the credentials in Secret %q: %w", k.access.Secret, err)}
	}
	return k.venues.Open(k.account, credentials)
}

// digestOf tells one content from another.
func digestOf(keys []string, content map[string][]byte) [sha256.Size]byte {
	sum := sha256.New()
	for _, key := range keys {
		part := sha256.Sum256(content[key])
		sum.Write(part[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// newest is the adapter to use now.
func (k *Keyed) newest() Venue {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// follow looks at the files until the context ends. Nothing waits for it.
func (k *Keyed) follow(ctx context.Context) {
	ticker := time.NewTicker(k.pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		content, err := k.read()
		if err != nil {
			// A Secret that goes away takes nothing from a process that has read it.
			continue
		}
		if digest := digestOf(k.access.Keys, content); digest != k.digest && digest != k.refused {
			k.renew(ctx, content, digest)
		}
	}
}

// renew goes over to new credentials, if they are for the same account. What the
// former adapter has under way goes on.
func (k *Keyed) renew(ctx context.Context, content map[string][]byte, digest [sha256.Size]byte) {
	opened, err := k.open(content)
	if err == nil {
		if err = k.isSame(ctx, opened); err != nil {
			opened.Close()
		}
	}
	switch _, wrong := errors.AsType[*CredentialsError](err); {
	case ctx.Err() != nil && err != nil:
	case err != nil:
		k.log.Info("the account's new credentials are not used; the former stay in use", "error", err.Error())
		if wrong {
			k.refused = digest
		}
	default:
		k.mu.Lock()
		former := k.current
		k.current, k.digest = opened, digest
		k.mu.Unlock()
		former.Close()
		k.log.Info("the account's credentials have changed; the new ones are in use")
	}
}

// isSame fails unless new credentials are for the account that is traded on. A
// venue that does not answer is asked again later.
func (k *Keyed) isSame(ctx context.Context, opened Venue) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if k.id == "" {
		said, err := k.newest().Account(ctx)
		if err != nil {
			return fmt.Errorf("which account the former credentials are for cannot be told: %w; restart the agent to go by the new ones", err)
		}
		k.id = said.ID
	}
	said, err := opened.Account(ctx)
	if errors.Is(err, venue.ErrRefused) {
		return &CredentialsError{v1alpha1.ReasonCredentialsRefused, err}
	}
	if err != nil {
		return fmt.Errorf("which account they are for cannot be told: %w", err)
	}
	if said.ID != k.id {
		return &CredentialsError{v1alpha1.ReasonVenueAccountChanged, fmt.Errorf("they are for account %s at the venue, and the agent trades on %s; put a key of that account into Secret %q", said.ID, k.id, k.access.Secret)}
	}
	return nil
}

// Close implements Venue.
func (k *Keyed) Close() {
	k.cancel()
	k.group.Wait()
	k.newest().Close()
}

// Traits implements venue.Venue.
func (k *Keyed) Traits() venue.Traits { return k.newest().Traits() }

// Freeze implements venue.Venue.
func (k *Keyed) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	return k.newest().Freeze(intent, notAfter)
}

// Place implements venue.Venue.
func (k *Keyed) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	return k.newest().Place(ctx, request)
}

// Cancel implements venue.Venue.
func (k *Keyed) Cancel(ctx context.Context, ref venue.Ref) error { return k.newest().Cancel(ctx, ref) }

// Lookup implements venue.Venue.
func (k *Keyed) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	return k.newest().Lookup(ctx, ref)
}

// Open implements venue.Venue.
func (k *Keyed) Open(ctx context.Context) ([]venue.Order, error) { return k.newest().Open(ctx) }

// Fills implements venue.Venue.
func (k *Keyed) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	return k.newest().Fills(ctx, cursor)
}

// Balances implements venue.Balancer.
func (k *Keyed) Balances(ctx context.Context) ([]venue.Balance, error) {
	return k.newest().Balances(ctx)
}

// CancelAll implements venue.Stopper.
func (k *Keyed) CancelAll(ctx context.Context, pairs []string) error {
	return k.newest().CancelAll(ctx, pairs)
}

// CancelAllAfter implements venue.Stopper.
func (k *Keyed) CancelAllAfter(ctx context.Context, after time.Duration) error {
	return k.newest().CancelAllAfter(ctx, after)
}

// Account implements venue.Checker.
func (k *Keyed) Account(ctx context.Context) (venue.Account, error) { return k.newest().Account(ctx) }

// Product implements venue.Checker.
func (k *Keyed) Product(ctx context.Context, symbol string) (venue.Product, error) {
	return k.newest().Product(ctx, symbol)
}
