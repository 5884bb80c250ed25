package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The validators say what the schema cannot. Admission calls them, and so do the
// reconcilers (for objects that are older than a rule) and the agent's file
// loader (for manifests that never saw an API server). None of them names a
// value from a Secret, because none of them sees one.

// ValidateTradingAgent checks what an agent's own manifest says.
func ValidateTradingAgent(agent *TradingAgent) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	seen := map[string]string{}
	for i, pair := range agent.Spec.AssetPairs {
		path := spec.Child("assetPairs").Index(i).Child("name")
		normal, err := NormalizePair(pair.Name)
		if err != nil {
			errs = append(errs, field.Invalid(path, pair.Name, err.Error()))
			continue
		}
		if first, twice := seen[normal]; twice {
			errs = append(errs, field.Invalid(path, pair.Name, fmt.Sprintf("is the same pair as %q; name each pair once", first)))
		}
		seen[normal] = pair.Name
	}
	if agent.Spec.Limits != nil {
		errs = append(errs, validateLimits(agent.Spec.Limits, spec.Child("limits"))...)
	}
	if agent.Spec.Mode == ModeLive && agent.Spec.MarketData.Source == DataSourceReplay {
		errs = append(errs, field.Invalid(spec.Child("marketData", "source"), DataSourceReplay, replayIsNotLive))
	}
	if decision := agent.Spec.Decision; decision != nil {
		errs = append(errs, validateFraction(decision.MinConfidenceFraction, spec.Child("decision", "minConfidenceFraction"))...)
	}
	if sizing := agent.Spec.Sizing; sizing != nil {
		errs = append(errs, validateSizing(sizing, spec.Child("sizing"))...)
	}
	return errs
}

// replayIsNotLive repeats the schema's own words.
const replayIsNotLive = "is a recording, and orders at prices of the past would cost money; use a live source, or mode Paper"

func validateSizing(sizing *SizingSpec, path *field.Path) field.ErrorList {
	errs := validateFraction(sizing.RiskFraction, path.Child("riskFraction"))
	errs = append(errs, validateFraction(sizing.StopFraction, path.Child("stopFraction"))...)
	errs = append(errs, validateFraction(sizing.TargetFraction, path.Child("targetFraction"))...)
	if sizing.StopFraction != "" && ratOrZero(sizing.StopFraction).Sign() == 0 {
		errs = append(errs, field.Invalid(path.Child("stopFraction"), sizing.StopFraction, "must be greater than zero: a stop at the entry price closes every position at once"))
	}
	if sizing.TargetFraction != "" && ratOrZero(sizing.TargetFraction).Sign() == 0 {
		errs = append(errs, field.Invalid(path.Child("targetFraction"), sizing.TargetFraction, "must be greater than zero: a target at the entry price closes every position at once"))
	}
	return errs
}

// ValidateRiskPolicy checks what a policy's own manifest says.
func ValidateRiskPolicy(policy *RiskPolicy) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateLimits(limitsOf(policy), spec)
	errs = append(errs, validateAmount(orEmpty(policy.Spec.Total).MaxGrossNotional, spec.Child("total", "maxGrossNotional"))...)
	for i, name := range policy.Spec.RestrictedPairs {
		if _, err := NormalizePair(name); err != nil {
			errs = append(errs, field.Invalid(spec.Child("restrictedPairs").Index(i), name, err.Error()))
		}
	}
	return errs
}

// validateFraction passes over a fraction that is not set.
func validateFraction(fraction Fraction, path *field.Path) field.ErrorList {
	if fraction == "" || fractionPattern.MatchString(string(fraction)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, fraction, "must be a fraction between \"0\" and \"1\" written as a string: two per cent is \"0.02\"")}
}

// ValidateMode checks that an agent's mode fits its account.
func ValidateMode(agent *TradingAgent, account *TradingAccount) field.ErrorList {
	if account == nil {
		return nil
	}
	path := field.NewPath("spec", "mode")
	live := account.IsLive()
	switch {
	case agent.Spec.Mode == ModeLive && !live:
		return field.ErrorList{field.Invalid(path, agent.Spec.Mode, fmt.Sprintf("TradingAccount %q is a paper account (venue %s); use mode Paper, or a live account", account.Name, account.venueWords()))}
	case agent.Spec.Mode == ModePaper && live:
		return field.ErrorList{field.Invalid(path, agent.Spec.Mode, fmt.Sprintf("TradingAccount %q is a live account (venue %s); use mode Live, or a paper account", account.Name, account.venueWords()))}
	}
	return nil
}

// ValidateCurrencies checks that account, policy and pairs speak of one
// currency. Nil objects are passed over.
func ValidateCurrencies(agent *TradingAgent, account *TradingAccount, policy *RiskPolicy, pairs []AssetPair) field.ErrorList {
	if account == nil || account.Share() == nil {
		return nil
	}
	spec := field.NewPath("spec")
	currency := account.Share().Currency
	var errs field.ErrorList
	if policy != nil && policy.Spec.Currency != currency {
		errs = append(errs, field.Invalid(spec.Child("riskPolicyRef", "name"), policy.Name, fmt.Sprintf("limits are in %s, but account %q is in %s", policy.Spec.Currency, account.Name, currency)))
	}
	for i, selector := range agent.Spec.AssetPairs {
		pair := FindPair(pairs, selector.Name)
		if pair != nil && pair.Spec.Quote != currency {
			errs = append(errs, field.Invalid(spec.Child("assetPairs").Index(i).Child("name"), selector.Name, fmt.Sprintf("is quoted in %s, but account %q is in %s", pair.Spec.Quote, account.Name, currency)))
		}
	}
	return errs
}

// ValidateUniquePairs checks that no other agent trades one of the agent's pairs
// on the same account. Others that are being deleted count until they are gone.
func ValidateUniquePairs(agent *TradingAgent, others []TradingAgent, pairs []AssetPair) field.ErrorList {
	taken := map[string]string{}
	for i := range others {
		other := &others[i]
		if other.Name == agent.Name || other.Namespace != agent.Namespace || other.Spec.AccountRef != agent.Spec.AccountRef {
			continue
		}
		for _, selector := range other.Spec.AssetPairs {
			taken[pairIdentity(pairs, selector.Name)] = other.Name
		}
	}
	var errs field.ErrorList
	for i, selector := range agent.Spec.AssetPairs {
		owner, isTaken := taken[pairIdentity(pairs, selector.Name)]
		if isTaken {
			errs = append(errs, field.Invalid(field.NewPath("spec", "assetPairs").Index(i).Child("name"), selector.Name,
				fmt.Sprintf("is traded by agent %q on account %q already; a pair on an account has one owner", owner, agent.Spec.AccountRef.Name)))
		}
	}
	return errs
}

// pairIdentity is the declared pair's canonical name, or the spelling's normal
// form where no such pair is declared yet.
func pairIdentity(pairs []AssetPair, name string) string {
	if pair := FindPair(pairs, name); pair != nil {
		return pair.Canonical()
	}
	normal, err := NormalizePair(name)
	if err != nil {
		return name
	}
	return normal
}

// ValidateAssetPair checks a pair's own manifest, and that none of its names
// belongs to another pair of the namespace. With onlyOlder, pairs that are
// younger than this one are passed over: of two that collide, the older keeps
// the name.
func ValidateAssetPair(pair *AssetPair, others []AssetPair, onlyOlder bool) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if pair.Spec.Base == pair.Spec.Quote {
		errs = append(errs, field.Invalid(spec.Child("quote"), pair.Spec.Quote, "must differ from base"))
	}
	errs = append(errs, validateStep(pair.Spec.TickSize, spec.Child("tickSize"))...)
	errs = append(errs, validateStep(pair.Spec.LotSize, spec.Child("lotSize"))...)
	errs = append(errs, validateQuantities(pair, spec)...)
	errs = append(errs, validateSession(pair.Spec.Session, spec.Child("session"))...)

	owners := map[string]string{}
	for i := range others {
		other := &others[i]
		if other.Name == pair.Name || other.Namespace != pair.Namespace || onlyOlder && !olderPair(other, pair) {
			continue
		}
		for _, name := range other.NormalNames() {
			owners[name] = other.Name
		}
	}
	collide := func(path *field.Path, name string) {
		normal, err := NormalizePair(name)
		if err != nil {
			errs = append(errs, field.Invalid(path, name, err.Error()))
			return
		}
		if owner, taken := owners[normal]; taken {
			errs = append(errs, field.Invalid(path, name, fmt.Sprintf("is a name of AssetPair %q already (both are %s)", owner, normal)))
		}
	}
	collide(spec.Child("base"), pair.Canonical())
	for i, alias := range pair.Spec.Aliases {
		collide(spec.Child("aliases").Index(i), alias)
	}
	return errs
}

// validateQuantities checks the smallest and the largest quantity of an order.
func validateQuantities(pair *AssetPair, spec *field.Path) field.ErrorList {
	least, most := pair.Spec.MinQuantity, pair.Spec.MaxQuantity
	errs := validateAmount(least, spec.Child("minQuantity"))
	errs = append(errs, validateAmount(most, spec.Child("maxQuantity"))...)
	switch {
	case most != "" && notAbove(most, pair.Spec.LotSize) && !notAbove(pair.Spec.LotSize, most):
		errs = append(errs, field.Invalid(spec.Child("maxQuantity"), most, fmt.Sprintf("is below the lotSize %q, so no order could ever pass", pair.Spec.LotSize)))
	case most != "" && least != "" && !notAbove(least, most):
		errs = append(errs, field.Invalid(spec.Child("minQuantity"), least, fmt.Sprintf("is above the maxQuantity %q, so no order could ever pass", most)))
	}
	return errs
}

func validateStep(step PositiveDecimal, path *field.Path) field.ErrorList {
	if value, err := Rat(step); err != nil || value.Sign() <= 0 {
		return field.ErrorList{field.Invalid(path, step, "must be a decimal number greater than zero, such as \"0.01\"")}
	}
	return nil
}
