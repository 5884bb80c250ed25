package ledger_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// onEach measures against memory, and against a server that syncs every commit
// to the disk.
func onEach(b *testing.B, bench func(b *testing.B, l book, lease ledger.Lease)) {
	b.Run("Memory", func(b *testing.B) {
		m := ledger.NewMemory()
		bench(b, m, acquire(b, m, trader("a", btc)))
	})
	b.Run("Postgres", func(b *testing.B) {
		durable, err := postgres.Start(postgres.Options{Migrate: func(ctx context.Context, uri string) error {
			_, err := ledger.Migrate(ctx, uri)
			return err
		}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := durable.Close(); err != nil {
				b.Error(err)
			}
		})
		p := openAt(b, durable.Database(b))
		bench(b, p, acquire(b, p, trader("a", btc)))
	})
}

func BenchmarkDecide(b *testing.B) {
	onEach(b, func(b *testing.B, l book, lease ledger.Lease) {
		for i := int64(1); b.Loop(); i++ {
			decision := decide(i, "BTC-USD", noon.Add(time.Duration(i)*time.Minute))
			if err := l.Decide(b.Context(), lease, decision, []order.Intent{intent(lease, i, 0, "BTC-USD", order.Buy, 1)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBookFill(b *testing.B) {
	onEach(b, func(b *testing.B, l book, lease ledger.Lease) {
		var id uuid.UUID
		side := order.Sell
		for i := int64(0); b.Loop(); i++ {
			// An order takes as many fills as this.
			const each = 1000
			if i%each == 0 {
				b.StopTimer()
				side = side.Opposite()
				id = ordered(b, l, lease, i/each+1, "BTC-USD", side, each)
				b.StartTimer()
			}
			if _, err := l.BookFill(b.Context(), lease, fillOf(lease, id, fmt.Sprint(i), "BTC-USD", side, 1, 10000, "0.01")); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSaveMark(b *testing.B) {
	onEach(b, func(b *testing.B, l book, lease ledger.Lease) {
		mark := ledger.Mark{Pair: "BTC-USD", Price: 10000, Equity: money("10000"), PeakEquity: money("10000"), DayStart: noon, DayStartEquity: 1}
		for i := 0; b.Loop(); i++ {
			mark.MarketTime = noon.Add(time.Duration(i) * time.Minute)
			if err := l.SaveMark(b.Context(), lease, mark); err != nil {
				b.Fatal(err)
			}
		}
	})
}
