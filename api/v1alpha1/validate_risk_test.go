package v1alpha1

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bench is an agent with everything that its limits are held against.
type bench struct {
	agent   *TradingAgent
	policy  *RiskPolicy
	account *TradingAccount
	pairs   []*AssetPair
}

// sound is a bench on which nothing is to be found.
func sound() *bench {
	return &bench{
		agent: agentWith(nil),
		policy: &RiskPolicy{ObjectMeta: metav1.ObjectMeta{Name: "careful"}, Spec: RiskPolicySpec{
			Trading: TradingEnabled, Currency: "USD", Order: OrderLimits{MaxNotional: "2500"},
			Agent: AgentLimits{MaxDrawdownFraction: "0.15", MaxDailyLossFraction: "0.02", MaxTradesPerDay: new(int32(5))},
		}},
		account: &TradingAccount{Spec: TradingAccountSpec{Venue: VenuePaper, Paper: &PaperAccountSpec{Currency: "USD", Balance: "10000"}}},
		pairs: []*AssetPair{{ObjectMeta: metav1.ObjectMeta{Name: "eur-usd"}, Spec: AssetPairSpec{
			Base: "EUR", Quote: "USD", TickSize: "0.00001", LotSize: "1", MinNotional: "10",
		}}},
	}
}

func (b *bench) limits() *Limits {
	if b.agent.Spec.Limits == nil {
		b.agent.Spec.Limits = &Limits{Order: &OrderLimits{}, Agent: &AgentLimits{}, Data: &DataLimits{}}
	}
	return b.agent.Spec.Limits
}

func texts(findings []RiskFinding) []string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, f.Reason+" "+f.String())
	}
	return lines
}

// found fails unless the findings are exactly those that begin as wanted.
func found(t *testing.T, what string, findings []RiskFinding, wanted ...string) {
	t.Helper()
	lines := texts(findings)
	if len(lines) != len(wanted) {
		t.Fatalf("%s: got %d, want %d:\n%s", what, len(lines), len(wanted), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, wanted[i]) {
			t.Errorf("%s: got  %s\nwant %s…", what, line, wanted[i])
		}
	}
}

func TestValidateRiskObjects(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*bench)
		wanted []string
	}{
		{"nothing", func(*bench) {}, nil},
		{"order below the minimum", func(b *bench) { b.limits().Order.MaxNotional = "9.99" },
			[]string{`LimitNeverAllows spec.limits.order.maxNotional: "9.99" is below the minNotional "10" of AssetPair "eur-usd", so no order in EUR-USD could ever pass; raise it to at least 10`}},
		{"order as large as the minimum", func(b *bench) { b.limits().Order.MaxNotional = "10.00" }, nil},
		{"the policy's order below the minimum", func(b *bench) { b.policy.Spec.Order.MaxNotional = "5" },
			[]string{`LimitNeverAllows RiskPolicy "careful" spec.order.maxNotional: "5" is below`}},
		{"compared as numbers and not as text", func(b *bench) {
			b.policy.Spec.Order.MaxNotional, b.pairs[0].Spec.MinNotional = "900", "1000"
		}, []string{`LimitNeverAllows RiskPolicy "careful" spec.order.maxNotional: "900" is below`}},
		{"order below one lot", func(b *bench) {
			b.pairs[0].Spec.MinNotional, b.pairs[0].Spec.TickSize, b.pairs[0].Spec.LotSize = "", "0.5", "100"
			b.limits().Order.MaxNotional = "49"
		}, []string{`LimitNeverAllows spec.limits.order.maxNotional: "49" is below one lot of AssetPair "eur-usd" at the smallest price (50)`}},
		{"each pair that cannot be traded", func(b *bench) {
			second := b.pairs[0].DeepCopy()
			second.Name, second.Spec.Base, second.Spec.MinNotional = "btc-usd", "BTC", "20"
			b.pairs = append(b.pairs, second)
			b.limits().Order.MaxNotional = "15"
		}, []string{`LimitNeverAllows spec.limits.order.maxNotional: "15" is below the minNotional "20" of AssetPair "btc-usd", so no order in BTC-USD`}},
		{"position below the minimum", func(b *bench) { b.limits().Agent.MaxPositionFraction = "0.0009" },
			[]string{`LimitNeverAllows spec.limits.agent.maxPositionFraction: "0.0009" of the account's 10000 is 9 and below the minNotional "10"`}},
		{"position as large as the minimum", func(b *bench) { b.limits().Agent.MaxPositionFraction = "0.001" }, nil},
		{"a balance that is not known", func(b *bench) {
			b.limits().Agent.MaxPositionFraction, b.account.Spec = "0.0009", TradingAccountSpec{}
		}, nil},
		{"size below the minimum", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{RiskFraction: "0.00001"} },
			[]string{`LimitNeverAllows spec.sizing.riskFraction: "0.00001" at a stop of "0.02" makes orders of 5, which is below`}},
		{"no positions", func(b *bench) { b.limits().Agent.MaxPositions = new(int32(0)) },
			[]string{`LimitNeverAllows spec.limits.agent.maxPositions: 0 lets no position be opened; raise it, or to let an agent only close`}},
		{"no trades", func(b *bench) { b.policy.Spec.Agent.MaxTradesPerDay = new(int32(0)) },
			[]string{`LimitNeverAllows RiskPolicy "careful" spec.agent.maxTradesPerDay: 0 lets`}},
		{"no share of equity", func(b *bench) { b.limits().Agent.MaxPositionFraction = "0.000" },
			[]string{`LimitNeverAllows spec.limits.agent.maxPositionFraction: "0.000" lets`}},
		{"no distance to the price", func(b *bench) { b.limits().Order.PriceCollarFraction = "0" },
			[]string{`LimitNeverAllows spec.limits.order.priceCollarFraction: "0" lets no order be priced beyond`}},
		{"no risk", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{RiskFraction: "0"} },
			[]string{`LimitNeverAllows spec.sizing.riskFraction: "0" gives every order the size zero`}},
		{"stop above target", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{StopFraction: "0.1", TargetFraction: "0.05"} },
			[]string{`StopNotBelowTarget spec.sizing.stopFraction: the stop "0.1" is not below spec.sizing.targetFraction "0.05"`}},
		{"stop at target", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{StopFraction: "0.10", TargetFraction: "0.1"} },
			[]string{`StopNotBelowTarget spec.sizing.stopFraction`}},
		{"the default stop above target", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{TargetFraction: "0.01"} },
			[]string{`StopNotBelowTarget spec.sizing.stopFraction (not set): the stop "0.02"`}},
		{"stop below target", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{StopFraction: "0.05", TargetFraction: "0.1"} }, nil},
	} {
		b := sound()
		test.change(b)
		objections, _ := ValidateRisk(b.agent, b.policy, b.account, b.pairs)
		found(t, test.name, objections, test.wanted...)
	}
}

func TestValidateRiskRemarks(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*bench)
		wanted []string
	}{
		{"nothing", func(*bench) {}, nil},
		{"what nobody has set", func(b *bench) { b.policy.Spec.Agent, b.policy.Spec.Order = AgentLimits{}, OrderLimits{} }, nil},
		{"more positions than pairs", func(b *bench) { b.policy.Spec.Agent.MaxPositions = new(int32(2)) },
			[]string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxPositions: 2 is above the number of pairs that the agent trades (1)`}},
		{"as many positions as pairs", func(b *bench) { b.policy.Spec.Agent.MaxPositions = new(int32(1)) }, nil},
		{"daily loss beyond drawdown", func(b *bench) { b.limits().Agent.MaxDrawdownFraction = "0.02" },
			[]string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxDailyLossFraction: "0.02" is not below spec.limits.agent.maxDrawdownFraction "0.02"`}},
		{"daily loss beyond the default drawdown", func(b *bench) {
			b.policy.Spec.Agent.MaxDrawdownFraction, b.policy.Spec.Agent.MaxDailyLossFraction = "", "0.2"
		}, []string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxDailyLossFraction: "0.2" is not below spec.limits.agent.maxDrawdownFraction (not set) "0.15"`}},
		{"all may be lost", func(b *bench) {
			b.policy.Spec.Agent.MaxDrawdownFraction, b.policy.Spec.Agent.MaxDailyLossFraction = "1", "1.0"
		}, []string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxDrawdownFraction: "1" is all`, `LimitNeverBinds RiskPolicy "careful" spec.agent.maxDailyLossFraction: "1.0" is all`}},
		{"more trades than decisions", func(b *bench) { b.agent.Spec.Decision = &DecisionSpec{IntervalSeconds: 40_000} },
			[]string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxTradesPerDay: 5 is above the number of decisions that a day has (3,`}},
		{"as many trades as decisions", func(b *bench) { b.agent.Spec.Decision = &DecisionSpec{IntervalSeconds: 17_280} }, nil},
		{"size that is always cut", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{RiskFraction: "0.02"} },
			[]string{`LimitNeverBinds spec.sizing.riskFraction: "0.02" at a stop of "0.02" asks for more of the equity than spec.limits.agent.maxPositionFraction (not set) "0.25"`}},
		{"size that just fits", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{RiskFraction: "0.005"} }, nil},
		{"an order larger than the account", func(b *bench) { b.policy.Spec.Order.MaxNotional = "10000.01" },
			[]string{`LimitNeverBinds RiskPolicy "careful" spec.order.maxNotional: "10000.01" is more than the whole account of 10000`}},
		{"a position of all the equity", func(b *bench) { b.policy.Spec.Agent.MaxPositionFraction = "1.0" },
			[]string{`LimitNeverBinds RiskPolicy "careful" spec.agent.maxPositionFraction: "1.0" is all`}},
		{"which a short position can pass", func(b *bench) {
			b.policy.Spec.Agent.MaxPositionFraction = "1.0"
			b.agent.Spec.Decision = &DecisionSpec{Direction: DirectionLongShort}
		}, nil},
		{"a stop at nothing", func(b *bench) { b.agent.Spec.Sizing = &SizingSpec{StopFraction: "1"} },
			[]string{`LimitNeverBinds spec.sizing.stopFraction: "1" closes a position only below the price zero`}},
	} {
		b := sound()
		test.change(b)
		objections, remarks := ValidateRisk(b.agent, b.policy, b.account, b.pairs)
		found(t, test.name+", objections", objections)
		found(t, test.name, remarks, test.wanted...)
	}
}

func TestRiskPolicyRemarks(t *testing.T) {
	policy := sound().policy
	found(t, "a sound policy", RiskPolicyRemarks(policy))
	policy.Spec.Agent.MaxPositions, policy.Spec.Agent.MaxDailyLossFraction = new(int32(0)), "0.15"
	found(t, "a policy that freezes", RiskPolicyRemarks(policy),
		`LimitNeverAllows spec.agent.maxPositions: 0 lets`, `LimitNeverBinds spec.agent.maxDailyLossFraction: "0.15" is not below spec.agent.maxDrawdownFraction "0.15"`)
}
