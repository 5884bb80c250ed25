package ledger_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func TestOpeningBalanceIsGivenOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			agent := trader("a", btc)
			for epoch := int64(1); epoch <= 3; epoch++ {
				lease := acquire(t, b, agent)
				if got := load(t, b, lease).Cash; got != money("10000") {
					t.Errorf("epoch %d began with %s", epoch, got)
				}
				agent.Balance += money("5000")
			}
			poor := trader("poor", eth)
			poor.Balance = 0
			acquire(t, b, poor)
			poor.Balance = money("1")
			if got := load(t, b, acquire(t, b, poor)).Cash; got != 0 {
				t.Errorf("an agent that began with nothing was given %s later", got)
			}
		})
	}
}

// step is one fill of a position's story and what it leaves behind.
type step struct {
	side       order.Side
	lots       market.Quantity
	ticks      market.Price
	fee        string
	wantLots   market.Quantity
	wantCost   string
	wantCash   string
	wantOpened int
}

// stories of positions, worked out by hand. One lot is 0.0001 BTC and one tick
// 0.01 USD, so that 10000 lots at 10000 ticks are worth 100 USD.
var stories = map[string][]step{
	"long, added to, reduced, closed": {
		{order.Buy, 10000, 10000, "0.06", 10000, "100", "9899.94", 1},
		{order.Buy, 10000, 12000, "0.07", 20000, "220", "9779.87", 1},
		{order.Sell, 5000, 13000, "0.03", 15000, "165", "9844.84", 1},
		{order.Sell, 15000, 9000, "0", 0, "0", "9979.84", 0},
	},
	"short with a rebate, covered": {
		{order.Sell, 10000, 10000, "-0.02", -10000, "-100", "10100.02", 1},
		{order.Buy, 4000, 9000, "0", -6000, "-60", "10064.02", 1},
		{order.Buy, 6000, 11000, "-0.01", 0, "0", "9998.03", 0},
	},
	"turned from long to short and back": {
		{order.Buy, 10000, 10000, "0", 10000, "100", "9900", 1},
		{order.Sell, 15000, 11000, "0", -5000, "-55", "10065", 2},
		{order.Buy, 7500, 12000, "0", 2500, "30", "9975", 3},
	},
	"reopened after being flat": {
		{order.Buy, 1, 1, "0", 1, "0.000001", "9999.999999", 1},
		{order.Sell, 1, 1, "0", 0, "0", "10000", 0},
		{order.Sell, 3, 1, "0", -3, "-0.000003", "10000.000003", 3},
	},
	"a share of the cost rounded up": {
		{order.Buy, 3, 33, "0", 3, "0.000099", "9999.999901", 1},
		{order.Buy, 4, 10, "0", 7, "0.000139", "9999.999861", 1},
		{order.Sell, 4, 10, "0", 3, "0.00005957", "9999.999901", 1},
	},
	"half a unit goes down to the even": {
		{order.Buy, 7, 1, "0", 7, "0.000007", "9999.999993", 1},
		{order.Buy, 1, 2, "0", 8, "0.000009", "9999.999991", 1},
		{order.Sell, 1, 1, "0", 7, "0.00000788", "9999.999992", 1},
	},
	"half a unit goes up to the even": {
		{order.Sell, 7, 1, "0", -7, "-0.000007", "10000.000007", 1},
		{order.Sell, 1, 2, "0", -8, "-0.000009", "10000.000009", 1},
		{order.Buy, 3, 1, "0", -5, "-0.00000562", "10000.000006", 1},
	},
	"a share of the cost rounded down": {
		{order.Buy, 3, 33, "0", 3, "0.000099", "9999.999901", 1},
		{order.Buy, 4, 10, "0", 7, "0.000139", "9999.999861", 1},
		{order.Sell, 2, 10, "0", 5, "0.00009929", "9999.999881", 1},
		{order.Sell, 5, 10, "0", 0, "0", "9999.999931", 0},
	},
}

func TestPositionsAndCost(t *testing.T) {
	for name, steps := range stories {
		for kind, open := range ledgers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := open(t)
				lease := acquire(t, b, trader("a", btc))
				for i, step := range steps {
					id := ordered(t, b, lease, int64(i+1), "BTC-USD", step.side, step.lots)
					fill := fillOf(lease, id, strconv.Itoa(i), "BTC-USD", step.side, step.lots, step.ticks, step.fee)
					fill.MarketTime = noon.Add(time.Duration(i+1) * time.Minute)
					bookFill(t, b, lease, fill)
					s := load(t, b, lease)
					want := ledger.Position{Quantity: step.wantLots, Cost: money(step.wantCost)}
					if got := s.Positions["BTC-USD"]; got != want {
						t.Errorf("fill %d: position %d lots at %s, want %d at %s", i+1, got.Quantity, got.Cost, want.Quantity, want.Cost)
					}
					if s.Cash != money(step.wantCash) {
						t.Errorf("fill %d: cash %s, want %s", i+1, s.Cash, step.wantCash)
					}
					var opened time.Time
					if step.wantOpened > 0 {
						opened = noon.Add(time.Duration(step.wantOpened) * time.Minute)
					}
					if got := s.OpenedAt["BTC-USD"]; !got.Equal(opened) {
						t.Errorf("fill %d: opened at %s, want %s", i+1, got, opened)
					}
					if len(s.OpenOrders) != 0 {
						t.Errorf("fill %d: %d orders open after a whole fill", i+1, len(s.OpenOrders))
					}
				}
			})
		}
	}
}

func TestFillsAreBookedOnce(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc, eth))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			fill := fillOf(lease, id, "t1", "BTC-USD", order.Buy, 4, 10000, "0.01")
			bookFill(t, b, lease, fill)
			once := load(t, b, lease)
			if len(once.OpenOrders) != 1 || once.OpenOrders[0].State != order.Acked || once.OpenOrders[0].Filled != 4 {
				t.Fatalf("a part was filled: %+v", once.OpenOrders)
			}
			restated := fill
			restated.Fee, restated.MarketTime = money("0.02"), noon.Add(time.Hour)
			for _, again := range []order.Fill{fill, restated} {
				if isNew, err := b.BookFill(t.Context(), lease, again); err != nil || isNew {
					t.Errorf("the same trade again: new %t, error %v", isNew, err)
				}
			}
			lease = acquire(t, b, trader("a", btc, eth))
			if isNew, err := b.BookFill(t.Context(), lease, fill); err != nil || isNew {
				t.Errorf("the same trade after a restart: new %t, error %v", isNew, err)
			}
			for name, change := range map[string]func(*order.Fill){
				"quantity": func(f *order.Fill) { f.Quantity++ },
				"price":    func(f *order.Fill) { f.Price++ },
				"order":    func(f *order.Fill) { f.OrderID = orderID(lease, 5, 5) },
			} {
				other := fill
				change(&other)
				if _, err := b.BookFill(t.Context(), lease, other); !errors.Is(err, ledger.ErrConflict) {
					t.Errorf("the same trade id with another %s: %v, want ErrConflict", name, err)
				}
			}
			if diff := cmp.Diff(once, load(t, b, lease)); diff != "" {
				t.Errorf("repeated fills changed something (-before +after):\n%s", diff)
			}

			bookFill(t, b, lease, fillOf(lease, id, "t2", "BTC-USD", order.Buy, 6, 10000, "0"))
			if open := load(t, b, lease).OpenOrders; len(open) != 0 {
				t.Errorf("open after the last fill: %+v", open)
			}
		})
	}
}

// A page of fills comes to the same as its fills one by one, and is booked whole or
// not at all.
func TestFillsAreBookedByThePage(t *testing.T) {
	fills := func(lease ledger.Lease) []order.Fill {
		first, second := orderID(lease, 1, 0), orderID(lease, 2, 0)
		inKind := fillOf(lease, first, "t2", "BTC-USD", order.Buy, 30, 12000, "0.00025")
		inKind.FeeCurrency = "BTC"
		return []order.Fill{
			fillOf(lease, first, "t1", "BTC-USD", order.Buy, 50, 10000, "0.01"), inKind,
			fillOf(lease, second, "t3", "BTC-USD", order.Sell, 100, 13000, "0.02"),
			fillOf(lease, first, "t1", "BTC-USD", order.Buy, 50, 10000, "0.01"),
			fillOf(lease, first, "t4", "BTC-USD", order.Buy, 20, 9000, "0"),
			fillOf(lease, first, "t5", "BTC-USD", order.Buy, 1, 9000, "0"),
		}
	}
	prepare := func() (*ledger.Postgres, string, ledger.Lease) {
		b, uri := openLedger(t)
		lease := acquire(t, b, trader("a", btc))
		ordered(t, b, lease, 1, "BTC-USD", order.Buy, 100)
		ordered(t, b, lease, 2, "BTC-USD", order.Sell, 100)
		return b, uri, lease
	}
	one, _, lease := prepare()
	for _, fill := range fills(lease) {
		if _, err := one.BookFill(t.Context(), lease, fill); err != nil {
			t.Fatal(err)
		}
	}
	page, uri, lease := prepare()
	empty := load(t, page, lease)
	wrong := append(fills(lease), fillOf(lease, orderID(lease, 9, 9), "t9", "BTC-USD", order.Buy, 1, 1, "0"))
	if _, err := page.BookFills(t.Context(), lease, wrong); !errors.Is(err, ledger.ErrNoIntent) {
		t.Errorf("a page with a fill of no order: %v", err)
	}
	if diff := cmp.Diff(empty, load(t, page, lease)); diff != "" {
		t.Errorf("a page that was refused left something (-before +after):\n%s", diff)
	}
	for _, want := range [][]bool{{true, true, true, false, true, true}, {false, false, false, false, false, false}} {
		booked, err := page.BookFills(t.Context(), lease, fills(lease))
		if diff := cmp.Diff(want, booked); err != nil || diff != "" {
			t.Errorf("%v, new fills (-want +got):\n%s", err, diff)
		}
	}
	byOne, byPage := load(t, one, lease), load(t, page, lease)
	byOne.ClaimedAt, byPage.ClaimedAt = nil, nil
	if diff := cmp.Diff(byOne, byPage); diff != "" || byPage.Fills != 5 {
		t.Errorf("one by one and by the page differ (-one +page):\n%s", diff)
	}
	if booked, err := page.BookFills(t.Context(), lease, nil); err != nil || len(booked) != 0 {
		t.Errorf("an empty page: %v, %v", booked, err)
	}
	if _, err := page.BookFills(t.Context(), lease, make([]order.Fill, 1001)); err == nil {
		t.Error("a page of more than a thousand was booked")
	}
	checkBooks(t, page)
	verify(t, uri)
}

func TestFillsThatCannotBe(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			other := acquire(t, b, trader("b", eth))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			foreign := ordered(t, b, other, 1, "ETH-USD", order.Buy, 10)
			before := load(t, b, lease)
			for name, test := range map[string]struct {
				change func(*order.Fill)
				want   error
			}{
				"an order that was never committed": {func(f *order.Fill) { f.OrderID = orderID(lease, 77, 0) }, ledger.ErrNoIntent},
				"another agent's order":             {func(f *order.Fill) { f.OrderID = foreign }, ledger.ErrNoIntent},
				"the other side":                    {func(f *order.Fill) { f.Side = order.Sell }, ledger.ErrConflict},
				"no side":                           {func(f *order.Fill) { f.Side = 0 }, nil},
				"a pair that is not traded":         {func(f *order.Fill) { f.Pair = "ETH-USD" }, nil},
				"another venue":                     {func(f *order.Fill) { f.Venue = "Elsewhere" }, nil},
				"another account":                   {func(f *order.Fill) { f.Account = "elsewhere" }, nil},
				"no trade id":                       {func(f *order.Fill) { f.TradeID = "" }, nil},
				"no quantity":                       {func(f *order.Fill) { f.Quantity = 0 }, nil},
				"a negative price":                  {func(f *order.Fill) { f.Price = -1 }, nil},
				"a fee without currency":            {func(f *order.Fill) { f.Fee, f.FeeCurrency = 1, "" }, nil},
				"a value beyond all counting":       {func(f *order.Fill) { f.Quantity, f.Price = 1<<62, 1<<62 }, nil},
			} {
				fill := fillOf(lease, id, "t1", "BTC-USD", order.Buy, 4, 10000, "0.01")
				test.change(&fill)
				_, err := b.BookFill(t.Context(), lease, fill)
				if err == nil || (test.want != nil && !errors.Is(err, test.want)) {
					t.Errorf("a fill of %s: %v, want %v", name, err, test.want)
				}
			}
			if diff := cmp.Diff(before, load(t, b, lease)); diff != "" {
				t.Errorf("refused fills left something (-before +after):\n%s", diff)
			}
		})
	}
}

// A fill may be told after the order's end: it happened, so it is booked, and
// the order stays what it was.
func TestFillAfterTheEnd(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Sell, 10)
			if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: id, State: order.Cancelled, MarketTime: noon}); err != nil {
				t.Fatal(err)
			}
			bookFill(t, b, lease, fillOf(lease, id, "late", "BTC-USD", order.Sell, 3, 10000, "0"))
			s := load(t, b, lease)
			if s.Positions["BTC-USD"].Quantity != -3 || len(s.OpenOrders) != 0 || s.Fills != 1 {
				t.Errorf("after a late fill: %+v", s)
			}
			if p := postgresOf(b); p != nil {
				if state := query[string](t, p, `SELECT state FROM trading.orders WHERE id = $1`, id); state != "Cancelled" {
					t.Errorf("a cancelled order became %s", state)
				}
			}
		})
	}
}
