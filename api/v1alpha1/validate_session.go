package v1alpha1

import (
	"fmt"
	"time"
	_ "time/tzdata" // A session must mean the same hours on a machine that has no zone files.

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Clock is the minute of the day of a time such as "09:30"; "24:00" is the end of
// the day. It fails on what the schema would refuse.
func Clock(text string) (minute int, err error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is not a time of the day such as \"09:30\"", text)
	}
	return at.Hour()*60 + at.Minute(), nil
}

// Number is the day's number, Sunday being 0 as in the standard library.
func (d Weekday) Number() (time.Weekday, error) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if day.String() == string(d) {
			return day, nil
		}
	}
	return 0, fmt.Errorf("%q is not a day of the week such as \"Monday\"", d)
}

// Location is the session's time zone.
func (s *SessionSpec) Location() (*time.Location, error) {
	// "Local" would be another place on every machine.
	if s.TimeZone == "" || s.TimeZone == "Local" {
		return nil, fmt.Errorf("%q is not a time zone such as \"America/New_York\" or \"UTC\"", s.TimeZone)
	}
	location, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone such as \"America/New_York\" or \"UTC\"", s.TimeZone)
	}
	return location, nil
}

// String tells a session in a line.
func (s *SessionSpec) String() string {
	if len(s.Hours) == 0 {
		return s.TimeZone + ", never"
	}
	first := s.Hours[0]
	text := fmt.Sprintf("%s, %s %s to %s", s.TimeZone, first.Day, first.Open, first.Close)
	if more := len(s.Hours) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func validateSession(session *SessionSpec, path *field.Path) field.ErrorList {
	if session == nil {
		return nil
	}
	var errs field.ErrorList
	if _, err := session.Location(); err != nil {
		errs = append(errs, field.Invalid(path.Child("timeZone"), session.TimeZone, err.Error()))
	}
	for i, hours := range session.Hours {
		at := path.Child("hours").Index(i)
		if _, err := hours.Day.Number(); err != nil {
			errs = append(errs, field.Invalid(at.Child("day"), hours.Day, err.Error()))
		}
		for _, clock := range []struct{ name, text string }{{"open", hours.Open}, {"close", hours.Close}} {
			if _, err := Clock(clock.text); err != nil || clock.name == "open" && clock.text == "24:00" {
				errs = append(errs, field.Invalid(at.Child(clock.name), clock.text, "must be a time of the day such as \"09:30\""))
			}
		}
	}
	return errs
}
