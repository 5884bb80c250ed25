package risk

import (
	"math"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

const most = market.Money(math.MaxInt64)

func TestExposure(t *testing.T) {
	for name, test := range map[string]struct {
		pair PairState
		want Exposure
	}{
		"nothing":                    {PairState{Reference: 100}, Exposure{}},
		"long":                       {PairState{Reference: 100, Position: 300, OpenBuyValue: 7 * usd, OpenSellValue: 5 * usd}, Exposure{300 * usd, 307 * usd, 5 * usd}},
		"short":                      {PairState{Reference: 100, Position: -300, OpenBuyValue: 7 * usd, OpenSellValue: 5 * usd}, Exposure{-300 * usd, 7 * usd, 305 * usd}},
		"the smallest price":         {PairState{Reference: 1, Position: 100}, Exposure{usd, usd, 0}},
		"long without a price":       {PairState{Position: 1, OpenBuyValue: 7, OpenSellValue: 5}, Exposure{most, most, 5}},
		"short without a price":      {PairState{Position: -1, OpenBuyValue: 7, OpenSellValue: 5}, Exposure{-most, 7, most}},
		"orders without a price":     {PairState{OpenBuyValue: 7, OpenSellValue: 5}, Exposure{0, 7, 5}},
		"a price that is impossible": {PairState{Reference: -1, Position: 1}, Exposure{most, most, 0}},
	} {
		test.pair.Instrument = newInstrument(t)
		if got := ExposureOf(&test.pair); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// What other pairs come to is the sum over them, a short position counting
// against the long ones in what is net.
func TestOtherPairsAreAddedUp(t *testing.T) {
	instrument := newInstrument(t)
	long := PairState{Instrument: instrument, Reference: 100, Position: 300, OpenBuyValue: 10 * usd, TailLong: 100_000_000, TailShort: 500_000_000}
	short := PairState{Instrument: instrument, Reference: 100, Position: -200, OpenSellValue: 20 * usd, OpenBuyValue: 5 * usd, TailLong: 900_000_000, TailShort: 200_000_000}
	var s State
	s.Add(&long)
	s.Add(&short)
	if s.OtherGross != 530*usd || s.OtherLong != 115*usd || s.OtherShort != -80*usd || s.OtherAtRisk != 75*usd {
		t.Errorf("%s gross, %s long, %s short, %s at risk", s.OtherGross, s.OtherLong, s.OtherShort, s.OtherAtRisk)
	}
	calm := long
	calm.TailLong, calm.TailShort = 0, 0
	s.Add(&calm)
	if s.OtherAtRisk != 75*usd {
		t.Errorf("a pair that loses nothing risks %s", s.OtherAtRisk-75*usd)
	}
	unknown := long
	unknown.TailLong = Unknown
	if AtRisk(&unknown) != Unlimited || AtRisk(&long) != 31*usd {
		t.Errorf("at risk are %s and %s", AtRisk(&unknown), AtRisk(&long))
	}
	// A pair that is not held risks nothing, known or not.
	idle := PairState{Instrument: instrument, Reference: 100, TailLong: Unknown, TailShort: Unknown}
	s.Add(&idle)
	if s.OtherAtRisk != 75*usd {
		t.Errorf("an idle pair makes the risk %s", s.OtherAtRisk)
	}
	s.Add(&unknown)
	s.Add(&long)
	if s.OtherAtRisk != Unlimited {
		t.Errorf("what is unknown became %s", s.OtherAtRisk)
	}
}

func TestGrossWithAnOrder(t *testing.T) {
	s := State{OtherGross: 50 * usd}
	s.PairState = PairState{Instrument: newInstrument(t), Reference: 100, Position: 300, OpenSellValue: 10 * usd}
	for _, test := range []struct {
		side  order.Side
		value market.Money
		want  market.Money
	}{{order.Buy, 0, 350 * usd}, {order.Buy, 20 * usd, 370 * usd}, {order.Sell, 20 * usd, 350 * usd}, {order.Sell, 400 * usd, 460 * usd}} {
		if got := Gross(&s, test.side, test.value); got != test.want {
			t.Errorf("%d of %s: %s, want %s", test.side, test.value, got, test.want)
		}
	}
}

func TestSumsSaturate(t *testing.T) {
	for _, test := range []struct{ a, b, want market.Money }{
		{1, 2, 3}, {1, -2, -1}, {most - 1, 1, most}, {most, 1, most}, {most, most, most}, {1, most, most}, {most, -1, most - 1}, {most, 0, most},
		{-most + 1, -1, -most}, {-most, -1, -most}, {-most, -most, -most}, {-1, -most, -most}, {-most, 1, -most + 1}, {-most, 0, -most},
		{0, most, most}, {0, -most, -most},
	} {
		if got := saturatingAdd(test.a, test.b); got != test.want {
			t.Errorf("%d + %d = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestOnlySharesCanBeToppedUp(t *testing.T) {
	for name, test := range map[string]struct {
		set   func(*State)
		needs bool
	}{
		"allowed":        {func(*State) {}, false},
		"policy":         {func(s *State) { s.PolicyShare = 0 }, true},
		"account":        {func(s *State) { s.AccountShare = 0 }, true},
		"both":           {func(s *State) { s.PolicyShare, s.AccountShare = 0, 0 }, true},
		"something else": {func(s *State) { s.Restricted = true }, false},
		"and more":       {func(s *State) { s.PolicyShare, s.Restricted = 0, true }, false},
	} {
		limits, state, intent := allowed(t)
		test.set(&state)
		if got := Check(&limits, &state, &intent).NeedsShare(); got != test.needs {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The first reason leads, whichever follow it.
func TestLeading(t *testing.T) {
	for i, reason := range leading {
		verdict := Verdict{failed: 1<<i | 1<<(len(leading)-1)}
		if verdict.Leading() != reason || verdict.Reasons()[0] != reason || verdict.Allowed() {
			t.Errorf("%s: led by %s of %v", reason, verdict.Leading(), verdict.Reasons())
		}
	}
}
