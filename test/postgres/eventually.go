package postgres

import (
	"testing"
	"time"
)

// Eventually asks until the answer is yes, and fails the test if that takes
// longer than the deadline.
func Eventually(t testing.TB, deadline time.Duration, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}
