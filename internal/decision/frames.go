package decision

import (
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Frames turns a stream of bars into the two pulses of a View. Bars shorter than
// the interval are put together; frames begin at multiples of their length.
type Frames struct {
	fast, slow           Pulse
	fastFrame, slowFrame frame
}

// NewFrames makes frames of the given length; a bar that is longer is a frame of
// its own.
func NewFrames(length time.Duration) *Frames {
	return &Frames{fastFrame: frame{length: length}, slowFrame: frame{length: SlowFactor * length}}
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
	return (PulseBars + 1) * BarsPerFrame(interval, barLength)
}

// Add takes the next bar. It reports whether a fast frame was completed by it.
func (f *Frames) Add(bar market.Bar) bool {
	if span := bar.End.Sub(bar.Start); span > f.fastFrame.length {
		f.fastFrame.length, f.slowFrame.length = span, SlowFactor*span
	}
	f.slowFrame.add(bar, &f.slow)
	return f.fastFrame.add(bar, &f.fast)
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

// frame puts bars together until one ends at the frame's end or beyond it.
type frame struct {
	length time.Duration
	bar    market.Bar
	ends   time.Time
}

// add reports whether a frame was given to the pulse.
func (f *frame) add(bar market.Bar, pulse *Pulse) (completed bool) {
	ends := bar.End.Add(-1).Truncate(f.length).Add(f.length)
	if !f.ends.IsZero() && !ends.Equal(f.ends) {
		pulse.Add(f.bar)
		f.ends, completed = time.Time{}, true
	}
	if f.ends.IsZero() {
		f.bar, f.ends = bar, ends
	} else {
		f.bar.High, f.bar.Low = max(f.bar.High, bar.High), min(f.bar.Low, bar.Low)
		f.bar.Close, f.bar.End, f.bar.Bid, f.bar.Ask = bar.Close, bar.End, bar.Bid, bar.Ask
		f.bar.Volume += bar.Volume
	}
	if !bar.End.Before(f.ends) {
		pulse.Add(f.bar)
		f.ends, completed = time.Time{}, true
	}
	return completed
}
