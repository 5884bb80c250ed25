package indicator

import (
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Frame puts bars together into longer ones, which begin at multiples of their
// length, and keeps their pulse.
type Frame struct {
	pulse  Pulse
	length time.Duration
	bar    market.Bar
	ends   time.Time
}

// NewFrame is a frame of the given length, greater than zero.
func NewFrame(length time.Duration) *Frame { return &Frame{length: length} }

// Length of the frame's bars.
func (f *Frame) Length() time.Duration { return f.length }

// SetLength changes it from the next bar on.
func (f *Frame) SetLength(length time.Duration) { f.length = length }

// Pulse of the bars that are complete.
func (f *Frame) Pulse() *Pulse { return &f.pulse }

// Ready reports whether every indicator has seen as many bars as it needs.
func (f *Frame) Ready() bool { return f.pulse.Ready() }

// Reading is the pulse of the bars that are complete.
func (f *Frame) Reading() Reading { return f.pulse.Reading() }

// Add takes the next bar. It reports whether one of the frame's own was completed
// by it.
func (f *Frame) Add(bar market.Bar) (completed bool) {
	ends := bar.End.Add(-1).Truncate(f.length).Add(f.length)
	if !f.ends.IsZero() && !ends.Equal(f.ends) {
		f.pulse.Add(f.bar)
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
		f.pulse.Add(f.bar)
		f.ends, completed = time.Time{}, true
	}
	return completed
}
