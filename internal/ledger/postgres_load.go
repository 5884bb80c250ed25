package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Load implements Ledger. A process that finds here that the database has forgotten
// is told so at once, as after any other call.
func (p *Postgres) Load(ctx context.Context, lease Lease) (Snapshot, error) {
	snapshot, err := p.load(ctx, lease)
	if err == nil {
		return snapshot, nil
	}
	err = p.noted(ctx, lease, err)
	if !errors.Is(err, ErrForgot) || errors.Is(err, ErrFenced) || errors.Is(err, ErrUnavailable) {
		return Snapshot{}, err
	}
	return p.load(ctx, lease)
}

func (p *Postgres) load(ctx context.Context, lease Lease) (Snapshot, error) {
	var snapshot Snapshot
	// With the lease locked nothing of the agent changes meanwhile, and a commit
	// of its own that is still under way is waited for.
	err := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		now, err := p.own(ctx, tx, lease, nil)
		if err != nil {
			return err
		}
		snapshot = Snapshot{
			Forgot:      now.forgot,
			Positions:   map[string]Position{},
			LastMark:    map[string]Mark{},
			LastDecided: map[string]time.Time{},
			ClaimedAt:   map[string]time.Time{},
			OpenedAt:    map[string]time.Time{},
			LastStop:    map[string]time.Time{},
			Realised:    map[string]market.Money{},
			Shares:      map[string]market.Money{},
		}
		for _, part := range []func(context.Context, pgx.Tx, Lease, *Snapshot) error{
			loadCounts, loadLastDecision, loadPairs, loadNewest, loadOpenOrders, loadAdoptions, loadArming, loadRecord, loadShares, loadRecovery,
		} {
			if err := part(ctx, tx, lease, &snapshot); err != nil {
				return fmt.Errorf("loading what agent %s left behind: %w", lease.Agent, err)
			}
		}
		return nil
	})
	if err != nil {
		return Snapshot{}, err
	}
	p.memory.tell(lease.Agent.UID, snapshot.Forgot)
	return snapshot, nil
}

func loadCounts(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	return tx.QueryRow(ctx, `SELECT
		coalesce(greatest((SELECT max(sequence) FROM trading.decisions WHERE agent_uid = $1),
			(SELECT max(sequence) FROM trading.intents WHERE agent_uid = $1)), 0),
		(SELECT count(*) FROM trading.decisions WHERE agent_uid = $1),
		(SELECT count(*) FROM trading.fills WHERE agent_uid = $1),
		coalesce((SELECT (amount * 100000000)::bigint FROM trading.balances
			WHERE agent_uid = $1 AND ledger_account = 'assets:cash' AND pair = '' AND currency = $2), 0)`,
		lease.Agent.UID, lease.Agent.Currency).Scan(&s.LastSequence, &s.Decisions, &s.Fills, &s.Cash)
}

func loadLastDecision(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	var last Decision
	err := tx.QueryRow(ctx, `SELECT sequence, pair, bar_end, action, (confidence * 1000000)::bigint, outcome, reasoning::text
		FROM trading.decisions WHERE agent_uid = $1 ORDER BY sequence DESC LIMIT 1`, lease.Agent.UID).
		Scan(&last.Sequence, &last.Pair, &last.BarEnd, &last.Action, &last.ConfidenceMicros, &last.Outcome, (*text)(&last.Reasoning))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	last.BarEnd = last.BarEnd.UTC()
	s.LastDecision = &last
	return err
}

// loadPairs reads position, newest mark and newest decision of each pair.
func loadPairs(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	rows, err := tx.Query(ctx, `SELECT c.pair, c.claimed_at, c.opened_at,
			coalesce((SELECT (b.amount / c.lot)::bigint FROM trading.balances b
				WHERE b.agent_uid = $1 AND b.ledger_account = 'assets:position' AND b.pair = c.pair AND b.currency = c.base), 0),
			coalesce((SELECT (b.amount * 100000000)::bigint FROM trading.balances b
				WHERE b.agent_uid = $1 AND b.ledger_account = 'assets:cost' AND b.pair = c.pair AND b.currency = c.quote), 0),
			`+changeOf+`,
			(SELECT max(d.bar_end) FROM trading.decisions d WHERE d.agent_uid = $1 AND d.pair = c.pair)
		FROM trading.claims c WHERE c.agent_uid = $1`, lease.Agent.UID)
	if err != nil {
		return err
	}
	var pair string
	var claimed time.Time
	var opened, decided *time.Time
	var position Position
	_, err = pgx.ForEachRow(rows, []any{&pair, &claimed, &opened, &position.Quantity, &position.Cost, &position.Change, &decided}, func() error {
		s.ClaimedAt[pair] = claimed.UTC()
		if position != (Position{}) {
			s.Positions[pair] = position
		}
		if position.Quantity != 0 {
			if opened != nil {
				s.OpenedAt[pair] = opened.UTC()
			}
		}
		if decided != nil {
			s.LastDecided[pair] = decided.UTC()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, instrument := range lease.Agent.Instruments {
		mark, err := markOf(ctx, tx, lease, `AND pair = $2 ORDER BY market_time DESC, ordinal DESC LIMIT 1`, instrument.Pair)
		if err != nil {
			return err
		}
		if mark != nil {
			s.LastMark[instrument.Pair] = *mark
		}
	}
	return nil
}

// loadNewest reads the newest mark of all and how often its day has traded, and
// any day after it.
func loadNewest(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	newest, err := markOf(ctx, tx, lease, `ORDER BY market_time DESC, ordinal DESC LIMIT 1`)
	if err != nil || newest == nil {
		return err
	}
	s.Newest, s.Openings = *newest, map[time.Time]int32{}
	rows, err := tx.Query(ctx, `SELECT date_trunc('day', market_time, 'UTC'), count(*) FROM trading.intents
		WHERE agent_uid = $1 AND NOT reduce_only AND market_time >= $2 GROUP BY 1`, lease.Agent.UID, dayOf(newest.MarketTime))
	if err != nil {
		return err
	}
	var day time.Time
	var count int32
	_, err = pgx.ForEachRow(rows, []any{&day, &count}, func() error {
		s.Openings[day.UTC()] = count
		return nil
	})
	return err
}

// markOf reads one mark; nil if there is none.
func markOf(ctx context.Context, tx pgx.Tx, lease Lease, which string, args ...any) (*Mark, error) {
	var mark Mark
	var price decimal.Decimal
	err := tx.QueryRow(ctx, `SELECT pair, market_time, price::text, (equity * 100000000)::bigint, (peak_equity * 100000000)::bigint,
			day_start, (day_start_equity * 100000000)::bigint
		FROM trading.marks WHERE agent_uid = $1 `+which, append([]any{lease.Agent.UID}, args...)...).
		Scan(&mark.Pair, &mark.MarketTime, &price, &mark.Equity, &mark.PeakEquity, &mark.DayStart, &mark.DayStartEquity)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mark.MarketTime, mark.DayStart = mark.MarketTime.UTC(), mark.DayStart.UTC()
	instrument, err := lease.Agent.instrument(mark.Pair)
	if errors.Is(err, errNotTraded) {
		// The newest mark may be of a pair that is traded no more: its equity
		// counts, its price means nothing without the tick.
		return &mark, nil
	}
	if err != nil {
		return nil, err
	}
	mark.Price, err = instrument.PriceOf(price)
	return &mark, err
}

func loadOpenOrders(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	rows, err := tx.Query(ctx, `SELECT `+intentColumns+`, o.state, o.venue_order_id, o.filled_lots, o.late_lots, o.sent_at, coalesce(o.sent_epoch, 0)
		FROM trading.orders o JOIN trading.intents i ON i.id = o.id
		WHERE o.agent_uid = $1 AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected') ORDER BY i.ordinal`, lease.Agent.UID)
	if err != nil {
		return err
	}
	var open Order
	fields := append(intentFields(&open.Intent), &open.State, &open.VenueOrderID, &open.Filled, &open.Late, (*utcInstant)(&open.SentAt), &open.SentEpoch)
	_, err = pgx.ForEachRow(rows, fields, func() error {
		s.OpenOrders = append(s.OpenOrders, open)
		return nil
	})
	return err
}

func loadAdoptions(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	rows, err := tx.Query(ctx, `SELECT a.pair, f.namespace || '/' || f.name, (a.quantity / c.lot)::bigint, (a.cost * 100000000)::bigint
		FROM trading.adoptions a
		JOIN trading.agents f ON f.uid = a.from_agent_uid
		JOIN trading.claims c ON c.agent_uid = a.agent_uid AND c.pair = a.pair
		WHERE a.agent_uid = $1 ORDER BY a.epoch, a.pair`, lease.Agent.UID)
	if err != nil {
		return err
	}
	var adopted Adoption
	_, err = pgx.ForEachRow(rows, []any{&adopted.Pair, &adopted.From, &adopted.Quantity, &adopted.Cost}, func() error {
		s.Adopted = append(s.Adopted, adopted)
		return nil
	})
	return err
}

const intentColumns = `i.id, i.account, i.agent_uid, i.sequence, i.leg, i.replacement, i.pair, i.side, i.quantity_lots, i.limit_ticks,
	i.reduce_only, (i.reserved * 100000000)::bigint, i.market_time, i.reason, i.frozen, i.not_after`

func intentFields(i *order.Intent) []any {
	return []any{&i.ID, &i.Account, &i.AgentUID, &i.Sequence, &i.Leg, &i.Replacement, &i.Pair, (*readSide)(&i.Side), (*int64)(&i.Quantity),
		(*int64)(&i.Limit), &i.ReduceOnly, (*int64)(&i.Reserved), (*utcInstant)(&i.MarketTime), &i.Reason, &i.Frozen, (*utcInstant)(&i.NotAfter)}
}

// askIntents queues the question which of the intents are stored, and how.
func askIntents(batch *pgx.Batch, intents []order.Intent, stored *map[uuid.UUID]order.Intent) {
	*stored = nil
	if len(intents) == 0 {
		return
	}
	found := make(map[uuid.UUID]order.Intent, len(intents))
	*stored = found
	batch.Queue(`SELECT `+intentColumns+` FROM trading.intents i WHERE i.id = ANY ($1)`, idsOf(intents)).Query(func(rows pgx.Rows) error {
		var intent order.Intent
		_, err := pgx.ForEachRow(rows, intentFields(&intent), func() error {
			found[intent.ID] = intent
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for intents: %w", err)
		}
		return nil
	})
}
