package decision

import (
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
)

// Frames turns a stream of bars into the two pulses of a View. Bars shorter than
// the interval are put together; frames begin at multiples of their length.
type Frames struct{ fast, slow *indicator.Frame }

// NewFrames makes frames of the given length; a bar that is longer is a frame of
// its own.
func NewFrames(length time.Duration) *Frames {
	return &Frames{fast: indicator.NewFrame(length), slow: indicator.NewFrame(SlowFactor * length)}
}

// BarsPerFrame is how many bars of a length make one frame of the interval
// between decisions.
func BarsPerFrame(interval, barLength time.Duration) int {
	if barLength <= 0 || barLength >= interval {
		return 1
	}
	return int((interval + barLength - 1) / barLength)
}

// BarsToBegin is how many bars of the past the first decision needs: those of the
// slowest indicator, and of the frame that may have begun before them.
func BarsToBegin(interval, barLength time.Duration) int {
	return (indicator.Bars + 1) * BarsPerFrame(interval, barLength)
}

// Add takes the next bar. It reports whether a fast frame was completed by it.
func (f *Frames) Add(bar market.Bar) bool {
	if span := bar.End.Sub(bar.Start); span > f.fast.Length() {
		f.fast.SetLength(span)
		f.slow.SetLength(SlowFactor * span)
	}
	f.slow.Add(bar)
	return f.fast.Add(bar)
}

// Ready reports whether the fast pulse can be read.
func (f *Frames) Ready() bool { return f.fast.Ready() }

// View is what the debate sees of the market.
func (f *Frames) View(pair string) View {
	view := View{Pair: pair, Fast: f.fast.Reading(), SlowReady: f.slow.Ready()}
	if view.SlowReady {
		view.Slow = f.slow.Reading()
	}
	return view
}
