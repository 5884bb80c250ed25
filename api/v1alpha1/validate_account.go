package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Keys of the Secret that spec.coinbase.credentialsRef names.
const (
	// CoinbaseKeyName is the key's name as Coinbase shows it, such as
	// organizations/…/apiKeys/….
	CoinbaseKeyName = "key-name"
	// CoinbasePrivateKey is the key's ECDSA private key in PEM.
	CoinbasePrivateKey = "private-key"
)

// ValidateTradingAccount checks what an account's own manifest says.
func ValidateTradingAccount(account *TradingAccount) field.ErrorList {
	var errs field.ErrorList
	spec, path := &account.Spec, field.NewPath("spec")
	for _, part := range []struct {
		venue Venue
		name  string
		given bool
	}{
		{VenuePaper, "paper", spec.Paper != nil},
		{VenueCoinbase, "coinbase", spec.Coinbase != nil},
	} {
		child := path.Child(part.name)
		switch {
		case spec.Venue == part.venue && !part.given:
			errs = append(errs, field.Required(child, fmt.Sprintf("is required when venue is %s", part.venue)))
		case spec.Venue != part.venue && part.given:
			errs = append(errs, field.Forbidden(child, fmt.Sprintf("is for venue %s only; remove it", part.venue)))
		}
	}
	if spec.Venue != VenuePaper && spec.Venue != VenueCoinbase {
		errs = append(errs, field.NotSupported(path.Child("venue"), spec.Venue, []Venue{VenuePaper, VenueCoinbase}))
	}
	if spec.Venue == VenueCoinbase && spec.Coinbase != nil {
		errs = append(errs, validateCoinbase(spec.Coinbase, path.Child("coinbase"))...)
	}
	return append(errs, validateAmount(orEmpty(spec.Total).MaxGrossNotional, path.Child("total", "maxGrossNotional"))...)
}

func validateCoinbase(coinbase *CoinbaseAccountSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	known := []VenueEnvironment{EnvironmentProduction, EnvironmentSandbox}
	if coinbase.Environment != EnvironmentProduction && coinbase.Environment != EnvironmentSandbox {
		errs = append(errs, field.NotSupported(path.Child("environment"), coinbase.Environment, known))
	}
	if coinbase.CredentialsRef.Name == "" {
		errs = append(errs, field.Required(path.Child("credentialsRef", "name"), "names the Secret with the API key"))
	}
	return errs
}

// IsLive reports whether orders on the account cost money.
func (a *TradingAccount) IsLive() bool {
	sandbox := a.Spec.Coinbase != nil && a.Spec.Coinbase.Environment == EnvironmentSandbox
	return a.Spec.Venue != VenuePaper && !sandbox
}

// venueWords are the account's venue and, where it has several, the environment.
func (a *TradingAccount) venueWords() string {
	if a.Spec.Coinbase == nil {
		return string(a.Spec.Venue)
	}
	return fmt.Sprintf("%s, %s", a.Spec.Venue, a.Spec.Coinbase.Environment)
}

// TradingUnsupported says why no agent of this release can trade on the account;
// empty if one can.
func (a *TradingAccount) TradingUnsupported() string {
	if a.Spec.Venue == VenuePaper {
		return ""
	}
	return fmt.Sprintf("this release sends no orders to %s; use a Paper account with market data from Coinbase", a.Spec.Venue)
}
