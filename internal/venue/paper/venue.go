package paper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Name is the venue's name in ledgers.
const Name = "Paper"

// Codes of the refusals of this venue.
const (
	CodeUnknownPair       = "UnknownPair"
	CodeInvalidOrder      = "InvalidOrder"
	CodeMinNotional       = "MinNotional"
	CodeReduceOnly        = "ReduceOnly"
	CodeInsufficientFunds = "InsufficientFunds"
	CodeTooLate           = "TooLate"
)

// Config is one simulated account for one agent.
type Config struct {
	// Account that fills are booked on.
	Account string
	// Currency of the account, and the balance that it began with.
	Currency string
	Balance  market.Money
	// TakerFee and MakerFee are shares of a fill's value.
	TakerFee, MakerFee order.Fraction
	// Spread between bid and ask, as a share of the price, where a bar has no
	// quotes.
	Spread order.Fraction
	// Slippage is the most by which a fill is worse than the quote, as a share
	// of it.
	Slippage order.Fraction
	// PartialFill is the share of orders that fill in two parts.
	PartialFill order.Fraction
	// Latency between an order's acceptance and its first possible fill.
	Latency time.Duration
	Seed    int64
	// Guard is asked before an order is accepted; nil lets every order out, as in
	// backtests, which nobody halts.
	Guard venue.Guard
	// Instruments that can be traded.
	Instruments []market.Instrument
}

// Venue is the paper venue. It is used by one goroutine, and its book by one
// Venue at a time.
type Venue struct {
	book        Book
	config      Config
	instruments map[string]market.Instrument
	openings    []Opening
	// What the book's fills come to, up to the cursor.
	loaded    bool
	cursor    string
	cash      market.Money
	positions map[string]market.Quantity
	prices    map[string]market.Price
	executed  map[uuid.UUID]execution
}

// execution is how far an order has been filled.
type execution struct {
	parts int
	last  time.Time
}

var _ venue.Venue = (*Venue)(nil)

// New opens the venue on its book.
func New(book Book, config Config) (*Venue, error) {
	v := &Venue{book: book, config: config, instruments: map[string]market.Instrument{}, prices: map[string]market.Price{}}
	for _, instrument := range config.Instruments {
		if instrument.Quote != config.Currency {
			return nil, fmt.Errorf("paper account in %s cannot trade %s, which is quoted in %s; choose a pair quoted in %s",
				config.Currency, instrument.Pair, instrument.Quote, config.Currency)
		}
		v.instruments[instrument.Pair] = instrument
	}
	return v, nil
}

// Opening is a position that the account did not buy here: its agent took it
// over, at its cost, from one that is gone. Each agent has a book of its own, so
// the venue has to be told.
type Opening struct {
	Pair     string
	Quantity market.Quantity
	Cost     market.Money
}

// Adopt sets the positions that fills come on top of.
func (v *Venue) Adopt(openings []Opening) { v.openings, v.loaded = openings, false }

// load brings cash and positions up to the book's newest fill.
func (v *Venue) load(ctx context.Context) error {
	if !v.loaded {
		v.cursor, v.cash = "", v.config.Balance
		v.positions, v.executed = map[string]market.Quantity{}, map[uuid.UUID]execution{}
		for _, opening := range v.openings {
			v.positions[opening.Pair] += opening.Quantity
			v.cash -= opening.Cost
		}
	}
	for {
		fills, cursor, err := v.book.Fills(ctx, v.cursor)
		if err != nil {
			return fmt.Errorf("paper venue: reading the book's fills: %w", err)
		}
		for _, fill := range fills {
			v.apply(fill)
		}
		v.cursor = cursor
		if len(fills) == 0 {
			v.loaded = true
			return nil
		}
	}
}

func (v *Venue) apply(fill order.Fill) {
	instrument, known := v.instruments[fill.Pair]
	if !known {
		// A pair that the agent no longer trades holds nothing any more.
		return
	}
	quantity := fill.Quantity * market.Quantity(fill.Side)
	v.cash -= instrument.Notional(fill.Price, quantity) + fill.Fee
	v.positions[fill.Pair] += quantity
	if v.prices[fill.Pair] == 0 {
		v.prices[fill.Pair] = fill.Price
	}
	done := v.executed[fill.OrderID]
	v.executed[fill.OrderID] = execution{parts: done.parts + 1, last: fill.MarketTime}
}

// expiry is by how much the clock of the book's database may be behind the
// agent's: the book takes nothing after an order's NotAfter.
const expiry = time.Second

// Traits implements venue.Venue. The book is what is true, at once.
func (v *Venue) Traits() venue.Traits {
	return venue.Traits{Class: venue.ClassReturns, RequestExpiry: expiry}
}

// Freeze implements venue.Venue: the order as JSON.
func (v *Venue) Freeze(intent order.Intent, _ time.Time) ([]byte, error) {
	instrument, ok := v.instruments[intent.Pair]
	if !ok {
		return nil, fmt.Errorf("paper venue: %s is not traded here", intent.Pair)
	}
	body, err := json.Marshal(struct {
		ID         uuid.UUID       `json:"id"`
		Pair       string          `json:"pair"`
		Side       string          `json:"side"`
		Quantity   decimal.Decimal `json:"quantity"`
		Limit      decimal.Decimal `json:"limit"`
		ReduceOnly bool            `json:"reduceOnly"`
	}{
		intent.ID, intent.Pair, intent.Side.String(), instrument.QuantityDecimal(intent.Quantity),
		instrument.PriceDecimal(intent.Limit), intent.ReduceOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("paper venue: freezing order %s: %w", intent.ID, err)
	}
	return body, nil
}

// Place implements venue.Venue. The order is accepted at the market time at
// which it was decided. An id that the book knows returns the known order.
func (v *Venue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	intent := request.Intent
	known, found, err := v.book.Order(ctx, intent.ID)
	if err != nil {
		return venue.Order{}, unknownOutcome(err)
	}
	if found {
		return tell(known), nil
	}
	if err := v.check(ctx, intent); err != nil {
		return venue.Order{}, err
	}
	stored, err := v.accept(ctx, &request, BookOrder{
		ID: intent.ID, VenueOrderID: "paper-" + intent.ID.String(), Pair: intent.Pair, Side: intent.Side,
		Quantity: intent.Quantity, Limit: intent.Limit, ReduceOnly: intent.ReduceOnly,
		State: order.Acked, AcceptedAt: intent.MarketTime, NotAfter: request.NotAfter,
	})
	if err != nil {
		return venue.Order{}, err
	}
	return tell(stored), nil
}

// accept has the book store an order. What the guard or the book refuses is not in
// it, whatever became of earlier attempts.
func (v *Venue) accept(ctx context.Context, request *venue.Request, o BookOrder) (BookOrder, error) {
	if v.config.Guard == nil {
		stored, _, err := v.book.Accept(ctx, o, nil)
		return stored, acceptance(err, o.NotAfter)
	}
	exit, err := v.config.Guard.Leaves(o.ID, request.Body)
	if err != nil {
		return BookOrder{}, err
	}
	var refusal error
	stored, _, err := v.book.Accept(ctx, o, func(write func()) error {
		refusal = exit(write)
		return refusal
	})
	if err != nil && refusal != nil {
		return BookOrder{}, refusal
	}
	return stored, acceptance(err, o.NotAfter)
}

// acceptance is what a book's failure to store an order means.
func acceptance(err error, notAfter time.Time) error {
	switch {
	case errors.Is(err, ErrTooLate):
		return refuse(CodeTooLate, "the order may be accepted until %s by the clock of the book's database", notAfter.Format(time.RFC3339Nano))
	case err != nil:
		return unknownOutcome(err)
	}
	return nil
}

// unknownOutcome is what a caller is told when the book did not answer: the
// order may be in it.
func unknownOutcome(err error) error {
	return fmt.Errorf("paper venue: %w: %w", venue.ErrUnknownOutcome, err)
}

// check refuses what a venue would refuse.
func (v *Venue) check(ctx context.Context, intent order.Intent) error {
	instrument, ok := v.instruments[intent.Pair]
	if !ok {
		return refuse(CodeUnknownPair, "%s is not traded here", intent.Pair)
	}
	if intent.Quantity <= 0 || intent.Limit <= 0 || (intent.Side != order.Buy && intent.Side != order.Sell) {
		return refuse(CodeInvalidOrder, "an order needs a side, a quantity and a limit price greater than zero")
	}
	if err := v.load(ctx); err != nil {
		return unknownOutcome(err)
	}
	open, err := v.book.Open(ctx)
	if err != nil {
		return unknownOutcome(err)
	}
	if intent.ReduceOnly {
		return v.checkReducing(intent, open)
	}
	value := instrument.Notional(intent.Limit, intent.Quantity)
	if value < instrument.MinNotional {
		return refuse(CodeMinNotional, "the order's value %s is below the smallest of %s", value, instrument.MinNotional)
	}
	free := v.free(open)
	if needed := value + v.config.TakerFee.Of(value); needed > free {
		return refuse(CodeInsufficientFunds, "the order needs %s, and %s is free", needed, free)
	}
	return nil
}

// checkReducing refuses a reduce-only order that could open, enlarge or turn a
// position together with those that are open. The smallest notional does not
// bind it: a remainder must be able to be closed.
func (v *Venue) checkReducing(intent order.Intent, open []BookOrder) error {
	left := -v.positions[intent.Pair] * market.Quantity(intent.Side)
	for _, other := range open {
		if other.Pair == intent.Pair && other.Side == intent.Side {
			left -= other.Quantity - other.Filled
		}
	}
	if intent.Quantity > left {
		return refuse(CodeReduceOnly, "the order of %d lots is more than the %d that can be reduced", intent.Quantity, max(left, 0))
	}
	return nil
}

// free is what opening orders may yet use: nothing is lent, so long and short
// positions and open orders together are never worth more than the equity.
func (v *Venue) free(open []BookOrder) market.Money {
	free := v.cash
	for pair, quantity := range v.positions {
		if quantity < 0 {
			free += 2 * v.instruments[pair].Notional(v.prices[pair], quantity)
		}
	}
	for _, other := range open {
		if instrument, ok := v.instruments[other.Pair]; ok && !other.ReduceOnly {
			value := instrument.Notional(other.Limit, other.Quantity-other.Filled)
			free -= value + v.config.TakerFee.Of(value)
		}
	}
	return free
}

func refuse(code, format string, values ...any) error {
	return &venue.RejectedError{Code: code, Message: fmt.Sprintf(format, values...)}
}

// Cancel implements venue.Venue.
func (v *Venue) Cancel(ctx context.Context, ref venue.Ref) error {
	id := ref.ID
	stored, found, err := v.book.Order(ctx, id)
	if err != nil {
		return fmt.Errorf("paper venue: cancelling order %s: %w", id, err)
	}
	if !found {
		return fmt.Errorf("paper venue: cancelling order %s: %w", id, venue.ErrNotFound)
	}
	if stored.State.Final() {
		return nil
	}
	stored.State = order.Cancelled
	if err := v.book.Execute(ctx, stored, nil); err != nil {
		return fmt.Errorf("paper venue: cancelling order %s: %w", id, err)
	}
	return nil
}

// Lookup implements venue.Venue.
func (v *Venue) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	id := ref.ID
	stored, found, err := v.book.Order(ctx, id)
	switch {
	case err != nil:
		return venue.Order{}, fmt.Errorf("paper venue: looking for order %s: %w", id, err)
	case !found:
		return venue.Order{}, fmt.Errorf("paper venue: order %s: %w", id, venue.ErrNotFound)
	}
	return tell(stored), nil
}

// Open implements venue.Venue.
func (v *Venue) Open(ctx context.Context) ([]venue.Order, error) {
	stored, err := v.book.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("paper venue: listing open orders: %w", err)
	}
	open := make([]venue.Order, len(stored))
	for i, o := range stored {
		open[i] = tell(o)
	}
	return open, nil
}

// Fills implements venue.Venue. A book knows no wall-clock time, so that one that
// is read since some is read from the beginning.
func (v *Venue) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	if _, since := venue.SinceOf(cursor); since {
		cursor = ""
	}
	fills, next, err := v.book.Fills(ctx, cursor)
	if err != nil {
		return nil, "", fmt.Errorf("paper venue: listing fills: %w", err)
	}
	return fills, next, nil
}

func tell(o BookOrder) venue.Order {
	return venue.Order{ID: o.ID, VenueOrderID: o.VenueOrderID, Pair: o.Pair, State: o.State, Filled: o.Filled}
}

// OnBar matches the open orders of the bar's pair against it, and returns the
// fills. The same bar again returns none, so that a restarted agent may repeat
// the bar that it was killed at. Several orders are matched one by one; an error
// leaves those before it filled, and the next call goes on.
func (v *Venue) OnBar(ctx context.Context, bar market.PairBar) ([]order.Fill, error) {
	open, err := v.book.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("paper venue: listing open orders: %w", err)
	}
	if len(open) > 0 || !v.loaded {
		if err := v.load(ctx); err != nil {
			return nil, err
		}
	}
	v.prices[bar.Pair] = bar.Close
	var fills []order.Fill
	for _, o := range open {
		if o.Pair != bar.Pair {
			continue
		}
		fill, ok := v.match(o, bar.Bar)
		if !ok {
			continue
		}
		o.Filled += fill.Quantity
		if o.Filled == o.Quantity {
			o.State = order.Filled
		}
		if err := v.book.Execute(ctx, o, []order.Fill{fill}); err != nil {
			return fills, errors.Join(fmt.Errorf("paper venue: filling order %s", o.ID), err)
		}
		fills = append(fills, fill)
	}
	return fills, nil
}
