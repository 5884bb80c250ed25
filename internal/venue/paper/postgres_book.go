package paper

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// PostgresBook is a Book in PostgreSQL, in a schema of its own. Every write
// locks the book, so that orders and fills have one order and a cursor never
// passes a fill that is yet to come.
type PostgresBook struct {
	db                *database.Pool
	account, agentUID string
}

var _ Book = (*PostgresBook)(nil)

// NewPostgresBook is the book of one agent on one account, in a database that
// ledger.Migrate has prepared.
func NewPostgresBook(db *database.Pool, account, agentUID string) *PostgresBook {
	return &PostgresBook{db: db, account: account, agentUID: agentUID}
}

// Accept implements Book.
func (b *PostgresBook) Accept(ctx context.Context, o BookOrder, exit venue.Exit) (BookOrder, bool, error) {
	stored, known, accepted := BookOrder{}, false, false
	err := b.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var orders int64
		err := tx.QueryRow(ctx, `INSERT INTO paper.books AS b (account, agent_uid) VALUES ($1, $2)
			ON CONFLICT (account, agent_uid) DO UPDATE SET orders = b.orders RETURNING orders`, b.account, b.agentUID).Scan(&orders)
		if err != nil {
			return err
		}
		stored, known, err = b.find(ctx, tx, o.ID)
		if err != nil || known {
			return err
		}
		if err := inTime(ctx, tx, o.NotAfter); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO paper.orders (account, agent_uid, id, ordinal, venue_order_id, pair, side, quantity_lots,
				filled_lots, limit_ticks, reduce_only, state, accepted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			b.account, b.agentUID, o.ID, orders+1, o.VenueOrderID, o.Pair, o.Side.String(), int64(o.Quantity), int64(o.Filled), int64(o.Limit),
			o.ReduceOnly, string(o.State), o.AcceptedAt)
		if exit != nil {
			// The lock may have been waited for, and a connection.
			if err := exit(func() {}); err != nil {
				return err
			}
		}
		batch.Queue(`UPDATE paper.books SET orders = orders + 1 WHERE account = $1 AND agent_uid = $2`, b.account, b.agentUID)
		stored, accepted = o, true
		stored.AcceptedAt, stored.NotAfter = o.AcceptedAt.UTC(), time.Time{}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return BookOrder{}, false, fmt.Errorf("paper venue: accepting order %s: %w", o.ID, err)
	}
	// After a lost reply the repetition finds the order that this call stored.
	return stored, known && !accepted, nil
}

// inTime holds an order to its time by the database's clock: what an agent sends
// late, because it was paused or its connection was, is not taken any more.
func inTime(ctx context.Context, tx pgx.Tx, notAfter time.Time) error {
	if notAfter.IsZero() {
		return nil
	}
	var late bool
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp() > $1`, notAfter).Scan(&late); err != nil {
		return err
	}
	if late {
		return ErrTooLate
	}
	return nil
}

const bookColumns = `id, venue_order_id, pair, side, quantity_lots, filled_lots, limit_ticks, reduce_only, state, accepted_at`

func scanOrder(row pgx.Row) (BookOrder, error) {
	var o BookOrder
	var side string
	err := row.Scan(&o.ID, &o.VenueOrderID, &o.Pair, &side, (*int64)(&o.Quantity), (*int64)(&o.Filled), (*int64)(&o.Limit), &o.ReduceOnly,
		(*string)(&o.State), &o.AcceptedAt)
	o.Side, o.AcceptedAt = sideOf(side), o.AcceptedAt.UTC()
	return o, err
}

// sideOf reads a side back; the table holds no other words.
func sideOf(word string) order.Side {
	if word == order.Sell.String() {
		return order.Sell
	}
	return order.Buy
}

func (b *PostgresBook) find(ctx context.Context, tx pgx.Tx, id uuid.UUID) (BookOrder, bool, error) {
	o, err := scanOrder(tx.QueryRow(ctx, `SELECT `+bookColumns+` FROM paper.orders WHERE account = $1 AND agent_uid = $2 AND id = $3`,
		b.account, b.agentUID, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return BookOrder{}, false, nil
	}
	return o, err == nil, err
}

// Order implements Book.
func (b *PostgresBook) Order(ctx context.Context, id uuid.UUID) (o BookOrder, found bool, err error) {
	err = b.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err = b.lock(ctx, tx); err != nil {
			return err
		}
		o, found, err = b.find(ctx, tx, id)
		return err
	})
	if err != nil {
		return BookOrder{}, false, fmt.Errorf("paper venue: looking for order %s: %w", id, err)
	}
	return o, found, nil
}

// Open implements Book.
func (b *PostgresBook) Open(ctx context.Context) ([]BookOrder, error) {
	var open []BookOrder
	err := b.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+bookColumns+` FROM paper.orders
			WHERE account = $1 AND agent_uid = $2 AND state = 'Acked' ORDER BY ordinal`, b.account, b.agentUID)
		if err != nil {
			return err
		}
		open, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (BookOrder, error) { return scanOrder(row) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("paper venue: listing open orders: %w", err)
	}
	return open, nil
}

// Execute implements Book.
func (b *PostgresBook) Execute(ctx context.Context, o BookOrder, fills []order.Fill) error {
	err := b.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		booked, err := b.lock(ctx, tx)
		if err != nil {
			return err
		}
		stored, found, err := b.find(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		if !found {
			return errors.New("it was never accepted")
		}
		known := false
		trades := make([]string, len(fills))
		for i := range fills {
			trades[i] = fills[i].TradeID
		}
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM paper.fills WHERE account = $1 AND agent_uid = $2 AND trade_id = ANY ($3))`,
			b.account, b.agentUID, trades).Scan(&known)
		if err != nil || known || stored.State.Final() {
			return err
		}
		batch := &pgx.Batch{}
		for i := range fills {
			b.queueFill(batch, booked+int64(i)+1, fills[i])
		}
		batch.Queue(`UPDATE paper.orders SET filled_lots = $4, state = $5 WHERE account = $1 AND agent_uid = $2 AND id = $3`,
			b.account, b.agentUID, o.ID, int64(o.Filled), string(o.State))
		batch.Queue(`UPDATE paper.books SET fills = $3 WHERE account = $1 AND agent_uid = $2`, b.account, b.agentUID, booked+int64(len(fills)))
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("paper venue: executing order %s: %w", o.ID, err)
	}
	return nil
}

// lock locks the book until the transaction ends and counts its fills.
func (b *PostgresBook) lock(ctx context.Context, tx pgx.Tx) (int64, error) {
	var fills int64
	err := tx.QueryRow(ctx, `SELECT fills FROM paper.books WHERE account = $1 AND agent_uid = $2 FOR UPDATE`, b.account, b.agentUID).Scan(&fills)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return fills, err
}

func (b *PostgresBook) queueFill(batch *pgx.Batch, ordinal int64, fill order.Fill) {
	batch.Queue(`INSERT INTO paper.fills (account, agent_uid, ordinal, venue, trade_id, order_id, pair, side, quantity_lots, price_ticks,
			fee, fee_currency, market_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::numeric, $12, $13)`,
		b.account, b.agentUID, ordinal, fill.Venue, fill.TradeID, fill.OrderID, fill.Pair, fill.Side.String(), int64(fill.Quantity),
		int64(fill.Price), fill.Fee.String(), fill.FeeCurrency, fill.MarketTime)
}

// Fills implements Book. The cursor is the ordinal of the last fill.
func (b *PostgresBook) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	var after int64
	if cursor != "" {
		var err error
		if after, err = strconv.ParseInt(cursor, 10, 64); err != nil || after < 0 {
			return nil, "", fmt.Errorf("paper venue: %q is no cursor of its fills", cursor)
		}
	}
	var fills []order.Fill
	last := after
	err := b.db.Read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var booked int64
		err := tx.QueryRow(ctx, `SELECT fills FROM paper.books WHERE account = $1 AND agent_uid = $2`, b.account, b.agentUID).Scan(&booked)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		// A book that has forgotten fills was restored from an old backup.
		if after > booked {
			return fmt.Errorf("cursor %d is beyond the %d fills of this book", after, booked)
		}
		rows, err := tx.Query(ctx, `SELECT ordinal, venue, trade_id, order_id, pair, side, quantity_lots, price_ticks, fee::text, fee_currency, market_time
			FROM paper.fills WHERE account = $1 AND agent_uid = $2 AND ordinal > $3 ORDER BY ordinal LIMIT $4`,
			b.account, b.agentUID, after, pageSize)
		if err != nil {
			return err
		}
		fills, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (order.Fill, error) {
			fill := order.Fill{Account: b.account}
			var side string
			var fee decimal.Decimal
			err := row.Scan(&last, &fill.Venue, &fill.TradeID, &fill.OrderID, &fill.Pair, &side, (*int64)(&fill.Quantity), (*int64)(&fill.Price),
				&fee, &fill.FeeCurrency, &fill.MarketTime)
			if err != nil {
				return order.Fill{}, err
			}
			fill.Side, fill.MarketTime = sideOf(side), fill.MarketTime.UTC()
			fill.Fee, err = market.MoneyOf(fee)
			return fill, err
		})
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("paper venue: listing fills: %w", err)
	}
	if len(fills) == 0 {
		return nil, cursor, nil
	}
	return fills, strconv.FormatInt(last, 10), nil
}
