package postgres

import (
	"testing"
	"time"
)

// Eventually asks until the answer is yes, and fails the test if that takes
// longer than the deadline.
func Eventually(tb testing.TB, deadline time.Duration, what string, yes func() bool) {
	tb.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-end.C:
			tb.Fatalf("not within %s: %s", deadline, what)
		case <-tick.C:
		}
	}
}
