// Package paper is a venue that fills orders against the agent's own market
// data, with fees, spread, slippage, latency and partial fills. It is seeded:
// the same seed, data and orders give the same fills. Its book of record lives
// outside the process, so that a killed agent finds its orders again.
package paper

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// BookOrder is an order in the venue's own book.
type BookOrder struct {
	ID           uuid.UUID
	VenueOrderID string
	Pair         string
	Side         order.Side
	Quantity     market.Quantity
	Filled       market.Quantity
	Limit        market.Price
	ReduceOnly   bool
	State        order.State
	// AcceptedAt is the market time of acceptance.
	AcceptedAt time.Time
	// NotAfter is until when, in wall-clock time, the order may be accepted. A book
	// outside of the process holds it to that by a clock of its own and does not
	// keep it; zero is for ever.
	NotAfter time.Time
}

// ErrTooLate means that an order came to its book later than it may.
var ErrTooLate = errors.New("the order came later than it may")

// Book is the venue's book of record for one agent on one account. It belongs
// to the venue: the agent's ledger is never written through it, and tests use
// it to judge the ledger.
type Book interface {
	// Accept stores a new order, or returns the stored one and true if its id
	// is known already. It fails with ErrTooLate, or as the exit does, which is asked
	// for a new order directly before it is stored; nil lets every order out. A book
	// outside of the process asks when it holds its lock, before it sends the order.
	Accept(ctx context.Context, o BookOrder, exit venue.Exit) (BookOrder, bool, error)
	// Order finds an order; found is false if there is none. An order whose
	// acceptance is under way is waited for.
	Order(ctx context.Context, id uuid.UUID) (o BookOrder, found bool, err error)
	// Open lists the orders that are not final, oldest first.
	Open(ctx context.Context) ([]BookOrder, error)
	// Execute stores fills and the order's new state in one transaction. A
	// trade id that is known already changes nothing.
	Execute(ctx context.Context, o BookOrder, fills []order.Fill) error
	// Fills lists fills after the cursor, oldest first, and the next cursor.
	Fills(ctx context.Context, cursor string) ([]order.Fill, string, error)
}
