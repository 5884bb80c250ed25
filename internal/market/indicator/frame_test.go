package indicator

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

func minute(from int, open, high, low, last market.Price) market.Bar {
	at := start.Add(time.Duration(from) * time.Minute)
	return market.Bar{Start: at, End: at.Add(time.Minute), Open: open, High: high, Low: low, Close: last, Volume: 1}
}

func TestBarsArePutTogether(t *testing.T) {
	f := NewFrame(5 * time.Minute)
	for i := range 4 {
		if f.Add(minute(i, 100+market.Price(i), 110, 90-market.Price(i), 105)) {
			t.Fatalf("the frame was complete after %d bars", i+1)
		}
	}
	if !f.Add(minute(4, 1, 111, 89, 107)) {
		t.Fatal("the frame was not complete at its end")
	}
	want := market.Bar{Start: start, End: start.Add(5 * time.Minute), Open: 100, High: 111, Low: 87, Close: 107, Volume: 5}
	if f.pulse.bars != 1 || f.pulse.previous != want {
		t.Errorf("the frame is %+v; want %+v", f.pulse.previous, want)
	}
}

func TestGapEndsAFrame(t *testing.T) {
	f := NewFrame(5 * time.Minute)
	f.Add(minute(0, 100, 100, 100, 100))
	if !f.Add(minute(17, 200, 200, 200, 200)) || f.pulse.bars != 1 || f.pulse.previous.Close != 100 {
		t.Errorf("after the gap: %d frames, the last %+v", f.pulse.bars, f.pulse.previous)
	}
}

func lengthsOf(frames []Timeframe) []time.Duration {
	lengths := make([]time.Duration, len(frames))
	for i := range frames {
		lengths[i] = frames[i].Length
	}
	return lengths
}

// Every frame of the board is what a pulse of such bars would be, and frames
// shorter than the bars are not made up.
func TestBoardKeepsSeveralFrames(t *testing.T) {
	board := NewBoard()
	if _, _, known := board.Pair("EUR-USD"); known {
		t.Fatal("a pair without bars is known")
	}
	alone := map[time.Duration]*Frame{}
	const bars = 2000
	for i := range bars {
		at := start.Add(time.Duration(i) * 15 * time.Minute)
		price := market.Price(10_000 + 37*(i%11) - 3*(i%7))
		bar := market.Bar{Start: at, End: at.Add(15 * time.Minute), Open: price, High: price + 5, Low: price - 9, Close: price + 2}
		board.Add(market.PairBar{Pair: "EUR-USD", Bar: bar})
		board.Add(market.PairBar{Pair: "EUR-USD", Bar: bar})
		for _, length := range []time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour} {
			if alone[length] == nil {
				alone[length] = NewFrame(length)
			}
			alone[length].Add(bar)
		}
	}
	frames, newest, known := board.Pair("EUR-USD")
	if !known || !newest.Equal(start.Add(bars*15*time.Minute)) {
		t.Fatalf("known %v until %s", known, newest)
	}
	want := []time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour}
	if got := lengthsOf(frames); !slices.Equal(got, want) {
		t.Fatalf("the frames are %v; want %v", got, want)
	}
	for _, frame := range frames {
		pulse := alone[frame.Length].Pulse()
		if frame.Values != pulse.Values() || frame.Bars != pulse.Bars() || !frame.End.Equal(pulse.End()) {
			t.Errorf("%s: %+v; want %+v", frame.Length, frame, pulse.Values())
		}
	}
	if days := frames[3].Bars; days != 20 {
		t.Errorf("%d days in 2000 quarters of an hour; want 20", days)
	}
}

func TestBoardTakesBarsOfAnyLength(t *testing.T) {
	board := NewBoard()
	at := start
	for _, span := range []time.Duration{7 * time.Minute, 7 * time.Minute, 30 * time.Minute} {
		board.Add(market.PairBar{Pair: "X", Bar: market.Bar{Start: at, End: at.Add(span), Open: 5, High: 5, Low: 5, Close: 5}})
		at = at.Add(span)
	}
	frames, _, _ := board.Pair("X")
	if got, want := lengthsOf(frames), []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}; !slices.Equal(got, want) {
		t.Errorf("the frames are %v; want %v", got, want)
	}
}

// reel is a feed of bars in memory.
type reel struct{ history, bars []market.PairBar }

func (r *reel) History() []market.PairBar { return r.history }
func (r *reel) Describe() string          { return "reel" }
func (r *reel) Next(context.Context) (market.PairBar, error) {
	if len(r.bars) == 0 {
		return market.PairBar{}, io.EOF
	}
	bar := r.bars[0]
	r.bars = r.bars[1:]
	return bar, nil
}

func TestBoardFollowsAFeed(t *testing.T) {
	board := NewBoard()
	bar := func(i int) market.PairBar { return market.PairBar{Pair: "X", Bar: minute(i, 5, 5, 5, 5)} }
	feed := board.Follow(&reel{history: []market.PairBar{bar(0), bar(1)}, bars: []market.PairBar{bar(2)}})
	if len(feed.History()) != 2 || feed.Describe() != "reel" {
		t.Error("the feed is not what it was")
	}
	if next, err := feed.Next(t.Context()); err != nil || next != bar(2) {
		t.Errorf("%+v, %v", next, err)
	}
	if _, err := feed.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("the end of the feed is %v", err)
	}
	if frames, _, _ := board.Pair("X"); frames[0].Bars != 3 {
		t.Errorf("the board has seen %d bars; want 3", frames[0].Bars)
	}
}
