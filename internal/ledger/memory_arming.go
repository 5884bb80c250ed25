package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// record is what the gate counts of one agent.
type record struct {
	Arming
	// stopped is the sequence of the newest stop.
	stopped  int64
	lastStop map[string]time.Time
	realised map[string]market.Money
	openings []*memoryOrder
}

func newRecord() record {
	return record{lastStop: map[string]time.Time{}, realised: map[string]market.Money{}}
}

// intend counts a new intent.
func (r *record) intend(o *memoryOrder) {
	if !o.ReduceOnly {
		r.openings = append(r.openings, o)
		newest := slices.MaxFunc(r.openings, func(a, b *memoryOrder) int { return a.MarketTime.Compare(b.MarketTime) }).MarketTime
		r.openings = slices.DeleteFunc(r.openings, func(old *memoryOrder) bool { return newest.Sub(old.MarketTime) >= keptOpenings })
	}
	if o.Reason != order.ReasonStop {
		return
	}
	if r.lastStop[o.Pair].Before(o.MarketTime) {
		r.lastStop[o.Pair] = o.MarketTime
	}
	if o.Sequence == r.stopped {
		return
	}
	r.stopped = o.Sequence
	r.AutomaticExits = append(r.AutomaticExits, o.MarketTime)
	if extra := len(r.AutomaticExits) - keptExits; extra > 0 {
		r.AutomaticExits = slices.Delete(r.AutomaticExits, 0, extra)
	}
}

// fill counts what an execution has realised.
func (r *record) fill(pair string, before market.Quantity, result execution, fee market.Money) {
	r.realised[pair] += result.realised - fee
	after := result.position.Quantity
	if before == 0 || (before > 0) == (after > 0) && after != 0 {
		return
	}
	if r.realised[pair] < 0 {
		r.ConsecutiveLosses++
	} else {
		r.ConsecutiveLosses = 0
	}
	delete(r.realised, pair)
}

// tell fills a snapshot in.
func (r *record) tell(s *Snapshot) {
	s.Arming = r.Arming
	s.AutomaticExits = slices.Clone(r.AutomaticExits)
	s.LastStop, s.Realised = maps.Clone(r.lastStop), maps.Clone(r.realised)
	maps.DeleteFunc(s.Realised, func(_ string, realised market.Money) bool { return realised == 0 })
	for _, o := range r.openings[max(len(r.openings)-mostOpenings, 0):] {
		if o.State != order.Rejected {
			s.RecentOpenings = append(s.RecentOpenings, o.Intent)
		}
	}
}

// Disarm implements Ledger.
func (m *Memory) Disarm(_ context.Context, lease Lease, _ string, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err == nil {
		agent.record.Disarmed = true
	}
	return err
}

// Arming implements Ledger.
func (m *Memory) Arming(_ context.Context, lease Lease) (Arming, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return Arming{}, err
	}
	arming := agent.record.Arming
	arming.AutomaticExits = slices.Clone(arming.AutomaticExits)
	return arming, nil
}

// Rearm lets an agent open positions again that has stopped itself, as
// Postgres.Rearm does.
func (m *Memory) Rearm(_ context.Context, agentUID, person, reason string) error {
	if err := (allowance{person, reason}).check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return fmt.Errorf("agent %s: %w", agentUID, ErrUnknownAgent)
	}
	agent.record.Arming = Arming{}
	return nil
}
