package v1alpha1

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateTradingAccount checks what an account's own manifest says.
func ValidateTradingAccount(account *TradingAccount) field.ErrorList {
	spec, path := &account.Spec, field.NewPath("spec")
	errs := validatePart(spec.Venue, VenuePaper, spec.Paper != nil, path.Child("paper"))
	known := append(RealVenues(), VenuePaper)
	for i := range realVenues {
		facts := &realVenues[i]
		part, child := facts.part(spec), path.Child(facts.field)
		errs = append(errs, validatePart(spec.Venue, facts.venue, part != nil, child)...)
		if part != nil && spec.Venue == facts.venue {
			errs = append(errs, part.validate(child)...)
		}
	}
	if !slices.Contains(known, spec.Venue) {
		errs = append(errs, field.NotSupported(path.Child("venue"), spec.Venue, known))
	}
	return append(errs, validateAmount(orEmpty(spec.Total).MaxGrossNotional, path.Child("total", "maxGrossNotional"))...)
}

// validatePart checks that the part of a spec that is about one venue is there
// with this venue, and with no other.
func validatePart(venue, of Venue, given bool, path *field.Path) field.ErrorList {
	switch {
	case venue == of && !given:
		return field.ErrorList{field.Required(path, fmt.Sprintf("is required when venue is %s", of))}
	case venue != of && given:
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf("is for venue %s only; remove it", of))}
	}
	return nil
}

func (part *venuePart) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	environments := []VenueEnvironment{EnvironmentProduction, EnvironmentSandbox}
	if !slices.Contains(environments, part.environment) {
		errs = append(errs, field.NotSupported(path.Child("environment"), part.environment, environments))
	}
	if part.credentials.Name == "" {
		errs = append(errs, field.Required(path.Child("credentialsRef", "name"), "names the Secret with the API key"))
	}
	if part.share.Currency == "" {
		errs = append(errs, field.Required(path.Child("currency"), "is what the agents' books are kept in, such as USD"))
	}
	if part.share.Balance == "" {
		return append(errs, field.Required(path.Child("balance"), "is what each agent on the account starts with, such as \"1000\""))
	}
	return append(errs, validateAmount(part.share.Balance, path.Child("balance"))...)
}

// ValidateDirection checks that the account's venue lets an agent hold what it
// may want to hold. A missing account is passed over.
func ValidateDirection(agent *TradingAgent, account *TradingAccount) field.ErrorList {
	if account == nil || !account.Spec.Venue.IsSpot() || orEmpty(agent.Spec.Decision).Direction != DirectionLongShort {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "decision", "direction"), DirectionLongShort, fmt.Sprintf(
		"TradingAccount %q is at %s, which sells only what is held; use LongOnly", account.Name, account.Spec.Venue))}
}
