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
	// identifyTimeout bounds the question whose account credentials are for.
	identifyTimeout = 20 * time.Second
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

	// id of the account at its venue; the digests of the credentials in use and of the
	// newest that were found wrong.
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

// UnverifiedError says why it is not known whose account the credentials are for. It
// may be mended without another key: the venue is to be asked again.
type UnverifiedError struct {
	// Reason is one of the API's, such as ReasonVenueUnreachable.
	Reason string
	// After is how long the venue wants to be left alone; zero if it did not say.
	After time.Duration
	err   error
}

// Error says what is wrong.
func (e *UnverifiedError) Error() string { return e.err.Error() }

// Unwrap tells the cause.
func (e *UnverifiedError) Unwrap() error { return e.err }

// OpenKeyed opens an account with the credentials in a directory: for each key of
// its Secret a file of that name, in a directory named as the Secret is, or in the
// given one itself. The venue is asked whose they are; those of another account than
// the one that is known are not used. It fails with a *CredentialsError where they
// cannot be used, and with an *UnverifiedError where the venue does not say. The files
// are followed until the context ends; the caller closes the account.
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
	if k.id, err = k.identify(ctx, k.current); err != nil {
		k.current.Close()
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
		if _, err = k.identify(ctx, opened); err != nil {
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

// identify asks the venue whose account credentials are for. It fails if that is
// another than the one that is traded on.
func (k *Keyed) identify(ctx context.Context, opened Venue) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	said, err := opened.Account(ctx)
	switch {
	case errors.Is(err, venue.ErrRefused):
		return "", &CredentialsError{v1alpha1.ReasonCredentialsRefused, fmt.Errorf("the credentials in Secret %q: %w", k.access.Secret, err)}
	case err != nil:
		return "", k.unverified(err)
	case k.id != "" && said.ID != k.id:
		return "", changed(k.access.Secret, said.ID, k.id)
	}
	return said.ID, nil
}

// changed is the error for credentials of another account.
func changed(secret, theirs, known string) error {
	return &CredentialsError{v1alpha1.ReasonVenueAccountChanged, fmt.Errorf(
		"the credentials in Secret %q are for account %s at the venue, and the agent trades on %s; put a key of that account into the Secret", secret, theirs, known)}
}

// unverified says in the API's words why a venue has not said whose a key is.
func (k *Keyed) unverified(err error) error {
	wrong := &UnverifiedError{
		Reason: v1alpha1.ReasonVenueUnreachable,
		err:    fmt.Errorf("which account the credentials in Secret %q are for cannot be told: %w", k.access.Secret, err),
	}
	limited, isLimited := errors.AsType[*venue.RateLimitedError](err)
	switch {
	case isLimited:
		wrong.Reason, wrong.After = v1alpha1.ReasonVenueRateLimited, limited.After
	case errors.Is(err, venue.ErrForbidden):
		wrong.Reason = v1alpha1.ReasonKeyCannotView
	case errors.Is(err, venue.ErrNoEndpoint), errors.Is(err, venue.ErrNoSuchThing):
		wrong.Reason = v1alpha1.ReasonVenueCannotVerify
	case errors.Is(err, venue.ErrMalformed):
		wrong.Reason = v1alpha1.ReasonVenueAnswerUnknown
	}
	return wrong
}

// BoundTo fails with a *CredentialsError if the account is another than this one.
func (k *Keyed) BoundTo(known string) error {
	if known == k.id {
		return nil
	}
	return changed(k.access.Secret, k.id, known)
}

// ID of the account at its venue, as the venue has said.
func (k *Keyed) ID() string { return k.id }

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
