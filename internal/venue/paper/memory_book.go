package paper

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// MemoryBook is a book that lives as long as the process, for backtests. Its
// methods may be called at once.
type MemoryBook struct {
	mu     sync.Mutex
	orders map[uuid.UUID]*BookOrder
	open   []*BookOrder
	fills  []order.Fill
	trades map[string]bool
}

var _ Book = (*MemoryBook)(nil)

// NewMemoryBook is an empty book.
func NewMemoryBook() *MemoryBook {
	return &MemoryBook{orders: map[uuid.UUID]*BookOrder{}, trades: map[string]bool{}}
}

// Accept implements Book. Nothing comes late to a book in the agent's own process.
func (b *MemoryBook) Accept(_ context.Context, o BookOrder, exit venue.Exit) (BookOrder, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.NotAfter = time.Time{}
	if known, ok := b.orders[o.ID]; ok {
		return *known, true, nil
	}
	stored := new(BookOrder)
	*stored = o
	if exit == nil {
		b.store(stored)
	} else if err := exit(func() { b.store(stored) }); err != nil {
		return BookOrder{}, false, err
	}
	return o, false, nil
}

func (b *MemoryBook) store(o *BookOrder) {
	b.orders[o.ID] = o
	if !o.State.Final() {
		b.open = append(b.open, o)
	}
}

// Order implements Book.
func (b *MemoryBook) Order(_ context.Context, id uuid.UUID) (BookOrder, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stored, ok := b.orders[id]
	if !ok {
		return BookOrder{}, false, nil
	}
	return *stored, true, nil
}

// Open implements Book.
func (b *MemoryBook) Open(context.Context) ([]BookOrder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) == 0 {
		return nil, nil
	}
	open := make([]BookOrder, len(b.open))
	for i, stored := range b.open {
		open[i] = *stored
	}
	return open, nil
}

// Execute implements Book.
func (b *MemoryBook) Execute(_ context.Context, o BookOrder, fills []order.Fill) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	stored, ok := b.orders[o.ID]
	if !ok {
		return fmt.Errorf("paper book: order %s was never accepted", o.ID)
	}
	for _, fill := range fills {
		if b.trades[fill.TradeID] {
			return nil
		}
	}
	if stored.State.Final() {
		return nil
	}
	for _, fill := range fills {
		b.trades[fill.TradeID] = true
		b.fills = append(b.fills, fill)
	}
	stored.State, stored.Filled = o.State, o.Filled
	if stored.State.Final() {
		for i, other := range b.open {
			if other == stored {
				b.open = append(b.open[:i], b.open[i+1:]...)
				break
			}
		}
	}
	return nil
}

// pageSize is how many fills one page has at most.
const pageSize = 256

// Fills implements Book.
func (b *MemoryBook) Fills(_ context.Context, cursor string) ([]order.Fill, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := 0
	if cursor != "" {
		parsed, err := strconv.Atoi(cursor)
		if err != nil || parsed < 0 || parsed > len(b.fills) {
			return nil, "", fmt.Errorf("paper book: %q is not a cursor that this book gave", cursor)
		}
		from = parsed
	}
	until := min(from+pageSize, len(b.fills))
	if until == from {
		return nil, cursor, nil
	}
	return append([]order.Fill(nil), b.fills[from:until]...), strconv.Itoa(until), nil
}
