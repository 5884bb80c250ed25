package ledger

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// MaxPage is how many items one page has at most.
const MaxPage = 500

var (
	// ErrCursor means that a cursor does not come from an earlier page of the
	// same list.
	ErrCursor = errors.New("the cursor is not one that this list has given out")
	// ErrNotFound means that the agent has nothing under this id.
	ErrNotFound = errors.New("the ledger has nothing under this id for this agent")
)

// Reader tells what one agent has done, the newest first. It takes no lock that
// a trader waits for, and holds no lease: it works beside any epoch.
type Reader interface {
	Orders(ctx context.Context, query OrderQuery) (Page[OrderRecord], error)
	// Order finds one order; it fails with ErrNotFound.
	Order(ctx context.Context, id uuid.UUID) (OrderRecord, error)
	Fills(ctx context.Context, query FillQuery) (Page[FillRecord], error)
	Decisions(ctx context.Context, query Query) (Page[DecisionRecord], error)
	Equity(ctx context.Context, query EquityQuery) (Page[EquityRecord], error)
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T
	// Next is the cursor of the page that follows; empty if this is the last.
	Next string
}

// Query asks for a page of a list.
type Query struct {
	// Pair in canonical spelling; empty is all pairs.
	Pair string
	// Cursor is Next of the page before; empty begins at the newest.
	Cursor string
	// Limit is how many items, 1 to MaxPage.
	Limit int
}

// OrderQuery asks for orders in one of the given states, or in any.
type OrderQuery struct {
	Query

	States []order.State
}

// FillQuery asks for the fills of one order, or of all.
type FillQuery struct {
	Query

	Order uuid.UUID
}

// EquityQuery asks for the agent's value over time. Pair is ignored.
type EquityQuery struct {
	Query

	// From and To bound the market time, both included; zero does not bind.
	From, To time.Time
	// Step leaves the last value of each span of this length, spans beginning at
	// multiples of it; zero leaves every value.
	Step time.Duration
}

// OrderRecord is an order as people read it.
type OrderRecord struct {
	ID               uuid.UUID
	Sequence         int64
	Leg, Replacement int32
	Pair             string
	Side             order.Side
	Quantity, Limit  decimal.Decimal
	Filled           decimal.Decimal
	ReduceOnly       bool
	State            order.State
	VenueOrderID     string
	// Reason why it was made, and Ended why it ended or is in doubt.
	Reason, Ended string
	// DecidedAt is when it was decided, UpdatedAt the last news of it, both in
	// market time.
	DecidedAt, UpdatedAt time.Time
}

// FillRecord is an execution as people read it.
type FillRecord struct {
	TradeID         string
	OrderID         uuid.UUID
	Pair            string
	Side            order.Side
	Quantity, Price decimal.Decimal
	// Value of what changed hands, Fee paid (negative is a rebate), and Realised
	// is the gain or loss of what was closed, before fees.
	Value, Fee, Realised decimal.Decimal
	FeeCurrency          string
	MarketTime           time.Time
}

// DecisionRecord is a decision and the orders that follow from it.
type DecisionRecord struct {
	Decision

	Orders []uuid.UUID
}

// EquityRecord is the agent's value at the end of a bar.
type EquityRecord struct {
	MarketTime time.Time
	// Equity, the highest ever until then, and the one at the beginning of the
	// trading day.
	Equity, PeakEquity, DayStartEquity market.Money
}

// page cuts a list that was asked for with one item more than its page has.
func page[T any](items []T, limit int, cursor func(T) []int64) Page[T] {
	if len(items) <= limit {
		return Page[T]{Items: items}
	}
	return Page[T]{Items: items[:limit:limit], Next: encodeCursor(cursor(items[limit-1]))}
}

// checkedLimit keeps a page within its bounds.
func checkedLimit(limit int) int { return min(max(limit, 1), MaxPage) }

func encodeCursor(parts []int64) string {
	words := make([]string, len(parts))
	for i, part := range parts {
		words[i] = strconv.FormatInt(part, 10)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(words, ".")))
}

// decodeCursor reads a cursor of so many parts; nil for the beginning.
func decodeCursor(cursor string, parts int) ([]int64, error) {
	if cursor == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, ErrCursor
	}
	words := strings.Split(string(text), ".")
	if len(words) != parts {
		return nil, ErrCursor
	}
	decoded := make([]int64, parts)
	for i, word := range words {
		if decoded[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return nil, ErrCursor
		}
	}
	// One cursor has one spelling.
	if encodeCursor(decoded) != cursor {
		return nil, ErrCursor
	}
	return decoded, nil
}

// after reports whether an item comes behind a cursor in a list that begins with
// the greatest.
func after(item, cursor []int64) bool {
	return cursor == nil || slices.Compare(item, cursor) < 0
}

func (o OrderRecord) cursor() []int64 {
	return []int64{o.Sequence, int64(o.Leg), int64(o.Replacement)}
}

func (d DecisionRecord) cursor() []int64 { return []int64{d.Sequence} }

// spanOf is the beginning of the span that a value at this time closes, in
// microseconds: spans include their end, as bars do.
func spanOf(at time.Time, step time.Duration) int64 {
	length := max(step.Microseconds(), 1)
	before := at.UnixMicro() - 1
	span := before / length * length
	if before < 0 && span > before {
		span -= length
	}
	return span
}

// cursorOf makes a cursor of the span that an item closes, so that the next page
// begins with the span before.
func (q EquityQuery) cursorOf(item EquityRecord) []int64 {
	return []int64{spanOf(item.MarketTime, q.Step)}
}

// newest is the last market time that the page may have, in microseconds.
func (q EquityQuery) newest() (int64, error) {
	cursor, err := decodeCursor(q.Cursor, 1)
	if err != nil {
		return 0, err
	}
	newest := int64(1<<63 - 1)
	if !q.To.IsZero() {
		newest = q.To.UnixMicro()
	}
	if cursor != nil {
		newest = min(newest, cursor[0])
	}
	return newest, nil
}

// oldest is the first market time that the page may have, in microseconds.
func (q EquityQuery) oldest() int64 {
	if q.From.IsZero() {
		return -1 << 63
	}
	return q.From.UnixMicro()
}

// reading says what a reader was about to find out.
func reading(agentUID, what string, err error) error {
	return fmt.Errorf("reading the %s of agent %s: %w", what, agentUID, err)
}
