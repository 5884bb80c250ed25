package market

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const leanBTC = "crypto_coinbase_minute_btcusd_20180404_"

// zipped is a zip archive of one file.
func zipped(tb testing.TB, name, text string) *fstest.MapFile {
	tb.Helper()
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	entry, err := writer.Create(name)
	if err == nil {
		_, err = entry.Write([]byte(text))
	}
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &fstest.MapFile{Data: archive.Bytes()}
}

func gzipped(tb testing.TB, text string) *fstest.MapFile {
	tb.Helper()
	var content bytes.Buffer
	writer := gzip.NewWriter(&content)
	_, err := writer.Write([]byte(text))
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &fstest.MapFile{Data: content.Bytes()}
}

func plain(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func btcusd(tb testing.TB) Instrument {
	tb.Helper()
	return pairOf(tb, "BTC", "USD", "0.01", "0.00000001")
}

// open reads a data set that must be readable.
func open(tb testing.TB, files fs.FS, dataset string, instrument Instrument) *Recording {
	tb.Helper()
	recording, err := NewLibrary(files).Open(dataset, instrument)
	if err != nil {
		tb.Fatal(err)
	}
	return recording
}

// refused reads a data set that must not be, and wants all of the parts in the
// error.
func refused(tb testing.TB, files fs.FS, dataset string, instrument Instrument, parts ...string) {
	tb.Helper()
	recording, err := NewLibrary(files).Open(dataset, instrument)
	if err == nil {
		tb.Fatalf("%s was read: %s", dataset, recording.Report)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		tb.Fatal(err)
	}
	return when.UTC()
}

const threeMinutes = "time,open,high,low,close\n2018-04-04 00:00,10,12,9,11\n2018-04-04 00:01,11,12,10,11.5\n2018-04-04 00:02,11.5,12,11,12\n"

func TestDatasetNames(t *testing.T) {
	files := fstest.MapFS{
		"plain.csv":               plain(threeMinutes),
		"packed.csv.gz":           gzipped(t, threeMinutes),
		"packed.zip":              zipped(t, "x.csv", threeMinutes),
		"folder/a.csv":            plain(threeMinutes),
		"folder/notes.txt":        plain("not data"),
		"deep/btcusd-1m_2018.csv": plain(threeMinutes),
		"deep/btcusd-1month.csv":  plain("this must not be read"),
		"odd.csv":                 gzipped(t, threeMinutes),
	}
	for dataset, want := range map[string][]string{
		"plain.csv":      {"plain.csv"},
		"plain":          {"plain.csv"},
		"packed.csv":     {"packed.csv.gz"},
		"packed.zip":     {"packed.zip"},
		"folder":         {"folder/a.csv"},
		"deep/{pair}-1m": {"deep/btcusd-1m_2018.csv"},
		"deep/btcusd-1m": {"deep/btcusd-1m_2018.csv"},
		"odd":            {"odd.csv"},
	} {
		recording := open(t, files, dataset, btcusd(t))
		if !slices.Equal(recording.Report.Files, want) || len(recording.Bars) != 3 || recording.Length != time.Minute {
			t.Errorf("%s: %v with %d bars of %s, want %v with 3 of a minute", dataset, recording.Report.Files, len(recording.Bars), recording.Length, want)
		}
	}
	// The same bars twice: once from each of two files.
	both := open(t, files, "packed", btcusd(t))
	if len(both.Bars) != 3 || both.Report.Duplicates != 3 || both.Report.Rows != 6 {
		t.Errorf("two equal files: %s", both.Report)
	}
}

func TestDatasetRefusals(t *testing.T) {
	files := fstest.MapFS{
		"two.zip": func() *fstest.MapFile {
			var archive bytes.Buffer
			writer := zip.NewWriter(&archive)
			for _, name := range []string{"a.csv", "b.csv"} {
				if _, err := writer.Create(name); err != nil {
					t.Fatal(err)
				}
			}
			if err := writer.Close(); err != nil {
				t.Fatal(err)
			}
			return &fstest.MapFile{Data: archive.Bytes()}
		}(),
		"cut.csv.gz":          {Data: gzipped(t, threeMinutes).Data[:40]},
		"cut.zip":             {Data: zipped(t, "a.csv", threeMinutes).Data[:60]},
		"cut.parquet":         plain("PAR1 and then nothing that was meant PAR1"),
		"binary.csv":          plain("a\x00b,c\n"),
		"utf16.csv":           plain("\xff\xfet\x00,\x00"),
		"a/x_2018.csv":        plain(threeMinutes),
		leanBTC + "trade.zip": zipped(t, "a.csv", "0,1,1,1,1,1\n"),
		"crypto_coinbase_minute_ethusd_20180404_trade.zip": zipped(t, "a.csv", "0,1,1,1,1,1\n"),
		"crypto_coinbase_daily_btcusd_trade.zip":           zipped(t, "a.csv", "20180404 00:00,1,1,1,1,1\n"),
	}
	btc := btcusd(t)
	refused(t, files, "nothing", btc, `"nothing"`, "no file or folder named nothing", "binary.csv")
	refused(t, files, "two.zip", btc, "two.zip", "holds 2 files", "exactly one")
	refused(t, files, "cut.csv.gz", btc, "cut.csv.gz", "damaged gzip")
	refused(t, files, "cut.zip", btc, "cut.zip", "damaged zip")
	refused(t, files, "cut.parquet", btc, "cut.parquet", "damaged Parquet")
	refused(t, files, "binary.csv", btc, "is not text")
	refused(t, files, "utf16.csv", btc, "UTF-16", "UTF-8")
	refused(t, files, "../a", btc, "relative path")
	refused(t, files, "a/{name}", btc, "{pair} is the only placeholder")
	refused(t, files, "crypto_coinbase_minute", btc, "holds the prices of ETHUSD and the pair is BTC-USD", "{pair}")
	refused(t, nil, "sample/eurusd-1h", btc, "holds the prices of EURUSD and the pair is BTC-USD")
	refused(t, files, "sample/nothing", btc, "the samples are", "sample/eurusd-1h")
	refused(t, nil, "a/x", btc, "--data", "sample/eurusd-1h")
	refused(t, fstest.MapFS{}, "a", btc, "no .csv")
}

func TestAFileBeyondMemoryIsRefused(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "x.csv")
	if err := os.WriteFile(path, []byte(threeMinutes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxFileSize+1); err != nil { // sparse, it takes no space
		t.Fatal(err)
	}
	refused(t, os.DirFS(folder), "x", btcusd(t), "x.csv", "more than 1 GiB", "split it")
}

func TestDifferentLengthsAreRefused(t *testing.T) {
	files := fstest.MapFS{
		"x/crypto_coinbase_minute_btcusd_20180404_trade.zip": zipped(t, "a.csv", "0,1,1,1,1,1\n"),
		"x/crypto_coinbase_daily_btcusd_trade.zip":           zipped(t, "a.csv", "20180404 00:00,1,1,1,1,1\n"),
	}
	refused(t, files, "x", btcusd(t), "different lengths")
}

func TestSeveralPairsNeedAPlaceholder(t *testing.T) {
	files := fstest.MapFS{"btcusd.csv": plain(threeMinutes), "ethusd.csv": plain(threeMinutes)}
	pairs := []Instrument{btcusd(t), pairOf(t, "ETH", "USD", "0.01", "0.00000001")}
	recordings, err := NewLibrary(files).OpenAll("{pair}", pairs)
	if err != nil || len(recordings) != 2 || recordings[1].Name != "ethusd" || recordings[1].Instrument.Pair != "ETH-USD" {
		t.Fatalf("%v, %v", recordings, err)
	}
	if _, err := NewLibrary(files).OpenAll("btcusd", pairs); err == nil || !strings.Contains(err.Error(), "write {pair}") {
		t.Errorf("one recording for two pairs: %v", err)
	}
	if _, err := NewLibrary(files).OpenAll("btcusd", pairs[:1]); err != nil {
		t.Error(err)
	}
}

// TestSamples fixes what ships: a sample that changed would change every
// documented backtest.
func TestSamples(t *testing.T) {
	for _, test := range []struct {
		name        string
		instrument  Instrument
		bars        int
		first, last Bar
		report      Report
	}{
		{
			name: "sample/eurusd-1h", instrument: pairOf(t, "EUR", "USD", "0.00001", "1"), bars: 6225,
			first:  Bar{Start: at(t, "2017-01-01T22:00:00Z"), End: at(t, "2017-01-01T23:00:00Z"), Open: 105236, High: 105253, Low: 105221, Close: 105227, Volume: 143539993},
			last:   Bar{Start: at(t, "2017-12-29T21:00:00Z"), End: at(t, "2017-12-29T22:00:00Z"), Open: 119984, High: 120130, Low: 119931, Close: 120075, Volume: 4885529785},
			report: Report{Weekends: 51, Gaps: 1, LongestGap: 14 * time.Hour, LongestGapStart: at(t, "2017-12-25T08:00:00Z")},
		},
		{
			name: "sample/googlusd-1d", instrument: pairOf(t, "GOOGL", "USD", "0.01", "1"), bars: 2335,
			first:  Bar{Start: at(t, "2009-05-22T00:00:00Z"), End: at(t, "2009-05-23T00:00:00Z"), Open: 19853, High: 19952, Low: 19620, Close: 19695, Volume: 3433700},
			last:   Bar{Start: at(t, "2018-08-29T00:00:00Z"), End: at(t, "2018-08-30T00:00:00Z"), Open: 125500, High: 126717, Low: 125280, Close: 126465, Volume: 1846300},
			report: Report{Rounded: 2333, Weekends: 484, Gaps: 19, LongestGap: 24 * time.Hour, LongestGapStart: at(t, "2009-11-26T00:00:00Z")},
		},
		{
			name: "sample/btcusd-1d", instrument: btcusd(t), bars: 124,
			first: Bar{Start: at(t, "2021-05-05T00:00:00Z"), End: at(t, "2021-05-06T00:00:00Z"), Open: 5321352, High: 5795468, Low: 5289515, Close: 5748096},
			last:  Bar{Start: at(t, "2021-09-05T00:00:00Z"), End: at(t, "2021-09-06T00:00:00Z"), Open: 4990873, High: 5188179, Low: 4944258, Close: 5177363},
		},
		{
			name: "sample/ethusd-1d", instrument: pairOf(t, "ETH", "USD", "0.01", "0.00000001"), bars: 124,
			first: Bar{Start: at(t, "2021-05-05T00:00:00Z"), End: at(t, "2021-05-06T00:00:00Z"), Open: 323684, High: 355315, Low: 320799, Close: 352682},
			last:  Bar{Start: at(t, "2021-09-05T00:00:00Z"), End: at(t, "2021-09-06T00:00:00Z"), Open: 388585, High: 398217, Low: 383171, Close: 395105},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			recording := open(t, nil, test.name, test.instrument)
			if len(recording.Bars) != test.bars || recording.Bars[0] != test.first || recording.Bars[test.bars-1] != test.last {
				t.Fatalf("%d bars from %+v to %+v", len(recording.Bars), recording.Bars[0], recording.Bars[len(recording.Bars)-1])
			}
			got, want := recording.Report, test.report
			want.Rows, want.Bars, want.Files = test.bars, test.bars, got.Files
			if got.String() != want.String() {
				t.Errorf("report:\n got %s\nwant %s", got, want)
			}
			checkRecording(t, recording)
		})
	}
	if got := Samples(); !slices.Equal(got, []string{"sample/btcusd-1d", "sample/ethusd-1d", "sample/eurusd-1h", "sample/googlusd-1d"}) {
		t.Errorf("samples: %v", got)
	}
}

// checkRecording holds for every recording, whatever it was read from.
func checkRecording(tb testing.TB, recording *Recording) {
	tb.Helper()
	if len(recording.Bars) == 0 || len(recording.Bars) != recording.Report.Bars || recording.Length <= 0 {
		tb.Fatalf("%d bars of %s, reported %d", len(recording.Bars), recording.Length, recording.Report.Bars)
	}
	if r := recording.Report; r.Rows < r.Bars || r.Rows < r.Bad+r.Duplicates+r.Conflicts {
		tb.Fatalf("the report does not add up: %+v", r)
	}
	for i, bar := range recording.Bars {
		if bar.End.Sub(bar.Start) != recording.Length || bar.Start.Location() != time.UTC {
			tb.Fatalf("bar %d lasts from %s to %s, not %s in UTC", i, bar.Start, bar.End, recording.Length)
		}
		if problem := impossible(bar.Open, bar.High, bar.Low, bar.Close); problem != "" {
			tb.Fatalf("bar %d: %s: %+v", i, problem, bar)
		}
		if bar.Bid > bar.Ask || bar.Bid < 0 || bar.Volume < 0 {
			tb.Fatalf("bar %d has an impossible quote or volume: %+v", i, bar)
		}
		if i > 0 && bar.Start.Before(recording.Bars[i-1].End) {
			tb.Fatalf("bar %d begins before the one before it has ended", i)
		}
	}
}

// TestRecordedFiles reads the recorded files that developers keep beside the
// project, all that are there, and compares each bar of a trade file with
// rational arithmetic over its text.
func TestRecordedFiles(t *testing.T) {
	recorded := os.DirFS("../../../shared/marketdata")
	names, err := fs.Glob(recorded, "*.zip")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d recorded files", len(names))
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			content, err := fs.ReadFile(recorded, name)
			if err != nil {
				t.Fatal(err)
			}
			file, _, err := parseLEANName(name)
			if err != nil {
				t.Fatal(err)
			}
			instrument := pairOf(t, strings.TrimSuffix(file.symbol, "usd"), "usd", "0.00001", "0.00000001")
			recording := open(t, fstest.MapFS{name: {Data: content}}, name, instrument)
			checkRecording(t, recording)
			t.Log(recording.Report)
			text, err := unpack(content)
			if err != nil {
				t.Fatal(err)
			}
			rows := strings.Split(strings.TrimSpace(string(text)), "\n")
			if !strings.Contains(name, "_trade") || len(rows) != len(recording.Bars) {
				return
			}
			for i, bar := range recording.Bars {
				for column, price := range []Price{bar.Open, bar.High, bar.Low, bar.Close} {
					want, _ := new(big.Rat).SetString(strings.Split(rows[i], ",")[column+1])
					if strings.HasPrefix(name, "equity") {
						want.Quo(want, big.NewRat(10_000, 1))
					}
					if got := instrument.PriceDecimal(price).Rat(); got.Cmp(want) != 0 {
						t.Fatalf("row %d: %s, want %s", i+1, got, want)
					}
				}
			}
		})
	}
}
