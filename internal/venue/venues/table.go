package venues

import (
	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/alpaca"
	"github.com/three-rivers-tech/trading-operator/internal/venue/coinbase"
	"github.com/three-rivers-tech/trading-operator/internal/venue/gemini"
	"github.com/three-rivers-tech/trading-operator/internal/venue/kraken"
)

// adapter is one venue.
type adapter struct {
	// parse reads credentials from the content of a Secret.
	parse func(secret map[string][]byte) (any, error)
	// open prepares an account; it asks nothing.
	open func(Account, any) (Venue, error)
	// symbol is how the venue usually spells a pair.
	symbol func(base, quote string) string
}

// table of the venues.
var table = map[v1alpha1.Venue]adapter{
	v1alpha1.VenueCoinbase: {
		parse:  twoParts(v1alpha1.CoinbaseKeyName, v1alpha1.CoinbasePrivateKey, coinbase.ParseCredentials),
		open:   opened(coinbase.New),
		symbol: coinbase.Symbol,
	},
	v1alpha1.VenueAlpaca: {
		parse:  twoParts(v1alpha1.AlpacaKeyID, v1alpha1.AlpacaSecretKey, alpaca.ParseCredentials),
		open:   opened(alpaca.New),
		symbol: alpaca.Symbol,
	},
	v1alpha1.VenueKraken: {
		parse:  twoParts(v1alpha1.KrakenAPIKey, v1alpha1.KrakenPrivateKey, kraken.ParseCredentials),
		open:   opened(kraken.New),
		symbol: kraken.Symbol,
	},
	v1alpha1.VenueGemini: {
		parse:  twoParts(v1alpha1.GeminiAPIKey, v1alpha1.GeminiAPISecret, gemini.ParseCredentials),
		open:   opened(gemini.New),
		symbol: gemini.Symbol,
	},
}

// twoParts reads credentials that have two parts, under these keys of the Secret.
func twoParts[C any](first, second string, parse func(first, second string) (C, error)) func(map[string][]byte) (any, error) {
	return func(secret map[string][]byte) (any, error) {
		return parse(string(secret[first]), string(secret[second]))
	}
}

// opened hands an adapter the account, with credentials of its own kind.
func opened[C any, V Venue](open func(venue.Options[C]) (V, error)) func(Account, any) (Venue, error) {
	return func(account Account, key any) (Venue, error) {
		credentials, own := key.(C)
		if !own {
			return nil, errForeignCredentials
		}
		v, err := open(venue.Options[C]{
			Environment: account.Environment, Instruments: account.Instruments, Symbols: account.Symbols, Credentials: credentials,
			Gateway: account.gateway, Transport: account.transport, Guard: account.Guard,
		})
		if err != nil {
			return nil, err
		}
		return v, nil
	}
}
