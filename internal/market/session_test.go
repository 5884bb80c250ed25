package market

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func place(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func TestSessionWithoutHoursIsAlwaysOpen(t *testing.T) {
	var session Session
	if !session.Open(time.Time{}) || !session.Open(time.Now()) {
		t.Error("a pair without a session is closed")
	}
	if never := NewSession(time.UTC, nil); never.Open(time.Now()) {
		t.Error("a session without hours is open")
	}
}

func TestSessionHours(t *testing.T) {
	newYork := place(t, "America/New_York")
	clock := func(hour, minute int) int { return 60*hour + minute }
	stocks := NewSession(newYork, []SessionHours{
		{time.Monday, clock(9, 30), clock(12, 0)}, {time.Monday, clock(13, 0), clock(16, 0)}, {time.Friday, clock(9, 30), clock(24, 0)},
	})
	forex := NewSession(newYork, []SessionHours{
		{time.Sunday, clock(17, 0), clock(17, 0)}, {time.Thursday, clock(17, 0), clock(17, 0)}, {time.Saturday, clock(22, 0), clock(2, 0)},
	})
	for _, test := range []struct {
		name    string
		session *Session
		at      string
		open    bool
	}{
		{"the minute before", &stocks, "2026-03-02T14:29:59Z", false},
		{"the first minute", &stocks, "2026-03-02T14:30:00Z", true},
		{"the last second before the pause", &stocks, "2026-03-02T16:59:59Z", true},
		{"the pause", &stocks, "2026-03-02T17:00:00Z", false},
		{"after it", &stocks, "2026-03-02T18:00:00Z", true},
		{"the end", &stocks, "2026-03-02T21:00:00Z", false},
		{"another day", &stocks, "2026-03-03T15:00:00Z", false},
		{"until midnight", &stocks, "2026-03-07T04:59:59Z", true},
		{"and no longer", &stocks, "2026-03-07T05:00:00Z", false},
		// The clocks of New York go an hour ahead on 8 March 2026.
		{"summer time", &stocks, "2026-03-09T13:30:00Z", true},
		{"before the week", &forex, "2026-03-01T21:59:59Z", false},
		{"the week begins", &forex, "2026-03-01T22:00:00Z", true},
		{"a day later", &forex, "2026-03-02T21:59:59Z", true},
		{"it ends", &forex, "2026-03-02T22:00:00Z", false},
		{"over the end of the week", &forex, "2026-03-08T05:30:00Z", true},
		{"until two o'clock", &forex, "2026-03-08T06:59:59Z", true},
		{"and then no more", &forex, "2026-03-08T07:00:00Z", false},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := test.session.Open(at); got != test.open {
			t.Errorf("%s (%s): open is %v", test.name, at.In(newYork).Format("Mon 15:04:05"), got)
		}
	}
	at := time.Now()
	if count := testing.AllocsPerRun(100, func() { stocks.Open(at) }); count != 0 {
		t.Errorf("it allocates %v times", count)
	}
}
