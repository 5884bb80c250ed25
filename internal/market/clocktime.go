package market

import (
	"errors"
	"fmt"
	"time"
)

var errNotTime = errors.New("is not a time; write 2018-04-04 09:30:00, 2018-04-04T09:30:00Z, 20180404 09:30, or unix seconds or milliseconds")

// Times outside these years are a misread column, not market data.
const (
	minYear = 1970
	maxYear = 2200
)

// scanTime reads an ISO 8601 time, YYYYMMDD [HH:MM[:SS]], or a unix time in
// seconds (10 digits), milliseconds (13), microseconds (16) or nanoseconds
// (19). Without an offset it is UTC. The result is in unix nanoseconds.
func scanTime(field []byte) (int64, error) {
	digits := 0
	for digits < len(field) && isDigit(field[digits]) {
		digits++
	}
	if digits == len(field) && digits != 8 {
		return scanUnix(field)
	}
	var date, rest []byte
	switch {
	case digits == 8:
		date, rest = field[:8], field[8:]
	case digits == 4 && len(field) >= 10 && field[4] == '-' && field[7] == '-':
		date, rest = field[:10], field[10:]
	default:
		return 0, errNotTime
	}
	day, err := scanDate(date)
	if err != nil || len(rest) == 0 {
		return day, err
	}
	if rest[0] != ' ' && rest[0] != 'T' && rest[0] != 't' {
		return 0, errNotTime
	}
	ofDay, offset, err := scanClock(rest[1:])
	return day + ofDay - offset, err
}

// scanUnix tells the unit of a unix time by its number of digits, which is
// unambiguous between the years 2001 and 2286.
func scanUnix(field []byte) (int64, error) {
	var unit int64
	switch len(field) {
	case 10:
		unit = 1e9
	case 13:
		unit = 1e6
	case 16:
		unit = 1e3
	case 19:
		unit = 1
	default:
		return 0, errNotTime
	}
	value, ok := scanDigits(field)
	if !ok || value > int64(maxYear-minYear)*366*24*3600*(1e9/unit) {
		return 0, errNotTime
	}
	return value * unit, nil
}

// scanDate reads YYYYMMDD or YYYY-MM-DD.
func scanDate(field []byte) (int64, error) {
	month, day := field[4:6], field[6:]
	if len(field) == 10 {
		month, day = field[5:7], field[8:]
	}
	y, ok1 := scanDigits(field[:4])
	m, ok2 := scanDigits(month)
	d, ok3 := scanDigits(day)
	if !ok1 || !ok2 || !ok3 {
		return 0, errNotTime
	}
	at := time.Date(int(y), time.Month(m), int(d), 0, 0, 0, 0, time.UTC)
	if y < minYear || y > maxYear || at.Month() != time.Month(m) || at.Day() != int(d) {
		return 0, fmt.Errorf("is not a day of the calendar between %d and %d", minYear, maxYear)
	}
	return at.UnixNano(), nil
}

// scanClock reads HH:MM[:SS[.fraction]][Z|±HH:MM] and gives the nanoseconds
// since midnight and the offset from UTC.
func scanClock(field []byte) (ofDay, offset int64, err error) {
	field, offset, err = cutOffset(field)
	if err != nil {
		return 0, 0, err
	}
	if len(field) < 5 || field[2] != ':' {
		return 0, 0, errNotTime
	}
	hour, ok1 := scanDigits(field[:2])
	minute, ok2 := scanDigits(field[3:5])
	second, fraction := int64(0), int64(0)
	ok3, ok4 := true, true
	if rest := field[5:]; len(rest) > 0 {
		if len(rest) < 3 || rest[0] != ':' {
			return 0, 0, errNotTime
		}
		second, ok3 = scanDigits(rest[1:3])
		fraction, ok4 = scanFraction(rest[3:])
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || hour > 23 || minute > 59 || second > 59 {
		return 0, 0, errNotTime
	}
	return (hour*3600+minute*60+second)*1e9 + fraction, offset, nil
}

// cutOffset takes Z, +HH:MM, +HHMM or +HH off the end of a time of day.
func cutOffset(field []byte) (clock []byte, offset int64, err error) {
	for i, c := range field {
		switch c {
		case 'Z', 'z':
			if i != len(field)-1 {
				return nil, 0, errNotTime
			}
			return field[:i], 0, nil
		case '+', '-':
			text := field[i+1:]
			minutes := []byte(nil)
			switch {
			case len(text) == 2:
			case len(text) == 4:
				minutes = text[2:]
			case len(text) == 5 && text[2] == ':':
				minutes = text[3:]
			default:
				return nil, 0, errNotTime
			}
			h, ok := scanDigits(text[:2])
			m, ok2 := int64(0), true
			if minutes != nil {
				m, ok2 = scanDigits(minutes)
			}
			if !ok || !ok2 || h > 14 || m > 59 {
				return nil, 0, errNotTime
			}
			offset = (h*3600 + m*60) * 1e9
			if c == '-' {
				offset = -offset
			}
			return field[:i], offset, nil
		}
	}
	return field, 0, nil
}

// scanFraction reads nothing or a point and one to nine digits, as nanoseconds.
func scanFraction(field []byte) (int64, bool) {
	if len(field) == 0 {
		return 0, true
	}
	if field[0] != '.' || len(field) < 2 || len(field) > 10 {
		return 0, false
	}
	value, ok := scanDigits(field[1:])
	for range 10 - len(field) {
		value *= 10
	}
	return value, ok
}

// scanDigits reads at most 19 digits and nothing else.
func scanDigits(field []byte) (value int64, ok bool) {
	if len(field) == 0 || len(field) > 19 {
		return 0, false
	}
	for _, c := range field {
		if !isDigit(c) || value > (1<<63-10)/10 {
			return 0, false
		}
		value = value*10 + int64(c-'0')
	}
	return value, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
