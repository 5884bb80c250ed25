package decision

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func argues(role Role, confidence int64) Argument {
	return Argument{Role: role, Model: "test", ConfidenceMicros: confidence, Reasons: []string{"Because."}}
}

// The judge's rule at its boundaries.
func TestQuorum(t *testing.T) {
	for _, test := range []struct {
		name       string
		bull, bear int64
		position   int
		want       Action
	}{
		{"nobody convinces", 690_000, 100_000, 0, Hold},
		{"the bull convinces just so", 700_000, 550_000, 0, Buy},
		{"one unit less of confidence", 699_999, 100_000, 0, Hold},
		{"one unit less of a lead", 700_000, 550_001, 0, Hold},
		{"the bear convinces", 100_000, 700_000, 0, Sell},
		{"both have a case", 900_000, 760_000, 0, Hold},
		{"both have a case, and the stronger one is for leaving", 760_000, 900_000, 1, Sell},
		{"leaving, just so", 740_000, 750_000, 1, Sell},
		{"leaving, one unit less", 740_000, 749_999, 1, Hold},
		{"leaving a short position", 750_000, 740_000, -1, Buy},
		{"the case for leaving is the weaker one", 800_000, 760_000, 1, Hold},
		{"a tie is no lead", 800_000, 800_000, 1, Hold},
		{"staying in what is held", 750_000, 740_000, 1, Hold},
	} {
		ruling, err := quorum{}.Rule(t.Context(), argues(Bull, test.bull), argues(Bear, test.bear), View{Position: test.position})
		if err != nil || ruling.Action != test.want {
			t.Errorf("%s: %v, %v; want %s", test.name, ruling.Action, err, test.want)
		}
		if ruling.ConfidenceMicros != max(test.bull, test.bear) || len(ruling.Arguments) != 2 || len(ruling.Reasons) == 0 {
			t.Errorf("%s: incomplete ruling %+v", test.name, ruling)
		}
	}
}

// strong is a market in a clear and young trend upwards; its mirror is one
// downwards.
func strong() View {
	return View{Pair: "BTC-USD", SlowReady: true, Fast: indicator.Reading{
		Close: 10_000, RSI: 62_000_000, MACD: 4_000, MACDHistogram: 2_000, PercentB: 850_000, Bandwidth: 40_000,
		ADX: 35_000_000, PlusDI: 40_000_000, MinusDI: 12_000_000, ATR: 6_000,
	}, Slow: indicator.Reading{Close: 10_000, MACD: 5_000, ATR: 12_000, RSI: 58_000_000, PercentB: 600_000}}
}

// oversold is a market that has fallen too far without a trend.
func oversold() View {
	return View{Pair: "BTC-USD", Fast: indicator.Reading{
		Close: 10_000, RSI: 22_000_000, MACD: -1_000, MACDHistogram: -200, PercentB: -120_000, Bandwidth: 30_000,
		ADX: 12_000_000, PlusDI: 18_000_000, MinusDI: 22_000_000, ATR: 6_000,
	}}
}

// mirror turns a market upside down.
func mirror(v View) View {
	turn := func(r indicator.Reading) indicator.Reading {
		r.RSI, r.PercentB = fullScaleMicros-r.RSI, microsPerUnit-r.PercentB
		r.MACD, r.MACDHistogram = -r.MACD, -r.MACDHistogram
		r.PlusDI, r.MinusDI = r.MinusDI, r.PlusDI
		return r
	}
	v.Fast, v.Slow, v.Position = turn(v.Fast), turn(v.Slow), -v.Position
	return v
}

func confidence(t *testing.T, model Model, role Role, view View) int64 {
	t.Helper()
	argument, err := model.Argue(t.Context(), role, view)
	if err != nil || argument.Role != role || argument.Model != model.Name() || len(argument.Reasons) == 0 {
		t.Fatalf("%s: %+v, %v", model.Name(), argument, err)
	}
	for _, reason := range argument.Reasons {
		if !strings.HasSuffix(reason, ".") || strings.Contains(reason, "%!") {
			t.Errorf("%s says %q", model.Name(), reason)
		}
	}
	return argument.ConfidenceMicros
}

func TestModelsSeeWhatTheyAreFor(t *testing.T) {
	held := View{Position: 1, Fast: strong().Fast}
	held.Fast.MACDHistogram, held.Fast.PercentB = -500, 300_000
	for _, test := range []struct {
		name     string
		model    Model
		role     Role
		view     View
		from, to int64
	}{
		{"a trend for the bull", trend{}, Bull, strong(), 700_000, 1_000_000},
		{"a trend against the bear", trend{}, Bear, strong(), 0, 200_000},
		{"a fall for the bear", trend{}, Bear, mirror(strong()), 700_000, 1_000_000},
		{"excess for the bull", reversion{}, Bull, oversold(), 700_000, 1_000_000},
		{"excess against the bear", reversion{}, Bear, oversold(), 0, 300_000},
		{"excess for the bear", reversion{}, Bear, mirror(oversold()), 700_000, 1_000_000},
		{"no excess", reversion{}, Bear, strong(), 0, 500_000},
		{"a move that has turned against the position", reversion{}, Bear, held, 400_000, 1_000_000},
	} {
		if got := confidence(t, test.model, test.role, test.view); got < test.from || got > test.to {
			t.Errorf("%s: confidence %d; want %d to %d", test.name, got, test.from, test.to)
		}
	}
}

func TestDebateOnRealViews(t *testing.T) {
	debate, err := NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		t.Fatal(err)
	}
	ruling, err := debate.Hold(t.Context(), strong())
	if err != nil || ruling.Action != Buy {
		t.Errorf("a young trend is ruled %+v, %v; want Buy", ruling, err)
	}
	if _, err := json.Marshal(ruling); err != nil {
		t.Error(err)
	}
	long := mirror(oversold())
	long.Position = 1
	if ruling, err = debate.Hold(t.Context(), long); err != nil || ruling.Action != Sell {
		t.Errorf("an excess while long is ruled %+v, %v; want Sell", ruling, err)
	}
}

// What is good for the bull in one market is as good for the bear in its mirror,
// and no reading leads outside of 0 to 1.
func TestModelsAreSymmetric(t *testing.T) {
	index := rapid.Int64Range(0, fullScaleMicros)
	share := rapid.Int64Range(-2_000_000, 2_000_000)
	reading := func(t *rapid.T) indicator.Reading {
		return indicator.Reading{
			Close: 10_000, RSI: index.Draw(t, "rsi"), MACD: share.Draw(t, "macd"), MACDHistogram: share.Draw(t, "histogram"),
			PercentB: share.Draw(t, "%b"), ADX: index.Draw(t, "adx"), PlusDI: index.Draw(t, "+di"), MinusDI: index.Draw(t, "-di"),
			ATR: rapid.Int64Range(0, 500_000).Draw(t, "atr"),
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		view := View{Fast: reading(rt), Slow: reading(rt), SlowReady: rapid.Bool().Draw(rt, "slow"),
			Position: rapid.IntRange(-1, 1).Draw(rt, "position"), Gain: share.Draw(rt, "gain")}
		for _, model := range []Model{trend{}, reversion{}} {
			bull, bear := confidence(t, model, Bull, view), confidence(t, model, Bear, mirror(view))
			if bull != bear || bull < 0 || bull > microsPerUnit {
				rt.Fatalf("%s: the bull says %d, and in the mirror the bear %d", model.Name(), bull, bear)
			}
		}
	})
}

func TestUnknownVoices(t *testing.T) {
	for _, names := range [][3]string{{"x", "builtin/trend", "builtin/quorum"}, {"builtin/trend", "", "builtin/quorum"}, {"builtin/trend", "builtin/trend", "builtin/trend"}} {
		if _, err := NewDebate(names[0], names[1], names[2]); err == nil || !strings.Contains(err.Error(), "choose builtin/") {
			t.Errorf("%q: %v", names, err)
		}
	}
}

type mute struct{}

var errMute = errors.New("nothing to say")

func (mute) Name() string { return "test/mute" }
func (mute) Argue(context.Context, Role, View) (Argument, error) {
	return Argument{}, errMute
}

func TestASilentModelEndsTheDebate(t *testing.T) {
	for _, debate := range []Debate{{Bull: mute{}, Bear: trend{}, Judge: quorum{}}, {Bull: trend{}, Bear: mute{}, Judge: quorum{}}} {
		if _, err := debate.Hold(t.Context(), strong()); !errors.Is(err, errMute) {
			t.Errorf("the debate went on: %v", err)
		}
	}
}

func TestLongerBarsAreFrames(t *testing.T) {
	frames := NewFrames(time.Minute)
	for i := range indicator.Bars {
		if frames.Ready() {
			t.Fatalf("ready after %d bars", i)
		}
		at := start.Add(time.Duration(i) * time.Hour)
		if !frames.Add(market.Bar{Start: at, End: at.Add(time.Hour), Open: 1, High: 1, Low: 1, Close: 1}) {
			t.Fatalf("bar %d did not complete a frame", i)
		}
	}
	if view := frames.View("X"); !frames.Ready() || view.SlowReady || frames.slow.Pulse().Bars() != indicator.Bars/SlowFactor {
		t.Errorf("ready %v, slow ready %v with %d frames", frames.Ready(), view.SlowReady, frames.slow.Pulse().Bars())
	}
}

func TestFigures(t *testing.T) {
	for want, f := range map[string]figure{
		"62.5": index(62_512_345), "0.0": index(99_999), "-7.1": index(-7_100_000), "0.123 %": share(1_239), "-12.005 %": share(-120_059), "": {},
	} {
		if got := string(f.append(nil)); got != want {
			t.Errorf("%+v prints %q; want %q", f, got, want)
		}
	}
	if got := string(appendRatio(nil, 1_050_000)); got != "1.05" {
		t.Errorf("a ratio prints %q", got)
	}
}
