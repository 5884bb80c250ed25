package market

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // the agent's image has no time zone files, and equities are recorded in New York time
)

// leanName matches the path of a file of LEAN's data folder, also with "_" for
// "/", such as crypto/coinbase/minute/btcusd/20180404_trade.zip.
var leanName = regexp.MustCompile(`(?:^|[/_])(crypto|forex|cfd|equity)[/_]([a-z0-9]+)[/_](tick|second|minute|hour|daily)[/_]([a-z0-9.]+?)(?:[/_]([0-9]{8}))?(?:[/_](trade|quote))?\.(?:zip|csv|csv\.gz)$`)

// leanFile is what the name of a LEAN file says about its rows.
type leanFile struct {
	symbol string
	length time.Duration
	// day is midnight, in location, of the day that the rows of an intraday file
	// count milliseconds from; hourly and daily rows have their own date.
	day      time.Time
	dated    bool
	location *time.Location
	quotes   bool
	// scale is the power of ten that prices are multiplied by.
	scale int
}

// parseLEANName reads a path; false when it is not that of a LEAN file.
func parseLEANName(path string) (leanFile, bool, error) {
	match := leanName.FindStringSubmatch(strings.ToLower(path))
	if match == nil {
		return leanFile{}, false, nil
	}
	security, resolution, date, kind := match[1], match[3], match[5], match[6]
	file := leanFile{symbol: match[4], location: time.UTC}
	switch resolution {
	case "second":
		file.length = time.Second
	case "minute":
		file.length = time.Minute
	case "hour":
		file.length = time.Hour
	case "daily":
		file.length = 24 * time.Hour
	default:
		return leanFile{}, true, fmt.Errorf("%s: holds ticks, which are not bars; use second, minute, hour or daily data", path)
	}
	file.quotes = kind == "quote"
	switch security {
	case "equity":
		location, err := time.LoadLocation("America/New_York")
		if err != nil {
			return leanFile{}, true, fmt.Errorf("%s: %w", path, err)
		}
		file.location, file.scale = location, 4
	case "forex", "cfd":
		// These markets have no central trade: without a word in the name the
		// rows are quotes.
		file.quotes = kind != "trade"
	}
	if intraday := file.length < time.Hour; intraday != (date != "") {
		return leanFile{}, true, fmt.Errorf("%s: a LEAN file of %s data is named with%s a date YYYYMMDD", path, resolution, map[bool]string{true: "", false: "out"}[intraday])
	}
	if date != "" {
		if _, err := scanDate([]byte(date)); err != nil {
			return leanFile{}, true, fmt.Errorf("%s: %q %w", path, date, err)
		}
		day, err := time.ParseInLocation("20060102", date, file.location)
		if err != nil {
			return leanFile{}, true, fmt.Errorf("%s: %w", path, err)
		}
		file.day, file.dated = day, true
	}
	return file, true, nil
}

var (
	leanTradeColumns = []string{"time", "open", "high", "low", "close", "volume"}
	leanQuoteColumns = []string{"time", "bid open", "bid high", "bid low", "bid close", "bid size", "ask open", "ask high", "ask low", "ask close", "ask size"}
)

// readLEAN decodes the rows of a LEAN file.
func readLEAN(path string, file leanFile, content []byte, counts counter) (*table, error) {
	rows, err := newTextRows(content, ',')
	if err != nil {
		return nil, err
	}
	columns := leanTradeColumns
	if file.quotes {
		columns = leanQuoteColumns
	}
	counts.tick = counts.tick.scaled(file.scale)
	result := &table{file: path, quotes: file.quotes, length: file.length, rows: make([]row, 0, 1+len(content)/48)}
	for {
		more, err := rows.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return result, result.finish()
		}
		if len(rows.fields) != len(columns) {
			return nil, fmt.Errorf("row %d: has %d columns where %d are expected: %q", rows.number, len(rows.fields), len(columns), columns)
		}
		result.read++
		if err := result.addLEAN(file, rows, columns, counts); err != nil {
			return nil, err
		}
	}
}

func (t *table) addLEAN(file leanFile, rows *textRows, columns []string, counts counter) error {
	start, err := file.start(rows.fields[0])
	if err != nil {
		return rows.wrong(columns[0], rows.fields[0], err)
	}
	if file.quotes && (len(rows.fields[4]) == 0 || len(rows.fields[9]) == 0) {
		t.reject(rows.number, "the bid or the ask is missing")
		return nil
	}
	var prices [10]Price
	rounded := false
	for i := 1; i < len(columns); i++ {
		if columns[i] == "volume" || columns[i] == "bid size" || columns[i] == "ask size" {
			continue
		}
		ticks, whole, err := counts.tick.count(rows.fields[i])
		if err != nil {
			return rows.wrong(columns[i], rows.fields[i], err)
		}
		prices[i], rounded = Price(ticks), rounded || !whole
	}
	if problem := impossible(prices[1], prices[2], prices[3], prices[4]); problem != "" {
		t.reject(rows.number, problem)
		return nil
	}
	bar := row{start: start, open: prices[1], high: prices[2], low: prices[3], close: prices[4]}
	if file.quotes {
		bid, ask := prices[1:5], prices[6:10]
		if problem := impossible(ask[0], ask[1], ask[2], ask[3]); problem != "" {
			t.reject(rows.number, "of the ask, "+problem)
			return nil
		}
		bar.open, bar.high, bar.low, bar.close = middle(bid[0], ask[0]), middle(bid[1], ask[1]), middle(bid[2], ask[2]), middle(bid[3], ask[3])
		bar.bid, bar.ask = t.quote(bid[3], ask[3])
	} else if bar.volume, err = counts.volume(rows.fields[5]); err != nil {
		return rows.wrong("volume", rows.fields[5], err)
	}
	if rounded {
		t.rounded++
	}
	t.rows = append(t.rows, bar)
	return nil
}

// start reads the time of a row: milliseconds of the file's day, or a date.
func (f leanFile) start(field []byte) (int64, error) {
	if !f.dated {
		if len(field) != len("20060102 15:04") {
			return 0, errors.New("is not a time; hourly and daily rows begin with YYYYMMDD HH:MM")
		}
		at, err := scanTime(field)
		if err != nil || f.location == time.UTC {
			return at, err
		}
		wall := timeOf(at)
		return time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, f.location).UnixNano(), nil
	}
	milliseconds, ok := scanDigits(field)
	if !ok || milliseconds >= 24*3600*1000 {
		return 0, errors.New("is not a time of day in milliseconds, 0 to 86399999")
	}
	since := time.Duration(milliseconds) * time.Millisecond
	if since%f.length != 0 {
		return 0, fmt.Errorf("does not begin a bar of %s", f.length)
	}
	if f.location == time.UTC {
		return f.day.UnixNano() + int64(since), nil
	}
	// Wall-clock time, so that a day on which the clocks change stays right.
	year, month, day := f.day.Date()
	seconds := int(since / time.Second)
	return time.Date(year, month, day, seconds/3600, seconds/60%60, seconds%60, int(since%time.Second), f.location).UnixNano(), nil
}

// middle of bid and ask, to even where it falls between two ticks.
func middle(bid, ask Price) Price {
	below := bid&ask + (bid^ask)>>1
	if (bid^ask)&1 == 1 && below&1 == 1 {
		return below + 1
	}
	return below
}
