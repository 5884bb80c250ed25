package order

import (
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// The table is the whole state machine: every state, every event.
func TestNext(t *testing.T) {
	no := State("")
	want := map[State][]State{
		//          Send  Ack    Reject    Lose     FillPart FillWhole Cancel     Absent
		Intended:  {Sent, Acked, Rejected, Unknown, Acked, Filled, Cancelled, Rejected},
		Sent:      {no, Acked, Rejected, Unknown, Acked, Filled, Cancelled, Rejected},
		Unknown:   {no, Acked, Rejected, Unknown, Acked, Filled, Cancelled, Rejected},
		Acked:     {no, Acked, no, Acked, Acked, Filled, Cancelled, no},
		Filled:    {no, no, no, no, no, no, no, no},
		Cancelled: {no, no, no, no, no, no, no, no},
		Rejected:  {no, no, no, no, no, no, no, no},
	}
	if len(want) != len(States()) {
		t.Fatalf("the table has %d states, the machine %d", len(want), len(States()))
	}
	for _, state := range States() {
		for i, event := range Events() {
			got, err := Next(state, event)
			switch {
			case want[state][i] != no:
				if got != want[state][i] || err != nil {
					t.Errorf("%s after %s = %s, %v; want %s", event, state, got, err, want[state][i])
				}
			case got != state:
				t.Errorf("%s after %s = %s; the state must stay", event, state, got)
			case state.Final() != errors.Is(err, ErrFinal), state.Final() == errors.Is(err, ErrImpossible):
				t.Errorf("%s after %s: error %v", event, state, err)
			}
		}
	}
	if _, err := Next("Nonsense", Ack); !errors.Is(err, ErrImpossible) {
		t.Errorf("an unknown state gave %v", err)
	}
}

// These ids are in ledgers already: they must never come out differently.
func TestIDsStay(t *testing.T) {
	for _, test := range []struct {
		account, agent string
		sequence       int64
		leg, again     int32
		want           string
	}{
		{"account", "agent", 1, 0, 0, "1d17b155-4a17-5119-8099-392774789dae"},
		{"account", "agent", 2, 0, 0, "5d32570c-26e6-5780-aa36-18122cc8db99"},
		{"", "", -1, -1, -1, "49dd301b-d34e-5a4a-9969-725817ffdca8"},
	} {
		got := NewID(test.account, test.agent, test.sequence, test.leg, test.again)
		if got.String() != test.want || got.Version() != 5 || got.Variant() != uuid.RFC4122 {
			t.Errorf("NewID(%q, %q, %d, %d, %d) = %s (version %d); want %s", test.account, test.agent, test.sequence, test.leg, test.again, got, got.Version(), test.want)
		}
	}
}

func TestIDsAreUnambiguous(t *testing.T) {
	type arguments struct {
		account, agent string
		sequence       int64
		leg, again     int32
	}
	seen := map[uuid.UUID]arguments{}
	check := func(a arguments) {
		id := NewID(a.account, a.agent, a.sequence, a.leg, a.again)
		if before, ok := seen[id]; ok && before != a {
			t.Fatalf("%+v and %+v have the same id", before, a)
		}
		seen[id] = a
	}
	for _, a := range []arguments{{"ab", "c", 1, 0, 0}, {"a", "bc", 1, 0, 0}, {"abc", "", 1, 0, 0}, {"", "abc", 1, 0, 0}, {"ab", "c", 0, 1, 0}, {"ab", "c", 0, 0, 1}, {"ab", "c", 1 << 32, 0, 0}} {
		check(a)
	}
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		check(arguments{text.Draw(t, "account"), text.Draw(t, "agent"), int64(rapid.IntRange(0, 3).Draw(t, "sequence")),
			int32(rapid.IntRange(0, 2).Draw(t, "leg")), int32(rapid.IntRange(0, 2).Draw(t, "replacement"))}) //nolint:gosec // 0 to 2
	})
}

func TestFractionOf(t *testing.T) {
	for text, want := range map[string]Fraction{"0": 0, "1": Whole, "0.02": 20_000_000, "0.000000001": 1, "0.999999999": Whole - 1} {
		value, _ := new(big.Rat).SetString(text)
		if got, err := FractionOf(value); err != nil || got != want || got.String() != text {
			t.Errorf("FractionOf(%s) = %d (%s), %v; want %d", text, got, got, err, want)
		}
	}
	for _, text := range []string{"-0.1", "1.000000001", "0.0000000001", "2"} {
		value, _ := new(big.Rat).SetString(text)
		if got, err := FractionOf(value); err == nil {
			t.Errorf("FractionOf(%s) = %d; want an error", text, got)
		}
	}
}

// halfEven rounds as bankers do, by another way than the code under test.
func halfEven(value *big.Rat) *big.Int {
	floor := new(big.Int).Div(value.Num(), value.Denom())
	rest := new(big.Rat).Sub(value, new(big.Rat).SetInt(floor))
	switch half := rest.Cmp(big.NewRat(1, 2)); {
	case half > 0, half == 0 && floor.Bit(0) == 1:
		return floor.Add(floor, big.NewInt(1))
	}
	return floor
}

func TestFractionArithmetic(t *testing.T) {
	amounts := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-100, 100), rapid.SampledFrom([]int64{0, 1<<63 - 1, -1<<63 + 1}))
	rapid.Check(t, func(t *rapid.T) {
		amount := amounts.Draw(t, "amount")
		share := Fraction(rapid.Int64Range(0, int64(Whole)).Draw(t, "share"))
		exact := new(big.Rat).Mul(new(big.Rat).SetInt64(amount), big.NewRat(int64(share), int64(Whole)))
		if got := share.Of(market.Money(amount)); big.NewInt(int64(got)).Cmp(halfEven(exact)) != 0 {
			t.Errorf("%s of %d = %d; want %s", share, amount, got, halfEven(exact))
		}
		cut := new(big.Int).Quo(exact.Num(), exact.Denom())
		if got := share.OfPrice(market.Price(amount)); big.NewInt(int64(got)).Cmp(cut) != 0 {
			t.Errorf("%s of price %d = %d; want %s", share, amount, got, cut)
		}
		whole := amounts.Draw(t, "whole")
		limit := new(big.Rat).Mul(new(big.Rat).SetInt64(whole), big.NewRat(int64(share), int64(Whole)))
		want := amount > 0 && (whole <= 0 || new(big.Rat).SetInt64(amount).Cmp(limit) > 0)
		if got := ExceedsShare(market.Money(amount), share, market.Money(whole)); got != want {
			t.Errorf("ExceedsShare(%d, %s, %d) = %v", amount, share, whole, got)
		}
		want = amount > 0 && (whole <= 0 || new(big.Rat).SetInt64(amount).Cmp(limit) >= 0)
		if got := ReachesShare(market.Money(amount), share, market.Money(whole)); got != want {
			t.Errorf("ReachesShare(%d, %s, %d) = %v", amount, share, whole, got)
		}
	})
}

func TestScaleSaturates(t *testing.T) {
	for _, test := range []struct {
		amount                 market.Money
		numerator, denominator int64
		want                   market.Money
	}{
		{100, 1, 2, 50}, {5, 1, 2, 2}, {7, 1, 2, 4}, {-5, 1, 2, -2}, {1 << 62, 4, 1, 1<<63 - 1}, {-1 << 62, 4, 1, -(1<<63 - 1)},
		{1<<63 - 1, 1 << 62, 1, 1<<63 - 1}, {0, 5, 3, 0},
	} {
		if got := Scale(test.amount, test.numerator, test.denominator); got != test.want {
			t.Errorf("Scale(%d, %d, %d) = %d; want %d", test.amount, test.numerator, test.denominator, got, test.want)
		}
	}
}

func TestSide(t *testing.T) {
	if Buy.Opposite() != Sell || Sell.Opposite() != Buy || fmt.Sprint(Buy, Sell) != "Buy Sell" {
		t.Error("sides are mixed up")
	}
}
