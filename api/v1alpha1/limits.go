package v1alpha1

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// limit is one row of the table of everything that spec.limits of an agent and
// the spec of its policy may say. Defaults, validation and comparison all read
// it, so that a limit cannot be in force in one and be forgotten in another.
type limit struct {
	// name below limits, such as "order.maxNotional".
	name string
	// fallback stands in where neither policy nor agent says; empty is no limit.
	fallback string
	// atLeast says that the greater value is the stricter.
	atLeast bool
	// at is the field: a pointer to one of the decimal types, to int32 or to
	// *int32. Zero of an int32 means that it is not set.
	at func(*EffectiveLimits) any
}

// limits in the order in which status.effective and messages name them.
var limits = []limit{
	{name: "order.maxNotional", at: func(l *EffectiveLimits) any { return &l.MaxNotional }},
	{name: "order.minNotional", atLeast: true, at: func(l *EffectiveLimits) any { return &l.MinNotional }},
	{name: "order.priceCollarFraction", fallback: string(DefaultPriceCollarFraction), at: func(l *EffectiveLimits) any { return &l.PriceCollarFraction }},
	{name: "order.maxPerSecond", fallback: count(DefaultMaxPerSecond), at: func(l *EffectiveLimits) any { return &l.MaxPerSecond }},
	{name: "order.duplicateWindowSeconds", atLeast: true, at: func(l *EffectiveLimits) any { return &l.DuplicateWindowSeconds }},
	{name: "agent.maxDrawdownFraction", fallback: string(DefaultMaxDrawdownFraction), at: func(l *EffectiveLimits) any { return &l.MaxDrawdownFraction }},
	{name: "agent.maxDailyLossFraction", at: func(l *EffectiveLimits) any { return &l.MaxDailyLossFraction }},
	{name: "agent.maxTradesPerDay", fallback: count(DefaultMaxTradesPerDay), at: func(l *EffectiveLimits) any { return &l.MaxTradesPerDay }},
	{name: "agent.maxPositions", fallback: count(DefaultMaxPositions), at: func(l *EffectiveLimits) any { return &l.MaxPositions }},
	{name: "agent.maxPositionFraction", fallback: string(DefaultMaxPositionFraction), at: func(l *EffectiveLimits) any { return &l.MaxPositionFraction }},
	{name: "agent.maxGrossNotional", at: func(l *EffectiveLimits) any { return &l.MaxGrossNotional }},
	{name: "agent.maxNetNotional", at: func(l *EffectiveLimits) any { return &l.MaxNetNotional }},
	{name: "agent.maxLeverage", fallback: string(DefaultMaxLeverage), at: func(l *EffectiveLimits) any { return &l.MaxLeverage }},
	{name: "agent.maxConsecutiveLosses", at: func(l *EffectiveLimits) any { return &l.MaxConsecutiveLosses }},
	{name: "agent.stopCoolDownSeconds", atLeast: true, at: func(l *EffectiveLimits) any { return &l.StopCoolDownSeconds }},
	{name: "agent.maxCorrelatedPositions", fallback: count(DefaultMaxCorrelatedPositions), at: func(l *EffectiveLimits) any { return &l.MaxCorrelatedPositions }},
	{name: "agent.correlationFraction", fallback: string(DefaultCorrelationFraction), at: func(l *EffectiveLimits) any { return &l.CorrelationFraction }},
	{name: "agent.maxValueAtRiskFraction", fallback: string(DefaultMaxValueAtRiskFraction), at: func(l *EffectiveLimits) any { return &l.MaxValueAtRiskFraction }},
	{name: "agent.maxVolatilityFraction", fallback: string(DefaultMaxVolatilityFraction), at: func(l *EffectiveLimits) any { return &l.MaxVolatilityFraction }},
	{name: "agent.volatileConfidenceFraction", fallback: string(DefaultVolatileConfidenceFraction), atLeast: true, at: func(l *EffectiveLimits) any { return &l.VolatileConfidenceFraction }},
	{name: "agent.maxAutomaticExits", at: func(l *EffectiveLimits) any { return &l.MaxAutomaticExits }},
	{name: "agent.automaticExitWindowSeconds", fallback: count(DefaultAutomaticExitWindow), atLeast: true, at: func(l *EffectiveLimits) any { return &l.AutomaticExitWindowSeconds }},
	{name: "data.maxAgeSeconds", fallback: count(DefaultMaxAgeSeconds), at: func(l *EffectiveLimits) any { return &l.MaxAgeSeconds }},
	{name: "data.maxFrozenBars", at: func(l *EffectiveLimits) any { return &l.MaxFrozenBars }},
	{name: "data.maxMissingBars", at: func(l *EffectiveLimits) any { return &l.MaxMissingBars }},
}

// EffectiveLimits are the limits in force for one agent. What nobody set and has
// no default is empty, zero or nil, and does not bind.
type EffectiveLimits struct {
	OrderLimits
	AgentLimits
	DataLimits
}

// said is what an agent or a policy says itself.
func said(own *Limits) *EffectiveLimits {
	mine := orEmpty(own)
	return &EffectiveLimits{*orEmpty(mine.Order), *orEmpty(mine.Agent), *orEmpty(mine.Data)}
}

// limitsOf are a policy's limits in the shape of an agent's.
func limitsOf(policy *RiskPolicy) *Limits {
	if policy == nil {
		return nil
	}
	return &Limits{Order: &policy.Spec.Order, Agent: &policy.Spec.Agent, Data: policy.Spec.Data}
}

func count(value int32) string { return strconv.Itoa(int(value)) }

// read is the limit's text; empty is not set.
func (l *limit) read(from *EffectiveLimits) string {
	switch at := l.at(from).(type) {
	case *PositiveDecimal:
		return string(*at)
	case *Fraction:
		return string(*at)
	case *int32:
		if *at != 0 {
			return count(*at)
		}
	case **int32:
		if *at != nil {
			return count(**at)
		}
	}
	return ""
}

// write sets the limit. The text is one that read has returned, or a default.
func (l *limit) write(into *EffectiveLimits, text string) {
	if text == "" {
		return
	}
	// A text that is no number counts as zero, as it does everywhere else.
	number, _ := strconv.ParseInt(text, 10, 32)
	value := int32(number)
	switch at := l.at(into).(type) {
	case *PositiveDecimal:
		*at = PositiveDecimal(text)
	case *Fraction:
		*at = Fraction(text)
	case *int32:
		*at = value
	case **int32:
		*at = &value
	}
}

// allows reports whether one value is at least as strict as another. A text that
// is no decimal counts as zero.
func (l *limit) allows(value, than string) bool {
	order := ratOrZero(value).Cmp(ratOrZero(than))
	if l.atLeast {
		return order >= 0
	}
	return order <= 0
}

// limits are the strictest of agent and policy; the default stands in where the
// policy does not say.
func (r *resolver) limits(own *Limits, policy *RiskPolicy) EffectiveLimits {
	mine, theirs := said(own), said(limitsOf(policy))
	var resolved EffectiveLimits
	for i := range limits {
		l := &limits[i]
		value, source := l.fallback, SourceDefault
		if text := l.read(theirs); text != "" {
			value, source = text, SourceRiskPolicy
		}
		if text := l.read(mine); text != "" && (value == "" || l.allows(text, value)) {
			value, source = text, SourceSpec
		}
		l.write(&resolved, value)
		r.note("limits."+l.name, value, source)
	}
	return resolved
}

// ValidateTighter checks that an agent's own limits do not loosen its policy's.
// A limit that the policy does not set may be set freely.
func ValidateTighter(own *Limits, policy *RiskPolicy) field.ErrorList {
	if own == nil || policy == nil {
		return nil
	}
	var errs field.ErrorList
	mine, theirs := said(own), said(limitsOf(policy))
	for i := range limits {
		l := &limits[i]
		value, bound := l.read(mine), l.read(theirs)
		if value != "" && bound != "" && !l.allows(value, bound) {
			errs = append(errs, field.Invalid(l.path(field.NewPath("spec", "limits")), value, l.looser(bound, policy.Name)))
		}
	}
	return errs
}

func (l *limit) path(below *field.Path) *field.Path {
	group, name, _ := strings.Cut(l.name, ".")
	return below.Child(group, name)
}

func (l *limit) looser(bound, policy string) string {
	verb := "allows"
	if l.atLeast {
		verb = "asks for"
	}
	return fmt.Sprintf("would loosen RiskPolicy %q, which %s %s: an agent may only tighten", policy, verb, bound)
}

// Loosened names the limits of a policy that allow more than before, as they
// stand in its spec. What is not set counts as the default that stands in for it,
// or as no limit.
func Loosened(before, after *RiskPolicy) []string {
	was := (&resolver{}).limits(nil, before)
	is := (&resolver{}).limits(nil, after)
	var names []string
	for i := range limits {
		l := &limits[i]
		old, now := l.read(&was), l.read(&is)
		if old != "" && (now == "" || !l.allows(now, old)) {
			names = append(names, "spec."+l.name)
		}
	}
	return names
}

// validateLimits checks what a limit says by itself.
func validateLimits(own *Limits, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	given := said(own)
	for i := range limits {
		l := &limits[i]
		switch at := l.at(given).(type) {
		case *PositiveDecimal:
			errs = append(errs, validateAmount(*at, l.path(path))...)
		case *Fraction:
			errs = append(errs, validateFraction(*at, l.path(path))...)
		}
	}
	if given.MaxLeverage != "" && ratOrZero(given.MaxLeverage).Cmp(mostLeverage) >= 0 {
		errs = append(errs, field.Invalid(path.Child("agent", "maxLeverage"), given.MaxLeverage, "must be a number of times below 1000, such as \"5\""))
	}
	return errs
}

var mostLeverage = big.NewRat(1000, 1)

// validateAmount passes over an amount that is not set.
func validateAmount(amount PositiveDecimal, path *field.Path) field.ErrorList {
	if amount == "" {
		return nil
	}
	if value, err := Rat(amount); err != nil || value.Sign() <= 0 {
		return field.ErrorList{field.Invalid(path, amount, "must be a decimal number greater than zero, such as \"1000\"")}
	}
	return nil
}
