package testbench

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/tradinghalt"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// Halts stand in for ledgers and venues where agents are fenced and halts released.
type Halts struct {
	mu sync.Mutex
	// done is what was done, in words; broken fails what begins with one of its keys.
	done   []string
	broken map[string]error
	// latched are the UIDs of agents by those of halts.
	latched map[string][]string
}

// World is what the controllers are given.
func (h *Halts) World() tradinghalt.World {
	return tradinghalt.World{
		Fence: func(_ context.Context, _, agentUID, haltUID, podUID string) (bool, error) {
			return true, h.note("fence", agentUID, haltUID, podUID)
		},
		Stop: func(_ context.Context, account *v1alpha1.TradingAccount, pairs []*v1alpha1.AssetPair) error {
			words := append(make([]string, 0, 1+len(pairs)), account.Namespace)
			for _, pair := range pairs {
				words = append(words, pair.Canonical())
			}
			return h.note("stop", words...)
		},
		Latch: func(_ context.Context, _ string, bound map[string]ledger.LatchedHalt) error {
			return h.latch(bound)
		},
		Bound: func(_ context.Context, _, haltUID string) ([]string, error) {
			if err := h.failing("latch"); err != nil {
				return nil, err
			}
			return h.Latched(haltUID), nil
		},
		Unlatch: func(_ context.Context, _, haltUID, by, reason string) error {
			return h.note("unlatch", haltUID, by, reason)
		},
	}
}

// latch is no step against anybody, so it is not noted.
func (h *Halts) latch(bound map[string]ledger.LatchedHalt) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.broken["latch"]; err != nil {
		return err
	}
	if h.latched == nil {
		h.latched = map[string][]string{}
	}
	for agent, halt := range bound {
		if !slices.Contains(h.latched[halt.UID], agent) {
			h.latched[halt.UID] = append(h.latched[halt.UID], agent)
		}
	}
	return nil
}

func (h *Halts) note(what string, words ...string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.broken[what]; err != nil {
		return err
	}
	h.done = append(h.done, fmt.Sprint(append([]string{what}, words...)))
	return nil
}

// Done is what was done since the last Break.
func (h *Halts) Done() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.done)
}

// Latched are the UIDs of the agents whom a halt was latched for.
func (h *Halts) Latched(haltUID string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.latched[haltUID])
}

func (h *Halts) failing(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken[what]
}

// Break has steps fail by their names fence, stop, latch and unlatch, and forgets what was
// done.
func (h *Halts) Break(broken map[string]error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done, h.broken = nil, broken
}
