package testbench

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/tradinghalt"
)

// Halts stand in for ledgers and venues where agents are fenced and halts released.
type Halts struct {
	mu sync.Mutex
	// done is what was done, in words; broken fails what begins with one of its keys.
	done   []string
	broken map[string]error
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
		Unlatch: func(_ context.Context, _, haltUID, by, reason string) error {
			return h.note("unlatch", haltUID, by, reason)
		},
	}
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

// Break has steps fail by their names fence, stop and unlatch, and forgets what was
// done.
func (h *Halts) Break(broken map[string]error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done, h.broken = nil, broken
}
