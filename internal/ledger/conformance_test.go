package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func TestDecideOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			decision := decide(1, "BTC-USD", noon)
			intents := []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Buy, 5)}
			for range 3 {
				if err := b.Decide(t.Context(), lease, decision, intents, time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			once := load(t, b, lease)
			if once.Decisions != 1 || len(once.OpenOrders) != 1 || once.LastSequence != 1 || len(once.Openings) > 0 {
				t.Fatalf("after one decision told three times: %+v", once)
			}
			if diff := cmp.Diff(&decision, once.LastDecision); diff != "" {
				t.Errorf("last decision (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(ledger.Order{Intent: intents[0], State: order.Intended}, once.OpenOrders[0]); diff != "" {
				t.Errorf("open order (-want +got):\n%s", diff)
			}

			for name, change := range map[string]func(*ledger.Decision, *order.Intent){
				"action":     func(d *ledger.Decision, _ *order.Intent) { d.Action = "Sell" },
				"outcome":    func(d *ledger.Decision, _ *order.Intent) { d.Outcome = "Stale" },
				"confidence": func(d *ledger.Decision, _ *order.Intent) { d.ConfidenceMicros++ },
				"reasoning":  func(d *ledger.Decision, _ *order.Intent) { d.Reasoning = []byte(`{}`) },
				"sequence":   func(d *ledger.Decision, i *order.Intent) { d.Sequence, i.Sequence = 2, 2 },
				"quantity":   func(_ *ledger.Decision, i *order.Intent) { i.Quantity++ },
				"limit":      func(_ *ledger.Decision, i *order.Intent) { i.Limit++ },
				"order id":   func(_ *ledger.Decision, i *order.Intent) { i.ID = orderID(lease, 99, 0) },
			} {
				other, changed := decision, intents[0]
				change(&other, &changed)
				if err := b.Decide(t.Context(), lease, other, []order.Intent{changed}, time.Time{}); !errors.Is(err, ledger.ErrDecided) {
					t.Errorf("another %s on the same bar: %v, want ErrDecided", name, err)
				}
			}
			if err := b.Decide(t.Context(), lease, decision, nil, time.Time{}); !errors.Is(err, ledger.ErrDecided) {
				t.Errorf("the same decision without its order: %v, want ErrDecided", err)
			}
			if diff := cmp.Diff(once, load(t, b, lease)); diff != "" {
				t.Errorf("refused decisions left something (-before +after):\n%s", diff)
			}
		})
	}
}

// What is decided to be sent at once is known to be on its way with the same commit:
// the first order, at the time that its process says, and by its epoch.
func TestDecideBeginsTheFirstSend(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			first, second := intent(lease, 1, 0, "BTC-USD", order.Buy, 5), intent(lease, 1, 1, "BTC-USD", order.Buy, 7)
			decision, began := decide(1, "BTC-USD", noon), noon.Add(3*time.Second)
			for _, at := range []time.Time{began, began.Add(time.Second)} {
				if err := b.Decide(t.Context(), lease, decision, []order.Intent{first, second}, at); err != nil {
					t.Fatal(err)
				}
			}
			wished := intent(lease, 2, 0, "ETH-USD", order.Sell, 1)
			wished.ReduceOnly = true
			request := ledger.Request{Key: ledger.RequestKey("close"), Pair: "ETH-USD"}
			if err := b.Request(t.Context(), lease, request, []order.Intent{wished}, began); err != nil {
				t.Fatal(err)
			}
			want := []ledger.Order{
				{Intent: first, State: order.Sent, SentAt: began, SentEpoch: lease.Epoch},
				{Intent: second, State: order.Intended},
				{Intent: wished, State: order.Sent, SentAt: began, SentEpoch: lease.Epoch},
			}
			if diff := cmp.Diff(want, load(t, b, lease).OpenOrders); diff != "" {
				t.Errorf("open orders (-want +got):\n%s", diff)
			}
			if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: first.ID, State: order.Sent, MarketTime: noon, At: began.Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, load(t, b, lease).OpenOrders); diff != "" {
				t.Errorf("a send cannot begin twice (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSequenceNeverGoesBack(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			if err := b.Decide(t.Context(), lease, decide(3, "BTC-USD", noon), nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
			for _, sequence := range []int64{1, 3} {
				if err := b.Decide(t.Context(), lease, decide(sequence, "ETH-USD", noon), nil, time.Time{}); !errors.Is(err, ledger.ErrConflict) {
					t.Errorf("sequence %d after 3: %v, want ErrConflict", sequence, err)
				}
			}
			ordered(t, b, lease, 7, "BTC-USD", order.Sell, 1)
			if got := load(t, b, lease).LastSequence; got != 7 {
				t.Errorf("last sequence is %d after a stop of sequence 7", got)
			}
			lease = acquire(t, b, trader("a", btc, eth))
			if got := load(t, b, lease).LastSequence; got != 7 {
				t.Errorf("last sequence is %d after a restart, want 7", got)
			}
			if err := b.Decide(t.Context(), lease, decide(6, "ETH-USD", noon), nil, time.Time{}); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("sequence 6 after 7: %v, want ErrConflict", err)
			}
			if err := b.Decide(t.Context(), lease, decide(8, "ETH-USD", noon), nil, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOldEpochIsFenced(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			old := acquire(t, b, trader("a", btc))
			id := ordered(t, b, old, 1, "BTC-USD", order.Buy, 10)
			current := acquire(t, b, trader("a", btc))
			if current.Epoch != old.Epoch+1 {
				t.Fatalf("epoch %d followed epoch %d", current.Epoch, old.Epoch)
			}
			before := load(t, b, current)
			never := current
			never.Epoch += 5
			for name, lease := range map[string]ledger.Lease{"old": old, "future": never, "stranger's": {Agent: trader("b", btc), Epoch: 1}} {
				_, loadErr := b.Load(t.Context(), lease)
				_, fillErr := b.BookFill(t.Context(), lease, fillOf(lease, id, "t1", "BTC-USD", order.Buy, 10, 100, "0"))
				for call, err := range map[string]error{
					"Load":        loadErr,
					"BookFill":    fillErr,
					"Decide":      b.Decide(t.Context(), lease, decide(2, "BTC-USD", noon), nil, time.Time{}),
					"Intend":      b.Intend(t.Context(), lease, []order.Intent{intent(lease, 2, 0, "BTC-USD", order.Buy, 1)}),
					"UpdateOrder": b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: id, State: order.Acked, MarketTime: noon}),
					"SaveMark":    b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 5}),
				} {
					if !errors.Is(err, ledger.ErrFenced) {
						t.Errorf("%s with the %s lease: %v, want ErrFenced", call, name, err)
					}
				}
			}
			after := load(t, b, current)
			if postgresOf(b) != nil && after.Forgot == "" {
				t.Error("a lease of a later epoch than the database's was no sign that the database has forgotten")
			}
			after.Forgot, after.ForgotFor, after.LastSequence = "", 0, before.LastSequence
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("a fenced process changed something (-before +after):\n%s", diff)
			}
		})
	}
}

func TestOrderStates(t *testing.T) {
	states := []order.State{order.Intended, order.Sent, order.Unknown, order.Acked, order.Filled, order.Cancelled, order.Rejected}
	final := map[order.State]bool{order.Filled: true, order.Cancelled: true, order.Rejected: true}
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			sequence := int64(0)
			for i, first := range states {
				for j, second := range states {
					sequence++
					id := ordered(t, b, lease, sequence, "BTC-USD", order.Buy, 10)
					for _, state := range []order.State{first, second} {
						if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: id, State: state, VenueOrderID: string(state), MarketTime: noon}); err != nil {
							t.Fatal(err)
						}
					}
					want := first
					if !final[first] && j >= i {
						want = second
					}
					var open []ledger.Order
					for _, o := range load(t, b, lease).OpenOrders {
						if o.ID == id {
							open = append(open, o)
						}
					}
					switch {
					case final[want] && len(open) != 0:
						t.Errorf("%s then %s: still open as %s", first, second, open[0].State)
					case !final[want] && (len(open) != 1 || open[0].State != want || open[0].VenueOrderID != string(want)):
						t.Errorf("%s then %s: %+v, want %s", first, second, open, want)
					}
				}
			}
			if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: orderID(lease, 999, 0), State: order.Acked}); !errors.Is(err, ledger.ErrNoIntent) {
				t.Errorf("news of an unknown order: %v, want ErrNoIntent", err)
			}
			if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: orderID(lease, 1, 0), State: "Lost"}); err == nil {
				t.Error("a state that does not exist was accepted")
			}
		})
	}
}

func TestIntentsNeverChange(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			first, second := intent(lease, 1, 0, "BTC-USD", order.Buy, 10), intent(lease, 1, 1, "BTC-USD", order.Sell, 10)
			if err := b.Intend(t.Context(), lease, []order.Intent{first}); err != nil {
				t.Fatal(err)
			}
			if err := b.Intend(t.Context(), lease, []order.Intent{first, second}); err != nil {
				t.Fatalf("one known and one new intent: %v", err)
			}
			changed := first
			changed.ReduceOnly = true
			third := intent(lease, 1, 2, "BTC-USD", order.Buy, 1)
			if err := b.Intend(t.Context(), lease, []order.Intent{third, changed}); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("a changed intent: %v, want ErrConflict", err)
			}
			open := load(t, b, lease).OpenOrders
			if len(open) != 2 || open[0].Intent != first || open[1].Intent != second {
				t.Errorf("open orders, oldest first: %+v", open)
			}
		})
	}
}

func TestMarks(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			mark := func(pair string, hours int, equity string) ledger.Mark {
				return ledger.Mark{
					Pair: pair, MarketTime: noon.Add(time.Duration(hours) * time.Hour), Price: 12345, Equity: money(equity),
					PeakEquity: money("10001"), DayStart: noon.Truncate(24 * time.Hour), DayStartEquity: money("9999.99999999"),
				}
			}
			for _, m := range []ledger.Mark{
				mark("BTC-USD", 1, "1"), mark("ETH-USD", 1, "2"), mark("BTC-USD", 2, "3"), mark("ETH-USD", 2, "4"),
				mark("BTC-USD", 2, "5"), mark("ETH-USD", 1, "6"),
			} {
				if err := b.SaveMark(t.Context(), lease, m); err != nil {
					t.Fatal(err)
				}
			}
			s := load(t, b, lease)
			if diff := cmp.Diff(map[string]ledger.Mark{"BTC-USD": mark("BTC-USD", 2, "5"), "ETH-USD": mark("ETH-USD", 2, "4")}, s.LastMark); diff != "" {
				t.Errorf("last marks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(mark("BTC-USD", 2, "5"), s.Newest); diff != "" {
				t.Errorf("the mark recorded last among the newest (-want +got):\n%s", diff)
			}

			// The newest equity stays known when its pair is given up.
			want := s.Newest
			want.Price = 0
			s = load(t, b, acquire(t, b, trader("a", eth)))
			if diff := cmp.Diff(want, s.Newest); diff != "" {
				t.Errorf("the newest mark after its pair was given up (-want +got):\n%s", diff)
			}
			if _, ok := s.LastMark["BTC-USD"]; ok || len(s.LastMark) != 1 {
				t.Errorf("last marks of pairs that are not traded: %v", s.LastMark)
			}
		})
	}
}

func TestTradesOfTheDay(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			midnight := noon.Truncate(24 * time.Hour)
			times := []time.Time{midnight.Add(-time.Microsecond), midnight, noon, midnight.Add(24*time.Hour - time.Microsecond), midnight.Add(24 * time.Hour)}
			intents := make([]order.Intent, 0, 2*len(times))
			for i, at := range times {
				opening := intent(lease, int64(i+1), 0, "BTC-USD", order.Buy, 1)
				opening.MarketTime = at
				closing := intent(lease, int64(i+1), 1, "BTC-USD", order.Sell, 1)
				closing.MarketTime, closing.ReduceOnly = at, true
				intents = append(intents, opening, closing)
			}
			if err := b.Intend(t.Context(), lease, intents); err != nil {
				t.Fatal(err)
			}
			next := midnight.Add(24 * time.Hour)
			for _, test := range []struct {
				mark time.Time
				want map[time.Time]int32
			}{
				{midnight, map[time.Time]int32{midnight: 3, next: 1}},
				{noon, map[time.Time]int32{midnight: 3, next: 1}},
				{next, map[time.Time]int32{next: 1}},
				{next.Add(24 * time.Hour), map[time.Time]int32{}},
			} {
				if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: test.mark, Price: 1}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, load(t, b, lease).Openings); diff != "" {
					t.Errorf("after a mark of %s (-want +got):\n%s", test.mark, diff)
				}
			}
		})
	}
}
