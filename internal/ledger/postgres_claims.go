package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Acquire implements Ledger. After a lost reply it takes one more epoch, which
// does no harm.
func (p *Postgres) Acquire(ctx context.Context, agent Agent) (Lease, error) {
	agent, err := checkedAgent(agent)
	if err != nil {
		return Lease{}, err
	}
	lease := Lease{Agent: agent}
	var links int64
	err = p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := durable(ctx, tx); err != nil {
			return err
		}
		// From here on no older process of this agent writes: those that had
		// begun are over, the others will find the new epoch.
		if err := register(ctx, tx, &lease, p.memory.of(agent.UID)); err != nil {
			return err
		}
		// gofail: var epochAdvanced struct{}
		if err := open(ctx, tx, lease); err != nil {
			return err
		}
		for _, instrument := range agent.Instruments {
			if err := claimPair(ctx, tx, lease, instrument); err != nil {
				return err
			}
		}
		// gofail: var pairsClaimed struct{}
		if err := giveUpOthers(ctx, tx, lease); err != nil {
			return err
		}
		return p.compare(ctx, tx, lease, &links)
	})
	if err != nil {
		return Lease{}, err
	}
	p.memory.begin(agent.UID, lease.Epoch, links)
	return lease, nil
}

// register makes the agent known, or checks that it is whom it was, and gives it
// a new epoch.
func register(ctx context.Context, tx pgx.Tx, lease *Lease, before seen) error {
	agent := lease.Agent
	var known Agent
	err := tx.QueryRow(ctx, `SELECT epoch, known_account, known_venue, known_currency FROM trading.acquire($1, $2, $3, $4, $5, $6, $7, $8)`,
		agent.UID, agent.Namespace, agent.Name, agent.Account, agent.Venue, agent.Currency, agent.Holder, before.epoch).
		Scan(&lease.Epoch, &known.Account, &known.Venue, &known.Currency)
	if err != nil {
		return fmt.Errorf("registering agent %s: %w", agent, err)
	}
	return sameBook(known, agent)
}

// compare finds out whether the database has forgotten what this process or the
// one before had written, and records it.
func (p *Postgres) compare(ctx context.Context, tx pgx.Tx, lease Lease, links *int64) error {
	var moved string
	err := tx.QueryRow(ctx, `SELECT c.length, coalesce((SELECT CASE
				WHEN now.system_identifier <> before.system_identifier THEN
					format('the database cluster is another one: %s, not %s', now.system_identifier, before.system_identifier)
				WHEN now.timeline <> before.timeline THEN
					format('the server has gone from timeline %s to %s, by a fail-over or a restore', before.timeline, now.timeline)
				END FROM trading.epochs now, trading.epochs before WHERE now.agent_uid = $1 AND now.epoch = $2
				AND before.agent_uid = $1 AND before.epoch = (SELECT max(epoch) FROM trading.epochs WHERE agent_uid = $1 AND epoch < $2)), '')
		FROM trading.chains c WHERE c.agent_uid = $1`, lease.Agent.UID, lease.Epoch).Scan(links, &moved)
	if err != nil {
		return fmt.Errorf("comparing the ledger with what was known of it: %w", err)
	}
	if before := p.memory.of(lease.Agent.UID); *links < before.links {
		moved = fmt.Sprintf("the database had %d links of the agent's chain and came back with fewer", before.links)
	}
	if moved == "" {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT trading.record_recovery($1, $2, 'Forgot', $3)`, lease.Agent.UID, lease.Epoch, moved); err != nil {
		return fmt.Errorf("recording that %s: %w", moved, err)
	}
	return nil
}

// open gives an agent its balance, once.
func open(ctx context.Context, tx pgx.Tx, lease Lease) error {
	var id int64
	err := tx.QueryRow(ctx, `INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time) VALUES ($1, 'Opening', $2, '-infinity')
		ON CONFLICT (agent_uid) WHERE kind = 'Opening' DO NOTHING RETURNING id`, lease.Agent.UID, lease.Epoch).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		var postings postings
		postings.add("assets:cash", "", lease.Agent.Currency, lease.Agent.Balance.String())
		postings.add("equity:opening", "", lease.Agent.Currency, (-lease.Agent.Balance).String())
		err = post(ctx, tx, id, lease.Agent.UID, postings)
	}
	if err != nil {
		return fmt.Errorf("opening the book of agent %s: %w", lease.Agent, err)
	}
	return nil
}

func post(ctx context.Context, tx pgx.Tx, transaction int64, agentUID string, p postings) error {
	_, err := tx.Exec(ctx, `INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
		SELECT $1, $2, u.ledger_account, u.pair, u.currency, u.amount::numeric
		FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS u (ledger_account, pair, currency, amount)`,
		transaction, agentUID, p.accounts, p.pairs, p.currencies, p.amounts)
	return err
}

// claimPair gives the agent a pair, if no living agent has it.
func claimPair(ctx context.Context, tx pgx.Tx, lease Lease, instrument market.Instrument) error {
	agent := lease.Agent
	steps := []any{agent.UID, lease.Epoch, instrument.Pair, instrument.Base, instrument.Quote, instrument.Tick.String(), instrument.Lot.String()}
	var claimed bool
	err := tx.QueryRow(ctx, `SELECT trading.claim($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric)`, steps...).Scan(&claimed)
	if err != nil {
		return fmt.Errorf("claiming %s: %w", instrument.Pair, err)
	}
	if claimed {
		return nil
	}
	owner, released, held, working, err := claimOf(ctx, tx, agent.Account, instrument.Pair)
	if err != nil {
		return err
	}
	if err := mayClaim(agent, owner, released, instrument, held, working); err != nil {
		return err
	}
	if owner.UID != agent.UID && held.position.Quantity != 0 {
		// gofail: var adoptionWanted struct{}
		if err := adopt(ctx, tx, lease, owner, instrument, held.position); err != nil {
			return fmt.Errorf("adopting the position of agent %s in %s: %w", owner, instrument.Pair, err)
		}
	}
	// gofail: var claimWanted struct{}
	_, err = tx.Exec(ctx, `SELECT trading.take_claim($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric)`, steps...)
	if err != nil {
		return fmt.Errorf("claiming %s: %w", instrument.Pair, err)
	}
	if owner.UID != agent.UID {
		return inherit(ctx, tx, lease, owner.UID)
	}
	return nil
}

// claimOf locks a claim and tells whose it is.
func claimOf(ctx context.Context, tx pgx.Tx, account, pair string) (owner Agent, released bool, held claim, working int, err error) {
	var tick, lot decimal.Decimal
	err = tx.QueryRow(ctx, `SELECT owner_uid, owner_namespace, owner_name, released, base, quote, tick::text, lot::text,
			position_lots, (position_cost * 100000000)::bigint, working
		FROM trading.claim_of($1, $2)`, account, pair).
		Scan(&owner.UID, &owner.Namespace, &owner.Name, &released, &held.instrument.Base, &held.instrument.Quote, &tick, &lot,
			(*int64)(&held.position.Quantity), (*int64)(&held.position.Cost), &working)
	if err != nil {
		err = fmt.Errorf("reading who trades %s: %w", pair, err)
	}
	held.instrument.Tick, held.instrument.Lot = tick, lot
	return owner, released, held, working, err
}

// adopt moves a position from an agent that is gone to the next one, which pays
// its cost: neither book gains or loses by it.
func adopt(ctx context.Context, tx pgx.Tx, lease Lease, from Agent, instrument market.Instrument, position Position) error {
	quantity := instrument.QuantityDecimal(position.Quantity).String()
	cost := position.Cost.String()
	var adopting int64
	for _, side := range []struct{ uid, quantity, cost string }{
		{from.UID, negated(quantity), (-position.Cost).String()},
		{lease.Agent.UID, quantity, cost},
	} {
		err := tx.QueryRow(ctx, `INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time)
			VALUES ($1, 'Adoption', $2, coalesce((SELECT max(market_time) FROM trading.marks WHERE agent_uid = $3), '-infinity')) RETURNING id`,
			side.uid, lease.Epoch, from.UID).Scan(&adopting)
		if err != nil {
			return err
		}
		var postings postings
		postings.add("assets:position", instrument.Pair, instrument.Base, side.quantity)
		postings.add("equity:exchange", instrument.Pair, instrument.Base, negated(side.quantity))
		postings.add("assets:cost", instrument.Pair, instrument.Quote, side.cost)
		if side.cost != "0" {
			postings.add("assets:cash", "", instrument.Quote, negated(side.cost))
		}
		if err := post(ctx, tx, adopting, side.uid, postings); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO trading.adoptions (transaction_id, agent_uid, from_agent_uid, epoch, pair, quantity, cost)
		VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric)`,
		adopting, lease.Agent.UID, from.UID, lease.Epoch, instrument.Pair, quantity, cost)
	return err
}

// giveUpOthers drops the agent's claims of pairs that it no longer names.
func giveUpOthers(ctx context.Context, tx pgx.Tx, lease Lease) error {
	agent := lease.Agent
	named := make([]string, len(agent.Instruments))
	for i, instrument := range agent.Instruments {
		named[i] = instrument.Pair
	}
	rows, err := tx.Query(ctx, `SELECT pair, position_lots, working FROM trading.claims_but($1, $2, $3)`, agent.UID, lease.Epoch, named)
	if err != nil {
		return fmt.Errorf("giving up what agent %s no longer trades: %w", agent, err)
	}
	var pair string
	var position Position
	var working int
	_, err = pgx.ForEachRow(rows, []any{&pair, (*int64)(&position.Quantity), &working}, func() error {
		return mayGiveUp(agent, pair, position, working)
	})
	if err != nil {
		return fmt.Errorf("giving up what agent %s no longer trades: %w", agent, err)
	}
	return nil
}

// heldColumns are the position and the count of open orders behind a claim c.
const heldColumns = `
	coalesce((SELECT (b.amount / c.lot)::bigint FROM trading.balances b
		WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:position' AND b.pair = c.pair AND b.currency = c.base), 0),
	coalesce((SELECT (b.amount * 100000000)::bigint FROM trading.balances b
		WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:cost' AND b.pair = c.pair AND b.currency = c.quote), 0),
	(SELECT count(*) FROM trading.orders o
		WHERE o.agent_uid = c.agent_uid AND o.pair = c.pair AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected'))`

// Release gives up the claims of an agent that is gone and fences what may be
// left of it. Claims of pairs in which it holds a position or has open orders
// stay: the next agent that claims such a pair adopts its position. An agent
// that never came is no error. Release may be repeated.
func (p *Postgres) Release(ctx context.Context, agentUID string) error {
	return p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE trading.leases SET epoch = epoch + 1, holder = 'released', acquired_at = clock_timestamp() WHERE agent_uid = $1`, agentUID)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE trading.agents SET released_at = coalesce(released_at, clock_timestamp()) WHERE uid = $1`, agentUID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM trading.claims c USING (SELECT c.account, c.pair, `+heldColumns+` FROM trading.claims c
					WHERE c.agent_uid = $1) AS held (account, pair, quantity, cost, working)
				WHERE c.account = held.account AND c.pair = held.pair AND held.quantity = 0 AND held.working = 0`, agentUID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM trading.shares WHERE agent_uid = $1
				AND NOT EXISTS (SELECT 1 FROM trading.claims WHERE agent_uid = $1)`, agentUID)
		}
		if err != nil {
			return fmt.Errorf("releasing the pairs of agent %s: %w", agentUID, err)
		}
		return nil
	})
}

// Release is Postgres.Release for who has only the connection URI. A database
// that was never migrated has nothing to release.
func Release(ctx context.Context, uri, agentUID string) error {
	version, err := SchemaVersion(ctx, uri)
	if err != nil || version == 0 {
		return err
	}
	db, err := database.Open(ctx, database.Fixed(uri))
	if err != nil {
		return err
	}
	defer db.Close()
	return newPostgres(db).Release(ctx, agentUID)
}
