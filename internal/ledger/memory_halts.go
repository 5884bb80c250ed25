package ledger

import (
	"context"
	"slices"
)

// memoryHalts is what a memory ledger knows of halts.
type memoryHalts struct {
	latched  map[string][]LatchedHalt
	released map[haltRelease]bool
}

// haltRelease frees one agent of a halt, or all if it names none.
type haltRelease struct{ halt, agent string }

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
		if !m.halts.released[haltRelease{halt: halt.UID}] && !m.halts.released[haltRelease{halt.UID, agentUID}] {
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
	m.release(haltRelease{halt: haltUID})
	return nil
}

// UnlatchAgent implements Halts.
func (m *Memory) UnlatchAgent(_ context.Context, agentUID, haltUID, by, reason string) error {
	if err := checkAgentRelease(agentUID, haltUID, by, reason); err != nil {
		return err
	}
	m.release(haltRelease{haltUID, agentUID})
	return nil
}

func (m *Memory) release(given haltRelease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.halts.released == nil {
		m.halts.released = map[haltRelease]bool{}
	}
	m.halts.released[given] = true
}
