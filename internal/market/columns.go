package market

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The columns that the reader of CSV and Parquet files knows.
const (
	columnDate = iota
	columnTime
	columnOpen
	columnHigh
	columnLow
	columnClose
	columnVolume
	columnBid
	columnAsk
	columnCount
)

var columnNames = [columnCount]string{"date", "time", "open", "high", "low", "close", "volume", "bid", "ask"}

// columnAliases are other headings for the time of a bar's start.
var columnAliases = map[string]int{
	"datetime":  columnTime,
	"timestamp": columnTime,
	"open time": columnTime,
	"open_time": columnTime,
}

const headerWanted = "the first row must name the columns: time (or date, datetime, timestamp), open, high, low, close and, where there are any, volume, bid, ask"

// columns says at which index each known column stands; -1 is not there.
type columns struct {
	index   [columnCount]int
	width   int
	ignored []string
}

// findColumns reads a header. Upper and lower case are the same, and <DATE> is
// DATE.
func findColumns(header []string) (columns, error) {
	found := columns{width: len(header)}
	for i := range found.index {
		found.index[i] = -1
	}
	for i, heading := range header {
		name := strings.ToLower(strings.Trim(heading, " \t\"<>"))
		column := slices.Index(columnNames[:], name)
		if alias, ok := columnAliases[name]; ok {
			column = alias
		}
		if column < 0 {
			found.ignored = append(found.ignored, heading)
			continue
		}
		if other := found.index[column]; other >= 0 {
			return columns{}, fmt.Errorf("columns %q and %q both hold the %s; leave one", header[other], heading, columnNames[column])
		}
		found.index[column] = i
	}
	for _, column := range []int{columnOpen, columnHigh, columnLow, columnClose} {
		if found.index[column] < 0 {
			return columns{}, fmt.Errorf("has no column %q among %q; %s", columnNames[column], header, headerWanted)
		}
	}
	if found.index[columnTime] < 0 && found.index[columnDate] < 0 {
		return columns{}, fmt.Errorf("has no column of time among %q; %s", header, headerWanted)
	}
	if (found.index[columnBid] < 0) != (found.index[columnAsk] < 0) {
		return columns{}, errors.New("has only one of bid and ask; give both or neither")
	}
	return found, nil
}

// joinTime makes one time of a date and, if there is one, a time column. With
// both, the date must be a day and the time a time of day.
func joinTime(date, clock []byte) (start int64, column string, err error) {
	switch {
	case date == nil:
		start, err = scanTime(clock)
		return start, columnNames[columnTime], err
	case clock == nil:
		start, err = scanTime(date)
		return start, columnNames[columnDate], err
	}
	start, err = scanTime(date)
	if err == nil && time.Duration(start)%(24*time.Hour) != 0 {
		err = errors.New("is not a date; beside a time column the date is YYYY-MM-DD")
	}
	if err != nil {
		return 0, columnNames[columnDate], err
	}
	ofDay, offset, err := scanClock(clock)
	if err != nil {
		err = errors.New("is not a time of day; beside a date column the time is HH:MM or HH:MM:SS")
	}
	return start + ofDay - offset, columnNames[columnTime], err
}

// addRow counts the fields of a row, nil where a column is missing, and keeps
// it if it can be true. The column of an error is returned with it.
func (t *table) addRow(number int, start int64, fields *[columnCount][]byte, counts counter) (column int, err error) {
	var prices [columnCount]Price
	rounded := false
	for _, column := range [...]int{columnOpen, columnHigh, columnLow, columnClose, columnBid, columnAsk} {
		if fields[column] == nil {
			continue
		}
		ticks, whole, err := counts.tick.count(fields[column])
		if err != nil {
			return column, err
		}
		prices[column], rounded = Price(ticks), rounded || !whole
	}
	bar := row{
		start: start,
		open:  prices[columnOpen], high: prices[columnHigh], low: prices[columnLow], close: prices[columnClose],
	}
	if fields[columnVolume] != nil {
		if bar.volume, err = counts.volume(fields[columnVolume]); err != nil {
			return columnVolume, err
		}
	}
	problem := impossible(bar.open, bar.high, bar.low, bar.close)
	if problem == "" && fields[columnBid] != nil {
		if prices[columnBid] <= 0 || prices[columnAsk] <= 0 {
			problem = "the bid or the ask is zero, negative or less than half a tick"
		}
	}
	if problem != "" {
		t.reject(number, problem)
		return 0, nil
	}
	bar.bid, bar.ask = t.quote(prices[columnBid], prices[columnAsk])
	if rounded {
		t.rounded++
	}
	t.rows = append(t.rows, bar)
	return 0, nil
}
