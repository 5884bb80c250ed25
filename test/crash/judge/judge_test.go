package judge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
)

func number(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// story is an exchange and a ledger that agree: one order filled in two parts, one
// that rests, and one that was refused.
func story() (judge.Book, judge.Record) {
	fills := []judge.Fill{
		{TradeID: "t1", ClientID: "a", Pair: "BTC-USD", Side: "Buy", Quantity: number("0.4"), Price: number("100"), Fee: number("0.04"), FeeCurrency: "USD"},
		{TradeID: "t2", ClientID: "a", Pair: "BTC-USD", Side: "Buy", Quantity: number("0.6"), Price: number("101"), Fee: number("0.001"), FeeCurrency: "BTC"},
	}
	book := judge.Book{Fills: fills, Orders: []judge.Order{
		{ClientID: "a", VenueID: "1", Pair: "BTC-USD", Side: "Buy", Quantity: number("1"), Filled: number("1")},
		{ClientID: "b", VenueID: "2", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), Open: true},
	}}
	record := judge.Record{
		Fills: slices.Clone(fills),
		Intents: []judge.Intent{
			{ClientID: "a", Leg: "leg 0 of decision 1", Pair: "BTC-USD", Side: "Buy", Quantity: number("1"), Filled: number("1.0"), State: "Filled"},
			{ClientID: "b", Leg: "leg 0 of decision 2", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), State: "Acked"},
			{ClientID: "c", Leg: "leg 0 of decision 3", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), State: "Rejected"},
		},
		Opening:  map[string]decimal.Decimal{"USD": number("1000")},
		Holdings: map[string]decimal.Decimal{"USD": number("899.36"), "BTC": number("0.999")},
	}
	return book, record
}

func TestAgreement(t *testing.T) {
	book, record := story()
	if verdict := judge.Compare(book, record); !verdict.Clean() || verdict.Orders != 2 || verdict.Fills != 2 {
		t.Errorf("what agrees is judged\n%s", verdict.String())
	}
}

// Each of these is something that an agent could do wrong.
func TestDisagreement(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*judge.Book, *judge.Record)
		want  string
	}{
		"an order that was accepted twice": {func(b *judge.Book, _ *judge.Record) {
			again := b.Orders[1]
			again.VenueID = "3"
			b.Orders = append(b.Orders, again)
		}, "duplicate: order b was accepted as 2 and as 3"},
		"another order for the same leg": {func(b *judge.Book, r *judge.Record) {
			b.Orders = append(b.Orders, judge.Order{ClientID: "c", VenueID: "3", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), Open: true})
			r.Intents[2].Leg, r.Intents[2].State = r.Intents[1].Leg, "Acked"
		}, "duplicate: leg 0 of decision 2 led to the orders b and c"},
		"an order that nobody intended": {func(b *judge.Book, _ *judge.Record) {
			b.Orders = append(b.Orders, judge.Order{ClientID: "x", VenueID: "3", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), Open: true})
		}, "difference: order x (Sell 1 BTC-USD) was accepted and is not in the ledger"},
		"an order that was given up and came": {func(b *judge.Book, _ *judge.Record) {
			b.Orders = append(b.Orders, judge.Order{ClientID: "c", VenueID: "3", Pair: "BTC-USD", Side: "Sell", Quantity: number("1"), Open: true})
		}, "difference: order c was accepted and is Rejected in the ledger"},
		"an order whose outcome nobody looked up": {func(_ *judge.Book, r *judge.Record) { r.Intents[1].State = "Unknown" },
			"difference: order b was accepted and is Unknown in the ledger"},
		"an order that only the ledger knows": {func(_ *judge.Book, r *judge.Record) { r.Intents[2].State = "Unknown" },
			"difference: order c is Unknown in the ledger and was never accepted"},
		"an order that the ledger thinks is cancelled": {func(_ *judge.Book, r *judge.Record) { r.Intents[1].State = "Cancelled" },
			"difference: order b is Cancelled in the ledger, and that it is open at the exchange is true"},
		"an order of another size": {func(_ *judge.Book, r *judge.Record) { r.Intents[1].Quantity = number("2") },
			"difference: order b is Sell 1 BTC-USD at the exchange and Sell 2 BTC-USD in the ledger"},
		"a fill that was never booked": {func(_ *judge.Book, r *judge.Record) { r.Fills = r.Fills[:1] },
			"lost fill: trade t2 of order a: Buy 0.6 BTC-USD at 101"},
		"a fill that was booked twice": {func(_ *judge.Book, r *judge.Record) { r.Fills = append(r.Fills, r.Fills[0]) },
			"difference: the ledger has trade t1 twice"},
		"a fill that never was": {func(b *judge.Book, _ *judge.Record) { b.Fills = b.Fills[:1] },
			"difference: the ledger has trade t2, which never was"},
		"a fill with another fee": {func(_ *judge.Book, r *judge.Record) { r.Fills[0].Fee = number("0.05") },
			"difference: trade t1 is"},
		"a quantity filled that does not add up": {func(_ *judge.Book, r *judge.Record) { r.Intents[0].Filled = number("0.4") },
			"difference: of order a the exchange has filled 1 and the ledger 0.4"},
		"a position that is off": {func(_ *judge.Book, r *judge.Record) { r.Holdings["BTC"] = number("1") },
			"difference: by the exchange's executions there are 0.999 BTC, and by the ledger 1"},
		"cash that is off": {func(_ *judge.Book, r *judge.Record) { r.Holdings["USD"] = number("899.37") },
			"difference: by the exchange's executions there are 899.36 USD, and by the ledger 899.37"},
		"a holding out of nothing": {func(_ *judge.Book, r *judge.Record) { r.Holdings["ETH"] = number("1") },
			"difference: by the exchange's executions there are 0 ETH, and by the ledger 1"},
		"postings that do not add up": {func(_ *judge.Book, r *judge.Record) { r.Unbalanced = []string{"transaction 7 in USD: 1"} },
			"difference: postings do not sum to zero: transaction 7 in USD: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			book, record := story()
			test.spoil(&book, &record)
			verdict := judge.Compare(book, record)
			if verdict.Clean() || !strings.Contains(verdict.String(), test.want) {
				t.Errorf("judged\n%s\nwant\n%s", verdict.String(), test.want)
			}
		})
	}
}

// Where the exchange does not tell fees, more may be booked, and never less.
func TestFeesUntold(t *testing.T) {
	book, record := story()
	book.FeesUntold = true
	record.Fills[0].Fee, record.Holdings["USD"] = number("0.05"), number("899.35")
	if verdict := judge.Compare(book, record); !verdict.Clean() {
		t.Errorf("a fee that was booked with caution is judged\n%s", verdict.String())
	}
	record.Fills[0].Fee, record.Holdings["USD"] = number("0.03"), number("899.37")
	if verdict := judge.Compare(book, record); verdict.Clean() {
		t.Error("a fee that was booked too low is not found")
	}
}

// Exchanges count finer than ledgers do.
func TestFinestFees(t *testing.T) {
	book, record := story()
	book.Fills[0].Fee = number("0.040000005")
	if verdict := judge.Compare(book, record); !verdict.Clean() {
		t.Errorf("a rounded fee is judged\n%s", verdict.String())
	}
	book.Fills[0].Fee = number("0.04000001")
	if verdict := judge.Compare(book, record); verdict.Clean() {
		t.Error("a fee that is off is not found")
	}
}

func TestOutdated(t *testing.T) {
	taken := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	book, record := story()
	for i := range record.Intents {
		record.Intents[i].Epoch = 1
	}
	book.Orders[0].AcceptedAt, book.Orders[1].AcceptedAt = taken, taken.Add(time.Microsecond)
	if found := judge.Outdated(book, record, 2, taken); len(found) != 1 || found[0].ClientID != "b" {
		t.Errorf("outdated are %+v", found)
	}
	record.Intents[1].Epoch = 2
	if found := judge.Outdated(book, record, 2, taken); len(found) != 0 {
		t.Errorf("outdated are %+v", found)
	}
	record.Intents = record.Intents[:1]
	if found := judge.Outdated(book, record, 2, taken); len(found) != 1 {
		t.Errorf("of an order that the ledger does not know, outdated are %+v", found)
	}
}
