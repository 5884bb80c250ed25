package v1alpha1

import (
	"fmt"
	"math/big"
	"strings"
)

// RiskFinding is a limit that cannot do its work: one that lets nothing through,
// or one that never denies anything.
//
// +kubebuilder:object:generate=false
type RiskFinding struct {
	// Reason is ReasonLimitNeverAllows, ReasonStopNotBelow or
	// ReasonLimitNeverBinds.
	Reason string
	// Field is where the limit stands, such as "spec.limits.order.maxNotional" or
	// "RiskPolicy \"careful\" spec.order.maxNotional".
	Field string
	// Message says what is wrong and what would be right.
	Message string
}

// String is the field and what is said about it.
func (f RiskFinding) String() string { return f.Field + ": " + f.Message }

// ValidateRisk holds the limits that are in force for an agent against each
// other, against its pairs and against what its account began with. Objections
// are limits under which the agent could never open a position, and a stop that
// is not below its target. Remarks are limits that somebody has set and that can
// never bind; nothing need be withheld for them. Manifests that the other
// validators refuse give no meaningful answer; nor is judged what depends on the
// balance of an account that does not say what its agents start with.
func ValidateRisk(agent *TradingAgent, policy *RiskPolicy, account *TradingAccount, pairs []*AssetPair) (objections, remarks []RiskFinding) {
	r := newRiskReview(agent, policy)
	if share := account.Share(); share != nil {
		r.balance = ratOrZero(share.Balance)
	}
	r.neverAllowed()
	r.stopBelowTarget()
	for _, pair := range pairs {
		r.reaches(pair)
	}
	r.lossesBind()
	r.countsBind(len(pairs))
	r.sizesBind()
	return r.objections, r.remarks
}

// RiskPolicyRemarks are the limits of a policy that cannot do their work whoever
// names it. They are said and not refused: tightening a policy, to nothing even,
// must always be possible.
func RiskPolicyRemarks(policy *RiskPolicy) []RiskFinding {
	r := newRiskReview(&TradingAgent{}, policy)
	r.own = true
	r.neverAllowed()
	r.lossesBind()
	return append(r.objections, r.remarks...)
}

// riskReview collects findings about the limits in force.
type riskReview struct {
	settings Settings
	sources  map[string]ValueSource
	policy   string
	// own says that the policy itself is judged, and no agent.
	own bool
	// balance that the account began with; nil is unknown.
	balance             *big.Rat
	objections, remarks []RiskFinding
}

func newRiskReview(agent *TradingAgent, policy *RiskPolicy) *riskReview {
	settings, values := Resolve(agent, policy)
	r := &riskReview{settings: settings, sources: map[string]ValueSource{}, policy: policy.Name}
	for _, value := range values {
		r.sources[value.Field] = value.Source
	}
	return r
}

// The fields that the review speaks of, as status.effective names them.
const (
	fieldMaxNotional  = "limits.order.maxNotional"
	fieldMinNotional  = "limits.order.minNotional"
	fieldPriceCollar  = "limits.order.priceCollarFraction"
	fieldMaxDrawdown  = "limits.agent.maxDrawdownFraction"
	fieldMaxDailyLoss = "limits.agent.maxDailyLossFraction"
	fieldMaxTrades    = "limits.agent.maxTradesPerDay"
	fieldMaxPositions = "limits.agent.maxPositions"
	fieldMaxPosition  = "limits.agent.maxPositionFraction"
	fieldMaxGross     = "limits.agent.maxGrossNotional"
	fieldMaxNet       = "limits.agent.maxNetNotional"
	fieldCorrelated   = "limits.agent.maxCorrelatedPositions"
	fieldValueAtRisk  = "limits.agent.maxValueAtRiskFraction"
	fieldExitWindow   = "limits.agent.automaticExitWindowSeconds"
	fieldRisk         = "sizing.riskFraction"
	fieldStop         = "sizing.stopFraction"
	fieldTarget       = "sizing.targetFraction"
)

const (
	secondsPerDay  = 86400
	fractionDigits = 18
)

// where names the manifest and the field that a value comes from.
func (r *riskReview) where(field string) string {
	switch source := r.sources[field]; {
	case source == SourceSpec:
		return "spec." + field
	case source == SourceRiskPolicy && r.own:
		return "spec." + strings.TrimPrefix(field, "limits.")
	case source == SourceRiskPolicy:
		return fmt.Sprintf("RiskPolicy %q spec.%s", r.policy, strings.TrimPrefix(field, "limits."))
	}
	return "spec." + field + " (not set)"
}

func (r *riskReview) object(reason, field, format string, values ...any) {
	r.objections = append(r.objections, RiskFinding{reason, r.where(field), fmt.Sprintf(format, values...)})
}

// remark passes over a default: what nobody has set is nobody's mistake.
func (r *riskReview) remark(field, format string, values ...any) {
	if source := r.sources[field]; source == SourceSpec || source == SourceRiskPolicy {
		r.remarks = append(r.remarks, RiskFinding{ReasonLimitNeverBinds, r.where(field), fmt.Sprintf(format, values...)})
	}
}

// neverAllowed finds the limits that are zero where zero lets nothing through.
func (r *riskReview) neverAllowed() {
	limits := &r.settings.Limits
	const reduceOnly = "to let an agent only close positions, set spec.trading to ReduceOnly"
	for _, most := range []struct {
		field string
		count *int32
	}{{fieldMaxPositions, limits.MaxPositions}, {fieldMaxTrades, limits.MaxTradesPerDay}, {fieldCorrelated, limits.MaxCorrelatedPositions}} {
		if derefOr(most.count, 1) == 0 {
			r.object(ReasonLimitNeverAllows, most.field, "0 lets no position be opened; raise it, or %s", reduceOnly)
		}
	}
	for _, most := range []struct {
		field string
		share Fraction
	}{{fieldMaxPosition, limits.MaxPositionFraction}, {fieldValueAtRisk, limits.MaxValueAtRiskFraction}} {
		if isZero(most.share) {
			r.object(ReasonLimitNeverAllows, most.field, "%q lets no position be opened; raise it, or %s", most.share, reduceOnly)
		}
	}
	if limits.MaxNotional != "" && limits.MinNotional != "" && !notAbove(limits.MinNotional, limits.MaxNotional) {
		r.object(ReasonLimitNeverAllows, fieldMinNotional, "%q is above %s %q, so no order could ever open a position; lower it, or raise the other", limits.MinNotional, r.where(fieldMaxNotional), limits.MaxNotional)
	}
	if isZero(limits.PriceCollarFraction) {
		r.object(ReasonLimitNeverAllows, fieldPriceCollar, "%q lets no order be priced beyond the newest price, so none can cross the spread; raise it, for instance to %q", limits.PriceCollarFraction, DefaultPriceCollarFraction)
	}
	if isZero(r.settings.RiskFraction) {
		r.object(ReasonLimitNeverAllows, fieldRisk, "%q gives every order the size zero; raise it, or %s", r.settings.RiskFraction, reduceOnly)
	}
}

func (r *riskReview) stopBelowTarget() {
	stop, target := r.settings.StopFraction, r.settings.TargetFraction
	if target != "" && notAbove(target, stop) {
		r.object(ReasonStopNotBelow, fieldStop, "the stop %q is not below %s %q, so a trade risks at least as much as it can win; lower the stop, or raise the target", stop, r.where(fieldTarget), target)
	}
}

// reaches checks that each limit on size leaves room for the smallest order that
// the pair allows.
func (r *riskReview) reaches(pair *AssetPair) {
	least, words := smallestOrder(pair)
	limits := &r.settings.Limits
	if limits.MaxNotional != "" && ratOrZero(limits.MaxNotional).Cmp(least) < 0 {
		r.object(ReasonLimitNeverAllows, fieldMaxNotional, "%q is below %s, so no order in %s could ever pass; raise it to at least %s, or remove the pair", limits.MaxNotional, words, pair.Canonical(), decimalText(least))
	}
	for _, most := range []struct {
		field  string
		amount PositiveDecimal
	}{{fieldMaxGross, limits.MaxGrossNotional}, {fieldMaxNet, limits.MaxNetNotional}} {
		if most.amount != "" && ratOrZero(most.amount).Cmp(least) < 0 {
			r.object(ReasonLimitNeverAllows, most.field, "%q is below %s, so no position in %s could ever be opened; raise it to at least %s, or remove the pair", most.amount, words, pair.Canonical(), decimalText(least))
		}
	}
	if r.balance == nil {
		return
	}
	share := ratOrZero(limits.MaxPositionFraction)
	if most := new(big.Rat).Mul(share, r.balance); most.Sign() > 0 && most.Cmp(least) < 0 {
		r.object(ReasonLimitNeverAllows, fieldMaxPosition, "%q of the account's %s is %s and below %s, so no position in %s could ever be opened; raise it, or remove the pair", limits.MaxPositionFraction, decimalText(r.balance), decimalText(most), words, pair.Canonical())
	}
	if most := new(big.Rat).Mul(r.sizeFraction(), r.balance); most.Sign() > 0 && most.Cmp(least) < 0 {
		r.object(ReasonLimitNeverAllows, fieldRisk, "%q at a stop of %q makes orders of %s, which is below %s, so none in %s could ever be made; raise it, or remove the pair", r.settings.RiskFraction, r.settings.StopFraction, decimalText(most), words, pair.Canonical())
	}
}

// lossesBind names a limit on losses that another one, or nature, is ahead of.
func (r *riskReview) lossesBind() {
	drawdown, daily := r.settings.Limits.MaxDrawdownFraction, r.settings.Limits.MaxDailyLossFraction
	if !notAbove("1", drawdown) && daily != "" && notAbove(drawdown, daily) {
		r.remark(fieldMaxDailyLoss, "%q is not below %s %q, which is reached first, so it never binds; lower it, or remove it", daily, r.where(fieldMaxDrawdown), drawdown)
	}
	if notAbove("1", drawdown) {
		r.remark(fieldMaxDrawdown, "%q is all of the equity, so it never binds; lower it, for instance to %q", drawdown, DefaultMaxDrawdownFraction)
	}
	if notAbove("1", drawdown) && daily != "" && notAbove("1", daily) {
		r.remark(fieldMaxDailyLoss, "%q is all of the equity, so it never binds; lower it, or remove it", daily)
	}
}

// countsBind names limits on counts that the agent cannot reach.
func (r *riskReview) countsBind(pairs int) {
	limits, interval := &r.settings.Limits, int(r.settings.IntervalSeconds)
	if most := int(derefOr(limits.MaxPositions, 0)); most > pairs {
		r.remark(fieldMaxPositions, "%d is above the number of pairs that the agent trades (%d), so it never binds; lower it, or remove it", most, pairs)
	}
	if most := derefOr(limits.MaxCorrelatedPositions, 0); most > derefOr(limits.MaxPositions, most) {
		r.remark(fieldCorrelated, "%d is above %s %d, so it never binds; lower it, or remove it", most, r.where(fieldMaxPositions), *limits.MaxPositions)
	}
	if limits.MaxAutomaticExits == 0 {
		r.remark(fieldExitWindow, "%d says how far back stops count, but nothing says how many; set limits.agent.maxAutomaticExits, or remove it", limits.AutomaticExitWindowSeconds)
	}
	if interval <= 0 {
		return
	}
	decisions := (secondsPerDay + interval - 1) / interval * pairs
	if most := int(derefOr(limits.MaxTradesPerDay, 0)); most > decisions {
		r.remark(fieldMaxTrades, "%d is above the number of decisions that a day has (%d, one for each pair every %d s), so it never binds; lower it, or remove it", most, decisions, interval)
	}
}

// sizesBind names limits on size that others always cut.
func (r *riskReview) sizesBind() {
	limits := &r.settings.Limits
	if wanted := r.sizeFraction(); wanted.Cmp(ratOrZero(limits.MaxPositionFraction)) > 0 && !isZero(limits.MaxPositionFraction) {
		r.remark(fieldRisk, "%q at a stop of %q asks for more of the equity than %s %q, which always cuts it, so it never binds; lower it, or raise the stop", r.settings.RiskFraction, r.settings.StopFraction, r.where(fieldMaxPosition), limits.MaxPositionFraction)
	}
	if r.balance != nil && limits.MaxNotional != "" && ratOrZero(limits.MaxNotional).Cmp(r.balance) > 0 {
		r.remark(fieldMaxNotional, "%q is more than the whole account of %s, so it never binds; lower it, or remove it", limits.MaxNotional, decimalText(r.balance))
	}
	if limits.MaxNetNotional != "" && limits.MaxGrossNotional != "" && notAbove(limits.MaxGrossNotional, limits.MaxNetNotional) {
		r.remark(fieldMaxNet, "%q is not below %s %q, which is reached first, so it never binds; lower it, or remove it", limits.MaxNetNotional, r.where(fieldMaxGross), limits.MaxGrossNotional)
	}
	if r.settings.Direction != DirectionLongOnly {
		return
	}
	if notAbove("1", limits.MaxPositionFraction) {
		r.remark(fieldMaxPosition, "%q is all of the equity, and an agent that only buys cannot hold more, so it never binds; lower it, or remove it", limits.MaxPositionFraction)
	}
	if notAbove("1", r.settings.StopFraction) {
		r.remark(fieldStop, "%q closes a position only below the price zero, so it never binds; lower it", r.settings.StopFraction)
	}
}

// sizeFraction is the share of the equity that a full order is worth, by what it
// may lose at its stop alone.
func (r *riskReview) sizeFraction() *big.Rat {
	stop := ratOrZero(r.settings.StopFraction)
	if stop.Sign() <= 0 {
		return new(big.Rat)
	}
	return new(big.Rat).Quo(ratOrZero(r.settings.RiskFraction), stop)
}

// smallestOrder is the least that an order in the pair can be worth: its
// minimum, or one lot at the smallest price that there is.
func smallestOrder(pair *AssetPair) (value *big.Rat, words string) {
	lot := new(big.Rat).Mul(ratOrZero(pair.Spec.LotSize), ratOrZero(pair.Spec.TickSize))
	if least := ratOrZero(pair.Spec.MinNotional); least.Cmp(lot) >= 0 {
		return least, fmt.Sprintf("the minNotional %q of AssetPair %q", pair.Spec.MinNotional, pair.Name)
	}
	return lot, fmt.Sprintf("one lot of AssetPair %q at the smallest price (%s)", pair.Name, decimalText(lot))
}

// isZero reports whether a decimal is zero; one that cannot be read is judged
// elsewhere.
func isZero(fraction Fraction) bool {
	value, err := Rat(fraction)
	return err == nil && value.Sign() == 0
}

// decimalText is a value without trailing zeros, rounded to what a manifest can
// hold.
func decimalText(value *big.Rat) string {
	text := value.FloatString(fractionDigits)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
