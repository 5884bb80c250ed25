// Package venue is the small interface behind which each exchange has one
// adapter in a folder of its own.
package venue

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

var (
	// ErrUnknownOutcome means that the venue may or may not have accepted the
	// order. Only asking it can tell.
	ErrUnknownOutcome = errors.New("the outcome at the venue is unknown")
	// ErrNotFound means that the venue has answered and has no such order.
	ErrNotFound = errors.New("the venue has no such order")
)

// RejectedError is a definitive refusal: the order does not exist at the venue
// and never will. An adapter keeps a list of the codes that say so; every other
// failure is ErrUnknownOutcome.
type RejectedError struct {
	// Code is the venue's own word for it.
	Code string
	// Message says it in a sentence.
	Message string
}

// Error says what was refused and why.
func (e *RejectedError) Error() string { return "order refused: " + e.Code + ": " + e.Message }

// Class says what a venue does with a client order id that it has seen before.
type Class string

// The classes. No order is ever placed twice, whatever the class: it says what a
// venue would make of it if one were.
const (
	// ClassReturns answers a repeat with the original order.
	ClassReturns Class = "A"
	// ClassRefuses refuses a repeat for ever.
	ClassRefuses Class = "B1"
	// ClassRefusesOpen refuses a repeat as long as the first is open.
	ClassRefusesOpen Class = "B2"
	// ClassIgnores takes the id as no more than a label.
	ClassIgnores Class = "C"
)

// Traits are what the protocol must know of a venue.
type Traits struct {
	Class Class
	// RequestExpiry is how long after it was signed a placement can still be
	// accepted; the venue itself enforces it. Zero if it does not.
	RequestExpiry time.Duration
	// Settle is how long after an order was accepted, or filled, every answer of
	// the venue shows it.
	Settle time.Duration
	// Spot says that only what is held can be sold.
	Spot bool
}

// Request is one order as it leaves.
type Request struct {
	// Intent as the ledger has it.
	Intent order.Intent
	// Body is Intent.Frozen: it was committed with the intent and leaves byte for
	// byte, but for what signs it.
	Body []byte
	// NotAfter is Intent.NotAfter: the request must not be signed, nor leave, any
	// later.
	NotAfter time.Time
}

// RequestOf is the request of an intent.
func RequestOf(intent order.Intent) Request {
	return Request{Intent: intent, Body: []byte(intent.Frozen), NotAfter: intent.NotAfter}
}

// Ref finds an order at a venue.
type Ref struct {
	// ID is the client order id.
	ID uuid.UUID
	// VenueOrderID is empty if it is not known.
	VenueOrderID string
	// Pair in canonical spelling.
	Pair string
	// SentAt, in wall-clock time, is not later than the moment at which the order
	// was sent and bounds where to look; zero if that is not known.
	SentAt time.Time
}

// Order is an order as the venue tells of it.
type Order struct {
	// ID is the client order id; uuid.Nil for an order that has none of ours,
	// such as one that a person has entered.
	ID           uuid.UUID
	VenueOrderID string
	// Pair in canonical spelling; may be empty where a caller has named it.
	Pair string
	// State is one of Acked, Filled, Cancelled, Rejected.
	State order.State
	// Filled is how much of the order is filled, as far as the venue says. Fills
	// may show it later.
	Filled market.Quantity
}

// Venue is where orders go. Implementations never retry a placement. All methods
// but Place and Cancel only read.
type Venue interface {
	// Traits are constant.
	Traits() Traits
	// Freeze is the body of an order's request, byte for byte, in UTF-8 without
	// NUL; what signs it is added when it leaves. A venue that takes a deadline is
	// told notAfter. It fails on what the venue could never accept.
	Freeze(intent order.Intent, notAfter time.Time) ([]byte, error)
	// Place sends an order once. A definitive refusal is a *RejectedError,
	// everything else that is not an answer ErrUnknownOutcome.
	Place(ctx context.Context, request Request) (Order, error)
	// Cancel asks for an open order to be cancelled. Cancelling what is final is
	// no error; what the venue does not know is ErrNotFound.
	Cancel(ctx context.Context, ref Ref) error
	// Lookup tells what became of an order; ErrNotFound only if the venue has
	// answered and has no such order.
	Lookup(ctx context.Context, ref Ref) (Order, error)
	// Open lists the open orders in the agent's pairs, those that are not the
	// agent's among them.
	Open(ctx context.Context) ([]Order, error)
	// Fills lists fills in the agent's pairs after the cursor, oldest first, and
	// the cursor to go on from; none are left when it returns none. The same fill
	// may come more than once, but none may be left out that comes to light later.
	// Beside cursors of its own it takes those of Since; the empty one means from
	// the beginning. A fill whose order has no client order id of ours has the
	// OrderID uuid.Nil.
	Fills(ctx context.Context, cursor string) ([]order.Fill, string, error)
}

// Balancer is a venue that tells what the whole account holds.
type Balancer interface {
	Balances(ctx context.Context) ([]Balance, error)
}

// Balance is what an account holds of a currency, in whole units of it.
type Balance struct {
	Currency string
	// Total includes what open orders hold; Available does not.
	Total, Available decimal.Decimal
}

// Stopper is a venue with controls of its own.
type Stopper interface {
	// CancelAll cancels every open order in these pairs, whoever placed it.
	CancelAll(ctx context.Context, pairs []string) error
	// CancelAllAfter is the dead-man switch: unless it is called again in time,
	// the venue cancels the account's orders. Zero turns it off;
	// errors.ErrUnsupported where the venue has none.
	CancelAllAfter(ctx context.Context, after time.Duration) error
}

// Guard is asked with the bytes of a request before they leave. An adapter's
// transport asks it for every placement and sends nothing if it fails.
type Guard interface {
	// Leaves fails unless this body may leave now for this order. It never
	// succeeds twice for one order.
	Leaves(id uuid.UUID, body []byte) (Exit, error)
}

// Exit lets the bytes of an order out, part by part, on the connection that was
// waited for. It fails, without calling write, once they must not leave any more.
// Nothing is forbidden while write runs, so that it must not wait.
type Exit func(write func()) error

// sincePrefix begins the cursors of Since; no venue's own cursor begins so.
const sincePrefix = "since:"

// Since is a cursor that stands before the first fill of a wall-clock time.
func Since(at time.Time) string { return sincePrefix + at.UTC().Format(time.RFC3339Nano) }

// SinceOf is the time of a cursor that Since has made; false for any other.
func SinceOf(cursor string) (time.Time, bool) {
	if len(cursor) < len(sincePrefix) || cursor[:len(sincePrefix)] != sincePrefix {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, cursor[len(sincePrefix):])
	return at, err == nil
}
