package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// past is what a venue has of an agent whose process has died: every order that
// arrived, and every fill, of which the ledger knows a part.
type past struct {
	orders []venue.Order
	fills  []order.Fill
}

var _ venue.Venue = (*past)(nil)

func (p *past) Traits() venue.Traits { return venue.Traits{Class: venue.ClassReturns} }
func (p *past) Freeze(order.Intent, time.Time) ([]byte, error) {
	return nil, errNothingIsSent
}
func (p *past) Place(context.Context, venue.Request) (venue.Order, error) {
	return venue.Order{}, errNothingIsSent
}
func (p *past) OnBar(context.Context, market.PairBar) ([]order.Fill, error) { return nil, nil }

var errNothingIsSent = errors.New("reconciliation sends nothing")

func (p *past) find(id uuid.UUID) *venue.Order {
	for i := range p.orders {
		if p.orders[i].ID == id {
			return &p.orders[i]
		}
	}
	return nil
}

// Cancel implements venue.Venue.
func (p *past) Cancel(_ context.Context, ref venue.Ref) error {
	found := p.find(ref.ID)
	if found == nil {
		return venue.ErrNotFound
	}
	if !found.State.Final() {
		found.State = order.Cancelled
	}
	return nil
}

// Lookup implements venue.Venue.
func (p *past) Lookup(_ context.Context, ref venue.Ref) (venue.Order, error) {
	if found := p.find(ref.ID); found != nil {
		return *found, nil
	}
	return venue.Order{}, venue.ErrNotFound
}

// Open implements venue.Venue.
func (p *past) Open(context.Context) ([]venue.Order, error) {
	return slices.DeleteFunc(slices.Clone(p.orders), func(o venue.Order) bool { return o.State.Final() }), nil
}

// Fills implements venue.Venue, some at a time.
func (p *past) Fills(_ context.Context, cursor string) ([]order.Fill, string, error) {
	from := 0
	if cursor != "" {
		var err error
		if from, err = strconv.Atoi(cursor); err != nil {
			return nil, "", err
		}
	}
	const page = 4
	to := min(from+page, len(p.fills))
	return p.fills[from:to], strconv.Itoa(to), nil
}

// history is one generated past, and the ledger that was left behind.
type history struct {
	config trader.Config
	books  *ledger.Memory
	venue  *past
	dice   *rand.Rand
	pair   market.Instrument
	now    time.Time
}

func newHistory(ctx context.Context, seed uint64, debate decision.Debate) (*history, error) {
	pair, err := instrument("EUR")
	if err != nil {
		return nil, err
	}
	config, _ := newConfig(pair, time.Hour, debate)
	h := &history{
		config: config, books: ledger.NewMemory(), venue: &past{}, pair: pair, now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC),
		dice: rand.New(rand.NewPCG(seed, 7)), //nolint:gosec // dice that must fall alike
	}
	lease, err := h.books.Acquire(ctx, config.Agent)
	if err != nil {
		return nil, err
	}
	for sequence := range int64(1 + h.dice.IntN(6)) {
		if err := h.order(ctx, lease, sequence+1); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// order is one that was committed. How far it and its fills got, at the venue and
// in the ledger, the dice say.
func (h *history) order(ctx context.Context, lease ledger.Lease, sequence int64) error {
	h.now = h.now.Add(time.Hour)
	agent := &h.config.Agent
	side := order.Buy
	if h.dice.IntN(2) == 0 {
		side = order.Sell
	}
	intent := order.Intent{
		ID: order.NewID(agent.Account, agent.UID, sequence, 0, 0), Account: agent.Account, AgentUID: agent.UID, Sequence: sequence,
		Pair: h.pair.Pair, Side: side, Quantity: market.Quantity(1 + h.dice.Int64N(1000)), Limit: market.Price(100_000 + h.dice.Int64N(20_000)),
		MarketTime: h.now, Reason: "Decision", Frozen: "{}", NotAfter: h.now.Add(5 * time.Second),
	}
	if err := h.books.Decide(ctx, lease, ledger.Decision{
		Sequence: sequence, Pair: h.pair.Pair, BarEnd: h.now, Action: side.String(), ConfidenceMicros: 800_000, Outcome: "Ordered",
	}, []order.Intent{intent}, time.Time{}); err != nil {
		return err
	}
	if h.dice.IntN(8) == 0 {
		return nil // the process died before a byte was sent
	}
	known := h.dice.IntN(3) // not sent as far as the ledger knows, sent, or acknowledged
	for _, state := range []order.State{order.Sent, order.Acked}[:known] {
		if err := h.books.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: intent.ID, State: state, MarketTime: h.now, At: h.now}); err != nil {
			return err
		}
	}
	return h.execute(ctx, lease, &intent)
}

// execute fills an order at the venue in some parts, the first of which the ledger
// may have.
func (h *history) execute(ctx context.Context, lease ledger.Lease, intent *order.Intent) error {
	told := venue.Order{ID: intent.ID, VenueOrderID: "v" + strconv.FormatInt(intent.Sequence, 10), Pair: intent.Pair, State: order.Acked}
	booked := true
	for parts := h.dice.IntN(4); parts > 0 && told.Filled < intent.Quantity; parts-- {
		quantity := intent.Quantity - told.Filled
		if parts > 1 {
			quantity = 1 + market.Quantity(h.dice.Int64N(int64(quantity)))
		}
		fill := order.Fill{
			Venue: h.config.Agent.Venue, Account: h.config.Agent.Account, TradeID: "t" + strconv.Itoa(len(h.venue.fills)+1), OrderID: intent.ID,
			Pair: intent.Pair, Side: intent.Side, Quantity: quantity, Price: intent.Limit - market.Price(intent.Side)*market.Price(h.dice.Int64N(500)),
			Fee: market.Money(h.dice.Int64N(1_000_000)), FeeCurrency: h.pair.Quote, MarketTime: h.now.Add(time.Minute),
		}
		h.venue.fills = append(h.venue.fills, fill)
		told.Filled += quantity
		if booked = booked && h.dice.IntN(3) > 0; booked {
			if _, err := h.books.BookFill(ctx, lease, fill); err != nil {
				return err
			}
		}
	}
	switch {
	case told.Filled == intent.Quantity:
		told.State = order.Filled
	case h.dice.IntN(2) == 0:
		told.State = order.Cancelled
	}
	h.venue.orders = append(h.venue.orders, told)
	return nil
}

// nothing is a feed that is at its end.
type nothing struct{}

func (nothing) History() []market.PairBar { return nil }
func (nothing) Describe() string          { return "nothing" }
func (nothing) Next(context.Context) (market.PairBar, error) {
	return market.PairBar{}, errEnd
}

// reconcile starts the agent anew and stops it when ledger and venue agree.
func (h *history) reconcile(ctx context.Context) (ledger.Snapshot, error) {
	shell, err := trader.NewShell(h.config, trader.Options{
		Ledger: h.books, Venue: h.venue, Feed: func(map[string]time.Time) (market.Feed, error) { return nothing{}, nil },
	})
	if err != nil {
		return ledger.Snapshot{}, err
	}
	running, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- shell.Run(running) }()
	agreed := false
	for !agreed && running.Err() == nil {
		select {
		case <-shell.Changed():
			status := shell.Status()
			agreed = status.Epoch != 0 && status.ReconciledEpoch == status.Epoch
		case <-running.Done():
		case err := <-ended:
			return ledger.Snapshot{}, fmt.Errorf("it ended early: %w", err)
		}
	}
	stop()
	if err := <-ended; err != nil || !agreed {
		return ledger.Snapshot{}, fmt.Errorf("ledger and venue do not agree: %w", err)
	}
	lease, err := h.books.Acquire(ctx, h.config.Agent)
	if err != nil {
		return ledger.Snapshot{}, err
	}
	return h.books.Load(ctx, lease)
}

// check compares what the ledger has come to with the venue, in decimals.
func (h *history) check(snapshot *ledger.Snapshot) error {
	held, cash := decimal.Zero, balance.Decimal()
	for _, fill := range h.venue.fills {
		quantity := h.pair.QuantityDecimal(fill.Quantity).Mul(decimal.NewFromInt(int64(fill.Side)))
		held, cash = held.Add(quantity), cash.Sub(quantity.Mul(h.pair.PriceDecimal(fill.Price))).Sub(fill.Fee.Decimal())
	}
	if got := h.pair.QuantityDecimal(snapshot.Positions[h.pair.Pair].Quantity); !got.Equal(held) {
		return fmt.Errorf("the ledger holds %s and the venue %s", got, held)
	}
	if got := snapshot.Cash.Decimal(); !got.Equal(cash) {
		return fmt.Errorf("the ledger has %s in cash, and the fills come to %s", got, cash)
	}
	if int(snapshot.Fills) != len(h.venue.fills) {
		return fmt.Errorf("the ledger has %d fills and the venue %d", snapshot.Fills, len(h.venue.fills))
	}
	for i := range snapshot.OpenOrders {
		if o := &snapshot.OpenOrders[i]; h.venue.find(o.ID) == nil || h.venue.find(o.ID).State.Final() {
			return fmt.Errorf("order %s is open in the ledger alone", o.ID)
		}
	}
	return nil
}

// measureHistories reconciles so many pasts, each twice, and tells how long one took.
func measureHistories(ctx context.Context, count int) (time.Duration, error) {
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		return 0, err
	}
	var elapsed time.Duration
	for seed := range count {
		h, err := newHistory(ctx, uint64(seed), debate)
		if err != nil {
			return 0, fmt.Errorf("history %d: %w", seed, err)
		}
		began := time.Now()
		first, err := h.reconcile(ctx)
		elapsed += time.Since(began)
		if err == nil {
			err = h.check(&first)
		}
		if err != nil {
			return 0, fmt.Errorf("history %d: %w", seed, err)
		}
		again, err := h.reconcile(ctx)
		if err == nil {
			err = h.check(&again)
		}
		if err != nil || again.Fills != first.Fills || again.Cash != first.Cash || len(again.OpenOrders) != len(first.OpenOrders) {
			return 0, fmt.Errorf("history %d is not the same when it is reconciled again: %w", seed, err)
		}
	}
	return elapsed / time.Duration(count), nil
}
