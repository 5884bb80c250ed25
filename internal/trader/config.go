package trader

import (
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// NewConfig is what the manifests of an agent come to. The policy may be
// missing; the agent then only reduces. Holder identifies the process.
func NewConfig(agent *v1alpha1.TradingAgent, policy *v1alpha1.RiskPolicy, account *v1alpha1.TradingAccount, pairs []v1alpha1.AssetPair, holder string) (Config, error) {
	resolved, _ := v1alpha1.Resolve(agent, policy)
	settings, err := NewSettings(agent, policy, account, pairs)
	if err != nil {
		return Config{}, err
	}
	part, share := "spec."+strings.ToLower(string(account.Spec.Venue)), account.Share()
	if share == nil {
		return Config{}, fmt.Errorf("account %s: %s is missing", account.Name, part)
	}
	balance, err := amountOf(share.Balance)
	if err != nil {
		return Config{}, fmt.Errorf("account %s: %s.balance: %w", account.Name, part, err)
	}
	config := Config{
		Agent: ledger.Agent{
			UID: identity(agent), Namespace: agent.Namespace, Name: agent.Name, Account: identity(account),
			Venue: string(account.Spec.Venue), Currency: string(share.Currency), Balance: balance, Holder: holder,
		},
		Interval:  time.Duration(resolved.IntervalSeconds) * time.Second,
		LongShort: resolved.Direction == v1alpha1.DirectionLongShort,
		Recorded:  agent.Spec.MarketData.Source == v1alpha1.DataSourceReplay,
		Settings:  settings,
	}
	for i := range pairs {
		instrument, err := newInstrument(&pairs[i])
		if err != nil {
			return Config{}, err
		}
		config.Agent.Instruments = append(config.Agent.Instruments, instrument)
	}
	config.Debate, err = decision.NewDebate(resolved.BullModel, resolved.BearModel, resolved.JudgeModel)
	if err != nil {
		return Config{}, fmt.Errorf("agent %s: spec.decision.debate: %w", agent.Name, err)
	}
	wanted := []fraction{
		{"decision.minConfidenceFraction", resolved.MinConfidenceFraction, &config.MinConfidence},
		{"sizing.riskFraction", resolved.RiskFraction, &config.Risk},
		{"sizing.stopFraction", resolved.StopFraction, &config.Stop},
	}
	if resolved.TargetFraction != "" {
		wanted = append(wanted, fraction{"sizing.targetFraction", resolved.TargetFraction, &config.Target})
	}
	return config, fractions(wanted...)
}

// tradingOf is how far the manifests let the agent trade, and which of them
// says so.
func tradingOf(agent *v1alpha1.TradingAgent, policy *v1alpha1.RiskPolicy, resolved v1alpha1.TradingState) (risk.TradingState, string, string) {
	said := "spec.trading of the agent"
	if v1alpha1.Strictest(agent.Spec.Trading) != resolved {
		said = "spec.trading of RiskPolicy " + agent.Spec.RiskPolicyRef.Name
	}
	switch {
	case resolved == v1alpha1.TradingEnabled:
		return risk.Enabled, "", ""
	case resolved == v1alpha1.TradingReduceOnly && policy == nil:
		return risk.Reducing, v1alpha1.ReasonPolicyMissing, fmt.Sprintf("RiskPolicy %q does not exist; only reducing orders pass", agent.Spec.RiskPolicyRef.Name)
	case resolved == v1alpha1.TradingReduceOnly:
		return risk.Reducing, ReasonReduceOnly, said + " is ReduceOnly"
	}
	return risk.Halted, ReasonHalted, said + " is Halted"
}

// NewPaperAccount is the paper venue's part of the manifests.
func NewPaperAccount(config Config, account *v1alpha1.TradingAccount) (paper.Config, error) {
	if account.Spec.Paper == nil {
		return paper.Config{}, fmt.Errorf("account %s: spec.paper is missing", account.Name)
	}
	resolved := account.Spec.Paper.Resolve()
	venue := paper.Config{
		Account: config.Agent.Account, Currency: config.Agent.Currency, Balance: config.Agent.Balance,
		Latency: time.Duration(resolved.LatencyMilliseconds) * time.Millisecond, Seed: resolved.Seed,
		Instruments: config.Agent.Instruments,
	}
	return venue, fractions(
		fraction{"paper.takerFeeFraction", resolved.TakerFeeFraction, &venue.TakerFee},
		fraction{"paper.makerFeeFraction", resolved.MakerFeeFraction, &venue.MakerFee},
		fraction{"paper.spreadFraction", resolved.SpreadFraction, &venue.Spread},
		fraction{"paper.slippageFraction", resolved.SlippageFraction, &venue.Slippage},
		fraction{"paper.partialFillFraction", resolved.PartialFillFraction, &venue.PartialFill},
	)
}

// WarmUpBars is how many bars of the given length the feed's history should
// have. A new agent needs as many as its first decision does; a resumed one
// takes so many more that its indicators are what they would be without the
// restart.
func WarmUpBars(interval, barLength time.Duration, resumed bool) int {
	if resumed {
		const settled = 5
		return settled * decision.SlowFactor * indicator.Bars * decision.BarsPerFrame(interval, barLength)
	}
	return decision.BarsToBegin(interval, barLength)
}

// identity is the object's UID; an object from a file has none and is known by
// its name.
func identity(object metav1.Object) string {
	if uid := object.GetUID(); uid != "" {
		return string(uid)
	}
	return "file:" + object.GetNamespace() + "/" + object.GetName()
}

func newInstrument(pair *v1alpha1.AssetPair) (market.Instrument, error) {
	tick, err := decimalOf(pair.Spec.TickSize)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("pair %s: spec.tickSize: %w", pair.Name, err)
	}
	lot, err := decimalOf(pair.Spec.LotSize)
	if err != nil {
		return market.Instrument{}, fmt.Errorf("pair %s: spec.lotSize: %w", pair.Name, err)
	}
	least := decimal.Zero
	if pair.Spec.MinNotional != "" {
		if least, err = decimalOf(pair.Spec.MinNotional); err != nil {
			return market.Instrument{}, fmt.Errorf("pair %s: spec.minNotional: %w", pair.Name, err)
		}
	}
	return market.NewInstrument(string(pair.Spec.Base), string(pair.Spec.Quote), tick, lot, least)
}

// decimalOf reads what v1alpha1.Rat accepts, and nothing else.
func decimalOf[D ~string](text D) (decimal.Decimal, error) {
	if _, err := v1alpha1.Rat(text); err != nil {
		return decimal.Zero, err
	}
	return decimal.NewFromString(string(text))
}

func amountOf[D ~string](text D) (market.Money, error) {
	amount, err := decimalOf(text)
	if err != nil {
		return 0, err
	}
	return market.MoneyOf(amount)
}

type fraction struct {
	field string
	text  v1alpha1.Fraction
	into  *order.Fraction
}

func fractions(all ...fraction) error {
	for _, f := range all {
		value, err := v1alpha1.Rat(f.text)
		if err == nil {
			*f.into, err = order.FractionOf(value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.field, err)
		}
	}
	return nil
}
