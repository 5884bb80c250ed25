package ledger

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// mostKept is how many records of each kind a ledger in memory keeps for its
// readers; the oldest go first.
const mostKept = 50_000

// memoryHistory is what a ledger in memory keeps for its readers, each list in
// the order in which it grew. A nil history keeps nothing, which is what
// backtests want.
type memoryHistory struct {
	orders    []*OrderRecord
	byID      map[uuid.UUID]*OrderRecord
	fills     []FillRecord
	decisions []DecisionRecord
	marks     []Mark
	news      []News
	lastNews  int64
}

func newMemoryHistory() *memoryHistory { return &memoryHistory{byID: map[uuid.UUID]*OrderRecord{}} }

// kept adds to a list and forgets its oldest part when it is full.
func kept[T any](list []T, item T) []T {
	if len(list) >= mostKept {
		list = slices.Delete(list, 0, mostKept/10)
	}
	return append(list, item)
}

func (h *memoryHistory) intend(instrument market.Instrument, intent order.Intent, state order.State) {
	if h == nil {
		return
	}
	record := &OrderRecord{
		ID: intent.ID, Sequence: intent.Sequence, Leg: intent.Leg, Replacement: intent.Replacement, Pair: intent.Pair, Side: intent.Side,
		Quantity: instrument.QuantityDecimal(intent.Quantity), Limit: instrument.PriceDecimal(intent.Limit), ReduceOnly: intent.ReduceOnly,
		State: state, Reason: intent.Reason, DecidedAt: intent.MarketTime, UpdatedAt: intent.MarketTime,
	}
	if len(h.orders) >= mostKept {
		for _, oldest := range h.orders[:mostKept/10] {
			delete(h.byID, oldest.ID)
		}
	}
	h.orders, h.byID[intent.ID] = kept(h.orders, record), record
	h.tell(NewsOrder, intent.ID.String(), intentNews(intent, state))
}

func (h *memoryHistory) update(update OrderUpdate) {
	if h == nil || h.byID[update.ID] == nil {
		return
	}
	record := h.byID[update.ID]
	if record.State != update.State {
		h.tell(NewsOrder, update.ID.String(), updateNews(update))
	}
	record.State, record.UpdatedAt = update.State, update.MarketTime
	record.VenueOrderID = cmp.Or(update.VenueOrderID, record.VenueOrderID)
	record.Ended = cmp.Or(update.Reason, record.Ended)
}

func (h *memoryHistory) fill(instrument market.Instrument, fill order.Fill, result execution, state order.State, late bool) {
	if h == nil {
		return
	}
	quantity := instrument.QuantityDecimal(fill.Quantity)
	if record := h.byID[fill.OrderID]; record != nil {
		record.State, record.UpdatedAt, record.Filled = state, fill.MarketTime, record.Filled.Add(quantity)
	}
	h.fills = kept(h.fills, FillRecord{
		TradeID: fill.TradeID, OrderID: fill.OrderID, Pair: fill.Pair, Side: fill.Side, Quantity: quantity,
		Price: instrument.PriceDecimal(fill.Price), Value: (result.value * market.Money(fill.Side)).Decimal(), Fee: fill.Fee.Decimal(),
		FeeCurrency: cmp.Or(fill.FeeCurrency, instrument.Quote), Realised: result.realised.Decimal(), MarketTime: fill.MarketTime,
	})
	h.tell(NewsFill, fill.TradeID, fillNews(instrument, fill, state, late))
}

func (h *memoryHistory) decide(decision Decision, intents []order.Intent) {
	if h == nil {
		return
	}
	record := DecisionRecord{Decision: decision, Orders: make([]uuid.UUID, len(intents))}
	record.Reasoning = bytes.Clone(decision.Reasoning)
	for i := range intents {
		record.Orders[i] = intents[i].ID
	}
	h.decisions = kept(h.decisions, record)
	h.tell(NewsDecision, strconv.FormatInt(decision.Sequence, 10), decisionNews(decision))
}

func (h *memoryHistory) mark(mark Mark) {
	if h == nil {
		return
	}
	// A second mark of one bar comes behind the first, which readers then pass over.
	h.marks = kept(h.marks, mark)
}

// MemoryReader reads what one agent has done from a ledger in memory.
type MemoryReader struct {
	ledger   *Memory
	agentUID string
}

var _ Reader = (*MemoryReader)(nil)

// NewMemoryWithHistory is an empty ledger that keeps what readers ask for: each
// agent's newest 50,000 orders, fills, decisions and values.
func NewMemoryWithHistory() *Memory {
	m := NewMemory()
	m.keeps = true
	return m
}

// Reader tells what the agent of the given UID has done. Only a ledger made with
// NewMemoryWithHistory remembers anything.
func (m *Memory) Reader(agentUID string) *MemoryReader {
	return &MemoryReader{ledger: m, agentUID: agentUID}
}

// history is what is kept of the agent; empty if it is not known. The ledger must
// be locked.
func (r *MemoryReader) history() *memoryHistory {
	if agent := r.ledger.agents[r.agentUID]; agent != nil && agent.history != nil {
		return agent.history
	}
	return &memoryHistory{}
}

// collect takes the items behind the cursor from a list that ends with the
// newest, at most one more than the limit.
func collect[T, R any](list []T, limit int, cursor []int64, key func(T) []int64, take func(T) (R, bool)) []R {
	var found []R
	for i := len(list) - 1; i >= 0 && len(found) <= limit; i-- {
		if !after(key(list[i]), cursor) {
			continue
		}
		if item, wanted := take(list[i]); wanted {
			found = append(found, item)
		}
	}
	return found
}

// Orders implements Reader.
func (r *MemoryReader) Orders(_ context.Context, query OrderQuery) (Page[OrderRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 3)
	if err != nil {
		return Page[OrderRecord]{}, err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	limit := checkedLimit(query.Limit)
	found := collect(r.history().orders, limit, cursor, func(o *OrderRecord) []int64 { return o.cursor() }, func(o *OrderRecord) (OrderRecord, bool) {
		return *o, (query.Pair == "" || o.Pair == query.Pair) && (len(query.States) == 0 || slices.Contains(query.States, o.State))
	})
	return page(found, limit, OrderRecord.cursor), nil
}

// Order implements Reader.
func (r *MemoryReader) Order(_ context.Context, id uuid.UUID) (OrderRecord, error) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	if record := r.history().byID[id]; record != nil {
		return *record, nil
	}
	return OrderRecord{}, reading(r.agentUID, "orders", ErrNotFound)
}

// Fills implements Reader.
func (r *MemoryReader) Fills(_ context.Context, query FillQuery) (Page[FillRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 2)
	if err != nil {
		return Page[FillRecord]{}, err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	limit := checkedLimit(query.Limit)
	fills := r.history().fills
	list := make([]numbered[FillRecord], len(fills))
	for i := range fills {
		list[i] = numbered[FillRecord]{ordinal: int64(i), item: fills[i]}
	}
	key := func(f numbered[FillRecord]) []int64 { return []int64{f.item.MarketTime.UnixMicro(), f.ordinal} }
	slices.SortStableFunc(list, func(a, b numbered[FillRecord]) int { return slices.Compare(key(a), key(b)) })
	found := collect(list, limit, cursor, key, func(f numbered[FillRecord]) (numbered[FillRecord], bool) {
		return f, (query.Pair == "" || f.item.Pair == query.Pair) && (query.Order == uuid.Nil || f.item.OrderID == query.Order)
	})
	return pageOfFills(found, limit), nil
}

// Decisions implements Reader.
func (r *MemoryReader) Decisions(_ context.Context, query Query) (Page[DecisionRecord], error) {
	cursor, err := decodeCursor(query.Cursor, 1)
	if err != nil {
		return Page[DecisionRecord]{}, err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	limit := checkedLimit(query.Limit)
	found := collect(r.history().decisions, limit, cursor, DecisionRecord.cursor, func(d DecisionRecord) (DecisionRecord, bool) {
		return d, query.Pair == "" || d.Pair == query.Pair
	})
	return page(found, limit, DecisionRecord.cursor), nil
}

// Equity implements Reader.
func (r *MemoryReader) Equity(_ context.Context, query EquityQuery) (Page[EquityRecord], error) {
	newest, err := query.newest()
	if err != nil {
		return Page[EquityRecord]{}, err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	marks := slices.Clone(r.history().marks)
	slices.SortStableFunc(marks, func(a, b Mark) int { return a.MarketTime.Compare(b.MarketTime) })
	limit := checkedLimit(query.Limit)
	var found []EquityRecord
	for i := len(marks) - 1; i >= 0 && len(found) <= limit; i-- {
		at := marks[i].MarketTime.UnixMicro()
		if at > newest || at < query.oldest() {
			continue
		}
		found = append(found, EquityRecord{
			MarketTime: marks[i].MarketTime, Equity: marks[i].Equity, PeakEquity: marks[i].PeakEquity, DayStartEquity: marks[i].DayStartEquity,
		})
		newest = spanOf(marks[i].MarketTime, query.Step)
	}
	return page(found, limit, query.cursorOf), nil
}
