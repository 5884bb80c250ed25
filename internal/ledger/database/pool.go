package database

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Pool is a set of connections to one database.
type Pool struct {
	pool   *pgxpool.Pool
	access *access
}

// Open prepares a pool; it connects when it is first used. Close ends it.
func Open(ctx context.Context, source Source) (*Pool, error) {
	return open(ctx, &access{source: source})
}

// readOnlyPoolSize is how many may read at once; the others wait.
const readOnlyPoolSize = 2

// OpenReadOnly is Open for those who only look: few connections, given up when
// nobody asks, on which the server refuses to write and ends a statement after
// the given time.
func OpenReadOnly(ctx context.Context, source Source, statementTimeout time.Duration) (*Pool, error) {
	return open(ctx, &access{source: source, adapt: func(config *pgxpool.Config) {
		config.MaxConns, config.MinConns, config.MinIdleConns = readOnlyPoolSize, 0, 0
		config.MaxConnIdleTime = time.Minute
		settings := config.ConnConfig.RuntimeParams
		settings["application_name"] += "-api"
		settings["default_transaction_read_only"] = "on"
		settings["statement_timeout"] = strconv.FormatInt(statementTimeout.Milliseconds(), 10)
	}})
}

func open(ctx context.Context, access *access) (*Pool, error) {
	config, err := access.config()
	if err != nil {
		return nil, err
	}
	config.BeforeConnect = access.renew
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, access.hider().clean(err)
	}
	return &Pool{pool: pool, access: access}, nil
}

// Close ends all connections.
func (p *Pool) Close() { p.pool.Close() }

// Reset ends all connections that nobody uses, and the others when they are given
// back: the next ones are new.
func (p *Pool) Reset() { p.pool.Reset() }

// Ping asks the database for a sign of life.
func (p *Pool) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return p.access.hider().clean(p.pool.Ping(ctx))
}

// Write runs a transaction. The function must be idempotent and leave nothing
// behind but what it writes through the transaction: it runs again when the
// transaction lost against another, when the connection broke before the commit,
// and when the reply to the commit was lost, which is how the outcome is learnt.
//
// If the outcome cannot be learnt the error is ErrOutcomeUnknown. After any other
// error nothing has changed, but for a first attempt whose commit went through
// and whose repetition the function itself refused. A commit that has begun is waited for even if the
// caller gives up.
func (p *Pool) Write(ctx context.Context, write func(context.Context, pgx.Tx) error) error {
	return p.transact(ctx, pgx.TxOptions{}, write)
}

// Read runs a transaction that sees one state of the database.
func (p *Pool) Read(ctx context.Context, read func(context.Context, pgx.Tx) error) error {
	return p.transact(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, read)
}

const attempts = 5

func (p *Pool) transact(ctx context.Context, options pgx.TxOptions, run func(context.Context, pgx.Tx) error) error {
	bounded, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	lost := false
	for attempt := 1; ; attempt++ {
		err := p.attempt(bounded, options, run)
		if err == nil {
			return nil
		}
		if _, ok := errors.AsType[*lostCommitError](err); ok {
			lost = true
		} else if !conflicting(err) && !unavailable(err) && !errors.Is(err, context.Canceled) {
			return p.access.hider().clean(err)
		}
		if attempt == attempts || !pause(bounded, attempt) {
			if lost {
				return p.access.hider().outcomeUnknown(err)
			}
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return p.access.hider().clean(err)
		}
	}
}

// lostCommitError is a commit that was sent and not answered.
type lostCommitError struct{ cause error }

func (l *lostCommitError) Error() string { return "the reply to a commit was lost: " + l.cause.Error() }
func (l *lostCommitError) Unwrap() error { return l.cause }

func (p *Pool) attempt(ctx context.Context, options pgx.TxOptions, run func(context.Context, pgx.Tx) error) error {
	tx, err := p.pool.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	if err := run(ctx, tx); err != nil {
		rollback, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = tx.Rollback(rollback)
		return err
	}
	if err := ctx.Err(); err != nil {
		_ = tx.Rollback(ctx)
		return err
	}
	// gofail: var transactionReady struct{}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err = tx.Commit(commit)
	// gofail: var transactionAnswered struct{}
	if err != nil && answered(err) {
		return err
	}
	if err != nil {
		return &lostCommitError{err}
	}
	return nil
}

// pause waits longer each time, and somewhat at random; it reports false if the
// context ended.
func pause(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(wait.Jitter(time.Duration(attempt*attempt)*20*time.Millisecond, 1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
