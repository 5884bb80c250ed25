package tradingagent

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
)

const (
	isTrue    = metav1.ConditionTrue
	isFalse   = metav1.ConditionFalse
	isUnknown = metav1.ConditionUnknown
)

// elder is an older agent on the same account.
func elder(pair string) v1alpha1.TradingAgent {
	other := whole().agent.DeepCopy()
	other.Name, other.UID = "elder", "elder-uid"
	other.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: pair}}
	return *other
}

// followed is a scope that follows the market, with what its provider has said.
func followed(answer probe.Answer) func(*scope) {
	return func(s *scope) {
		s.agent.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
		s.settings, _ = v1alpha1.Resolve(s.agent, s.policy)
		s.coverage = []probe.Answer{answer}
	}
}

func have(age time.Duration, reaches bool) probe.Answer {
	return probe.Answer{Known: true, Listed: true, Coverage: coinbase.Coverage{Age: age, Reaches: reaches}}
}

func limits(edit func(*v1alpha1.Limits)) func(*scope) {
	return func(s *scope) {
		s.agent.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{}, Agent: &v1alpha1.AgentLimits{}}
		edit(s.agent.Spec.Limits)
	}
}

// judgedBefore notes that an earlier pass has found the data valid.
func judgedBefore(s *scope, generation int64) {
	earlier := s.agent.DeepCopy()
	earlier.Generation = generation
	reconcile.StatusOf(earlier).Set(v1alpha1.ConditionDataValid, isTrue, v1alpha1.ReasonAccepted, "it was valid", now)
	s.before.Status.Conditions = earlier.Status.Conditions
}

func TestPhases(t *testing.T) {
	const schema, platform, risk, data = v1alpha1.ConditionSchemaValid, v1alpha1.ConditionPlatformValid, v1alpha1.ConditionRiskValid, v1alpha1.ConditionDataValid
	for _, test := range []struct {
		name   string
		phase  string
		change func(*scope)
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		{"a sound agent", schema, nil, isTrue, v1alpha1.ReasonAccepted, ""},
		{"a sound agent", platform, nil, isTrue, v1alpha1.ReasonAccepted, ""},
		{"a sound agent", risk, nil, isTrue, v1alpha1.ReasonAccepted, ""},
		{"a sound agent", data, nil, isTrue, v1alpha1.ReasonAccepted, ""},

		{"bad pair name", schema, func(s *scope) { s.agent.Spec.AssetPairs[0].Name = "EUR;USD" }, isFalse, v1alpha1.ReasonInvalidSpec, "spec.assetPairs[0].name"},
		{"the same pair twice", schema, func(s *scope) {
			s.agent.Spec.AssetPairs = append(s.agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "eur_usd"})
		}, isFalse, v1alpha1.ReasonInvalidSpec, "spec.assetPairs[1].name"},
		{"the same pair by an alias", schema, func(s *scope) {
			s.pairs[0].Spec.Aliases = []string{"FIBER"}
			s.agent.Spec.AssetPairs = append(s.agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "fiber"})
		}, isFalse, v1alpha1.ReasonInvalidSpec, "spec.assetPairs[1].name"},
		{"a bad schema leaves the rest open", risk, func(s *scope) { s.agent.Spec.AssetPairs[0].Name = "EUR;USD" }, isUnknown, v1alpha1.ReasonInvalidSpec, "SchemaValid"},
		{"a missing policy is no matter of the schema", schema, func(s *scope) { s.policy = nil }, isTrue, v1alpha1.ReasonAccepted, ""},

		{"live on paper", platform, func(s *scope) { goLive(s) }, isFalse, v1alpha1.ReasonModeMismatch, "spec.mode"},
		{"currencies differ", platform, func(s *scope) { s.policy.Spec.Currency = "EUR" }, isFalse, v1alpha1.ReasonCurrencyMismatch, "spec.riskPolicyRef.name"},
		{"an elder has the pair", platform, func(s *scope) { s.elders = []v1alpha1.TradingAgent{elder("eurusd")} }, isFalse, v1alpha1.ReasonPairTaken, "spec.assetPairs[0].name"},
		{"an elder has another pair", platform, func(s *scope) { s.elders = []v1alpha1.TradingAgent{elder("gbpusd")} }, isTrue, v1alpha1.ReasonAccepted, ""},
		{"no account", platform, func(s *scope) { s.account, s.ledger = nil, nil }, isUnknown, v1alpha1.ReasonAccountNotFound, "spec.accountRef.name"},
		{"what is wrong leads over what is missing", platform, func(s *scope) {
			s.policy = nil
			s.elders = []v1alpha1.TradingAgent{elder("eurusd")}
		}, isFalse, v1alpha1.ReasonPairTaken, ""},

		{"no policy", risk, func(s *scope) { s.policy = nil }, isUnknown, v1alpha1.ReasonRiskPolicyNotFound, "spec.riskPolicyRef.name"},
		{"no pair", risk, func(s *scope) { s.pairs = nil }, isUnknown, v1alpha1.ReasonAssetPairNotFound, "spec.assetPairs[0].name"},
		{"a limit that never allows", risk, limits(func(l *v1alpha1.Limits) { l.Agent.MaxPositions = new(int32(0)) }), isFalse, v1alpha1.ReasonLimitNeverAllows, "spec.limits.agent.maxPositions"},
		{"a stop above the target", risk, func(s *scope) { s.agent.Spec.Sizing = &v1alpha1.SizingSpec{TargetFraction: "0.01"} }, isFalse, v1alpha1.ReasonStopNotBelow, "spec.sizing.targetFraction"},
		{"a limit that never binds", risk, func(s *scope) { s.policy.Spec.Agent.MaxPositions = new(int32(3)) }, isTrue, v1alpha1.ReasonLimitNeverBinds, `RiskPolicy "careful" spec.agent.maxPositions`},
		{"a limit looser than the policy's", risk, limits(func(l *v1alpha1.Limits) { l.Order.MaxNotional = "2000" }), isTrue, v1alpha1.ReasonLimitLooserThanRule, "the policy's limit binds"},
		{"a limit that never allows leads over remarks", risk, limits(func(l *v1alpha1.Limits) {
			l.Order.MaxNotional, l.Agent.MaxTradesPerDay = "2000", new(int32(0))
		}), isFalse, v1alpha1.ReasonLimitNeverAllows, ""},

		{"no such sample", data, func(s *scope) { s.agent.Spec.MarketData.Replay.Dataset = "sample/eurusd-5m" }, isFalse, v1alpha1.ReasonDatasetNotFound, "spec.marketData.replay.dataset: there is no data set"},
		{"the sample of another pair", data, func(s *scope) { s.agent.Spec.MarketData.Replay.Dataset = "sample/btcusd-1d" }, isFalse, v1alpha1.ReasonDatasetNotFound, "BTCUSD"},
		{"a recording of the agent's own", data, func(s *scope) { s.agent.Spec.MarketData.Replay.Dataset = "forex/eurusd" }, isTrue, v1alpha1.ReasonDataUnchecked, "data directory"},
		{"a sample that is too short", data, func(s *scope) {
			s.pairs[0].Spec.Base = "BTC"
			s.agent.Spec.AssetPairs[0].Name = "BTC/USD"
			s.agent.Spec.MarketData.Replay.Dataset = "sample/btcusd-1d"
			s.settings.IntervalSeconds = 5 * 86400
		}, isFalse, v1alpha1.ReasonHistoryTooShort, "needs 176"},
		{"no pair for the data", data, func(s *scope) { s.pairs = nil }, isUnknown, v1alpha1.ReasonAssetPairNotFound, ""},
		{"not asked yet", data, followed(probe.Answer{}), isUnknown, v1alpha1.ReasonDataChecking, "EUR-USD"},
		{"unreachable", data, followed(probe.Answer{Problem: "it refuses the connection"}), isFalse, v1alpha1.ReasonDataUnreachable, "it refuses the connection"},
		{"not listed", data, followed(probe.Answer{Known: true}), isFalse, v1alpha1.ReasonPairNotAtProvider, `AssetPair "eur-usd"`},
		{"stale", data, followed(have(91*time.Minute, true)), isFalse, v1alpha1.ReasonDataStale, "(5400)"},
		{"just fresh", data, followed(have(90*time.Minute, true)), isTrue, v1alpha1.ReasonAccepted, ""},
		{"fresh for candles longer than the limit", data, func(s *scope) {
			s.agent.Spec.MarketData.Coinbase = &v1alpha1.CoinbaseDataSpec{GranularitySeconds: 21600}
			followed(have(5*time.Hour, true))(s)
			s.settings.GranularitySeconds = 21600
		}, isTrue, v1alpha1.ReasonAccepted, ""},
		{"short history", data, followed(have(time.Minute, false)), isFalse, v1alpha1.ReasonHistoryTooShort, "2h55m0s"},
		{"valid before the operator was restarted", data, func(s *scope) {
			followed(probe.Answer{})(s)
			judgedBefore(s, s.agent.Generation)
		}, isTrue, v1alpha1.ReasonAccepted, "it was valid"},
		{"not reached before the operator was restarted", data, func(s *scope) {
			followed(probe.Answer{})(s)
			judgedBefore(s, s.agent.Generation)
			reconcile.StatusOf(s.before).Set(data, isFalse, v1alpha1.ReasonDataUnreachable, "it was not reached", s.now)
		}, isFalse, v1alpha1.ReasonDataUnreachable, "it was not reached"},
		{"valid for an earlier spec", data, func(s *scope) {
			followed(probe.Answer{})(s)
			judgedBefore(s, s.agent.Generation-1)
		}, isUnknown, v1alpha1.ReasonDataChecking, ""},
		{"valid before and known to be wrong now", data, func(s *scope) {
			followed(probe.Answer{Known: true})(s)
			judgedBefore(s, s.agent.Generation)
		}, isFalse, v1alpha1.ReasonPairNotAtProvider, ""},
		{"the process receives prices", data, func(s *scope) {
			followed(probe.Answer{Problem: "it refuses the connection"})(s)
			receives(s)
		}, isTrue, v1alpha1.ReasonDataReceived, ""},
		{"the process of an older revision", data, func(s *scope) {
			followed(probe.Answer{Problem: "it refuses the connection"})(s)
			receives(s).before.Status.Revision.Current = "eur-older"
		}, isFalse, v1alpha1.ReasonDataUnreachable, ""},
		{"a process that has no prices yet", data, func(s *scope) {
			followed(probe.Answer{Problem: "it refuses the connection"})(s)
			receives(s).agent.Status.Trading.Data = nil
		}, isFalse, v1alpha1.ReasonDataUnreachable, ""},
		{"a process that cannot read its data", data, func(s *scope) {
			receives(s).agent.Status.Trading.Reason = v1alpha1.ReasonDataUnavailable
		}, isFalse, v1alpha1.ReasonDataUnavailable, ""},
	} {
		t.Run(test.phase+": "+test.name, func(t *testing.T) {
			s := whole()
			if test.change != nil {
				test.change(s)
			}
			for i := range phases {
				if phases[i].condition != test.phase {
					continue
				}
				got := phases[i].judge(s)
				if got.status != test.status || got.reason != test.reason || got.message == "" || !strings.Contains(got.message, test.says) {
					t.Errorf("got %s %s: %s", got.status, got.reason, got.message)
				}
			}
		})
	}
}

// receives lets the pod of the wanted revision report prices.
func receives(s *scope) *scope {
	withTrading(s)
	s.before.Status.Revision = &v1alpha1.RevisionStatus{Current: s.wanted.name}
	s.agent.Status.Trading.Data = &v1alpha1.DataStatus{LastBarTime: new(metav1.NewTime(now))}
	return s
}

func TestAccepted(t *testing.T) {
	of := func(status metav1.ConditionStatus, reason string) verdict {
		return verdict{status, finding{reason, "because of " + reason}}
	}
	valid := of(isTrue, v1alpha1.ReasonAccepted)
	for _, test := range []struct {
		name     string
		verdicts []verdict
		status   metav1.ConditionStatus
		reason   string
		stalls   bool
	}{
		{"all valid", []verdict{valid, valid}, isTrue, v1alpha1.ReasonAccepted, false},
		{"a remark", []verdict{valid, of(isTrue, v1alpha1.ReasonLimitNeverBinds)}, isTrue, v1alpha1.ReasonAccepted, false},
		{"a limit that the policy cuts", []verdict{valid, of(isTrue, v1alpha1.ReasonLimitLooserThanRule)}, isTrue, v1alpha1.ReasonLimitLooserThanRule, false},
		{"the first that is wrong", []verdict{valid, of(isFalse, v1alpha1.ReasonPairTaken), of(isFalse, v1alpha1.ReasonLimitNeverAllows)}, isFalse, v1alpha1.ReasonPairTaken, true},
		{"wrong leads over unknown", []verdict{of(isUnknown, v1alpha1.ReasonVenueChecking), of(isFalse, v1alpha1.ReasonLimitNeverAllows)}, isFalse, v1alpha1.ReasonLimitNeverAllows, true},
		{"unknown", []verdict{valid, of(isUnknown, v1alpha1.ReasonDataChecking)}, isUnknown, v1alpha1.ReasonDataChecking, false},
		{"what passes by itself", []verdict{valid, of(isFalse, v1alpha1.ReasonDataUnreachable)}, isFalse, v1alpha1.ReasonDataUnreachable, false},
	} {
		got := accepted(test.verdicts)
		if got.status != test.status || got.reason != test.reason || got.message == "" {
			t.Errorf("%s: got %+v", test.name, got)
		}
		if got.status != isTrue && got.outcome().Stalled() != test.stalls {
			t.Errorf("%s: stalls %v", test.name, !test.stalls)
		}
	}
}

// Limits and data hold back what has never run and what is new, and nothing else.
func TestMayStart(t *testing.T) {
	noData := func(s *scope) { s.agent.Spec.MarketData.Replay.Dataset = "sample/none" }
	neverAllows := func(s *scope) { s.policy.Spec.Agent.MaxTradesPerDay = new(int32(0)) }
	taken := func(s *scope) { s.elders = []v1alpha1.TradingAgent{elder("eurusd")} }
	hasRun := func(s *scope) { s.agent.Finalizers = []string{v1alpha1.AgentFinalizer} }
	running := func(s *scope) { hasRun(s); withPod(s) }
	for _, test := range []struct {
		name    string
		changes []func(*scope)
		want    bool
	}{
		{"all is well", nil, true},
		{"a reference is missing", []func(*scope){hasRun, func(s *scope) { s.policy = nil }}, false},
		{"a first start without data", []func(*scope){noData}, false},
		{"a first start that could never trade", []func(*scope){neverAllows}, false},
		{"a first start that is being checked", []func(*scope){followed(probe.Answer{})}, false},
		{"a new revision without data", []func(*scope){running, noData}, false},
		{"a lost pod without data", []func(*scope){hasRun, noData}, true},
		{"a lost pod that could never trade", []func(*scope){hasRun, neverAllows}, true},
		{"a lost pod while the provider is asked", []func(*scope){hasRun, followed(probe.Answer{})}, true},
		{"a lost pod whose pair another has", []func(*scope){hasRun, taken}, false},
	} {
		s := whole()
		for _, change := range test.changes {
			change(s)
		}
		if got := mayStart(s); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}

func TestReportSettings(t *testing.T) {
	s := whole()
	s.pairs[0].Spec.Aliases, s.pairs[0].Spec.MinNotional = []string{"FIBER"}, "10"
	s.agent.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: "fiber"}, {Name: "missing"}, {Name: "eur-usd"}}
	reportSettings(s)
	if got := s.agent.Status.Pairs; got != "EUR-USD" {
		t.Errorf("pairs are %v", got)
	}
	found := map[string]v1alpha1.EffectiveValue{}
	for _, value := range s.agent.Status.Effective {
		found[value.Field] = value
	}
	if got := found["pairs[EUR-USD].minNotional"]; got.Value != "10" || got.Source != v1alpha1.SourceAssetPair {
		t.Errorf("got %+v", got)
	}
	if got := found["limits.order.maxNotional"]; got.Value != "1000" || got.Source != v1alpha1.SourceRiskPolicy {
		t.Errorf("got %+v", got)
	}
}
