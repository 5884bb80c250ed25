package testbench

import (
	"context"
	"slices"
	"sync"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// Latest is the schema that the bench's operator needs.
const Latest = 7

// Database stands in for the database behind every ledger on the bench.
type Database struct {
	mu         sync.Mutex
	server     ledger.ServerInfo
	err        error
	releaseErr error
	migrations int
	released   []string
}

// NewDatabase is empty, healthy and durable.
func NewDatabase() *Database {
	return &Database{server: ledger.ServerInfo{
		ServerVersion: "15.18", Latest: Latest, Fsync: "on", FullPageWrites: "on", SynchronousCommit: "on",
	}}
}

// Info is ledger.Info of the database.
func (d *Database) Info(context.Context, string) (ledger.ServerInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server, d.err
}

// Migrate is ledger.Migrate of the database.
func (d *Database) Migrate(context.Context, string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	d.migrations++
	d.server.SchemaVersion = d.server.Latest
	return d.server.SchemaVersion, nil
}

// Release notes that an agent's claims were given back.
func (d *Database) Release(_ context.Context, _, agentUID string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.releaseErr != nil {
		return d.releaseErr
	}
	d.released = append(d.released, agentUID)
	return nil
}

// Fail has every question answered by an error from now on; nil heals.
func (d *Database) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.releaseErr = err, err
}

// HasReleased reports whether an agent's claims were given back.
func (d *Database) HasReleased(agentUID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.released, agentUID)
}
