package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Request is what a person asked the agent to do beside its own decisions: to
// close the position of a pair.
type Request struct {
	// Key is the digest of the idempotency key that the person gave; see
	// RequestKey.
	Key string
	// Pair in canonical spelling.
	Pair string
}

// RequestKey is the digest under which a request is known. What a client sends is
// stored nowhere, since people paste the wrong thing now and then.
func RequestKey(idempotencyKey string) string {
	digest := sha256.Sum256([]byte(idempotencyKey))
	return hex.EncodeToString(digest[:])
}

// String does not repeat the key.
func (r Request) String() string { return "the request to close " + r.Pair }

func checkedRequest(lease Lease, request Request, intents []order.Intent) error {
	if len(request.Key) != sha256.Size*2 {
		return fmt.Errorf("%s: its key is not a digest", request)
	}
	if _, err := lease.Agent.instrument(request.Pair); err != nil {
		return fmt.Errorf("%s: %w", request, err)
	}
	if len(intents) == 0 {
		return fmt.Errorf("%s: it leads to no order", request)
	}
	for i := range intents {
		if intents[i].Pair != request.Pair || !intents[i].ReduceOnly {
			return fmt.Errorf("%s: intent %s does not reduce %s", request, intents[i].ID, request.Pair)
		}
	}
	return nil
}

func idsOf(intents []order.Intent) []uuid.UUID {
	ids := make([]uuid.UUID, len(intents))
	for i := range intents {
		ids[i] = intents[i].ID
	}
	return ids
}

// requested is what a request has led to.
type requested struct {
	pair    string
	intents []uuid.UUID
}

// sameRequest says why a key that is known cannot come again with this content.
func sameRequest(request Request, known requested, intents []order.Intent) error {
	if known.pair != request.Pair || !slices.Equal(known.intents, idsOf(intents)) {
		return fmt.Errorf("%s: its key: %w", request, ErrConflict)
	}
	return nil
}

// recalls says why a key that is known cannot be asked for by this request.
func recalls(request Request, known requested) error {
	if known.pair != request.Pair {
		return fmt.Errorf("%s: its key stands for another request: %w", request, ErrConflict)
	}
	return nil
}

// Recall implements Ledger.
func (p *Postgres) Recall(ctx context.Context, lease Lease, request Request) ([]uuid.UUID, error) {
	var known requested
	err := p.write(ctx, lease, step{
		ask: func(batch *pgx.Batch) { askRequest(batch, lease, request, &known) },
		write: func(context.Context, pgx.Tx, *pgx.Batch) error {
			if known.intents == nil {
				return nil
			}
			return recalls(request, known)
		},
	})
	if err != nil {
		return nil, err
	}
	return known.intents, nil
}

// askRequest queues the question what a request has led to; nothing if its intents
// are nil.
func askRequest(batch *pgx.Batch, lease Lease, request Request, known *requested) {
	*known = requested{}
	batch.Queue(`SELECT pair, intents FROM trading.requests WHERE agent_uid = $1 AND key = $2`, lease.Agent.UID, request.Key).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&known.pair, &known.intents); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("looking for %s: %w", request, err)
		}
		return nil
	})
}

// Request implements Ledger.
func (p *Postgres) Request(ctx context.Context, lease Lease, request Request, intents []order.Intent, sentAt time.Time) error {
	var known requested
	var stored map[uuid.UUID]order.Intent
	return p.write(ctx, lease, step{
		doing: "committing " + request.String(),
		ask: func(batch *pgx.Batch) {
			askRequest(batch, lease, request, &known)
			askIntents(batch, intents, &stored)
		},
		write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
			if err := checkedRequest(lease, request, intents); err != nil {
				return err
			}
			if known.intents != nil {
				return sameRequest(request, known, intents)
			}
			if err := queueIntents(batch, lease, stored, intents, sentAt); err != nil {
				return err
			}
			batch.Queue(`INSERT INTO trading.requests (agent_uid, key, pair, epoch, intents) VALUES ($1, $2, $3, $4, $5)`,
				lease.Agent.UID, request.Key, request.Pair, lease.Epoch, idsOf(intents))
			return nil
		},
	})
}

// Recall implements Ledger.
func (m *Memory) Recall(_ context.Context, lease Lease, request Request) ([]uuid.UUID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return nil, err
	}
	known, ok := agent.requests[request.Key]
	if !ok {
		return nil, nil
	}
	if err := recalls(request, known); err != nil {
		return nil, err
	}
	return slices.Clone(known.intents), nil
}

// Request implements Ledger.
func (m *Memory) Request(_ context.Context, lease Lease, request Request, intents []order.Intent, sentAt time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return err
	}
	if err := checkedRequest(lease, request, intents); err != nil {
		return err
	}
	if known, ok := agent.requests[request.Key]; ok {
		return sameRequest(request, known, intents)
	}
	if err := m.intend(agent, lease, intents, sentAt); err != nil {
		return err
	}
	if agent.requests == nil {
		agent.requests = map[string]requested{}
	}
	agent.requests[request.Key] = requested{pair: request.Pair, intents: idsOf(intents)}
	return nil
}
