package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Postgres is the ledger in PostgreSQL. Each method is one transaction that
// locks the agent's lease, so that it is over before a newer epoch begins, or
// is refused.
type Postgres struct {
	db *database.Pool
}

var _ Ledger = (*Postgres)(nil)

// Open connects to a ledger. It fails with ErrUnavailable if the database does
// not answer and with ErrSchema if its schema is not Latest. The URI looks like
// postgres://user:password@host:5432/database; its password appears in no error.
func Open(ctx context.Context, uri string) (*Postgres, error) {
	version, err := SchemaVersion(ctx, uri)
	if err != nil {
		return nil, err
	}
	if err := fits(version); err != nil {
		return nil, err
	}
	db, err := database.Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	return &Postgres{db: db}, nil
}

// Close ends the ledger's connections.
func (p *Postgres) Close() { p.db.Close() }

// Ping says whether the database answers.
func (p *Postgres) Ping(ctx context.Context) error { return p.db.Ping(ctx) }

// Database is the ledger's pool of connections, for what else the same database
// holds.
func (p *Postgres) Database() *database.Pool { return p.db }

// own locks the agent's lease until the transaction ends, if it still holds.
func own(ctx context.Context, tx pgx.Tx, lease Lease) error {
	var epoch int64
	err := tx.QueryRow(ctx, `SELECT epoch FROM trading.leases WHERE agent_uid = $1 FOR NO KEY UPDATE`, lease.Agent.UID).Scan(&epoch)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("checking the epoch of agent %s: %w", lease.Agent, err)
	}
	if epoch != lease.Epoch {
		return fenced(lease, epoch)
	}
	return nil
}

// Decide implements Ledger.
func (p *Postgres) Decide(ctx context.Context, lease Lease, decision Decision, intents []order.Intent) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := own(ctx, tx, lease); err != nil {
			return err
		}
		decision, err := checkedDecision(lease, decision, intents)
		if err != nil {
			return err
		}
		known, ids, err := decisionAt(ctx, tx, lease, decision)
		if err != nil {
			return err
		}
		if known != nil {
			return sameDecision(ctx, tx, lease, *known, ids, decision, intents)
		}
		last, lastSequence, err := sequences(ctx, tx, lease)
		if err != nil {
			return err
		}
		if err := follows(decision, last, lastSequence); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		if err := queueIntents(ctx, tx, batch, lease, intents); err != nil {
			return err
		}
		queueDecision(batch, lease, decision, intents)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("committing decision %d on %s: %w", decision.Sequence, decision.Pair, err)
		}
		return nil
	})
}

// decisionAt finds the decision on the same pair and bar; nil if there is none.
func decisionAt(ctx context.Context, tx pgx.Tx, lease Lease, decision Decision) (*Decision, []uuid.UUID, error) {
	known := Decision{Pair: decision.Pair, BarEnd: decision.BarEnd}
	var ids []uuid.UUID
	err := tx.QueryRow(ctx, `SELECT sequence, action, (confidence * 1000000)::bigint, outcome, reasoning::text, intents
		FROM trading.decisions WHERE agent_uid = $1 AND pair = $2 AND bar_end = $3`,
		lease.Agent.UID, decision.Pair, decision.BarEnd).
		Scan(&known.Sequence, &known.Action, &known.ConfidenceMicros, &known.Outcome, (*text)(&known.Reasoning), &ids)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking for a decision on %s: %w", decision.Pair, err)
	}
	return &known, ids, nil
}

// sameDecision is nil if a decision repeats what is stored.
func sameDecision(ctx context.Context, tx pgx.Tx, lease Lease, known Decision, ids []uuid.UUID, decision Decision, intents []order.Intent) error {
	if !equalDecisions(known, decision) || len(ids) != len(intents) {
		return decided(decision)
	}
	stored, err := intentsByID(ctx, tx, ids)
	if err != nil {
		return err
	}
	for i := range intents {
		intent, err := checkedIntent(lease, intents[i])
		if err != nil {
			return err
		}
		if ids[i] != intent.ID || stored[intent.ID] != intent {
			return decided(decision)
		}
	}
	return nil
}

// sequences are the last decision's, and the last of decisions and intents.
func sequences(ctx context.Context, tx pgx.Tx, lease Lease) (*Decision, int64, error) {
	var decisions, intents int64
	err := tx.QueryRow(ctx, `SELECT
		coalesce((SELECT max(sequence) FROM trading.decisions WHERE agent_uid = $1), 0),
		coalesce((SELECT max(sequence) FROM trading.intents WHERE agent_uid = $1), 0)`, lease.Agent.UID).Scan(&decisions, &intents)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the sequence of agent %s: %w", lease.Agent, err)
	}
	if decisions == 0 {
		return nil, intents, nil
	}
	return &Decision{Sequence: decisions}, max(decisions, intents), nil
}

func queueDecision(batch *pgx.Batch, lease Lease, decision Decision, intents []order.Intent) {
	ids := make([]uuid.UUID, len(intents))
	for i := range intents {
		ids[i] = intents[i].ID
	}
	var reasoning *string
	if decision.Reasoning != nil {
		text := string(decision.Reasoning)
		reasoning = &text
	}
	confidence := fmt.Sprintf("%d.%06d", decision.ConfidenceMicros/1_000_000, decision.ConfidenceMicros%1_000_000)
	batch.Queue(`INSERT INTO trading.decisions (agent_uid, sequence, epoch, pair, bar_end, action, confidence, outcome, reasoning, intents)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9::text::json, $10)`,
		lease.Agent.UID, decision.Sequence, lease.Epoch, decision.Pair, decision.BarEnd, decision.Action, confidence,
		decision.Outcome, reasoning, ids)
	queueNews(batch, lease, NewsDecision, strconv.FormatInt(decision.Sequence, 10), decisionNews(decision))
}

// queueNews adds to the outbox.
func queueNews(batch *pgx.Batch, lease Lease, topic, key string, payload map[string]any) {
	batch.Queue(`INSERT INTO trading.outbox (agent_uid, topic, key, payload) VALUES ($1, $2, $3, $4)`, lease.Agent.UID, topic, key, payload)
}

// Intend implements Ledger.
func (p *Postgres) Intend(ctx context.Context, lease Lease, intents []order.Intent) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := own(ctx, tx, lease); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		if err := queueIntents(ctx, tx, batch, lease, intents); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("committing intents of agent %s: %w", lease.Agent, err)
		}
		return nil
	})
}

// queueIntents queues those intents that are not stored yet.
func queueIntents(ctx context.Context, tx pgx.Tx, batch *pgx.Batch, lease Lease, intents []order.Intent) error {
	if len(intents) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(intents))
	for i := range intents {
		ids[i] = intents[i].ID
	}
	stored, err := intentsByID(ctx, tx, ids)
	if err != nil {
		return err
	}
	queued := make(map[uuid.UUID]bool, len(intents))
	for i := range intents {
		intent, err := checkedIntent(lease, intents[i])
		if err != nil {
			return err
		}
		if queued[intent.ID] {
			return fmt.Errorf("intent %s is listed twice: %w", intent.ID, ErrConflict)
		}
		queued[intent.ID] = true
		if known, ok := stored[intent.ID]; ok {
			if known != intent {
				return fmt.Errorf("intent %s: %w", intent.ID, ErrConflict)
			}
			continue
		}
		instrument, err := lease.Agent.instrument(intent.Pair)
		if err != nil {
			return err
		}
		queueIntent(batch, lease, instrument, intent)
	}
	return nil
}

func queueIntent(batch *pgx.Batch, lease Lease, instrument market.Instrument, intent order.Intent) {
	batch.Queue(`INSERT INTO trading.intents (id, agent_uid, account, sequence, leg, replacement, epoch, pair, side, quantity,
			limit_price, reduce_only, reserved, reason, quantity_lots, limit_ticks, market_time, frozen, not_after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric, $11::text::numeric, $12, $13::text::numeric, $14, $15, $16, $17, $18, $19)`,
		intent.ID, intent.AgentUID, intent.Account, intent.Sequence, intent.Leg, intent.Replacement, lease.Epoch, intent.Pair,
		side(intent.Side), instrument.QuantityDecimal(intent.Quantity).String(), instrument.PriceDecimal(intent.Limit).String(),
		intent.ReduceOnly, intent.Reserved.String(), intent.Reason, intent.Quantity, intent.Limit, intent.MarketTime, intent.Frozen,
		instant(intent.NotAfter))
	batch.Queue(`INSERT INTO trading.orders (id, agent_uid, pair, state, market_time) VALUES ($1, $2, $3, 'Intended', $4)`,
		intent.ID, intent.AgentUID, intent.Pair, intent.MarketTime)
	queueNews(batch, lease, NewsOrder, intent.ID.String(), intentNews(intent))
}

// UpdateOrder implements Ledger.
func (p *Postgres) UpdateOrder(ctx context.Context, lease Lease, update OrderUpdate) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := own(ctx, tx, lease); err != nil {
			return err
		}
		update, err := checkedUpdate(update)
		if err != nil {
			return err
		}
		var state order.State
		err = tx.QueryRow(ctx, `SELECT state FROM trading.orders WHERE id = $1 AND agent_uid = $2`, update.ID, lease.Agent.UID).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("order %s: %w", update.ID, ErrNoIntent)
		}
		if err != nil {
			return fmt.Errorf("reading order %s: %w", update.ID, err)
		}
		if !advances(state, update.State) {
			return nil
		}
		batch := &pgx.Batch{}
		batch.Queue(`UPDATE trading.orders SET state = $2, venue_order_id = CASE WHEN $3 = '' THEN venue_order_id ELSE $3 END,
				reason = CASE WHEN $4 = '' THEN reason ELSE $4 END, market_time = $5, recorded_at = clock_timestamp(),
				sent_at = CASE WHEN $2 = 'Sent' THEN coalesce(sent_at, $6, clock_timestamp()) ELSE sent_at END,
				sent_epoch = CASE WHEN $2 = 'Sent' THEN coalesce(sent_epoch, $7) ELSE sent_epoch END WHERE id = $1`,
			update.ID, string(update.State), update.VenueOrderID, update.Reason, update.MarketTime, instant(update.At), lease.Epoch)
		if state != update.State {
			queueNews(batch, lease, NewsOrder, update.ID.String(), updateNews(update))
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("recording that order %s is %s: %w", update.ID, update.State, err)
		}
		return nil
	})
}

// SaveMark implements Ledger.
func (p *Postgres) SaveMark(ctx context.Context, lease Lease, mark Mark) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := own(ctx, tx, lease); err != nil {
			return err
		}
		mark, err := checkedMark(lease, mark)
		if err != nil {
			return err
		}
		instrument, err := lease.Agent.instrument(mark.Pair)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO trading.marks (agent_uid, pair, market_time, epoch, price, equity, peak_equity, day_start, day_start_equity)
			VALUES ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7::text::numeric, $8, $9::text::numeric)
			ON CONFLICT (agent_uid, pair, market_time) DO UPDATE SET ordinal = DEFAULT, epoch = excluded.epoch, price = excluded.price,
				equity = excluded.equity, peak_equity = excluded.peak_equity, day_start = excluded.day_start,
				day_start_equity = excluded.day_start_equity, recorded_at = clock_timestamp()`,
			lease.Agent.UID, mark.Pair, mark.MarketTime, lease.Epoch, instrument.PriceDecimal(mark.Price).String(),
			mark.Equity.String(), mark.PeakEquity.String(), mark.DayStart, mark.DayStartEquity.String())
		if err != nil {
			return fmt.Errorf("recording the mark of %s: %w", mark.Pair, err)
		}
		return nil
	})
}
