package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

func TestMigrateAtOnce(t *testing.T) {
	uri := server.Empty(t)
	if version, err := ledger.SchemaVersion(t.Context(), uri); err != nil || version != 0 {
		t.Fatalf("an empty database is at schema %d: %v", version, err)
	}
	if _, err := ledger.Open(t.Context(), uri); !errors.Is(err, ledger.ErrSchema) {
		t.Errorf("opening an empty database: %v, want ErrSchema", err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			version, err := ledger.Migrate(t.Context(), uri)
			if err != nil || version != ledger.Latest {
				t.Errorf("migrated to %d: %v", version, err)
			}
		})
	}
	wait.Wait()
	b := openAt(t, uri)
	migrations, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.migrations WHERE is_applied AND version_id > 0`); n != int64(len(migrations)) {
		t.Errorf("%d migrations were recorded, want %d", n, len(migrations))
	}
	acquire(t, b, trader("a", btc))
	if version, err := ledger.Migrate(t.Context(), uri); err != nil || version != ledger.Latest {
		t.Errorf("migrating once more: %d, %v", version, err)
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.agents`); n != 1 {
		t.Errorf("%d agents after migrating once more, want 1", n)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	b, uri := openLedger(t)
	if err := exec(t, b, `CREATE OR REPLACE VIEW trading.compatibility AS SELECT 9999::bigint AS oldest`,
		`INSERT INTO trading.migrations (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	version, migrateErr := ledger.Migrate(t.Context(), uri)
	_, openErr := ledger.Open(t.Context(), uri)
	for what, err := range map[string]error{"migrating": migrateErr, "opening": openErr} {
		if !errors.Is(err, ledger.ErrSchema) || !strings.Contains(err.Error(), "9999") || !strings.Contains(err.Error(), "newer release") {
			t.Errorf("%s a database of a newer release: %v", what, err)
		}
	}
	if version != 9999 {
		t.Errorf("the version is told as %d", version)
	}
}

// An agent that is started again after a newer operator has migrated its ledger works
// on, if the migrations say that it can.
func TestNewerSchemaThatServes(t *testing.T) {
	for name, test := range map[string]struct {
		says string
		want error
	}{
		"for programs such as this": {fmt.Sprintf(`CREATE OR REPLACE VIEW trading.compatibility AS SELECT %d::bigint AS oldest`, ledger.Latest), nil},
		"for newer programs only":   {`CREATE OR REPLACE VIEW trading.compatibility AS SELECT 9999::bigint AS oldest`, ledger.ErrSchema},
		"and it does not say":       {`DROP VIEW trading.compatibility`, ledger.ErrSchema},
	} {
		t.Run(name, func(t *testing.T) {
			b, uri := openLedger(t)
			if err := exec(t, b, test.says, `INSERT INTO trading.migrations (version_id, is_applied) VALUES (9999, true)`); err != nil {
				t.Fatal(err)
			}
			opened, err := ledger.Open(t.Context(), uri)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err != nil {
				return
			}
			t.Cleanup(opened.Close)
			lease := acquire(t, opened, trader("a", btc))
			ordered(t, opened, lease, 1, "BTC-USD", order.Buy, 10)
			if info, err := ledger.Info(t.Context(), uri); err != nil || info.Footing == nil {
				t.Errorf("what anchors are compared with is not told: %+v, %v", info, err)
			}
		})
	}
}

func TestEverythingIsExplained(t *testing.T) {
	b, _ := openLedger(t)
	silent := query[[]string](t, b, `
		SELECT coalesce(array_agg(what ORDER BY what), '{}') FROM (
			SELECT format('%s.%s', n.nspname, c.relname) AS what FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname IN ('trading', 'paper') AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL
			UNION ALL
			SELECT format('%s.%s.%s', n.nspname, c.relname, a.attname) FROM pg_class c
			JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
			WHERE n.nspname IN ('trading', 'paper') AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
				AND col_description(c.oid, a.attnum) IS NULL
			UNION ALL
			SELECT format('%s.%s()', n.nspname, p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname IN ('trading', 'paper') AND obj_description(p.oid, 'pg_proc') IS NULL) AS silent`)
	if len(silent) != 0 {
		t.Errorf("without a comment: %s", strings.Join(silent, ", "))
	}
	if n := query[int64](t, b, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'trading' AND c.relkind = 'r'`); n < 10 {
		t.Errorf("only %d tables were looked at", n)
	}
}

// What the program would never do is refused by the database as well.
func TestDatabaseRefuses(t *testing.T) {
	b, _ := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	acquire(t, b, trader("a", btc))
	lease.Epoch = 2
	id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
	bookFill(t, b, lease, fillOf(lease, id, "t1", "BTC-USD", order.Buy, 10, 100, "0.1"))
	if err := b.Decide(t.Context(), lease, decide(2, "BTC-USD", noon), nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	wished := intent(lease, 3, 0, "BTC-USD", order.Sell, 5)
	wished.ReduceOnly = true
	if err := b.Request(t.Context(), lease, ledger.Request{Key: ledger.RequestKey("k"), Pair: "BTC-USD"}, []order.Intent{wished}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	const posting = `INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, currency, amount)
		SELECT max(id), 'uid-a', 'assets:cash', `
	for name, statements := range map[string][]string{
		"money from nowhere":          {posting + `'USD', 1 FROM trading.transactions`},
		"one currency for another":    {posting + `'USD', 1 FROM trading.transactions`, posting + `'EUR', -1 FROM trading.transactions`},
		"a posting of nothing":        {posting + `'USD', 0 FROM trading.transactions`},
		"a posting of no number":      {posting + `'USD', 'NaN' FROM trading.transactions`},
		"a changed posting":           {`UPDATE trading.postings SET amount = amount * 2`},
		"a deleted posting":           {`DELETE FROM trading.postings`},
		"emptied postings":            {`TRUNCATE trading.postings`},
		"a changed balance":           {`UPDATE trading.balances SET amount = 0`},
		"a changed fill":              {`UPDATE trading.fills SET price = 1`},
		"a changed intent":            {`UPDATE trading.intents SET limit_ticks = 1`},
		"a deleted intent":            {`DELETE FROM trading.intents`},
		"a changed request":           {`UPDATE trading.requests SET pair = 'ETH-USD'`},
		"a deleted request":           {`DELETE FROM trading.requests`},
		"a request in the clear":      {`INSERT INTO trading.requests (agent_uid, key, pair, epoch, intents) SELECT agent_uid, 'k', pair, epoch, intents FROM trading.requests`},
		"a request for nothing":       {`INSERT INTO trading.requests (agent_uid, key, pair, epoch, intents) SELECT agent_uid, reverse(key), pair, epoch, '{}' FROM trading.requests`},
		"a changed decision":          {`UPDATE trading.decisions SET action = 'Sell'`},
		"a filled order reopened":     {`UPDATE trading.orders SET state = 'Acked'`},
		"a filled order cancelled":    {`UPDATE trading.orders SET state = 'Cancelled'`},
		"a fill taken back":           {`UPDATE trading.orders SET filled = 0, filled_lots = 0`},
		"a deleted order":             {`DELETE FROM trading.orders`},
		"a state that does not exist": {`UPDATE trading.orders SET state = 'Lost'`},
		"an epoch that goes back":     {`UPDATE trading.leases SET epoch = 1`},
		"an epoch that stands":        {`UPDATE trading.leases SET holder = 'me'`},
		"a second opening":            {`INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time) VALUES ('uid-a', 'Opening', 2, now())`},
		"a trade booked twice": {`INSERT INTO trading.fills (venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price,
			value, fee, fee_currency, realised, quantity_lots, price_ticks, transaction_id, market_time)
			SELECT venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price, value, fee, fee_currency, realised,
			quantity_lots, price_ticks, transaction_id, market_time FROM trading.fills`},
	} {
		if err := exec(t, b, statements...); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	checkBooks(t, b)
}

func TestInfo(t *testing.T) {
	info, err := ledger.Info(t.Context(), server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.SchemaVersion != ledger.Latest || info.Latest != ledger.Latest || info.ReadOnly {
		t.Errorf("%+v", info)
	}
	if !strings.Contains(info.ServerVersion, ".") || strings.ContainsAny(info.ServerVersion, " (") {
		t.Errorf("server version %q", info.ServerVersion)
	}
	if !info.Durable() {
		t.Errorf("not durable because: %q", info.NotDurable())
	}
	if off := (ledger.ServerInfo{Fsync: "off", FullPageWrites: "off", SynchronousCommit: "on"}); off.NotDurable() != "fsync is off, full_page_writes is off" {
		t.Errorf("not durable because: %q", off.NotDurable())
	}
	empty, err := ledger.Info(t.Context(), server.Empty(t)+"&options=-c%20synchronous_commit%3Doff%20-c%20default_transaction_read_only%3Don")
	if err != nil {
		t.Fatal(err)
	}
	if empty.SchemaVersion != 0 || !strings.Contains(empty.NotDurable(), "synchronous_commit is off") || !empty.ReadOnly {
		t.Errorf("%+v", empty)
	}
	if safe := (ledger.ServerInfo{Fsync: "on", FullPageWrites: "on", SynchronousCommit: "remote_apply"}); !safe.Durable() {
		t.Errorf("not durable because: %q", safe.NotDurable())
	}
}

func TestReleaseByURI(t *testing.T) {
	if err := ledger.Release(t.Context(), server.Empty(t), "uid-a"); err != nil {
		t.Errorf("releasing in a database without a ledger: %v", err)
	}
	b, uri := openLedger(t)
	acquire(t, b, trader("a", btc))
	if err := ledger.Release(t.Context(), uri, "uid-a"); err != nil {
		t.Fatal(err)
	}
	acquire(t, b, trader("b", btc))
}

// A second Acquire waits for a write that has begun, and the write that comes
// after it is fenced: nothing falls between.
func TestAcquireWaitsForWriters(t *testing.T) {
	b, _ := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	locked, release := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		err := b.Database().Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT 1 FROM trading.leases FOR NO KEY UPDATE`)
			close(locked)
			<-release
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-locked
	acquired := make(chan ledger.Lease)
	wait.Go(func() {
		next, err := b.Acquire(t.Context(), trader("a", btc))
		if err != nil {
			t.Error(err)
		}
		acquired <- next
	})
	postgres.Eventually(t, 10*time.Second, "the second Acquire waits for the lock", func() bool {
		return query[int64](t, b, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) == 1
	})
	select {
	case <-acquired:
		t.Fatal("a new epoch began while a write of the old one was under way")
	default:
	}
	close(release)
	if next := <-acquired; next.Epoch != lease.Epoch+1 {
		t.Errorf("epoch %d followed %d", next.Epoch, lease.Epoch)
	}
	wait.Wait()
	if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("%v, want ErrFenced", err)
	}
}
