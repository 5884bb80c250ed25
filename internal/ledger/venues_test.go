package ledger_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// What was committed before the send is found again byte for byte, and when the
// send was begun and by whom.
func TestFrozenRequests(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			bound := intent(lease, 1, 0, "BTC-USD", order.Buy, 10)
			bound.Frozen = "{\"side\":\"BUY\",\"note\":\"ä\\n\\\"\t\"}\r\n"
			bound.NotAfter = noon.Add(5*time.Second + 123*time.Microsecond)
			unbound := intent(lease, 1, 1, "BTC-USD", order.Buy, 10)
			for range 2 {
				if err := b.Intend(t.Context(), lease, []order.Intent{bound, unbound}); err != nil {
					t.Fatal(err)
				}
			}
			for name, change := range map[string]func(*order.Intent){
				"body":     func(i *order.Intent) { i.Frozen += " " },
				"deadline": func(i *order.Intent) { i.NotAfter = i.NotAfter.Add(time.Microsecond) },
			} {
				other := bound
				change(&other)
				if err := b.Intend(t.Context(), lease, []order.Intent{other}); err == nil {
					t.Errorf("another %s was committed under the same id", name)
				}
			}
			for name, body := range map[string]string{"a NUL": "a\x00b", "bytes that are no text": "\xff\xfe", "more than fits": strings.Repeat("x", 1<<20+1)} {
				other := intent(lease, 2, 0, "BTC-USD", order.Buy, 10)
				other.Frozen = body
				if err := b.Intend(t.Context(), lease, []order.Intent{other}); err == nil {
					t.Errorf("a request with %s was committed", name)
				}
			}
			began := noon.Add(time.Hour)
			for _, update := range []ledger.OrderUpdate{
				{ID: bound.ID, State: order.Sent, MarketTime: noon, At: began},
				{ID: bound.ID, State: order.Sent, MarketTime: noon, At: began.Add(time.Minute)},
				{ID: bound.ID, State: order.Unknown, MarketTime: noon, At: began.Add(time.Hour)},
			} {
				if err := b.UpdateOrder(t.Context(), lease, update); err != nil {
					t.Fatal(err)
				}
			}
			next := acquire(t, b, trader("a", btc))
			want := []ledger.Order{
				{Intent: bound, State: order.Unknown, SentAt: began, SentEpoch: lease.Epoch},
				{Intent: unbound, State: order.Intended},
			}
			if diff := cmp.Diff(want, load(t, b, next).OpenOrders); diff != "" {
				t.Errorf("open orders after a restart (-want +got):\n%s", diff)
			}
			before := time.Now().Add(-time.Minute)
			if err := b.UpdateOrder(t.Context(), next, ledger.OrderUpdate{ID: unbound.ID, State: order.Sent, MarketTime: noon}); err != nil {
				t.Fatal(err)
			}
			sent := load(t, b, next).OpenOrders[1]
			if sent.SentAt.Before(before) || sent.SentEpoch != next.Epoch {
				t.Errorf("sent at %s by epoch %d", sent.SentAt, sent.SentEpoch)
			}
		})
	}
}

// charged is a fill whose fee is in some currency, and what it leaves of the book.
type charged struct {
	side          order.Side
	lots          market.Quantity
	ticks         market.Price
	fee, currency string

	wantLots                       market.Quantity
	wantCost, wantChange, wantCash string
	wantRealised                   string
	wantHoldings                   map[string]string
}

// fees are stories of fees that are not paid in the quote currency, worked out by
// hand. One lot is 0.0001 BTC and one tick 0.01 USD.
var fees = map[string][]charged{
	"whole lots of the base": {
		// 100 lots for 100 USD, 2 of them to the fee: they cost 2 USD.
		{order.Buy, 100, 1_000_000, "0.0002", "BTC", 98, "98", "0", "9900", "-2", map[string]string{"BTC": "0.0098", "USD": "9900"}},
		{order.Sell, 98, 1_000_000, "0", "USD", 0, "0", "0", "9998", "-2", map[string]string{"USD": "9998"}},
	},
	"part of a lot": {
		// The fee of 1.5 lots takes 2 from the position; half a lot is left as cash.
		{order.Buy, 100, 1_000_000, "0.00015", "BTC", 98, "98", "0.00005", "9900", "-2", map[string]string{"BTC": "0.00985", "USD": "9900"}},
	},
	"one lot for the fees of many": {
		// The fee of each is a quarter of a lot: the first takes a lot, and what is left
		// of it pays the next three.
		{order.Buy, 1, 1_000_000, "0.000025", "BTC", 0, "0", "0.000075", "9999", "-1", map[string]string{"BTC": "0.000075", "USD": "9999"}},
		{order.Buy, 1, 1_000_000, "0.000025", "BTC", 1, "1", "0.00005", "9998", "-1", map[string]string{"BTC": "0.00015", "USD": "9998"}},
		{order.Buy, 1, 1_000_000, "0.000025", "BTC", 2, "2", "0.000025", "9997", "-1", map[string]string{"BTC": "0.000225", "USD": "9997"}},
		{order.Buy, 1, 1_000_000, "0.000025", "BTC", 3, "3", "0", "9996", "-1", map[string]string{"BTC": "0.0003", "USD": "9996"}},
		{order.Buy, 1, 1_000_000, "0.000025", "BTC", 3, "3", "0.000075", "9995", "-2", map[string]string{"BTC": "0.000375", "USD": "9995"}},
		// What is less than a lot cannot be sold, and pays when there is a position again.
		{order.Sell, 3, 1_000_000, "0", "USD", 0, "0", "0.000075", "9998", "-2", map[string]string{"BTC": "0.000075", "USD": "9998"}},
		{order.Buy, 2, 1_000_000, "0.00005", "BTC", 2, "2", "0.000025", "9996", "0", map[string]string{"BTC": "0.000225", "USD": "9996"}},
	},
	"more than is held": {
		{order.Buy, 1, 1_000_000, "0.00015", "BTC", 1, "1", "-0.00015", "9999", "0", map[string]string{"BTC": "-0.00005", "USD": "9999"}},
		// The next fee takes what is still owed: 1.5 lots and a tenth.
		{order.Buy, 9, 1_000_000, "0.00001", "BTC", 8, "8", "0.00004", "9990", "-2", map[string]string{"BTC": "0.00084", "USD": "9990"}},
	},
	"on a sale out of what is left": {
		{order.Buy, 100, 1_000_000, "0", "USD", 100, "100", "0", "9900", "0", map[string]string{"BTC": "0.01", "USD": "9900"}},
		{order.Sell, 50, 2_000_000, "0.001", "BTC", 40, "40", "0", "10000", "40", map[string]string{"BTC": "0.004", "USD": "10000"}},
	},
	"on a sale of everything": {
		{order.Buy, 10, 1_000_000, "0", "USD", 10, "10", "0", "9990", "0", map[string]string{"BTC": "0.001", "USD": "9990"}},
		{order.Sell, 10, 1_000_000, "0.0001", "BTC", 0, "0", "-0.0001", "10000", "0", map[string]string{"BTC": "-0.0001", "USD": "10000"}},
	},
	"rebates in the base": {
		{order.Buy, 10, 1_000_000, "-0.00006", "BTC", 10, "10", "0.00006", "9990", "0", map[string]string{"BTC": "0.00106", "USD": "9990"}},
		// Two come to more than a lot, which can be sold like any other.
		{order.Buy, 10, 1_000_000, "-0.00006", "BTC", 21, "21", "0.00002", "9980", "1", map[string]string{"BTC": "0.00212", "USD": "9980"}},
	},
	"a third currency": {
		{order.Buy, 10, 1_000_000, "0.5", "KFEE", 10, "10", "0", "9990", "0", map[string]string{"BTC": "0.001", "KFEE": "-0.5", "USD": "9990"}},
	},
}

func TestFeesInOtherCurrencies(t *testing.T) {
	for name, fills := range fees {
		for kind, open := range ledgers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := open(t)
				lease := acquire(t, b, trader("a", btc))
				var position ledger.Position
				for i, c := range fills {
					id := ordered(t, b, lease, int64(i+1), "BTC-USD", c.side, c.lots)
					fill := fillOf(lease, id, strconv.Itoa(i), "BTC-USD", c.side, c.lots, c.ticks, c.fee)
					fill.FeeCurrency = c.currency
					bookFill(t, b, lease, fill)
					s := load(t, b, lease)
					want := ledger.Position{Quantity: c.wantLots, Cost: money(c.wantCost), Change: money(c.wantChange)}
					if got := s.Positions["BTC-USD"]; got != want {
						t.Errorf("fill %d: position %d lots at %s and %s, want %d at %s and %s",
							i+1, got.Quantity, got.Cost, got.Change, want.Quantity, want.Cost, want.Change)
					}
					if position, _ = position.After(btc, fill); position != want {
						t.Errorf("fill %d: the rule for others leaves %d lots at %s and %s", i+1, position.Quantity, position.Cost, position.Change)
					}
					if s.Cash != money(c.wantCash) {
						t.Errorf("fill %d: cash %s, want %s", i+1, s.Cash, c.wantCash)
					}
					var realised market.Money
					for _, result := range s.Realised {
						realised += result
					}
					if c.wantLots != 0 && realised != money(c.wantRealised) {
						t.Errorf("fill %d: the trade has come to %s, want %s", i+1, realised, c.wantRealised)
					}
					if diff := cmp.Diff(c.wantHoldings, holdings(t, b, lease)); diff != "" {
						t.Errorf("fill %d: holdings (-want +got):\n%s", i+1, diff)
					}
				}
			})
		}
	}
}

// What another agent's orders may have spent while nobody has booked it is told
// beside what is booked, and what is booked of them no more; one's own orders are
// one's own to settle.
func TestHoldingsTellWhatOthersMayHaveSpent(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			mine := acquire(t, b, trader("a", btc))
			other := acquire(t, b, trader("b", eth))
			stranger := trader("c", eth)
			stranger.Account = "elsewhere"
			elsewhere := acquire(t, b, stranger)
			ordered(t, b, mine, 1, "BTC-USD", order.Buy, 100)
			ordered(t, b, elsewhere, 1, "ETH-USD", order.Buy, 100)
			cash := holdings(t, b, mine)["USD"]
			if strings.Contains(cash, "but") {
				t.Fatalf("the agent's own orders, or those on another account, count: %s", cash)
			}
			buy := ordered(t, b, other, 1, "ETH-USD", order.Buy, 100)
			whole, _ := b.Holdings(t.Context(), mine)
			if !whole["USD"].Pending.IsPositive() {
				t.Fatalf("an open order that buys for USD may have spent none: %v", whole)
			}
			bookFill(t, b, other, fillOf(other, buy, "1", "ETH-USD", order.Buy, 60, 100, "0"))
			part, _ := b.Holdings(t.Context(), mine)
			if want := whole["USD"].Pending.Mul(decimal.RequireFromString("0.4")); !part["USD"].Pending.Equal(want) {
				t.Errorf("with 60 of 100 lots booked %s USD may have been spent, want %s", part["USD"].Pending, want)
			}
			bookFill(t, b, other, fillOf(other, buy, "2", "ETH-USD", order.Buy, 40, 100, "0"))
			ordered(t, b, other, 2, "ETH-USD", order.Sell, 30)
			after, _ := b.Holdings(t.Context(), mine)
			if !after["USD"].Pending.IsZero() || !after["ETH"].Pending.Equal(eth.QuantityDecimal(30)) {
				t.Errorf("with an open sale of 30 lots: %v", after)
			}
		})
	}
}

func holdings(t *testing.T, b book, lease ledger.Lease) map[string]string {
	t.Helper()
	held, err := b.Holdings(t.Context(), lease)
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for currency, holding := range held {
		text[currency] = holding.Booked.String()
		if !holding.Pending.IsZero() {
			text[currency] += " but " + holding.Pending.String()
		}
	}
	return text
}

// What a venue's balances are compared with: all agents of the account, and no
// others.
func TestHoldingsOfAnAccount(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			first, second := acquire(t, b, trader("a", btc)), acquire(t, b, trader("b", eth))
			elsewhere := trader("c", btc)
			elsewhere.Account = "elsewhere"
			other := acquire(t, b, elsewhere)
			for lease, pair := range map[*ledger.Lease]string{&first: "BTC-USD", &second: "ETH-USD", &other: "BTC-USD"} {
				id := ordered(t, b, *lease, 1, pair, order.Buy, 20)
				bookFill(t, b, *lease, fillOf(*lease, id, "t-"+lease.Agent.Name, pair, order.Buy, 20, 10000, "0.01"))
			}
			want := map[string]string{"BTC": "0.002", "ETH": "0.02", "USD": decimal.RequireFromString("20000").Sub(decimal.RequireFromString("2.22")).String()}
			for _, lease := range []ledger.Lease{first, second} {
				if diff := cmp.Diff(want, holdings(t, b, lease)); diff != "" {
					t.Errorf("holdings of the account (-want +got):\n%s", diff)
				}
			}
			if got := holdings(t, b, other); !maps.Equal(got, map[string]string{"BTC": "0.002", "USD": "9999.79"}) {
				t.Errorf("holdings of the other account: %v", got)
			}
			// What an agent that is gone has left is still there.
			if err := b.Release(t.Context(), second.Agent.UID); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, holdings(t, b, first)); diff != "" {
				t.Errorf("after an agent was released (-want +got):\n%s", diff)
			}
		})
	}
}

// A fill of an order that has ended is booked and can be told from others.
func TestLateFillsAreMarked(t *testing.T) {
	for _, state := range []order.State{order.Rejected, order.Cancelled, order.Filled} {
		b, uri := openLedger(t)
		lease := acquire(t, b, trader("a", btc))
		id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
		bookFill(t, b, lease, fillOf(lease, id, "in time", "BTC-USD", order.Buy, 4, 10000, "0"))
		if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: id, State: state, MarketTime: noon}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := b.BookFill(t.Context(), lease, fillOf(lease, id, "late", "BTC-USD", order.Buy, 3, 10000, "0")); err != nil {
				t.Fatal(err)
			}
		}
		if got := query[string](t, b, `SELECT format('%s %s %s', state, filled_lots, late_lots) FROM trading.orders`); got != string(state)+" 7 3" {
			t.Errorf("the order is %s, want %s with 3 of 7 lots late", got, state)
		}
		reader, err := ledger.OpenReader(t.Context(), database.Fixed(uri), lease.Agent.UID)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(reader.Close)
		news, err := reader.LatestNews(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range news {
			if n.Topic == ledger.NewsFill && strings.Contains(string(n.Payload), `"late"`) != (n.Key == "late") {
				t.Errorf("the news of fill %q: %s", n.Key, n.Payload)
			}
		}
		checkBooks(t, b)
	}
}
