package tradingagent

import (
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/market/coinbase"
)

// lookUpData notes what is known of the data that the agent would trade on. It
// waits for nothing. Once the agent's own process receives prices, nobody is
// asked for it any more.
func (r *Reconciler) lookUpData(s *scope) {
	traded := s.tradedPairs()
	s.coverage = make([]probe.Answer, len(traded))
	agent := client.ObjectKeyFromObject(s.agent)
	if s.agent.Spec.MarketData.Source != v1alpha1.DataSourceCoinbase || !s.agent.DeletionTimestamp.IsZero() ||
		slices.Contains(traded, nil) || !dataArrives(s).ok() {
		r.Data.Look(agent)
		return
	}
	questions := make([]probe.Question, len(traded))
	for i, pair := range traded {
		questions[i] = probe.Question{Source: v1alpha1.DataSourceCoinbase, Span: coinbase.Span{
			Base: string(pair.Spec.Base), Quote: string(pair.Spec.Quote), Granularity: s.granularity(), Past: s.past(s.granularity()),
		}}
	}
	s.coverage = r.Data.Look(agent, questions...)
}

func (s *scope) granularity() time.Duration {
	return time.Duration(s.settings.GranularitySeconds) * time.Second
}

func (s *scope) interval() time.Duration {
	return time.Duration(s.settings.IntervalSeconds) * time.Second
}

// past is how far back bars of a length must reach for the first decision.
func (s *scope) past(length time.Duration) time.Duration {
	return time.Duration(decision.BarsToBegin(s.interval(), length)) * length
}

// dataArrives takes the word of the agent's own process, where it runs what the
// spec asks for: it sees the very data that it trades on.
func dataArrives(s *scope) finding {
	trading, told := s.trading(), s.before.Status.Revision
	switch {
	case trading == nil || !s.pod.DeletionTimestamp.IsZero() || told == nil || told.Current != s.wanted.name:
		return finding{}
	case trading.Reason == v1alpha1.ReasonDataUnavailable:
		return finding{trading.Reason, messageOf(trading)}
	case trading.Data != nil && trading.Data.LastBarTime != nil:
		return finding{v1alpha1.ReasonDataReceived, "the agent's process receives prices"}
	}
	return finding{}
}

// datasetFits judges a recording as far as the operator can see it.
func datasetFits(s *scope) finding {
	const path = "spec.marketData.replay.dataset"
	replay, traded := s.agent.Spec.MarketData.Replay, s.tradedPairs()
	if s.agent.Spec.MarketData.Source != v1alpha1.DataSourceReplay || replay == nil || slices.Contains(traded, nil) {
		return finding{}
	}
	if !probe.IsSample(replay.Dataset) {
		return finding{v1alpha1.ReasonDataUnchecked, fmt.Sprintf("%s: %q is in the agent's data directory, which the operator cannot see; the agent checks it when it starts", path, replay.Dataset)}
	}
	samples, err := probe.OpenSample(replay.Dataset, traded)
	if err != nil {
		return finding{v1alpha1.ReasonDatasetNotFound, fmt.Sprintf("%s: %s", path, err)}
	}
	for i, sample := range samples {
		// One bar more, so that there is something to trade on behind the history.
		if needed := decision.BarsToBegin(s.interval(), sample.Length) + 1; sample.Bars < needed {
			return finding{v1alpha1.ReasonHistoryTooShort, fmt.Sprintf("%s: %q has %d bars of %s for %s, but a decision every %d s needs %d; lower spec.decision.intervalSeconds, or choose a longer recording",
				path, replay.Dataset, sample.Bars, sample.Length, traded[i].Canonical(), s.settings.IntervalSeconds, needed)}
		}
	}
	return finding{}
}

// staleSlack is how long an exchange may take to publish a candle.
const staleSlack = time.Minute

// providerHas judges what is known of candles at their provider. What the user
// must mend leads.
func providerHas(s *scope) finding {
	traded := s.tradedPairs()
	if s.agent.Spec.MarketData.Source != v1alpha1.DataSourceCoinbase || slices.Contains(traded, nil) {
		return finding{}
	}
	var waiting finding
	for i, pair := range traded {
		found := candlesOf(s, pair, s.coverage[i])
		switch {
		case found.ok():
		case slices.Contains(passing, found.reason) || slices.Contains(unknowns, found.reason):
			if waiting.ok() {
				waiting = found
			}
		default:
			return found
		}
	}
	return waiting
}

func candlesOf(s *scope, pair *v1alpha1.AssetPair, answer probe.Answer) finding {
	name, granularity := pair.Canonical(), s.granularity()
	oldest := max(time.Duration(s.settings.Limits.MaxAgeSeconds)*time.Second, granularity+staleSlack)
	switch {
	case answer.Problem != "":
		return finding{v1alpha1.ReasonDataUnreachable, fmt.Sprintf("candles of %s: %s; the operator goes on asking", name, answer.Problem)}
	case !answer.Known:
		return finding{v1alpha1.ReasonDataChecking, "Coinbase Exchange is being asked for candles of " + name}
	case !answer.Listed:
		return finding{v1alpha1.ReasonPairNotAtProvider, fmt.Sprintf("Coinbase Exchange has no product %s; correct base and quote of AssetPair %q, or set spec.marketData.source to another", name, pair.Name)}
	case answer.Age > oldest:
		return finding{v1alpha1.ReasonDataStale, fmt.Sprintf("the newest candle of %s at Coinbase Exchange is older than limits.data.maxAgeSeconds allows (%d)", name, s.settings.Limits.MaxAgeSeconds)}
	case !answer.Reaches:
		return finding{v1alpha1.ReasonHistoryTooShort, fmt.Sprintf("Coinbase Exchange has candles of %s for less than the %s that a decision every %d s needs; lower spec.decision.intervalSeconds, or wait until there are more", name, s.past(granularity), s.settings.IntervalSeconds)}
	}
	return finding{}
}
