package judge

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
)

// Querier is a connection to the ledger's database.
type Querier interface {
	Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error)
}

// ReadLedger reads what the ledger says of an account. It asks the tables and not
// the program, so that an error of the program is no excuse.
func ReadLedger(ctx context.Context, db Querier) (Record, error) {
	record := Record{Opening: map[string]decimal.Decimal{}, Holdings: map[string]decimal.Decimal{}}
	var err error
	record.Intents, err = collect(ctx, db, func(i *Intent) []any {
		return []any{&i.ClientID, &i.Leg, &i.Epoch, &i.Pair, &i.Side, &i.Quantity, &i.Filled, &i.State}
	}, `SELECT i.id::text, format('leg %s of decision %s of agent %s', i.leg, i.sequence, i.agent_uid), i.epoch, i.pair, i.side,
			i.quantity::text, o.filled::text, o.state
		FROM trading.intents i JOIN trading.orders o ON o.id = i.id ORDER BY i.ordinal`)
	if err != nil {
		return Record{}, err
	}
	record.Fills, err = collect(ctx, db, func(f *Fill) []any {
		return []any{&f.TradeID, &f.ClientID, &f.Pair, &f.Side, &f.Quantity, &f.Price, &f.Fee, &f.FeeCurrency}
	}, `SELECT trade_id, order_id::text, pair, side, quantity::text, price::text, fee::text, fee_currency
		FROM trading.fills ORDER BY transaction_id`)
	if err != nil {
		return Record{}, err
	}
	type sum struct {
		name   string
		amount decimal.Decimal
	}
	scan := func(s *sum) []any { return []any{&s.name, &s.amount} }
	for _, part := range []struct {
		into      map[string]decimal.Decimal
		statement string
	}{
		{record.Opening, `SELECT currency, (-sum(amount))::text FROM trading.postings WHERE ledger_account = 'equity:opening' GROUP BY currency`},
		{record.Holdings, `SELECT currency, sum(amount)::text FROM trading.postings
			WHERE ledger_account IN ('assets:cash', 'assets:position') GROUP BY currency`},
	} {
		sums, err := collect(ctx, db, scan, part.statement)
		if err != nil {
			return Record{}, err
		}
		for _, found := range sums {
			part.into[found.name] = found.amount
		}
	}
	unbalanced, err := collect(ctx, db, scan, `SELECT format('transaction %s in %s', transaction_id, currency), sum(amount)::text
		FROM trading.postings GROUP BY transaction_id, currency HAVING sum(amount) <> 0`)
	for _, entry := range unbalanced {
		record.Unbalanced = append(record.Unbalanced, fmt.Sprintf("%s: %s", entry.name, entry.amount))
	}
	return record, err
}

// ReadPrices reads the newest price of each pair that an agent has seen.
func ReadPrices(ctx context.Context, db Querier) (map[string]decimal.Decimal, error) {
	type price struct {
		pair   string
		amount decimal.Decimal
	}
	found, err := collect(ctx, db, func(p *price) []any { return []any{&p.pair, &p.amount} },
		`SELECT DISTINCT ON (pair) pair, price::text FROM trading.marks ORDER BY pair, market_time DESC`)
	prices := map[string]decimal.Decimal{}
	for _, p := range found {
		prices[p.pair] = p.amount
	}
	return prices, err
}

// ReadPaper reads the book of the paper venue, which is in the ledger's database in
// a schema of its own. Ticks and lots are those of the claims.
func ReadPaper(ctx context.Context, db Querier) (Book, error) {
	var book Book
	var err error
	book.Orders, err = collect(ctx, db, func(o *Order) []any {
		return []any{&o.ClientID, &o.VenueID, &o.Pair, &o.Side, &o.Quantity, &o.Filled, &o.Open, &o.AcceptedAt}
	}, `SELECT o.id::text, o.venue_order_id, o.pair, o.side, (o.quantity_lots * c.lot)::text, (o.filled_lots * c.lot)::text, o.state = 'Acked', o.recorded_at
		FROM paper.orders o JOIN trading.claims c ON c.account = o.account AND c.pair = o.pair ORDER BY o.agent_uid, o.ordinal`)
	if err != nil {
		return Book{}, err
	}
	book.Fills, err = collect(ctx, db, func(f *Fill) []any {
		return []any{&f.TradeID, &f.ClientID, &f.Pair, &f.Side, &f.Quantity, &f.Price, &f.Fee, &f.FeeCurrency}
	}, `SELECT f.trade_id, f.order_id::text, f.pair, f.side, (f.quantity_lots * c.lot)::text, (f.price_ticks * c.tick)::text, f.fee::text, f.fee_currency
		FROM paper.fills f JOIN trading.claims c ON c.account = f.account AND c.pair = f.pair ORDER BY f.agent_uid, f.ordinal`)
	return book, err
}

// collect reads rows into values of one kind.
func collect[T any](ctx context.Context, db Querier, into func(*T) []any, statement string) ([]T, error) {
	rows, err := db.Query(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("reading what the ledger says: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) {
		var value T
		err := row.Scan(into(&value)...)
		return value, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading what the ledger says: %w", err)
	}
	return found, nil
}
