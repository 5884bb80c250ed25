package decision

import (
	"context"
	"strconv"
)

// The scales of a reading.
const (
	microsPerUnit    = 1_000_000
	fullScaleMicros  = 100 * microsPerUnit
	neutralRSIMicros = 50 * microsPerUnit
)

// trend follows: it is confident where the price already moves its way, the
// more the stronger and the more agreed between time frames.
type trend struct{}

// Name implements Model.
func (trend) Name() string { return "builtin/trend" }

// Argue implements Model.
func (t trend) Argue(_ context.Context, role Role, view View) (Argument, error) {
	side, fast := role.side(), view.Fast
	c := newCase(role, t.Name(), 250_000, view.Terse)
	spread := side * (fast.PlusDI - fast.MinusDI)
	c.weigh(spread, 25*microsPerUnit, 200_000, "Directional movement leads by ", index(spread), "")
	if spread > 0 {
		c.weigh(fast.ADX-15*microsPerUnit, 20*microsPerUnit, 200_000, "ADX is ", index(fast.ADX), "")
	}
	histogram := side * fast.MACDHistogram
	c.weigh(histogram, fast.ATR/4, 200_000, "MACD is ", share(histogram), " of the price from its signal")
	if view.SlowReady {
		slow := side * view.Slow.MACD
		c.weigh(slow, view.Slow.ATR, 150_000, "The longer frame's MACD is ", share(slow), " of the price")
	}
	if strength := side*(fast.RSI-neutralRSIMicros) + neutralRSIMicros; strength > 78*microsPerUnit {
		c.weigh(-1, 1, 150_000, "RSI of ", index(fast.RSI), " says that the move is exhausted")
	}
	return c.argument(), nil
}

// reversion goes against excess: it is confident where the price has moved too
// far the other way, and less so the stronger the trend is that it would fight.
type reversion struct{}

// Name implements Model.
func (reversion) Name() string { return "builtin/reversion" }

// Argue implements Model.
func (r reversion) Argue(_ context.Context, role Role, view View) (Argument, error) {
	side, fast := role.side(), view.Fast
	c := newCase(role, r.Name(), 200_000, view.Terse)
	// Seen from the bull: a price near or below the lower band is cheap.
	cheapness := side * (microsPerUnit/2 - fast.PercentB)
	c.weigh(cheapness-300_000, 300_000, 250_000, "The close is at ", share(fast.PercentB), " of the Bollinger band")
	excess := side * (neutralRSIMicros - fast.RSI)
	c.weigh(excess-10*microsPerUnit, 15*microsPerUnit, 300_000, "RSI is ", index(fast.RSI), "")
	if excess > 0 {
		c.weigh(20*microsPerUnit-fast.ADX, 15*microsPerUnit, 150_000, "ADX is ", index(fast.ADX), "")
	}
	if int64(view.Position) == -side {
		r.leave(&c, side, view)
	}
	return c.argument(), nil
}

// leave adds what speaks for closing a position of the other side: the move that
// it lived on has been paid out, or has turned.
func (reversion) leave(c *advocate, side int64, view View) {
	fast := view.Fast
	if view.Gain > 3*fast.ATR {
		c.weigh(1, 1, 200_000, "The position has gained ", share(view.Gain), ", more than three average ranges")
	}
	turned := side*fast.MACDHistogram > 0 && side*(fast.PercentB-microsPerUnit/2) > 0
	if turned {
		c.weigh(1, 1, 600_000, "The price has crossed its average, and MACD its signal, against the position", figure{}, "")
	}
}

// advocate collects evidence for one side.
type advocate struct {
	role       Role
	model      string
	confidence int64
	terse      bool
	reasons    []string
}

func newCase(role Role, model string, base int64, terse bool) advocate {
	a := advocate{role: role, model: model, confidence: base, terse: terse}
	if !terse {
		a.reasons = make([]string, 0, 6)
	}
	return a
}

// weigh adds the share of weight that evidence has of full, at most all of it
// and at least all of it against. The reason is the sentence around the figure.
func (a *advocate) weigh(evidence, full, weight int64, before string, figure figure, after string) {
	full = max(full, 1)
	evidence = min(max(evidence, -full), full)
	points := evidence * weight / full
	a.confidence += points
	if a.terse {
		return
	}
	text := make([]byte, 0, 96)
	text = append(text, before...)
	text = figure.append(text)
	text = append(text, after...)
	text = append(text, ": "...)
	text = appendRatio(text, abs(points))
	if points < 0 {
		text = append(text, " against."...)
	} else {
		text = append(text, " for."...)
	}
	a.reasons = append(a.reasons, string(text))
}

func (a *advocate) argument() Argument {
	return Argument{Role: a.role, Model: a.model, Reasons: a.reasons,
		ConfidenceMicros: min(max(a.confidence, 0), microsPerUnit)}
}

// figure is a number in millionths with the way to print it; the zero figure
// prints nothing. Debates are held by the million in backtests, so none of this
// goes through fmt.
type figure struct {
	micros int64
	kind   byte
}

// index is a figure of 0 to 100, share one of a whole, printed in per cent.
func index(micros int64) figure { return figure{micros, 'i'} }
func share(micros int64) figure { return figure{micros, '%'} }

func (f figure) append(text []byte) []byte {
	if f.kind == 0 {
		return text
	}
	if f.micros < 0 {
		text = append(text, '-')
	}
	value := abs(f.micros)
	if f.kind == 'i' {
		text = strconv.AppendInt(text, value/microsPerUnit, 10)
		return append(text, '.', byte('0'+value%microsPerUnit/100_000))
	}
	text = strconv.AppendInt(text, value/10_000, 10)
	text = append(text, '.', byte('0'+value%10_000/1000), byte('0'+value%1000/100), byte('0'+value%100/10))
	return append(text, " %"...)
}

// appendRatio prints a positive share with two digits.
func appendRatio(text []byte, micros int64) []byte {
	text = strconv.AppendInt(text, micros/microsPerUnit, 10)
	return append(text, '.', byte('0'+micros%microsPerUnit/100_000), byte('0'+micros%100_000/10_000))
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
