package venues

import (
	"context"
	"net/http"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
)

// adapter is one venue.
type adapter struct {
	parse   func(secret map[string][]byte) (any, error)
	account func(context.Context, v1alpha1.VenueEnvironment, any) (venue.Account, error)
	product func(context.Context, v1alpha1.VenueEnvironment, any, string) (venue.Product, error)
}

// table of the venues: how each is prepared, with a gateway if there is one.
var table = map[v1alpha1.Venue]func(gateway string, transport http.RoundTripper) (adapter, error){
	v1alpha1.VenueCoinbase: func(gateway string, transport http.RoundTripper) (adapter, error) {
		client, err := coinbase.New(coinbase.Options{URL: gateway, Transport: transport})
		return adapt(client, v1alpha1.CoinbaseKeyName, v1alpha1.CoinbasePrivateKey, coinbase.ParseCredentials), err
	},
}

// symbols are how the venues spell a pair.
var symbols = map[v1alpha1.Venue]func(base, quote string) string{
	v1alpha1.VenueCoinbase: coinbase.ProductID,
}

// Symbol is how a venue spells a pair.
func Symbol(name v1alpha1.Venue, pair *v1alpha1.AssetPair) string {
	spell, ok := symbols[name]
	if !ok {
		return pair.Canonical()
	}
	return spell(string(pair.Spec.Base), string(pair.Spec.Quote))
}

// client asks a venue with credentials of its kind.
type client[C any] interface {
	Account(ctx context.Context, environment v1alpha1.VenueEnvironment, credentials C) (venue.Account, error)
	Product(ctx context.Context, environment v1alpha1.VenueEnvironment, credentials C, symbol string) (venue.Product, error)
}

// adapt makes an adapter of a venue whose credentials have two parts, under these
// keys of the Secret.
func adapt[C any](asked client[C], first, second string, parse func(first, second string) (C, error)) adapter {
	return adapter{
		parse: func(secret map[string][]byte) (any, error) {
			return parse(string(secret[first]), string(secret[second]))
		},
		account: func(ctx context.Context, environment v1alpha1.VenueEnvironment, key any) (venue.Account, error) {
			credentials, ok := key.(C)
			if !ok {
				return venue.Account{}, errForeignCredentials
			}
			return asked.Account(ctx, environment, credentials)
		},
		product: func(ctx context.Context, environment v1alpha1.VenueEnvironment, key any, symbol string) (venue.Product, error) {
			credentials, ok := key.(C)
			if !ok {
				return venue.Product{}, errForeignCredentials
			}
			return asked.Product(ctx, environment, credentials, symbol)
		},
	}
}
