package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

// memory is what this process has seen of its agents' chains, to notice a
// database that has forgotten it.
type memory struct {
	mu     sync.Mutex
	agents map[string]seen
}

// seen is how far an agent's chain has come.
type seen struct {
	epoch, links int64
	// told is what the process has been told of what the database forgot.
	told string
}

func (m *memory) of(agentUID string) seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agents[agentUID]
}

// advance remembers a commit.
func (m *memory) advance(agentUID string, links int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.agents[agentUID]
	known.links = max(known.links, links)
	m.agents[agentUID] = known
}

// begin remembers a new epoch, and with it whatever the chain is by now.
func (m *memory) begin(agentUID string, epoch, links int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[agentUID] = seen{epoch: epoch, links: links, told: m.agents[agentUID].told}
}

// settle remembers what is left of a chain, once it is written down that the rest
// was forgotten.
func (m *memory) settle(agentUID string, links int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.agents[agentUID]
	known.links = links
	m.agents[agentUID] = known
}

func (m *memory) tell(agentUID, told string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.agents[agentUID]
	known.told = told
	m.agents[agentUID] = known
}

// standing of an agent in the database.
type holding struct {
	epoch, links   int64
	holder, forgot string
}

// forgotten is what a database has lost that this process was told to be
// committed.
type forgotten struct {
	epoch  int64
	reason string
	cause  error
}

func (f *forgotten) Error() string { return f.reason }
func (f *forgotten) Unwrap() error { return f.cause }

// queueOwn queues the lock on the agent's lease, which is held until the
// transaction ends, and reads how the agent stands.
func queueOwn(batch *pgx.Batch, lease Lease, now *holding) {
	*now = holding{}
	batch.Queue(`SELECT epoch, holder, links, forgot FROM trading.own($1)`, lease.Agent.UID).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&now.epoch, &now.holder, &now.links, &now.forgot)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("checking the epoch of agent %s: %w", lease.Agent, err)
		}
		return nil
	})
}

// judge says why an agent that stands so in the database is not the lease's, or
// not what it was.
func (p *Postgres) judge(lease Lease, now holding) error {
	known := p.memory.of(lease.Agent.UID)
	switch {
	case now.epoch < lease.Epoch:
		// Whoever comes next has another epoch: this process must end too.
		reason := fmt.Sprintf("agent %s: the database is at epoch %d and had been at epoch %d", lease.Agent, now.epoch, lease.Epoch)
		return &forgotten{now.epoch, reason, errors.Join(ErrForgot, fenced(lease, now.epoch))}
	case now.epoch != lease.Epoch || now.holder != lease.Agent.Holder:
		return fenced(lease, now.epoch)
	case now.links < known.links:
		reason := fmt.Sprintf("agent %s: the database has %d links of the agent's chain and had %d", lease.Agent, now.links, known.links)
		return &forgotten{now.epoch, reason, ErrForgot}
	}
	return nil
}

// own locks the agent's lease until the transaction ends, if it still holds, and
// has answered together with it what ask queues; nil asks nothing.
func (p *Postgres) own(ctx context.Context, tx pgx.Tx, lease Lease, ask func(*pgx.Batch)) (holding, error) {
	var now holding
	batch := &pgx.Batch{}
	queueOwn(batch, lease, &now)
	if ask != nil {
		ask(batch)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return holding{}, err //nolint:wrapcheck // What is queued says what it was about.
	}
	return now, p.judge(lease, now)
}

// step is one transaction of the agent that holds a lease.
type step struct {
	// doing says what it is about.
	doing string
	// ask queues what must be known before anything is written. It is answered
	// together with the lock on the lease, in one exchange with the server. Nil if
	// nothing must be.
	ask func(*pgx.Batch)
	// write queues what is written, after it has judged the answers; what else it
	// must know it may ask by itself.
	write func(context.Context, pgx.Tx, *pgx.Batch) error
}

// write runs a step. What is written is sent with the question how long the chain
// has become, which is what the database is held to from then on. A step may run
// more than once; ask begins anew each time.
func (p *Postgres) write(ctx context.Context, lease Lease, do step) error {
	var links int64
	err := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		now, err := p.own(ctx, tx, lease, do.ask)
		if err != nil {
			return err
		}
		if now.forgot != p.memory.of(lease.Agent.UID).told {
			return fmt.Errorf("agent %s: %w: load what it has left first", lease.Agent, ErrForgot)
		}
		links = now.links
		batch := &pgx.Batch{}
		if err := do.write(ctx, tx, batch); err != nil || batch.Len() == 0 {
			return err
		}
		batch.Queue(`SELECT length FROM trading.chains WHERE agent_uid = $1`, lease.Agent.UID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&links) })
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("%s: %w", do.doing, err)
		}
		return nil
	})
	if err == nil {
		p.memory.advance(lease.Agent.UID, links)
	}
	return p.noted(ctx, lease, err)
}

// noted writes down that the database has forgotten, so that whoever reads it
// next is told, this process or another. From then on this process holds the
// database to what is left: it is told by Load like any other, and goes on.
func (p *Postgres) noted(ctx context.Context, lease Lease, err error) error {
	lost, ok := errors.AsType[*forgotten](err)
	if !ok || lost.epoch == 0 {
		return err
	}
	var links int64
	recorded := p.db.Write(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT trading.record_recovery($1, $2, 'Forgot', $3)`, lease.Agent.UID, lost.epoch, lost.reason); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT length FROM trading.chains WHERE agent_uid = $1`, lease.Agent.UID).Scan(&links)
	})
	if recorded == nil {
		p.memory.settle(lease.Agent.UID, links)
	}
	if recorded != nil && !errors.Is(recorded, database.ErrUnavailable) {
		// A newer process has the epoch and compares for itself.
		return err
	}
	return errors.Join(err, recorded)
}

// Proven implements Ledger.
func (p *Postgres) Proven(ctx context.Context, lease Lease, what string) error {
	err := p.write(ctx, lease, step{doing: "recording what was proven", write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
		batch.Queue(`SELECT trading.record_recovery($1, $2, 'Proven', $3)`, lease.Agent.UID, lease.Epoch, what)
		return nil
	}})
	if err == nil {
		p.memory.tell(lease.Agent.UID, "")
	}
	return err
}
