package market

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxColumns bounds a row; market data has a dozen.
const maxColumns = 64

// textRows walks over the rows of a text file without copying them.
type textRows struct {
	rest      []byte
	separator byte
	// number of the row last read, counted from one as an editor does.
	number int
	// fields of the row last read; valid until the next.
	fields [][]byte
}

// newTextRows checks that a file is text that rows can be read from.
func newTextRows(content []byte, separator byte) (*textRows, error) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, errors.New("is UTF-16; save it as UTF-8")
	}
	if head := content[:min(len(content), 4096)]; bytes.IndexByte(head, 0) >= 0 {
		return nil, errors.New("is not text; a CSV, zip, gzip or Parquet file is expected")
	}
	return &textRows{rest: content, separator: separator, fields: make([][]byte, 0, maxColumns)}, nil
}

// next reads the fields of the next row that is not blank; false at the end.
func (t *textRows) next() (bool, error) {
	for len(t.rest) > 0 {
		line := t.rest
		if end := bytes.IndexByte(t.rest, '\n'); end >= 0 {
			line, t.rest = t.rest[:end], t.rest[end+1:]
		} else {
			t.rest = nil
		}
		t.number++
		line = trimSpace(line)
		if len(line) == 0 {
			continue
		}
		return true, t.split(line)
	}
	return false, nil
}

func (t *textRows) split(line []byte) error {
	t.fields = t.fields[:0]
	for {
		if len(t.fields) == maxColumns {
			return fmt.Errorf("row %d: has more than %d columns", t.number, maxColumns)
		}
		end := bytes.IndexByte(line, t.separator)
		field := line
		if end >= 0 {
			field = line[:end]
		}
		field = trimSpace(field)
		if n := len(field); n >= 2 && field[0] == '"' && field[n-1] == '"' {
			field = field[1 : n-1]
		}
		t.fields = append(t.fields, field)
		if end < 0 {
			return nil
		}
		line = line[end+1:]
	}
}

// wrong is the error for a field, with its place and its text.
func (t *textRows) wrong(column string, field []byte, err error) error {
	return fieldError(t.number, column, field, err)
}

// fieldError names row and column, and shows the field if it is short.
func fieldError(row int, column string, field []byte, err error) error {
	const shown = 40
	text := string(field)
	if !utf8.ValidString(text) || len(text) > shown {
		text = string(bytes.ToValidUTF8(field[:min(len(field), shown)], []byte("?"))) + "…"
	}
	return fmt.Errorf("row %d, column %s: %q %w", row, column, text, err)
}

// trimSpace takes blanks and the carriage return off; it knows no Unicode and
// therefore costs little.
func trimSpace(field []byte) []byte {
	for len(field) > 0 && (field[0] == ' ' || field[0] == '\r') {
		field = field[1:]
	}
	for len(field) > 0 && (field[len(field)-1] == ' ' || field[len(field)-1] == '\r') {
		field = field[:len(field)-1]
	}
	return field
}

// counter counts the prices and volumes of an instrument's files.
type counter struct {
	tick, lot step
}

func newCounter(instrument Instrument) (counter, error) {
	tick, err := stepOf(instrument.Tick)
	if err != nil {
		return counter{}, fmt.Errorf("%s: tick size %w", instrument.Pair, err)
	}
	lot, err := stepOf(instrument.Lot)
	if err != nil {
		return counter{}, fmt.Errorf("%s: lot size %w", instrument.Pair, err)
	}
	return counter{tick: tick, lot: lot}, nil
}

// volume counts a traded quantity, rounded to the nearest lot: recorders sum
// volumes in floating point and leave its dust in the last digits.
func (c counter) volume(field []byte) (Quantity, error) {
	lots, _, err := c.lot.count(field)
	if err == nil && lots < 0 {
		err = errors.New("is negative; a volume is not")
	}
	return Quantity(lots), err
}
