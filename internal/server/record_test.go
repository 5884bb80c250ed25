package server

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// slow is a ledger that takes a second for each write.
type slow struct{ now, most atomic.Int64 }

func (s *slow) RecordUse(context.Context, string, ledger.Use) error {
	if n := s.now.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	defer s.now.Add(-1)
	<-time.After(time.Second)
	return nil
}

func (*slow) LastUses(context.Context, string) (map[string]time.Time, error)   { return nil, nil }
func (*slow) SaveLastUses(context.Context, string, map[string]time.Time) error { return nil }

// However many ask for more than reading, the trader's connections are free.
func TestAuditTakesFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record := NewRecord()
		if err := record.Audit(t.Context(), keys.Use{}); !errors.Is(err, keys.ErrNoRecord) {
			t.Errorf("before there is a ledger: %v", err)
		}
		book := &slow{}
		record.Open(book, "uid")
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var done, late atomic.Int64
		for range 10 {
			go func() {
				if err := record.Audit(ctx, keys.Use{}); errors.Is(err, context.DeadlineExceeded) {
					late.Add(1)
				} else if err == nil {
					done.Add(1)
				}
			}()
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		if book.most.Load() != auditsAtOnce || done.Load() != 8 || late.Load() != 2 {
			t.Errorf("%d at once, %d done and %d given up; want %d, 8 and 2", book.most.Load(), done.Load(), late.Load(), auditsAtOnce)
		}
	})
}
