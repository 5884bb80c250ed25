package market

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetMagic is how a Parquet file begins.
const parquetMagic = "PAR1"

// readParquet decodes a Parquet file with the columns that a CSV file has.
// Times may be timestamps, dates, text or unix times; prices may be decimals,
// whole numbers, text or floating point, of which the shortest decimal that
// reads back the same is taken.
func readParquet(path string, content []byte, counts counter) (result *table, err error) {
	// The library panics on some damaged files.
	defer func() {
		if problem := recover(); problem != nil {
			result, err = nil, fmt.Errorf("is a damaged Parquet file: %v", problem)
		}
	}()
	if err := checkFooter(content); err != nil {
		return nil, fmt.Errorf("is a damaged Parquet file: %w", err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("is a damaged Parquet file: %w", err)
	}
	leaves := file.Root().Columns()
	header := make([]string, len(leaves))
	for i, leaf := range leaves {
		if !leaf.Leaf() || leaf.Repeated() {
			return nil, fmt.Errorf("column %q is nested; a table of plain columns is expected", leaf.Name())
		}
		header[i] = leaf.Name()
	}
	found, err := findColumns(header)
	if err != nil {
		return nil, err
	}
	decoder := parquetDecoder{columns: found, counts: counts, table: &table{file: path, ignored: found.ignored, rows: make([]row, 0, min(file.NumRows(), 1<<20))}}
	for column, index := range found.index {
		if index >= 0 {
			decoder.types[column] = leaves[index].Type()
		}
	}
	for _, group := range file.RowGroups() {
		if err := decoder.readGroup(group); err != nil {
			return nil, err
		}
	}
	return decoder.table, decoder.table.finish()
}

// checkFooter looks at the last eight bytes, the footer's length and the magic,
// because the library reserves memory for whatever length stands there.
func checkFooter(content []byte) error {
	const trailer = 8
	if len(content) < len(parquetMagic)+trailer || !bytes.HasSuffix(content, []byte(parquetMagic)) {
		return errors.New("its end is missing")
	}
	length := binary.LittleEndian.Uint32(content[len(content)-trailer:])
	if int64(length) > int64(len(content)-len(parquetMagic)-trailer) {
		return errors.New("its footer is longer than the file")
	}
	return nil
}

type parquetDecoder struct {
	columns columns
	types   [columnCount]parquet.Type
	counts  counter
	table   *table
	// text of the fields of one row, reused.
	text [columnCount][]byte
}

func (d *parquetDecoder) readGroup(group parquet.RowGroup) (err error) {
	rows := group.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	var batch [256]parquet.Row
	for {
		n, err := rows.ReadRows(batch[:])
		for _, values := range batch[:n] {
			d.table.read++
			if err := d.add(values); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("row %d: cannot be read: %w", d.table.read+1, err)
		}
	}
}

// add turns the values of a row into the text that a CSV file would hold, so
// that both are counted by the same code.
func (d *parquetDecoder) add(values parquet.Row) error {
	var fields [columnCount][]byte
	for column, index := range d.columns.index {
		if index < 0 {
			continue
		}
		var text []byte
		var err error
		if column == columnDate || column == columnTime {
			text, err = appendParquetTime(d.text[column][:0], values[index], d.types[column])
		} else {
			text, err = appendParquetNumber(d.text[column][:0], values[index], d.types[column])
		}
		if err != nil {
			return fmt.Errorf("row %d, column %s: %w", d.table.read, columnNames[column], err)
		}
		d.text[column], fields[column] = text, text
	}
	start, timeColumn, err := joinTime(fields[columnDate], fields[columnTime])
	if err != nil {
		field := fields[columnTime]
		if timeColumn == columnNames[columnDate] {
			field = fields[columnDate]
		}
		return fieldError(d.table.read, timeColumn, field, err)
	}
	if column, err := d.table.addRow(d.table.read, start, &fields, d.counts); err != nil {
		return fieldError(d.table.read, columnNames[column], fields[column], err)
	}
	return nil
}

var errNoValue = errors.New("has no value")

// appendParquetTime writes a time as unix nanoseconds, or text as it is.
func appendParquetTime(text []byte, value parquet.Value, kind parquet.Type) ([]byte, error) {
	if value.IsNull() {
		return nil, errNoValue
	}
	switch logical := logicalOf(kind).(type) {
	case *format.TimestampType:
		return appendTimestamp(text, value.Int64(), logical.Unit)
	case *format.DateType:
		return time.Unix(int64(value.Int32())*24*3600, 0).UTC().AppendFormat(text, time.DateOnly), nil
	}
	switch value.Kind() {
	case parquet.Int64:
		return strconv.AppendInt(text, value.Int64(), 10), nil
	case parquet.ByteArray:
		return append(text, value.ByteArray()...), nil
	default:
		return nil, fmt.Errorf("is of type %s; a timestamp, a date, text or a unix time in 64 bits is expected", kind)
	}
}

func appendTimestamp(text []byte, count int64, unit format.TimeUnit) ([]byte, error) {
	var at time.Time
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		at = time.UnixMilli(count)
	case *format.MicroSeconds:
		at = time.UnixMicro(count)
	case *format.NanoSeconds:
		at = time.Unix(0, count)
	default:
		return nil, errors.New("is a timestamp of no known unit")
	}
	return at.UTC().AppendFormat(text, "2006-01-02 15:04:05.999999999"), nil
}

// appendParquetNumber writes a number exactly as a decimal.
func appendParquetNumber(text []byte, value parquet.Value, kind parquet.Type) ([]byte, error) {
	if value.IsNull() {
		return nil, errNoValue
	}
	scale := int64(0)
	wide, isDecimal := logicalOf(kind).(*format.DecimalType)
	if isDecimal {
		scale = -int64(wide.Scale)
	}
	switch value.Kind() {
	case parquet.Double:
		return strconv.AppendFloat(text, value.Double(), 'g', -1, 64), nil
	case parquet.Float:
		return strconv.AppendFloat(text, float64(value.Float()), 'g', -1, 32), nil
	case parquet.Int32:
		text = strconv.AppendInt(text, int64(value.Int32()), 10)
	case parquet.Int64:
		text = strconv.AppendInt(text, value.Int64(), 10)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		if !isDecimal {
			if value.Kind() == parquet.FixedLenByteArray {
				return nil, fmt.Errorf("is of type %s; a number is expected", kind)
			}
			return append(text, value.ByteArray()...), nil
		}
		text = twosComplement(value.ByteArray()).Append(text, 10)
	default:
		return nil, fmt.Errorf("is of type %s; a number is expected", kind)
	}
	if scale != 0 {
		text = strconv.AppendInt(append(text, 'e'), scale, 10)
	}
	return text, nil
}

// logicalOf is what a physical type stands for; nil is just itself.
func logicalOf(kind parquet.Type) format.LogicalTypeValue {
	if logical := kind.LogicalType(); logical != nil {
		return logical.Value
	}
	return nil
}

// twosComplement is the big-endian integer in which Parquet keeps wide decimals.
func twosComplement(value []byte) *big.Int {
	number := new(big.Int).SetBytes(value)
	if len(value) > 0 && value[0]&0x80 != 0 {
		number.Sub(number, new(big.Int).Lsh(big.NewInt(1), uint(len(value))*8))
	}
	return number
}
