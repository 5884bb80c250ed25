package paper_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper/papertest"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// migrated is a pool of connections to a database of a server of its own.
func migrated(t *testing.T) (*postgres.Server, string, *database.Pool) {
	t.Helper()
	server, err := postgres.Start(postgres.Options{NoSync: true, Migrate: func(ctx context.Context, uri string) error {
		_, err := ledger.Migrate(ctx, uri)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	uri := server.Database(t)
	return server, uri, connect(t, uri)
}

func connect(t *testing.T, uri string) *database.Pool {
	t.Helper()
	pool, err := database.Open(t.Context(), database.Fixed(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestPostgresBook(t *testing.T) {
	server, uri, pool := migrated(t)
	books := 0
	papertest.RunBook(t, func(*testing.T) paper.Book {
		books++
		return paper.NewPostgresBook(pool, papertest.Account, fmt.Sprint("agent-", books))
	})

	t.Run("books are apart", func(t *testing.T) {
		first := paper.NewPostgresBook(pool, papertest.Account, "first")
		for _, other := range []*paper.PostgresBook{
			paper.NewPostgresBook(pool, papertest.Account, "second"), paper.NewPostgresBook(pool, "another account", "first"),
		} {
			o := papertest.Order(1)
			if _, _, err := first.Accept(t.Context(), o, nil); err != nil {
				t.Fatal(err)
			}
			if _, found, err := other.Order(t.Context(), o.ID); err != nil || found {
				t.Errorf("another book's order: found %t, error %v", found, err)
			}
			if open, err := other.Open(t.Context()); err != nil || len(open) != 0 {
				t.Errorf("another book's open orders: %v, error %v", open, err)
			}
		}
	})

	t.Run("a killed agent finds its orders again", func(t *testing.T) {
		o := papertest.Order(1)
		fill := papertest.Fill(o, 0, 4)
		before := paper.NewPostgresBook(connect(t, uri), papertest.Account, "killed")
		if _, _, err := before.Accept(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
		o.Filled = 4
		if err := before.Execute(t.Context(), o, []order.Fill{fill}); err != nil {
			t.Fatal(err)
		}
		after := paper.NewPostgresBook(connect(t, uri), papertest.Account, "killed")
		open, err := after.Open(t.Context())
		if err != nil || len(open) != 1 || open[0] != o {
			t.Errorf("open orders %+v, error %v; want %+v", open, err, o)
		}
		fills, _, err := after.Fills(t.Context(), "")
		if err != nil || len(fills) != 1 || fills[0] != fill {
			t.Errorf("fills %+v, error %v; want %+v", fills, err, fill)
		}
	})

	t.Run("what comes late is refused", func(t *testing.T) {
		book := paper.NewPostgresBook(pool, papertest.Account, "late")
		for n, test := range []struct {
			notAfter time.Time
			want     error
		}{
			{time.Time{}, nil}, {time.Now().Add(time.Hour), nil}, {time.Now().Add(-time.Second), paper.ErrTooLate},
		} {
			o := papertest.Order(n + 1)
			o.NotAfter = test.notAfter
			if _, _, err := book.Accept(t.Context(), o, nil); !errors.Is(err, test.want) {
				t.Errorf("not after %s: %v", test.notAfter, err)
			}
			if _, found, err := book.Order(t.Context(), o.ID); err != nil || found != (test.want == nil) {
				t.Errorf("not after %s: found %v, %v", test.notAfter, found, err)
			}
		}
		// An order that the book knows is told of at any time.
		again := papertest.Order(1)
		again.NotAfter = time.Now().Add(-time.Hour)
		if _, known, err := book.Accept(t.Context(), again, nil); err != nil || !known {
			t.Errorf("a repeat: known %v, %v", known, err)
		}
	})
	t.Run("many at once leave no gap", executeAtOnce(pool))
	t.Run("it needs nothing of the ledger", withoutLedger(server))
	t.Run("the database is gone", databaseGone(server, uri))
}

// executeAtOnce reads pages while fills are made by many: a cursor must never
// pass a fill that is committed later.
func executeAtOnce(pool *database.Pool) func(*testing.T) {
	return func(t *testing.T) {
		const writers, each = 4, 15
		var wait sync.WaitGroup
		for w := range writers {
			wait.Go(func() {
				book := paper.NewPostgresBook(pool, papertest.Account, "busy")
				for i := range each {
					o := papertest.Order(w*each + i)
					if _, _, err := book.Accept(t.Context(), o, nil); err != nil {
						t.Error(err)
					}
					o.State, o.Filled = order.Filled, o.Quantity
					if err := book.Execute(t.Context(), o, []order.Fill{papertest.Fill(o, 0, 1), papertest.Fill(o, 1, o.Quantity-1)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		written := make(chan struct{})
		go func() {
			wait.Wait()
			close(written)
		}()
		book, cursor, seen := paper.NewPostgresBook(pool, papertest.Account, "busy"), "", map[string]bool{}
		for done := false; ; {
			page, next, err := book.Fills(t.Context(), cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, fill := range page {
				if seen[fill.TradeID] {
					t.Errorf("trade %s came twice", fill.TradeID)
				}
				seen[fill.TradeID] = true
			}
			if len(page) == 0 && done {
				break
			}
			cursor = next
			select {
			case <-written:
				done = true
			default:
			}
		}
		if len(seen) != writers*each*2 {
			t.Errorf("%d fills were seen, want %d", len(seen), writers*each*2)
		}
	}
}

// withoutLedger drops the ledger and trades on.
func withoutLedger(server *postgres.Server) func(*testing.T) {
	return func(t *testing.T) {
		pool := connect(t, server.Database(t))
		err := pool.Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `DROP SCHEMA trading CASCADE`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		book := paper.NewPostgresBook(pool, papertest.Account, "alone")
		o := papertest.Order(1)
		if _, _, err := book.Accept(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
		if err := book.Execute(t.Context(), o, []order.Fill{papertest.Fill(o, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		if fills, _, err := book.Fills(t.Context(), ""); err != nil || len(fills) != 1 {
			t.Errorf("%d fills, error %v; want 1", len(fills), err)
		}
	}
}

func databaseGone(server *postgres.Server, uri string) func(*testing.T) {
	return func(t *testing.T) {
		pool := connect(t, uri)
		book := paper.NewPostgresBook(pool, papertest.Account, "gone")
		if _, _, err := book.Accept(t.Context(), papertest.Order(1), nil); err != nil {
			t.Fatal(err)
		}
		if err := server.Stop(true); err != nil {
			t.Fatal(err)
		}
		_, _, acceptErr := book.Accept(t.Context(), papertest.Order(2), nil)
		_, openErr := book.Open(t.Context())
		for call, err := range map[string]error{
			"Accept": acceptErr, "Open": openErr, "Execute": book.Execute(t.Context(), papertest.Order(1), nil),
		} {
			if !errors.Is(err, ledger.ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnavailable", call, err)
			}
		}
		if err := server.StartAgain(); err != nil {
			t.Fatal(err)
		}
		if open, err := book.Open(t.Context()); err != nil || len(open) != 1 {
			t.Errorf("after the crash %d orders are open, error %v; want 1", len(open), err)
		}
	}
}
