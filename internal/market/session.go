package market

import (
	"cmp"
	"slices"
	"time"
)

const minutesPerWeek = 7 * 24 * 60

// Session is when a pair is traded, by the clocks of a place. The zero value is
// always open.
type Session struct {
	location *time.Location
	// windows by their minutes of the week, Sunday midnight being 0. One that
	// passes the end of the week ends beyond it.
	windows []window
}

type window struct{ open, close int }

// SessionHours are hours that begin on a day, in minutes of it. An end that is
// not later than the beginning is on the next day.
type SessionHours struct {
	Day         time.Weekday
	Open, Close int
}

// NewSession is open in the given hours and at no other time.
func NewSession(location *time.Location, hours []SessionHours) Session {
	const day = 24 * 60
	session := Session{location: location, windows: make([]window, 0, len(hours))}
	for _, h := range hours {
		begin, length := int(h.Day)*day+h.Open, h.Close-h.Open
		if length <= 0 {
			length += day
		}
		session.windows = append(session.windows, window{begin, begin + length})
	}
	slices.SortFunc(session.windows, func(a, b window) int { return cmp.Compare(a.open, b.open) })
	return session
}

// Open reports whether the pair is traded at a time: from the first minute on,
// and no longer at the last. It does not allocate. Where clocks are put back, the
// hour that comes twice counts twice.
func (s *Session) Open(at time.Time) bool {
	if s.location == nil {
		return true
	}
	local := at.In(s.location)
	minute := (int(local.Weekday())*24+local.Hour())*60 + local.Minute()
	for _, w := range s.windows {
		if (minute >= w.open && minute < w.close) || minute+minutesPerWeek < w.close {
			return true
		}
	}
	return false
}
