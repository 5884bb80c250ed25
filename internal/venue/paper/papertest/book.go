// Package papertest is the suite that every book of the paper venue must pass.
package papertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// Account that the fills of the suite are booked on: the book under test must be
// of this account.
const Account = "account-uid"

var accepted = time.Date(2026, 3, 2, 14, 30, 0, 50_000_000, time.UTC)

// Order is the nth order of the suite.
func Order(n int) paper.BookOrder {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "order %d", n))
	return paper.BookOrder{
		ID: id, VenueOrderID: "paper-" + id.String(), Pair: "BTC-USD", Side: order.Sell, Quantity: 9_000_000_000, Limit: 6_701_25,
		ReduceOnly: true, State: order.Acked, AcceptedAt: accepted.Add(time.Duration(n) * time.Second),
	}
}

// Fill is the nth part of an order's filling.
func Fill(o paper.BookOrder, part int, quantity market.Quantity) order.Fill {
	return order.Fill{
		Venue: paper.Name, Account: Account, TradeID: fmt.Sprintf("%s-%d", o.ID, part), OrderID: o.ID, Pair: o.Pair, Side: o.Side,
		Quantity: quantity, Price: o.Limit, Fee: -12_345_678, FeeCurrency: "USD", MarketTime: o.AcceptedAt.Add(time.Minute),
	}
}

// RunBook runs the suite. The function returns a new, empty book.
func RunBook(t *testing.T, empty func(t *testing.T) paper.Book) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, book paper.Book)
	}{
		{"an order is stored whole", storesWhole},
		{"an id is accepted once", acceptsOnce},
		{"a new order is asked for", asksForNewOrders},
		{"what is not there is not found", findsNothing},
		{"open orders come oldest first", opensInOrder},
		{"a trade is executed once", executesOnce},
		{"a final order stays", staysFinal},
		{"fills are paged", pagesFills},
		{"what makes no sense is refused", refuses},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, empty(t)) })
	}
}

func accept(t *testing.T, book paper.Book, o paper.BookOrder) {
	t.Helper()
	stored, known, err := book.Accept(t.Context(), o, nil)
	if err != nil || known || stored != o {
		t.Fatalf("Accept(%+v) = %+v, %v, %v", o, stored, known, err)
	}
}

func execute(t *testing.T, book paper.Book, o paper.BookOrder, fills ...order.Fill) {
	t.Helper()
	if err := book.Execute(t.Context(), o, fills); err != nil {
		t.Fatalf("Execute(%+v): %v", o, err)
	}
}

func expectOrder(t *testing.T, book paper.Book, want paper.BookOrder) {
	t.Helper()
	got, found, err := book.Order(t.Context(), want.ID)
	if err != nil || !found || got != want {
		t.Fatalf("Order = %+v, %v, %v; want %+v", got, found, err, want)
	}
}

func expectOpen(t *testing.T, book paper.Book, want ...paper.BookOrder) {
	t.Helper()
	got, err := book.Open(t.Context())
	if err != nil || len(got) != len(want) || (len(want) > 0 && !reflect.DeepEqual(got, want)) {
		t.Fatalf("Open = %+v, %v; want %+v", got, err, want)
	}
}

// all pages through every fill after a cursor.
func all(t *testing.T, book paper.Book, cursor string) ([]order.Fill, string) {
	t.Helper()
	var fills []order.Fill
	for {
		page, next, err := book.Fills(context.WithoutCancel(t.Context()), cursor)
		if err != nil {
			t.Fatalf("Fills(%q): %v", cursor, err)
		}
		if len(page) == 0 {
			if next != cursor {
				t.Fatalf("the cursor went from %q to %q without fills", cursor, next)
			}
			return fills, cursor
		}
		fills, cursor = append(fills, page...), next
	}
}

func expectFills(t *testing.T, book paper.Book, want ...order.Fill) {
	t.Helper()
	if got, _ := all(t, book, ""); len(got) != len(want) || (len(want) > 0 && !reflect.DeepEqual(got, want)) {
		t.Fatalf("fills are %+v; want %+v", got, want)
	}
}

func storesWhole(t *testing.T, book paper.Book) {
	t.Helper()
	o := Order(1)
	accept(t, book, o)
	expectOrder(t, book, o)
	o.Side, o.ID, o.ReduceOnly = order.Buy, uuid.NewSHA1(uuid.NameSpaceOID, []byte("other")), false
	accept(t, book, o)
	expectOrder(t, book, o)
}

func acceptsOnce(t *testing.T, book paper.Book) {
	t.Helper()
	o := Order(1)
	accept(t, book, o)
	other := o
	other.Quantity, other.AcceptedAt = 1, o.AcceptedAt.Add(time.Hour)
	stored, known, err := book.Accept(t.Context(), other, nil)
	if err != nil || !known || stored != o {
		t.Fatalf("the second Accept = %+v, %v, %v; want the first order", stored, known, err)
	}
	expectOpen(t, book, o)
}

func asksForNewOrders(t *testing.T, book paper.Book) {
	t.Helper()
	refusal, asked := errors.New("refused"), 0
	exit := func(err error) venue.Exit {
		return func(write func()) error {
			if asked++; err == nil {
				write()
			}
			return err
		}
	}
	o := Order(1)
	if _, known, err := book.Accept(t.Context(), o, exit(refusal)); !errors.Is(err, refusal) || known {
		t.Errorf("refused: known %v, %v", known, err)
	}
	expectOpen(t, book)
	if _, known, err := book.Accept(t.Context(), o, exit(nil)); err != nil || known {
		t.Errorf("let out: known %v, %v", known, err)
	}
	expectOpen(t, book, o)
	if _, known, err := book.Accept(t.Context(), o, exit(refusal)); err != nil || !known || asked != 2 {
		t.Errorf("a known order: known %v, %v, asked %d times", known, err, asked)
	}
}

func findsNothing(t *testing.T, book paper.Book) {
	t.Helper()
	if _, found, err := book.Order(t.Context(), Order(1).ID); found || err != nil {
		t.Fatalf("Order = %v, %v in an empty book", found, err)
	}
	expectOpen(t, book)
	expectFills(t, book)
}

func opensInOrder(t *testing.T, book paper.Book) {
	t.Helper()
	// Accepted in the order 3, 1, 2: that counts, not the market time.
	for _, n := range []int{3, 1, 2} {
		accept(t, book, Order(n))
	}
	expectOpen(t, book, Order(3), Order(1), Order(2))
	cancelled := Order(1)
	cancelled.State = order.Cancelled
	execute(t, book, cancelled)
	expectOpen(t, book, Order(3), Order(2))
	expectOrder(t, book, cancelled)
}

func executesOnce(t *testing.T, book paper.Book) {
	t.Helper()
	o := Order(1)
	accept(t, book, o)
	first := Fill(o, 1, 4_000_000_000)
	o.Filled = first.Quantity
	execute(t, book, o, first)
	expectOrder(t, book, o)
	again := o
	again.Filled = 2 * first.Quantity
	execute(t, book, again, first)
	expectOrder(t, book, o)
	expectFills(t, book, first)
	second := Fill(o, 2, 5_000_000_000)
	o.Filled, o.State = o.Quantity, order.Filled
	execute(t, book, o, second)
	expectOrder(t, book, o)
	expectOpen(t, book)
	expectFills(t, book, first, second)
}

func staysFinal(t *testing.T, book paper.Book) {
	t.Helper()
	for n, state := range []order.State{order.Cancelled, order.Filled} {
		o := Order(n)
		accept(t, book, o)
		o.State = state
		execute(t, book, o)
		late := o
		late.State, late.Filled = order.Acked, 1
		execute(t, book, late, Fill(o, 1, 1))
		expectOrder(t, book, o)
	}
	expectFills(t, book)
	expectOpen(t, book)
}

func pagesFills(t *testing.T, book paper.Book) {
	t.Helper()
	o := Order(1)
	o.Quantity = 1000
	accept(t, book, o)
	var want []order.Fill
	add := func(part int) {
		fill := Fill(o, part, 1)
		o.Filled++
		execute(t, book, o, fill)
		want = append(want, fill)
	}
	for part := range 300 {
		add(part)
	}
	expectFills(t, book, want...)
	_, cursor := all(t, book, "")
	add(300)
	if got, _ := all(t, book, cursor); len(got) != 1 || got[0] != want[300] {
		t.Fatalf("after the cursor come %+v; want the one new fill", got)
	}
}

func refuses(t *testing.T, book paper.Book) {
	t.Helper()
	if err := book.Execute(t.Context(), Order(1), nil); err == nil {
		t.Error("an order that was never accepted was executed")
	}
	for _, cursor := range []string{"x", "-1", "99"} {
		if _, _, err := book.Fills(t.Context(), cursor); err == nil {
			t.Errorf("the cursor %q, which the book never gave, was taken", cursor)
		}
	}
}
