package trader

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

func toClose(pair, key string) ledger.Request {
	return ledger.Request{Key: ledger.RequestKey(key), Pair: pair}
}

// wish asks the core to close AAA-USD, of which the ledger recalls the given
// orders, and returns what follows.
func (h *hand) wish(recalled ...uuid.UUID) []Command {
	h.t.Helper()
	asked := find[Recall](h.t, h.core.Handle(Closing{toClose("AAA-USD", "k")}))
	return slices.Clone(h.core.Handle(Recalled{Request: asked.Request, Orders: recalled}))
}

func TestClosePassesTheGate(t *testing.T) {
	h := byHand(t, fresh(), nil)
	h.filled(h.rule(decision.Buy))
	held := h.core.pairs[0].position.Quantity
	commit := find[Commit](t, h.wish())
	if commit.Request == nil || len(commit.Intents) != 1 {
		t.Fatalf("%+v", commit)
	}
	leg := commit.Intents[0]
	if !leg.ReduceOnly || leg.Side != order.Sell || leg.Quantity != held || leg.Reason != OrderClose || leg.Sequence != 2 {
		t.Errorf("the order is %+v", leg)
	}
	commands := slices.Clone(h.core.Handle(&Committed{}))
	answer := find[Answer](t, commands).Closed
	if !slices.Equal(answer.Orders, []uuid.UUID{leg.ID}) || answer.Known || answer.Remaining != 0 || len(answer.Denied) > 0 {
		t.Errorf("the answer is %+v", answer)
	}
	find[BeginSend](t, commands)
	if status := h.core.Status(); status.Decisions != 1 || status.LastDecision.Outcome != OutcomeOrdered {
		t.Errorf("a wish counts as a decision: %+v", status)
	}
	// The sequence goes on behind the wish's.
	find[Send](t, h.core.Handle(SendBegun{leg.ID}))
	h.core.Handle(News{ID: leg.ID, Event: order.Ack})
	again := find[Answer](t, h.wish()).Closed
	if !slices.Equal(again.Orders, answer.Orders) || !again.Known || again.Remaining != 0 {
		t.Errorf("a second wish while the order is open is answered by %+v", again)
	}
	h.core.Handle(FillBooked{New: true, Fill: order.Fill{TradeID: "t", OrderID: leg.ID, Pair: leg.Pair, Side: leg.Side, Quantity: leg.Quantity, Price: 10_000}})
	if next := h.rule(decision.Buy); next.Decision.Sequence != 3 {
		t.Errorf("the next decision is number %d; want 3", next.Decision.Sequence)
	}
}

// What limits bind on one order leaves a rest, and the answer says how much.
func TestCloseTellsWhatRemains(t *testing.T) {
	snapshot := fresh()
	snapshot.Positions = map[string]ledger.Position{"AAA-USD": {Quantity: 100_000, Cost: 1}}
	h := byHand(t, snapshot, func(c *Config) { c.Settings.Limits.MaxPerSecond = 2 })
	commit := find[Commit](t, h.wish())
	if len(commit.Intents) != 2 {
		t.Fatalf("%d orders; want the two that a second allows", len(commit.Intents))
	}
	sold := commit.Intents[0].Quantity + commit.Intents[1].Quantity
	if answer := find[Answer](t, h.core.Handle(&Committed{})).Closed; answer.Remaining != 100_000-sold || len(answer.Orders) != 2 {
		t.Errorf("%+v after orders for %d", answer, sold)
	}
}

func TestCloseIsDenied(t *testing.T) {
	holding := fresh()
	holding.Positions = map[string]ledger.Position{"AAA-USD": {Quantity: 500, Cost: 1}}
	for name, test := range map[string]struct {
		snapshot ledger.Snapshot
		event    Event
		want     string
	}{
		"nothing is held":         {fresh(), Ticked{}, ReasonNothingHeld},
		"halted":                  {holding, Updated{Settings{Trading: risk.Halted, Limits: risk.Limits{MaxOrderNotional: risk.Unlimited, MaxPerSecond: 9}}}, string(risk.TradingHalted)},
		"deleted, positions kept": {holding, Deleting{Flatten: false}, string(risk.TradingHalted)},
		"no order may be sent":    {holding, Updated{Settings{Trading: risk.Enabled, Limits: risk.Limits{MaxOrderNotional: risk.Unlimited}}}, string(risk.OrderRate)},
	} {
		h := byHand(t, test.snapshot, nil)
		h.core.Handle(test.event)
		commands := h.wish()
		none[Commit](t, commands)
		if answer := find[Answer](t, commands).Closed; len(answer.Denied) == 0 || answer.Denied[0] != test.want || len(answer.Orders) > 0 {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	h := byHand(t, holding, nil)
	h.core.Handle(Impaired{Reason: ReasonVenueUnreachable, Message: "gone"})
	if answer := find[Answer](t, h.core.Handle(Closing{toClose("AAA-USD", "k")})).Closed; answer.Denied[0] != ReasonVenueUnreachable {
		t.Errorf("while the venue is gone: %+v", answer)
	}
	if answer := find[Answer](t, h.core.Handle(Closing{toClose("ZZZ-USD", "k")})).Closed; len(answer.Denied) == 0 {
		t.Errorf("a pair of others: %+v", answer)
	}
}

// What was granted before is told again, even though the position is gone.
func TestCloseRemembers(t *testing.T) {
	h := byHand(t, fresh(), nil)
	before := uuid.New()
	if answer := find[Answer](t, h.wish(before)).Closed; !slices.Equal(answer.Orders, []uuid.UUID{before}) || !answer.Known {
		t.Errorf("%+v", answer)
	}
	if answer := find[Answer](t, h.core.Handle(Recalled{Request: toClose("AAA-USD", "k"), Err: ledger.ErrConflict})).Closed; !errors.Is(answer.Err, ledger.ErrConflict) {
		t.Errorf("another wish under the key: %+v", answer)
	}
}

// An order that would open more is cancelled, or not even sent, before the
// position is closed.
func TestCloseCancelsWhatOpens(t *testing.T) {
	snapshot := fresh()
	snapshot.Positions = map[string]ledger.Position{"AAA-USD": {Quantity: -500, Cost: -1}}
	opening := order.Intent{ID: uuid.New(), Pair: "AAA-USD", Side: order.Sell, Quantity: 100, Limit: 9_000, Reason: OrderDecision}
	snapshot.OpenOrders = []ledger.Order{{Intent: opening, State: order.Acked}}
	h := byHand(t, snapshot, nil)
	commands := slices.Clone(h.core.Handle(Closing{toClose("AAA-USD", "k")}))
	if find[Cancel](t, commands).ID != opening.ID {
		t.Fatalf("%+v", commands)
	}
	if answer := find[Answer](t, h.core.Handle(Recalled{Request: toClose("AAA-USD", "k")})).Closed; answer.Denied[0] != ReasonOrderOpen {
		t.Errorf("while the order is open: %+v", answer)
	}
	h.core.Handle(News{ID: opening.ID, Event: order.Cancel})
	if commit := find[Commit](t, h.wish()); commit.Intents[0].Side != order.Buy || commit.Intents[0].Quantity != 500 {
		t.Errorf("%+v", commit)
	}

	h = byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	commands = slices.Clone(h.core.Handle(Closing{toClose("AAA-USD", "k")}))
	if record := find[Record](t, commands); record.Update.State != order.Rejected || record.Update.Reason != EndOvertaken {
		t.Errorf("an order that has not been sent ends as %+v", record)
	}
	none[Send](t, h.core.Handle(SendBegun{commit.Intents[0].ID}))
}

// The whole way: asked from another goroutine, granted once, filled, and known
// for ever.
func TestCloseAPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		held := d.until("a position", func(s *Status) bool { return holding(s) && s.OpenOrders == 0 })
		pair := held.Positions[0].Instrument.Pair
		settings := d.shell.config.Settings
		settings.Trading = risk.Reducing
		d.shell.Update(settings)
		first, err := d.shell.Close(t.Context(), toClose(pair, "once"))
		if err != nil || len(first.Orders) == 0 || first.Known || first.Remaining != 0 {
			t.Fatalf("%+v, %v", first, err)
		}
		d.until("no such position", func(s *Status) bool {
			return s.OpenOrders == 0 && !slices.ContainsFunc(s.Positions, func(p PositionStatus) bool { return p.Instrument.Pair == pair })
		})
		again, err := d.shell.Close(t.Context(), toClose(pair, "once"))
		if err != nil || !slices.Equal(again.Orders, first.Orders) || !again.Known {
			t.Errorf("asked again: %+v, %v", again, err)
		}
		if flat, err := d.shell.Close(t.Context(), toClose(pair, "twice")); err != nil || !slices.Equal(flat.Denied, []string{ReasonNothingHeld}) {
			t.Errorf("asked for what is not held: %+v, %v", flat, err)
		}
		other := "AAA-USD"
		if pair == other {
			other = "BBB-USD"
		}
		if mixed, err := d.shell.Close(t.Context(), toClose(other, "once")); err != nil || !errors.Is(mixed.Err, ledger.ErrConflict) {
			t.Errorf("another wish under the same key: %+v, %v", mixed, err)
		}
		d.scribe.fail(ledger.ErrUnavailable)
		if down, err := d.shell.Close(t.Context(), toClose(other, "down")); err != nil || !slices.Equal(down.Denied, []string{ReasonLedgerUnavailable}) {
			t.Errorf("while the ledger is down: %+v, %v", down, err)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
		if _, err := d.shell.Close(t.Context(), toClose(pair, "late")); !errors.Is(err, ErrNotNow) {
			t.Errorf("asked of an agent that has stopped: %v", err)
		}
		if len(d.shell.waiting) != 0 {
			t.Errorf("%d wishes are still waited for", len(d.shell.waiting))
		}
	})
}

// An order that is cancelled because of a wish says so when it has ended.
func TestCloseSaysWhyAnOrderEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 2000, "AAA", "BBB")
		d.until("an opening order", func(*Status) bool {
			return slices.ContainsFunc(d.shell.core.open, func(o openOrder) bool { return !o.ReduceOnly && o.state == order.Acked })
		})
		i := slices.IndexFunc(d.shell.core.open, func(o openOrder) bool { return !o.ReduceOnly && o.state == order.Acked })
		opening := d.shell.core.open[i].Intent
		if _, err := d.shell.Close(t.Context(), toClose(opening.Pair, "k")); err != nil {
			t.Fatal(err)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
		record, err := d.scribe.Ledger.(*ledger.Memory).Reader(d.shell.config.Agent.UID).Order(t.Context(), opening.ID)
		if err != nil || record.State != order.Cancelled || record.Ended != EndOvertaken {
			t.Errorf("the order has ended as %+v, %v", record, err)
		}
	})
}

func TestCloseWaitsNoLongerThanItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, _ := setup(t, "AAA")
		shell, err := NewShell(config, Options{Venue: new(paper.Venue)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := shell.Close(ctx, toClose("AAA-USD", "k")); !errors.Is(err, ErrNotNow) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an agent that does not run: %v", err)
		}
	})
}

// A recording that is over must not keep a person from closing a position.
func TestCloseAfterTheEndOfTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, 120, "AAA", "BBB")
		ended := d.until("the end of the data", replayed)
		if len(ended.Positions) == 0 {
			t.Fatal("nothing is held, so nothing would be tested")
		}
		pair := ended.Positions[0].Instrument.Pair
		if closed, err := d.shell.Close(t.Context(), toClose(pair, "k")); err != nil || len(closed.Orders) == 0 {
			t.Fatalf("%+v, %v", closed, err)
		}
		d.until("its end", func(s *Status) bool { return len(s.Positions) < len(ended.Positions) && s.OpenOrders == 0 })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}
