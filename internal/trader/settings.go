package trader

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// Settings are what may change without a restart.
type Settings struct {
	Limits risk.Limits
	// Pairs are the settings of the pairs; one that is not listed is traded at
	// any time and in any quantity.
	Pairs []PairSettings
	// PolicyTotal and AccountTotal bind the agents of the policy and of the
	// account together; nil binds nothing.
	PolicyTotal, AccountTotal *Total
	// Trading that manifests allow; Reason and Message say why if it is not
	// Enabled.
	Trading         risk.TradingState
	Reason, Message string
	// Halts that bind the agent or one of its pairs, beside what Trading says.
	Halts []Halt
	// Generation of the spec that they come from.
	Generation int64
}

// forbids reports whether an order must not leave under these settings, whatever
// else is known of it; deleting is nil unless the agent is to end. It says what
// permittedIn does, but for what only the core knows.
func (s *Settings) forbids(intent *order.Intent, deleting *Deleting) bool {
	halted := restrain(s.Halts, func(h *Halt) bool { return h.binds(intent.Pair) })
	trading := min(s.Trading, halted.state)
	if halted.task == FlattenPositions && intent.Reason == OrderFlatten {
		trading = risk.Reducing
	}
	switch {
	case deleting == nil:
	case deleting.Flatten:
		trading = min(trading, risk.Reducing)
	default:
		trading = risk.Halted
	}
	return trading == risk.Halted || (trading == risk.Reducing && !intent.ReduceOnly)
}

// CancelsAll reports whether no order of a pair may stay open under these settings,
// whatever is known of it.
func (s *Settings) CancelsAll(pair string) bool {
	halted := restrain(s.Halts, func(h *Halt) bool { return h.binds(pair) })
	return s.Trading == risk.Halted || (halted.state == risk.Halted && halted.task != KeepOrders)
}

// Total is the largest value of all positions of several agents together.
type Total struct {
	// Scope names it in the ledger.
	Scope    string
	MaxGross market.Money
}

// PairSettings are what may change of one pair.
type PairSettings struct {
	// Pair in canonical spelling.
	Pair string
	// Restricted says that the policy lets nothing be opened in it.
	Restricted bool
	Session    market.Session
	// MinQuantity and MaxQuantity of one order; zero is none.
	MinQuantity, MaxQuantity market.Quantity
}

// NewSettings is the part of the manifests that may change while the agent runs.
// Policy and account may be missing. What can be understood is returned even with
// an error: the caller then lets the agent only reduce.
func NewSettings(agent *v1alpha1.TradingAgent, policy *v1alpha1.RiskPolicy, account *v1alpha1.TradingAccount, pairs []v1alpha1.AssetPair) (Settings, error) {
	resolved, _ := v1alpha1.Resolve(agent, policy)
	settings := Settings{Generation: agent.Generation}
	settings.Trading, settings.Reason, settings.Message = tradingOf(agent, policy, resolved.Trading)
	var err error
	if settings.Limits, err = newLimits(&resolved.Limits); err != nil {
		return settings, err
	}
	if policy != nil {
		// What costs money and what does not are summed apart.
		scope := "policy/" + identity(policy) + "/" + string(agent.Spec.Mode)
		if settings.PolicyTotal, err = newTotal(scope, policy.Spec.Total); err != nil {
			return settings, fmt.Errorf("RiskPolicy %s: %w", policy.Name, err)
		}
	}
	if account != nil {
		if settings.AccountTotal, err = newTotal("account/"+identity(account), account.Spec.Total); err != nil {
			return settings, fmt.Errorf("TradingAccount %s: %w", account.Name, err)
		}
	}
	for i := range pairs {
		pair, err := newPairSettings(&pairs[i], policy)
		if err != nil {
			return settings, fmt.Errorf("pair %s: %w", pairs[i].Name, err)
		}
		settings.Pairs = append(settings.Pairs, pair)
	}
	return settings, nil
}

// newLimits counts what the manifests say in the gate's units. What is not set
// does not bind, and neither does what cannot be read: the error says so.
func newLimits(limits *v1alpha1.EffectiveLimits) (risk.Limits, error) {
	counted := risk.NoLimits()
	var problems []error
	for _, a := range []struct {
		field string
		text  v1alpha1.PositiveDecimal
		into  *market.Money
	}{
		{"limits.order.maxNotional", limits.MaxNotional, &counted.MaxOrderNotional},
		{"limits.order.minNotional", limits.MinNotional, &counted.MinOrderNotional},
		{"limits.agent.maxGrossNotional", limits.MaxGrossNotional, &counted.MaxGross},
		{"limits.agent.maxNetNotional", limits.MaxNetNotional, &counted.MaxNet},
	} {
		if a.text == "" {
			continue
		}
		amount, err := amountOf(a.text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", a.field, err))
			continue
		}
		*a.into = amount
	}
	if limits.MaxLeverage != "" {
		times, err := timesOf(limits.MaxLeverage)
		if err != nil {
			problems = append(problems, fmt.Errorf("limits.agent.maxLeverage: %w", err))
		} else {
			counted.MaxLeverage = times
		}
	}
	seconds := func(value int32) time.Duration { return time.Duration(value) * time.Second }
	counted.MaxPerSecond = set(limits.MaxPerSecond)
	counted.DuplicateWindow = seconds(limits.DuplicateWindowSeconds)
	counted.MaxTradesPerDay = given(limits.MaxTradesPerDay)
	counted.MaxPositions = given(limits.MaxPositions)
	counted.MaxCorrelatedPositions = given(limits.MaxCorrelatedPositions)
	counted.MaxConsecutiveLosses = set(limits.MaxConsecutiveLosses)
	counted.StopCoolDown = seconds(limits.StopCoolDownSeconds)
	counted.MaxAutomaticExits = set(limits.MaxAutomaticExits)
	counted.AutomaticExitWindow = seconds(limits.AutomaticExitWindowSeconds)
	counted.MaxDataAge = seconds(limits.MaxAgeSeconds)
	counted.MaxFrozenBars = set(limits.MaxFrozenBars)
	counted.MaxMissingBars = given(limits.MaxMissingBars)
	for _, f := range []fraction{
		{"limits.order.priceCollarFraction", limits.PriceCollarFraction, &counted.PriceCollar},
		{"limits.agent.maxDrawdownFraction", limits.MaxDrawdownFraction, &counted.MaxDrawdown},
		{"limits.agent.maxDailyLossFraction", limits.MaxDailyLossFraction, &counted.MaxDailyLoss},
		{"limits.agent.maxPositionFraction", limits.MaxPositionFraction, &counted.MaxPositionFraction},
		{"limits.agent.correlationFraction", limits.CorrelationFraction, &counted.Correlation},
		{"limits.agent.maxValueAtRiskFraction", limits.MaxValueAtRiskFraction, &counted.MaxValueAtRisk},
		{"limits.agent.maxVolatilityFraction", limits.MaxVolatilityFraction, &counted.MaxVolatility},
		{"limits.agent.volatileConfidenceFraction", limits.VolatileConfidenceFraction, &counted.VolatileConfidence},
	} {
		if f.text == "" {
			continue
		}
		if err := fractions(f); err != nil {
			problems = append(problems, err)
		}
	}
	return counted, errors.Join(problems...)
}

func newTotal(scope string, limits *v1alpha1.TotalLimits) (*Total, error) {
	if limits == nil || limits.MaxGrossNotional == "" {
		return nil, nil
	}
	most, err := amountOf(limits.MaxGrossNotional)
	if err != nil {
		return nil, fmt.Errorf("spec.total.maxGrossNotional: %w", err)
	}
	return &Total{scope, most}, nil
}

// set is a count whose zero means that it is not set.
func set(value int32) int32 {
	if value == 0 {
		return risk.Unlimited
	}
	return value
}

// given is a count that may be zero.
func given(value *int32) int32 {
	if value == nil {
		return risk.Unlimited
	}
	return *value
}

// timesOf reads how many times of something; it may be more than one.
func timesOf(text v1alpha1.PositiveDecimal) (order.Fraction, error) {
	value, err := v1alpha1.Rat(text)
	if err != nil {
		return 0, err
	}
	scaled := new(big.Rat).Mul(value, new(big.Rat).SetInt64(int64(order.Whole)))
	if !scaled.IsInt() || !scaled.Num().IsInt64() {
		return 0, fmt.Errorf("%q has more than nine digits behind the point, or is too large", text)
	}
	return order.Fraction(scaled.Num().Int64()), nil
}

func newPairSettings(pair *v1alpha1.AssetPair, policy *v1alpha1.RiskPolicy) (PairSettings, error) {
	instrument, err := newInstrument(pair)
	if err != nil {
		return PairSettings{}, err
	}
	settings := PairSettings{Pair: instrument.Pair}
	if policy != nil {
		settings.Restricted = slices.ContainsFunc(policy.Spec.RestrictedPairs, func(name string) bool {
			normal, err := v1alpha1.NormalizePair(name)
			return err != nil || name == pair.Name || slices.Contains(pair.NormalNames(), normal)
		})
	}
	for _, q := range []struct {
		field string
		text  v1alpha1.PositiveDecimal
		into  *market.Quantity
	}{{"spec.minQuantity", pair.Spec.MinQuantity, &settings.MinQuantity}, {"spec.maxQuantity", pair.Spec.MaxQuantity, &settings.MaxQuantity}} {
		if q.text == "" {
			continue
		}
		quantity, err := decimalOf(q.text)
		if err == nil {
			*q.into, err = instrument.QuantityOf(quantity)
		}
		if q.into == &settings.MinQuantity && instrument.QuantityDecimal(*q.into).LessThan(quantity) {
			*q.into++
		}
		if err != nil {
			return PairSettings{}, fmt.Errorf("%s: %w", q.field, err)
		}
	}
	if pair.Spec.Session != nil {
		if settings.Session, err = newSession(pair.Spec.Session); err != nil {
			return PairSettings{}, fmt.Errorf("spec.session: %w", err)
		}
	}
	return settings, nil
}

func newSession(spec *v1alpha1.SessionSpec) (market.Session, error) {
	location, err := spec.Location()
	if err != nil {
		return market.Session{}, err
	}
	hours := make([]market.SessionHours, 0, len(spec.Hours))
	for _, h := range spec.Hours {
		day, err := h.Day.Number()
		if err != nil {
			return market.Session{}, err
		}
		open, err := v1alpha1.Clock(h.Open)
		if err != nil {
			return market.Session{}, err
		}
		closes, err := v1alpha1.Clock(h.Close)
		if err != nil {
			return market.Session{}, err
		}
		hours = append(hours, market.SessionHours{Day: day, Open: open, Close: closes})
	}
	return market.NewSession(location, hours), nil
}
