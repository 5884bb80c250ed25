package market

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

// csvOf reads rows under the header time,open,high,low,close,volume,bid,ask.
func csvOf(tb testing.TB, rows ...string) *Recording {
	tb.Helper()
	text := "time,open,high,low,close,volume,bid,ask\n" + strings.Join(rows, "\n") + "\n"
	recording := open(tb, fstest.MapFS{"x.csv": plain(text)}, "x", btcusd(tb))
	checkRecording(tb, recording)
	return recording
}

func TestDuplicatesAreDropped(t *testing.T) {
	recording := csvOf(t,
		"2018-04-04 00:00,10,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,11,1,10.9,11",
		"2018-04-04 00:02,10,12,9,11,1,10.9,11")
	if r := recording.Report; r.Duplicates != 1 || r.Conflicts != 0 || r.Bars != 3 || r.Rows != 4 {
		t.Error(r)
	}
}

func TestTheLastOfConflictingRowsStands(t *testing.T) {
	recording := csvOf(t,
		"2018-04-04 00:00,10,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,10,1,10.9,11",
		"2018-04-04 00:02,10,12,9,11,1,10.9,11")
	if r := recording.Report; r.Conflicts != 1 || r.Duplicates != 0 || recording.Bars[1].Close != 1000 {
		t.Error(r, recording.Bars[1])
	}
}

func TestRowsOutOfOrderAreSorted(t *testing.T) {
	recording := csvOf(t,
		"2018-04-04 00:02,10,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,10,1,10.9,11",
		"2018-04-04 00:00,10,12,9,9,1,10.9,11",
		"2018-04-04 00:03,10,12,9,12,1,10.9,11")
	closes := make([]Price, 0, 4)
	for _, bar := range recording.Bars {
		closes = append(closes, bar.Close)
	}
	if r := recording.Report; r.OutOfOrder != 2 || !slices.Equal(closes, []Price{900, 1000, 1100, 1200}) {
		t.Error(r, closes)
	}
}

func TestGapsAndWeekendsAreTold(t *testing.T) {
	// Friday 2018-04-06 until 21:00, Sunday from 21:00; three hours lost on Monday.
	rows := []string{}
	for hour := at(t, "2018-04-06T00:00:00Z"); hour.Before(at(t, "2018-04-10T00:00:00Z")); hour = hour.Add(time.Hour) {
		weekend := !hour.Before(at(t, "2018-04-06T21:00:00Z")) && hour.Before(at(t, "2018-04-08T21:00:00Z"))
		lost := !hour.Before(at(t, "2018-04-09T04:00:00Z")) && hour.Before(at(t, "2018-04-09T07:00:00Z"))
		if !weekend && !lost {
			rows = append(rows, hour.Format("2006-01-02 15:04")+",10,12,9,11,1,10.9,11")
		}
	}
	r := csvOf(t, rows...).Report
	if r.Weekends != 1 || r.Gaps != 1 || r.LongestGap != 3*time.Hour || !r.LongestGapStart.Equal(at(t, "2018-04-09T04:00:00Z")) {
		t.Error(r)
	}
}

func TestAWeekendIsNeitherANightNorAMonth(t *testing.T) {
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"2018-04-06T21:00:00Z", "2018-04-08T21:00:00Z", true},
		{"2018-04-07T00:00:00Z", "2018-04-09T00:00:00Z", true},
		{"2018-04-07T01:00:00Z", "2018-04-09T08:00:00Z", true},
		{"2018-03-29T21:00:00Z", "2018-04-02T08:00:00Z", true}, // Easter
		{"2018-04-07T11:00:00Z", "2018-04-07T13:00:00Z", false},
		{"2018-04-08T00:00:00Z", "2018-04-10T00:00:00Z", false},
		{"2018-04-03T00:00:00Z", "2018-04-05T00:00:00Z", false},
		{"2018-04-03T00:00:00Z", "2018-04-10T00:00:00Z", false},
	} {
		if got := acrossWeekend(at(t, test.from), at(t, test.to)); got != test.want {
			t.Errorf("from %s to %s: %t", test.from, test.to, got)
		}
	}
}

func TestImpossibleRowsAreDroppedAndCounted(t *testing.T) {
	for _, test := range []struct{ row, want string }{
		{"2018-04-04 00:01,10,9,12,11,1,10.9,11", "high is below low"},
		{"2018-04-04 00:01,13,12,9,11,1,10.9,11", "open is not between"},
		{"2018-04-04 00:01,10,12,9,8,1,10.9,11", "close is not between"},
		{"2018-04-04 00:01,0,12,0,11,1,10.9,11", "zero, negative"},
		{"2018-04-04 00:01,-10,12,-12,11,1,10.9,11", "zero, negative"},
		{"2018-04-04 00:01,0.004,12,0.004,11,1,10.9,11", "less than half a tick"},
		{"2018-04-04 00:01,10,12,9,11,1,0,11", "the bid or the ask is zero"},
	} {
		recording := csvOf(t,
			"2018-04-04 00:00,10,12,9,11,1,10.9,11",
			test.row,
			"2018-04-04 00:02,10,12,9,11,1,10.9,11",
			"2018-04-04 00:03,10,12,9,11,1,10.9,11")
		r := recording.Report
		if r.Bad != 1 || r.Bars != 3 || r.Gaps != 1 || !strings.Contains(r.FirstBad, "x.csv: row 3") || !strings.Contains(r.FirstBad, test.want) {
			t.Errorf("%s: %s", test.row, r)
		}
	}
}

func TestAFileOfImpossibleRowsIsRefused(t *testing.T) {
	// High and low are swapped, which drops every row and is no accident.
	text := "time,open,low,high,close\n2018-04-04 00:00,10,12,9,11\n2018-04-04 00:01,10,12,9,11\n2018-04-04 00:02,10,10,10,10\n"
	refused(t, fstest.MapFS{"x.csv": plain(text)}, "x", btcusd(t), "x.csv", "2 of 3 rows", "row 2", "high is below low", "are the columns what their names say?")
	refused(t, fstest.MapFS{"x.csv": plain("time,open,high,low,close\n")}, "x", btcusd(t), "no usable row")
}

func TestACrossedQuoteIsNotAQuote(t *testing.T) {
	recording := csvOf(t,
		"2018-04-04 00:00,10,12,9,11,1,11.1,11",
		"2018-04-04 00:01,10,12,9,11,1,11,11")
	if r := recording.Report; r.Crossed != 1 || r.Bars != 2 {
		t.Error(r)
	}
	if bar := recording.Bars[0]; bar.Bid != 0 || bar.Ask != 0 || bar.Close != 1100 {
		t.Errorf("%+v", bar)
	}
	if bar := recording.Bars[1]; bar.Bid != 1100 || bar.Ask != 1100 {
		t.Errorf("%+v", bar)
	}
}

func TestPricesBetweenTicksAreReported(t *testing.T) {
	recording := csvOf(t,
		"2018-04-04 00:00,10.004,12,9,11,1,10.9,11",
		"2018-04-04 00:01,10,12,9,11,1.000000001,10.9,11")
	if r := recording.Report; r.Rounded != 1 || recording.Bars[0].Open != 1000 {
		t.Error(r, recording.Bars[0])
	}
}

func TestBarsOfOneLengthAreWanted(t *testing.T) {
	header := "time,open,high,low,close\n"
	refused(t, fstest.MapFS{"x.csv": plain(header + "2018-04-04 00:00,1,1,1,1\n2018-04-04 01:00,1,1,1,1\n2018-04-04 02:00,1,1,1,1\n2018-04-04 02:20,1,1,1,1\n")},
		"x", btcusd(t), "1h0m0s apart", "2018-04-04T02:00:00Z", "20m0s", "one length")
	refused(t, fstest.MapFS{"x.csv": plain(header + "2018-04-04 00:00,1,1,1,1\n")}, "x", btcusd(t), "at least two")
}

// TestAnyOrderOfRowsIsTheSameRecording shuffles rows and repeats some.
func TestAnyOrderOfRowsIsTheSameRecording(t *testing.T) {
	btc := btcusd(t)
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.SliceOfNDistinct(rapid.IntRange(0, 59), 3, 40, rapid.ID[int]).Draw(t, "minutes")
		for minute := 60; minute <= 120; minute++ {
			minutes = append(minutes, minute) // so that most bars are a minute apart
		}
		lines := make([]string, len(minutes))
		for i, minute := range minutes {
			lines[i] = time.Date(2018, 4, 4, 0, minute, 0, 0, time.UTC).Format(time.RFC3339) + ",1,1,1,1"
		}
		repeated := rapid.SliceOfN(rapid.SampledFrom(lines), 0, 10).Draw(t, "repeated")
		shuffled := rapid.Permutation(slices.Concat(lines, repeated)).Draw(t, "shuffled")
		files := fstest.MapFS{"x.csv": plain("time,open,high,low,close\n" + strings.Join(shuffled, "\n"))}
		recording, err := NewLibrary(files).Open("x", btc)
		if err != nil {
			t.Fatal(err)
		}
		if len(recording.Bars) != len(lines) || recording.Report.Duplicates != len(repeated) {
			t.Fatal(recording.Report)
		}
		for i := 1; i < len(recording.Bars); i++ {
			if !recording.Bars[i].Start.After(recording.Bars[i-1].Start) {
				t.Fatal("not in order")
			}
		}
	})
}
