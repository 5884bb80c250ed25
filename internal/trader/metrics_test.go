package trader

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

func TestRiskMetrics(t *testing.T) {
	status := &Status{
		Headroom: []risk.Room{{Limit: risk.MaxDrawdown, Used: 0.25}, {Limit: risk.OrderRate, Used: 1}},
		Refused:  []venue.Refusal{{Reason: venue.ChangedAfterApproval, Count: 2}},
	}
	collector := NewRiskCollector("desk", "coin", func() *Status { return status })
	want := `# HELP trading_limit_used_fraction Share of a limit that is used, by the reason with which it denies; 1 is at the limit. Limits that do not bind or are not known are absent.
# TYPE trading_limit_used_fraction gauge
trading_limit_used_fraction{agent="coin",agent_namespace="desk",limit="MaxDrawdown"} 0.25
trading_limit_used_fraction{agent="coin",agent_namespace="desk",limit="OrderRate"} 1
# HELP trading_orders_refused_total Orders that were not let out because they were not what had been approved, since the process began.
# TYPE trading_orders_refused_total counter
trading_orders_refused_total{agent="coin",agent_namespace="desk",reason="ChangedAfterApproval"} 2
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	status = nil
	if count := testutil.CollectAndCount(collector); count != 0 {
		t.Errorf("%d metrics of an agent that does not trade yet", count)
	}
}

func TestStatusTellsOfHeadroom(t *testing.T) {
	h := byHand(t, fresh(), func(c *Config) { c.Settings.Limits.MaxTradesPerDay, c.Settings.Limits.MaxAutomaticExits = 4, 2 })
	h.filled(h.rule(decision.Buy))
	used := map[risk.Reason]float64{}
	for _, room := range h.core.Status().Headroom {
		if _, twice := used[room.Limit]; twice {
			t.Errorf("%s is told twice", room.Limit)
		}
		used[room.Limit] = room.Used
	}
	if used[risk.MaxTradesPerDay] != 0.25 || used[risk.MaxPositions] != 0.5 || used[risk.MaxPosition] < 0.59 || used[risk.MaxPosition] > 0.6 || used[risk.AutomaticExits] != 0 {
		t.Errorf("%v", used)
	}
}
