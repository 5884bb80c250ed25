package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// durableAgents trade at once: so many share the commits of one database.
const durableAgents = 10

// measureDurable sends orders of several agents at a fixed rate in all and tells how
// long after its tick was due each order was in the ledger and recorded as being
// sent, which is when its first byte may leave.
func measureDurable(ctx context.Context, uri string, perSecond int, span time.Duration) (latencies, error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	var taken latencies
	failed := make(chan error, durableAgents)
	for i := range durableAgents {
		// Each with connections of its own, as processes have.
		books, err := ledger.Open(ctx, uri)
		if err != nil {
			return nil, err
		}
		defer books.Close()
		worker, err := newDurable(ctx, books, i)
		if err != nil {
			return nil, err
		}
		group.Go(func() {
			own, err := worker.run(ctx, perSecond/durableAgents, span, time.Duration(i)*time.Second/time.Duration(perSecond))
			mu.Lock()
			taken = append(taken, own...)
			mu.Unlock()
			failed <- err
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(taken)
	return taken, nil
}

// durable is an agent with a ledger in PostgreSQL.
type durable struct {
	*agent

	sentAt time.Time
}

func newDurable(ctx context.Context, books *ledger.Postgres, number int) (*durable, error) {
	base := "A" + strconv.Itoa(number)
	plain, err := newAgent(base, &restless{every: 1})
	if err != nil {
		return nil, err
	}
	d := &durable{agent: plain}
	pair, err := instrument(base)
	if err != nil {
		return nil, err
	}
	config, _ := newConfig(pair, marketStep, d.debate)
	config.Agent.UID, config.Agent.Name, config.Agent.Holder = "agent-"+base, "agent-"+base, "pod-"+base
	if d.core, err = trader.NewCore(config); err != nil {
		return nil, err
	}
	lease, err := books.Acquire(ctx, config.Agent)
	if err != nil {
		return nil, err
	}
	d.commit = func(decision ledger.Decision, intents []order.Intent) error {
		err := books.Decide(ctx, lease, decision, intents, time.Now())
		if len(intents) > 0 {
			d.sentAt = time.Now()
		}
		return err
	}
	d.begin = func(id uuid.UUID) error {
		at := time.Now()
		err := books.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: id, State: order.Sent, MarketTime: at, At: at})
		d.sentAt = time.Now()
		return err
	}
	return d, nil
}

func (d *durable) run(ctx context.Context, perSecond int, span, offset time.Duration) (latencies, error) {
	const history = 1_000
	count := int(span.Seconds() * float64(perSecond))
	recorded := newTape(history + count)
	if err := d.learn(recorded, history); err != nil {
		return nil, err
	}
	var taken latencies
	begin := time.Now().Add(offset)
	for i := range count {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		d.sentAt = time.Time{}
		if err := d.take(ctx, recorded.frame(history+i)); err != nil {
			return nil, err
		}
		if !d.sentAt.IsZero() {
			taken = append(taken, d.sentAt.Sub(due))
		}
	}
	return taken, nil
}

// fsyncOf is how long the disk of a directory takes to sync a write, by PostgreSQL's
// own measure of what it uses on Linux.
func fsyncOf(ctx context.Context) (time.Duration, error) {
	program, err := findTestFsync()
	if err != nil {
		return 0, err
	}
	file := filepath.Join(os.TempDir(), "pg_test_fsync.out")
	defer func() { _ = os.Remove(file) }()
	out, err := exec.CommandContext(ctx, program, "--secs-per-test=2", "--filename="+file).Output() //nolint:gosec // PostgreSQL's own program
	if err != nil {
		return 0, fmt.Errorf("pg_test_fsync: %w", err)
	}
	found := fdatasync.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("pg_test_fsync does not tell of fdatasync:\n%s", out)
	}
	microseconds, err := strconv.Atoi(string(found[1]))
	return time.Duration(microseconds) * time.Microsecond, err
}

// fdatasync finds the first of the tests: one 8 kB write.
var fdatasync = regexp.MustCompile(`fdatasync +[0-9.]+ ops/sec +([0-9]+) usecs/op`)

func findTestFsync() (string, error) {
	if path, err := exec.LookPath("pg_test_fsync"); err == nil {
		return path, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_test_fsync")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no pg_test_fsync; install PostgreSQL's programs")
	}
	return found[len(found)-1], nil
}
