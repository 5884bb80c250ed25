package ledger_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func TestRequestOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			request := ledger.Request{Key: ledger.RequestKey("once"), Pair: "BTC-USD"}
			if known, err := b.Recall(t.Context(), lease, request); err != nil || known != nil {
				t.Fatalf("before the request: %v, %v", known, err)
			}
			legs := []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Sell, 5), intent(lease, 1, 1, "BTC-USD", order.Sell, 2)}
			for i := range legs {
				legs[i].ReduceOnly = true
			}
			for range 3 {
				if err := b.Request(t.Context(), lease, request, legs, time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			once := load(t, b, lease)
			if len(once.OpenOrders) != 2 || once.LastSequence != 1 || once.Decisions != 0 {
				t.Errorf("after one request told three times: %+v", once)
			}
			// The next process knows it too.
			lease = acquire(t, b, trader("a", btc, eth))
			if known, err := b.Recall(t.Context(), lease, request); err != nil || !slices.Equal(known, []uuid.UUID{legs[0].ID, legs[1].ID}) {
				t.Errorf("recalled %v, %v", known, err)
			}
			other := intent(lease, 2, 0, "BTC-USD", order.Sell, 5)
			other.ReduceOnly = true
			if err := b.Request(t.Context(), lease, request, []order.Intent{other}, time.Time{}); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("other orders under the same key: %v, want ErrConflict", err)
			}
			moved := ledger.Request{Key: request.Key, Pair: "ETH-USD"}
			if _, err := b.Recall(t.Context(), lease, moved); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("another pair under the same key: %v, want ErrConflict", err)
			}
			if after := load(t, b, lease); len(after.OpenOrders) != 2 {
				t.Errorf("a refused request left %d orders", len(after.OpenOrders))
			}
		})
	}
}

// A person's wish never opens anything, and an old process cannot carry it out.
func TestRequestRefuses(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			old := acquire(t, b, trader("a", btc))
			lease := acquire(t, b, trader("a", btc))
			request := ledger.Request{Key: ledger.RequestKey("once"), Pair: "BTC-USD"}
			reducing := func(pair string) []order.Intent {
				leg := intent(lease, 1, 0, pair, order.Sell, 5)
				leg.ReduceOnly = true
				return []order.Intent{leg}
			}
			for name, err := range map[string]error{
				"an opening order":   b.Request(t.Context(), lease, request, []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Buy, 5)}, time.Time{}),
				"another pair":       b.Request(t.Context(), lease, request, reducing("ETH-USD"), time.Time{}),
				"a pair of others":   b.Request(t.Context(), lease, ledger.Request{Key: request.Key, Pair: "ETH-USD"}, reducing("ETH-USD"), time.Time{}),
				"no order":           b.Request(t.Context(), lease, request, nil, time.Time{}),
				"a key in the clear": b.Request(t.Context(), lease, ledger.Request{Key: "once", Pair: "BTC-USD"}, reducing("BTC-USD"), time.Time{}),
				"an old process":     b.Request(t.Context(), old, request, reducing("BTC-USD"), time.Time{}),
				"a question of such": second(b.Recall(t.Context(), old, request)),
			} {
				if err == nil {
					t.Errorf("%s was accepted", name)
				} else if strings.Contains(err.Error(), request.Key) || strings.Contains(err.Error(), "once") {
					t.Errorf("%s: the error repeats the key: %v", name, err)
				}
			}
			if left := load(t, b, lease); len(left.OpenOrders) != 0 || left.LastSequence != 0 {
				t.Errorf("something was left: %+v", left)
			}
		})
	}
}

func second[A any](_ A, err error) error { return err }
