// Package poll waits for what cannot be watched.
package poll

import (
	"context"
	"errors"
	"time"
)

// ErrTimeout is what Until returns when the time is over.
var ErrTimeout = errors.New("timed out")

// Until calls done at once and then at every interval until it reports true or
// ctx ends; with a timeout, which 0 leaves out, it gives up with ErrTimeout.
func Until(ctx context.Context, every, timeout time.Duration, done func() bool) error {
	var over <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return ErrTimeout
		case <-ticker.C:
		}
	}
	return nil
}
