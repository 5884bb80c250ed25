package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

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
	db     *database.Pool
	memory memory
}

var _ Ledger = (*Postgres)(nil)

// Open connects to a ledger. It fails with ErrUnavailable if the database does
// not answer, with ErrSchema if its schema is neither Latest nor a later one for programs such as this, and with ErrNotDurable if
// its settings let a crash forget what it has committed. The URI looks like
// postgres://user:password@host:5432/database; its password appears in no error.
func Open(ctx context.Context, uri string) (*Postgres, error) {
	return Follow(ctx, database.Fixed(uri))
}

// Follow is Open for a URI that may change: connections that are made from then on
// are made by the new one. A database that turns out to be another one is refused by
// the first transaction in it, which finds neither the epoch nor the chain.
func Follow(ctx context.Context, source database.Source) (*Postgres, error) {
	uri, err := source()
	if err != nil {
		return nil, err
	}
	info, err := Info(ctx, uri)
	if err != nil {
		return nil, err
	}
	if err := serves(info.SchemaVersion, info.Oldest); err != nil {
		return nil, err
	}
	if faults := info.NotDurable(); faults != "" {
		return nil, notDurable(faults)
	}
	db, err := database.Open(ctx, source)
	if err != nil {
		return nil, err
	}
	return newPostgres(db), nil
}

func newPostgres(db *database.Pool) *Postgres {
	return &Postgres{db: db, memory: memory{agents: map[string]seen{}}}
}

// Close ends the ledger's connections.
func (p *Postgres) Close() { p.db.Close() }

// Ping says whether the database answers.
func (p *Postgres) Ping(ctx context.Context) error { return p.db.Ping(ctx) }

// Database is the ledger's pool of connections, for what else the same database
// holds.
func (p *Postgres) Database() *database.Pool { return p.db }

// Decide implements Ledger.
func (p *Postgres) Decide(ctx context.Context, lease Lease, decision Decision, intents []order.Intent, sentAt time.Time) error {
	decision, invalid := checkedDecision(lease, decision, intents)
	var before standing
	return p.write(ctx, lease, step{
		doing: fmt.Sprintf("committing decision %d on %s", decision.Sequence, decision.Pair),
		ask:   func(batch *pgx.Batch) { before.ask(batch, lease, decision, intents) },
		write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
			if invalid != nil {
				return invalid
			}
			if before.known {
				return before.same(lease, decision, intents)
			}
			if err := before.precedes(decision); err != nil {
				return err
			}
			// gofail: var decisionChecked struct{}
			if err := queueIntents(batch, lease, before.stored, intents, sentAt); err != nil {
				return err
			}
			queueDecision(batch, lease, decision, intents)
			return nil
		},
	})
}

// standing is what the ledger holds that a decision is judged by.
type standing struct {
	// known says that there is a decision on the same pair and bar; ids are its
	// intents.
	known    bool
	decision Decision
	ids      []uuid.UUID
	// decisions and intents are the last sequence of each.
	decisions, intents int64
	// stored are those of the decision's intents that are in the ledger.
	stored map[uuid.UUID]order.Intent
}

func (s *standing) ask(batch *pgx.Batch, lease Lease, decision Decision, intents []order.Intent) {
	*s = standing{decision: Decision{Pair: decision.Pair, BarEnd: decision.BarEnd}}
	batch.Queue(`SELECT sequence, action, (confidence * 1000000)::bigint, outcome, reasoning::text, intents
		FROM trading.decisions WHERE agent_uid = $1 AND pair = $2 AND bar_end = $3`,
		lease.Agent.UID, decision.Pair, decision.BarEnd).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&s.decision.Sequence, &s.decision.Action, &s.decision.ConfidenceMicros, &s.decision.Outcome, (*text)(&s.decision.Reasoning), &s.ids)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("looking for a decision on %s: %w", decision.Pair, err)
		}
		s.known = err == nil
		return nil
	})
	batch.Queue(`SELECT
		coalesce((SELECT max(sequence) FROM trading.decisions WHERE agent_uid = $1), 0),
		coalesce((SELECT max(sequence) FROM trading.intents WHERE agent_uid = $1), 0)`, lease.Agent.UID).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&s.decisions, &s.intents); err != nil {
			return fmt.Errorf("reading the sequence of agent %s: %w", lease.Agent, err)
		}
		return nil
	})
	askIntents(batch, intents, &s.stored)
}

// same is nil if a decision repeats what is stored.
func (s *standing) same(lease Lease, decision Decision, intents []order.Intent) error {
	if !equalDecisions(s.decision, decision) || !slices.Equal(s.ids, idsOf(intents)) {
		return decided(decision)
	}
	for i := range intents {
		intent, err := checkedIntent(lease, intents[i])
		if err != nil {
			return err
		}
		if s.stored[intent.ID] != intent {
			return decided(decision)
		}
	}
	return nil
}

// precedes refuses a decision that does not come after all that is stored.
func (s *standing) precedes(decision Decision) error {
	if s.decisions == 0 {
		return follows(decision, nil, s.intents)
	}
	return follows(decision, &Decision{Sequence: s.decisions}, max(s.decisions, s.intents))
}

func queueDecision(batch *pgx.Batch, lease Lease, decision Decision, intents []order.Intent) {
	var reasoning *string
	if decision.Reasoning != nil {
		text := string(decision.Reasoning)
		reasoning = &text
	}
	confidence := fmt.Sprintf("%d.%06d", decision.ConfidenceMicros/1_000_000, decision.ConfidenceMicros%1_000_000)
	batch.Queue(`INSERT INTO trading.decisions (agent_uid, sequence, epoch, pair, bar_end, action, confidence, outcome, reasoning, intents)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9::text::json, $10)`,
		lease.Agent.UID, decision.Sequence, lease.Epoch, decision.Pair, decision.BarEnd, decision.Action, confidence,
		decision.Outcome, reasoning, idsOf(intents))
	queueNews(batch, lease, NewsDecision, strconv.FormatInt(decision.Sequence, 10), decisionNews(decision))
}

// queueNews adds to the outbox.
func queueNews(batch *pgx.Batch, lease Lease, topic, key string, payload map[string]any) {
	batch.Queue(`INSERT INTO trading.outbox (agent_uid, topic, key, payload) VALUES ($1, $2, $3, $4)`, lease.Agent.UID, topic, key, payload)
}

// queueIntents queues those intents that are not stored yet, the first as one that
// is being sent unless sentAt is zero.
func queueIntents(batch *pgx.Batch, lease Lease, stored map[uuid.UUID]order.Intent, intents []order.Intent, sentAt time.Time) error {
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
		state := order.Intended
		if i == 0 && !sentAt.IsZero() {
			state = order.Sent
		}
		queueIntent(batch, lease, instrument, intent)
		if state == order.Sent {
			queueUpdate(batch, lease, OrderUpdate{ID: intent.ID, State: state, MarketTime: intent.MarketTime, At: marketTime(sentAt)})
		}
		queueNews(batch, lease, NewsOrder, intent.ID.String(), intentNews(intent, state))
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
}

// UpdateOrder implements Ledger.
func (p *Postgres) UpdateOrder(ctx context.Context, lease Lease, update OrderUpdate) error {
	update, invalid := checkedUpdate(update)
	var state order.State
	return p.write(ctx, lease, step{
		doing: fmt.Sprintf("recording that order %s is %s", update.ID, update.State),
		ask: func(batch *pgx.Batch) {
			state = ""
			batch.Queue(`SELECT state FROM trading.orders WHERE id = $1 AND agent_uid = $2`, update.ID, lease.Agent.UID).QueryRow(func(row pgx.Row) error {
				if err := row.Scan(&state); err != nil && !errors.Is(err, pgx.ErrNoRows) {
					return fmt.Errorf("reading order %s: %w", update.ID, err)
				}
				return nil
			})
		},
		write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
			switch {
			case invalid != nil:
				return invalid
			case state == "":
				return fmt.Errorf("order %s: %w", update.ID, ErrNoIntent)
			case !advances(state, update.State):
				return nil
			}
			queueUpdate(batch, lease, update)
			if state != update.State {
				queueNews(batch, lease, NewsOrder, update.ID.String(), updateNews(update))
			}
			return nil
		},
	})
}

func queueUpdate(batch *pgx.Batch, lease Lease, update OrderUpdate) {
	batch.Queue(`INSERT INTO trading.order_updates (agent_uid, order_id, epoch, state, venue_order_id, reason, market_time, happened_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, lease.Agent.UID, update.ID, lease.Epoch, string(update.State), update.VenueOrderID,
		update.Reason, update.MarketTime, instant(update.At))
}

// SaveMark implements Ledger.
func (p *Postgres) SaveMark(ctx context.Context, lease Lease, mark Mark) error {
	return p.write(ctx, lease, step{doing: "recording the mark of " + mark.Pair, write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
		mark, err := checkedMark(lease, mark)
		if err != nil {
			return err
		}
		instrument, err := lease.Agent.instrument(mark.Pair)
		if err != nil {
			return err
		}
		// After a lost commit the newest mark may be this one already.
		batch.Queue(`INSERT INTO trading.marks (agent_uid, pair, market_time, epoch, price, equity, peak_equity, day_start, day_start_equity)
			SELECT n.* FROM (SELECT $1::text, $2::text, $3::timestamptz, $4::bigint, $5::text::numeric, $6::text::numeric, $7::text::numeric,
				$8::timestamptz, $9::text::numeric) n
			WHERE NOT EXISTS (SELECT FROM (SELECT * FROM trading.marks WHERE agent_uid = $1 ORDER BY market_time DESC, ordinal DESC LIMIT 1) m
				WHERE (m.agent_uid, m.pair, m.market_time, m.epoch, m.price, m.equity, m.peak_equity, m.day_start, m.day_start_equity) = n)`,
			lease.Agent.UID, mark.Pair, mark.MarketTime, lease.Epoch, instrument.PriceDecimal(mark.Price).String(),
			mark.Equity.String(), mark.PeakEquity.String(), mark.DayStart, mark.DayStartEquity.String())
		return nil
	}})
}
