package indicator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Lengths are the time frames that a board keeps, as far as the bars are not
// longer.
func Lengths() []time.Duration {
	return []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour}
}

// Board keeps the pulse of every pair over several time frames. Its methods may
// be called from any goroutine.
type Board struct {
	mu    sync.Mutex
	pairs map[string]*pairBoard
}

type pairBoard struct {
	frames []*Frame
	newest time.Time
}

// Timeframe is the pulse of one pair over one time frame.
type Timeframe struct {
	Length time.Duration
	// Bars of this length that are complete, and the end of the newest.
	Bars int
	End  time.Time
	Values
}

// NewBoard is a board that has seen nothing.
func NewBoard() *Board { return &Board{pairs: map[string]*pairBoard{}} }

// Pair is what is known of a pair, the shortest frame first, and the end of its
// newest bar. It reports false as long as there was no bar.
func (b *Board) Pair(pair string) ([]Timeframe, time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pairs[pair]
	if known == nil {
		return nil, time.Time{}, false
	}
	frames := make([]Timeframe, len(known.frames))
	for i, frame := range known.frames {
		pulse := frame.Pulse()
		frames[i] = Timeframe{Length: frame.Length(), Bars: pulse.Bars(), End: pulse.End(), Values: pulse.Values()}
	}
	return frames, known.newest, true
}

// Add takes the next bar. A bar that is not newer than the last of its pair is
// passed over.
func (b *Board) Add(bar market.PairBar) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.pairs[bar.Pair]
	if known == nil {
		known = &pairBoard{}
		b.pairs[bar.Pair] = known
	}
	if !bar.End.After(known.newest) {
		return
	}
	known.newest = bar.End
	span := bar.End.Sub(bar.Start)
	if known.frames == nil {
		lengths := append(Lengths(), span)
		slices.Sort(lengths)
		for _, length := range slices.Compact(lengths) {
			known.frames = append(known.frames, NewFrame(length))
		}
	}
	// Shorter frames cannot be made of longer bars.
	known.frames = slices.DeleteFunc(known.frames, func(f *Frame) bool { return f.Length() < span })
	for _, frame := range known.frames {
		frame.Add(bar.Bar)
	}
}

// Follow lets the board see every bar that the feed delivers.
func (b *Board) Follow(feed market.Feed) market.Feed { return &followed{Feed: feed, board: b} }

type followed struct {
	market.Feed

	board *Board
}

// History implements market.Feed.
func (f *followed) History() []market.PairBar {
	bars := f.Feed.History()
	for _, bar := range bars {
		f.board.Add(bar)
	}
	return bars
}

// Next implements market.Feed.
func (f *followed) Next(ctx context.Context) (market.PairBar, error) {
	bar, err := f.Feed.Next(ctx)
	if err == nil {
		f.board.Add(bar)
	}
	return bar, err
}
