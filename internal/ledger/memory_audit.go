package ledger

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// memoryUses bounds what a memory ledger keeps of the uses of API keys; the oldest
// go first.
const memoryUses = 10_000

// memoryAudit is what a memory ledger knows of one agent's API keys.
type memoryAudit struct {
	uses     []Use
	lastUses map[string]time.Time
}

// RecordUse implements Audit.
func (m *Memory) RecordUse(_ context.Context, agentUID string, use Use) error {
	if err := checkedUse(use); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
	}
	for i := range agent.audit.uses {
		if known := &agent.audit.uses[i]; known.Request == use.Request && known.Outcome == use.Outcome {
			return nil
		}
	}
	if len(agent.audit.uses) == memoryUses {
		agent.audit.uses = append(agent.audit.uses[:0], agent.audit.uses[memoryUses/2:]...)
	}
	agent.audit.uses = append(agent.audit.uses, use)
	return nil
}

// LastUses implements Audit.
func (m *Memory) LastUses(_ context.Context, agentUID string) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uses := map[string]time.Time{}
	if agent, ok := m.agents[agentUID]; ok {
		maps.Copy(uses, agent.audit.lastUses)
	}
	return uses, nil
}

// SaveLastUses implements Audit.
func (m *Memory) SaveLastUses(_ context.Context, agentUID string, uses map[string]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
	}
	if agent.audit.lastUses == nil {
		agent.audit.lastUses = map[string]time.Time{}
	}
	for id, at := range uses {
		if at = marketTime(at); agent.audit.lastUses[id].Before(at) {
			agent.audit.lastUses[id] = at
		}
	}
	return nil
}

// Uses are the agent's recorded uses of API keys, the oldest first.
func (m *Memory) Uses(agentUID string) []Use {
	m.mu.Lock()
	defer m.mu.Unlock()
	if agent, ok := m.agents[agentUID]; ok {
		return append([]Use(nil), agent.audit.uses...)
	}
	return nil
}
