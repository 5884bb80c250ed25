package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/server/api"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// voice is what the API can ask of a process, also while that has no trader yet.
type voice struct {
	desk    atomic.Pointer[api.Desk]
	records atomic.Pointer[reader]
	pulse   *indicator.Board
}

var _ api.Agent = (*process)(nil)

// learn takes up what the manifests come to. What does not make a trader is left
// out: the status says why.
func (p *process) learn(desk *link.Desk) {
	if desk.Account == nil {
		return
	}
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, p.holder)
	if err != nil {
		return
	}
	_, values := v1alpha1.Resolve(desk.Agent, desk.Policy)
	pairs := make([]*v1alpha1.AssetPair, len(desk.Pairs))
	for i := range desk.Pairs {
		pairs[i] = &desk.Pairs[i]
	}
	p.voice.desk.Store(&api.Desk{
		Generation:  desk.Agent.Generation,
		Values:      slices.Concat(values, v1alpha1.ResolveAccount(desk.Account), v1alpha1.ResolvePairs(pairs)),
		Instruments: config.Agent.Instruments,
	})
}

// Snapshot implements api.Agent.
func (p *process) Snapshot() *trader.Status {
	if shell := p.shell.Load(); shell != nil {
		return shell.Status()
	}
	return nil
}

// Desk implements api.Agent.
func (p *process) Desk() *api.Desk { return p.voice.desk.Load() }

// Records implements api.Agent.
func (p *process) Records() ledger.Reader {
	if records := p.voice.records.Load(); records != nil {
		return *records
	}
	return nil
}

// Pulse implements api.Agent.
func (p *process) Pulse() *indicator.Board { return p.voice.pulse }

// Close implements api.Agent.
func (p *process) Close(ctx context.Context, request ledger.Request) (trader.Closed, error) {
	shell := p.shell.Load()
	if shell == nil {
		return trader.Closed{}, fmt.Errorf("%w: the agent has not begun to trade", trader.ErrNotNow)
	}
	return shell.Close(ctx, request)
}
