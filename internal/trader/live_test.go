package trader

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// exchange is a venue that tells of orders, fills and balances when it is asked,
// as real ones do.
type exchange struct {
	mu     sync.Mutex
	traits venue.Traits
	guard  venue.Guard
	orders map[uuid.UUID]*venue.Order
	fills  []order.Fill
	held   map[string]decimal.Decimal
	// placing is called with each placement before the guard is asked, and connecting
	// between its word and the first byte.
	placing, connecting func(request venue.Request)
	placed              []venue.Request
	// repeated counts placements of an id that the venue had already.
	repeated int
	foreign  []venue.Order
	// books are those of the account's agents.
	books ledger.Ledger
}

var (
	_ venue.Venue    = (*exchange)(nil)
	_ venue.Balancer = (*exchange)(nil)
)

func newExchange() *exchange {
	return &exchange{
		traits: venue.Traits{Class: venue.ClassReturns, RequestExpiry: 10 * time.Second, Settle: time.Second},
		orders: map[uuid.UUID]*venue.Order{}, held: map[string]decimal.Decimal{"USD": decimal.NewFromInt(10_000)},
		books: ledger.NewMemoryWithHistory(),
	}
}

func (x *exchange) Traits() venue.Traits { return x.traits }

func (x *exchange) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	if intent.Pair == "" {
		return nil, errors.New("no pair")
	}
	return []byte(intent.ID.String() + notAfter.String()), nil
}

func (x *exchange) Place(_ context.Context, request venue.Request) (venue.Order, error) {
	if x.placing != nil {
		x.placing(request)
	}
	if x.guard != nil {
		exit, err := x.guard.Leaves(request.Intent.ID, request.Body)
		if err != nil {
			return venue.Order{}, err
		}
		if x.connecting != nil {
			x.connecting(request)
		}
		if err := exit(func() {}); err != nil {
			return venue.Order{}, err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if known, ok := x.orders[request.Intent.ID]; ok {
		x.repeated++
		return *known, nil
	}
	x.placed = append(x.placed, request)
	o := &venue.Order{ID: request.Intent.ID, VenueOrderID: "v" + strconv.Itoa(len(x.placed)), Pair: request.Intent.Pair, State: order.Acked}
	x.orders[o.ID] = o
	return *o, nil
}

// fill the newest order whole, at 10,000 ticks.
func (x *exchange) fill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	intent := x.placed[len(x.placed)-1].Intent
	x.orders[intent.ID].State, x.orders[intent.ID].Filled = order.Filled, intent.Quantity
	x.fills = append(x.fills, order.Fill{
		Venue: "Live", Account: "account-uid", TradeID: "t" + strconv.Itoa(len(x.fills)+1), OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side,
		Quantity: intent.Quantity, Price: 10_000, MarketTime: time.Now(),
	})
}

func (x *exchange) Cancel(_ context.Context, ref venue.Ref) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, ok := x.orders[ref.ID]
	if !ok {
		return venue.ErrNotFound
	}
	if !o.State.Final() {
		o.State = order.Cancelled
	}
	return nil
}

func (x *exchange) Lookup(_ context.Context, ref venue.Ref) (venue.Order, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, ok := x.orders[ref.ID]
	if !ok {
		return venue.Order{}, venue.ErrNotFound
	}
	return *o, nil
}

func (x *exchange) Open(context.Context) ([]venue.Order, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	open := slices.Clone(x.foreign)
	for _, request := range x.placed {
		if o := x.orders[request.Intent.ID]; !o.State.Final() {
			open = append(open, *o)
		}
	}
	return open, nil
}

func (x *exchange) Fills(_ context.Context, cursor string) ([]order.Fill, string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	from := 0
	if _, since := venue.SinceOf(cursor); !since && cursor != "" {
		from, _ = strconv.Atoi(cursor)
	}
	return slices.Clone(x.fills[from:]), strconv.Itoa(len(x.fills)), nil
}

func (x *exchange) Balances(context.Context) ([]venue.Balance, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	balances := make([]venue.Balance, 0, len(x.held))
	for currency, total := range x.held {
		balances = append(balances, venue.Balance{Currency: currency, Total: total, Available: total})
	}
	return balances, nil
}

// silentAfter is a feed that delivers a few bars, each at its end, and then nothing.
type silentAfter struct {
	*recorded
	count int
}

func (s *silentAfter) Next(ctx context.Context) (market.PairBar, error) {
	if s.next == s.count {
		<-ctx.Done()
		return market.PairBar{}, ctx.Err()
	}
	bar := s.bars[s.next]
	select {
	case <-time.After(time.Until(bar.End)):
	case <-ctx.Done():
		return market.PairBar{}, ctx.Err()
	}
	s.next++
	return bar, nil
}

// rules is a judge that always rules the same.
type rules struct{ action decision.Action }

func (rules) Name() string { return "test/rules" }

func (r rules) Rule(context.Context, decision.Argument, decision.Argument, decision.View) (decision.Ruling, error) {
	return decision.Ruling{Action: r.action, ConfidenceMicros: 900_000, Judge: "test/rules"}, nil
}

// Fills are asked for in the venue's own time: no bar comes after the order.
func TestFillsAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		d := trade(t, x, 1, nil)
		d.until("an order at the venue", func(s *Status) bool { return s.OpenOrders == 1 && len(x.placed) == 1 })
		x.fill()
		begun := time.Now()
		d.until("the position", func(s *Status) bool { return len(s.Positions) == 1 && s.OpenOrders == 0 })
		if took := time.Since(begun); took > longestPoll {
			t.Errorf("the fill was seen after %s", took)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// An order whose decision is old is cancelled, although no bar says how old.
func TestOrdersAgeWithoutBars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		d := trade(t, x, 1, nil)
		d.until("an order at the venue", func(s *Status) bool { return s.OpenOrders == 1 })
		begun := time.Now()
		d.until("that it is cancelled", func(s *Status) bool { return s.OpenOrders == 0 })
		took, rests := time.Since(begun), restingBars*time.Minute
		if took < rests-longestPoll || took > rests+2*longestPoll {
			t.Errorf("the order was cancelled after %s", took)
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// An order without an answer that the venue does not have keeps its pair closed
// until it can never arrive, and not a moment less.
func TestAbsenceIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		x.traits.Settle = 30 * time.Second
		var lost time.Time
		x.placing = func(request venue.Request) {
			if lost.IsZero() {
				lost = request.NotAfter
				x.guard = deaf{}
			}
		}
		d := trade(t, x, 3, nil)
		d.until("an unknown order", func(s *Status) bool { return s.Unknown == 1 })
		proven := lost.Add(x.traits.RequestExpiry + clocksDiffer + x.traits.Settle)
		d.until("the proof", func(s *Status) bool { return s.Unknown == 0 })
		if now := time.Now(); now.Before(proven) || now.After(proven.Add(2*longestPoll)) {
			t.Errorf("proven %s after it can never arrive", now.Sub(proven))
		}
		x.guard = nil
		d.until("another order", func(s *Status) bool { return s.OpenOrders == 1 && s.Unknown == 0 })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// deaf is a line on which a request is lost.
type deaf struct{}

func (deaf) Leaves(uuid.UUID, []byte) (venue.Exit, error) { return nil, venue.ErrUnknownOutcome }

// When Update returns from halting, or Delete, nothing leaves any more: not even the
// order that the adapter has in its hands, nor one whose connection is being made.
func TestNothingLeavesAfterTheOwnersWord(t *testing.T) {
	halt := func(shell *Shell) {
		settings := shell.config.Settings
		settings.Trading = risk.Halted
		shell.Update(settings)
	}
	ended := func(s *Status) bool { return s.Finished }
	for name, word := range map[string]struct {
		told    func(shell *Shell)
		reached func(*Status) bool
	}{
		"halted":                 {halt, isHalted},
		"deleted, keeping":       {func(shell *Shell) { shell.Delete(false) }, ended},
		"deleted, flattening":    {func(shell *Shell) { shell.Delete(true) }, ended},
		"deleted under a halt":   {func(shell *Shell) { halt(shell); shell.Delete(true) }, ended},
		"deleted, then enabled":  {func(shell *Shell) { shell.Delete(true); shell.Update(shell.config.Settings) }, ended},
		"deleted, then for good": {func(shell *Shell) { shell.Delete(true); shell.Delete(false) }, ended},
	} {
		for where, waits := range map[string]func(*exchange, func(venue.Request)){
			"in hand":    func(x *exchange, wait func(venue.Request)) { x.placing = wait },
			"connecting": func(x *exchange, wait func(venue.Request)) { x.connecting = wait },
		} {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange()
				inHand, told := make(chan struct{}), make(chan struct{})
				waits(x, func(venue.Request) {
					close(inHand)
					<-told
				})
				d := trade(t, x, 1, nil)
				<-inHand
				word.told(d.shell)
				close(told)
				d.until(name, word.reached)
				if len(x.placed) != 0 {
					t.Errorf("%s while it was %s: %+v has left", name, where, x.placed)
				}
				if err := d.stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A debate that hangs does not hold up a halt for a moment.
func TestAHaltBreaksOffADebate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		d := trade(t, x, 2, func(c *Config) { c.Debate.Judge = &hangsLater{rules: rules{decision.Buy}} })
		d.until("an order at the venue", func(s *Status) bool { return s.OpenOrders == 1 })
		x.fill()
		d.until("the position", func(s *Status) bool { return len(s.Positions) == 1 })
		d.until("the debate that hangs", func(*Status) bool {
			d.shell.mu.Lock()
			defer d.shell.mu.Unlock()
			return d.shell.pondering
		})
		begun := time.Now()
		settings := d.shell.config.Settings
		settings.Trading = risk.Halted
		d.shell.Update(settings)
		synctest.Wait()
		if took := time.Since(begun); took > 0 || !isHalted(d.shell.Status()) {
			t.Errorf("%s after the halt: %+v", took, d.shell.Status())
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// hangsLater rules once and then waits for its context.
type hangsLater struct {
	rules
	ruled bool
}

func (h *hangsLater) Rule(ctx context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	if h.ruled {
		<-ctx.Done()
		return decision.Ruling{}, ctx.Err()
	}
	h.ruled = true
	return h.rules.Rule(ctx, bull, bear, view)
}

// Somebody else in the agent's pairs is a difference: his orders as long as they
// are open, and his trades for a day. Neither is touched.
func TestStrangersInThePair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		d := trade(t, x, 0, nil)
		d.until("trading", func(s *Status) bool { return s.Reason == ReasonTrading })
		x.mu.Lock()
		x.fills = append(x.fills, order.Fill{
			Venue: "Live", Account: "account-uid", TradeID: "his", Pair: "AAA-USD", Side: order.Buy, Quantity: 5, Price: 10_000, MarketTime: time.Now(),
		})
		x.mu.Unlock()
		begun := time.Now()
		d.until("the difference", func(s *Status) bool { return s.Reason == ReasonPositionMismatch && s.State == risk.Reducing })
		if took := time.Since(begun); took > idlePoll+longestPoll {
			t.Errorf("noticed after %s", took)
		}
		pass(foreignFor)
		d.until("trading again", func(s *Status) bool { return s.Reason == ReasonTrading && len(s.Positions) == 0 })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		x.foreign = []venue.Order{{VenueOrderID: "his", Pair: "AAA-USD", State: order.Acked}}
		d := trade(t, x, 0, nil)
		d.until("the difference", func(s *Status) bool { return s.Reason == ReasonPositionMismatch })
		x.mu.Lock()
		x.foreign = nil
		x.mu.Unlock()
		d.until("trading", func(s *Status) bool { return s.Reason == ReasonTrading && s.Ready() })
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// An order does not end before all is booked that the venue says is filled of it.
func TestAnOrderEndsWithItsFills(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	intent := commit.Intents[0]
	find[Send](t, h.core.Handle(SendBegun{intent.ID}))
	h.core.Handle(News{ID: intent.ID, Event: order.Ack})
	h.core.Handle(News{ID: intent.ID, Event: order.Cancel, Filled: 100})
	if h.core.order(intent.ID) == nil {
		t.Fatal("it has ended, and 100 lots of it are not booked")
	}
	fill := order.Fill{TradeID: "1", OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side, Quantity: 100, Price: 10_000}
	h.core.Handle(FillBooked{New: true, Fill: fill})
	h.core.Handle(News{ID: intent.ID, Event: order.Cancel, Filled: 100})
	if h.core.order(intent.ID) != nil {
		t.Error("all is booked, and it has not ended")
	}
}

// A fill of an order that has ended counts, and shows as a difference until ledger
// and venue have been compared.
func TestALateFillIsADifference(t *testing.T) {
	h := byHand(t, fresh(), nil)
	commit := h.rule(decision.Buy)
	h.core.Handle(&Committed{})
	intent := commit.Intents[0]
	h.core.Handle(SendBegun{intent.ID})
	h.core.Handle(News{ID: intent.ID, Event: order.Lose})
	h.core.Handle(News{ID: intent.ID, Event: order.Absent})
	fill := order.Fill{TradeID: "1", OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side, Quantity: 100, Price: 10_000}
	h.core.Handle(FillBooked{New: true, Fill: fill})
	status := h.core.Status()
	if status.Reason != ReasonPositionMismatch || status.State != risk.Reducing || h.core.pair(intent.Pair).position.Quantity != 100 {
		t.Errorf("%+v", status)
	}
}

// What a fill costs in another currency than the book's is not taken from its cash.
func TestFeesInOtherCurrencies(t *testing.T) {
	for currency, want := range map[string]market.Money{
		"": 8*market.MoneyUnit + market.MoneyUnit/2, "USD": 8*market.MoneyUnit + market.MoneyUnit/2, "AAA": 9 * market.MoneyUnit,
	} {
		h := byHand(t, ledger.Snapshot{Cash: 10 * market.MoneyUnit}, nil)
		h.core.open = append(h.core.open, openOrder{Intent: order.Intent{Pair: "AAA-USD", Side: order.Buy, Quantity: 10}, state: order.Acked})
		h.core.Handle(FillBooked{New: true, Fill: order.Fill{
			TradeID: "1", Pair: "AAA-USD", Side: order.Buy, Quantity: 10, Price: 10_000, Fee: market.MoneyUnit / 2, FeeCurrency: currency,
		}})
		if h.core.cash != want {
			t.Errorf("a fee in %q leaves %s; want %s", currency, h.core.cash, want)
		}
	}
}

// Ten parts of an order, each of which pays a quarter of a per cent of itself, are a
// position that can be stopped and closed, after a restart as before it.
func TestFeesInKindLeaveAPosition(t *testing.T) {
	h := byHand(t, fresh(), nil)
	name := h.core.pairs[0].instrument.Pair
	part := order.Fill{Pair: name, Side: order.Buy, Quantity: 1, Price: 10_000, FeeCurrency: "AAA"}
	part.Fee, _ = market.MoneyOf(h.core.pairs[0].instrument.Lot.Mul(decimal.New(25, -4)))
	h.core.open = append(h.core.open, openOrder{Intent: order.Intent{Pair: name, Side: order.Buy, Quantity: 20}, state: order.Acked})
	for i := range 10 {
		part.TradeID = strconv.Itoa(i)
		h.core.Handle(FillBooked{New: true, Fill: part})
	}
	held := h.core.pair(name).position
	if held.Quantity != 9 || len(h.core.Status().Positions) != 1 {
		t.Fatalf("of ten lots %+v is held", held)
	}
	again := byHand(t, ledger.Snapshot{Cash: balance, Positions: map[string]ledger.Position{name: held}}, nil)
	for _, next := range []*hand{h, again} {
		next.core.open = append(next.core.open[:0], openOrder{Intent: order.Intent{Pair: name, Side: order.Buy, Quantity: 10}, state: order.Acked})
		part.TradeID = "next"
		next.core.Handle(FillBooked{New: true, Fill: part})
		if got := next.core.pair(name).position; got.Quantity != 10 || got.Change != held.Change-part.Fee {
			t.Errorf("one lot more is %+v", got)
		}
	}
}
