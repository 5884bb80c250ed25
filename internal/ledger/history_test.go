package ledger_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// Whatever happens to an agent, the ledger in memory and the one in PostgreSQL
// answer alike and remember the same, and both agree with a third reckoning in
// plain decimals.
func TestAnyHistory(t *testing.T) {
	stored := inPostgres(t)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		h := newHistory(t, r, strconv.Itoa(run), ledger.NewMemory(), stored)
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			h.step()
		}
		h.compare()
	})
}

// history drives two ledgers with the same calls.
type history struct {
	t      *testing.T
	r      *rapid.T
	books  [2]book
	agent  ledger.Agent
	lease  ledger.Lease
	stale  ledger.Lease
	next   int64
	orders []order.Intent
	fills  map[string]order.Fill
	model  map[string]*reckoning
	cash   decimal.Decimal
	// held is what the account holds of each currency.
	held   map[string]decimal.Decimal
	prices map[string]ledger.Mark
}

// reckoning is one pair in plain decimals.
type reckoning struct {
	instrument market.Instrument
	lots       int64
	// owned is what was bought and not sold, less the fees in the base currency.
	owned decimal.Decimal
}

func newHistory(t *testing.T, r *rapid.T, name string, books ...book) *history {
	t.Helper()
	agent := trader(name, btc, eth)
	agent.Account = "account-" + name
	h := &history{
		t: t, r: r, books: [2]book{books[0], books[1]}, agent: agent, fills: map[string]order.Fill{}, cash: agent.Balance.Decimal(),
		model: map[string]*reckoning{"BTC-USD": {instrument: btc}, "ETH-USD": {instrument: eth}}, prices: map[string]ledger.Mark{},
		held: map[string]decimal.Decimal{"USD": agent.Balance.Decimal()},
	}
	h.acquire()
	h.stale = h.lease
	h.acquire()
	return h
}

func (h *history) acquire() {
	var epochs [2]int64
	for i, b := range h.books {
		lease, err := b.Acquire(h.t.Context(), h.agent)
		if err != nil {
			h.r.Fatal(err)
		}
		h.lease, epochs[i] = lease, lease.Epoch
	}
	if epochs[0] != epochs[1] {
		h.r.Fatalf("epochs %v", epochs)
	}
}

func (h *history) step() {
	lease := h.lease
	if rapid.IntRange(0, 19).Draw(h.r, "stale") == 0 {
		lease = h.stale
	}
	switch rapid.SampledFrom([]string{"decide", "intend", "update", "fill", "fill", "fill", "mark", "restart"}).Draw(h.r, "call") {
	case "decide":
		h.decide(lease)
	case "intend":
		h.next++
		intents := []order.Intent{h.intent(lease, h.next, 0)}
		if h.both(func(b book) error { return b.Intend(h.t.Context(), lease, intents) }) == nil {
			h.orders = append(h.orders, intents...)
		}
	case "update":
		if len(h.orders) == 0 {
			return
		}
		update := ledger.OrderUpdate{
			ID:           rapid.SampledFrom(h.orders).Draw(h.r, "order").ID,
			State:        rapid.SampledFrom([]order.State{order.Sent, order.Acked, order.Unknown, order.Filled, order.Cancelled, order.Rejected}).Draw(h.r, "state"),
			VenueOrderID: rapid.SampledFrom([]string{"", "v1", "v2"}).Draw(h.r, "venue id"),
			MarketTime:   noon,
			At:           noon.Add(time.Duration(len(h.orders)) * time.Second),
		}
		_ = h.both(func(b book) error { return b.UpdateOrder(h.t.Context(), lease, update) })
	case "fill":
		h.fill(lease)
	case "mark":
		h.mark(lease)
	case "restart":
		h.acquire()
	}
}

// both makes a call on both ledgers, which must give the same kind of answer.
func (h *history) both(call func(book) error) error {
	var kinds [2]error
	for i, b := range h.books {
		kinds[i] = kindOf(call(b))
	}
	if !errors.Is(kinds[0], kinds[1]) {
		h.r.Fatalf("memory says %v, PostgreSQL says %v", kinds[0], kinds[1])
	}
	return kinds[0]
}

var errOther = errors.New("some other refusal")

func kindOf(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []error{
		ledger.ErrFenced, ledger.ErrDecided, ledger.ErrConflict, ledger.ErrNoIntent, ledger.ErrPairHeld, ledger.ErrPairClaimed,
		ledger.ErrOutcomeUnknown, ledger.ErrUnavailable,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return errOther
}

func (h *history) pair() string {
	return rapid.SampledFrom([]string{"BTC-USD", "ETH-USD"}).Draw(h.r, "pair")
}

func (h *history) hour() time.Time {
	return noon.Add(time.Duration(rapid.IntRange(0, 40).Draw(h.r, "hour")) * time.Hour)
}

func (h *history) intent(lease ledger.Lease, sequence int64, leg int32) order.Intent {
	i := intent(lease, sequence, leg, h.pair(), rapid.SampledFrom([]order.Side{order.Buy, order.Sell}).Draw(h.r, "side"),
		market.Quantity(rapid.IntRange(1, 1_000_000).Draw(h.r, "lots")))
	i.MarketTime = h.hour()
	i.ReduceOnly = rapid.Bool().Draw(h.r, "reduce only")
	return i
}

func (h *history) decide(lease ledger.Lease) {
	sequence := h.next + int64(rapid.IntRange(0, 2).Draw(h.r, "sequence"))
	decision := decide(sequence, h.pair(), h.hour())
	decision.ConfidenceMicros = int64(rapid.IntRange(0, 1_000_000).Draw(h.r, "confidence"))
	if rapid.Bool().Draw(h.r, "silent") {
		decision.Reasoning = nil
	}
	legs := rapid.Int32Range(0, 2).Draw(h.r, "legs")
	intents := make([]order.Intent, 0, legs)
	for leg := range legs {
		intents = append(intents, h.intent(lease, sequence, leg))
	}
	sentAt := rapid.SampledFrom([]time.Time{{}, noon.Add(time.Second)}).Draw(h.r, "sent at")
	for range rapid.IntRange(1, 2).Draw(h.r, "times") {
		err := h.both(func(b book) error { return b.Decide(h.t.Context(), lease, decision, intents, sentAt) })
		if err == nil && sequence > h.next {
			h.next = sequence
			h.orders = append(h.orders, intents...)
		}
	}
}

func (h *history) fill(lease ledger.Lease) {
	if len(h.orders) == 0 {
		return
	}
	of := rapid.SampledFrom(h.orders).Draw(h.r, "order")
	trade := strconv.Itoa(rapid.IntRange(1, 30).Draw(h.r, "trade"))
	fill := fillOf(lease, of.ID, trade, of.Pair, of.Side, market.Quantity(rapid.IntRange(1, int(of.Quantity)).Draw(h.r, "filled")),
		market.Price(rapid.IntRange(1, 10_000_000).Draw(h.r, "ticks")), "0")
	fill.Fee = market.Money(rapid.IntRange(-1_000_000, 1_000_000).Draw(h.r, "fee"))
	fill.FeeCurrency = rapid.SampledFrom([]string{"USD", "USD", h.model[of.Pair].instrument.Base, "BTC", "KFEE"}).Draw(h.r, "fee currency")
	fill.MarketTime = h.hour()
	if known, ok := h.fills[trade]; ok && rapid.Bool().Draw(h.r, "again") {
		fill = known
	}
	var fresh [2]bool
	i := 0
	err := h.both(func(b book) (err error) {
		fresh[i], err = b.BookFill(h.t.Context(), lease, fill)
		i++
		return err
	})
	_, known := h.fills[trade]
	if fresh[0] != fresh[1] || (err == nil && fresh[0] == known) {
		h.r.Fatalf("trade %s, known before: %t: new to memory %t, to PostgreSQL %t", trade, known, fresh[0], fresh[1])
	}
	if !fresh[0] {
		return
	}
	h.fills[trade] = fill
	m := h.model[fill.Pair]
	m.lots += int64(fill.Quantity) * int64(fill.Side)
	value := m.instrument.PriceDecimal(fill.Price).Mul(m.instrument.QuantityDecimal(fill.Quantity)).RoundBank(8)
	h.cash = h.cash.Sub(value.Mul(decimal.NewFromInt(int64(fill.Side))))
	h.held["USD"] = h.held["USD"].Sub(value.Mul(decimal.NewFromInt(int64(fill.Side))))
	base, lot := m.instrument.Base, m.instrument.Lot
	moved := lot.Mul(decimal.NewFromInt(int64(fill.Quantity) * int64(fill.Side)))
	h.held[base], m.owned = h.held[base].Add(moved), m.owned.Add(moved)
	h.held[fill.FeeCurrency] = h.held[fill.FeeCurrency].Sub(fill.Fee.Decimal())
	switch {
	case fill.FeeCurrency == "USD":
		h.cash = h.cash.Sub(fill.Fee.Decimal())
	case fill.FeeCurrency == base && fill.Fee != 0:
		m.owned = m.owned.Sub(fill.Fee.Decimal())
		// A long position is all whole lots that are owned, unless fees have eaten more.
		if m.lots > 0 && !m.owned.IsNegative() {
			m.lots = m.owned.Div(lot).Floor().IntPart()
		}
	}
}

func (h *history) mark(lease ledger.Lease) {
	mark := ledger.Mark{
		Pair: h.pair(), MarketTime: h.hour(), Price: market.Price(rapid.IntRange(1, 10_000_000).Draw(h.r, "close")),
		Equity: market.Money(rapid.Int64Range(-1e15, 1e15).Draw(h.r, "equity")), PeakEquity: 7, DayStart: noon, DayStartEquity: 8,
	}
	if h.both(func(b book) error { return b.SaveMark(h.t.Context(), lease, mark) }) == nil && !mark.MarketTime.Before(h.prices[mark.Pair].MarketTime) {
		h.prices[mark.Pair] = mark
	}
}

// compare holds both ledgers against each other and against the reckoning.
func (h *history) compare() {
	memory, postgres := load(h.t, h.books[0], h.lease), load(h.t, h.books[1], h.lease)
	// When a pair was claimed is real time.
	memory.ClaimedAt, postgres.ClaimedAt = nil, nil
	if diff := cmp.Diff(memory, postgres); diff != "" {
		h.r.Fatalf("snapshots differ (-memory +PostgreSQL):\n%s", diff)
	}
	if !memory.Cash.Decimal().Equal(h.cash) {
		h.r.Fatalf("cash is %s, want %s", memory.Cash, h.cash)
	}
	if memory.Fills != int64(len(h.fills)) {
		h.r.Fatalf("%d fills, want %d", memory.Fills, len(h.fills))
	}
	for pair, m := range h.model {
		if got := memory.Positions[pair].Quantity; int64(got) != m.lots {
			h.r.Fatalf("%s: %d lots, want %d", pair, got, m.lots)
		}
		if got := owned(m.instrument, memory.Positions[pair]); !got.Equal(m.owned) {
			h.r.Fatalf("%s: lots and change come to %s, want %s", pair, got, m.owned)
		}
	}
	want := map[string]string{}
	for currency, amount := range h.held {
		if !amount.IsZero() {
			want[currency] = amount.String()
		}
	}
	for _, b := range h.books {
		if diff := cmp.Diff(want, holdings(h.t, b, h.lease)); diff != "" {
			h.r.Fatalf("holdings (-want +got):\n%s", diff)
		}
	}
	equity := h.cash
	for pair, m := range h.model {
		value := memory.Positions[pair].Cost.Decimal()
		if mark, ok := h.prices[pair]; ok {
			value = m.instrument.PriceDecimal(mark.Price).Mul(m.instrument.QuantityDecimal(market.Quantity(m.lots))).RoundBank(8)
			if byMoney := m.instrument.Notional(mark.Price, market.Quantity(m.lots)); !byMoney.Decimal().Equal(value) {
				h.r.Fatalf("%s is worth %s by Money, %s by decimals", pair, byMoney, value)
			}
		}
		equity = equity.Add(value)
	}
	if got := query[string](h.t, h.books[1], `SELECT trading.equity($1)::text`, h.agent.UID); got != equity.String() {
		h.r.Fatalf("trading.equity is %s, want %s", got, equity)
	}
}

func TestEquityInTime(t *testing.T) {
	b, _ := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	equity := func(when any) string {
		return query[string](t, b, `SELECT coalesce(trading.equity('uid-a', $1::text::timestamptz)::text, 'unknown')`, when)
	}
	id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10000)
	fill := fillOf(lease, id, "t1", "BTC-USD", order.Buy, 10000, 10000, "0.5")
	fill.MarketTime = at(1)
	bookFill(t, b, lease, fill)
	for hour, price := range map[int]market.Price{0: 9000, 1: 11000, 2: 12000} {
		if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: at(hour), Price: price}); err != nil {
			t.Fatal(err)
		}
	}
	for when, want := range map[string]string{
		"-infinity":                    "10000",
		at(0).Format(time.RFC3339):     "10000",
		at(1).Format(time.RFC3339):     "10009.5",
		at(2).Format(time.RFC3339):     "10019.5",
		"infinity":                     "10019.5",
		at(1000).Format(time.RFC3339):  "10019.5",
		at(-1000).Format(time.RFC3339): "10000",
	} {
		if got := equity(when); got != want {
			t.Errorf("equity at %s is %s, want %s", when, got, want)
		}
	}
	if unknown := query[bool](t, b, `SELECT trading.equity('nobody') IS NULL`); !unknown {
		t.Error("an unknown agent has an equity")
	}
}

// The database rounds as the agents do.
func TestRoundMoney(t *testing.T) {
	b, _ := openLedger(t)
	for _, amount := range []string{
		"0.000000005", "0.000000015", "0.000000025", "-0.000000005", "-0.000000015", "-0.000000025", "0.0000000050000001",
		"0.0000000149999", "123456789.123456785", "123456789.123456775", "1", "0", "92233720368.547758065", "-5.999999995",
	} {
		want, err := market.MoneyOf(decimal.RequireFromString(amount))
		if err != nil {
			t.Fatal(err)
		}
		if got := query[string](t, b, `SELECT trim_scale(trading.round_money($1::text::numeric))::text`, amount); got != want.String() {
			t.Errorf("%s is rounded to %s, want %s", amount, got, want)
		}
	}
}
