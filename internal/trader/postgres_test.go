package trader

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// life is one process of an agent on a real database.
type life struct {
	shell *Shell
	end   func() error
}

// live starts a process on the database.
func live(t *testing.T, uri string, config Config, account paper.Config, bars []market.PairBar) *life {
	t.Helper()
	book, err := ledger.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	simulated, err := paper.New(paper.NewPostgresBook(book.Database(), account.Account, config.Agent.UID), account)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := NewShell(config, Options{Ledger: book, Venue: simulated, Feed: func(resume map[string]time.Time) (market.Feed, error) {
		feed := record(bars, resume)
		feed.pace = 2 * time.Millisecond
		return feed, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last status: %+v", shell.Status())
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- shell.Run(ctx) }()
	return &life{shell: shell, end: func() error {
		cancel()
		err := <-ended
		book.Close()
		return err
	}}
}

func (l *life) until(t *testing.T, what string, wanted func(*Status) bool) *Status {
	t.Helper()
	postgres.Eventually(t, time.Minute, what, func() bool { return wanted(l.shell.Status()) })
	return l.shell.Status()
}

// On a real database that dies while the agent trades, and through restarts of
// the agent: ledger, paper book and status agree to the last digit.
func TestOnPostgres(t *testing.T) {
	server, err := postgres.Start(postgres.Options{Migrate: func(ctx context.Context, uri string) error {
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
	config, account := setup(t, "AAA", "BBB")
	// More bars than the test can see, however slow the database is.
	bars := walk(17, 50_000, config.Agent.Instruments)

	first := live(t, uri, config, account, bars)
	before := first.until(t, "the first trades", func(s *Status) bool { return s.Fills > 3 })
	if err := server.Stop(true); err != nil {
		t.Fatal(err)
	}
	first.until(t, "that the outage is noticed", func(s *Status) bool { return !isEnabled(s) })
	if err := server.StartAgain(); err != nil {
		t.Fatal(err)
	}
	first.until(t, "trading after the outage", func(s *Status) bool { return isEnabled(s) && s.Ready() && s.Fills > before.Fills })
	if err := first.end(); err != nil {
		t.Fatal(err)
	}

	second := live(t, uri, config, account, bars)
	between := second.until(t, "agreement after the restart", func(s *Status) bool { return s.Ready() })
	second.until(t, "trading after the restart", func(s *Status) bool { return s.Fills > between.Fills+3 })
	if err := second.end(); err != nil {
		t.Fatal(err)
	}
	// Run has returned between two turns, so the status is the last word.
	status := second.shell.Status()
	if status.Epoch != before.Epoch+1 || between.Fills <= before.Fills {
		t.Errorf("after the restart: %+v, before %+v", between, before)
	}
	agree(t, uri, config, account, status)
}

// agree compares paper book, ledger and status.
func agree(t *testing.T, uri string, config Config, account paper.Config, status *Status) {
	t.Helper()
	opened, err := ledger.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	book := paper.NewPostgresBook(opened.Database(), account.Account, config.Agent.UID)
	held, lots := map[string]market.Quantity{}, map[string]market.Quantity{}
	count := int64(0)
	for cursor := ""; ; {
		fills, next, err := book.Fills(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(fills) == 0 {
			break
		}
		for _, fill := range fills {
			held[fill.Pair] += fill.Quantity * market.Quantity(fill.Side)
			count++
		}
		cursor = next
	}
	maps.DeleteFunc(held, func(_ string, q market.Quantity) bool { return q == 0 })
	for _, position := range status.Positions {
		lots[position.Instrument.Pair] = position.Quantity
	}
	if !maps.Equal(held, lots) || count != status.Fills {
		t.Errorf("the book holds %v after %d fills, the agent %v after %d", held, count, lots, status.Fills)
	}
	var own, fills, orders, twice string
	err = opened.Database().Read(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT trading.equity($1)::text, (SELECT count(*) FROM trading.fills)::text,
			(SELECT count(*) FROM paper.orders p LEFT JOIN trading.orders o ON o.id = p.id WHERE o.id IS NULL)::text,
			(SELECT count(*) FROM trading.orders o JOIN paper.orders p ON p.id = o.id WHERE o.state = $2)::text`,
			config.Agent.UID, string(order.Rejected)).Scan(&own, &fills, &orders, &twice)
	})
	if err != nil {
		t.Fatal(err)
	}
	equity, err := amountOf(own)
	if err != nil || equity != status.Equity {
		t.Errorf("the ledger's own equity is %s (%v), the agent's %s", own, err, status.Equity)
	}
	if orders != "0" || twice != "0" {
		t.Errorf("%s orders are unknown to the ledger, %s are rejected there and accepted at the venue", orders, twice)
	}
}
