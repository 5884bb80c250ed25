package market

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Recording is the history of one pair as read from files: bars of one length,
// in order, none twice.
type Recording struct {
	// Name is the data set it was opened as, such as sample/eurusd-1h.
	Name string
	// Instrument that its prices and quantities are counted in.
	Instrument Instrument
	// Length of every bar. It is stated by the names of LEAN files and otherwise
	// the distance between most of the rows.
	Length time.Duration
	// Bars in order of their start, which is also that of their end.
	Bars []Bar
	// Report says what had to be done to the files to get there.
	Report Report
}

// Report counts what the reader met. Nothing in it is an error: what cannot be
// repaired without guessing is refused when the file is opened.
type Report struct {
	// Files that were read, in order.
	Files []string
	// Ignored are columns that the reader does not use.
	Ignored []string
	// Rows of data in all files, and the bars that came of them.
	Rows, Bars int
	// Duplicates are rows dropped because an equal one had been read.
	Duplicates int
	// Conflicts are rows dropped because a later one has the same time and other
	// values: a correction follows what it corrects.
	Conflicts int
	// OutOfOrder are rows earlier than the row before them; the bars are sorted.
	OutOfOrder int
	// Bad are rows dropped because no market can have printed them: a price of
	// zero or below, a high below a low, an open or close outside of both.
	// FirstBad says where and what the first one was. A file of which more than
	// one row in a hundred is bad is refused.
	Bad      int
	FirstBad string
	// Rounded are rows with a price between two ticks, rounded to the nearest.
	Rounded int
	// Crossed are rows whose bid is above the ask, as happens where quotes of
	// several sources are mixed. The bar stays and has no quote.
	Crossed int
	// QuoteOnly are bars made of the middle of bid and ask, without volume,
	// where nothing was traded and quotes went on.
	QuoteOnly int
	// Gaps are the spans without a bar, weekends apart; LongestGap is the longest
	// and LongestGapStart its beginning.
	Gaps            int
	LongestGap      time.Duration
	LongestGapStart time.Time
	// Weekends are gaps of 36 to 96 hours across a Saturday.
	Weekends int
}

// String is the report in one line, leaving out what did not happen.
func (r Report) String() string {
	parts := []string{fmt.Sprintf("%d bars of %d rows in %d files", r.Bars, r.Rows, len(r.Files))}
	for _, part := range []struct {
		count int
		text  string
	}{
		{r.QuoteOnly, "from quotes alone"},
		{r.Duplicates, "duplicate rows dropped"},
		{r.Conflicts, "rows replaced by a later one of the same time"},
		{r.OutOfOrder, "rows out of order"},
		{r.Crossed, "quotes dropped because the bid is above the ask"},
		{r.Rounded, "rows rounded to the tick"},
		{r.Weekends, "weekends"},
	} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.text))
		}
	}
	if r.Gaps > 0 {
		parts = append(parts, fmt.Sprintf("%d gaps, the longest %s from %s", r.Gaps, r.LongestGap, r.LongestGapStart.Format(time.RFC3339)))
	}
	if r.Bad > 0 {
		parts = append(parts, fmt.Sprintf("%d bad rows dropped, the first: %s", r.Bad, r.FirstBad))
	}
	return strings.Join(parts, "; ")
}

// row is one line of a file, counted in ticks and lots.
type row struct {
	// start of the bar in unix nanoseconds.
	start                  int64
	open, high, low, close Price
	bid, ask               Price
	volume                 Quantity
}

// table is the content of one file.
type table struct {
	file string
	rows []row
	// quotes tells that the rows are middles of quotes and not trades.
	quotes bool
	// length of the bars, or zero where the file does not say.
	length time.Duration
	// ignored columns, read rows, and rows dropped or mended on the way.
	ignored  []string
	read     int
	rounded  int
	crossed  int
	bad      int
	firstBad string
}

// reject counts a row that no market can have printed.
func (t *table) reject(row int, problem string) {
	if t.bad == 0 {
		t.firstBad = fmt.Sprintf("%s: row %d: %s", t.file, row, problem)
	}
	t.bad++
}

// quote is a bid and an ask that can be traded on: none if they are crossed.
func (t *table) quote(bid, ask Price) (Price, Price) {
	if bid > ask {
		t.crossed++
		return 0, 0
	}
	return bid, ask
}

// finish refuses a file that is empty or that is mostly wrong, which means that
// its columns are not what they seem.
func (t *table) finish() error {
	if t.bad > max(1, t.read/100) {
		return fmt.Errorf("%d of %d rows cannot be true, the first: %s; are the columns what their names say?", t.bad, t.read, t.firstBad)
	}
	if len(t.rows) == 0 {
		return fmt.Errorf("%s: holds no usable row of prices", t.file)
	}
	return nil
}

// impossible says what is wrong with the prices of a bar; empty if nothing is.
func impossible(open, high, low, closing Price) string {
	switch {
	case low <= 0 || high <= 0 || open <= 0 || closing <= 0:
		return "a price is zero, negative or less than half a tick"
	case high < low:
		return "high is below low"
	case open > high || open < low:
		return "open is not between low and high"
	case closing > high || closing < low:
		return "close is not between low and high"
	}
	return ""
}

// assemble makes a recording of the tables of one pair, trades and quotes.
func assemble(name string, instrument Instrument, tables []*table) (*Recording, error) {
	recording := &Recording{Name: name, Instrument: instrument}
	report := &recording.Report
	var trades, quotes []row
	for _, t := range tables {
		report.Files = append(report.Files, t.file)
		report.Ignored = append(report.Ignored, t.ignored...)
		report.Rows += t.read
		report.Rounded += t.rounded
		report.Crossed += t.crossed
		if report.Bad == 0 {
			report.FirstBad = t.firstBad
		}
		report.Bad += t.bad
		report.OutOfOrder += outOfOrder(t.rows)
		if t.quotes {
			quotes = append(quotes, t.rows...)
		} else {
			trades = append(trades, t.rows...)
		}
		if recording.Length == 0 {
			recording.Length = t.length
		}
		if t.length != recording.Length {
			return nil, fmt.Errorf("%s: %s and %s hold bars of different lengths; name a data set of one length", name, tables[0].file, t.file)
		}
	}
	slices.Sort(report.Ignored)
	report.Ignored = slices.Compact(report.Ignored)
	trades, quotes = recording.settle(trades), recording.settle(quotes)
	rows := recording.merge(trades, quotes)
	if recording.Length == 0 {
		length, err := usualDistance(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		recording.Length = length
	}
	if err := recording.fill(rows); err != nil {
		return nil, err
	}
	return recording, nil
}

func outOfOrder(rows []row) (count int) {
	for i := 1; i < len(rows); i++ {
		if rows[i].start < rows[i-1].start {
			count++
		}
	}
	return count
}

// settle sorts rows and leaves one for each time, the last one read.
func (r *Recording) settle(rows []row) []row {
	byStart := func(a, b row) int { return cmp.Compare(a.start, b.start) }
	if !slices.IsSortedFunc(rows, byStart) {
		slices.SortStableFunc(rows, byStart)
	}
	kept := rows[:0]
	for _, next := range rows {
		last := len(kept) - 1
		switch {
		case last < 0 || kept[last].start != next.start:
			kept = append(kept, next)
		case kept[last] == next:
			r.Report.Duplicates++
		default:
			r.Report.Conflicts++
			kept[last] = next
		}
	}
	return kept
}

// merge puts bid and ask of the quotes on the trades of the same time. Where
// there was no trade the middle of the quotes is the bar: the market was open
// and its price known.
func (r *Recording) merge(trades, quotes []row) []row {
	if len(quotes) == 0 {
		return trades
	}
	if len(trades) == 0 {
		return quotes
	}
	merged := make([]row, 0, max(len(trades), len(quotes)))
	for len(trades) > 0 || len(quotes) > 0 {
		switch {
		case len(quotes) == 0 || (len(trades) > 0 && trades[0].start < quotes[0].start):
			merged, trades = append(merged, trades[0]), trades[1:]
		case len(trades) == 0 || quotes[0].start < trades[0].start:
			r.Report.QuoteOnly++
			merged, quotes = append(merged, quotes[0]), quotes[1:]
		default:
			bar := trades[0]
			bar.bid, bar.ask = quotes[0].bid, quotes[0].ask
			merged, trades, quotes = append(merged, bar), trades[1:], quotes[1:]
		}
	}
	return merged
}

// usualDistance is the most frequent distance between neighbouring rows, which
// is the length of the bars where a file does not state it.
func usualDistance(rows []row) (time.Duration, error) {
	if len(rows) < 2 {
		return 0, errors.New("one row does not tell how long its bar is; at least two are needed")
	}
	counts := map[int64]int{}
	usual, least := int64(0), int64(0)
	for i := 1; i < len(rows); i++ {
		distance := rows[i].start - rows[i-1].start
		counts[distance]++
		if least == 0 || distance < least {
			least = distance
		}
		if usual == 0 || counts[distance] > counts[usual] || (counts[distance] == counts[usual] && distance < usual) {
			usual = distance
		}
	}
	if least == usual {
		return time.Duration(usual), nil
	}
	for i := 1; i < len(rows); i++ {
		if rows[i].start-rows[i-1].start == least {
			return 0, fmt.Errorf("most bars are %s apart, yet the one of %s is followed by another after %s; a data set must hold bars of one length",
				time.Duration(usual), timeOf(rows[i-1].start).Format(time.RFC3339), time.Duration(least))
		}
	}
	return 0, errors.New("bars of no single length")
}

// fill turns rows into bars and counts the gaps between them.
func (r *Recording) fill(rows []row) error {
	r.Bars = make([]Bar, len(rows))
	for i, from := range rows {
		start := timeOf(from.start)
		r.Bars[i] = Bar{
			Start: start, End: start.Add(r.Length),
			Open: from.open, High: from.high, Low: from.low, Close: from.close,
			Bid: from.bid, Ask: from.ask, Volume: from.volume,
		}
		if i == 0 {
			continue
		}
		gap := start.Sub(r.Bars[i-1].End)
		switch {
		case gap < 0:
			return fmt.Errorf("%s: the bars of %s and %s overlap, for each is %s long; a data set must hold bars of one length",
				r.Name, r.Bars[i-1].Start.Format(time.RFC3339), start.Format(time.RFC3339), r.Length)
		case gap > 0 && acrossWeekend(r.Bars[i-1].End, start):
			r.Report.Weekends++
		case gap > 0:
			r.Report.Gaps++
			if gap > r.Report.LongestGap {
				r.Report.LongestGap, r.Report.LongestGapStart = gap, r.Bars[i-1].End
			}
		}
	}
	r.Report.Bars = len(r.Bars)
	return nil
}

// acrossWeekend tells a closed market from missing data: markets that close for
// the weekend do so for one and a half to, with a holiday, four days, and the
// noon of Saturday is within.
func acrossWeekend(from, to time.Time) bool {
	if gap := to.Sub(from); gap < 36*time.Hour || gap > 96*time.Hour {
		return false
	}
	noon := time.Date(from.Year(), from.Month(), from.Day(), 12, 0, 0, 0, time.UTC)
	noon = noon.AddDate(0, 0, int(time.Saturday-noon.Weekday()))
	return !noon.Before(from) && noon.Before(to)
}

func timeOf(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
