package ledger_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// measured are the ledgers to measure: in memory, and on a server that syncs
// every commit to the disk.
var measured = map[string]func(*testing.B) book{"Memory": memoryOf, "Postgres": durableOf}

func memoryOf(*testing.B) book { return ledger.NewMemory() }

func durableOf(b *testing.B) book {
	b.Helper()
	return openAt(b, durable(b).Database(b))
}

func BenchmarkDecide(b *testing.B) {
	for kind, open := range measured {
		b.Run(kind, func(b *testing.B) {
			l := open(b)
			lease := acquire(b, l, trader("a", btc))
			for i := int64(1); b.Loop(); i++ {
				decision := decide(i, "BTC-USD", noon.Add(time.Duration(i)*time.Minute))
				if err := l.Decide(b.Context(), lease, decision, []order.Intent{intent(lease, i, 0, "BTC-USD", order.Buy, 1)}, time.Time{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBookFill(b *testing.B) {
	for kind, open := range measured {
		b.Run(kind, func(b *testing.B) {
			l := open(b)
			lease := acquire(b, l, trader("a", btc))
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
				if _, err := l.BookFill(b.Context(), lease, fillOf(lease, id, strconv.FormatInt(i, 10), "BTC-USD", side, 1, 10000, "0.01")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSaveMark(b *testing.B) {
	for kind, open := range measured {
		b.Run(kind, func(b *testing.B) {
			l := open(b)
			lease := acquire(b, l, trader("a", btc))
			mark := ledger.Mark{Pair: "BTC-USD", Price: 10000, Equity: money("10000"), PeakEquity: money("10000"), DayStart: noon, DayStartEquity: 1}
			for i := 0; b.Loop(); i++ {
				mark.MarketTime = noon.Add(time.Duration(i) * time.Minute)
				if err := l.SaveMark(b.Context(), lease, mark); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPostings books pages of fills, a hundred in a commit, on a server that
// syncs every commit: one agent alone, and several on accounts of their own.
func BenchmarkPostings(b *testing.B) {
	const page = 100
	for _, agents := range []int{1, 4} {
		b.Run("agents="+strconv.Itoa(agents), func(b *testing.B) {
			uri := durable(b).Database(b)
			books, leases, ids := make([]*ledger.Postgres, agents), make([]ledger.Lease, agents), make([]uuid.UUID, agents)
			for i := range agents {
				agent := trader(strconv.Itoa(i), btc)
				agent.Account = "account-" + agent.UID
				books[i] = openAt(b, uri)
				leases[i] = acquire(b, books[i], agent)
				ids[i] = ordered(b, books[i], leases[i], 1, "BTC-USD", order.Buy, 1_000_000_000)
			}
			var pages atomic.Int64
			b.ResetTimer()
			var wait sync.WaitGroup
			for i := range agents {
				wait.Go(func() {
					for n := pages.Add(1); n <= int64(b.N); n = pages.Add(1) {
						fills := make([]order.Fill, page)
						for f := range fills {
							fills[f] = fillOf(leases[i], ids[i], fmt.Sprintf("%d-%d", n, f), "BTC-USD", order.Buy, 1, 10000, "0.01")
						}
						if _, err := books[i].BookFills(b.Context(), leases[i], fills); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.StopTimer()
			posted := query[int64](b, books[0], `SELECT count(*) FROM trading.postings p JOIN trading.fills f ON f.transaction_id = p.transaction_id`)
			b.ReportMetric(float64(posted)/b.Elapsed().Seconds(), "postings/s")
			b.ReportMetric(float64(posted)/float64(b.N*page), "postings/fill")
			verify(b, uri)
		})
	}
}
