package indicator

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func closing(n int, price market.Price) market.Bar {
	at := start.Add(time.Duration(n) * time.Minute)
	return market.Bar{Start: at, End: at.Add(time.Minute), Open: price, High: price, Low: price, Close: price}
}

// The example by which StockCharts explains Wilder's RSI, in ticks of 0.0001,
// and its published results.
func TestRSIAsPublished(t *testing.T) {
	closes := []market.Price{
		443389, 440902, 441497, 436124, 443278, 448264, 450955, 454245, 458433, 460826, 458931, 460328, 456140, 462820, 462820, 460028, 460328,
		464116, 462222, 456439, 462122, 462521, 457137, 464515, 457835, 453548, 440288, 441783, 442181, 445672, 434205, 426628, 431314,
	}
	published := []float64{70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46, 41.87, 45.46, 37.30, 33.08, 37.77}
	var pulse Pulse
	for i, price := range closes {
		pulse.Add(closing(i, price))
		if i < wilderPeriod {
			continue
		}
		if got := float64(pulse.Reading().RSI) / microsPerUnit; math.Abs(got-published[i-wilderPeriod]) > 0.0051 { //nolint:gosec // as many results as closes after the first period
			t.Errorf("RSI after bar %d is %.4f; published is %.2f", i+1, got, published[i-wilderPeriod]) //nolint:gosec // the same
		}
	}
}

// On a straight line every indicator has a value that can be written down: an
// average of n bars lags by (n-1)/2 steps, all movement is upward, the range
// never changes.
func TestStraightLine(t *testing.T) {
	for _, step := range []market.Price{10, -10} {
		var pulse Pulse
		price := market.Price(10_000)
		for i := range 200 {
			price += step
			bar := closing(i, price)
			bar.High, bar.Low = price+10, price-10
			pulse.Add(bar)
			if pulse.Ready() != (i+1 >= Bars) {
				t.Fatalf("after %d bars Ready is %v", i+1, pulse.Ready())
			}
		}
		got := pulse.Reading()
		share := func(ticks float64) int64 { return int64(math.Round(ticks / float64(price) * microsPerUnit)) }
		want := Reading{
			Close: price, RSI: fullScaleMicros, MACD: share(7 * float64(step)), ADX: fullScaleMicros, PlusDI: fullScaleMicros / 2,
			ATR: share(20), PercentB: got.PercentB, Bandwidth: got.Bandwidth,
		}
		if step < 0 {
			want.RSI, want.PlusDI, want.MinusDI = 0, 0, fullScaleMicros/2
		}
		if got != want {
			t.Errorf("step %d: %+v; want %+v", step, got, want)
		}
		// Twenty steps of ten deviate by 10·√((20²-1)/12) from their mean, and the
		// close is 95 from it.
		deviation := 10 * math.Sqrt(399.0/12)
		percentB := int64(math.Round((0.5 + float64(market.Price(95)*step/10)/(4*deviation)) * microsPerUnit))
		if got.PercentB != percentB {
			t.Errorf("step %d: %%B is %d; want %d", step, got.PercentB, percentB)
		}
	}
}

func TestBollingerOfTwoPrices(t *testing.T) {
	var pulse Pulse
	for i := range 40 {
		pulse.Add(closing(i, market.Price(9900+200*(i%2))))
	}
	// Mean 10,000 and deviation 100: the bands are 9,800 and 10,200.
	if got := pulse.Reading(); got.PercentB != 750_000 || got.Bandwidth != 40_000 {
		t.Errorf("%%B %d and bandwidth %d; want 750000 and 40000", got.PercentB, got.Bandwidth)
	}
}

func TestFlatMarket(t *testing.T) {
	var pulse Pulse
	for i := range 60 {
		pulse.Add(closing(i, 5000))
	}
	if got, want := pulse.Reading(), (Reading{Close: 5000, RSI: neutralRSIMicros, PercentB: 500_000}); got != want {
		t.Errorf("a market without movement reads %+v; want %+v", got, want)
	}
}

// Step by step or all at once from the definitions: the same to a millionth of
// a scale of 100.
func TestPulseByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bars := make([]market.Bar, rapid.IntRange(Bars, 120).Draw(t, "bars"))
		price := rapid.Int64Range(10_000, 1_000_000).Draw(t, "price")
		var pulse Pulse
		for i := range bars {
			price = max(price+rapid.Int64Range(-300, 300).Draw(t, "move"), 5000)
			bars[i] = closing(i, market.Price(price))
			bars[i].High += market.Price(rapid.Int64Range(0, 200).Draw(t, "high"))
			bars[i].Low -= market.Price(rapid.Int64Range(0, 200).Draw(t, "low"))
			pulse.Add(bars[i])
		}
		got := pulse.Reading()
		for _, check := range []struct {
			name string
			got  int64
			want float64
		}{
			{"RSI", got.RSI, rsiOf(bars)}, {"ATR", got.ATR, smoothed(ranges(bars)) / float64(price)},
			{"MACD", got.MACD, (emaOf(closes(bars), 12) - emaOf(closes(bars), 26)) / float64(price)},
			{"histogram", got.MACDHistogram, histogramOf(bars) / float64(price)}, {"ADX", got.ADX, adxOf(bars)},
		} {
			if math.Abs(float64(check.got)-check.want*microsPerUnit) > 2 {
				t.Errorf("%s is %d; by definition %.3f", check.name, check.got, check.want*microsPerUnit)
			}
		}
	})
}

func closes(bars []market.Bar) []float64 {
	values := make([]float64, len(bars))
	for i := range bars {
		values[i] = float64(bars[i].Close)
	}
	return values
}

// smoothed is Wilder's average of 14, from its definition.
func smoothed(values []float64) float64 {
	sum := 0.0
	for _, value := range values[:14] {
		sum += value
	}
	average := sum / 14
	for _, value := range values[14:] {
		average = (average*13 + value) / 14
	}
	return average
}

func rsiOf(bars []market.Bar) float64 {
	var gains, losses []float64
	for i := 1; i < len(bars); i++ {
		change := float64(bars[i].Close - bars[i-1].Close)
		gains, losses = append(gains, math.Max(change, 0)), append(losses, math.Max(-change, 0))
	}
	if smoothed(losses) == 0 {
		return 100
	}
	return 100 - 100/(1+smoothed(gains)/smoothed(losses))
}

func ranges(bars []market.Bar) []float64 {
	var spans []float64
	for i := 1; i < len(bars); i++ {
		high, low, before := float64(bars[i].High), float64(bars[i].Low), float64(bars[i-1].Close)
		spans = append(spans, math.Max(high-low, math.Max(math.Abs(high-before), math.Abs(low-before))))
	}
	return spans
}

func emaOf(values []float64, period int) float64 {
	sum := 0.0
	for _, value := range values[:period] {
		sum += value
	}
	average, alpha := sum/float64(period), 2/float64(period+1)
	for _, value := range values[period:] {
		average = alpha*value + (1-alpha)*average
	}
	return average
}

func histogramOf(bars []market.Bar) float64 {
	var macd []float64
	for i := 26; i <= len(bars); i++ {
		macd = append(macd, emaOf(closes(bars[:i]), 12)-emaOf(closes(bars[:i]), 26))
	}
	return macd[len(macd)-1] - emaOf(macd, 9)
}

func adxOf(bars []market.Bar) float64 {
	var plus, minus []float64
	for i := 1; i < len(bars); i++ {
		up, down := float64(bars[i].High-bars[i-1].High), float64(bars[i-1].Low-bars[i].Low)
		p, m := 0.0, 0.0
		if up > down && up > 0 {
			p = up
		}
		if down > up && down > 0 {
			m = down
		}
		plus, minus = append(plus, p), append(minus, m)
	}
	spans := ranges(bars)
	var dx []float64
	for i := 14; i <= len(spans); i++ {
		// DX is the difference of the DIs over their sum; the ranges cancel.
		pdi, mdi := 100*smoothed(plus[:i])/smoothed(spans[:i]), 100*smoothed(minus[:i])/smoothed(spans[:i])
		if pdi+mdi == 0 {
			dx = append(dx, 0)
			continue
		}
		dx = append(dx, 100*math.Abs(pdi-mdi)/(pdi+mdi))
	}
	return smoothed(dx)
}

func BenchmarkPulse(b *testing.B) {
	var pulse Pulse
	var sum int64
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		pulse.Add(closing(i, market.Price(10_000+i%97)))
		sum += pulse.Reading().RSI
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
}
