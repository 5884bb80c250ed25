package trader

import (
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

type manifests struct {
	agent   *v1alpha1.TradingAgent
	policy  *v1alpha1.RiskPolicy
	account *v1alpha1.TradingAccount
	pairs   []v1alpha1.AssetPair
}

func written() manifests {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "desk", Name: name, Generation: 4}
	}
	notional := v1alpha1.PositiveDecimal("1000.5")
	m := manifests{
		agent:   &v1alpha1.TradingAgent{ObjectMeta: meta("eur-trend")},
		policy:  &v1alpha1.RiskPolicy{ObjectMeta: meta("careful")},
		account: &v1alpha1.TradingAccount{ObjectMeta: meta("paper")},
		pairs:   []v1alpha1.AssetPair{{ObjectMeta: meta("eur-usd"), Spec: v1alpha1.AssetPairSpec{Base: "EUR", Quote: "USD", TickSize: "0.00001", LotSize: "1"}}},
	}
	m.agent.UID, m.account.UID = "agent-uid", "account-uid"
	m.agent.Spec = v1alpha1.TradingAgentSpec{Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled, RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"}}
	m.policy.Spec.Currency, m.policy.Spec.Order.MaxNotional = "USD", notional
	m.account.Spec = v1alpha1.TradingAccountSpec{Venue: v1alpha1.VenuePaper, Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"}}
	return m
}

func (m manifests) config() (Config, error) {
	return NewConfig(m.agent, m.policy, m.account, m.pairs, "pod-uid")
}

// What nobody wrote down is the desk's old defaults.
func TestConfigOfLeanManifests(t *testing.T) {
	m := written()
	config, err := m.config()
	if err != nil {
		t.Fatal(err)
	}
	if config.Interval != 5*time.Minute || config.MinConfidence != 700_000_000 || config.LongShort || config.Risk != 10_000_000 || config.Stop != 20_000_000 || config.Target != 0 {
		t.Errorf("%+v", config)
	}
	want := risk.Limits{
		MaxOrderNotional: 1000*market.MoneyUnit + market.MoneyUnit/2, PriceCollar: 20_000_000, MaxPerSecond: 5, MaxPositionFraction: 250_000_000, MaxPositions: 2,
		MaxTradesPerDay: 5, MaxDrawdown: 150_000_000, MaxDailyLoss: risk.Unlimited, MaxDataAge: 90 * time.Minute,
		MaxGross: risk.Unlimited, MaxNet: risk.Unlimited, MaxLeverage: 5 * order.Whole, MaxCorrelatedPositions: 2, Correlation: 700_000_000,
		MaxValueAtRisk: 50_000_000, MaxVolatility: 50_000_000, VolatileConfidence: 800_000_000, MaxConsecutiveLosses: risk.Unlimited,
		MaxAutomaticExits: risk.Unlimited, AutomaticExitWindow: 24 * time.Hour, MaxFrozenBars: risk.Unlimited, MaxMissingBars: risk.Unlimited,
	}
	if config.Settings.Limits != want || config.Settings.Trading != risk.Enabled || config.Settings.Generation != 4 {
		t.Errorf("settings %+v\nwant limits %+v", config.Settings, want)
	}
	agent := config.Agent
	if agent.UID != "agent-uid" || agent.Account != "account-uid" || agent.Venue != "Paper" || agent.Balance != balance || agent.Holder != "pod-uid" || agent.Instruments[0].Pair != "EUR-USD" {
		t.Errorf("%+v", agent)
	}
	if _, err := NewCore(config); err != nil {
		t.Error(err)
	}
	account, err := NewPaperAccount(config, m.account)
	if err != nil || account.TakerFee != 600_000 || account.MakerFee != 250_000 || account.Spread != 500_000 || account.Slippage != 1_000_000 ||
		account.PartialFill != 100_000_000 || account.Latency != 50*time.Millisecond || account.Seed != 1 || account.Balance != balance {
		t.Errorf("%+v, %v", account, err)
	}
}

func TestTradingOfManifests(t *testing.T) {
	for _, test := range []struct {
		agent, policy v1alpha1.TradingState
		missing       bool
		want          risk.TradingState
		reason, says  string
	}{
		{v1alpha1.TradingEnabled, "", false, risk.Enabled, "", ""},
		{v1alpha1.TradingReduceOnly, v1alpha1.TradingEnabled, false, risk.Reducing, ReasonReduceOnly, "spec.trading of the agent"},
		{v1alpha1.TradingEnabled, v1alpha1.TradingReduceOnly, false, risk.Reducing, ReasonReduceOnly, "RiskPolicy careful"},
		{v1alpha1.TradingHalted, v1alpha1.TradingReduceOnly, false, risk.Halted, ReasonHalted, "spec.trading of the agent"},
		{v1alpha1.TradingReduceOnly, v1alpha1.TradingHalted, false, risk.Halted, ReasonHalted, "RiskPolicy careful"},
		{v1alpha1.TradingEnabled, "", true, risk.Reducing, v1alpha1.ReasonPolicyMissing, "careful"},
		{v1alpha1.TradingHalted, "", true, risk.Halted, ReasonHalted, "spec.trading of the agent"},
		{"Paused", v1alpha1.TradingEnabled, false, risk.Halted, ReasonHalted, "spec.trading of the agent"},
	} {
		m := written()
		m.agent.Spec.Trading, m.policy.Spec.Trading = test.agent, test.policy
		if test.missing {
			m.policy = nil
		}
		settings, err := NewSettings(m.agent, m.policy, m.account, m.pairs)
		if err != nil || settings.Trading != test.want || settings.Reason != test.reason || !strings.Contains(settings.Message, test.says) {
			t.Errorf("agent %q, policy %q (missing %v): %+v, %v", test.agent, test.policy, test.missing, settings, err)
		}
	}
}

func TestTargetOfManifests(t *testing.T) {
	m := written()
	m.agent.Spec.Sizing = &v1alpha1.SizingSpec{TargetFraction: "0.05"}
	if config, err := m.config(); err != nil || config.Target != 50_000_000 {
		t.Errorf("%d, %v", config.Target, err)
	}
}

// An agent's books begin with its share of the account, wherever that is.
func TestShareOfAnAccount(t *testing.T) {
	share := v1alpha1.AccountShare{Currency: "USD", Balance: "250.5"}
	for _, spec := range []v1alpha1.TradingAccountSpec{
		{Venue: v1alpha1.VenueCoinbase, Coinbase: &v1alpha1.CoinbaseAccountSpec{AccountShare: share}},
		{Venue: v1alpha1.VenueAlpaca, Alpaca: &v1alpha1.AlpacaAccountSpec{AccountShare: share}},
		{Venue: v1alpha1.VenueKraken, Kraken: &v1alpha1.KrakenAccountSpec{AccountShare: share}},
		{Venue: v1alpha1.VenueGemini, Gemini: &v1alpha1.GeminiAccountSpec{AccountShare: share}},
		{Venue: v1alpha1.VenuePaper, Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "250.5"}},
	} {
		m := written()
		m.account.Spec = spec
		config, err := m.config()
		if err != nil || config.Agent.Balance.String() != "250.5" || config.Agent.Currency != "USD" || config.Agent.Venue != string(spec.Venue) {
			t.Errorf("%s: %+v, %v", spec.Venue, config.Agent, err)
		}
	}
}

func TestManifestsThatCannotBe(t *testing.T) {
	for says, change := range map[string]func(*manifests){
		"spec.coinbase is missing": func(m *manifests) { m.account.Spec = v1alpha1.TradingAccountSpec{Venue: v1alpha1.VenueCoinbase} },
		"spec.kraken.balance": func(m *manifests) {
			m.account.Spec = v1alpha1.TradingAccountSpec{Venue: v1alpha1.VenueKraken, Kraken: &v1alpha1.KrakenAccountSpec{AccountShare: v1alpha1.AccountShare{Currency: "USD"}}}
		},
		"spec.paper is missing":    func(m *manifests) { m.account.Spec.Paper = nil },
		"spec.paper.balance":       func(m *manifests) { m.account.Spec.Paper.Balance = "1e4" },
		"spec.tickSize":            func(m *manifests) { m.pairs[0].Spec.TickSize = "one" },
		"spec.lotSize":             func(m *manifests) { m.pairs[0].Spec.LotSize = "" },
		"spec.minNotional":         func(m *manifests) { m.pairs[0].Spec.MinNotional = "NaN" },
		"limits.order.maxNotional": func(m *manifests) { m.policy.Spec.Order.MaxNotional = "a thousand" },
		"spec.decision.debate": func(m *manifests) {
			m.agent.Spec.Decision = &v1alpha1.DecisionSpec{Debate: &v1alpha1.DebateSpec{Judge: &v1alpha1.JudgeSpec{Model: "builtin/coin"}}}
		},
		"sizing.targetFraction":          func(m *manifests) { m.agent.Spec.Sizing = &v1alpha1.SizingSpec{TargetFraction: "1.5"} },
		"sizing.riskFraction":            func(m *manifests) { m.agent.Spec.Sizing = &v1alpha1.SizingSpec{RiskFraction: "1.5"} },
		"decision.minConfidenceFraction": func(m *manifests) { m.agent.Spec.Decision = &v1alpha1.DecisionSpec{MinConfidenceFraction: "-0.1"} },
	} {
		m := written()
		change(&m)
		if _, err := m.config(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestWarmUp(t *testing.T) {
	for _, test := range []struct {
		interval, bar time.Duration
		resumed       bool
		want          int
	}{
		{5 * time.Minute, time.Hour, false, 35}, {5 * time.Minute, time.Minute, false, 175}, {time.Minute, 0, false, 35},
		{5 * time.Minute, time.Hour, true, 1020}, {5 * time.Minute, time.Minute, true, 5100}, {90 * time.Second, time.Minute, false, 70},
	} {
		if got := WarmUpBars(test.interval, test.bar, test.resumed); got != test.want {
			t.Errorf("%s of %s bars, resumed %v: %d; want %d", test.interval, test.bar, test.resumed, got, test.want)
		}
	}
}

// What is reported fits the patterns of the schema.
func TestStatusAsTheAPIShowsIt(t *testing.T) {
	m := written()
	config, err := m.config()
	if err != nil {
		t.Fatal(err)
	}
	status := Status{
		Epoch: 2, ReconciledEpoch: 2, Generation: 4, State: risk.Enabled, Reason: ReasonTrading, Loop: Idle, Currency: "USD", EquityKnown: true,
		Equity: 9_876*market.MoneyUnit + 1, PNL: -124*market.MoneyUnit + 1, Peak: 10_100 * market.MoneyUnit, Decisions: 9, Fills: 3, OpenOrders: 1,
		Positions: []PositionStatus{
			{Instrument: config.Agent.Instruments[0], Position: ledger.Position{Quantity: -300, Cost: -33_333_333_333}, LastPrice: 111_000},
		},
		LastDecision: &ledger.Decision{Pair: "EUR-USD", BarEnd: start, Action: "Buy", ConfidenceMicros: 712_345, Outcome: OutcomeOrdered},
		Data:         strings.Repeat("ü", 600), LastBarTime: start, Message: strings.Repeat("x", 2000),
	}
	got := status.API("pod-uid")
	decimal := regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$`)
	share := regexp.MustCompile(`^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$`)
	position := got.Positions[0]
	for _, text := range []string{string(got.Equity), string(got.PNL), string(position.Quantity), string(position.AveragePrice), string(position.LastPrice)} {
		if !decimal.MatchString(text) {
			t.Errorf("%q is no decimal", text)
		}
	}
	if got.Equity != "9876.00000001" || got.PNL != "-123.99999999" || position.Quantity != "-300" || position.LastPrice != "1.11" || position.AveragePrice != "1.111111111" {
		t.Errorf("%+v", got)
	}
	if !share.MatchString(string(got.DrawdownFraction)) || got.DrawdownFraction != "0.022178" || got.LastDecision.ConfidenceFraction != "0.712345" {
		t.Errorf("drawdown %q, confidence %q", got.DrawdownFraction, got.LastDecision.ConfidenceFraction)
	}
	if len(got.Data.Source) > longestSource || len(got.Message) > longestMessage || !strings.HasSuffix(got.Message, "…") || strings.ContainsRune(got.Data.Source, '\uFFFD') {
		t.Errorf("lengths %d and %d", len(got.Data.Source), len(got.Message))
	}
	if got.State != v1alpha1.TradingEnabled || got.Reason != "Trading" || got.PodUID != "pod-uid" || got.ObservedGeneration != 4 || got.OpenOrders != 1 {
		t.Errorf("%+v", got)
	}
	status.EquityKnown, status.State = false, risk.Halted
	if got := status.API("pod-uid"); got.Equity != "" || got.State != v1alpha1.TradingHalted {
		t.Errorf("%+v", got)
	}
	if none := (&Status{Equity: -1, Peak: 1, EquityKnown: true}).drawdown(); none.String() != "1" {
		t.Errorf("a drawdown of %s", none)
	}
}

// Every reason word of the core is explained to users somewhere.
func TestReasonsAreExplained(t *testing.T) {
	known := map[string]bool{}
	for _, reason := range v1alpha1.Reasons() {
		known[reason.Word] = true
	}
	for _, word := range []string{ReasonTrading, ReasonReduceOnly, ReasonHalted, ReasonRecovering, ReasonFenced, ReasonLedgerUnavailable, ReasonVenueUnreachable,
		ReasonPositionMismatch, ReasonReplayFinished, ReasonDataUnavailable, ReasonFlattening, ReasonFlat, ReasonStopped} {
		if !known[word] {
			t.Errorf("the API does not explain %s", word)
		}
	}
}
