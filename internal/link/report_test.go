package link

import (
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestDueIn(t *testing.T) {
	base := v1alpha1.TradingStatus{PodUID: "a", State: v1alpha1.TradingEnabled, Reason: "Trading", Equity: "10000", Decisions: 3}
	with := func(mutate func(*v1alpha1.TradingStatus)) v1alpha1.TradingStatus {
		changed := base
		mutate(&changed)
		return changed
	}
	cases := map[string]struct {
		current v1alpha1.TradingStatus
		since   time.Duration
		want    time.Duration
	}{
		"nothing changed":               {base, time.Hour, time.Minute},
		"a halt is written at once":     {with(func(s *v1alpha1.TradingStatus) { s.State = v1alpha1.TradingHalted }), time.Second, 0},
		"a state that flaps is spaced":  {with(func(s *v1alpha1.TradingStatus) { s.Reason = "MaxDrawdown" }), 400 * time.Millisecond, 600 * time.Millisecond},
		"figures wait for the interval": {with(func(s *v1alpha1.TradingStatus) { s.Decisions = 4 }), 20 * time.Second, 40 * time.Second},
		"figures are due":               {with(func(s *v1alpha1.TradingStatus) { s.Decisions = 4 }), time.Minute, 0},
		"an equity tick is no reason":   {with(func(s *v1alpha1.TradingStatus) { s.Equity = "10001" }), time.Hour, time.Minute},
		"an equity move is":             {with(func(s *v1alpha1.TradingStatus) { s.Equity = "10001.01" }), time.Hour, 0},
		"a position is": {with(func(s *v1alpha1.TradingStatus) {
			s.Positions = []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "5"}}
		}), time.Hour, 0},
	}
	for name, c := range cases {
		if got := dueIn(&base, &c.current, c.since, time.Minute); got != c.want {
			t.Errorf("%s: due in %s, want %s", name, got, c.want)
		}
	}
}
