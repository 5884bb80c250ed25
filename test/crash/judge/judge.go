// Package judge holds what a ledger says against what an exchange says. The
// exchange is right.
package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Order is an order that the exchange has accepted.
type Order struct {
	// ClientID is the id that came with it, VenueID the exchange's own.
	ClientID, VenueID string
	// Pair in canonical spelling, Side Buy or Sell.
	Pair, Side       string
	Quantity, Filled decimal.Decimal
	Open             bool
	// AcceptedAt is when it entered the book, in real time.
	AcceptedAt time.Time
}

// Fill is an execution. Fee is positive where it was paid, in FeeCurrency.
type Fill struct {
	TradeID, ClientID    string
	Pair, Side           string
	Quantity, Price, Fee decimal.Decimal
	FeeCurrency          string
}

// Book is everything that the exchange has ever accepted and executed. An order
// that was accepted twice is in it twice.
type Book struct {
	Orders []Order
	Fills  []Fill
	// FeesUntold says that the exchange does not tell the fees of its executions:
	// the ledger must have booked at least as much.
	FeesUntold bool
}

// Intent is an order in the ledger with what the ledger says became of it.
type Intent struct {
	ClientID string
	// Leg names the decision and which of its orders this is, whatever replaced it.
	Leg              string
	Epoch            int64
	Pair, Side       string
	Quantity, Filled decimal.Decimal
	State            string
}

// Record is everything that the ledger says.
type Record struct {
	Intents []Intent
	Fills   []Fill
	// Opening is what was there before the first fill and Holdings what is there
	// now, cash and positions together, by currency.
	Opening, Holdings map[string]decimal.Decimal
	// Unbalanced names every transaction and currency whose postings do not sum to
	// zero.
	Unbalanced []string
}

// Verdict is how the two differ.
type Verdict struct {
	// Orders that the exchange accepted.
	Orders, Fills int
	// Duplicates are accepted orders beyond the first of one client id or of one leg
	// of a decision, LostFills executions that the ledger does not have.
	Duplicates, LostFills []string
	// Differences are everything else in which the two do not agree.
	Differences []string
}

// Outdated are the orders of epochs before the given one that were accepted after
// a time at which the epoch was in force.
func Outdated(book Book, record Record, epoch int64, since time.Time) []Order {
	epochs := map[string]int64{}
	for i := range record.Intents {
		epochs[record.Intents[i].ClientID] = record.Intents[i].Epoch
	}
	return slices.DeleteFunc(slices.Clone(book.Orders), func(o Order) bool {
		of, known := epochs[o.ClientID]
		return (known && of >= epoch) || !o.AcceptedAt.After(since)
	})
}

// Clean reports whether the two agree.
func (v *Verdict) Clean() bool {
	return len(v.Duplicates) == 0 && len(v.LostFills) == 0 && len(v.Differences) == 0
}

// String lists what is wrong.
func (v *Verdict) String() string {
	var lines []string
	for _, group := range []struct {
		what string
		list []string
	}{{"duplicate", v.Duplicates}, {"lost fill", v.LostFills}, {"difference", v.Differences}} {
		for _, entry := range group.list {
			lines = append(lines, group.what+": "+entry)
		}
	}
	return strings.Join(lines, "\n")
}

func (v *Verdict) differ(format string, values ...any) {
	v.Differences = append(v.Differences, fmt.Sprintf(format, values...))
}

// finest is the least amount that a ledger counts.
var finest = decimal.New(1, -8)

// Compare holds the ledger against the exchange.
func Compare(book Book, record Record) Verdict {
	verdict := Verdict{Orders: len(book.Orders), Fills: len(book.Fills)}
	book.Fills = slices.Clone(book.Fills)
	intents := map[string]*Intent{}
	for i := range record.Intents {
		intents[record.Intents[i].ClientID] = &record.Intents[i]
	}
	verdict.orders(book.Orders, intents)
	verdict.fills(&book, record.Fills)
	verdict.sums(book.Fills, record)
	for _, entry := range record.Unbalanced {
		verdict.differ("postings do not sum to zero: %s", entry)
	}
	slices.Sort(verdict.Differences)
	return verdict
}

// orders finds what was accepted twice, what the ledger never intended, and where
// the two tell another story of an order.
func (v *Verdict) orders(accepted []Order, intents map[string]*Intent) {
	byID, byLeg := map[string]*Order{}, map[string]string{}
	for i := range accepted {
		order := &accepted[i]
		if first, again := byID[order.ClientID]; again {
			v.Duplicates = append(v.Duplicates, fmt.Sprintf("order %s was accepted as %s and as %s", order.ClientID, first.VenueID, order.VenueID))
			continue
		}
		byID[order.ClientID] = order
		intent, known := intents[order.ClientID]
		if !known {
			v.differ("order %s (%s %s %s) was accepted and is not in the ledger", order.ClientID, order.Side, order.Quantity, order.Pair)
			continue
		}
		if first, again := byLeg[intent.Leg]; again {
			v.Duplicates = append(v.Duplicates, fmt.Sprintf("%s led to the orders %s and %s", intent.Leg, first, order.ClientID))
		}
		byLeg[intent.Leg] = order.ClientID
		v.order(order, intent)
	}
	for id, intent := range intents {
		if _, ok := byID[id]; !ok && intent.State != "Rejected" {
			v.differ("order %s is %s in the ledger and was never accepted", id, intent.State)
		}
	}
}

func (v *Verdict) order(order *Order, intent *Intent) {
	if order.Pair != intent.Pair || order.Side != intent.Side || !order.Quantity.Equal(intent.Quantity) {
		v.differ("order %s is %s %s %s at the exchange and %s %s %s in the ledger", order.ClientID,
			order.Side, order.Quantity, order.Pair, intent.Side, intent.Quantity, intent.Pair)
	}
	if !order.Filled.Equal(intent.Filled) {
		v.differ("of order %s the exchange has filled %s and the ledger %s", order.ClientID, order.Filled, intent.Filled)
	}
	open := intent.State == "Acked"
	if !open && intent.State != "Filled" && intent.State != "Cancelled" {
		v.differ("order %s was accepted and is %s in the ledger", order.ClientID, intent.State)
	} else if open != order.Open {
		v.differ("order %s is %s in the ledger, and that it is open at the exchange is %t", order.ClientID, intent.State, order.Open)
	}
}

// fills finds executions that only one of the two has, and those of which they
// tell different things. A fee that is finer than the ledger counts, or that the
// exchange does not tell, becomes what was booked, if that is not too little.
func (v *Verdict) fills(book *Book, booked []Fill) {
	known := map[string]*Fill{}
	for i := range booked {
		if _, twice := known[booked[i].TradeID]; twice {
			v.differ("the ledger has trade %s twice", booked[i].TradeID)
		}
		known[booked[i].TradeID] = &booked[i]
	}
	for i := range book.Fills {
		fill := &book.Fills[i]
		got, ok := known[fill.TradeID]
		if !ok {
			v.LostFills = append(v.LostFills, fmt.Sprintf("trade %s of order %s: %s %s %s at %s", fill.TradeID, fill.ClientID, fill.Side, fill.Quantity, fill.Pair, fill.Price))
			continue
		}
		delete(known, fill.TradeID)
		if got.Fee.Sub(fill.Fee).Abs().LessThan(finest) || (book.FeesUntold && got.Fee.GreaterThanOrEqual(fill.Fee)) {
			fill.Fee = got.Fee
		}
		if got.ClientID != fill.ClientID || got.Pair != fill.Pair || got.Side != fill.Side || !got.Quantity.Equal(fill.Quantity) ||
			!got.Price.Equal(fill.Price) || !got.Fee.Equal(fill.Fee) || got.FeeCurrency != fill.FeeCurrency {
			v.differ("trade %s is %+v at the exchange and %+v in the ledger", fill.TradeID, *fill, *got)
		}
	}
	for id := range known {
		v.differ("the ledger has trade %s, which never was", id)
	}
}

// sums holds positions and cash against what the exchange's executions come to.
func (v *Verdict) sums(executed []Fill, record Record) {
	want := map[string]decimal.Decimal{}
	add := func(currency string, amount decimal.Decimal) { want[currency] = want[currency].Add(amount) }
	for currency, amount := range record.Opening {
		add(currency, amount)
	}
	for _, fill := range executed {
		quantity := fill.Quantity
		if fill.Side == "Sell" {
			quantity = quantity.Neg()
		}
		base, quote, _ := strings.Cut(fill.Pair, "-")
		add(base, quantity)
		add(quote, quantity.Mul(fill.Price).Neg())
		add(fill.FeeCurrency, fill.Fee.Neg())
	}
	for currency := range record.Holdings {
		add(currency, decimal.Zero)
	}
	for currency, amount := range want {
		if got := record.Holdings[currency]; !got.Equal(amount) {
			v.differ("by the exchange's executions there are %s %s, and by the ledger %s", amount, currency, got)
		}
	}
}
