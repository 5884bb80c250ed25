package ledger

import (
	"context"
	"slices"
)

// memoryHalts is what a memory ledger knows of halts.
type memoryHalts struct {
	latched  map[string][]LatchedHalt
	released map[string]bool
}

// Latch implements Halts.
func (m *Memory) Latch(_ context.Context, agentUID string, halt LatchedHalt) error {
	if err := halt.check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.halts.latched == nil {
		m.halts.latched = map[string][]LatchedHalt{}
	}
	known := m.halts.latched[agentUID]
	if !slices.ContainsFunc(known, func(other LatchedHalt) bool { return other.UID == halt.UID }) {
		m.halts.latched[agentUID] = append(known, halt.copied())
	}
	return nil
}

// Latched implements Halts.
func (m *Memory) Latched(_ context.Context, agentUID string) ([]LatchedHalt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var bound []LatchedHalt
	for _, halt := range m.halts.latched[agentUID] {
		if !m.halts.released[halt.UID] {
			bound = append(bound, halt.copied())
		}
	}
	return bound, nil
}

// Unlatch implements Halts.
func (m *Memory) Unlatch(_ context.Context, haltUID, by, reason string) error {
	if err := checkRelease(haltUID, by, reason); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.halts.released == nil {
		m.halts.released = map[string]bool{}
	}
	m.halts.released[haltUID] = true
	return nil
}
