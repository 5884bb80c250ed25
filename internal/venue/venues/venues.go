// Package venues knows every real venue: what its credentials look like, whom to
// ask about an account, and the adapter that trades on it. Whoever reaches venues
// goes by its one table, so that all of them are checked and wired alike.
package venues

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// All accounts of one process together ask a venue no more often about accounts and
// products than this, since they may be one customer's.
const (
	questionsPerSecond = 5
	questionsBurst     = 10
)

// Venue is an account at a real venue.
type Venue interface {
	venue.Venue
	venue.Balancer
	venue.Stopper
	venue.Checker
	// Close lets go of connections that are kept for further requests.
	Close()
}

// Account says which account is opened, and what for.
type Account struct {
	Venue       v1alpha1.Venue
	Environment v1alpha1.VenueEnvironment
	// ID of the account at its venue, where it is known: no other is traded on.
	ID string
	// Instruments that are traded; none for one who only asks about the account.
	Instruments []market.Instrument
	// Symbols are the venue's spellings by pair, where they are not the usual ones.
	Symbols map[string]string
	// Guard is asked before an order leaves. Without one none does.
	Guard venue.Guard

	gateway   string
	transport http.RoundTripper
}

// Options say how venues are reached. The zero value reaches the venues themselves.
type Options struct {
	Gateways Gateways
	// Transport that requests are sent by; nil for one that checks certificates and
	// goes by the proxy of the process's environment.
	Transport http.RoundTripper
	// LookEvery is how often files with credentials are looked at for a change, at
	// most; zero for 5 s. A kubelet brings a changed Secret to a pod within a minute
	// or two.
	LookEvery time.Duration
}

// Venues reaches every real venue. It is safe for use by many at once.
type Venues struct {
	options Options
	limits  map[v1alpha1.Venue]*rate.Limiter
}

// New prepares the way to every venue. It fails on a gateway that must not be used.
func New(options Options) (*Venues, error) {
	v := &Venues{options: options, limits: map[v1alpha1.Venue]*rate.Limiter{}}
	for name := range table {
		v.limits[name] = rate.NewLimiter(questionsPerSecond, questionsBurst)
		gateway := options.Gateways[name]
		if gateway == "" {
			continue
		}
		if _, err := rest.ParseGateway(gateway); err != nil {
			return nil, fmt.Errorf("the gateway of %s: %w", name, err)
		}
	}
	return v, nil
}

// Credentials of an account that were read and are fit to sign with. They print
// as nothing.
type Credentials struct{ key any }

// String keeps the credentials out of whatever prints them.
func (Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

// errForeignCredentials cannot happen to a caller that parses credentials for the
// venue that it opens.
var errForeignCredentials = errors.New("the credentials are another venue's")

func adapterOf(name v1alpha1.Venue) (adapter, error) {
	known, ok := table[name]
	if !ok {
		return adapter{}, fmt.Errorf("venue %q is not known to this binary; use an image of the release that the manifests were written for", name)
	}
	return known, nil
}

// ParseCredentials reads an account's credentials from the content of its Secret,
// which has every key that the account's access names. Its errors say what is
// wrong, and hold no part of the content.
func ParseCredentials(name v1alpha1.Venue, secret map[string][]byte) (Credentials, error) {
	known, err := adapterOf(name)
	if err != nil {
		return Credentials{}, err
	}
	key, err := known.parse(secret)
	return Credentials{key}, err
}

// Symbol is how a venue usually spells a pair.
func Symbol(name v1alpha1.Venue, pair *v1alpha1.AssetPair) string {
	known, err := adapterOf(name)
	if err != nil {
		return pair.Canonical()
	}
	return known.symbol(string(pair.Spec.Base), string(pair.Spec.Quote))
}

// Open prepares an account; it asks nothing yet. The caller closes it.
func (v *Venues) Open(account Account, credentials Credentials) (Venue, error) {
	known, err := adapterOf(account.Venue)
	if err != nil {
		return nil, err
	}
	account.gateway, account.transport = v.options.Gateways[account.Venue], v.options.Transport
	return known.open(account, credentials.key)
}

// Account asks a venue what a key may do, and whose it is. Its errors are those of
// venue.Checker.
func (v *Venues) Account(ctx context.Context, name v1alpha1.Venue, environment v1alpha1.VenueEnvironment, credentials Credentials) (venue.Account, error) {
	return ask(ctx, v, Account{Venue: name, Environment: environment}, credentials, venue.Checker.Account)
}

// Product asks a venue how the account with these credentials trades a symbol.
func (v *Venues) Product(ctx context.Context, name v1alpha1.Venue, environment v1alpha1.VenueEnvironment, credentials Credentials, symbol string) (venue.Product, error) {
	return ask(ctx, v, Account{Venue: name, Environment: environment}, credentials, func(asked venue.Checker, ctx context.Context) (venue.Product, error) {
		return asked.Product(ctx, symbol)
	})
}

// ask puts one question, by a connection of its own.
func ask[T any](ctx context.Context, v *Venues, account Account, credentials Credentials, question func(venue.Checker, context.Context) (T, error)) (T, error) {
	var none T
	opened, err := v.Open(account, credentials)
	if err != nil {
		return none, fmt.Errorf("%w: %w", venue.ErrNoEndpoint, err)
	}
	defer opened.Close()
	if err := v.limits[account.Venue].Wait(ctx); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return none, ctx.Err()
		}
		return none, fmt.Errorf("%w: too many questions wait to be asked", venue.ErrUnreachable)
	}
	return question(opened, ctx)
}

// Names are the venues of the table, in the order of the API.
func Names() []v1alpha1.Venue {
	return slices.DeleteFunc(v1alpha1.RealVenues(), func(name v1alpha1.Venue) bool {
		_, known := table[name]
		return !known
	})
}
