package risk

import (
	"math"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Exposure is what a pair may come to be worth on either side: its position with
// all open orders of that side filled, each at the worse of its limit and the
// reference price. What orders of the other side could take away is not counted
// on.
type Exposure struct {
	// Position is its value, signed.
	Position market.Money
	// Long and Short are the worst of either side, neither below zero.
	Long, Short market.Money
}

// ExposureOf is what the pair may come to be worth. Without a price it is the
// greatest value that there is on the side of the position.
func ExposureOf(pair *PairState) Exposure {
	if pair.Reference <= 0 {
		switch {
		case pair.Position > 0:
			return Exposure{math.MaxInt64, math.MaxInt64, pair.OpenSellValue}
		case pair.Position < 0:
			return Exposure{-math.MaxInt64, pair.OpenBuyValue, math.MaxInt64}
		}
		return Exposure{0, pair.OpenBuyValue, pair.OpenSellValue}
	}
	held := pair.Instrument.Notional(pair.Reference, pair.Position)
	return Exposure{held, saturatingAdd(max(held, 0), pair.OpenBuyValue), saturatingAdd(max(-held, 0), pair.OpenSellValue)}
}

// exposureWith is the exposure of the order's pair with the order filled.
func exposureWith(state *State, side order.Side, value market.Money) Exposure {
	after := ExposureOf(&state.PairState)
	if side == order.Buy {
		after.Long = saturatingAdd(after.Long, value)
	} else {
		after.Short = saturatingAdd(after.Short, value)
	}
	return after
}

func (e Exposure) side(side order.Side) market.Money {
	if side == order.Buy {
		return e.Long
	}
	return e.Short
}

// gross is the larger of the two sides: they cannot both come true.
func (e Exposure) gross() market.Money { return max(e.Long, e.Short) }

// net is by how much one side is larger over all pairs at the worst.
func (e Exposure) net(state *State) market.Money {
	// A position counts on its own side in Long or Short, and against the other.
	long := saturatingAdd(state.OtherLong, e.Long+min(e.Position, 0))
	short := saturatingAdd(state.OtherShort, e.Short-max(e.Position, 0))
	return max(long, short)
}

// atRisk is what the pair may lose within a day in the worst of twenty; unknown
// if too few returns stand behind it.
func (e Exposure) atRisk(state *State) (market.Money, bool) {
	if state.TailLong < 0 || state.TailShort < 0 {
		return 0, false
	}
	return max(state.TailLong.Of(e.Long), state.TailShort.Of(e.Short)), true
}

// AtRisk is what the pair may lose within a day in the worst of twenty; negative
// if too few returns stand behind it.
func AtRisk(pair *PairState) market.Money {
	state := State{PairState: *pair}
	if risked, known := ExposureOf(pair).atRisk(&state); known {
		return risked
	}
	return Unlimited
}

// Add counts another pair among the others of an order's pair.
func (s *State) Add(other *PairState) {
	e := ExposureOf(other)
	s.OtherGross = saturatingAdd(s.OtherGross, e.gross())
	s.OtherLong = saturatingAdd(s.OtherLong, e.Long+min(e.Position, 0))
	s.OtherShort = saturatingAdd(s.OtherShort, e.Short-max(e.Position, 0))
	if e.gross() == 0 || s.OtherAtRisk < 0 {
		return
	}
	if risked := AtRisk(other); risked < 0 {
		s.OtherAtRisk = Unlimited
	} else {
		s.OtherAtRisk = saturatingAdd(s.OtherAtRisk, risked)
	}
}

// Gross is what all pairs may be worth with an order of this value on one side
// filled; zero is no order.
func Gross(state *State, side order.Side, value market.Money) market.Money {
	return saturatingAdd(state.OtherGross, exposureWith(state, side, value).gross())
}

// saturatingAdd adds within the range of Money.
func saturatingAdd(a, b market.Money) market.Money {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < -math.MaxInt64-b:
		return -math.MaxInt64
	}
	return a + b
}
