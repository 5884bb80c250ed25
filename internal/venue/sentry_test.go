package venue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func approvable() order.Intent {
	return order.Intent{
		ID: uuid.New(), Account: "account", AgentUID: "agent", Sequence: 3, Pair: "BTC-USD", Side: order.Buy, Quantity: 10, Limit: 100,
		MarketTime: time.Unix(1, 0), Reason: "Decision",
	}
}

// guarded is a sentry and the orders that it has let out.
func guarded() (*Sentry, *[]order.Intent) {
	var sent []order.Intent
	return NewSentry(func(_ context.Context, intent order.Intent) (Order, error) {
		sent = append(sent, intent)
		return Order{ID: intent.ID, State: order.Acked}, nil
	}), &sent
}

func TestSentryLetsOutWhatWasApproved(t *testing.T) {
	sentry, sent := guarded()
	intent := approvable()
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID, time.Now().Add(time.Hour))
	if _, err := sentry.Place(t.Context(), intent); err != nil || len(*sent) != 1 || (*sent)[0] != intent {
		t.Fatalf("%v, sent %v", err, *sent)
	}
	if _, err := sentry.Place(t.Context(), intent); !errors.Is(err, ErrNotApproved) || len(*sent) != 1 {
		t.Errorf("sent once more: %v", err)
	}
	for _, refused := range sentry.Refused() {
		if want := int64(0); refused.Count != want && refused.Reason != NotApproved {
			t.Errorf("%s was counted %d times", refused.Reason, refused.Count)
		}
	}
}

// What has changed between the gate and the adapter never leaves.
func TestSentryComparesEverythingThatAVenueIsTold(t *testing.T) {
	for name, change := range map[string]func(*order.Intent){
		"account":     func(i *order.Intent) { i.Account = "other" },
		"agent":       func(i *order.Intent) { i.AgentUID = "other" },
		"pair":        func(i *order.Intent) { i.Pair = "ETH-USD" },
		"side":        func(i *order.Intent) { i.Side = order.Sell },
		"quantity":    func(i *order.Intent) { i.Quantity *= 10 },
		"limit":       func(i *order.Intent) { i.Limit++ },
		"reduce only": func(i *order.Intent) { i.ReduceOnly = true },
	} {
		sentry, sent := guarded()
		intent := approvable()
		sentry.Approve([]order.Intent{intent})
		sentry.Release(intent.ID, time.Now().Add(time.Hour))
		changed := intent
		change(&changed)
		_, err := sentry.Place(t.Context(), changed)
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != ChangedAfterApproval || len(*sent) != 0 {
			t.Errorf("another %s: %v, sent %v", name, err, *sent)
		}
		if counts := sentry.Refused(); counts[1] != (Refusal{ChangedAfterApproval, 1}) {
			t.Errorf("another %s was counted as %v", name, counts)
		}
		if _, err := sentry.Place(t.Context(), intent); !errors.Is(err, ErrNotApproved) {
			t.Errorf("after another %s its approval still holds: %v", name, err)
		}
	}
}

func TestSentryKeepsToTheTime(t *testing.T) {
	for name, release := range map[string]func(*Sentry, uuid.UUID){
		"not released": func(*Sentry, uuid.UUID) {},
		"too late":     func(s *Sentry, id uuid.UUID) { s.Release(id, time.Now().Add(-time.Nanosecond)) },
		"another one":  func(s *Sentry, _ uuid.UUID) { s.Release(uuid.New(), time.Now().Add(time.Hour)) },
	} {
		sentry, sent := guarded()
		intent := approvable()
		sentry.Approve([]order.Intent{intent})
		release(sentry, intent.ID)
		_, err := sentry.Place(t.Context(), intent)
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != ApprovalExpired || len(*sent) != 0 {
			t.Errorf("%s: %v, sent %v", name, err, *sent)
		}
	}
}

func TestSentryForgetsTheOldest(t *testing.T) {
	sentry, sent := guarded()
	first := approvable()
	sentry.Approve([]order.Intent{first})
	last := approvable()
	for range mostApproved {
		last = approvable()
		sentry.Approve([]order.Intent{last})
	}
	if len(sentry.approved) != mostApproved || len(sentry.ids) != mostApproved {
		t.Fatalf("%d approvals are kept", len(sentry.approved))
	}
	later := time.Now().Add(time.Hour)
	sentry.Release(first.ID, later)
	sentry.Release(last.ID, later)
	if _, err := sentry.Place(t.Context(), first); !errors.Is(err, ErrNotApproved) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := sentry.Place(t.Context(), last); err != nil || len(*sent) != 1 {
		t.Errorf("the newest: %v", err)
	}
}
