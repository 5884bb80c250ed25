package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Acquire implements Ledger.
func (m *Memory) Acquire(_ context.Context, agent Agent) (Lease, error) {
	agent, err := checkedAgent(agent)
	if err != nil {
		return Lease{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, known := m.agents[agent.UID]
	if known {
		if err := sameBook(stored.Agent, agent); err != nil {
			return Lease{}, err
		}
	}
	if err := m.claimable(agent); err != nil {
		return Lease{}, err
	}
	if !known {
		stored = newMemoryAgent()
		stored.cash[agent.Currency] = agent.Balance
		if m.keeps {
			stored.history = newMemoryHistory()
		}
		m.agents[agent.UID] = stored
	}
	stored.Agent, stored.released = agent, false
	stored.epoch++
	m.claim(stored)
	return Lease{Agent: agent, Epoch: stored.epoch}, nil
}

func newMemoryAgent() *memoryAgent {
	return &memoryAgent{
		cash:        map[string]market.Money{},
		change:      map[changeKey]market.Money{},
		decisions:   map[string]*memoryDecisions{},
		lastDecided: map[string]time.Time{},
		marks:       map[string]Mark{},
		opening:     map[time.Time]int32{},
		record:      newRecord(),
	}
}

// claimable says why the agent cannot have exactly the pairs that it wants.
func (m *Memory) claimable(agent Agent) error {
	for _, instrument := range agent.Instruments {
		held, ok := m.claims[claimKey{agent.Account, instrument.Pair}]
		if !ok {
			continue
		}
		owner := m.agents[held.agentUID]
		if err := mayClaim(agent, owner.Agent, owner.released, instrument, *held, m.working(held.agentUID, instrument.Pair)); err != nil {
			return err
		}
	}
	for key, held := range m.claims {
		if held.agentUID != agent.UID {
			continue
		}
		if _, err := agent.instrument(key.pair); err == nil {
			continue
		}
		if err := mayGiveUp(agent, key.pair, held.position, m.working(agent.UID, key.pair)); err != nil {
			return err
		}
	}
	return nil
}

// working counts an agent's open orders of a pair.
func (m *Memory) working(agentUID, pair string) int {
	count := 0
	for _, o := range m.agents[agentUID].open {
		if o.Pair == pair {
			count++
		}
	}
	return count
}

// claim gives the agent its pairs and takes those away that it no longer names.
func (m *Memory) claim(agent *memoryAgent) {
	for _, instrument := range agent.Instruments {
		key := claimKey{agent.Account, instrument.Pair}
		held, ok := m.claims[key]
		if !ok {
			held = &claim{agentUID: agent.UID}
			m.claims[key] = held
		}
		if held.agentUID != agent.UID {
			m.adopt(agent, held, instrument)
		}
		held.instrument = instrument
	}
	for key, held := range m.claims {
		if held.agentUID != agent.UID {
			continue
		}
		if _, err := agent.instrument(key.pair); err != nil {
			delete(m.claims, key)
		}
	}
}

// adopt moves a position from an agent that is gone to the next one, which pays
// its cost.
func (m *Memory) adopt(agent *memoryAgent, held *claim, instrument market.Instrument) {
	from := m.agents[held.agentUID]
	held.agentUID = agent.UID
	if !m.holds(from.UID) {
		m.budgets.move(from.UID, agent.UID)
	}
	if held.position.Quantity == 0 {
		return
	}
	from.cash[instrument.Quote] += held.position.Cost
	agent.cash[instrument.Quote] -= held.position.Cost
	agent.adopted = append(agent.adopted, Adoption{Pair: instrument.Pair, From: from.String(), Position: held.position})
}

// changeKey is a pair of an agent and its base currency.
type changeKey struct{ pair, currency string }

// position is what an agent holds of a pair that it has claimed.
func (a *memoryAgent) position(held *claim) Position {
	position := held.position
	position.Change = a.change[changeKey{held.instrument.Pair, held.instrument.Base}]
	return position
}

// loadPairs reads position, newest mark and newest decision of each pair.
func (m *Memory) loadPairs(agent *memoryAgent, snapshot *Snapshot) {
	for _, instrument := range agent.Instruments {
		pair := instrument.Pair
		held := m.claims[claimKey{agent.Account, pair}]
		snapshot.ClaimedAt[pair] = time.Time{}
		if position := agent.position(held); position != (Position{}) {
			snapshot.Positions[pair] = position
		}
		if held.position.Quantity != 0 {
			snapshot.OpenedAt[pair] = held.openedAt
		}
		if mark, ok := agent.marks[pair]; ok {
			snapshot.LastMark[pair] = mark
		}
		if barEnd, ok := agent.lastDecided[pair]; ok {
			snapshot.LastDecided[pair] = barEnd
		}
	}
}

// Release gives up the claims of an agent that is gone and fences what may be
// left of it. Claims of pairs in which it holds a position or has open orders
// stay: the next agent that claims such a pair adopts its position.
func (m *Memory) Release(_ context.Context, agentUID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return nil
	}
	agent.released = true
	agent.epoch++
	for key, held := range m.claims {
		if held.agentUID == agentUID && held.position.Quantity == 0 && m.working(agentUID, key.pair) == 0 {
			delete(m.claims, key)
		}
	}
	if !m.holds(agentUID) {
		m.budgets.move(agentUID, "")
	}
	return nil
}

// mayClaim says why an agent cannot have a pair that is claimed already, by
// itself or by another.
func mayClaim(agent, owner Agent, released bool, instrument market.Instrument, held claim, working int) error {
	if owner.UID != agent.UID && !released {
		return fmt.Errorf("%s on account %s is traded by agent %s: %w", instrument.Pair, agent.Account, owner, ErrPairClaimed)
	}
	if owner.UID != agent.UID && working > 0 {
		return fmt.Errorf("%s on account %s: the deleted agent %s left %d open orders; cancel them at the venue and record that first: %w",
			instrument.Pair, agent.Account, owner, working, ErrPairClaimed)
	}
	if !sameSteps(held.instrument, instrument) && (held.position.Quantity != 0 || working > 0) {
		return fmt.Errorf("%s: its tick size, lot size or currencies cannot change while agent %s holds %d lots and has %d open orders: %w",
			instrument.Pair, owner, held.position.Quantity, working, ErrPairHeld)
	}
	return nil
}

// mayGiveUp says why an agent cannot stop trading a pair.
func mayGiveUp(agent Agent, pair string, position Position, working int) error {
	if position.Quantity != 0 || working > 0 {
		return fmt.Errorf("agent %s no longer names %s, but holds %d lots and has %d open orders; flatten it first: %w",
			agent, pair, position.Quantity, working, ErrPairHeld)
	}
	return nil
}
