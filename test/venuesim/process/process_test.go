package process_test

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/process"
)

// What a test does to an exchange in another process is in its book.
func TestSimulator(t *testing.T) {
	running, err := process.Start(t.Context(), "coinbase")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	if running.Venue("kraken") != nil {
		t.Error("a venue runs that was not asked for")
	}
	v := running.Venue("coinbase")
	one := decimal.NewFromInt(1)
	for i, step := range []func() error{
		func() error {
			return v.PutProduct(t.Context(), exchange.Product{Symbol: "BTC-USD", Base: "BTC", Quote: "USD", Tick: one, Lot: decimal.New(1, -3)})
		},
		func() error { return v.PutKey(t.Context(), exchange.Key{Name: "k", Account: "a"}) },
		func() error { return v.SetBalance(t.Context(), "a", "USD", decimal.NewFromInt(1000)) },
		func() error { return v.SetPrice(t.Context(), "BTC-USD", decimal.NewFromInt(100)) },
		func() error {
			return v.Behave(t.Context(), exchange.Behaviour{TradeLag: exchange.Duration(time.Second)})
		},
		func() error { return v.SetFaults(t.Context(), exchange.Fault{Kind: exchange.ResetBefore}) },
		func() error {
			return v.Place(t.Context(), exchange.Placement{Account: "a", ClientID: "c", Symbol: "BTC-USD", Side: exchange.Buy, Quantity: one, Limit: decimal.NewFromInt(99)})
		},
		func() error { return v.Advance(t.Context(), time.Hour) },
		func() error { return v.Withhold(t.Context(), "none") },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	book, err := v.Book(t.Context())
	if err != nil || len(book.Orders) != 1 {
		t.Fatalf("the book is %+v, %v", book, err)
	}
	id := book.Orders[0].ID
	if err := v.Fill(t.Context(), id, decimal.New(4, -1), decimal.NewFromInt(99)); err != nil {
		t.Fatal(err)
	}
	if err := v.End(t.Context(), id, exchange.Cancelled); err != nil {
		t.Fatal(err)
	}
	if err := v.End(t.Context(), id, exchange.Cancelled); err == nil {
		t.Error("an order ends twice")
	}
	if book, err = v.Book(t.Context()); err != nil || len(book.Trades) != 1 || book.Orders[0].Status != exchange.Cancelled || book.Balances["a"]["BTC"].Total.String() != "0.4" {
		t.Errorf("the book is %+v, %v", book, err)
	}
	if err := v.Delist(t.Context(), "BTC-USD"); err != nil {
		t.Error(err)
	}
	if seen, err := v.Requests(t.Context()); err != nil || len(seen) != 0 {
		t.Errorf("seen were %+v, %v", seen, err)
	}
}
