package poll

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		calls := 0
		if err := Until(t.Context(), time.Second, time.Minute, func() bool { calls++; return calls == 4 }); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second || calls != 4 {
			t.Errorf("%d calls in %s", calls, took)
		}
		if err := Until(t.Context(), time.Second, 10*time.Second, func() bool { return false }); !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := Until(ctx, time.Second, 0, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
