package market

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

// benchmarkRead reads a file of so many rows again and again.
func benchmarkRead(b *testing.B, name, header string, rows int, row func(int) string) {
	b.Helper()
	var text strings.Builder
	text.WriteString(header)
	for i := range rows {
		text.WriteString(row(i))
	}
	files := fstest.MapFS{name: plain(text.String())}
	instrument := btcusd(b)
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	bars := 0
	for b.Loop() {
		recording, err := NewLibrary(files).Open(name, instrument)
		if err != nil {
			b.Fatal(err)
		}
		bars += len(recording.Bars)
	}
	b.ReportMetric(float64(bars)/b.Elapsed().Seconds(), "bars/s")
}

func BenchmarkReadLEANTrades(b *testing.B) {
	benchmarkRead(b, leanBTC+"trade.csv", "", 1440, func(i int) string {
		return fmt.Sprintf("%d,7424.91,7425.%02d,7422,7422.5,27.643747620000003\n", i*60_000, i%100)
	})
}

func BenchmarkReadLEANQuotes(b *testing.B) {
	benchmarkRead(b, leanBTC+"quote.csv", "", 1440, func(i int) string {
		return fmt.Sprintf("%d,7415,7415.%02d,7415,7415,2.5833652000000003,7415.01,7416.01,7415.01,7415.01,27.643747620000003\n", i*60_000, i%100)
	})
}

func BenchmarkReadCSV(b *testing.B) {
	benchmarkRead(b, "x.csv", "time,open,high,low,close,volume\n", 100_000, func(i int) string {
		return fmt.Sprintf("%s,7424.91,7425.%02d,7422,7422.5,27.64374762\n", epoch.AddDate(0, 0, i/1440).Format("2006-01-02")+fmt.Sprintf(" %02d:%02d:00", i/60%24, i%60), i%100)
	})
}

func BenchmarkReadSample(b *testing.B) {
	instrument := pairOf(b, "EUR", "USD", "0.00001", "1")
	b.ReportAllocs()
	bars := 0
	for b.Loop() {
		recording, err := NewLibrary(nil).Open("sample/eurusd-1h", instrument)
		if err != nil {
			b.Fatal(err)
		}
		bars += len(recording.Bars)
	}
	b.ReportMetric(float64(bars)/b.Elapsed().Seconds(), "bars/s")
}

func BenchmarkReplayNext(b *testing.B) {
	for _, pairs := range []int{1, 2, 16} {
		b.Run(fmt.Sprintf("pairs=%d", pairs), func(b *testing.B) {
			recordings := make([]*Recording, pairs)
			for i := range recordings {
				recordings[i] = recordingOf(fmt.Sprintf("pair-%d", i), minutes(10_000)...)
			}
			var replay *Replay
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if replay == nil {
					replay = replayOf(b, ReplayOptions{}, recordings...)
				}
				if _, err := replay.Next(ctx); errors.Is(err, io.EOF) {
					replay = nil
				} else if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bars/s")
		})
	}
}
