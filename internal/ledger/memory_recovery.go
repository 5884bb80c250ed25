package ledger

import (
	"context"
	"fmt"
	"time"
)

// memoryRecovery is what an agent was told of a database that has forgotten.
type memoryRecovery struct {
	// reason is empty if there is nothing to be proven, and told what Load has said.
	reason, told string
	// since is when it was told, and newest when anything was recorded last.
	since, newest time.Time
}

// tell fills a snapshot in, by the rules of loadRecovery.
func (r *memoryRecovery) tell(s *Snapshot) {
	r.told = r.reason
	if s.Forgot = r.reason; s.Forgot != "" {
		s.ForgotFor = max(time.Since(r.since), 0)
	}
	if !r.newest.IsZero() {
		s.LastSequence = max(s.LastSequence, r.newest.UnixMicro())
	}
}

// Forget tells an agent that the ledger has forgotten, as the function Forget does.
// What is in memory is forgotten as a whole or not at all, so nothing else does.
func (m *Memory) Forget(agentUID, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
	}
	if agent.recovery.reason == "" {
		now := time.Now()
		agent.recovery.reason, agent.recovery.since, agent.recovery.newest = reason, now, now
	}
	return nil
}

// Proven implements Ledger.
func (m *Memory) Proven(_ context.Context, lease Lease, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil || agent.recovery.reason == "" {
		return err
	}
	agent.recovery.reason, agent.recovery.told, agent.recovery.newest = "", "", time.Now()
	return nil
}
