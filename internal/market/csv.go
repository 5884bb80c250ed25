package market

import (
	"bytes"
	"errors"
	"fmt"
)

// readCSV decodes a text file with a header. Columns may come in any order and
// be parted by commas, semicolons or tabs; the decimal separator is a point.
// A row's time is that at which its bar begins, in UTC unless it says otherwise.
func readCSV(path string, content []byte, counts counter) (*table, error) {
	separator, err := findSeparator(content)
	if err != nil {
		return nil, err
	}
	rows, err := newTextRows(content, separator)
	if err != nil {
		return nil, err
	}
	found, err := readHeader(rows)
	if err != nil {
		return nil, err
	}
	result := &table{file: path, ignored: found.ignored, rows: make([]row, 0, 1+len(content)/48)}
	for {
		more, err := rows.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return result, result.finish()
		}
		if len(rows.fields) != found.width {
			return nil, fmt.Errorf("row %d: has %d columns where the header has %d", rows.number, len(rows.fields), found.width)
		}
		result.read++
		if err := result.addCSV(rows, found, counts); err != nil {
			return nil, err
		}
	}
}

func (t *table) addCSV(rows *textRows, found columns, counts counter) error {
	var fields [columnCount][]byte
	for column, index := range found.index {
		if index >= 0 {
			fields[column] = rows.fields[index]
		}
	}
	start, timeColumn, err := joinTime(fields[columnDate], fields[columnTime])
	if err != nil {
		field := fields[columnTime]
		if timeColumn == columnNames[columnDate] {
			field = fields[columnDate]
		}
		return rows.wrong(timeColumn, field, err)
	}
	if column, err := t.addRow(rows.number, start, &fields, counts); err != nil {
		return rows.wrong(columnNames[column], fields[column], err)
	}
	return nil
}

// findSeparator takes the separator from the header, where nothing but names
// and separators stands.
func findSeparator(content []byte) (byte, error) {
	header := bytes.TrimLeft(content, "\xef\xbb\xbf\r\n ")
	if end := bytes.IndexByte(header, '\n'); end >= 0 {
		header = header[:end]
	}
	if len(trimSpace(header)) == 0 {
		return 0, errors.New("is empty; " + headerWanted)
	}
	var found []byte
	for _, candidate := range []byte{',', ';', '\t'} {
		if bytes.IndexByte(header, candidate) >= 0 {
			found = append(found, candidate)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("row 1 is one column, %.40q; %s, parted by commas", header, headerWanted)
	}
	return 0, fmt.Errorf("row 1 holds several of the separators %q; part the columns by one of them", found)
}

// readHeader finds the columns, and tells a file that begins with data.
func readHeader(rows *textRows) (columns, error) {
	if more, err := rows.next(); err != nil || !more {
		return columns{}, errors.Join(errors.New("is empty; "+headerWanted), err)
	}
	header := make([]string, len(rows.fields))
	for i, field := range rows.fields {
		if len(field) > 0 && isDigit(field[0]) {
			return columns{}, fmt.Errorf("row %d begins with data, %.40q; %s (files of LEAN need none, but are known by their path, such as crypto_coinbase_minute_btcusd_20180404_trade.zip)", rows.number, field, headerWanted)
		}
		header[i] = string(field)
	}
	return findColumns(header)
}
