package venue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Why a sentry lets an order not out.
const (
	// NotApproved is an order that nobody approved, or that went out before.
	NotApproved = "NotApproved"
	// ChangedAfterApproval is an order that is not what was approved.
	ChangedAfterApproval = "ChangedAfterApproval"
	// ApprovalExpired is an order that would leave later than it may, or whose
	// sending the ledger does not know of.
	ApprovalExpired = "ApprovalExpired"
)

// ErrNotApproved means that a sentry knows nothing of the order: it was never
// approved, or went out before. What became of it only the venue can tell.
var ErrNotApproved = errors.New("the order was not approved, or was sent before")

// mostApproved bounds what a sentry remembers; the oldest go first, and are then
// not sent.
const mostApproved = 4096

// content is what an order says to a venue.
type content struct {
	account, agent, pair string
	side                 order.Side
	quantity             market.Quantity
	limit                market.Price
	reduceOnly           bool
}

func contentOf(intent *order.Intent) content {
	return content{intent.Account, intent.AgentUID, intent.Pair, intent.Side, intent.Quantity, intent.Limit, intent.ReduceOnly}
}

// approval is what may leave, and until when; it may not before that is known.
type approval struct {
	content  content
	notAfter time.Time
}

// Sentry stands between the trader and a venue's adapter. It compares what leaves
// with its own record of what was approved, knows nothing of limits, and lets
// out each approved order once. Only Refused may be called from other goroutines.
type Sentry struct {
	place    func(context.Context, order.Intent) (Order, error)
	approved map[uuid.UUID]approval
	ids      []uuid.UUID
	refused  [3]atomic.Int64
}

// NewSentry guards the placement of orders.
func NewSentry(place func(context.Context, order.Intent) (Order, error)) *Sentry {
	return &Sentry{place: place, approved: map[uuid.UUID]approval{}}
}

// Approve records orders as the gate has let them pass and the ledger has them.
func (s *Sentry) Approve(intents []order.Intent) {
	for i := range intents {
		if len(s.ids) == mostApproved {
			delete(s.approved, s.ids[0])
			s.ids = append(s.ids[:0], s.ids[1:]...)
		}
		s.approved[intents[i].ID] = approval{content: contentOf(&intents[i])}
		s.ids = append(s.ids, intents[i].ID)
	}
}

// Release lets an approved order leave until the given time.
func (s *Sentry) Release(id uuid.UUID, notAfter time.Time) {
	if known, ok := s.approved[id]; ok {
		known.notAfter = notAfter
		s.approved[id] = known
	}
}

// Place sends an order if it is what was approved. It fails with ErrNotApproved,
// or with a *RejectedError where not a byte of an order that is known has left.
func (s *Sentry) Place(ctx context.Context, intent order.Intent) (Order, error) {
	known, ok := s.approved[intent.ID]
	if !ok {
		s.refused[0].Add(1)
		return Order{}, fmt.Errorf("order %s: %w", intent.ID, ErrNotApproved)
	}
	s.forget(intent.ID)
	if leaves := contentOf(&intent); leaves != known.content {
		s.refused[1].Add(1)
		return Order{}, &RejectedError{Code: ChangedAfterApproval, Message: fmt.Sprintf("approved was %+v, and %+v was to be sent", known.content, leaves)}
	}
	if !time.Now().Before(known.notAfter) {
		s.refused[2].Add(1)
		return Order{}, &RejectedError{Code: ApprovalExpired, Message: "its time to leave is over, or has not come"}
	}
	return s.place(ctx, intent)
}

// forget an order, so that it leaves once. The newest are at the end.
func (s *Sentry) forget(id uuid.UUID) {
	delete(s.approved, id)
	for i, known := range slices.Backward(s.ids) {
		if known == id {
			s.ids = append(s.ids[:i], s.ids[i+1:]...)
			return
		}
	}
}

// Refusal is how many orders were not let out for a reason.
type Refusal struct {
	Reason string
	Count  int64
}

// Refused counts by reason; zeros are told too.
func (s *Sentry) Refused() []Refusal {
	return []Refusal{
		{NotApproved, s.refused[0].Load()}, {ChangedAfterApproval, s.refused[1].Load()}, {ApprovalExpired, s.refused[2].Load()},
	}
}
