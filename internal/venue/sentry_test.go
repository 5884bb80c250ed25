package venue

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func approvable() order.Intent {
	return order.Intent{
		ID: uuid.New(), Account: "account", AgentUID: "agent", Sequence: 3, Pair: "BTC-USD", Side: order.Buy, Quantity: 10, Limit: 100,
		MarketTime: time.Unix(1, 0), Reason: "Decision", Frozen: `{"side":"buy"}`, NotAfter: time.Now().Add(time.Hour),
	}
}

// guarded is a sentry and the orders that it has let out.
func guarded() (*Sentry, *recorder) {
	sentry := NewSentry(time.Now)
	return sentry, &recorder{guard: sentry}
}

// recorder is a venue that takes every order that its guard lets out.
type recorder struct {
	Venue
	guard Guard
	sent  []order.Intent
	// changes what leaves.
	change func([]byte) []byte
	// connect is called between the guard's word and the first byte.
	connect func()
	// write is called while the order is written, and then with its way out after that.
	write func()
	then  func(Exit)
}

func (r *recorder) Place(_ context.Context, request Request) (Order, error) {
	body := request.Body
	if r.change != nil {
		body = r.change(body)
	}
	exit, err := r.guard.Leaves(request.Intent.ID, body)
	if err != nil {
		return Order{}, err
	}
	if r.connect != nil {
		r.connect()
	}
	err = exit(func() {
		r.sent = append(r.sent, request.Intent)
		if r.write != nil {
			r.write()
		}
	})
	if r.then != nil {
		r.then(exit)
	}
	if err != nil {
		return Order{}, err
	}
	return Order{ID: request.Intent.ID, State: order.Acked}, nil
}

func TestSentryLetsOutWhatWasApproved(t *testing.T) {
	sentry, to := guarded()
	intent := approvable()
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); err != nil || len(to.sent) != 1 || to.sent[0] != intent {
		t.Fatalf("%v, sent %v", err, to.sent)
	}
	if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); !errors.Is(err, ErrNotApproved) || len(to.sent) != 1 {
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
		"body":        func(i *order.Intent) { i.Frozen = `{"side":"sell"}` },
		"deadline":    func(i *order.Intent) { i.NotAfter = i.NotAfter.Add(time.Second) },
	} {
		sentry, to := guarded()
		intent := approvable()
		sentry.Approve([]order.Intent{intent})
		sentry.Release(intent.ID)
		changed := intent
		change(&changed)
		_, err := sentry.Place(t.Context(), to, RequestOf(changed))
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != ChangedAfterApproval || len(to.sent) != 0 {
			t.Errorf("another %s: %v, sent %v", name, err, to.sent)
		}
		if counts := sentry.Refused(); counts[1] != (Refusal{ChangedAfterApproval, 1}) {
			t.Errorf("another %s was counted as %v", name, counts)
		}
		if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); !errors.Is(err, ErrNotApproved) {
			t.Errorf("after another %s its approval still holds: %v", name, err)
		}
	}
}

func TestSentryKeepsToTheTime(t *testing.T) {
	for name, test := range map[string]struct {
		notAfter time.Time
		release  func(*Sentry, uuid.UUID)
	}{
		"not released": {time.Now().Add(time.Hour), func(*Sentry, uuid.UUID) {}},
		"too late":     {time.Now().Add(-time.Nanosecond), func(s *Sentry, id uuid.UUID) { s.Release(id) }},
		"another one":  {time.Now().Add(time.Hour), func(s *Sentry, _ uuid.UUID) { s.Release(uuid.New()) }},
	} {
		sentry, to := guarded()
		intent := approvable()
		intent.NotAfter = test.notAfter
		sentry.Approve([]order.Intent{intent})
		test.release(sentry, intent.ID)
		_, err := sentry.Place(t.Context(), to, RequestOf(intent))
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != ApprovalExpired || len(to.sent) != 0 {
			t.Errorf("%s: %v, sent %v", name, err, to.sent)
		}
	}
}

// The second comparison is of the bytes that leave.
func TestSentryComparesWhatLeaves(t *testing.T) {
	sentry, to := guarded()
	to.change = func(body []byte) []byte { return append([]byte(nil), append(body, ' ')...) }
	intent := approvable()
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	_, err := sentry.Place(t.Context(), to, RequestOf(intent))
	if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != ChangedAfterApproval || len(to.sent) != 0 {
		t.Errorf("%v, sent %v", err, to.sent)
	}
}

// Neither a second request of one placement leaves, nor one after it.
func TestSentryLetsNothingLeaveTwice(t *testing.T) {
	sentry, to := guarded()
	var again error
	to.change = func(body []byte) []byte {
		_, again = sentry.Leaves(approvedID, body)
		return body
	}
	intent := approvable()
	intent.ID = approvedID
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); again != nil || !errors.Is(err, ErrNotApproved) || len(to.sent) != 0 {
		t.Errorf("the first left with %v, the second with %v", again, err)
	}
	if _, err := sentry.Leaves(intent.ID, []byte(intent.Frozen)); !errors.Is(err, ErrNotApproved) {
		t.Errorf("after its placement: %v", err)
	}
}

var approvedID = uuid.New()

// From the moment at which it is forbidden no order leaves, not even one that is
// on its way to the socket.
func TestSentryForbidsAtOnce(t *testing.T) {
	all := func(*order.Intent) bool { return true }
	for under, when := range map[string]func(*Sentry, *recorder){
		"before it is placed": func(sentry *Sentry, _ *recorder) { sentry.Forbid(all) },
		"before it is compared": func(sentry *Sentry, to *recorder) {
			to.change = func(body []byte) []byte { sentry.Forbid(all); return body }
		},
		"while it waits for its connection": func(sentry *Sentry, to *recorder) { to.connect = func() { sentry.Forbid(all) } },
	} {
		sentry, to := guarded()
		when(sentry, to)
		intent := approvable()
		sentry.Approve([]order.Intent{intent})
		sentry.Release(intent.ID)
		_, err := sentry.Place(t.Context(), to, RequestOf(intent))
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Code != HaltedMeanwhile || len(to.sent) != 0 {
			t.Errorf("forbidden %s: %v, sent %v", under, err, to.sent)
		}
		sentry.Forbid(func(*order.Intent) bool { return false })
		to.change, to.connect, intent.ID = nil, nil, uuid.New()
		sentry.Approve([]order.Intent{intent})
		sentry.Release(intent.ID)
		if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); err != nil || len(to.sent) != 1 {
			t.Errorf("forbidden %s, and open again: %v", under, err)
		}
	}
}

// When Forbid returns no write is under way that it forbids.
func TestForbidWaitsForAWrite(t *testing.T) {
	for range 200 {
		sentry, to := guarded()
		intent := approvable()
		sentry.Approve([]order.Intent{intent})
		sentry.Release(intent.ID)
		var forbidden atomic.Bool
		var forbids sync.WaitGroup
		to.write = func() {
			forbids.Go(func() {
				sentry.Forbid(func(*order.Intent) bool { return true })
				forbidden.Store(true)
			})
			for range 100 {
				runtime.Gosched()
			}
			if forbidden.Load() {
				t.Error("it was written after Forbid had returned")
			}
		}
		if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); err != nil {
			t.Error(err)
		}
		forbids.Wait()
	}
}

// The way out ends with the placement, and each part of an order is asked for.
func TestExitsEnd(t *testing.T) {
	sentry, to := guarded()
	intent := approvable()
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	halted := false
	sentry.Forbid(func(*order.Intent) bool { return halted })
	written := 0
	write := func() { written++ }
	to.write = func() { halted = true }
	var kept Exit
	to.then = func(exit Exit) {
		kept = exit
		if err := exit(write); err == nil || written != 0 {
			t.Errorf("a second part, after a halt: %v", err)
		}
		halted = false
		if err := exit(write); err != nil || written != 1 {
			t.Errorf("a second part: %v", err)
		}
	}
	if _, err := sentry.Place(t.Context(), to, RequestOf(intent)); err != nil {
		t.Fatal(err)
	}
	if err := kept(write); !errors.Is(err, ErrNotApproved) || written != 1 {
		t.Errorf("after the placement: %v", err)
	}
}

func TestSince(t *testing.T) {
	at := time.Date(2026, 3, 1, 2, 3, 4, 5000, time.UTC)
	if got, ok := SinceOf(Since(at)); !ok || !got.Equal(at) {
		t.Errorf("%s, %v", got, ok)
	}
	for _, cursor := range []string{"", "12", "since:yesterday"} {
		if _, ok := SinceOf(cursor); ok {
			t.Errorf("%q counts as a time", cursor)
		}
	}
}

func TestSentryForgetsTheOldest(t *testing.T) {
	sentry, to := guarded()
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
	sentry.Release(first.ID)
	sentry.Release(last.ID)
	if _, err := sentry.Place(t.Context(), to, RequestOf(first)); !errors.Is(err, ErrNotApproved) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := sentry.Place(t.Context(), to, RequestOf(last)); err != nil || len(to.sent) != 1 {
		t.Errorf("the newest: %v", err)
	}
}
