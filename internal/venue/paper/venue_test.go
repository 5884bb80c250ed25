package paper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const usd = market.MoneyUnit

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// exact is an account without chance: no slippage, no partial fills. One lot at
// one tick is worth 0.01.
func exact(tb testing.TB) Config {
	tb.Helper()
	instrument, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("1"), decimal.RequireFromString("0.01"), decimal.RequireFromString("10"))
	if err != nil {
		tb.Fatal(err)
	}
	return Config{
		Account: "account-uid", Currency: "USD", Balance: 10_000 * usd, TakerFee: 600_000, MakerFee: 250_000, Spread: 2_000_000,
		Latency: 50 * time.Millisecond, Seed: 1, Instruments: []market.Instrument{instrument},
	}
}

func open(tb testing.TB, book Book, config Config) *Venue {
	tb.Helper()
	v, err := New(book, config)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func intent(n int, side order.Side, quantity market.Quantity, limit market.Price) order.Intent {
	return order.Intent{ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "intent %d", n)), Pair: "BTC-USD", Side: side, Quantity: quantity, Limit: limit, MarketTime: noon}
}

// minute is the nth minute after noon.
func minute(n int, first, high, low, last market.Price) market.PairBar {
	at := noon.Add(time.Duration(n) * time.Minute)
	return market.PairBar{Pair: "BTC-USD", Bar: market.Bar{Start: at, End: at.Add(time.Minute), Open: first, High: high, Low: low, Close: last}}
}

func place(tb testing.TB, v *Venue, i order.Intent) {
	tb.Helper()
	placed, err := v.Place(tb.Context(), venue.RequestOf(i))
	if err != nil || placed.State != order.Acked || placed.ID != i.ID || placed.VenueOrderID == "" {
		tb.Fatalf("Place = %+v, %v", placed, err)
	}
}

func onBar(tb testing.TB, v *Venue, bar market.PairBar) []order.Fill {
	tb.Helper()
	fills, err := v.OnBar(tb.Context(), bar)
	if err != nil {
		tb.Fatal(err)
	}
	return fills
}

func TestFillPrices(t *testing.T) {
	quoted := func(bar market.PairBar, bid, ask market.Price) market.PairBar {
		bar.Bid, bar.Ask = bid, ask
		return bar
	}
	for _, test := range []struct {
		name    string
		side    order.Side
		limit   market.Price
		latency time.Duration
		bar     market.PairBar
		price   market.Price
		fee     order.Fraction
	}{
		// The spread is 0.002 of the price, so half of it is 10 at 10,000.
		{"bought at the open's ask", order.Buy, 10_100, 50 * time.Millisecond, minute(0, 10_000, 10_500, 9_900, 10_400), 10_010, 600_000},
		{"sold at the open's bid", order.Sell, 9_900, 50 * time.Millisecond, minute(0, 10_000, 10_500, 9_900, 10_400), 9_990, 600_000},
		{"the bar's own spread", order.Buy, 10_100, 50 * time.Millisecond, quoted(minute(0, 10_000, 10_000, 10_000, 10_000), 9_997, 10_002), 10_003, 600_000},
		{"a slow order gets the close", order.Buy, 10_100, 2 * time.Second, minute(0, 9_000, 10_100, 9_000, 10_000), 10_010, 600_000},
		{"a slow order gets the close's ask", order.Buy, 10_100, 2 * time.Second, quoted(minute(0, 9_000, 10_100, 9_000, 10_000), 9_990, 10_020), 10_020, 600_000},
		{"a slow order gets the close's bid", order.Sell, 9_900, 2 * time.Second, quoted(minute(0, 9_000, 10_100, 9_000, 10_000), 9_990, 10_020), 9_990, 600_000},
		{"exactly at the limit", order.Buy, 10_010, 0, minute(0, 10_000, 10_000, 10_000, 10_000), 10_010, 600_000},
		{"beyond the limit, and the bar trades through", order.Buy, 10_009, 0, minute(0, 10_000, 10_000, 10_000, 10_000), 10_009, 250_000},
		{"a resting bid is hit", order.Buy, 9_950, 0, minute(0, 10_000, 10_000, 9_949, 10_000), 9_950, 250_000},
		{"a resting bid is only touched", order.Buy, 9_950, 0, minute(0, 10_000, 10_000, 9_950, 10_000), 0, 0},
		{"a resting offer is lifted", order.Sell, 10_050, 0, minute(0, 10_000, 10_051, 10_000, 10_000), 10_050, 250_000},
		{"a resting offer is only touched", order.Sell, 10_050, 0, minute(0, 10_000, 10_050, 10_000, 10_000), 0, 0},
		{"nobody knows whether the low came before the order", order.Buy, 9_950, 2 * time.Second, minute(0, 10_000, 10_000, 9_000, 10_000), 0, 0},
		{"not there yet", order.Buy, 10_100, time.Minute + 1, minute(0, 10_000, 10_000, 10_000, 10_000), 0, 0},
		{"there at the last moment", order.Buy, 10_100, time.Minute, minute(0, 9_000, 10_000, 9_000, 10_000), 10_010, 600_000},
		{"the bar that it was decided on", order.Buy, 10_100, 50 * time.Millisecond, minute(-1, 10_000, 10_000, 10_000, 10_000), 0, 0},
	} {
		config := exact(t)
		config.Latency = test.latency
		v := open(t, NewMemoryBook(), config)
		i := intent(1, test.side, 10, test.limit)
		place(t, v, i)
		fills := onBar(t, v, test.bar)
		if test.price == 0 {
			if len(fills) != 0 {
				t.Errorf("%s: filled at %d", test.name, fills[0].Price)
			}
			continue
		}
		want := order.Fill{
			Venue: Name, Account: "account-uid", TradeID: i.ID.String() + "-1", OrderID: i.ID, Pair: "BTC-USD", Side: test.side, Quantity: 10,
			Price: test.price, Fee: test.fee.Of(market.Money(test.price) * usd / 10), FeeCurrency: "USD", MarketTime: test.bar.End,
		}
		if !slices.Equal(fills, []order.Fill{want}) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, fills, want)
		}
		if found, err := v.Lookup(t.Context(), venue.Ref{ID: i.ID}); err != nil || found.State != order.Filled || found.Filled != 10 {
			t.Errorf("%s: the order is %+v, %v", test.name, found, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	reduce := func(i order.Intent) order.Intent { i.ReduceOnly = true; return i }
	other := intent(9, order.Buy, 10, 100)
	other.Pair = "ETH-USD"
	for _, test := range []struct {
		name   string
		intent order.Intent
		code   string
	}{
		{"a pair that is not traded", other, CodeUnknownPair},
		{"no quantity", intent(9, order.Buy, 0, 100), CodeInvalidOrder},
		{"no side", intent(9, 0, 10, 100), CodeInvalidOrder},
		{"no limit", intent(9, order.Buy, 10, 0), CodeInvalidOrder},
		{"worth 9.99", intent(9, order.Buy, 999, 1), CodeMinNotional},
		{"worth 10.00", intent(9, order.Buy, 1000, 1), ""},
		{"a remainder of a position", reduce(intent(9, order.Sell, 1, 100)), ""},
		{"the whole position", reduce(intent(9, order.Sell, 50, 100)), ""},
		{"one lot more than the position", reduce(intent(9, order.Sell, 51, 100)), CodeReduceOnly},
		{"the position enlarged", reduce(intent(9, order.Buy, 1, 100)), CodeReduceOnly},
		// 50 lots were bought at 100: 50.00 and 0.03 were paid.
		{"what all the money buys", intent(9, order.Buy, 99_440, 10), ""},
		{"one lot more than all the money buys", intent(9, order.Buy, 99_441, 10), CodeInsufficientFunds},
	} {
		config := exact(t)
		config.Spread = 0
		v := open(t, NewMemoryBook(), config)
		place(t, v, intent(1, order.Buy, 50, 100))
		onBar(t, v, minute(0, 100, 100, 100, 100))
		_, err := v.Place(t.Context(), venue.RequestOf(test.intent))
		code := ""
		if rejected, ok := errors.AsType[*venue.RejectedError](err); ok {
			code = rejected.Code
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if code != test.code {
			t.Errorf("%s: refused with %q (%v); want %q", test.name, code, err, test.code)
		}
		if _, err := v.Lookup(t.Context(), venue.Ref{ID: test.intent.ID}); code != "" && !errors.Is(err, venue.ErrNotFound) {
			t.Errorf("%s: a refused order is known: %v", test.name, err)
		}
	}
}

func TestOpenOrdersHoldFundsAndPositions(t *testing.T) {
	config := exact(t)
	config.Spread = 0
	v := open(t, NewMemoryBook(), config)
	place(t, v, intent(1, order.Buy, 5_000, 100)) // 5,000 USD
	var rejected *venue.RejectedError
	if _, err := v.Place(t.Context(), venue.RequestOf(intent(2, order.Buy, 5_000, 100))); !errors.As(err, &rejected) || rejected.Code != CodeInsufficientFunds {
		t.Errorf("money was promised twice: %v", err)
	}
	onBar(t, v, minute(0, 100, 100, 100, 100))
	half := intent(3, order.Sell, 2_500, 200)
	half.ReduceOnly = true
	place(t, v, half)
	rest := intent(4, order.Sell, 2_501, 200)
	rest.ReduceOnly = true
	if _, err := v.Place(t.Context(), venue.RequestOf(rest)); !errors.As(err, &rejected) || rejected.Code != CodeReduceOnly {
		t.Errorf("a position was sold twice: %v", err)
	}
	if err := v.Cancel(t.Context(), venue.Ref{ID: half.ID}); err != nil {
		t.Fatal(err)
	}
	place(t, v, rest)
	if err := v.Cancel(t.Context(), venue.Ref{ID: half.ID}); err != nil {
		t.Errorf("cancelling what is final: %v", err)
	}
	if err := v.Cancel(t.Context(), venue.Ref{ID: uuid.New()}); !errors.Is(err, venue.ErrNotFound) {
		t.Errorf("cancelling what is not there: %v", err)
	}
}

// A short position binds twice its value, so that exposure stays within equity.
func TestShortPositionsAreCovered(t *testing.T) {
	config := exact(t)
	config.Spread, config.TakerFee = 0, 0
	v := open(t, NewMemoryBook(), config)
	place(t, v, intent(1, order.Sell, 6_000, 100))
	onBar(t, v, minute(0, 100, 100, 100, 100))
	// Cash is 16,000 now, of which 12,000 cover the position.
	var rejected *venue.RejectedError
	if _, err := v.Place(t.Context(), venue.RequestOf(intent(2, order.Sell, 4_001, 100))); !errors.As(err, &rejected) || rejected.Code != CodeInsufficientFunds {
		t.Errorf("more than the equity was sold short: %v", err)
	}
	place(t, v, intent(3, order.Sell, 4_000, 100))
}

// What was taken over can be closed, and was paid for.
func TestAdoptedPositions(t *testing.T) {
	config := exact(t)
	v := open(t, NewMemoryBook(), config)
	v.Adopt([]Opening{{Pair: "BTC-USD", Quantity: 5_000, Cost: 5_000 * usd}})
	if _, err := v.Place(t.Context(), venue.RequestOf(intent(1, order.Buy, 5_000, 100))); err == nil {
		t.Error("the money that was paid for the position was spent again")
	}
	whole := intent(2, order.Sell, 5_000, 100)
	whole.ReduceOnly = true
	place(t, v, whole)
}

func TestPlacingTwiceReturnsTheFirst(t *testing.T) {
	v := open(t, NewMemoryBook(), exact(t))
	place(t, v, intent(1, order.Buy, 10, 10_100))
	if fills := onBar(t, v, minute(0, 10_000, 10_000, 10_000, 10_000)); len(fills) != 1 {
		t.Fatalf("%d fills", len(fills))
	}
	again, err := v.Place(t.Context(), venue.RequestOf(intent(1, order.Buy, 10, 10_100)))
	if err != nil || again.State != order.Filled || again.Filled != 10 {
		t.Errorf("the second Place = %+v, %v; want the filled order", again, err)
	}
	if fills := onBar(t, v, minute(1, 10_000, 10_000, 10_000, 10_000)); len(fills) != 0 {
		t.Errorf("it was filled again: %+v", fills)
	}
}

func TestForeignCurrencyIsRefused(t *testing.T) {
	config := exact(t)
	config.Currency = "EUR"
	if _, err := New(NewMemoryBook(), config); err == nil {
		t.Error("a pair in USD was taken on an account in EUR")
	}
}

// failing is a book that fails while down is set.
type failing struct {
	Book
	down bool
}

var errDown = errors.New("down")

func (f *failing) Accept(ctx context.Context, o BookOrder, exit venue.Exit) (BookOrder, bool, error) {
	if f.down {
		return BookOrder{}, false, errDown
	}
	return f.Book.Accept(ctx, o, exit)
}

func (f *failing) Execute(ctx context.Context, o BookOrder, fills []order.Fill) error {
	if f.down {
		_ = f.Book.Execute(ctx, o, fills)
		return errDown
	}
	return f.Book.Execute(ctx, o, fills)
}

// crowded is a book before which orders wait.
type crowded struct {
	Book
	wait func()
}

func (c *crowded) Accept(ctx context.Context, o BookOrder, exit venue.Exit) (BookOrder, bool, error) {
	c.wait()
	return c.Book.Accept(ctx, o, exit)
}

// An order that waits for its book when a halt comes is not accepted.
func TestNothingIsAcceptedAfterAHalt(t *testing.T) {
	for name, halts := range map[string]bool{"halted": true, "not halted": false} {
		sentry := venue.NewSentry(time.Now)
		config := exact(t)
		config.Guard = sentry
		v := open(t, &crowded{NewMemoryBook(), func() { sentry.Forbid(func(*order.Intent) bool { return halts }) }}, config)
		i := intent(1, order.Buy, 10, 10_100)
		i.NotAfter = time.Now().Add(time.Minute)
		sentry.Approve([]order.Intent{i})
		sentry.Release(i.ID)
		_, err := sentry.Place(t.Context(), v, venue.RequestOf(i))
		refusal, refused := errors.AsType[*venue.RejectedError](err)
		if refused != halts || refused && refusal.Code != venue.HaltedMeanwhile {
			t.Errorf("%s: got %v", name, err)
		}
		if accepted, _ := v.Open(t.Context()); (len(accepted) == 0) != halts {
			t.Errorf("%s: %+v is in the book", name, accepted)
		}
	}
}

func TestABookThatFails(t *testing.T) {
	book := &failing{Book: NewMemoryBook()}
	v := open(t, book, exact(t))
	book.down = true
	if _, err := v.Place(t.Context(), venue.RequestOf(intent(1, order.Buy, 10, 10_100))); !errors.Is(err, venue.ErrUnknownOutcome) || !errors.Is(err, errDown) {
		t.Errorf("a lost answer is %v", err)
	}
	book.down = false
	place(t, v, intent(1, order.Buy, 10, 10_100))
	book.down = true
	if _, err := v.OnBar(t.Context(), minute(0, 10_000, 10_000, 10_000, 10_000)); !errors.Is(err, errDown) {
		t.Errorf("a fill that could not be stored: %v", err)
	}
	book.down = false
	// It was stored all the same; the bar again must not fill it twice.
	onBar(t, v, minute(0, 10_000, 10_000, 10_000, 10_000))
	fills, _, err := v.Fills(t.Context(), "")
	if err != nil || len(fills) != 1 {
		t.Errorf("%d fills, %v", len(fills), err)
	}
}

// scene is a drawn account, drawn orders and drawn bars.
type scene struct {
	config  Config
	intents []order.Intent
	bars    []market.PairBar
}

func drawScene(tb testing.TB, t *rapid.T) scene {
	tb.Helper()
	s := scene{config: exact(tb)}
	s.config.Slippage = order.Fraction(rapid.Int64Range(0, 5_000_000).Draw(t, "slippage"))
	s.config.PartialFill = order.Fraction(rapid.SampledFrom([]int64{0, 500_000_000, int64(order.Whole)}).Draw(t, "partial"))
	s.config.Seed = rapid.Int64().Draw(t, "seed")
	price := market.Price(10_000)
	for n := range rapid.IntRange(3, 12).Draw(t, "bars") {
		move := func(label string) market.Price { return market.Price(rapid.Int64Range(0, 80).Draw(t, label)) }
		next := price + move("up") - move("down")
		s.bars = append(s.bars, minute(n, price, max(price, next)+move("high"), min(price, next)-move("low"), next))
		price = next
	}
	for n := range rapid.IntRange(1, 6).Draw(t, "orders") {
		side := rapid.SampledFrom([]order.Side{order.Buy, order.Sell}).Draw(t, "side")
		i := intent(n, side, market.Quantity(rapid.Int64Range(1, 9).Draw(t, "quantity")), 10_000+market.Price(rapid.Int64Range(-100, 100).Draw(t, "limit")))
		i.MarketTime = noon.Add(time.Duration(rapid.IntRange(-1, 4).Draw(t, "at")) * time.Minute)
		s.intents = append(s.intents, i)
	}
	return s
}

// run plays the scene; with restarts the venue is opened anew before each bar,
// and each bar comes twice.
func (s *scene) run(tb testing.TB, t *rapid.T, restarts bool) map[string]order.Fill {
	tb.Helper()
	book := NewMemoryBook()
	v := open(tb, book, s.config)
	for _, i := range s.intents {
		if _, err := v.Place(tb.Context(), venue.RequestOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	filled := map[string]order.Fill{}
	for _, bar := range s.bars {
		times := 1
		if restarts {
			times = 2
		}
		for range times {
			if restarts {
				v = open(tb, book, s.config)
			}
			for _, fill := range onBar(tb, v, bar) {
				if _, twice := filled[fill.TradeID]; twice {
					t.Fatalf("trade %s happened twice", fill.TradeID)
				}
				filled[fill.TradeID] = fill
			}
		}
	}
	return filled
}

// Whatever is drawn: no fill is beyond its limit, outside what the market and
// the slippage allow, before its order or more than its order; and restarts and
// repeated bars change nothing.
func TestFillsAreWithinBounds(t *testing.T) {
	parts := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScene(t, rt)
		fills := s.run(t, rt, false)
		if again := s.run(t, rt, true); fmt.Sprint(again) != fmt.Sprint(fills) {
			rt.Fatalf("restarts changed the fills:\n%v\n%v", fills, again)
		}
		quantity := map[uuid.UUID]market.Quantity{}
		at := map[uuid.UUID]map[time.Time]bool{}
		for _, fill := range fills {
			i := s.intents[slices.IndexFunc(s.intents, func(i order.Intent) bool { return i.ID == fill.OrderID })]
			if beyond(fill.Side, fill.Price, i.Limit) {
				rt.Fatalf("filled at %d beyond the limit %d", fill.Price, i.Limit)
			}
			if !fill.MarketTime.After(i.MarketTime) || fill.Quantity < 1 {
				rt.Fatalf("impossible fill %+v", fill)
			}
			quantity[i.ID] += fill.Quantity
			if at[i.ID] == nil {
				at[i.ID] = map[time.Time]bool{}
			}
			if at[i.ID][fill.MarketTime] {
				rt.Fatalf("two parts of order %s in one bar", i.ID)
			}
			at[i.ID][fill.MarketTime] = true
			if quantity[i.ID] > i.Quantity {
				rt.Fatalf("filled %d of %d", quantity[i.ID], i.Quantity)
			}
			if len(at[i.ID]) > 1 {
				parts++
			}
		}
	})
	if parts == 0 {
		t.Error("no order was filled in parts, so that was not tested")
	}
}

// The dice are even enough: none of a hundred equal cells is far from its share.
func TestDice(t *testing.T) {
	var cells [100]int
	for n := range 100_000 {
		d := newDice(int64(n%7), intent(n, order.Buy, 1, 1).ID, n%3)
		cells[d.below(100)]++
	}
	for cell, count := range cells {
		if count < 850 || count > 1150 {
			t.Errorf("cell %d has %d of 100,000", cell, count)
		}
	}
}
