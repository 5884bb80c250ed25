// Package indicator computes the market's pulse from bars: RSI, MACD, Bollinger
// bands, ADX and ATR as their authors published them, over one or more time
// frames. The debate and the API read the same figures.
package indicator

import (
	"math"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Periods of the indicators, as their authors published them.
const (
	wilderPeriod     = 14
	macdFast         = 12
	macdSlow         = 26
	macdSignal       = 9
	bollingerPeriod  = 20
	bollingerWidth   = 2
	microsPerUnit    = 1_000_000
	fullScaleMicros  = 100 * microsPerUnit
	neutralRSIMicros = 50 * microsPerUnit
)

// How many bars each indicator needs before it means something.
const (
	RSIBars       = wilderPeriod + 1
	ATRBars       = wilderPeriod + 1
	BollingerBars = bollingerPeriod
	ADXBars       = 2 * wilderPeriod
	MACDBars      = macdSlow + macdSignal - 1
	// Bars is how many a pulse needs before all of it is ready: the slowest of its
	// indicators is MACD's signal line.
	Bars = MACDBars
)

// Reading is the market's pulse after a bar. RSI, ADX and the DIs are on their
// own scale of 0 to 100, everything else a share of the closing price; all in
// millionths.
type Reading struct {
	Close market.Price
	// RSI is Wilder's relative strength index.
	RSI int64
	// MACD is the distance of the two averages, MACDHistogram its distance from
	// its own signal line.
	MACD, MACDHistogram int64
	// PercentB is where the close is between the lower (0) and the upper
	// (1,000,000) Bollinger band; Bandwidth is their distance.
	PercentB, Bandwidth int64
	// ADX is the strength of the trend; PlusDI and MinusDI its directions.
	ADX, PlusDI, MinusDI int64
	// ATR is the average true range.
	ATR int64
}

// Pulse computes the indicators bar by bar, without looking back. Its floats
// are rounded to millionths before anybody sees them, and every product is
// converted explicitly, so that no machine fuses it with a sum.
type Pulse struct {
	bars                int
	previous            market.Bar
	gain, loss          float64
	trueRange           float64
	plusMove, minusMove float64
	adx                 float64
	adxCount            int
	fast, slow, signal  average
	window              [bollingerPeriod]int64
}

// Add takes the next bar.
func (p *Pulse) Add(bar market.Bar) {
	p.window[p.bars%bollingerPeriod] = int64(bar.Close)
	p.bars++
	p.fast.add(float64(bar.Close), macdFast)
	p.slow.add(float64(bar.Close), macdSlow)
	if p.slow.count >= macdSlow {
		p.signal.add(p.fast.value-p.slow.value, macdSignal)
	}
	if p.bars > 1 {
		p.addChange(bar)
	}
	p.previous = bar
}

// addChange follows what needs the bar before: RSI, ATR and the ADX system.
func (p *Pulse) addChange(bar market.Bar) {
	n := p.bars - 1
	change := float64(bar.Close - p.previous.Close)
	p.gain = wilder(p.gain, max(change, 0), n)
	p.loss = wilder(p.loss, max(-change, 0), n)
	span := float64(max(bar.High, p.previous.Close) - min(bar.Low, p.previous.Close))
	p.trueRange = wilder(p.trueRange, span, n)
	up, down := float64(bar.High-p.previous.High), float64(p.previous.Low-bar.Low)
	plus, minus := 0.0, 0.0
	if up > down && up > 0 {
		plus = up
	} else if down > up && down > 0 {
		minus = down
	}
	p.plusMove = wilder(p.plusMove, plus, n)
	p.minusMove = wilder(p.minusMove, minus, n)
	if n >= wilderPeriod {
		p.adxCount++
		p.adx = wilder(p.adx, p.directional(), p.adxCount)
	}
}

// directional is Wilder's DX: how one-sided the movement is, 0 to 100.
func (p *Pulse) directional() float64 {
	sum := p.plusMove + p.minusMove
	if sum == 0 {
		return 0
	}
	return float64(100*math.Abs(p.plusMove-p.minusMove)) / sum
}

// Ready reports whether every indicator has seen as many bars as it needs.
func (p *Pulse) Ready() bool { return p.bars >= Bars && p.previous.Close > 0 }

// Bars is how many bars the pulse has seen.
func (p *Pulse) Bars() int { return p.bars }

// End is the end of the newest bar.
func (p *Pulse) End() time.Time { return p.previous.End }

// Reading is the pulse now. It means something only when Ready.
func (p *Pulse) Reading() Reading {
	price := float64(p.previous.Close)
	reading := Reading{
		Close:         p.previous.Close,
		RSI:           p.rsi(),
		MACD:          micros(p.fast.value-p.slow.value, price),
		MACDHistogram: micros(p.fast.value-p.slow.value-p.signal.value, price),
		ADX:           micros(p.adx, 1),
		PlusDI:        micros(float64(100*p.plusMove), p.trueRange),
		MinusDI:       micros(float64(100*p.minusMove), p.trueRange),
		ATR:           micros(p.trueRange, price),
	}
	reading.PercentB, reading.Bandwidth = p.bollinger()
	return reading
}

func (p *Pulse) rsi() int64 {
	switch {
	case p.gain == 0 && p.loss == 0:
		return neutralRSIMicros
	case p.loss == 0:
		return fullScaleMicros
	}
	return micros(float64(100*p.gain), p.gain+p.loss)
}

// bollinger is where the close is between the bands, and how far they are apart.
func (p *Pulse) bollinger() (percentB, bandwidth int64) {
	mean, half := p.bands()
	if half == 0 {
		return microsPerUnit / 2, 0
	}
	return micros(half-mean, float64(2*half)), micros(float64(2*half), float64(p.previous.Close)+mean)
}

// bands are the middle band, less the close, and the distance of the outer ones
// from it. They use the population's deviation, as Bollinger does; the sums are
// taken of differences from the close, so that they stay small and exact.
func (p *Pulse) bands() (mean, half float64) {
	closing := int64(p.previous.Close)
	var sum, squares float64
	for _, price := range p.window {
		difference := float64(price - closing)
		sum += difference
		squares += float64(difference * difference)
	}
	mean = sum / bollingerPeriod
	variance := squares/bollingerPeriod - float64(mean*mean)
	return mean, float64(bollingerWidth * math.Sqrt(max(variance, 0)))
}

// average is an exponential moving average that starts as a simple one.
type average struct {
	value float64
	count int
}

func (a *average) add(value float64, period int) {
	a.count++
	if a.count <= period {
		a.value += (value - a.value) / float64(a.count)
		return
	}
	a.value += float64((value-a.value)*2) / float64(period+1)
}

// wilder is Wilder's smoothing: the mean of the first 14 values, then one part in
// 14 of each new one; n counts the values from 1.
func wilder(before, value float64, n int) float64 {
	return before + (value-before)/float64(min(n, wilderPeriod))
}

// micros is numerator ÷ denominator in millionths; 0 if there is nothing to
// divide by.
func micros(numerator, denominator float64) int64 {
	if denominator == 0 {
		return 0
	}
	return int64(math.Round(float64(numerator/denominator) * microsPerUnit))
}
