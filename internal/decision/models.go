package decision

import (
	"context"
	"fmt"
	"strings"
)

// trend follows: it is confident where the price already moves its way, the
// more the stronger and the more agreed between time frames.
type trend struct{}

// Name implements Model.
func (trend) Name() string { return "builtin/trend" }

// Argue implements Model.
func (t trend) Argue(_ context.Context, role Role, view View) (Argument, error) {
	side, fast := role.side(), view.Fast
	c := newCase(role, t.Name(), 250_000)
	spread := side * (fast.PlusDI - fast.MinusDI)
	c.weigh(spread, 25*microsPerUnit, 200_000, "directional movement leads by %s", points(spread))
	if spread > 0 {
		c.weigh(fast.ADX-15*microsPerUnit, 20*microsPerUnit, 200_000, "ADX is %s", points(fast.ADX))
	}
	histogram := side * fast.MACDHistogram
	c.weigh(histogram, fast.ATR/4, 200_000, "MACD is %s of the price from its signal", percent(histogram))
	if view.SlowReady {
		slow := side * view.Slow.MACD
		c.weigh(slow, view.Slow.ATR, 150_000, "the longer frame's MACD is %s", percent(slow))
	}
	if strength := side*(fast.RSI-neutralRSIMicros) + neutralRSIMicros; strength > 78*microsPerUnit {
		c.weigh(-1, 1, 150_000, "RSI of %s says that the move is exhausted", points(fast.RSI))
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
	c := newCase(role, r.Name(), 200_000)
	// Seen from the bull: a price near or below the lower band is cheap.
	cheapness := side * (microsPerUnit/2 - fast.PercentB)
	c.weigh(cheapness-300_000, 300_000, 250_000, "the close is at %s of the Bollinger band", percent(fast.PercentB))
	excess := side * (neutralRSIMicros - fast.RSI)
	c.weigh(excess-10*microsPerUnit, 15*microsPerUnit, 300_000, "RSI is %s", points(fast.RSI))
	if excess > 0 {
		c.weigh(20*microsPerUnit-fast.ADX, 15*microsPerUnit, 150_000, "ADX is %s", points(fast.ADX))
	}
	if int64(view.Position) == -side {
		r.leave(c, side, view)
	}
	return c.argument(), nil
}

// leave adds what speaks for closing a position of the other side: the move that
// it lived on has been paid out, or has turned.
func (reversion) leave(c *advocate, side int64, view View) {
	fast := view.Fast
	if view.Gain > 3*fast.ATR {
		c.weigh(1, 1, 200_000, "the position has gained %s, more than three average ranges", percent(view.Gain))
	}
	turned := side*fast.MACDHistogram > 0 && side*(fast.PercentB-microsPerUnit/2) > 0
	if turned {
		c.weigh(1, 1, 600_000, "the price has crossed its average, and MACD its signal, against the position")
	}
}

// advocate collects evidence for one side.
type advocate struct {
	role       Role
	model      string
	confidence int64
	reasons    []string
}

func newCase(role Role, model string, base int64) *advocate {
	return &advocate{role: role, model: model, confidence: base, reasons: make([]string, 0, 6)}
}

// weigh adds the share of weight that evidence has of full, at most all of it
// and at least all of it against.
func (a *advocate) weigh(evidence, full, weight int64, format string, values ...any) {
	full = max(full, 1)
	evidence = min(max(evidence, -full), full)
	points := evidence * weight / full
	a.confidence += points
	word := "for"
	if points < 0 {
		word = "against"
	}
	text := fmt.Sprintf(format, values...)
	a.reasons = append(a.reasons, fmt.Sprintf("%s%s: %s %s.", strings.ToUpper(text[:1]), text[1:], ratio(abs(points)), word))
}

func (a *advocate) argument() Argument {
	return Argument{Role: a.role, Model: a.model, Reasons: a.reasons,
		ConfidenceMicros: min(max(a.confidence, 0), microsPerUnit)}
}

// points prints an index of 0 to 100.
func points(micros int64) string {
	return fmt.Sprintf("%s%d.%d", minus(micros), abs(micros)/microsPerUnit, abs(micros)%microsPerUnit/100_000)
}

// percent prints a share.
func percent(micros int64) string {
	return fmt.Sprintf("%s%d.%03d %%", minus(micros), abs(micros)/10_000, abs(micros)%10_000/10)
}

func minus(v int64) string {
	if v < 0 {
		return "-"
	}
	return ""
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
