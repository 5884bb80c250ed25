package market

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

// Feed delivers the bars of a desk's pairs in order of their end; a bar that
// ends with another comes in the order of the pairs. A Feed is used by one
// goroutine.
type Feed interface {
	// History is what came before the first Next, in the same order: enough of
	// the past to decide on, and nothing to trade on.
	History() []PairBar
	// Next blocks until the next bar is due, and through failures that pass. It
	// returns io.EOF when there will be no more bars and the context's error when
	// that ends first; after any other error the feed is of no use until its
	// user has changed what the error names.
	Next(ctx context.Context) (PairBar, error)
	// Describe says which prices these are, such as
	// "Replay sample/eurusd-1h at 3600x".
	Describe() string
}

// pacedGapBars is the longest pause, in lengths of the bar, that a replay waits
// through. A longer one, such as a weekend, passes like a single bar.
const pacedGapBars = 3

// ReplayOptions say how recordings are played back.
type ReplayOptions struct {
	// Speed is how many seconds of the recording pass in one second of Clock;
	// zero is as fast as they are taken.
	Speed int32
	// WarmUp is how many bars of each pair go to the history.
	WarmUp int
	// ResumeAfter is, for each pair, the end of the last bar that was dealt with
	// before a restart. The replay goes on behind it. A pair that is missing
	// had no bar yet and begins at the latest of these times.
	ResumeAfter map[string]time.Time
	// Clock that paces the replay; the real one when nil.
	Clock clock.Clock
}

// Replay plays recordings back. Two replays of the same recordings with the same
// options deliver the same bars in the same order.
type Replay struct {
	recordings []*Recording
	speed      int32
	clock      clock.Clock
	history    []PairBar
	// next is, for each recording, the index of its next bar.
	next []int
	// lastEnd is the end of the bar last delivered and due when it was.
	lastEnd, due time.Time
}

// NewReplay merges the recordings of a desk's pairs, in the order in which bars
// with the same end shall come.
//
// Without ResumeAfter the replay begins behind the first WarmUp bars of the pair
// that has them first; the other pairs' history ends at the same time, so that
// none knows the future of another.
func NewReplay(recordings []*Recording, options ReplayOptions) (*Replay, error) {
	if len(recordings) == 0 {
		return nil, errors.New("a replay needs the recording of at least one pair")
	}
	if options.Speed < 0 || options.WarmUp < 0 {
		return nil, fmt.Errorf("a replay's speed %d and warm-up %d must not be negative", options.Speed, options.WarmUp)
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	pairs := map[string]bool{}
	for _, recording := range recordings {
		if pairs[recording.Instrument.Pair] {
			return nil, fmt.Errorf("%s has two recordings; a pair is replayed from one", recording.Instrument.Pair)
		}
		if len(recording.Bars) == 0 {
			return nil, fmt.Errorf("%s: the recording %s has no bars", recording.Instrument.Pair, recording.Name)
		}
		pairs[recording.Instrument.Pair] = true
	}
	replay := &Replay{recordings: recordings, speed: options.Speed, clock: options.Clock, next: make([]int, len(recordings))}
	begin := beginning(recordings, options)
	from := make([]int, len(recordings))
	until := make([]int, len(recordings))
	for i, recording := range recordings {
		mark, resumed := options.ResumeAfter[recording.Instrument.Pair]
		if !resumed {
			mark = begin
		}
		until[i] = barsUntil(recording.Bars, mark)
		from[i] = max(0, until[i]-options.WarmUp)
		replay.next[i] = from[i]
	}
	for {
		i := replay.earliest(until)
		if i < 0 {
			break
		}
		replay.history = append(replay.history, replay.take(i))
	}
	return replay, nil
}

// beginning is the end of the last bar of history for pairs that are not
// resumed.
func beginning(recordings []*Recording, options ReplayOptions) (begin time.Time) {
	for _, mark := range options.ResumeAfter {
		if mark.After(begin) {
			begin = mark
		}
	}
	if !begin.IsZero() {
		// A bar that ends with the latest mark may still be due.
		return begin.Add(-1)
	}
	if options.WarmUp == 0 {
		return begin
	}
	for _, recording := range recordings {
		if len(recording.Bars) < options.WarmUp {
			continue
		}
		if end := recording.Bars[options.WarmUp-1].End; begin.IsZero() || end.Before(begin) {
			begin = end
		}
	}
	return begin
}

// barsUntil is how many bars end at the mark or before.
func barsUntil(bars []Bar, mark time.Time) int {
	low, high := 0, len(bars)
	for low < high {
		if middle := (low + high) / 2; bars[middle].End.After(mark) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// earliest is the recording whose next bar ends first, -1 if all have reached
// their limit; no limits is the end of the recordings.
func (r *Replay) earliest(limits []int) int {
	found := -1
	for i, recording := range r.recordings {
		limit := len(recording.Bars)
		if limits != nil {
			limit = limits[i]
		}
		if r.next[i] >= limit {
			continue
		}
		if found < 0 || recording.Bars[r.next[i]].End.Before(r.recordings[found].Bars[r.next[found]].End) {
			found = i
		}
	}
	return found
}

func (r *Replay) take(i int) PairBar {
	bar := r.recordings[i].Bars[r.next[i]]
	r.next[i]++
	r.lastEnd = bar.End
	return PairBar{Pair: r.recordings[i].Instrument.Pair, Bar: bar}
}

// History implements Feed.
func (r *Replay) History() []PairBar { return r.history }

// Describe implements Feed.
func (r *Replay) Describe() string {
	const longest = 256
	names := make([]string, 0, len(r.recordings))
	for _, recording := range r.recordings {
		if !slices.Contains(names, recording.Name) {
			names = append(names, recording.Name)
		}
	}
	text := "Replay " + strings.Join(names, ", ")
	if len(text) > longest {
		text = fmt.Sprintf("Replay of %d recordings", len(names))
	}
	if r.speed == 0 {
		return text
	}
	return fmt.Sprintf("%s at %dx", text, r.speed)
}

// Next implements Feed.
func (r *Replay) Next(ctx context.Context) (PairBar, error) {
	if err := ctx.Err(); err != nil {
		return PairBar{}, err
	}
	i := r.earliest(nil)
	if i < 0 {
		return PairBar{}, io.EOF
	}
	if r.speed > 0 {
		if err := r.wait(ctx, r.recordings[i].Bars[r.next[i]].End, r.recordings[i].Length); err != nil {
			return PairBar{}, err
		}
	}
	return r.take(i), nil
}

// wait blocks until the bar that ends at end is due. A reader that was late does
// not get the missed bars in a rush: the replay goes on from where it is.
func (r *Replay) wait(ctx context.Context, end time.Time, length time.Duration) error {
	now := r.clock.Now()
	if r.due.IsZero() {
		r.due = now
	}
	pause := end.Sub(r.lastEnd)
	if r.lastEnd.IsZero() || pause > pacedGapBars*length {
		pause = length
	}
	due := r.due.Add(pause / time.Duration(r.speed))
	if late := now.Sub(due); late > length/time.Duration(r.speed) {
		due = now
	}
	if remaining := due.Sub(now); remaining > 0 {
		timer := r.clock.NewTimer(remaining)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C():
		}
	}
	r.due = due
	return nil
}
