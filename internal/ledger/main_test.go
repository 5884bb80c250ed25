package ledger_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
	"go.uber.org/goleak"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

var server *postgres.Server

func TestMain(m *testing.M) {
	code := postgres.Run(m, postgres.Options{
		Migrate: func(ctx context.Context, uri string) error {
			_, err := ledger.Migrate(ctx, uri)
			return err
		},
		NoSync: true,
	}, func(s *postgres.Server) { server = s })
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines were left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// book is what both ledgers can do.
type book interface {
	ledger.Ledger
	Intend(ctx context.Context, lease ledger.Lease, intents []order.Intent) error
	Release(ctx context.Context, agentUID string) error
}

// ledgers are the kinds that must pass the same tests: in memory, in PostgreSQL as
// the owner of the schema, and as a role that may only add to journals.
var ledgers = map[string]func(*testing.T) book{"Memory": inMemory, "Postgres": inPostgres, "PostgresAsAgents": inPostgresAsAgents}

func inMemory(*testing.T) book { return ledger.NewMemory() }

// inPostgres is a ledger whose books are checked after the test.
func inPostgres(t *testing.T) book {
	t.Helper()
	b, uri := openLedger(t)
	t.Cleanup(func() {
		checkBooks(t, b)
		verify(t, uri)
	})
	return b
}

// openLedger is a ledger in a database of its own.
func openLedger(tb testing.TB) (*ledger.Postgres, string) {
	tb.Helper()
	uri := server.Database(tb)
	return openAt(tb, uri), uri
}

func openAt(tb testing.TB, uri string) *ledger.Postgres {
	tb.Helper()
	b, err := ledger.Open(tb.Context(), uri)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

// postgresOf is the ledger in PostgreSQL behind a book; nil if it is in memory.
func postgresOf(b book) *ledger.Postgres {
	switch kept := b.(type) {
	case *ledger.Postgres:
		return kept
	case restricted:
		return kept.owner
	}
	return nil
}

// query reads one value past the ledger, even when the test has ended.
func query[T any](tb testing.TB, b book, statement string, args ...any) T {
	tb.Helper()
	var value T
	err := postgresOf(b).Database().Read(context.WithoutCancel(tb.Context()), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, statement, args...).Scan(&value)
	})
	if err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
	return value
}

// exec writes past the ledger.
func exec(tb testing.TB, b book, statements ...string) error {
	tb.Helper()
	return postgresOf(b).Database().Write(tb.Context(), func(ctx context.Context, tx pgx.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkBooks looks for what must never be in the database.
func checkBooks(tb testing.TB, b book) {
	tb.Helper()
	for what, statement := range map[string]string{
		"transactions that do not sum to zero": `SELECT count(*) FROM (SELECT 1 FROM trading.postings
			GROUP BY transaction_id, agent_uid, currency HAVING sum(amount) <> 0) x`,
		"balances that are not their postings' sum": `SELECT count(*) FROM trading.balances b FULL JOIN (
			SELECT agent_uid, ledger_account, pair, currency, sum(amount) AS amount FROM trading.postings GROUP BY 1, 2, 3, 4) p
			USING (agent_uid, ledger_account, pair, currency) WHERE b.amount IS DISTINCT FROM p.amount`,
		"orders whose filled quantity is not their fills' sum": `SELECT count(*) FROM trading.orders o
			WHERE o.filled <> coalesce((SELECT sum(quantity) FROM trading.fills f WHERE f.order_id = o.id), 0)`,
		"positions without a claim": `SELECT count(*) FROM trading.positions p LEFT JOIN trading.claims c
			ON c.account = p.account AND c.pair = p.pair AND c.agent_uid = p.agent_uid WHERE c.pair IS NULL`,
		"claims whose opening contradicts their position": `SELECT count(*) FROM trading.claims c LEFT JOIN trading.positions p
			ON c.account = p.account AND c.pair = p.pair AND c.agent_uid = p.agent_uid WHERE (c.opened_at IS NULL) <> (p.pair IS NULL)`,
	} {
		if n := query[int64](tb, b, statement); n != 0 {
			tb.Errorf("%d %s", n, what)
		}
	}
}

var (
	btc  = instrument("BTC", "USD", "0.01", "0.0001")
	eth  = instrument("ETH", "USD", "0.01", "0.001")
	noon = time.Date(2018, 3, 5, 12, 0, 0, 0, time.UTC)
)

func instrument(base, quote, tick, lot string) market.Instrument {
	i, err := market.NewInstrument(base, quote, decimal.RequireFromString(tick), decimal.RequireFromString(lot), decimal.Zero)
	utilruntime.Must(err)
	return i
}

func money(amount string) market.Money {
	m, err := market.MoneyOf(decimal.RequireFromString(amount))
	utilruntime.Must(err)
	return m
}

// trader is an agent of the tests.
func trader(name string, instruments ...market.Instrument) ledger.Agent {
	return ledger.Agent{
		UID: "uid-" + name, Namespace: "desk", Name: name, Account: "account", Venue: "Paper", Currency: "USD",
		Balance: money("10000"), Instruments: instruments, Holder: "pod-" + name,
	}
}

func acquire(tb testing.TB, b book, agent ledger.Agent) ledger.Lease {
	tb.Helper()
	lease, err := b.Acquire(tb.Context(), agent)
	if err != nil {
		tb.Fatal(err)
	}
	return lease
}

func load(tb testing.TB, b book, lease ledger.Lease) ledger.Snapshot {
	tb.Helper()
	s, err := b.Load(tb.Context(), lease)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// orderID is deterministic, as the traders' are.
func orderID(lease ledger.Lease, sequence int64, leg int32) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%d/%d", lease.Agent.UID, sequence, leg))
}

func decide(sequence int64, pair string, barEnd time.Time) ledger.Decision {
	return ledger.Decision{
		Sequence: sequence, Pair: pair, BarEnd: barEnd, Action: "Buy", ConfidenceMicros: 712_345,
		Outcome: "Ordered", Reasoning: []byte(`{"judge": "Buy",  "bull": 0.9}`),
	}
}

func intent(lease ledger.Lease, sequence int64, leg int32, pair string, side order.Side, quantity market.Quantity) order.Intent {
	return order.Intent{
		ID: orderID(lease, sequence, leg), Account: lease.Agent.Account, AgentUID: lease.Agent.UID, Sequence: sequence, Leg: leg,
		Pair: pair, Side: side, Quantity: quantity, Limit: 1_000_000, Reserved: money("123.45678901"), MarketTime: noon, Reason: "Decision",
	}
}

// ordered commits an order and returns its id.
func ordered(tb testing.TB, b book, lease ledger.Lease, sequence int64, pair string, side order.Side, quantity market.Quantity) uuid.UUID {
	tb.Helper()
	i := intent(lease, sequence, 0, pair, side, quantity)
	if err := b.Intend(tb.Context(), lease, []order.Intent{i}); err != nil {
		tb.Fatal(err)
	}
	return i.ID
}

func fillOf(lease ledger.Lease, id uuid.UUID, trade, pair string, side order.Side, quantity market.Quantity, price market.Price, fee string) order.Fill {
	return order.Fill{
		Venue: lease.Agent.Venue, Account: lease.Agent.Account, TradeID: trade, OrderID: id, Pair: pair, Side: side,
		Quantity: quantity, Price: price, Fee: money(fee), FeeCurrency: "USD", MarketTime: noon.Add(time.Second),
	}
}

func bookFill(tb testing.TB, b book, lease ledger.Lease, fill order.Fill) {
	tb.Helper()
	isNew, err := b.BookFill(tb.Context(), lease, fill)
	if err != nil {
		tb.Fatal(err)
	}
	if !isNew {
		tb.Fatalf("fill %s was not new", fill.TradeID)
	}
}
