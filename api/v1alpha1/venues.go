package v1alpha1

import "slices"

// Keys of the Secrets that credentialsRef of an account names.
const (
	// CoinbaseKeyName is the key's name as Coinbase shows it, such as
	// organizations/…/apiKeys/….
	CoinbaseKeyName = "key-name"
	// CoinbasePrivateKey is the key's ECDSA private key in PEM.
	CoinbasePrivateKey = "private-key"
	// AlpacaKeyID is the ID of a key as Alpaca shows it.
	AlpacaKeyID = "key-id"
	// AlpacaSecretKey is what Alpaca shows once, beside the ID.
	AlpacaSecretKey = "secret-key"
	// KrakenAPIKey is the public part of a key at Kraken.
	KrakenAPIKey = "api-key"
	// KrakenPrivateKey is its private part, in Base64.
	KrakenPrivateKey = "private-key"
	// GeminiAPIKey is the public part of an account-scoped key at Gemini.
	GeminiAPIKey = "api-key"
	// GeminiAPISecret is its secret.
	GeminiAPISecret = "api-secret"
)

// VenueAccess is how an account at a real venue is reached, whatever the venue.
//
// +kubebuilder:object:generate=false
type VenueAccess struct {
	AccountShare

	// Field of the spec that it stands in, such as "coinbase".
	Field       string
	Environment VenueEnvironment
	// Secret with the credentials, and the Keys that it must have.
	Secret string
	Keys   []string
}

// venueFacts are what the API knows of one real venue.
type venueFacts struct {
	venue Venue
	field string
	// keys of the Secret with an account's credentials.
	keys []string
	// spot says that only what is held can be sold.
	spot bool
	// part of a spec that is about the venue; nil if the spec has none.
	part func(*TradingAccountSpec) *venuePart
}

// venuePart is what the specs of all venues have.
type venuePart struct {
	environment VenueEnvironment
	credentials ObjectReference
	share       AccountShare
}

// realVenues are the venues at which an account is somebody's money, or its copy
// in a sandbox.
var realVenues = []venueFacts{
	{VenueCoinbase, "coinbase", []string{CoinbaseKeyName, CoinbasePrivateKey}, true, func(s *TradingAccountSpec) *venuePart {
		return partOf(s.Coinbase, func(c *CoinbaseAccountSpec) venuePart {
			return venuePart{c.Environment, c.CredentialsRef, c.AccountShare}
		})
	}},
	{VenueAlpaca, "alpaca", []string{AlpacaKeyID, AlpacaSecretKey}, true, func(s *TradingAccountSpec) *venuePart {
		return partOf(s.Alpaca, func(a *AlpacaAccountSpec) venuePart {
			return venuePart{a.Environment, a.CredentialsRef, a.AccountShare}
		})
	}},
	{VenueKraken, "kraken", []string{KrakenAPIKey, KrakenPrivateKey}, true, func(s *TradingAccountSpec) *venuePart {
		return partOf(s.Kraken, func(k *KrakenAccountSpec) venuePart {
			return venuePart{k.Environment, k.CredentialsRef, k.AccountShare}
		})
	}},
	{VenueGemini, "gemini", []string{GeminiAPIKey, GeminiAPISecret}, true, func(s *TradingAccountSpec) *venuePart {
		return partOf(s.Gemini, func(g *GeminiAccountSpec) venuePart {
			return venuePart{g.Environment, g.CredentialsRef, g.AccountShare}
		})
	}},
}

func partOf[T any](spec *T, read func(*T) venuePart) *venuePart {
	if spec == nil {
		return nil
	}
	part := read(spec)
	return &part
}

// RealVenues are the venues at which an account has credentials, in the order in
// which the documentation names them.
func RealVenues() []Venue {
	venues := make([]Venue, len(realVenues))
	for i := range realVenues {
		venues[i] = realVenues[i].venue
	}
	return venues
}

// IsSpot reports whether only what is held can be sold at the venue.
func (v Venue) IsSpot() bool {
	i := slices.IndexFunc(realVenues, func(f venueFacts) bool { return f.venue == v })
	return i >= 0 && realVenues[i].spot
}

// Access is how the account's venue is reached; nil for a paper account, and for
// one whose spec lacks the part that its venue needs.
func (a *TradingAccount) Access() *VenueAccess {
	for i := range realVenues {
		facts := &realVenues[i]
		if facts.venue != a.Spec.Venue {
			continue
		}
		if part := facts.part(&a.Spec); part != nil {
			return &VenueAccess{part.share, facts.field, part.environment, part.credentials.Name, slices.Clone(facts.keys)}
		}
	}
	return nil
}

// Share is the money that each agent on the account begins with; nil if the spec
// lacks the part that says so.
func (a *TradingAccount) Share() *AccountShare {
	if a.Spec.Venue == VenuePaper && a.Spec.Paper != nil {
		return &AccountShare{Currency: a.Spec.Paper.Currency, Balance: a.Spec.Paper.Balance}
	}
	if access := a.Access(); access != nil {
		return &access.AccountShare
	}
	return nil
}

// IsLive reports whether orders on the account cost money.
func (a *TradingAccount) IsLive() bool {
	access := a.Access()
	return a.Spec.Venue != VenuePaper && (access == nil || access.Environment != EnvironmentSandbox)
}

// venueWords are the account's venue and, where it has several, the environment.
func (a *TradingAccount) venueWords() string {
	if access := a.Access(); access != nil {
		return string(a.Spec.Venue) + ", " + string(access.Environment)
	}
	return string(a.Spec.Venue)
}
