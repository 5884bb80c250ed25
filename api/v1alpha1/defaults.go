package v1alpha1

import (
	"fmt"
	"strconv"
	"strings"
)

// Defaults of everything that a manifest may leave out. They are not in the
// schema, so that what GitOps tools applied and what the API server holds are
// the same; status.effective shows what is in force.
const (
	DefaultIntervalSeconds       int32    = 300
	DefaultMinConfidenceFraction Fraction = "0.70"
	DefaultDirection                      = DirectionLongOnly
	DefaultBullModel                      = "builtin/trend"
	DefaultBearModel                      = "builtin/reversion"
	DefaultJudgeModel                     = "builtin/quorum"
	DefaultRiskFraction          Fraction = "0.01"
	DefaultStopFraction          Fraction = "0.02"
	DefaultSpeed                 int32    = 1
	DefaultGranularitySeconds    int32    = 60
	DefaultDeletionPolicy                 = DeletionKeep
	DefaultRollback                       = RollbackAutomatic
	DefaultProgressDeadline      int32    = 300
	DefaultDrainDeadline         int32    = 600
	DefaultStaleAfterSeconds     int32    = 60
	DefaultOnLoss                         = LossContinue
	DefaultPriceCollarFraction   Fraction = "0.02"
	DefaultMaxPerSecond          int32    = 5
	DefaultMaxDrawdownFraction   Fraction = "0.15"
	DefaultMaxTradesPerDay       int32    = 5
	DefaultMaxPositions          int32    = 2
	DefaultMaxPositionFraction   Fraction = "0.25"
	DefaultMaxAgeSeconds         int32    = 5400

	DefaultMaxLeverage                PositiveDecimal = "5"
	DefaultMaxCorrelatedPositions     int32           = 2
	DefaultCorrelationFraction        Fraction        = "0.7"
	DefaultMaxValueAtRiskFraction     Fraction        = "0.05"
	DefaultMaxVolatilityFraction      Fraction        = "0.05"
	DefaultVolatileConfidenceFraction Fraction        = "0.80"
	DefaultAutomaticExitWindow        int32           = 86400

	DefaultTakerFeeFraction    Fraction = "0.0006"
	DefaultMakerFeeFraction    Fraction = "0.00025"
	DefaultSpreadFraction      Fraction = "0.0005"
	DefaultSlippageFraction    Fraction = "0.001"
	DefaultPartialFillFraction Fraction = "0.10"
	DefaultLatencyMilliseconds int32    = 50
	DefaultSeed                int64    = 1
)

// Settings is what an agent and its policy come to: every default filled in,
// every limit the strictest of the two.
type Settings struct {
	Trading               TradingState
	IntervalSeconds       int32
	MinConfidenceFraction Fraction
	Direction             Direction
	BullModel             string
	BearModel             string
	JudgeModel            string
	RiskFraction          Fraction
	StopFraction          Fraction
	Speed                 int32
	GranularitySeconds    int32
	DeletionPolicy        DeletionPolicy
	Rollback              RollbackPolicy
	// ProgressDeadlineSeconds and DrainDeadlineSeconds bound a roll-out and a
	// node's drain.
	ProgressDeadlineSeconds int32
	DrainDeadlineSeconds    int32
	// StaleAfterSeconds is for how long the API server may not answer before OnLoss
	// is done.
	StaleAfterSeconds int32
	OnLoss            ControlLoss
	// TargetFraction is empty where a position has no target.
	TargetFraction Fraction
	Limits         EffectiveLimits
}

// Resolve is the one place where defaults live. It returns what is in force for
// the agent under the policy, and the same as a list that names the source of
// each value. A nil policy resolves to ReduceOnly, because a missing policy must
// deny.
func Resolve(agent *TradingAgent, policy *RiskPolicy) (Settings, []EffectiveValue) {
	spec := &agent.Spec
	r := &resolver{}
	decision, debate, sizing := orEmpty(spec.Decision), &DebateSpec{}, orEmpty(spec.Sizing)
	if decision.Debate != nil {
		debate = decision.Debate
	}
	settings := Settings{
		Trading:                 r.trading(spec.Trading, policy),
		IntervalSeconds:         r.integer("decision.intervalSeconds", decision.IntervalSeconds, DefaultIntervalSeconds),
		MinConfidenceFraction:   Fraction(r.text("decision.minConfidenceFraction", string(decision.MinConfidenceFraction), string(DefaultMinConfidenceFraction))),
		Direction:               Direction(r.text("decision.direction", string(decision.Direction), string(DefaultDirection))),
		BullModel:               r.text("decision.debate.bull.model", orEmpty(debate.Bull).Model, DefaultBullModel),
		BearModel:               r.text("decision.debate.bear.model", orEmpty(debate.Bear).Model, DefaultBearModel),
		JudgeModel:              r.text("decision.debate.judge.model", orEmpty(debate.Judge).Model, DefaultJudgeModel),
		RiskFraction:            Fraction(r.text("sizing.riskFraction", string(sizing.RiskFraction), string(DefaultRiskFraction))),
		StopFraction:            Fraction(r.text("sizing.stopFraction", string(sizing.StopFraction), string(DefaultStopFraction))),
		DeletionPolicy:          DeletionPolicy(r.text("deletionPolicy", string(spec.DeletionPolicy), string(DefaultDeletionPolicy))),
		Rollback:                RollbackPolicy(r.text("rollback", string(spec.Rollback), string(DefaultRollback))),
		ProgressDeadlineSeconds: r.integer("progressDeadlineSeconds", spec.ProgressDeadlineSeconds, DefaultProgressDeadline),
		DrainDeadlineSeconds:    r.integer("drainDeadlineSeconds", spec.DrainDeadlineSeconds, DefaultDrainDeadline),
		StaleAfterSeconds:       r.integer("controlPlane.staleAfterSeconds", orEmpty(spec.ControlPlane).StaleAfterSeconds, DefaultStaleAfterSeconds),
		OnLoss:                  ControlLoss(r.text("controlPlane.onLoss", string(orEmpty(spec.ControlPlane).OnLoss), string(DefaultOnLoss))),
		TargetFraction:          Fraction(r.text("sizing.targetFraction", string(sizing.TargetFraction), "")),
	}
	if spec.MarketData.Replay != nil {
		settings.Speed = r.integer("marketData.replay.speed", spec.MarketData.Replay.Speed, DefaultSpeed)
	}
	if spec.MarketData.Source == DataSourceCoinbase {
		settings.GranularitySeconds = r.integer("marketData.coinbase.granularitySeconds", orEmpty(spec.MarketData.Coinbase).GranularitySeconds, DefaultGranularitySeconds)
	}
	settings.Limits = r.limits(spec.Limits, policy)
	if policy != nil {
		r.note("total.maxGrossNotional", string(orEmpty(policy.Spec.Total).MaxGrossNotional), SourceRiskPolicy)
		r.note("restrictedPairs", listed(policy.Spec.RestrictedPairs), SourceRiskPolicy)
	}
	return settings, r.values
}

// listed names the first few.
func listed(names []string) string {
	const most = 7
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// ResolveAccount lists what the TradingAccount decides for an agent that trades
// on it.
func ResolveAccount(account *TradingAccount) []EffectiveValue {
	r := &resolver{}
	r.note("account.total.maxGrossNotional", string(orEmpty(account.Spec.Total).MaxGrossNotional), SourceTradingAccount)
	return r.values
}

// ResolvePairs lists what the AssetPairs decide for an agent that trades them, in
// their order, under their canonical spelling. Nil stands for a pair that does not
// exist.
func ResolvePairs(pairs []*AssetPair) []EffectiveValue {
	r := &resolver{}
	for _, pair := range pairs {
		if pair == nil {
			continue
		}
		name := "pairs[" + pair.Canonical() + "]."
		r.note(name+"tickSize", string(pair.Spec.TickSize), SourceAssetPair)
		r.note(name+"lotSize", string(pair.Spec.LotSize), SourceAssetPair)
		r.note(name+"minNotional", string(pair.Spec.MinNotional), SourceAssetPair)
		r.note(name+"minQuantity", string(pair.Spec.MinQuantity), SourceAssetPair)
		r.note(name+"maxQuantity", string(pair.Spec.MaxQuantity), SourceAssetPair)
		if session := pair.Spec.Session; session != nil {
			r.note(name+"session", session.String(), SourceAssetPair)
		}
	}
	return r.values
}

// resolver collects the resolved values in the order in which they are asked for.
type resolver struct {
	values []EffectiveValue
}

func (r *resolver) note(field, value string, source ValueSource) {
	if value != "" {
		r.values = append(r.values, EffectiveValue{Field: field, Value: value, Source: source})
	}
}

func (r *resolver) text(field, own, fallback string) string {
	if own != "" {
		r.note(field, own, SourceSpec)
		return own
	}
	// note passes over what is nowhere set.
	r.note(field, fallback, SourceDefault)
	return fallback
}

func (r *resolver) integer(field string, own, fallback int32) int32 {
	value, source := fallback, SourceDefault
	if own != 0 {
		value, source = own, SourceSpec
	}
	r.note(field, strconv.Itoa(int(value)), source)
	return value
}

func (r *resolver) trading(own TradingState, policy *RiskPolicy) TradingState {
	fromPolicy := TradingReduceOnly
	if policy != nil {
		fromPolicy = policy.Spec.Trading
	}
	state := Strictest(own, fromPolicy)
	source := SourceSpec
	if state != Strictest(own) {
		source = SourceRiskPolicy
	}
	r.note("trading", string(state), source)
	return state
}

// PaperSettings is a paper account with every default filled in.
type PaperSettings struct {
	Currency            Currency
	Balance             PositiveDecimal
	TakerFeeFraction    Fraction
	MakerFeeFraction    Fraction
	SpreadFraction      Fraction
	SlippageFraction    Fraction
	PartialFillFraction Fraction
	LatencyMilliseconds int32
	Seed                int64
}

// Resolve fills in the defaults of a paper account.
func (p *PaperAccountSpec) Resolve() PaperSettings {
	return PaperSettings{
		Currency:            p.Currency,
		Balance:             p.Balance,
		TakerFeeFraction:    orDefault(p.TakerFeeFraction, DefaultTakerFeeFraction),
		MakerFeeFraction:    orDefault(p.MakerFeeFraction, DefaultMakerFeeFraction),
		SpreadFraction:      orDefault(p.SpreadFraction, DefaultSpreadFraction),
		SlippageFraction:    orDefault(p.SlippageFraction, DefaultSlippageFraction),
		PartialFillFraction: orDefault(p.PartialFillFraction, DefaultPartialFillFraction),
		LatencyMilliseconds: derefOr(p.LatencyMilliseconds, DefaultLatencyMilliseconds),
		Seed:                derefOr(p.Seed, DefaultSeed),
	}
}

func orEmpty[T any](value *T) *T {
	if value == nil {
		return new(T)
	}
	return value
}

// orDefault is the value, or the fallback where it is empty.
func orDefault(value, fallback Fraction) Fraction {
	if value == "" {
		return fallback
	}
	return value
}

func derefOr[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}
