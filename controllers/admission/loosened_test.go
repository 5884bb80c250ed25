package admission

import (
	"slices"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func limited() *v1alpha1.RiskPolicy {
	return &v1alpha1.RiskPolicy{Spec: v1alpha1.RiskPolicySpec{
		Trading: v1alpha1.TradingReduceOnly, Currency: "USD",
		Order: v1alpha1.OrderLimits{MaxNotional: "1000", PriceCollarFraction: "0.01", MaxPerSecond: 3},
		Agent: v1alpha1.AgentLimits{
			MaxDrawdownFraction: "0.2", MaxDailyLossFraction: "0.02", MaxTradesPerDay: new(int32(4)), MaxPositions: new(int32(1)), MaxPositionFraction: "0.2",
		},
		Data: &v1alpha1.DataLimits{MaxAgeSeconds: 600},
	}}
}

func TestLoosened(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*v1alpha1.RiskPolicySpec)
		want []string
	}{
		"nothing":                       {func(*v1alpha1.RiskPolicySpec) {}, nil},
		"halted":                        {func(s *v1alpha1.RiskPolicySpec) { s.Trading = v1alpha1.TradingHalted }, nil},
		"enabled":                       {func(s *v1alpha1.RiskPolicySpec) { s.Trading = v1alpha1.TradingEnabled }, []string{"spec.trading"}},
		"enabled by leaving it out":     {func(s *v1alpha1.RiskPolicySpec) { s.Trading = "" }, []string{"spec.trading"}},
		"the same number":               {func(s *v1alpha1.RiskPolicySpec) { s.Order.MaxNotional = "1000.0" }, nil},
		"lowered":                       {func(s *v1alpha1.RiskPolicySpec) { s.Order.MaxNotional = "999.9" }, nil},
		"raised":                        {func(s *v1alpha1.RiskPolicySpec) { s.Order.MaxNotional = "1000.1" }, []string{"spec.order.maxNotional"}},
		"removed, which has no default": {func(s *v1alpha1.RiskPolicySpec) { s.Order.MaxNotional, s.Agent.MaxDailyLossFraction = "", "" }, []string{"spec.order.maxNotional", "spec.agent.maxDailyLossFraction"}},
		"removed, the default is more":  {func(s *v1alpha1.RiskPolicySpec) { s.Order.PriceCollarFraction, s.Data = "", nil }, []string{"spec.order.priceCollarFraction", "spec.data.maxAgeSeconds"}},
		"removed, the default is less":  {func(s *v1alpha1.RiskPolicySpec) { s.Agent.MaxDrawdownFraction = "" }, nil},
		"counts": {func(s *v1alpha1.RiskPolicySpec) {
			s.Order.MaxPerSecond, s.Agent.MaxTradesPerDay, s.Agent.MaxPositions = 4, new(int32(5)), nil
		}, []string{"spec.order.maxPerSecond", "spec.agent.maxTradesPerDay", "spec.agent.maxPositions"}},
		"one raised, one lowered": {func(s *v1alpha1.RiskPolicySpec) {
			s.Agent.MaxPositionFraction, s.Agent.MaxDailyLossFraction = "0.3", "0.01"
		}, []string{"spec.agent.maxPositionFraction"}},
	} {
		t.Run(name, func(t *testing.T) {
			after := limited()
			c.edit(&after.Spec)
			if got := loosened(limited(), after); !slices.Equal(got, c.want) {
				t.Errorf("want %v, got %v", c.want, got)
			}
		})
	}
}

func TestHoldersAreNamedUpToTen(t *testing.T) {
	names := strings.Fields("l k j i h g f e d c b a")
	agents := make([]v1alpha1.TradingAgent, 0, 2*len(names))
	for _, name := range names {
		agent := v1alpha1.TradingAgent{}
		agent.Name = name
		agent.Status.Trading = &v1alpha1.TradingStatus{Positions: []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "1"}}}
		agents = append(agents, agent, v1alpha1.TradingAgent{})
	}
	if got := enumerate(holding(agents)); got != "a, b, c, d, e, f, g, h, i, j and 2 more" {
		t.Error(got)
	}
	if got := enumerate(holding(agents[:4])); got != "k, l" {
		t.Error(got)
	}
}
