package venue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// How a question about an account or a product can fail. Every error of such a
// question is one of these, and none holds a part of the credentials or of what
// the venue has written beside its codes.
var (
	// ErrUnreachable means that no answer came, or one that says to try again.
	ErrUnreachable = errors.New("the venue does not answer")
	// ErrRefused means that the venue does not take the key or its signature.
	ErrRefused = errors.New("the venue refuses the key")
	// ErrForbidden means that the key is good but not for this question.
	ErrForbidden = errors.New("the venue does not let the key ask this")
	// ErrNoSuchThing means that the venue does not have what was asked about.
	ErrNoSuchThing = errors.New("the venue has no such thing")
	// ErrNoEndpoint means that the address does not know the question.
	ErrNoEndpoint = errors.New("the address does not know this question")
	// ErrMalformed means an answer that cannot be understood.
	ErrMalformed = errors.New("the answer cannot be understood")
)

// RateLimitedError is an answer that asks to come back later.
type RateLimitedError struct {
	// After is how long the venue wants to be left alone; at least a second, and
	// at most five minutes.
	After time.Duration
}

// Error says how long to wait.
func (e *RateLimitedError) Error() string {
	return fmt.Sprintf("the venue asks to be left alone for %s", e.After)
}

// Account is what a venue says of an account and of the key to it.
type Account struct {
	// ID of the account at its venue: the same for every key to it.
	ID string
	// Type in the venue's own words, such as DEFAULT; may be empty.
	Type string
	// What the key may do: read the account, send orders, move money out of it. A
	// key of which the venue does not say that it cannot withdraw can.
	CanView, CanTrade, CanTransfer bool
}

// Product is how a venue trades one pair for the account that asks.
type Product struct {
	// PriceIncrement is the step of prices, in the quote currency, and
	// BaseIncrement that of quantities, in the base currency; both above zero.
	PriceIncrement, BaseIncrement decimal.Decimal
	// QuoteMinSize is the least value of an order, in the quote currency; zero is
	// none.
	QuoteMinSize decimal.Decimal
	// BaseMinSize is the least quantity of an order; zero is none.
	BaseMinSize decimal.Decimal
	// Untradable says why no order is taken, such as "is disabled"; empty if orders
	// are.
	Untradable string
}

// Equal reports whether both products are traded alike.
func (p Product) Equal(other Product) bool {
	return p.PriceIncrement.Equal(other.PriceIncrement) && p.BaseIncrement.Equal(other.BaseIncrement) &&
		p.QuoteMinSize.Equal(other.QuoteMinSize) && p.BaseMinSize.Equal(other.BaseMinSize) && p.Untradable == other.Untradable
}

// Checker asks a venue about one account, with its credentials.
type Checker interface {
	// Account asks what the key may do, and whose it is.
	Account(ctx context.Context) (Account, error)
	// Product asks how a product is traded, by the venue's own symbol, such as
	// BTC-USD. It fails with ErrNoSuchThing where the account cannot trade it.
	Product(ctx context.Context, symbol string) (Product, error)
}
