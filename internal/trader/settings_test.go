package trader

import (
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// Every limit of the manifests reaches the gate, in the gate's units.
func TestEveryLimitReachesTheGate(t *testing.T) {
	m := written()
	m.policy.Spec.Order = v1alpha1.OrderLimits{MaxNotional: "11", MinNotional: "1.5", PriceCollarFraction: "0.01", MaxPerSecond: 7, DuplicateWindowSeconds: 12}
	m.policy.Spec.Agent = v1alpha1.AgentLimits{
		MaxDrawdownFraction: "0.1", MaxDailyLossFraction: "0.02", MaxTradesPerDay: new(int32(3)), MaxPositions: new(int32(4)), MaxPositionFraction: "0.5",
		MaxGrossNotional: "21", MaxNetNotional: "22", MaxLeverage: "2.5", MaxConsecutiveLosses: 5, StopCoolDownSeconds: 60, MaxCorrelatedPositions: new(int32(0)),
		CorrelationFraction: "0.6", MaxValueAtRiskFraction: "0.03", MaxVolatilityFraction: "0.04", VolatileConfidenceFraction: "0.9", MaxAutomaticExits: 6,
		AutomaticExitWindowSeconds: 3600,
	}
	m.policy.Spec.Data = &v1alpha1.DataLimits{MaxAgeSeconds: 30, MaxFrozenBars: 8, MaxMissingBars: new(int32(0))}
	config, err := m.config()
	if err != nil {
		t.Fatal(err)
	}
	want := risk.Limits{
		MaxOrderNotional: 11 * market.MoneyUnit, MinOrderNotional: 3 * market.MoneyUnit / 2, PriceCollar: 10_000_000, MaxPerSecond: 7, DuplicateWindow: 12 * time.Second,
		MaxDrawdown: 100_000_000, MaxDailyLoss: 20_000_000, MaxTradesPerDay: 3, MaxPositions: 4, MaxPositionFraction: 500_000_000,
		MaxGross: 21 * market.MoneyUnit, MaxNet: 22 * market.MoneyUnit, MaxLeverage: 5 * order.Whole / 2, MaxConsecutiveLosses: 5, StopCoolDown: time.Minute,
		MaxCorrelatedPositions: 0, Correlation: 600_000_000, MaxValueAtRisk: 30_000_000, MaxVolatility: 40_000_000, VolatileConfidence: 900_000_000,
		MaxAutomaticExits: 6, AutomaticExitWindow: time.Hour, MaxDataAge: 30 * time.Second, MaxFrozenBars: 8, MaxMissingBars: 0,
	}
	if config.Settings.Limits != want {
		t.Errorf("got  %+v\nwant %+v", config.Settings.Limits, want)
	}
	m.policy.Spec.Agent.MaxLeverage = "1.0000000001"
	if _, err := m.config(); err == nil {
		t.Error("a leverage with ten digits was taken")
	}
}

func TestPairSettingsOfManifests(t *testing.T) {
	m := written()
	spec := &m.pairs[0].Spec
	spec.LotSize, spec.Aliases = "0.5", []string{"FIBER"}
	spec.MinQuantity, spec.MaxQuantity = "1.2", "1.9"
	spec.Session = &v1alpha1.SessionSpec{TimeZone: "America/New_York", Hours: []v1alpha1.SessionHours{{Day: "Monday", Open: "09:30", Close: "16:00"}}}
	settings := func() PairSettings {
		t.Helper()
		made, err := NewSettings(m.agent, m.policy, nil, m.pairs)
		if err != nil || len(made.Pairs) != 1 {
			t.Fatalf("%+v, %v", made, err)
		}
		return made.Pairs[0]
	}
	// The smallest quantity is rounded up to lots and the largest down.
	got := settings()
	if got.Pair != "EUR-USD" || got.Restricted || got.MinQuantity != 3 || got.MaxQuantity != 3 {
		t.Errorf("%+v", got)
	}
	if monday := time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC); !got.Session.Open(monday) || got.Session.Open(monday.Add(24*time.Hour)) {
		t.Error("the session is not that of the manifest")
	}
	for _, name := range []string{"EUR-USD", "eurusd", "fiber", "eur-usd"} {
		m.policy.Spec.RestrictedPairs = []string{"GBP-USD", name}
		if !settings().Restricted {
			t.Errorf("%q restricts nothing", name)
		}
	}
	m.policy.Spec.RestrictedPairs = []string{"GBP-USD"}
	if settings().Restricted {
		t.Error("another pair is restricted")
	}
	spec.Session.TimeZone = "Nowhere"
	if _, err := NewSettings(m.agent, m.policy, nil, m.pairs); err == nil {
		t.Error("a time zone that does not exist was taken")
	}
}

func TestTotalsOfManifests(t *testing.T) {
	m := written()
	m.policy.UID = "policy-uid"
	if settings, err := NewSettings(m.agent, m.policy, m.account, m.pairs); err != nil || settings.PolicyTotal != nil || settings.AccountTotal != nil {
		t.Errorf("%+v, %v", settings, err)
	}
	m.policy.Spec.Total = &v1alpha1.TotalLimits{MaxGrossNotional: "5000"}
	m.account.Spec.Total = &v1alpha1.TotalLimits{MaxGrossNotional: "7000.5"}
	settings, err := NewSettings(m.agent, m.policy, m.account, m.pairs)
	if err != nil || *settings.PolicyTotal != (Total{"policy/policy-uid/Paper", 5000 * market.MoneyUnit}) ||
		*settings.AccountTotal != (Total{"account/account-uid", 7000*market.MoneyUnit + market.MoneyUnit/2}) {
		t.Errorf("%+v, %+v, %v", settings.PolicyTotal, settings.AccountTotal, err)
	}
	m.agent.Spec.Mode = v1alpha1.ModeLive
	if settings, err = NewSettings(m.agent, m.policy, m.account, m.pairs); err != nil || settings.PolicyTotal.Scope != "policy/policy-uid/Live" {
		t.Errorf("%+v, %v", settings.PolicyTotal, err)
	}
	m.account.Spec.Total.MaxGrossNotional = "much"
	if _, err := NewSettings(m.agent, m.policy, m.account, m.pairs); err == nil {
		t.Error("a total that is no number was taken")
	}
}
