package ledger

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Memory is a ledger that lives as long as the process: for backtests. It obeys
// the rules of the ledger in PostgreSQL. Its methods may be called at once.
type Memory struct {
	mu     sync.Mutex
	agents map[string]*memoryAgent
	claims map[claimKey]*claim
	orders map[uuid.UUID]*memoryOrder
	fills  map[fillKey]order.Fill
	// budgets are what several agents may be worth together.
	budgets memoryBudgets
	halts   memoryHalts
	// venueAccounts are the accounts at venues by agent.
	venueAccounts map[string]string
	seed          maphash.Seed
	// keeps says that agents keep a history for readers.
	keeps bool
}

var _ Ledger = (*Memory)(nil)

type claimKey struct{ account, pair string }

// claim is an agent's right to trade a pair, and what it holds of it.
type claim struct {
	agentUID   string
	instrument market.Instrument
	position   Position
	openedAt   time.Time
}

type fillKey struct{ venue, account, tradeID string }

type memoryOrder struct{ Order }

// memoryDecisions are digests of the decisions on one pair by the end of their bars,
// in microseconds of the Unix time, in order: a long backtest stays small.
type memoryDecisions struct {
	ends    []int64
	digests []uint64
}

// find is where the decision on a bar is, or would be.
func (d *memoryDecisions) find(barEnd time.Time) (int, bool) {
	end := barEnd.UnixMicro()
	if n := len(d.ends); n == 0 || d.ends[n-1] < end {
		return n, false
	}
	return slices.BinarySearch(d.ends, end)
}

func (d *memoryDecisions) put(at int, barEnd time.Time, digest uint64) {
	d.ends = slices.Insert(d.ends, at, barEnd.UnixMicro())
	d.digests = slices.Insert(d.digests, at, digest)
}

type memoryAgent struct {
	Agent
	epoch    int64
	released bool
	cash     map[string]market.Money
	// change is Position.Change, which is the agent's own and not the claim's.
	change map[changeKey]market.Money
	// decisions by pair, and how many there are in all.
	decisions map[string]*memoryDecisions
	decided   int64
	last      *Decision
	// lastSequence counts intents too: an id is never made twice.
	lastSequence int64
	lastDecided  map[string]time.Time
	fills        int64
	// open orders in the order of their commit.
	open    []*memoryOrder
	marks   map[string]Mark
	newest  Mark
	opening map[time.Time]int32
	adopted []Adoption
	record  record
	// recovery is what the agent was told of having been forgotten.
	recovery memoryRecovery
	audit    memoryAudit
	// requests of people, by key.
	requests map[string]requested
	// history for readers; nil where none is kept.
	history *memoryHistory
}

// NewMemory is an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		agents:  map[string]*memoryAgent{},
		claims:  map[claimKey]*claim{},
		orders:  map[uuid.UUID]*memoryOrder{},
		fills:   map[fillKey]order.Fill{},
		budgets: memoryBudgets{},
		seed:    maphash.MakeSeed(),
	}
}

// owned is the agent of a lease, if the lease still holds and its process knows what
// was forgotten.
func (m *Memory) owned(lease Lease) (*memoryAgent, error) {
	agent, err := m.leased(lease)
	if err == nil && agent.recovery.told != agent.recovery.reason {
		return nil, fmt.Errorf("agent %s: %w: load what it has left first", lease.Agent, ErrForgot)
	}
	return agent, err
}

// leased is the agent of a lease, if the lease still holds.
func (m *Memory) leased(lease Lease) (*memoryAgent, error) {
	agent, ok := m.agents[lease.Agent.UID]
	if !ok {
		return nil, fenced(lease, 0)
	}
	if agent.epoch != lease.Epoch {
		return nil, fenced(lease, agent.epoch)
	}
	return agent, nil
}

// Load implements Ledger.
func (m *Memory) Load(_ context.Context, lease Lease) (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.leased(lease)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot := Snapshot{
		LastSequence: agent.lastSequence,
		Decisions:    agent.decided,
		Fills:        agent.fills,
		Cash:         agent.cash[agent.Currency],
		Positions:    map[string]Position{},
		LastMark:     map[string]Mark{},
		Newest:       agent.newest,
		LastDecided:  map[string]time.Time{},
		ClaimedAt:    map[string]time.Time{},
		OpenedAt:     map[string]time.Time{},
	}
	// Without its tick a price means nothing.
	if _, err := agent.instrument(agent.newest.Pair); err != nil {
		snapshot.Newest.Price = 0
	}
	if !agent.newest.MarketTime.IsZero() {
		snapshot.Openings = maps.Clone(agent.opening)
		maps.DeleteFunc(snapshot.Openings, func(day time.Time, _ int32) bool { return day.Before(dayOf(agent.newest.MarketTime)) })
	}
	if agent.last != nil {
		decision := *agent.last
		decision.Reasoning = nil
		if len(agent.last.Reasoning) > 0 {
			decision.Reasoning = bytes.Clone(agent.last.Reasoning)
		}
		snapshot.LastDecision = &decision
	}
	for _, adopted := range agent.adopted {
		if _, err := agent.instrument(adopted.Pair); err == nil {
			snapshot.Adopted = append(snapshot.Adopted, adopted)
		}
	}
	agent.record.tell(&snapshot)
	agent.recovery.tell(&snapshot)
	snapshot.Shares = m.budgets.of(agent.UID)
	for _, o := range agent.open {
		snapshot.OpenOrders = append(snapshot.OpenOrders, o.Order)
	}
	m.loadPairs(agent, &snapshot)
	return snapshot, nil
}

// Decide implements Ledger.
func (m *Memory) Decide(_ context.Context, lease Lease, decision Decision, intents []order.Intent, sentAt time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return err
	}
	decision, err = checkedDecision(lease, decision, intents)
	if err != nil {
		return err
	}
	made := agent.decisions[decision.Pair]
	if made == nil {
		made = &memoryDecisions{}
		agent.decisions[decision.Pair] = made
	}
	digest := m.digest(&decision, intents)
	at, known := made.find(decision.BarEnd)
	if known {
		if made.digests[at] != digest || !m.sameIntents(lease, intents) {
			return decided(decision)
		}
		return nil
	}
	if err := follows(decision, agent.last, agent.lastSequence); err != nil {
		return err
	}
	if err := m.intend(agent, lease, intents, sentAt); err != nil {
		return err
	}
	made.put(at, decision.BarEnd, digest)
	agent.decided++
	agent.lastSequence = decision.Sequence
	agent.history.decide(decision, intents)
	if agent.last == nil {
		agent.last = new(Decision)
	}
	reasoning := agent.last.Reasoning[:0]
	reasoning = append(reasoning, decision.Reasoning...)
	*agent.last = decision
	agent.last.Reasoning = reasoning
	if agent.lastDecided[decision.Pair].Before(decision.BarEnd) {
		agent.lastDecided[decision.Pair] = decision.BarEnd
	}
	return nil
}

// digest stands for the content of a decision and the ids of its intents.
func (m *Memory) digest(decision *Decision, intents []order.Intent) uint64 {
	said := maphash.Comparable(m.seed, struct {
		sequence, confidence int64
		action, outcome      string
		intents              int
	}{decision.Sequence, decision.ConfidenceMicros, decision.Action, decision.Outcome, len(intents)})
	if len(intents) == 0 && len(decision.Reasoning) == 0 {
		return said
	}
	var h maphash.Hash
	h.SetSeed(m.seed)
	maphash.WriteComparable(&h, said)
	for i := range intents {
		maphash.WriteComparable(&h, intents[i].ID)
	}
	_, _ = h.Write(decision.Reasoning)
	return h.Sum64()
}

// sameIntents says whether all intents are stored with the same content.
func (m *Memory) sameIntents(lease Lease, intents []order.Intent) bool {
	for i := range intents {
		intent, err := checkedIntent(lease, intents[i])
		if err != nil || m.orders[intent.ID].Intent != intent {
			return false
		}
	}
	return true
}

// intend stores all intents or none, the first as one that is being sent unless
// sentAt is zero.
func (m *Memory) intend(agent *memoryAgent, lease Lease, intents []order.Intent, sentAt time.Time) error {
	for i := range intents {
		intent, err := checkedIntent(lease, intents[i])
		if err != nil {
			return err
		}
		if known, ok := m.orders[intent.ID]; ok && known.Intent != intent {
			return fmt.Errorf("intent %s: %w", intent.ID, ErrConflict)
		}
		for j := range i {
			if intents[j].ID == intent.ID {
				return fmt.Errorf("intent %s is listed twice: %w", intent.ID, ErrConflict)
			}
		}
	}
	for i := range intents {
		if _, ok := m.orders[intents[i].ID]; ok {
			continue
		}
		stored := &memoryOrder{Order: Order{Intent: intents[i], State: order.Intended}}
		stored.MarketTime = marketTime(stored.MarketTime)
		if i == 0 && !sentAt.IsZero() {
			stored.State, stored.SentAt, stored.SentEpoch = order.Sent, marketTime(sentAt), agent.epoch
		}
		m.orders[stored.ID] = stored
		agent.open = append(agent.open, stored)
		agent.lastSequence = max(agent.lastSequence, stored.Sequence)
		agent.history.intend(m.claims[claimKey{agent.Account, stored.Pair}].instrument, stored.Intent, stored.State)
		agent.record.intend(stored)
		if !stored.ReduceOnly {
			agent.opening[dayOf(stored.MarketTime)]++
		}
	}
	return nil
}

// UpdateOrder implements Ledger.
func (m *Memory) UpdateOrder(_ context.Context, lease Lease, update OrderUpdate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return err
	}
	update, err = checkedUpdate(update)
	if err != nil {
		return err
	}
	stored, ok := m.orders[update.ID]
	if !ok || stored.AgentUID != agent.UID {
		return fmt.Errorf("order %s: %w", update.ID, ErrNoIntent)
	}
	if !advances(stored.State, update.State) {
		return nil
	}
	if update.VenueOrderID != "" {
		stored.VenueOrderID = update.VenueOrderID
	}
	if update.State == order.Sent && stored.SentAt.IsZero() {
		stored.SentAt, stored.SentEpoch = update.At, agent.epoch
		if update.At.IsZero() {
			stored.SentAt = marketTime(time.Now())
		}
	}
	agent.move(stored, update.State)
	agent.history.update(update)
	return nil
}

// move gives an order a state and forgets it among the open ones if it is final.
func (a *memoryAgent) move(o *memoryOrder, state order.State) {
	wasOpen := rank[o.State] < finalRank
	o.State = state
	if wasOpen && rank[state] == finalRank {
		a.open = slices.DeleteFunc(a.open, func(other *memoryOrder) bool { return other == o })
	}
}

// BookFill implements Ledger.
func (m *Memory) BookFill(_ context.Context, lease Lease, fill order.Fill) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return false, err
	}
	fill, instrument, err := checkedFill(lease, fill)
	if err != nil {
		return false, err
	}
	key := fillKey{fill.Venue, fill.Account, fill.TradeID}
	if known, ok := m.fills[key]; ok {
		return false, sameFill(known, fill)
	}
	stored, ok := m.orders[fill.OrderID]
	if !ok || stored.AgentUID != agent.UID {
		return false, fmt.Errorf("fill %s of order %s: %w", fill.TradeID, fill.OrderID, ErrNoIntent)
	}
	if err := matches(fill, stored.Intent); err != nil {
		return false, err
	}
	held := m.claims[claimKey{agent.Account, fill.Pair}]
	before := agent.position(held)
	result, err := execute(instrument, before, fill)
	if err != nil {
		return false, err
	}
	fee := fill.Fee
	if fill.FeeCurrency != agent.Currency {
		fee = 0
	}
	agent.record.fill(fill.Pair, before.Quantity, result, fee)
	held.position = Position{Quantity: result.position.Quantity, Cost: result.position.Cost}
	held.openedAt = openedAt(held.openedAt, result, fill.MarketTime)
	agent.cash[instrument.Quote] -= result.value
	agent.payFee(instrument, fill, result.position.Change)
	m.fills[key] = fill
	agent.fills++
	stored.Filled += fill.Quantity
	late := stored.State.Final()
	if late {
		stored.Late += fill.Quantity
	}
	agent.move(stored, stateAfterFill(stored.State, stored.Filled, stored.Quantity))
	agent.history.fill(instrument, fill, result, stored.State, late)
	return true, nil
}

// payFee takes a fee from cash, to which change belongs.
func (a *memoryAgent) payFee(instrument market.Instrument, fill order.Fill, change market.Money) {
	if fill.FeeCurrency != instrument.Base {
		if fill.Fee != 0 {
			a.cash[fill.FeeCurrency] -= fill.Fee
		}
		return
	}
	key := changeKey{instrument.Pair, instrument.Base}
	a.cash[instrument.Base] += change - a.change[key]
	a.change[key] = change
}

// Holdings implements Ledger.
func (m *Memory) Holdings(_ context.Context, lease Lease) (map[string]Holding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.owned(lease); err != nil {
		return nil, err
	}
	held := map[string]Holding{}
	add := func(currency string, booked, pending decimal.Decimal) {
		held[currency] = Holding{held[currency].Booked.Add(booked), held[currency].Pending.Add(pending)}
	}
	for _, agent := range m.agents {
		if agent.Account != lease.Agent.Account {
			continue
		}
		for currency, amount := range agent.cash {
			add(currency, amount.Decimal(), decimal.Zero)
		}
		for _, open := range agent.open {
			if agent.UID != lease.Agent.UID {
				claimed := m.claims[claimKey{agent.Account, open.Pair}]
				currency, pending := spends(&claimed.instrument, &open.Intent, open.Quantity-open.Filled)
				add(currency, decimal.Zero, pending)
			}
		}
	}
	for key, claim := range m.claims {
		if key.account == lease.Agent.Account {
			add(claim.instrument.Base, claim.instrument.QuantityDecimal(claim.position.Quantity), decimal.Zero)
		}
	}
	maps.DeleteFunc(held, func(_ string, holding Holding) bool { return holding.Booked.IsZero() })
	return held, nil
}

// SaveMark implements Ledger.
func (m *Memory) SaveMark(_ context.Context, lease Lease, mark Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, err := m.owned(lease)
	if err != nil {
		return err
	}
	mark, err = checkedMark(lease, mark)
	if err != nil {
		return err
	}
	agent.history.mark(mark)
	if !mark.MarketTime.Before(agent.marks[mark.Pair].MarketTime) {
		agent.marks[mark.Pair] = mark
	}
	if !mark.MarketTime.Before(agent.newest.MarketTime) {
		agent.newest = mark
	}
	return nil
}

// Cash is what an agent has of each currency, fees in other currencies among it.
func (m *Memory) Cash(agentUID string) map[string]market.Money {
	m.mu.Lock()
	defer m.mu.Unlock()
	agent, ok := m.agents[agentUID]
	if !ok {
		return nil
	}
	return maps.Clone(agent.cash)
}
