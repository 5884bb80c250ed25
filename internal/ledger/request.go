package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

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

// sameRequest says why a key that is known cannot come again with this content.
func sameRequest(request Request, knownPair string, known []uuid.UUID, intents []order.Intent) error {
	if knownPair != request.Pair || !slices.Equal(known, idsOf(intents)) {
		return fmt.Errorf("%s: its key: %w", request, ErrConflict)
	}
	return nil
}

// recalled is what a key that is known has led to, if it was the same request.
func recalled(request Request, knownPair string, known []uuid.UUID) ([]uuid.UUID, error) {
	if knownPair != request.Pair {
		return nil, fmt.Errorf("%s: its key stands for another request: %w", request, ErrConflict)
	}
	return known, nil
}

// Recall implements Ledger.
func (p *Postgres) Recall(ctx context.Context, lease Lease, request Request) ([]uuid.UUID, error) {
	var known []uuid.UUID
	err := p.write(ctx, lease, "", func(ctx context.Context, tx pgx.Tx, _ *pgx.Batch) error {
		pair, ids, err := requestAt(ctx, tx, lease, request)
		if err != nil || ids == nil {
			known = nil
			return err
		}
		known, err = recalled(request, pair, ids)
		return err
	})
	return known, err
}

// requestAt finds what a request has led to; nil if nothing.
func requestAt(ctx context.Context, tx pgx.Tx, lease Lease, request Request) (string, []uuid.UUID, error) {
	var pair string
	var ids []uuid.UUID
	err := tx.QueryRow(ctx, `SELECT pair, intents FROM trading.requests WHERE agent_uid = $1 AND key = $2`, lease.Agent.UID, request.Key).Scan(&pair, &ids)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("looking for %s: %w", request, err)
	}
	return pair, ids, nil
}

// Request implements Ledger.
func (p *Postgres) Request(ctx context.Context, lease Lease, request Request, intents []order.Intent) error {
	return p.write(ctx, lease, "committing "+request.String(), func(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
		if err := checkedRequest(lease, request, intents); err != nil {
			return err
		}
		pair, known, err := requestAt(ctx, tx, lease, request)
		if err != nil {
			return err
		}
		if known != nil {
			return sameRequest(request, pair, known, intents)
		}
		if err := queueIntents(ctx, tx, batch, lease, intents); err != nil {
			return err
		}
		batch.Queue(`INSERT INTO trading.requests (agent_uid, key, pair, epoch, intents) VALUES ($1, $2, $3, $4, $5)`,
			lease.Agent.UID, request.Key, request.Pair, lease.Epoch, idsOf(intents))
		return nil
	})
}

// memoryRequest is what a request has led to.
type memoryRequest struct {
	pair    string
	intents []uuid.UUID
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
	return recalled(request, known.pair, slices.Clone(known.intents))
}

// Request implements Ledger.
func (m *Memory) Request(_ context.Context, lease Lease, request Request, intents []order.Intent) error {
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
		return sameRequest(request, known.pair, known.intents, intents)
	}
	if err := m.intend(agent, lease, intents); err != nil {
		return err
	}
	if agent.requests == nil {
		agent.requests = map[string]memoryRequest{}
	}
	agent.requests[request.Key] = memoryRequest{pair: request.Pair, intents: idsOf(intents)}
	return nil
}
