// Package venue is the small interface behind which each exchange has one
// adapter in a folder of its own.
package venue

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

var (
	// ErrUnknownOutcome means that the venue may or may not have accepted the
	// order. Only asking it can tell.
	ErrUnknownOutcome = errors.New("the outcome at the venue is unknown")
	// ErrNotFound means that the venue has no such order.
	ErrNotFound = errors.New("the venue has no such order")
)

// RejectedError is a definitive refusal: the order does not exist at the venue
// and never will.
type RejectedError struct {
	// Code is the venue's own word for it.
	Code string
	// Message says it in a sentence.
	Message string
}

// Error says what was refused and why.
func (e *RejectedError) Error() string { return "order refused: " + e.Code + ": " + e.Message }

// Order is an order as the venue tells of it.
type Order struct {
	ID           uuid.UUID
	VenueOrderID string
	// State is one of Acked, Filled, Cancelled, Rejected.
	State  order.State
	Filled market.Quantity
}

// Venue is where orders go. Implementations never retry a placement.
type Venue interface {
	// Place sends an order once. A definitive refusal is a *RejectedError, a
	// lost answer ErrUnknownOutcome.
	Place(ctx context.Context, intent order.Intent) (Order, error)
	// Cancel asks for an open order to be cancelled. Cancelling what is final
	// is no error.
	Cancel(ctx context.Context, id uuid.UUID) error
	// Lookup tells what became of an order; ErrNotFound if the venue never had it.
	Lookup(ctx context.Context, id uuid.UUID) (Order, error)
	// Open lists the agent's open orders at the venue.
	Open(ctx context.Context) ([]Order, error)
	// Fills lists the agent's fills after the given cursor, oldest first, and
	// the cursor to go on from. The empty cursor means from the beginning.
	Fills(ctx context.Context, cursor string) ([]order.Fill, string, error)
}
