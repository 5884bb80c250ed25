package venue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	// HaltedMeanwhile is an order that would leave although the owner has forbidden
	// it since it was approved, by a halt or by deleting its agent.
	HaltedMeanwhile = "HaltedMeanwhile"
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
	body                 string
	notAfter             time.Time
}

func contentOf(intent *order.Intent) content {
	return content{
		intent.Account, intent.AgentUID, intent.Pair, intent.Side, intent.Quantity, intent.Limit, intent.ReduceOnly,
		intent.Frozen, intent.NotAfter,
	}
}

// approval is what may leave; it may not before the ledger knows that it does.
type approval struct {
	content  content
	released bool
}

// Sentry stands between the trader and a venue's adapter. It compares what leaves
// with its own record of what was approved, knows nothing of limits, and lets
// out each approved order once. Its methods may be called from any goroutine.
type Sentry struct {
	now func() time.Time

	// mu is held while a part of an order is written: nothing can be forbidden then.
	mu        sync.Mutex
	forbidden func(*order.Intent) bool
	approved  map[uuid.UUID]approval
	ids       []uuid.UUID
	// leaving are orders that are being placed.
	leaving map[uuid.UUID]departure
	refused [4]int64
}

// departure is an order that is being placed; asked says that its bytes were
// compared.
type departure struct {
	intent order.Intent
	asked  bool
}

var _ Guard = (*Sentry)(nil)

// NewSentry makes a sentry that has approved nothing. Now tells the time.
func NewSentry(now func() time.Time) *Sentry {
	return &Sentry{now: now, approved: map[uuid.UUID]approval{}, leaving: map[uuid.UUID]departure{}}
}

// Approve records orders as the gate has let them pass and the ledger has them.
func (s *Sentry) Approve(intents []order.Intent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range intents {
		if len(s.ids) == mostApproved {
			delete(s.approved, s.ids[0])
			s.ids = append(s.ids[:0], s.ids[1:]...)
		}
		s.approved[intents[i].ID] = approval{content: contentOf(&intents[i])}
		s.ids = append(s.ids, intents[i].ID)
	}
}

// Release lets an approved order leave, until its NotAfter.
func (s *Sentry) Release(id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.approved[id]; ok {
		known.released = true
		s.approved[id] = known
	}
}

// Forbid lets no order out any more that the function names, until it is called
// again. When it returns, no write of such an order begins any more and none is
// under way, however far its adapter was: it waits for a write under way, which
// takes no longer than handing some bytes to the kernel. What the kernel had been
// handed before may still be on its way; of an order that was cut in two the venue
// has a part, and its outcome is unknown. Adapters that write nothing themselves
// ask last before they hand the order on. The function may be called from any
// goroutine.
func (s *Sentry) Forbid(forbidden func(*order.Intent) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden = forbidden
}

// Place sends an order by the given venue if it is what was approved. It fails
// with ErrNotApproved, or with a *RejectedError where not a byte of an order that
// is known has left.
func (s *Sentry) Place(ctx context.Context, to Venue, request Request) (Order, error) {
	id := request.Intent.ID
	if err := s.admit(&request); err != nil {
		return Order{}, err
	}
	defer func() {
		s.mu.Lock()
		delete(s.leaving, id)
		s.mu.Unlock()
	}()
	return to.Place(ctx, request)
}

// admit lets an order through to the adapter, once.
func (s *Sentry) admit(request *Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := request.Intent.ID
	known, ok := s.approved[id]
	if !ok {
		s.refused[0]++
		return fmt.Errorf("order %s: %w", id, ErrNotApproved)
	}
	s.forget(id)
	leaves := contentOf(&request.Intent)
	leaves.body, leaves.notAfter = string(request.Body), request.NotAfter
	if leaves != known.content {
		s.refused[1]++
		return &RejectedError{Code: ChangedAfterApproval, Message: fmt.Sprintf("approved was %+v, and %+v was to be sent", known.content, leaves)}
	}
	if !known.released {
		s.refused[2]++
		return &RejectedError{Code: ApprovalExpired, Message: "the ledger does not know that it is sent"}
	}
	if err := s.allowed(&request.Intent); err != nil {
		return err
	}
	s.leaving[id] = departure{intent: request.Intent}
	return nil
}

// allowed refuses what would leave too late or under a halt.
func (s *Sentry) allowed(intent *order.Intent) error {
	if !s.now().Before(intent.NotAfter) {
		s.refused[2]++
		return &RejectedError{Code: ApprovalExpired, Message: "its time to leave is over"}
	}
	if s.forbidden != nil && s.forbidden(intent) {
		s.refused[3]++
		return &RejectedError{Code: HaltedMeanwhile, Message: "trading was halted, or the agent deleted, before it left"}
	}
	return nil
}

// Leaves implements Guard: what leaves is compared once more, before there is a
// connection for it. It fails with ErrNotApproved if the order may have left
// before, and otherwise with a *RejectedError: not a byte of it has. The exit lasts
// as long as the placement.
func (s *Sentry) Leaves(id uuid.UUID, body []byte) (Exit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.leaving[id]
	if !ok || known.asked {
		s.refused[0]++
		return nil, fmt.Errorf("order %s: %w", id, ErrNotApproved)
	}
	known.asked = true
	s.leaving[id] = known
	if string(body) != known.intent.Frozen {
		s.refused[1]++
		return nil, &RejectedError{Code: ChangedAfterApproval, Message: fmt.Sprintf("approved was %q, and %q was to be sent", known.intent.Frozen, body)}
	}
	if err := s.allowed(&known.intent); err != nil {
		return nil, err
	}
	return func(write func()) error { return s.out(id, write) }, nil
}

// out lets a part of an order be written.
func (s *Sentry) out(id uuid.UUID, write func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.leaving[id]
	if !ok {
		s.refused[0]++
		return fmt.Errorf("order %s: %w", id, ErrNotApproved)
	}
	if err := s.allowed(&known.intent); err != nil {
		return err
	}
	write()
	return nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	return []Refusal{
		{NotApproved, s.refused[0]}, {ChangedAfterApproval, s.refused[1]}, {ApprovalExpired, s.refused[2]}, {HaltedMeanwhile, s.refused[3]},
	}
}
