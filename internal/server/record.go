package server

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// auditsAtOnce is how many connections to the ledger the audit may take from the
// trader, however many requests come.
const auditsAtOnce = 2

// Record puts what is done with an agent's keys into its ledger, once there is one.
type Record struct {
	opened atomic.Pointer[openRecord]
	turn   chan struct{}
}

type openRecord struct {
	ledger   ledger.Audit
	agentUID string
}

var _ keys.Record = (*Record)(nil)

// NewRecord refuses everything until Open.
func NewRecord() *Record { return &Record{turn: make(chan struct{}, auditsAtOnce)} }

// Open gives it the ledger of the agent.
func (r *Record) Open(audit ledger.Audit, agentUID string) {
	r.opened.Store(&openRecord{ledger: audit, agentUID: agentUID})
}

func (r *Record) do(ctx context.Context, work func(*openRecord) error) error {
	opened := r.opened.Load()
	if opened == nil {
		return keys.ErrNoRecord
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the ledger: %w", ctx.Err())
	}
	defer func() { <-r.turn }()
	return work(opened)
}

// Audit implements keys.Auditor.
func (r *Record) Audit(ctx context.Context, use keys.Use) error {
	return r.do(ctx, func(o *openRecord) error {
		return o.ledger.RecordUse(ctx, o.agentUID, ledger.Use{
			Request: use.Request, Outcome: string(use.Outcome), KeyID: use.KeyID, KeyName: use.KeyName, Scope: string(use.Scope),
			Method: use.Method, Path: use.Path, Status: use.Status,
		})
	})
}

// LastUses implements keys.Record.
func (r *Record) LastUses(ctx context.Context) (uses map[string]time.Time, err error) {
	err = r.do(ctx, func(o *openRecord) error {
		uses, err = o.ledger.LastUses(ctx, o.agentUID)
		return err
	})
	return uses, err
}

// SaveLastUses implements keys.Record.
func (r *Record) SaveLastUses(ctx context.Context, uses map[string]time.Time) error {
	return r.do(ctx, func(o *openRecord) error { return o.ledger.SaveLastUses(ctx, o.agentUID, uses) })
}
