// Package venues knows every real venue: what its credentials look like, whom to
// ask about an account, and the adapter that trades on it. Whoever reaches venues
// goes by its one table, so that all of them are checked and wired alike.
package venues

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Options say how venues are reached. The zero value asks the venues themselves.
type Options struct {
	Gateways Gateways
	// Transport that requests are sent by; nil for one that checks certificates and
	// goes by the proxy of the process's environment.
	Transport http.RoundTripper
}

// Gateways are addresses that requests are sent to in place of a venue's own, by
// venue. Requests are signed for the venue itself even so, and a gateway must pass
// them on unchanged. It must be https, or http to a loopback address. Gateways are
// a flag's value: Kraken=https://gateway.example, several parted by commas.
type Gateways map[v1alpha1.Venue]string

// String is the flag's text.
func (g *Gateways) String() string {
	if g == nil {
		return ""
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(*g)) {
		words = append(words, string(name)+"="+(*g)[name])
	}
	return strings.Join(words, ",")
}

// Set adds to the gateways what a flag says.
func (g *Gateways) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		name, address, ok := strings.Cut(word, "=")
		if !ok || !slices.Contains(v1alpha1.RealVenues(), v1alpha1.Venue(name)) || address == "" {
			return fmt.Errorf("%q is not a venue and its gateway, such as %s=https://gateway.example; the venues are %v", word, v1alpha1.VenueKraken, v1alpha1.RealVenues())
		}
		if *g == nil {
			*g = Gateways{}
		}
		(*g)[v1alpha1.Venue(name)] = address
	}
	return nil
}

// Type names the flag's value in help texts.
func (*Gateways) Type() string { return "VENUE=URL" }

// Credentials of an account that were read and are fit to sign with. They print
// as nothing.
type Credentials struct{ key any }

// String keeps the credentials out of whatever prints them.
func (Credentials) String() string { return "(credentials)" }

// GoString keeps the credentials out of whatever prints them in full.
func (Credentials) GoString() string { return "(credentials)" }

// MarshalJSON keeps the credentials out of structured logs.
func (Credentials) MarshalJSON() ([]byte, error) { return []byte(`"(credentials)"`), nil }

// Venues reaches every real venue. It is safe for use by many at once.
type Venues struct{ adapters map[v1alpha1.Venue]adapter }

// New prepares every venue. It fails on a gateway that must not be used.
func New(options Options) (*Venues, error) {
	v := &Venues{adapters: map[v1alpha1.Venue]adapter{}}
	for name, prepare := range table {
		adapter, err := prepare(options.Gateways[name], options.Transport)
		if err != nil {
			return nil, fmt.Errorf("the gateway of %s: %w", name, err)
		}
		v.adapters[name] = adapter
	}
	return v, nil
}

func (v *Venues) adapter(name v1alpha1.Venue) (adapter, error) {
	known, ok := v.adapters[name]
	if !ok {
		return adapter{}, fmt.Errorf("venue %q is not known to this binary; use an image of the release that the manifests were written for", name)
	}
	return known, nil
}

// ParseCredentials reads an account's credentials from the content of its Secret,
// which has every key that the account's access names. Its errors say what is
// wrong, and hold no part of the content.
func (v *Venues) ParseCredentials(name v1alpha1.Venue, secret map[string][]byte) (Credentials, error) {
	known, err := v.adapter(name)
	if err != nil {
		return Credentials{}, err
	}
	key, err := known.parse(secret)
	return Credentials{key}, err
}

// Account asks a venue what a key may do, and whose it is. Its errors are those of
// venue.Checker.
func (v *Venues) Account(ctx context.Context, name v1alpha1.Venue, environment v1alpha1.VenueEnvironment, credentials Credentials) (venue.Account, error) {
	known, err := v.adapter(name)
	if err != nil {
		return venue.Account{}, err
	}
	return known.account(ctx, environment, credentials.key)
}

// Product asks a venue how the account with these credentials trades a symbol.
func (v *Venues) Product(ctx context.Context, name v1alpha1.Venue, environment v1alpha1.VenueEnvironment, credentials Credentials, symbol string) (venue.Product, error) {
	known, err := v.adapter(name)
	if err != nil {
		return venue.Product{}, err
	}
	return known.product(ctx, environment, credentials.key, symbol)
}

// errForeignCredentials cannot happen to a caller that parses credentials for the
// venue that it asks.
var errForeignCredentials = errors.New("the credentials are another venue's")
