package market

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestLEANNames(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	april := func(location *time.Location) time.Time { return time.Date(2018, 4, 4, 0, 0, 0, 0, location) }
	for path, want := range map[string]leanFile{
		"crypto_coinbase_minute_btcusd_20180404_trade.zip":      {symbol: "btcusd", length: time.Minute, day: april(time.UTC), dated: true, location: time.UTC},
		"crypto/coinbase/minute/btcusd/20180404_quote.zip":      {symbol: "btcusd", length: time.Minute, day: april(time.UTC), dated: true, location: time.UTC, quotes: true},
		"Data/Crypto/Coinbase/Second/BTCUSD/20180404_trade.csv": {symbol: "btcusd", length: time.Second, day: april(time.UTC), dated: true, location: time.UTC},
		"crypto_coinbase_daily_btcusd_trade.zip":                {symbol: "btcusd", length: 24 * time.Hour, location: time.UTC},
		"forex_fxcm_hour_eurusd.zip":                            {symbol: "eurusd", length: time.Hour, location: time.UTC, quotes: true},
		"forex/oanda/minute/eurusd/20180404_quote.zip":          {symbol: "eurusd", length: time.Minute, day: april(time.UTC), dated: true, location: time.UTC, quotes: true},
		"equity_usa_minute_spy_20180404_trade.zip":              {symbol: "spy", length: time.Minute, day: april(newYork), dated: true, location: newYork, scale: 4},
		"equity_usa_daily_brk.b.zip":                            {symbol: "brk.b", length: 24 * time.Hour, location: newYork, scale: 4},
	} {
		got, ok, err := parseLEANName(path)
		if err != nil || !ok {
			t.Errorf("%s: %t, %v", path, ok, err)
			continue
		}
		if got.symbol != want.symbol || got.length != want.length || !got.day.Equal(want.day) || got.dated != want.dated ||
			got.location.String() != want.location.String() || got.quotes != want.quotes || got.scale != want.scale {
			t.Errorf("%s:\n got %+v\nwant %+v", path, got, want)
		}
	}
	for _, path := range []string{"btcusd.csv", "minute_btcusd_20180404_trade.zip", "crypto_coinbase_week_btcusd_trade.zip", "notcrypto_coinbase_daily_btcusd_trade.zip", "crypto_coinbase_daily_btcusd_trade.parquet"} {
		if _, ok, err := parseLEANName(path); ok || err != nil {
			t.Errorf("%s was taken for a file of LEAN: %v", path, err)
		}
	}
	for path, want := range map[string]string{
		"crypto_coinbase_tick_btcusd_20180404_trade.zip":   "ticks, which are not bars",
		"crypto_coinbase_minute_btcusd_trade.zip":          "named with a date",
		"crypto_coinbase_daily_btcusd_20180404_trade.zip":  "named without a date",
		"crypto_coinbase_minute_btcusd_20180431_trade.zip": "not a day of the calendar",
	} {
		if _, ok, err := parseLEANName(path); !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %t, %v; want an error with %q", path, ok, err, want)
		}
	}
}

func TestQuotesGoOnWhereTradesPause(t *testing.T) {
	files := fstest.MapFS{
		leanBTC + "trade.zip": zipped(t, "trade.csv", "0,7424.91,7424.91,7422,7422,7.14319709\n60000,7420,7422,7405,7405,13.35069752\n240000,7403,7404,7390,7395.88,1e-05"),
		leanBTC + "quote.zip": zipped(t, "quote.csv",
			"60000,7415,7415,7415,7415,2.5833652000000003,7415.01,7415.01,7415.01,7415.01,27.643747620000003\n"+
				"120000,7390,7395,7380,7390,3.4,7390.01,7395.03,7380.01,7390.02,12.5\n"+
				"180000,7390,7390,7390,,3.4,7390.01,7390.01,7390.01,7390.01,12.5\n"+
				"240000,7391.5,7391.5,7391.5,7391.5,1,7391.51,7391.51,7391.51,7391.51,1"),
	}
	recording := open(t, files, "crypto_coinbase_minute_{pair}", btcusd(t))
	checkRecording(t, recording)
	midnight := at(t, "2018-04-04T00:00:00Z")
	bar := func(minute int, b Bar) Bar {
		b.Start = midnight.Add(time.Duration(minute) * time.Minute)
		b.End = b.Start.Add(time.Minute)
		return b
	}
	want := []Bar{
		bar(0, Bar{Open: 742491, High: 742491, Low: 742200, Close: 742200, Volume: 714319709}),
		bar(1, Bar{Open: 742000, High: 742200, Low: 740500, Close: 740500, Bid: 741500, Ask: 741501, Volume: 1335069752}),
		// The middle of 7390.00 and 7390.01 goes to the even tick, 7390.00;
		// that of 7390.00 and 7390.02 is 7390.01.
		bar(2, Bar{Open: 739000, High: 739502, Low: 738000, Close: 739001, Bid: 739000, Ask: 739002}),
		bar(4, Bar{Open: 740300, High: 740400, Low: 739000, Close: 739588, Bid: 739150, Ask: 739151, Volume: 1000}),
	}
	if len(recording.Bars) != len(want) {
		t.Fatalf("%d bars: %s", len(recording.Bars), recording.Report)
	}
	for i := range want {
		if recording.Bars[i] != want[i] {
			t.Errorf("bar %d:\n got %+v\nwant %+v", i, recording.Bars[i], want[i])
		}
	}
	if r := recording.Report; r.QuoteOnly != 1 || r.Bad != 1 || r.Gaps != 1 || r.LongestGap != time.Minute || !strings.Contains(r.FirstBad, "quote.zip: row 3: the bid or the ask is missing") {
		t.Error(r)
	}
}

func TestDaysFollowEachOther(t *testing.T) {
	files := fstest.MapFS{
		"d/crypto_coinbase_minute_btcusd_20180405_trade.zip": zipped(t, "b.csv", "0,2,2,2,2,1\n"),
		"d/crypto_coinbase_minute_btcusd_20180404_trade.zip": zipped(t, "a.csv", "86340000,1,1,1,1,1\n"),
	}
	recording := open(t, files, "d", btcusd(t))
	if len(recording.Bars) != 2 || recording.Bars[0].Close != 100 || !recording.Bars[1].Start.Equal(recording.Bars[0].End) || recording.Report.Gaps != 0 {
		t.Errorf("%+v", recording)
	}
}

func TestEquitiesAreScaledAndInNewYorkTime(t *testing.T) {
	spy := pairOf(t, "SPY", "USD", "0.01", "1")
	for _, test := range []struct {
		date, milliseconds, start string
	}{
		{"20131007", "14400000", "2013-10-07T08:00:00Z"}, // 04:00 in summer
		{"20131202", "14400000", "2013-12-02T09:00:00Z"}, // 04:00 in winter
		{"20131103", "14400000", "2013-11-03T09:00:00Z"}, // 04:00 on the day that has 25 hours
		{"20130310", "14400000", "2013-03-10T08:00:00Z"}, // 04:00 on the day that has 23
	} {
		name := "equity_usa_minute_spy_" + test.date + "_trade.zip"
		recording := open(t, fstest.MapFS{name: zipped(t, "a.csv", test.milliseconds+",1674100,1674150,1672500,1672700,3197\n")}, name, spy)
		bar := recording.Bars[0]
		if !bar.Start.Equal(at(t, test.start)) || bar.Open != 16741 || bar.High != 16742 || bar.Low != 16725 || bar.Close != 16727 || bar.Volume != 3197 {
			t.Errorf("%s: %+v", test.date, bar)
		}
		if recording.Report.Rounded != 1 {
			t.Errorf("167.415 is between two cents: %s", recording.Report)
		}
	}
	daily := open(t, fstest.MapFS{"equity_usa_daily_spy.zip": zipped(t, "a.csv", "20131007 00:00,1674100,1674100,1672500,1672700,3197\n")}, "equity_usa_daily_spy", spy)
	if !daily.Bars[0].Start.Equal(at(t, "2013-10-07T04:00:00Z")) {
		t.Errorf("a day in New York begins at %s", daily.Bars[0].Start)
	}
}

func TestForexHoursAreMiddlesOfQuotes(t *testing.T) {
	text := "20070330 00:00,1.33141,1.33231,1.33131,1.33201,0,1.33149,1.33239,1.33139,1.33199,0\n20070330 01:00,1.33191,1.33211,1.32991,1.33041,0,1.33199,1.33209,1.32999,1.33051,0\n"
	recording := open(t, fstest.MapFS{"forex_fxcm_hour_eurusd.zip": zipped(t, "eurusd.csv", text)}, "forex_fxcm_hour_{pair}", pairOf(t, "EUR", "USD", "0.00001", "1"))
	checkRecording(t, recording)
	first, second := recording.Bars[0], recording.Bars[1]
	if first.Open != 133145 || first.Close != 133200 || first.Bid != 0 || first.Ask != 0 || recording.Report.Crossed != 1 {
		t.Errorf("a crossed quote: %+v, %s", first, recording.Report)
	}
	if second.Close != 133046 || second.Bid != 133041 || second.Ask != 133051 || !second.Start.Equal(at(t, "2007-03-30T01:00:00Z")) || recording.Length != time.Hour {
		t.Errorf("%+v", second)
	}
}

func TestLEANRefusals(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{leanBTC + "trade.zip", "0,1,1,1,1,1\n60000,1,1,x,1,1\n", []string{"row 2", "column low", `"x"`, "is not a decimal number"}},
		{leanBTC + "trade.zip", "0,1,1,1,1\n", []string{"row 1", "5 columns where 6 are expected", "volume"}},
		{leanBTC + "quote.zip", "0,1,1,1,1,1\n", []string{"row 1", "6 columns where 11 are expected", "ask size"}},
		{leanBTC + "trade.zip", "86400000,1,1,1,1,1\n", []string{"row 1", "column time", "0 to 86399999"}},
		{leanBTC + "trade.zip", "-1,1,1,1,1,1\n", []string{"row 1", "column time"}},
		{leanBTC + "trade.zip", "20180404 00:00,1,1,1,1,1\n", []string{"row 1", "column time", "milliseconds"}},
		{leanBTC + "trade.zip", "30000,1,1,1,1,1\n", []string{"row 1", "does not begin a bar of 1m0s"}},
		{leanBTC + "trade.zip", "0,1,1,1,1,-1\n", []string{"row 1", "column volume", "is negative"}},
		{leanBTC + "trade.zip", "0,1,1,1,1,1e30\n", []string{"row 1", "column volume", "too large"}},
		{leanBTC + "trade.zip", "time,open,high,low,close,volume\n", []string{"row 1", "column time"}},
		{leanBTC + "trade.zip", "", []string{"no usable row"}},
		{"crypto_coinbase_daily_btcusd_trade.zip", "86340000,1,1,1,1,1\n", []string{"row 1", "YYYYMMDD HH:MM"}},
		{"crypto_coinbase_daily_btcusd_trade.zip", "20180431 00:00,1,1,1,1,1\n", []string{"row 1", "not a day of the calendar"}},
	} {
		refused(t, fstest.MapFS{test.name: zipped(t, "a.csv", test.text)}, test.name, btcusd(t), append(test.want, test.name)...)
	}
}

func TestMiddleIsToEven(t *testing.T) {
	for _, test := range []struct{ bid, ask, want Price }{
		{1, 1, 1}, {1, 3, 2}, {1, 2, 2}, {2, 3, 2}, {3, 4, 4}, {3, 2, 2}, {4, 3, 4}, {1<<62 + 1, 1<<62 + 2, 1<<62 + 2}, {1<<63 - 2, 1<<63 - 2, 1<<63 - 2},
	} {
		if got := middle(test.bid, test.ask); got != test.want {
			t.Errorf("between %d and %d: %d, want %d", test.bid, test.ask, got, test.want)
		}
	}
}

func TestReadingDoesNotAllocateForEachRow(t *testing.T) {
	var text strings.Builder
	for minute := range 1000 {
		fmt.Fprintf(&text, "%d,7424.91,7424.91,7422,7422,27.643747620000003\n", minute*60000)
	}
	counts, err := newCounter(btcusd(t))
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := parseLEANName(leanBTC + "trade.zip")
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(text.String())
	allocations := testing.AllocsPerRun(10, func() {
		if _, err := readLEAN("x", file, content, counts); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 10 {
		t.Errorf("%v allocations for 1000 rows", allocations)
	}
}

func FuzzLEAN(f *testing.F) {
	f.Add("crypto_coinbase_minute_btcusd_20180404_trade.csv", "0,7424.91,7424.91,7422,7422,7.14319709\n60000,7420,7422,7405,7405,1e-05\n")
	f.Add("crypto_coinbase_minute_btcusd_20180404_quote.csv", "60000,7415,7415,7415,7415,2.58,7415.01,7415.01,7415.01,7415.01,27.64\n")
	f.Add("forex_fxcm_hour_btcusd.csv", "20070330 00:00,1.33141,1.33231,1.33131,1.33201,0,1.33149,1.33239,1.33139,1.33199,0\n")
	f.Add("equity_usa_minute_spy_20131103_trade.csv", "3600000,1674100,1674100,1672500,1672700,3197\n7200000,1674100,1674100,1672500,1672700,3197\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		file, ok, err := parseLEANName(name)
		if !ok || err != nil {
			return
		}
		counts, err := newCounter(btcusd(t))
		if err != nil {
			t.Fatal(err)
		}
		read, err := readLEAN(name, file, []byte(text), counts)
		if err != nil {
			return
		}
		recording, err := assemble(name, btcusd(t), []*table{read})
		if err == nil {
			checkRecording(t, recording)
		}
	})
}
