package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func TestOnePairOneAgent(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			first := acquire(t, b, trader("a", btc))
			_, err := b.Acquire(t.Context(), trader("b", btc, eth))
			if !errors.Is(err, ledger.ErrPairClaimed) || !strings.Contains(err.Error(), "desk/a") {
				t.Errorf("a pair that desk/a trades: %v", err)
			}
			// Refused, it has claimed nothing.
			acquire(t, b, trader("c", eth))
			elsewhere := trader("d", btc)
			elsewhere.Account = "another account"
			acquire(t, b, elsewhere)
			load(t, b, first)
		})
	}
}

func TestGivingUpAPair(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			if _, err := b.Acquire(t.Context(), trader("a", eth)); !errors.Is(err, ledger.ErrPairHeld) {
				t.Errorf("giving up a pair with an open order: %v, want ErrPairHeld", err)
			}
			bookFill(t, b, lease, fillOf(lease, id, "t1", "BTC-USD", order.Buy, 10, 100, "0"))
			if _, err := b.Acquire(t.Context(), trader("a", eth)); !errors.Is(err, ledger.ErrPairHeld) {
				t.Errorf("giving up a pair with a position: %v, want ErrPairHeld", err)
			}
			finer := instrument("BTC", "USD", "0.01", "0.00001")
			if _, err := b.Acquire(t.Context(), trader("a", finer, eth)); !errors.Is(err, ledger.ErrPairHeld) {
				t.Errorf("another lot size with a position: %v, want ErrPairHeld", err)
			}
			// What was refused has not taken the epoch.
			id = ordered(t, b, lease, 2, "BTC-USD", order.Sell, 10)
			bookFill(t, b, lease, fillOf(lease, id, "t2", "BTC-USD", order.Sell, 10, 100, "0"))
			lease = acquire(t, b, trader("a", finer))
			acquire(t, b, trader("b", eth))
			id = ordered(t, b, lease, 3, "BTC-USD", order.Buy, 10)
			bookFill(t, b, lease, fillOf(lease, id, "t3", "BTC-USD", order.Buy, 10, 100, "0"))
			if got := load(t, b, lease).Positions["BTC-USD"].Quantity; got != 10 {
				t.Errorf("%d lots of the new size, want 10", got)
			}
		})
	}
}

func TestAgentsThatCannotBe(t *testing.T) {
	yen := instrument("USD", "JPY", "0.001", "1")
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			acquire(t, b, trader("known"))
			for name, change := range map[string]func(*ledger.Agent){
				"no UID":             func(a *ledger.Agent) { a.UID = "" },
				"no account":         func(a *ledger.Agent) { a.Account = "" },
				"no holder":          func(a *ledger.Agent) { a.Holder = "" },
				"a negative balance": func(a *ledger.Agent) { a.Balance = -1 },
				"a pair twice":       func(a *ledger.Agent) { a.Instruments = []market.Instrument{btc, btc} },
				"a foreign quote":    func(a *ledger.Agent) { a.Instruments = []market.Instrument{yen} },
				"another account":    func(a *ledger.Agent) { a.UID, a.Account = "uid-known", "other" },
				"another currency":   func(a *ledger.Agent) { a.UID, a.Currency, a.Instruments = "uid-known", "EUR", nil },
			} {
				agent := trader("x", btc)
				change(&agent)
				if _, err := b.Acquire(t.Context(), agent); err == nil {
					t.Errorf("an agent with %s was accepted", name)
				}
			}
			acquire(t, b, trader("y", btc))
		})
	}
}

func TestReleaseAndAdoption(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			if err := b.Release(t.Context(), "uid-nobody"); err != nil {
				t.Errorf("releasing an agent that never came: %v", err)
			}
			old := acquire(t, b, trader("old", btc, eth))
			id := ordered(t, b, old, 1, "BTC-USD", order.Sell, 10000)
			bookFill(t, b, old, fillOf(old, id, "t1", "BTC-USD", order.Sell, 4000, 10000, "0"))
			for range 2 {
				if err := b.Release(t.Context(), old.Agent.UID); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.SaveMark(t.Context(), old, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("a released agent wrote: %v", err)
			}
			acquire(t, b, trader("other", eth))
			if _, err := b.Acquire(t.Context(), trader("heir", btc)); !errors.Is(err, ledger.ErrPairClaimed) || !strings.Contains(err.Error(), "open order") {
				t.Errorf("a pair with an order of a deleted agent: %v", err)
			}

			// It comes back to clean up, and goes again.
			old = acquire(t, b, trader("old", btc))
			if err := b.UpdateOrder(t.Context(), old, ledger.OrderUpdate{ID: id, State: order.Cancelled, MarketTime: noon}); err != nil {
				t.Fatal(err)
			}
			if err := b.Release(t.Context(), old.Agent.UID); err != nil {
				t.Fatal(err)
			}
			heir := acquire(t, b, trader("heir", btc))
			s := load(t, b, heir)
			short := ledger.Position{Quantity: -4000, Cost: money("-40")}
			if diff := cmp.Diff([]ledger.Adoption{{Pair: "BTC-USD", From: "desk/old", Position: short}}, s.Adopted); diff != "" {
				t.Errorf("adopted (-want +got):\n%s", diff)
			}
			if s.Positions["BTC-USD"] != short || s.Cash != money("10040") || !s.OpenedAt["BTC-USD"].Equal(noon.Add(1e9)) {
				t.Errorf("the heir holds %+v since %s and has %s", s.Positions["BTC-USD"], s.OpenedAt["BTC-USD"], s.Cash)
			}
			if p := postgresOf(b); p != nil {
				if cash := query[string](t, p, `SELECT amount::text FROM trading.cash WHERE agent_uid = 'uid-old'`); cash != "10000" {
					t.Errorf("the deleted agent's book ends with %s in cash, want 10000", cash)
				}
				if left := query[int64](t, p, `SELECT count(*) FROM trading.positions WHERE agent_uid = 'uid-old'`); left != 0 {
					t.Errorf("the deleted agent still holds %d positions", left)
				}
			}
			if s := load(t, b, acquire(t, b, trader("heir", btc))); len(s.Adopted) != 1 || s.Positions["BTC-USD"] != short || s.Cash != money("10040") {
				t.Errorf("the next epoch adopted again: %+v", s)
			}
			if _, err := b.Acquire(t.Context(), trader("old", btc)); !errors.Is(err, ledger.ErrPairClaimed) {
				t.Errorf("the old agent took its pair back: %v", err)
			}
		})
	}
}
