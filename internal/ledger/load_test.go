package ledger_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// yearOfLedger fills a database with what one agent leaves in a year: decisions
// every few minutes, marks of every bar, and orders that were filled.
func yearOfLedger(tb testing.TB, b *ledger.Postgres, lease ledger.Lease, decisions, orders int) {
	tb.Helper()
	fill := func(statement string, args ...any) {
		tb.Helper()
		err := b.Database().Write(tb.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`)
			if err == nil {
				_, err = tx.Exec(ctx, statement, args...)
			}
			return err
		})
		if err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
	uid, epoch := lease.Agent.UID, lease.Epoch
	const part = 5000
	for from := 1; from <= decisions; from += part {
		to := min(from+part-1, decisions)
		fill(`INSERT INTO trading.decisions (agent_uid, sequence, epoch, pair, bar_end, action, confidence, outcome, reasoning, intents)
			SELECT $1, n, $2, 'BTC-USD', '2025-01-01'::timestamptz + n * interval '5 minutes', 'Hold', 0.5, 'NoEdge', '{"judge":"Hold"}', '{}'
			FROM generate_series($3::int, $4::int) n`, uid, epoch, from, to)
		fill(`INSERT INTO trading.marks (agent_uid, pair, market_time, epoch, price, equity, peak_equity, day_start, day_start_equity)
			SELECT $1, 'BTC-USD', '2025-01-01'::timestamptz + n * interval '5 minutes', $2, 100, 10000, 10000, '2025-01-01', 10000
			FROM generate_series($3::int, $4::int) n`, uid, epoch, from, to)
	}
	for from := 1; from <= orders; from += part {
		to := min(from+part-1, orders)
		fill(`INSERT INTO trading.intents (id, agent_uid, account, sequence, leg, replacement, epoch, pair, side, quantity, limit_price, reduce_only,
				reserved, reason, quantity_lots, limit_ticks, market_time)
			SELECT md5(n::text)::uuid, $1, 'account', n, 0, 0, $2, 'BTC-USD', CASE WHEN n % 2 = 1 THEN 'Buy' ELSE 'Sell' END, 0.001, 100, n % 2 = 0,
				0.1, CASE WHEN n % 10 = 0 THEN 'Stop' ELSE 'Decision' END, 10, 10000, '2025-01-01'::timestamptz + n * interval '100 minutes'
			FROM generate_series($3::int, $4::int) n`, uid, epoch, from, to)
		fill(`WITH t AS (
				INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time)
				SELECT $1, 'Fill', $2, '2025-01-01'::timestamptz + n * interval '100 minutes' FROM generate_series($3::int, $4::int) n ORDER BY n RETURNING id
			), m AS (SELECT id, $3::int - 1 + row_number() OVER (ORDER BY id) AS n FROM t), p AS (
				INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
				SELECT m.id, $1, a.ledger_account, a.pair, a.currency, a.amount * CASE WHEN m.n % 2 = 1 THEN 1 ELSE -1 END
				FROM m, (VALUES ('assets:position', 'BTC-USD', 'BTC', 0.001), ('equity:exchange', 'BTC-USD', 'BTC', -0.001),
					('assets:cash', '', 'USD', -0.1), ('assets:cost', 'BTC-USD', 'USD', 0.1)) AS a (ledger_account, pair, currency, amount)
			)
			INSERT INTO trading.fills (venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price, value, fee, fee_currency,
				realised, quantity_lots, price_ticks, opened_at, transaction_id, market_time)
			SELECT 'Paper', 'account', m.n::text, md5(m.n::text)::uuid, $1, $2, 'BTC-USD', CASE WHEN m.n % 2 = 1 THEN 'Buy' ELSE 'Sell' END, 0.001, 100,
				0.1, 0, 'USD', 0, 10, 10000, CASE WHEN m.n % 2 = 1 THEN now() END, m.id, '2025-01-01'::timestamptz + m.n * interval '100 minutes'
			FROM m ORDER BY m.n`, uid, epoch, from, to)
	}
}

// BenchmarkLoad is what a process waits for when it starts on a year of ledger:
// 100,000 decisions and as many marks, 5,000 orders and fills.
func BenchmarkLoad(b *testing.B) {
	p, uri := openLedger(b)
	agent := trader("a", btc)
	lease := acquire(b, p, agent)
	yearOfLedger(b, p, lease, 100_000, 5_000)
	for name, statement := range map[string]string{"fresh": "", "analysed": "ANALYZE"} {
		if statement != "" {
			if _, err := admin(b, uri).Exec(b.Context(), statement); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := p.Load(b.Context(), lease)
				if err != nil || s.Decisions != 100_000 || s.Fills != 5_000 {
					b.Fatalf("%d decisions, %d fills: %v", s.Decisions, s.Fills, err)
				}
			}
		})
	}
	b.Run("acquire", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Acquire(b.Context(), agent); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		rows := int64(0)
		for b.Loop() {
			rows = verify(b, uri).Agents[0].Rows
		}
		b.ReportMetric(float64(rows), "rows")
	})
}
