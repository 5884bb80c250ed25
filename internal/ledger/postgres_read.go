package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

// readTimeout bounds one page. A client can ask again; a database that is busy
// with it cannot serve the trader.
const readTimeout = 2 * time.Second

// PostgresReader reads what one agent has done from PostgreSQL, through
// connections of its own: however many ask, the trader's connections are free.
type PostgresReader struct {
	db       *database.Pool
	agentUID string
}

var _ Reader = (*PostgresReader)(nil)

// OpenReader prepares to read what the agent of the given UID has done. It
// connects when it is first asked, so it works as soon as the database does.
func OpenReader(ctx context.Context, source database.Source, agentUID string) (*PostgresReader, error) {
	db, err := database.OpenReadOnly(ctx, source, readTimeout)
	if err != nil {
		return nil, err
	}
	return &PostgresReader{db: db, agentUID: agentUID}, nil
}

// Close ends the reader's connections.
func (p *PostgresReader) Close() { p.db.Close() }

func (p *PostgresReader) read(ctx context.Context, what string, read func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := p.db.Read(ctx, read); err != nil {
		return reading(p.agentUID, what, err)
	}
	return nil
}

const orderRecordColumns = `i.id, i.sequence, i.leg, i.replacement, i.pair, i.side, i.quantity::text, i.limit_price::text, i.reduce_only,
	i.reason, i.market_time, o.state, o.venue_order_id, o.reason, o.filled::text, o.market_time`

func orderRecordFields(o *OrderRecord) []any {
	return []any{&o.ID, &o.Sequence, &o.Leg, &o.Replacement, &o.Pair, (*readSide)(&o.Side), &o.Quantity, &o.Limit, &o.ReduceOnly,
		&o.Reason, &o.DecidedAt, &o.State, &o.VenueOrderID, &o.Ended, &o.Filled, &o.UpdatedAt}
}

// inUTC is a record with its times as the ledger in memory has them.
func (o OrderRecord) inUTC() OrderRecord {
	o.DecidedAt, o.UpdatedAt = o.DecidedAt.UTC(), o.UpdatedAt.UTC()
	return o
}

// Orders implements Reader.
func (p *PostgresReader) Orders(ctx context.Context, query OrderQuery) (Page[OrderRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 3)
	if err != nil {
		return Page[OrderRecord]{}, err
	}
	limit := checkedLimit(query.Limit)
	states := make([]string, len(query.States))
	for i, state := range query.States {
		states[i] = string(state)
	}
	var found []OrderRecord
	err = p.read(ctx, "orders", func(ctx context.Context, tx pgx.Tx) error {
		found = nil
		rows, err := tx.Query(ctx, `SELECT `+orderRecordColumns+` FROM trading.intents i JOIN trading.orders o ON o.id = i.id
			WHERE i.agent_uid = $1 AND ($2 = '' OR i.pair = $2) AND (cardinality($3::text[]) = 0 OR o.state = ANY ($3))
				AND ($4::bigint[] IS NULL OR (i.sequence, i.leg, i.replacement) < ($4[1], $4[2], $4[3]))
			ORDER BY i.sequence DESC, i.leg DESC, i.replacement DESC LIMIT $5`,
			p.agentUID, query.Pair, states, cursor, limit+1)
		if err != nil {
			return err
		}
		var item OrderRecord
		_, err = pgx.ForEachRow(rows, orderRecordFields(&item), func() error {
			found = append(found, item.inUTC())
			return nil
		})
		return err
	})
	return page(found, limit, OrderRecord.cursor), err
}

// Order implements Reader.
func (p *PostgresReader) Order(ctx context.Context, id uuid.UUID) (OrderRecord, error) {
	var item OrderRecord
	err := p.read(ctx, "orders", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT `+orderRecordColumns+` FROM trading.intents i JOIN trading.orders o ON o.id = i.id
			WHERE i.agent_uid = $1 AND i.id = $2`, p.agentUID, id).Scan(orderRecordFields(&item)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		return err
	})
	return item.inUTC(), err
}

// Fills implements Reader.
func (p *PostgresReader) Fills(ctx context.Context, query FillQuery) (Page[FillRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 2)
	if err != nil {
		return Page[FillRecord]{}, err
	}
	var before *time.Time
	var beforeID int64
	if cursor != nil {
		before, beforeID = new(boundary(cursor[0])), cursor[1]
	}
	var orderID *uuid.UUID
	if query.Order != uuid.Nil {
		orderID = &query.Order
	}
	limit := checkedLimit(query.Limit)
	var found []numbered[FillRecord]
	err = p.read(ctx, "fills", func(ctx context.Context, tx pgx.Tx) error {
		found = nil
		rows, err := tx.Query(ctx, `SELECT transaction_id, trade_id, order_id, pair, side, quantity::text, price::text, value::text,
				fee::text, fee_currency, realised::text, market_time
			FROM trading.fills WHERE agent_uid = $1 AND ($2 = '' OR pair = $2) AND ($3::uuid IS NULL OR order_id = $3)
				AND ($4::timestamptz IS NULL OR (market_time, transaction_id) < ($4, $5))
			ORDER BY market_time DESC, transaction_id DESC LIMIT $6`,
			p.agentUID, query.Pair, orderID, before, beforeID, limit+1)
		if err != nil {
			return err
		}
		var item numbered[FillRecord]
		f := &item.item
		_, err = pgx.ForEachRow(rows, []any{&item.ordinal, &f.TradeID, &f.OrderID, &f.Pair, (*readSide)(&f.Side), &f.Quantity, &f.Price, &f.Value,
			&f.Fee, &f.FeeCurrency, &f.Realised, &f.MarketTime}, func() error {
			f.MarketTime = f.MarketTime.UTC()
			found = append(found, item)
			return nil
		})
		return err
	})
	return pageOfFills(found, limit), err
}

// numbered is an item and where it stands among those of one market time.
type numbered[T any] struct {
	ordinal int64
	item    T
}

func pageOfFills(found []numbered[FillRecord], limit int) Page[FillRecord] {
	cut := page(found, limit, func(f numbered[FillRecord]) []int64 {
		return []int64{f.item.MarketTime.UnixMicro(), f.ordinal}
	})
	result := Page[FillRecord]{Next: cut.Next}
	for i := range cut.Items {
		result.Items = append(result.Items, cut.Items[i].item)
	}
	return result
}

// Decisions implements Reader.
func (p *PostgresReader) Decisions(ctx context.Context, query Query) (Page[DecisionRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 1)
	if err != nil {
		return Page[DecisionRecord]{}, err
	}
	limit := checkedLimit(query.Limit)
	var found []DecisionRecord
	err = p.read(ctx, "decisions", func(ctx context.Context, tx pgx.Tx) error {
		found = nil
		rows, err := tx.Query(ctx, `SELECT sequence, pair, bar_end, action, (confidence * 1000000)::bigint, outcome, reasoning::text, intents
			FROM trading.decisions WHERE agent_uid = $1 AND ($2 = '' OR pair = $2) AND ($3::bigint[] IS NULL OR sequence < $3[1])
			ORDER BY sequence DESC LIMIT $4`, p.agentUID, query.Pair, cursor, limit+1)
		if err != nil {
			return err
		}
		var item DecisionRecord
		_, err = pgx.ForEachRow(rows, []any{&item.Sequence, &item.Pair, &item.BarEnd, &item.Action, &item.ConfidenceMicros, &item.Outcome,
			(*text)(&item.Reasoning), &item.Orders}, func() error {
			item.BarEnd = item.BarEnd.UTC()
			found = append(found, item)
			return nil
		})
		return err
	})
	return page(found, limit, DecisionRecord.cursor), err
}

// Equity implements Reader. Each point is found by one step down an index, so
// that a year of minutes in daily steps costs no more than a page of them.
func (p *PostgresReader) Equity(ctx context.Context, query EquityQuery) (Page[EquityRecord], error) {
	newest, err := query.newest()
	if err != nil {
		return Page[EquityRecord]{}, err
	}
	limit := checkedLimit(query.Limit)
	var found []EquityRecord
	err = p.read(ctx, "equity", func(ctx context.Context, tx pgx.Tx) error {
		found = nil
		rows, err := tx.Query(ctx, `WITH RECURSIVE points AS (
				(SELECT 1 AS count, m.market_time, m.equity, m.peak_equity, m.day_start_equity FROM trading.marks m
				WHERE m.agent_uid = $1 AND m.market_time BETWEEN $2 AND $3
				ORDER BY m.market_time DESC, m.ordinal DESC LIMIT 1)
				UNION ALL
				SELECT p.count + 1, n.* FROM points p CROSS JOIN LATERAL (
					SELECT m.market_time, m.equity, m.peak_equity, m.day_start_equity FROM trading.marks m
					WHERE m.agent_uid = $1 AND m.market_time >= $2
						AND m.market_time <= date_bin($4::bigint * interval '1 microsecond', p.market_time - interval '1 microsecond', 'epoch')
					ORDER BY m.market_time DESC, m.ordinal DESC LIMIT 1) n
				WHERE p.count < $5)
			SELECT market_time, (equity * 100000000)::bigint, (peak_equity * 100000000)::bigint, (day_start_equity * 100000000)::bigint
			FROM points ORDER BY count`,
			p.agentUID, boundary(query.oldest()), boundary(newest), max(query.Step.Microseconds(), 1), limit+1)
		if err != nil {
			return err
		}
		var item EquityRecord
		_, err = pgx.ForEachRow(rows, []any{&item.MarketTime, &item.Equity, &item.PeakEquity, &item.DayStartEquity}, func() error {
			item.MarketTime = item.MarketTime.UTC()
			found = append(found, item)
			return nil
		})
		return err
	})
	return page(found, limit, query.cursorOf), err
}

// The years that a timestamp of PostgreSQL is asked about; beyond them nothing
// was recorded.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// boundary is a time in microseconds within what PostgreSQL can compare.
func boundary(micros int64) time.Time {
	return time.UnixMicro(min(max(micros, earliest.UnixMicro()), latest.UnixMicro())).UTC()
}
