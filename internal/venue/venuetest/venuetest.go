// Package venuetest is what every adapter must pass. The judge is the book of the
// simulated exchange behind it, never what the adapter says of itself.
package venuetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// Market of every harness: one BTC is worth 50,000 USD, and nothing else trades.
const (
	tick, lot = "0.01", "0.00000001"
	// price in ticks, and bitcoin in lots.
	price   market.Price    = 50_000_00
	bitcoin market.Quantity = 100_000_000
)

// Harness is one adapter with one account, new for every case.
type Harness struct {
	Venue venue.Venue
	// Instrument is the agent's only pair, as Instrument makes it.
	Instrument market.Instrument
	// Move moves the market, so that open orders that are better than the price
	// fill.
	Move func(t *testing.T, price market.Price)

	// Exchange that the adapter speaks to by HTTP; nil for RunWithoutWire.
	Exchange *exchange.Exchange
	// Account at the exchange; Symbol and OtherSymbol are how it spells the agent's
	// pair and one that is not the agent's.
	Account, Symbol, OtherSymbol string
	// Secrets that no error may hold.
	Secrets []string
	// FeesUnknown says that the venue does not tell a fill's exact fee.
	FeesUnknown bool
}

// Start makes a harness whose adapter asks the guard before an order leaves, and
// tells the time by the exchange's Time.
type Start func(t *testing.T, guard venue.Guard) *Harness

// Instrument is the pair of every harness.
func Instrument(t *testing.T) market.Instrument {
	t.Helper()
	instrument, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString(tick), decimal.RequireFromString(lot), decimal.NewFromInt(1))
	if err != nil {
		t.Fatal(err)
	}
	return instrument
}

// Furnish lists both pairs at an exchange and gives the account 10,000,000 USD,
// 1,000 BTC and 1,000 ETH.
func Furnish(behind *exchange.Exchange, account, symbol, otherSymbol string) {
	for listed, base := range map[string]string{symbol: "BTC", otherSymbol: "ETH"} {
		behind.PutProduct(exchange.Product{
			Symbol: listed, Base: base, Quote: "USD", Tick: decimal.RequireFromString(tick), Lot: decimal.RequireFromString(lot),
			MinQuantity: decimal.RequireFromString(lot), MinNotional: decimal.NewFromInt(1),
		})
		behind.SetBalance(account, base, decimal.NewFromInt(1_000))
	}
	behind.SetBalance(account, "USD", decimal.NewFromInt(10_000_000))
	behind.SetPrice(symbol, decimal.NewFromInt(50_000))
}

// MoveAt is a Harness's Move for an exchange.
func MoveAt(behind *exchange.Exchange, symbol string) func(*testing.T, market.Price) {
	return func(_ *testing.T, price market.Price) {
		behind.SetPrice(symbol, decimal.New(int64(price), -2))
	}
}

// scenario is one case. Wire cases need an exchange.
type scenario struct {
	name string
	wire bool
	run  func(b *bench)
}

// Run puts an adapter through every case.
func Run(t *testing.T, start Start) {
	t.Helper()
	run(t, start, slices.Concat(basics, unknowns, listings, stops))
}

// RunWithoutWire puts a venue that has no exchange to speak to through the cases
// that need none.
func RunWithoutWire(t *testing.T, start Start) {
	t.Helper()
	run(t, start, slices.DeleteFunc(slices.Clone(basics), func(s scenario) bool { return s.wire }))
}

func run(t *testing.T, start Start, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			guard := &recorder{}
			b := &bench{Harness: start(t, guard), t: t, guard: guard}
			if s.wire && b.Exchange == nil {
				t.Fatal("the harness has no exchange")
			}
			s.run(b)
			b.judge(t)
		})
	}
}

// bench is a harness under test.
type bench struct {
	*Harness

	t        *testing.T
	guard    *recorder
	sequence int64
}

// recorder is a guard that lets everything pass unless it is told not to.
type recorder struct {
	mu      sync.Mutex
	asked   []leave
	refusal error
	// shut is why nothing gets out of what was let pass.
	shut error
}

type leave struct {
	id   uuid.UUID
	body string
}

func (r *recorder) Leaves(id uuid.UUID, body []byte) (venue.Exit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, leave{id, string(body)})
	if r.shut != nil {
		return func(func()) error { return r.shut }, r.refusal
	}
	return Exit, r.refusal
}

// Exit lets everything out.
func Exit(write func()) error {
	write()
	return nil
}

func (r *recorder) leaves() []leave {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// judge holds whatever has happened to what must hold in every case: no more
// orders were accepted than left, each has the id that it left with, and no
// request was sent twice.
func (b *bench) judge(t *testing.T) {
	t.Helper()
	if b.Exchange == nil {
		return
	}
	left := map[string]int{}
	for _, l := range b.guard.leaves() {
		left[l.id.String()]++
	}
	arrived := 0
	for _, request := range b.Exchange.Requests() {
		if request.Endpoint == exchange.EndpointPlace {
			arrived++
		}
	}
	if arrived > len(b.guard.leaves()) {
		t.Errorf("%d placements have arrived, and the guard let %d leave", arrived, len(b.guard.leaves()))
	}
	for _, o := range b.Exchange.Book().Orders {
		if o.Body != "" && left[o.ClientID] == 0 {
			t.Errorf("order %s was accepted, and the guard was not asked for it", o.ClientID)
		}
	}
}

func (b *bench) now() time.Time {
	if b.Exchange == nil {
		return time.Now()
	}
	return b.Exchange.Time()
}

// timeToLeave is how long after it was made a request may leave.
const timeToLeave = 5 * time.Second

// intent makes the next order, with its frozen body.
func (b *bench) intent(t *testing.T, side order.Side, quantity market.Quantity, limit market.Price) order.Intent {
	t.Helper()
	b.sequence++
	intent := order.Intent{
		ID: order.NewID("account", "agent", b.sequence, 0, 0), Account: "account", AgentUID: "agent", Sequence: b.sequence,
		Pair: b.Instrument.Pair, Side: side, Quantity: quantity, Limit: limit, MarketTime: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC),
		NotAfter: b.now().Add(timeToLeave).UTC().Truncate(time.Microsecond),
	}
	frozen, err := b.Venue.Freeze(intent, intent.NotAfter)
	if err != nil {
		t.Fatalf("freezing an order: %v", err)
	}
	intent.Frozen = string(frozen)
	return intent
}

// place sends an order that the venue must take.
func (b *bench) place(t *testing.T, intent order.Intent) venue.Order {
	t.Helper()
	placed, err := b.Venue.Place(t.Context(), venue.RequestOf(intent))
	if err != nil {
		t.Fatalf("placing an order: %v", err)
	}
	if placed.ID != intent.ID || placed.VenueOrderID == "" {
		t.Fatalf("placed %s, and the venue tells of %+v", intent.ID, placed)
	}
	return placed
}

// resting is an order that waits in the book.
func (b *bench) resting(t *testing.T) (order.Intent, venue.Order) {
	t.Helper()
	intent := b.intent(t, order.Buy, bitcoin/10, price-1_000_00)
	placed := b.place(t, intent)
	if placed.State != order.Acked || placed.Filled != 0 {
		t.Fatalf("an order that rests is told as %+v", placed)
	}
	return intent, placed
}

// ref finds an order by its client id alone.
func (b *bench) ref(intent order.Intent) venue.Ref {
	return venue.Ref{ID: intent.ID, Pair: intent.Pair, SentAt: b.now().Add(-time.Minute)}
}

// expect looks an order up by its client id, and by the venue's if that is known.
func (b *bench) expect(t *testing.T, intent order.Intent, state order.State, filled market.Quantity) venue.Order {
	t.Helper()
	found, err := b.Venue.Lookup(t.Context(), b.ref(intent))
	if err != nil {
		t.Fatalf("looking up by client id: %v", err)
	}
	ref := b.ref(intent)
	ref.VenueOrderID = found.VenueOrderID
	again, err := b.Venue.Lookup(t.Context(), ref)
	if err != nil {
		t.Fatalf("looking up by the venue's id: %v", err)
	}
	for _, told := range []venue.Order{found, again} {
		if told.ID != intent.ID || told.State != state || told.Filled != filled || told.VenueOrderID == "" {
			t.Errorf("the venue tells %+v, want %s in state %s with %d filled", told, intent.ID, state, filled)
		}
	}
	return found
}

// drain reads fills from a cursor until none are left, each once.
func (b *bench) drain(t *testing.T, cursor string) ([]order.Fill, string) {
	t.Helper()
	var all []order.Fill
	seen := map[string]order.Fill{}
	for range 1_000 {
		fills, next, err := b.Venue.Fills(t.Context(), cursor)
		if err != nil {
			t.Fatalf("listing fills: %v", err)
		}
		cursor = next
		if len(fills) == 0 {
			return all, cursor
		}
		for _, fill := range fills {
			if fill.TradeID == "" {
				t.Fatalf("a fill has no trade id: %+v", fill)
			}
			known, repeated := seen[fill.TradeID]
			if repeated && known != fill {
				t.Errorf("trade %s is told in two ways: %+v and %+v", fill.TradeID, known, fill)
			}
			if seen[fill.TradeID] = fill; !repeated {
				all = append(all, fill)
			}
		}
	}
	t.Fatal("the fills do not come to an end")
	return nil, ""
}

// compareFills holds fills to the trades that the exchange has made in the agent's
// pair, by their order's client id: number, quantity, value and fees.
func (b *bench) compareFills(t *testing.T, fills []order.Fill) {
	t.Helper()
	type sum struct {
		count           int
		quantity, value decimal.Decimal
		fee             market.Money
	}
	want, got := map[uuid.UUID]sum{}, map[uuid.UUID]sum{}
	for _, trade := range b.Exchange.Book().Trades {
		if trade.Account != b.Account || trade.Symbol != b.Symbol {
			continue
		}
		id := ours(trade.ClientID)
		fee, err := market.MoneyOf(trade.Fee.RoundFloor(8))
		if err != nil {
			t.Fatal(err)
		}
		s := want[id]
		want[id] = sum{s.count + 1, s.quantity.Add(trade.Quantity), s.value.Add(trade.Quantity.Mul(trade.Price)), s.fee + fee}
	}
	for _, fill := range fills {
		if fill.Pair != b.Instrument.Pair || fill.FeeCurrency == "" || fill.MarketTime.IsZero() || fill.Venue == "" {
			t.Errorf("a fill is not whole: %+v", fill)
		}
		s := got[fill.OrderID]
		quantity := b.Instrument.QuantityDecimal(fill.Quantity)
		got[fill.OrderID] = sum{s.count + 1, s.quantity.Add(quantity), s.value.Add(quantity.Mul(b.Instrument.PriceDecimal(fill.Price))), s.fee + fill.Fee}
	}
	for id := range got {
		if _, made := want[id]; !made {
			t.Errorf("fills of %s are told, and there are none", id)
		}
	}
	for id, w := range want {
		g := got[id]
		// A fee may be rounded up, against the agent, in each fill.
		fees := b.FeesUnknown || g.fee >= w.fee && g.fee <= w.fee+market.Money(w.count)
		if g.count != w.count || !g.quantity.Equal(w.quantity) || !g.value.Equal(w.value) || !fees {
			t.Errorf("order %s: got %d fills of %s for %s with fees of %s, want %d of %s for %s with %s",
				id, g.count, g.quantity, g.value, g.fee, w.count, w.quantity, w.value, w.fee)
		}
	}
}

// ours is a client id as an adapter tells of it.
func ours(client string) uuid.UUID {
	id, err := uuid.Parse(client)
	if err != nil || id.Version() != 5 {
		return uuid.Nil
	}
	return id
}

// accepted are the orders in the exchange's book that have a client id.
func (b *bench) accepted(intent order.Intent) []exchange.Order {
	return slices.DeleteFunc(b.Exchange.Book().Orders, func(o exchange.Order) bool { return o.ClientID != intent.ID.String() })
}

// foreign places an order that somebody else has entered by hand.
func (b *bench) foreign(t *testing.T, symbol, client string, limit market.Price) exchange.Order {
	t.Helper()
	placed, _, err := b.Exchange.Place(t.Context(), exchange.Placement{
		Account: b.Account, ClientID: client, Symbol: symbol, Side: exchange.Buy,
		Quantity: decimal.RequireFromString("0.25"), Limit: decimal.New(int64(limit), -2),
	})
	if err != nil {
		t.Fatal(err)
	}
	return placed
}

func (b *bench) fail(t *testing.T, faults ...exchange.Fault) {
	t.Helper()
	if err := b.Exchange.SetFaults(faults...); err != nil {
		t.Fatal(err)
	}
}

// notAbsent holds that an error is not the word for an order that does not exist,
// and that it tells no secret.
func (b *bench) notAbsent(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, venue.ErrNotFound) {
		t.Errorf("an answer that tells nothing counts as %v", err)
	}
	b.quiet(t, err)
}

// quiet holds that an error tells no secret.
func (b *bench) quiet(t *testing.T, err error) {
	t.Helper()
	for _, secret := range b.Secrets {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("an error tells a secret: %v", err)
		}
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Errorf("waited in vain until %s", what)
			return
		}
	}
}
