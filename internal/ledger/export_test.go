package ledger

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Intend commits intents without what they follow from, which tests alone do.
func (p *Postgres) Intend(ctx context.Context, lease Lease, intents []order.Intent) error {
	var stored map[uuid.UUID]order.Intent
	return p.write(ctx, lease, step{
		doing: "committing intents",
		ask:   func(batch *pgx.Batch) { askIntents(batch, intents, &stored) },
		write: func(_ context.Context, _ pgx.Tx, batch *pgx.Batch) error {
			return queueIntents(batch, lease, stored, intents, time.Time{})
		},
	})
}

// Intend commits intents without what they follow from, which tests alone do.
func (m *Memory) Intend(_ context.Context, lease Lease, intents []order.Intent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return err
	}
	return m.intend(agent, lease, intents, time.Time{})
}
