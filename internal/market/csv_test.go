package market

import (
	"bytes"
	"math/big"
	"testing"
	"testing/fstest"
	"time"

	"github.com/parquet-go/parquet-go"
)

func TestCSVSpellings(t *testing.T) {
	want := []Bar{
		{Start: at(t, "2018-04-04T09:30:00Z"), End: at(t, "2018-04-04T09:31:00Z"), Open: 1000, High: 1200, Low: 900, Close: 1100},
		{Start: at(t, "2018-04-04T09:31:00Z"), End: at(t, "2018-04-04T09:32:00Z"), Open: 1100, High: 1250, Low: 1000, Close: 1150},
	}
	for name, text := range map[string]string{
		"ISO":                 "time,open,high,low,close\n2018-04-04T09:30:00Z,10,12,9,11\n2018-04-04T09:31:00Z,11,12.5,10,11.5\n",
		"an offset":           "time,open,high,low,close\n2018-04-04T11:30:00.000+02:00,10,12,9,11\n2018-04-04T11:31:00+0200,11,12.5,10,11.5\n",
		"a western offset":    "time,open,high,low,close\n2018-04-04 05:30-04,10,12,9,11\n2018-04-04 05:31:00.000000000-04:00,11,12.5,10,11.5\n",
		"capitals and blanks": "\xef\xbb\xbfTime, Open, HIGH, Low, Close\r\n2018-04-04 09:30, 10, 12, 9, 11\r\n\r\n2018-04-04 09:31, 11, 12.5, 10, 11.5\r\n",
		"LEAN's dates":        "date,open,high,low,close\n20180404 09:30,10,12,9,11\n20180404 09:31,11,12.5,10,11.5\n",
		"unix seconds":        "timestamp,open,high,low,close\n1522834200,10,12,9,11\n1522834260,11,12.5,10,11.5\n",
		"unix milliseconds":   "open_time,open,high,low,close\n1522834200000,10,12,9,11\n1522834260000,11,12.5,10,11.5\n",
		"unix microseconds":   "open time,open,high,low,close\n1522834200000000,10,12,9,11\n1522834260000000,11,12.5,10,11.5\n",
		"semicolons":          "datetime;open;high;low;close\n2018-04-04 09:30;10;12;9;11\n2018-04-04 09:31;11;12.5;10;11.5\n",
		"tabs, date and time": "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\n20180404\t09:30:00\t10\t12\t9\t11\n20180404\t09:31\t11\t12.5\t10\t11.5\n",
		"quotation marks":     "\"time\",\"open\",\"high\",\"low\",\"close\"\n\"2018-04-04 09:30\",\"10\",\"12\",\"9\",\"11\"\n\"2018-04-04 09:31\",\"11\",\"12.5\",\"10\",\"11.5\"\n",
		"other order, others": "close,name,low,high,open,time,number of trades\n11,x,9,12,10,2018-04-04 09:30,7\n11.5,y,10,12.5,11,2018-04-04 09:31,8\n",
		"no last newline":     "time,open,high,low,close\n2018-04-04 09:30,1e1,1.2E+1,90e-1,11\n2018-04-04 09:31,11,12.5,10,11.5",
	} {
		t.Run(name, func(t *testing.T) {
			recording := open(t, fstest.MapFS{"x.csv": plain(text)}, "x", btcusd(t))
			if len(recording.Bars) != 2 || recording.Bars[0] != want[0] || recording.Bars[1] != want[1] {
				t.Errorf("%+v", recording.Bars)
			}
			if ignored := len(recording.Report.Ignored); (name == "other order, others") != (ignored == 2) {
				t.Errorf("ignored %q", recording.Report.Ignored)
			}
		})
	}
}

func TestDailyCSV(t *testing.T) {
	for _, text := range []string{
		"date,open,high,low,close\n2018-04-04,10,12,9,11\n2018-04-05,11,12.5,10,11.5\n",
		"date,open,high,low,close\n20180404,10,12,9,11\n20180405,11,12.5,10,11.5\n",
	} {
		recording := open(t, fstest.MapFS{"x.csv": plain(text)}, "x", btcusd(t))
		if recording.Length != 24*time.Hour || !recording.Bars[1].Start.Equal(at(t, "2018-04-05T00:00:00Z")) {
			t.Errorf("%+v", recording.Bars)
		}
	}
}

func TestCSVRefusals(t *testing.T) {
	const header = "time,open,high,low,close,volume\n"
	const row = "2018-04-04 09:30,10,12,9,11,1\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"is empty", "must name the columns"}},
		{"blank", "\n \n", []string{"is empty"}},
		{"no header", row + row, []string{"row 1 begins with data", "2018-04-04 09:30", "must name the columns", "LEAN"}},
		{"one column", "time\n1\n", []string{"is one column"}},
		{"two separators", "time,open;high,low,close\n", []string{"several of the separators", "part the columns by one"}},
		{"no close", "time,open,high,low\n", []string{`no column "close"`, "must name the columns"}},
		{"no time", "open,high,low,close\n1,1,1,1\n", []string{"no column of time"}},
		{"two times", "timestamp,date,datetime,open,high,low,close\n", []string{`"timestamp" and "datetime" both hold the time`, "leave one"}},
		{"two closes", "time,open,high,low,close,Close\n", []string{`"close" and "Close"`}},
		{"bid alone", "time,open,high,low,close,bid\n", []string{"only one of bid and ask"}},
		{"a field too few", header + row + "2018-04-04 09:31,10,12,9,11\n", []string{"row 3", "has 5 columns where the header has 6"}},
		{"a decimal comma", "time;open;high;low;close\n2018-04-04 09:30;10,5;12;9;11\n", []string{"row 2", "column open", `"10,5"`, "is not a decimal number"}},
		{"an empty price", header + "2018-04-04 09:30,10,,9,11,1\n", []string{"row 2", "column high", `""`}},
		{"NaN", header + "2018-04-04 09:30,10,12,9,NaN,1\n", []string{"row 2", "column close", `"NaN"`}},
		{"an empty volume", header + "2018-04-04 09:30,10,12,9,11,\n", []string{"row 2", "column volume"}},
		{"an ambiguous date", header + "04/05/2018,10,12,9,11,1\n", []string{"row 2", "column time", `"04/05/2018"`, "is not a time", "2018-04-04T09:30:00Z"}},
		{"a German date", header + "04.04.2018 09:30,10,12,9,11,1\n", []string{"row 2", "column time"}},
		{"a thirteenth month", header + "2018-13-04,10,12,9,11,1\n", []string{"row 2", "column time", "calendar"}},
		{"an hour too late", header + "2018-04-04 24:00,10,12,9,11,1\n", []string{"row 2", "column time"}},
		{"an offset beyond all", header + "2018-04-04T09:00:00+15:00,10,12,9,11,1\n", []string{"row 2", "column time"}},
		{"unix time of odd length", header + "152283420012,10,12,9,11,1\n", []string{"row 2", "column time"}},
		{"unix time in the far future", header + "9999999999,10,12,9,11,1\n", []string{"row 2", "column time"}},
		{"a date with a time beside a time", "date,time,open,high,low,close\n2018-04-04 01:00,09:30,1,1,1,1\n", []string{"row 2", "column date", "is not a date"}},
		{"a date as time beside a date", "date,time,open,high,low,close\n2018-04-04,2018-04-04,1,1,1,1\n", []string{"row 2", "column time", "is not a time of day"}},
		{"a price without bound", header + "2018-04-04 09:30,10,1e300,9,11,1\n", []string{"row 2", "column high", "too large"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused(t, fstest.MapFS{"x.csv": plain(test.text)}, "x", btcusd(t), append(test.want, "x.csv")...)
		})
	}
}

func TestErrorsShowLittleOfAHugeField(t *testing.T) {
	huge := bytes.Repeat([]byte{'9', 0xff}, 5000)
	_, err := NewLibrary(fstest.MapFS{"x.csv": plain("time,open,high,low,close\n" + string(huge) + ",1,1,1,1\n")}).Open("x", btcusd(t))
	if err == nil || len(err.Error()) > 400 {
		t.Errorf("%d bytes of error: %.500v", len(err.Error()), err)
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte(threeMinutes))
	f.Add([]byte("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\n20180404\t09:30:00\t10\t12\t9\t11\n20180404\t09:31\t11\t12.5\t10\t11.5\n"))
	f.Add([]byte("\"time\";open;high;low;close;volume;bid;ask\n1522834200;10;12;9;11;1e-5;10;11\n1522834260000;10;12;9;11;1;11;10\n"))
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.HasPrefix(content, []byte(parquetMagic)) {
			return // FuzzParquet
		}
		recording, err := NewLibrary(fstest.MapFS{"x.csv": {Data: content}}).Open("x", btcusd(t))
		if err == nil {
			checkRecording(t, recording)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, seed := range []string{"2018-04-04T09:30:00Z", "20180404 09:30", "1522834200", "2018-04-04 05:31:00.000000000-04:00", "2018-02-30"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := scanTime([]byte(text))
		if err != nil {
			return
		}
		if year := timeOf(got).Year(); year < minYear-1 || year > maxYear+1 {
			t.Fatalf("%q is in the year %d", text, year)
		}
		// What RFC 3339 can say, the standard library must read the same.
		if want, err := time.Parse(time.RFC3339Nano, text); err == nil && want.UnixNano() != got {
			t.Fatalf("%q: %s, want %s", text, timeOf(got), want.UTC())
		}
	})
}

// parquetOf writes rows of any struct as a Parquet file.
func parquetOf[T any](tb testing.TB, rows ...T) *fstest.MapFile {
	tb.Helper()
	var content bytes.Buffer
	writer := parquet.NewGenericWriter[T](&content)
	_, err := writer.Write(rows)
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &fstest.MapFile{Data: content.Bytes()}
}

type parquetFloats struct {
	Time   time.Time `parquet:"Time,timestamp(millisecond)"`
	Open   float64   `parquet:"Open"`
	High   float64   `parquet:"High"`
	Low    float64   `parquet:"Low"`
	Close  float32   `parquet:"Close"`
	Volume float64   `parquet:"Volume"`
	Trades int32     `parquet:"Trades"`
}

type parquetDecimals struct {
	Timestamp time.Time `parquet:"timestamp,timestamp(nanosecond)"`
	Open      int64     `parquet:"open,decimal(8:18)"`
	High      int32     `parquet:"high,decimal(2:9)"`
	Low       string    `parquet:"low"`
	Close     int64     `parquet:"close"`
	Bid       string    `parquet:"bid"`
	Ask       string    `parquet:"ask"`
}

func TestParquet(t *testing.T) {
	nine := at(t, "2018-04-04T09:30:00Z")
	want := Bar{Start: nine, End: nine.Add(time.Minute), Open: 1000, High: 1230, Low: 900, Close: 1100}
	floats := parquetOf(t,
		parquetFloats{Time: nine, Open: 10, High: 12.3, Low: 9, Close: 11, Volume: 27.643747620000003},
		parquetFloats{Time: nine.Add(time.Minute), Open: 10, High: 12.3, Low: 9, Close: 11})
	recording := open(t, fstest.MapFS{"x.parquet": floats}, "x", btcusd(t))
	checkRecording(t, recording)
	first := want
	first.Volume = 2764374762
	if recording.Bars[0] != first || len(recording.Bars) != 2 || len(recording.Report.Ignored) != 1 || recording.Report.Rounded != 0 {
		t.Errorf("floats: %+v, %s", recording.Bars, recording.Report)
	}
	decimals := parquetOf(t,
		parquetDecimals{Timestamp: nine, Open: 10_00000000, High: 1230, Low: "9", Close: 11, Bid: "10.99", Ask: "11.01"},
		parquetDecimals{Timestamp: nine.Add(time.Minute), Open: 10_00000000, High: 1230, Low: "9", Close: 11, Bid: "10.99", Ask: "11.01"})
	recording = open(t, fstest.MapFS{"x.parquet": decimals}, "x.parquet", btcusd(t))
	first = want
	first.Bid, first.Ask = 1099, 1101
	if recording.Bars[0] != first || len(recording.Bars) != 2 {
		t.Errorf("decimals: %+v", recording.Bars)
	}
}

func TestParquetOfManyRows(t *testing.T) {
	start := at(t, "2018-04-04T00:00:00Z")
	rows := make([]parquetFloats, 3000)
	for i := range rows {
		rows[i] = parquetFloats{Time: start.Add(time.Duration(i) * time.Minute), Open: 1, High: 2, Low: 1, Close: 1 + float32(i%100)/100}
	}
	recording := open(t, fstest.MapFS{"x.parquet": parquetOf(t, rows...)}, "x", btcusd(t))
	checkRecording(t, recording)
	if len(recording.Bars) != len(rows) || recording.Bars[2999].Close != 199 || recording.Report.Gaps != 0 {
		t.Errorf("%s, last %+v", recording.Report, recording.Bars[len(recording.Bars)-1])
	}
}

func TestParquetRefusals(t *testing.T) {
	type nested struct {
		Time time.Time `parquet:"time,timestamp(millisecond)"`
		Open struct {
			Price float64 `parquet:"price"`
		} `parquet:"open"`
	}
	type nullable struct {
		Time  string   `parquet:"time"`
		Open  *float64 `parquet:"open"`
		High  float64  `parquet:"high"`
		Low   float64  `parquet:"low"`
		Close float64  `parquet:"close"`
	}
	type boolean struct {
		Time  string  `parquet:"time"`
		Open  bool    `parquet:"open"`
		High  float64 `parquet:"high"`
		Low   float64 `parquet:"low"`
		Close float64 `parquet:"close"`
	}
	one := 1.0
	for name, test := range map[string]struct {
		file *fstest.MapFile
		want []string
	}{
		"nested":   {parquetOf(t, nested{}), []string{`column "open" is nested`}},
		"null":     {parquetOf(t, nullable{Time: "2018-04-04", Open: &one, High: 1, Low: 1, Close: 1}, nullable{Time: "2018-04-05", High: 1, Low: 1, Close: 1}), []string{"row 2", "column open", "has no value"}},
		"bad time": {parquetOf(t, nullable{Time: "yesterday", Open: &one, High: 1, Low: 1, Close: 1}), []string{"row 1", "column time", `"yesterday"`}},
		"boolean":  {parquetOf(t, boolean{Time: "2018-04-04"}), []string{"row 1", "column open", "a number is expected"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, fstest.MapFS{"x.parquet": test.file}, "x", btcusd(t), append(test.want, "x.parquet")...)
		})
	}
}

func TestDamagedParquetIsRefused(t *testing.T) {
	nine := at(t, "2018-04-04T09:30:00Z")
	whole := parquetOf(t, parquetFloats{Time: nine, Open: 1, High: 1, Low: 1, Close: 1}, parquetFloats{Time: nine.Add(time.Minute), Open: 1, High: 1, Low: 1, Close: 1}).Data
	changed := func(change func(content []byte) []byte) *fstest.MapFile {
		return &fstest.MapFile{Data: change(bytes.Clone(whole))}
	}
	for name, test := range map[string]struct {
		file *fstest.MapFile
		want string
	}{
		"cut":                   {changed(func(c []byte) []byte { return c[:len(c)-5] }), "its end is missing"},
		"nothing but the magic": {plain(parquetMagic), "its end is missing"},
		// Without a look at it, this length reserves four gigabytes.
		"a footer of 4 GiB": {changed(func(c []byte) []byte { copy(c[len(c)-8:], "\xff\xff\xff\xff"); return c }), "its footer is longer than the file"},
		"a footer of zeros": {changed(func(c []byte) []byte { clear(c[len(c)-200 : len(c)-8]); return c }), "is a damaged Parquet file"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, fstest.MapFS{"x.parquet": test.file}, "x", btcusd(t), "x.parquet", test.want)
		})
	}
}

func TestWideDecimals(t *testing.T) {
	for _, test := range []struct {
		value []byte
		want  int64
	}{{[]byte{0}, 0}, {[]byte{1, 0}, 256}, {[]byte{0xff}, -1}, {[]byte{0xff, 0xfe}, -2}, {nil, 0}} {
		if got := twosComplement(test.value); got.Cmp(big.NewInt(test.want)) != 0 {
			t.Errorf("%x: %s, want %d", test.value, got, test.want)
		}
	}
}

func FuzzParquet(f *testing.F) {
	nine := time.Date(2018, 4, 4, 9, 30, 0, 0, time.UTC)
	f.Add(parquetOf(f, parquetFloats{Time: nine, Open: 10, High: 12.3, Low: 9, Close: 11}, parquetFloats{Time: nine.Add(time.Minute), Open: 10, High: 12.3, Low: 9, Close: 11}).Data)
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if !bytes.HasPrefix(content, []byte(parquetMagic)) {
			return
		}
		recording, err := NewLibrary(fstest.MapFS{"x.parquet": {Data: content}}).Open("x", btcusd(t))
		if err == nil {
			checkRecording(t, recording)
		}
	})
}
