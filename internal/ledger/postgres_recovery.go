package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// loadRecovery reads what follows from a database that has forgotten. Decisions that
// were lost had sequences, and their orders may be at the venue: the next ones begin
// at the newest recovery's time in microseconds, which no count has reached.
func loadRecovery(ctx context.Context, tx pgx.Tx, lease Lease, s *Snapshot) error {
	var floor, micros int64
	err := tx.QueryRow(ctx, `SELECT coalesce((extract(epoch FROM max(recorded_at)) * 1000000)::bigint, 0),
			coalesce((extract(epoch FROM clock_timestamp() - (max(recorded_at) FILTER (WHERE kind = 'Forgot'))) * 1000000)::bigint, 0)
		FROM trading.recoveries WHERE agent_uid = $1`, lease.Agent.UID).Scan(&floor, &micros)
	s.LastSequence = max(s.LastSequence, floor)
	if s.Forgot != "" {
		s.ForgotFor = time.Duration(max(micros, 0)) * time.Microsecond
	}
	return err
}
