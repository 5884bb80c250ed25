package risk

import (
	"math"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func TestHeadroom(t *testing.T) {
	limits, state, _ := allowed(t)
	state.Now = noon.Add(45 * time.Minute)
	state.Equity, state.PeakEquity, state.DayStartEquity = 9_250*usd, 10_000*usd, 9_300*usd
	state.Position, state.OtherGross, state.OtherLong, state.OtherAtRisk = 1000, 24_000*usd, 11_500*usd, 211_250_000_00
	state.FrozenBars, state.MissingBars, state.ConsecutiveLosses, state.TradesToday, state.SentLastSecond = 5, 3, 1, 5, 2
	state.OtherPositions, state.CorrelatedPositions, state.Volatility = 0, 1, 75_000_000
	state.PolicyShare, state.AccountShare = 50_000*usd, 25_000*usd
	limits.MaxPositionFraction, limits.MaxLeverage = 500_000_000, 5*order.Whole
	want := map[Reason]float64{
		StaleData: 0.5, FrozenData: 0.5, GappedData: 1, MaxDrawdown: 0.5, MaxDailyLoss: 50.0 / 186, ConsecutiveLosses: 0.25, MaxTradesPerDay: 1,
		MaxPositions: 0.5, CorrelatedPositions: 1, MaxPosition: 1000.0 / 4625, MaxGross: 0.25, MaxNet: 0.25, MaxLeverage: 25_000.0 / 46_250,
		ValueAtRisk: 231.25 / 462.5, PolicyTotal: 0.5, AccountTotal: 1, Volatility: 1.5, OrderRate: 0.4,
	}
	rooms := Headroom(&limits, &state)
	for _, room := range rooms {
		if expected, ok := want[room.Limit]; !ok || math.Abs(room.Used-expected) > 1e-9 {
			t.Errorf("%s is used to %v, want %v", room.Limit, room.Used, expected)
		}
		delete(want, room.Limit)
	}
	for limit := range want {
		t.Errorf("nothing is said of %s", limit)
	}
}

// What does not bind or is not known is left out, rather than told as nothing.
func TestHeadroomLeavesOut(t *testing.T) {
	limits, state := NoLimits(), State{PairState: PairState{TailLong: Unknown, TailShort: Unknown, Volatility: Unknown}, PolicyShare: Unlimited, AccountShare: Unlimited}
	if rooms := Headroom(&limits, &state); len(rooms) != 0 {
		t.Errorf("without limits: %v", rooms)
	}
	limits, state, _ = allowed(t)
	state.EquityKnown, state.TailLong, state.Volatility, state.Reference = false, Unknown, Unknown, 0
	for _, room := range Headroom(&limits, &state) {
		switch room.Limit {
		case FrozenData, GappedData, ConsecutiveLosses, MaxTradesPerDay, OrderRate:
		default:
			t.Errorf("%s is used to %v, which nobody can know", room.Limit, room.Used)
		}
	}
}
