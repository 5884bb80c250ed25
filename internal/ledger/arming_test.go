package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// rearmer is what a person allows trading with.
type rearmer interface {
	Rearm(ctx context.Context, agentUID, person, reason string) error
}

// stop commits an order that leaves a position at its stop.
func stop(t *testing.T, b book, lease ledger.Lease, sequence int64, leg int32, pair string, at time.Time) {
	t.Helper()
	i := intent(lease, sequence, leg, pair, order.Sell, 1)
	i.Reason, i.ReduceOnly, i.MarketTime = order.ReasonStop, true, at
	if err := b.Intend(t.Context(), lease, []order.Intent{i}); err != nil {
		t.Fatal(err)
	}
}

func TestStopsAreCountedOverRestarts(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
			stop(t, b, lease, 1, 0, "BTC-USD", at(1))
			// Two legs of one decision are one stop.
			stop(t, b, lease, 2, 0, "ETH-USD", at(2))
			stop(t, b, lease, 2, 1, "ETH-USD", at(2))
			ordered(t, b, lease, 3, "BTC-USD", order.Buy, 1)
			stop(t, b, lease, 4, 0, "BTC-USD", at(4))
			lease = acquire(t, b, trader("a", btc, eth))
			s := load(t, b, lease)
			if diff := cmp.Diff([]time.Time{at(1), at(2), at(4)}, s.AutomaticExits); diff != "" {
				t.Errorf("stops (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]time.Time{"BTC-USD": at(4), "ETH-USD": at(2)}, s.LastStop); diff != "" {
				t.Errorf("last stops (-want +got):\n%s", diff)
			}
			for sequence := range int64(80) {
				stop(t, b, lease, 5+sequence, 0, "BTC-USD", at(5+int(sequence)))
			}
			if s := load(t, b, lease); len(s.AutomaticExits) != 64 || !s.AutomaticExits[63].Equal(at(84)) || !s.AutomaticExits[0].Equal(at(21)) {
				t.Errorf("of many stops %d are told, from %v", len(s.AutomaticExits), s.AutomaticExits)
			}
		})
	}
}

// lose and win trade from flat to flat; the fee alone makes a trade at one price
// lose.
func trade(t *testing.T, b book, lease ledger.Lease, sequence int64, in, out market.Price, fee string) {
	t.Helper()
	for leg, side := range []order.Side{order.Buy, order.Sell} {
		i := intent(lease, sequence, int32(leg), "BTC-USD", side, 10)
		i.ReduceOnly = side == order.Sell
		if err := b.Intend(t.Context(), lease, []order.Intent{i}); err != nil {
			t.Fatal(err)
		}
		price := in
		if side == order.Sell {
			price = out
		}
		for part := range 2 {
			bookFill(t, b, lease, fillOf(lease, i.ID, fmt.Sprintf("%d-%d-%d", sequence, leg, part), "BTC-USD", side, 5, price, fee))
		}
	}
}

func TestLossesAreCountedByTrades(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			for i, step := range []struct {
				in, out market.Price
				fee     string
				want    int32
			}{
				{1_000_000, 1_100_000, "0", 0},
				{1_000_000, 900_000, "0", 1},
				{1_000_000, 1_000_000, "0.1", 2},
				{1_000_000, 999_999, "0", 3},
				{1_000_000, 1_000_000, "0", 0},
				{1_000_000, 999_999, "0", 1},
			} {
				trade(t, b, lease, int64(i)+1, step.in, step.out, step.fee)
				lease = acquire(t, b, trader("a", btc))
				if s := load(t, b, lease); s.ConsecutiveLosses != step.want || len(s.Realised) != 0 {
					t.Errorf("after trade %d: %d losses in a row, want %d; under way %v", i+1, s.ConsecutiveLosses, step.want, s.Realised)
				}
			}
			// Half of a trade is no trade.
			id := ordered(t, b, lease, 90, "BTC-USD", order.Buy, 10)
			bookFill(t, b, lease, fillOf(lease, id, "half-1", "BTC-USD", order.Buy, 10, 1_000_000, "0.25"))
			id = ordered(t, b, lease, 91, "BTC-USD", order.Sell, 10)
			bookFill(t, b, lease, fillOf(lease, id, "half-2", "BTC-USD", order.Sell, 4, 500_000, "0"))
			s := load(t, b, lease)
			if want := money("-0.25") - 4*money("0.5"); s.ConsecutiveLosses != 1 || s.Realised["BTC-USD"] != want {
				t.Errorf("under way: %d losses, %v realised, want %s", s.ConsecutiveLosses, s.Realised, want)
			}
			// A position that turns ends one trade and begins the next.
			id = ordered(t, b, lease, 92, "BTC-USD", order.Sell, 20)
			bookFill(t, b, lease, fillOf(lease, id, "turn", "BTC-USD", order.Sell, 16, 500_000, "0"))
			if s := load(t, b, lease); s.ConsecutiveLosses != 2 || s.Positions["BTC-USD"].Quantity != -10 || len(s.Realised) != 0 {
				t.Errorf("after turning: %d losses, %v held, %v realised", s.ConsecutiveLosses, s.Positions, s.Realised)
			}
		})
	}
}

func TestOnlyAPersonRearms(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			other := acquire(t, b, trader("b", eth))
			trade(t, b, lease, 1, 1_000_000, 900_000, "0")
			stop(t, b, lease, 2, 0, "BTC-USD", noon)
			for range 2 {
				if err := b.Disarm(t.Context(), lease, "AutomaticExits", noon); err != nil {
					t.Fatal(err)
				}
			}
			lease = acquire(t, b, trader("a", btc))
			if s := load(t, b, lease); !s.Disarmed || s.ConsecutiveLosses != 1 || len(s.AutomaticExits) != 1 {
				t.Errorf("after a restart: %+v", s.Arming)
			}
			if s := load(t, b, other); s.Disarmed {
				t.Error("another agent is disarmed, too")
			}
			allow := b.(rearmer)
			for _, wrong := range [][2]string{{"", "why"}, {"who", ""}, {"who", strings.Repeat("x", 257)}, {"\xff", "why"}} {
				if err := allow.Rearm(t.Context(), "uid-a", wrong[0], wrong[1]); err == nil {
					t.Errorf("%q was allowed for %q", wrong[0], wrong[1])
				}
			}
			if err := allow.Rearm(t.Context(), "uid-x", "who", "why"); !errors.Is(err, ledger.ErrUnknownAgent) {
				t.Errorf("rearming nobody: %v", err)
			}
			if arming, err := b.Arming(t.Context(), lease); err != nil || !arming.Disarmed {
				t.Errorf("still: %+v, %v", arming, err)
			}
			if err := allow.Rearm(t.Context(), "uid-a", "Ada", "the feed was wrong"); err != nil {
				t.Fatal(err)
			}
			if arming, err := b.Arming(t.Context(), lease); err != nil || arming.Disarmed || arming.ConsecutiveLosses != 0 || arming.AutomaticExits != nil {
				t.Errorf("after rearming: %+v, %v", arming, err)
			}
			// What comes after counts again; when the last stop was is no count.
			trade(t, b, lease, 3, 1_000_000, 900_000, "0")
			stop(t, b, lease, 4, 0, "BTC-USD", noon.Add(time.Minute))
			if s := load(t, b, lease); s.Disarmed || s.ConsecutiveLosses != 1 || len(s.AutomaticExits) != 1 || s.LastStop["BTC-USD"].IsZero() {
				t.Errorf("later: %+v", s.Arming)
			}
			fenced := lease
			fenced.Epoch--
			if _, err := b.Arming(t.Context(), fenced); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("Arming of an old epoch: %v", err)
			}
			if err := b.Disarm(t.Context(), fenced, "AutomaticExits", noon); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("Disarm of an old epoch: %v", err)
			}
			if kind == "Postgres" {
				got := query[string](t, b, `SELECT string_agg(format('%s/%s/%s', kind, person, reason), ' ' ORDER BY id) FROM trading.arming`)
				if want := "Disarmed//AutomaticExits Rearmed/Ada/the feed was wrong"; got != want {
					t.Errorf("the record says %q, want %q", got, want)
				}
				if err := exec(t, b, `UPDATE trading.arming SET person = 'Eve' WHERE kind = 'Rearmed'`); err == nil {
					t.Error("the record was changed")
				}
			}
		})
	}
}

func TestRearmByName(t *testing.T) {
	b, uri := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	if err := b.Disarm(t.Context(), lease, "AutomaticExits", noon); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Rearm(t.Context(), uri, "desk", "nobody", "Ada", "why"); !errors.Is(err, ledger.ErrUnknownAgent) {
		t.Errorf("rearming nobody: %v", err)
	}
	if err := ledger.Rearm(t.Context(), uri, "desk", "a", "Ada", "why"); err != nil {
		t.Fatal(err)
	}
	if arming, err := b.Arming(t.Context(), lease); err != nil || arming.Disarmed {
		t.Errorf("%+v, %v", arming, err)
	}
}

func TestRecentOpeningsAreTold(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			var wanted []order.Intent
			for sequence, minutes := range []int{0, 1, 30, 60, 61} {
				i := intent(lease, int64(sequence)+1, 0, "BTC-USD", order.Buy, 1)
				i.MarketTime = noon.Add(time.Duration(minutes) * time.Minute)
				i.ReduceOnly = minutes == 30
				if err := b.Intend(t.Context(), lease, []order.Intent{i}); err != nil {
					t.Fatal(err)
				}
				if minutes == 60 {
					if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: i.ID, State: order.Rejected, MarketTime: noon}); err != nil {
						t.Fatal(err)
					}
				}
				// An hour before the newest, to the instant, is over.
				if minutes == 61 {
					wanted = append(wanted, i)
				}
			}
			if diff := cmp.Diff(wanted, load(t, b, lease).RecentOpenings); diff != "" {
				t.Errorf("recent openings (-want +got):\n%s", diff)
			}
		})
	}
}
