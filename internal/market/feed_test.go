package market

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2018, 4, 4, 0, 0, 0, 0, time.UTC)

// recordingOf has a bar of one minute at each of the minutes given.
func recordingOf(pair string, minutes ...int) *Recording {
	recording := &Recording{Name: "test/" + strings.ToLower(pair), Instrument: Instrument{Pair: pair}, Length: time.Minute}
	for _, minute := range minutes {
		start := epoch.Add(time.Duration(minute) * time.Minute)
		price := Price(minute + 1)
		recording.Bars = append(recording.Bars, Bar{Start: start, End: start.Add(time.Minute), Open: price, High: price, Low: price, Close: price})
	}
	return recording
}

// minutes are the first so many.
func minutes(count int) []int {
	list := make([]int, count)
	for i := range list {
		list[i] = i
	}
	return list
}

func replayOf(tb testing.TB, options ReplayOptions, recordings ...*Recording) *Replay {
	tb.Helper()
	replay, err := NewReplay(recordings, options)
	if err != nil {
		tb.Fatal(err)
	}
	return replay
}

// told is bars as text: the pair and the minute that its bar begins.
func told(bars ...PairBar) string {
	parts := make([]string, len(bars))
	for i, bar := range bars {
		parts[i] = fmt.Sprintf("%s%d", bar.Pair, int(bar.Start.Sub(epoch)/time.Minute))
	}
	return strings.Join(parts, " ")
}

// drain takes all bars that are left.
func drain(t rapid.TB, feed Feed) (bars []PairBar) {
	t.Helper()
	for {
		bar, err := feed.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return bars
		}
		if err != nil {
			t.Fatal(err)
		}
		bars = append(bars, bar)
	}
}

func TestReplayMergesByEndThenOrderOfPairs(t *testing.T) {
	replay := replayOf(t, ReplayOptions{}, recordingOf("b", 0, 1, 3), recordingOf("a", 1, 2, 3, 5), recordingOf("c", 0))
	if got, want := told(drain(t, replay)...), "b0 c0 b1 a1 a2 b3 a3 a5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := replay.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestReplayWarmsUpWithoutKnowingTheFuture(t *testing.T) {
	for _, test := range []struct {
		name          string
		warmUp        int
		history, rest string
	}{
		{"none", 0, "", "a0 a1 a2 b2 a3 b3 a4 b4"},
		{"the first pair to have enough ends it", 3, "a0 a1 a2 b2", "a3 b3 a4 b4"},
		{"a pair keeps no more than was asked for", 1, "a0", "a1 a2 b2 a3 b3 a4 b4"},
		{"more than there is leaves nothing to warm up with", 9, "", "a0 a1 a2 b2 a3 b3 a4 b4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			replay := replayOf(t, ReplayOptions{WarmUp: test.warmUp}, recordingOf("a", minutes(5)...), recordingOf("b", 2, 3, 4))
			if got := told(replay.History()...); got != test.history {
				t.Errorf("history %q, want %q", got, test.history)
			}
			if got := told(drain(t, replay)...); got != test.rest {
				t.Errorf("rest %q, want %q", got, test.rest)
			}
		})
	}
}

func TestReplayResumesEachPairBehindItsMark(t *testing.T) {
	a, b, c := recordingOf("a", minutes(8)...), recordingOf("b", minutes(8)...), recordingOf("c", 4, 5, 6)
	replay := replayOf(t, ReplayOptions{WarmUp: 2, ResumeAfter: map[string]time.Time{"a": a.Bars[4].End, "b": b.Bars[3].End}}, a, b, c)
	// The bar of c that ends with the latest mark was still to come.
	if got, want := told(replay.History()...), "b2 a3 b3 a4"; got != want {
		t.Errorf("history %q, want %q", got, want)
	}
	if got, want := told(drain(t, replay)...), "b4 c4 a5 b5 c5 a6 b6 c6 a7 b7"; got != want {
		t.Errorf("rest %q, want %q", got, want)
	}
}

// TestReplayContinuesWhereItWasKilled stops a replay anywhere, resumes it from
// the marks of the bars dealt with, and wants the undisturbed stream.
func TestReplayContinuesWhereItWasKilled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recordings := make([]*Recording, rapid.IntRange(1, 4).Draw(t, "pairs"))
		for i := range recordings {
			at := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 1, 20, rapid.ID[int]).Draw(t, "minutes")
			slices.Sort(at)
			recordings[i] = recordingOf(string(rune('a'+i)), at...)
		}
		warmUp := rapid.IntRange(0, 5).Draw(t, "warm-up")
		whole, err := NewReplay(recordings, ReplayOptions{WarmUp: warmUp})
		if err != nil {
			t.Fatal(err)
		}
		marks := map[string]time.Time{}
		for _, bar := range whole.History() {
			marks[bar.Pair] = bar.End
		}
		stream := drain(t, whole)
		if !slices.IsSortedFunc(slices.Concat(whole.History(), stream), func(x, y PairBar) int { return x.End.Compare(y.End) }) {
			t.Fatalf("not in order: %s | %s", told(whole.History()...), told(stream...))
		}
		killed := rapid.IntRange(0, len(stream)).Draw(t, "killed")
		for _, bar := range stream[:killed] {
			marks[bar.Pair] = bar.End
		}
		if len(marks) == 0 {
			return
		}
		resumed, err := NewReplay(recordings, ReplayOptions{WarmUp: warmUp, ResumeAfter: marks})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := told(drain(t, resumed)...), told(stream[killed:]...); got != want {
			t.Fatalf("resumed %q, want %q", got, want)
		}
		for pair, mark := range marks {
			history := slices.DeleteFunc(slices.Clone(resumed.History()), func(bar PairBar) bool { return bar.Pair != pair })
			if len(history) > warmUp || (warmUp > 0 && !history[len(history)-1].End.Equal(mark)) {
				t.Fatalf("history of %s: %s", pair, told(history...))
			}
		}
	})
}

// TestReplayKeepsPace runs on the fake clock of a synctest bubble.
func TestReplayKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Sixty times faster, a minute passes in a second. The pauses of 2 and 3
		// minutes are waited through; that of 430 passes like one bar.
		replay := replayOf(t, ReplayOptions{Speed: 60, WarmUp: 1}, recordingOf("a", 0, 1, 2, 4, 7, 437, 438), recordingOf("b", 1, 438))
		begin := time.Now()
		for _, want := range []struct {
			bar   string
			after float64
		}{{"a1", 1}, {"b1", 1}, {"a2", 2}, {"a4", 4}, {"a7", 7}, {"a437", 8}, {"a438", 9}, {"b438", 9}} {
			bar, err := replay.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, after := told(bar), time.Since(begin).Seconds(); got != want.bar || after != want.after {
				t.Errorf("%s after %vs, want %s after %vs", got, after, want.bar, want.after)
			}
		}
	})
}

func TestReplayDoesNotRushAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replay := replayOf(t, ReplayOptions{Speed: 60}, recordingOf("a", minutes(5)...))
		begin := time.Now()
		for i, pause := range []time.Duration{0, time.Hour, 500 * time.Millisecond, 0, 0} {
			<-time.After(pause)
			if _, err := replay.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A late reader gets one bar at once and then a bar a second; one who
			// only took half a bar to think loses nothing.
			want := []time.Duration{time.Second, time.Hour + time.Second, time.Hour + 2*time.Second, time.Hour + 3*time.Second, time.Hour + 4*time.Second}[i]
			if got := time.Since(begin); got != want {
				t.Errorf("bar %d after %s, want %s", i, got, want)
			}
		}
	})
}

func TestReplayStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replay := replayOf(t, ReplayOptions{Speed: 1}, recordingOf("a", 0, 1))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := replay.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		if _, err := replay.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a dead context: %v", err)
		}
		// Nothing is lost: the bar still comes, when it was due.
		bar, err := replay.Next(t.Context())
		if err != nil || told(bar) != "a0" || time.Since(begin) != time.Minute {
			t.Errorf("%s, %v after %s", told(bar), err, time.Since(begin))
		}
	})
}

func TestReplayDescribesItself(t *testing.T) {
	for want, replay := range map[string]*Replay{
		"Replay test/a at 3600x": replayOf(t, ReplayOptions{Speed: 3600}, recordingOf("a", 0)),
		"Replay test/a, test/b":  replayOf(t, ReplayOptions{}, recordingOf("a", 0), recordingOf("b", 0)),
	} {
		if got := replay.Describe(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	many := make([]*Recording, 40)
	for i := range many {
		many[i] = recordingOf(fmt.Sprintf("pair-%d", i), 0)
	}
	if got := replayOf(t, ReplayOptions{Speed: 1}, many...).Describe(); got != "Replay of 40 recordings at 1x" {
		t.Error(got)
	}
}

func TestReplayRefusals(t *testing.T) {
	one := recordingOf("a", 0)
	for name, test := range map[string]struct {
		recordings []*Recording
		options    ReplayOptions
	}{
		"nothing to play":  {nil, ReplayOptions{}},
		"a pair twice":     {[]*Recording{one, one}, ReplayOptions{}},
		"no bars":          {[]*Recording{recordingOf("a")}, ReplayOptions{}},
		"backwards":        {[]*Recording{one}, ReplayOptions{Speed: -1}},
		"negative warm-up": {[]*Recording{one}, ReplayOptions{WarmUp: -1}},
	} {
		if _, err := NewReplay(test.recordings, test.options); err == nil {
			t.Errorf("%s was admitted", name)
		}
	}
}
