package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue/kraken"
)

// frame is a quote as it comes from a wire.
type frame struct {
	Time int64  `json:"time"`
	Bid  string `json:"bid"`
	Ask  string `json:"ask"`
}

// marketStep is how much of the market's time passes from tick to tick.
const marketStep = time.Minute

// tape is a recording of frames. It holds no pointers, so that its size costs the
// collector nothing.
type tape struct {
	text []byte
	ends []uint32
}

// newTape records quotes of a pair that walks up and down.
func newTape(count int) *tape {
	dice := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same walk each time
	begin, price := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), int64(110_000)
	t := &tape{text: make([]byte, 0, count*64), ends: make([]uint32, 0, count)}
	for i := range count {
		price = min(max(price+dice.Int64N(21)-10, 100_000), 120_000)
		t.text = fmt.Appendf(t.text, `{"time":%d,"bid":"%d.%05d","ask":"%d.%05d"}`,
			begin.Add(time.Duration(i)*marketStep).UnixMilli(), (price-1)/100_000, (price-1)%100_000, (price+1)/100_000, (price+1)%100_000)
		t.ends = append(t.ends, uint32(len(t.text))) //nolint:gosec // a minute's frames are a tenth of that
	}
	return t
}

// frame of a number.
func (t *tape) frame(i int) []byte {
	begin := uint32(0)
	if i > 0 {
		begin = t.ends[i-1]
	}
	return t.text[begin:t.ends[i]]
}

// ticksOf reads a price with five decimals.
func ticksOf(text string) (market.Price, error) {
	whole, part, ok := strings.Cut(text, ".")
	if !ok || len(part) != 5 {
		return 0, fmt.Errorf("%q is not a price with five decimals", text)
	}
	units, err := strconv.ParseInt(whole, 10, 32)
	if err != nil {
		return 0, err
	}
	rest, err := strconv.ParseInt(part, 10, 32)
	return market.Price(units*100_000 + rest), err
}

// agent is a core with what a shell would do for it, except that nothing waits:
// the venue fills at once, and there is no ledger.
type agent struct {
	core   *trader.Core
	debate decision.Debate
	pair   string
	freeze func(order.Intent, time.Time) ([]byte, error)
	// commit is called with a decision whose orders are frozen; nil keeps nothing.
	commit func(ledger.Decision, []order.Intent) error
	// begin is called before an order leaves whose send did not begin with its commit;
	// nil does nothing.
	begin func(uuid.UUID) error
	// frozenAt is when the last request was frozen; zero if none was.
	frozenAt time.Time
	orders   int
	price    market.Price
}

// newAgent makes an agent that has seen enough to decide, on Kraken's requests.
func newAgent(base string, judge decision.Judge) (*agent, error) {
	pair, err := instrument(base)
	if err != nil {
		return nil, err
	}
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		return nil, err
	}
	debate.Judge, debate.Terse = judge, true
	config, _ := newConfig(pair, marketStep, debate)
	core, err := trader.NewCore(config)
	if err != nil {
		return nil, err
	}
	key, err := kraken.ParseCredentials(strings.Repeat("k", 56), strings.Repeat("A", 86)+"==")
	if err != nil {
		return nil, err
	}
	adapter, err := kraken.New(kraken.Options{
		Environment: v1alpha1.EnvironmentProduction, Instruments: config.Agent.Instruments, Credentials: key,
	})
	if err != nil {
		return nil, err
	}
	return &agent{core: core, debate: debate, pair: pair.Pair, freeze: adapter.Freeze}, nil
}

// learn observes the first frames, and takes over an empty book.
func (a *agent) learn(recorded *tape, count int) error {
	for i := range count {
		bar, err := a.read(recorded.frame(i))
		if err != nil {
			return err
		}
		a.core.Handle(trader.Observed{Bar: bar})
	}
	a.core.Handle(trader.Recovered{Epoch: 1, Snapshot: ledger.Snapshot{Cash: balance}})
	return nil
}

// read is a frame as a bar.
func (a *agent) read(text []byte) (market.PairBar, error) {
	var quote frame
	if err := json.Unmarshal(text, &quote); err != nil {
		return market.PairBar{}, err
	}
	bid, err := ticksOf(quote.Bid)
	if err != nil {
		return market.PairBar{}, err
	}
	ask, err := ticksOf(quote.Ask)
	if err != nil {
		return market.PairBar{}, err
	}
	begin := time.UnixMilli(quote.Time).UTC()
	price := (bid + ask) / 2
	return market.PairBar{Pair: a.pair, Bar: market.Bar{
		Start: begin, End: begin.Add(marketStep), Open: price, High: price, Low: price, Close: price, Bid: bid, Ask: ask,
	}}, nil
}

// take deals with a frame, to the end of what follows from it.
func (a *agent) take(ctx context.Context, text []byte) error {
	bar, err := a.read(text)
	if err != nil {
		return err
	}
	a.frozenAt, a.price = time.Time{}, bar.Close
	return a.obey(ctx, a.core.Handle(&trader.Arrived{Bar: bar}))
}

func (a *agent) obey(ctx context.Context, commands []trader.Command) error {
	queue := append([]trader.Command(nil), commands...)
	for len(queue) > 0 {
		command := queue[0]
		queue = queue[1:]
		following, err := a.execute(ctx, command)
		if err != nil {
			return err
		}
		queue = append(append([]trader.Command(nil), following...), queue...)
	}
	return nil
}

func (a *agent) execute(ctx context.Context, command trader.Command) ([]trader.Command, error) {
	switch c := command.(type) {
	case *trader.Deliberate:
		ruling, err := a.debate.Hold(ctx, c.View)
		return a.core.Handle(&trader.Ruled{Pair: c.View.Pair, BarEnd: c.BarEnd, Ruling: ruling, Err: err}), nil
	case *trader.Commit:
		return a.commits(c)
	case trader.BeginSend:
		if a.begin != nil && !c.Recorded {
			if err := a.begin(c.ID); err != nil {
				return nil, err
			}
		}
		return a.core.Handle(trader.SendBegun{ID: c.ID}), nil
	case trader.Send:
		return a.fills(c.Intent), nil
	}
	return nil, nil // marks and records are the ledger's
}

func (a *agent) commits(c *trader.Commit) ([]trader.Command, error) {
	intents := slices.Clone(c.Intents)
	notAfter := time.Now().Add(5 * time.Second).UTC().Truncate(time.Microsecond)
	for i := range intents {
		body, err := a.freeze(intents[i], notAfter)
		if err != nil {
			return nil, err
		}
		intents[i].Frozen, intents[i].NotAfter = string(body), notAfter
	}
	if len(intents) > 0 {
		a.frozenAt = time.Now()
		a.orders += len(intents)
	}
	if a.commit != nil {
		if err := a.commit(c.Decision, intents); err != nil {
			return nil, err
		}
	}
	return a.core.Handle(&trader.Committed{Intents: intents}), nil
}

// fills an order whole, at the newest price.
func (a *agent) fills(intent order.Intent) []trader.Command {
	commands := append([]trader.Command(nil), a.core.Handle(trader.News{ID: intent.ID, Event: order.Ack})...)
	return append(commands, a.core.Handle(trader.FillBooked{New: true, Fill: order.Fill{
		TradeID: intent.ID.String(), OrderID: intent.ID, Pair: intent.Pair, Side: intent.Side, Quantity: intent.Quantity, Price: a.price,
	}})...)
}

// latencies of a measure.
type latencies []time.Duration

// at is the given share of the latencies, in thousandths, from the least.
func (l latencies) at(thousandths int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)*thousandths/1000, len(l)-1)]
}

// ticksAnOrder is how many ticks there are to an order. Every tick has a debate.
const ticksAnOrder = 10

// measureTicks sends frames at a fixed rate, whether or not the agent keeps up, and
// tells how long after each was due its request was frozen.
func measureTicks(ctx context.Context, perSecond int, span time.Duration) (latencies, error) {
	measured, err := newAgent("EUR", &restless{every: ticksAnOrder})
	if err != nil {
		return nil, err
	}
	const history = 1_000
	count := int(span.Seconds() * float64(perSecond))
	recorded := newTape(history + count)
	if err := measured.learn(recorded, history); err != nil {
		return nil, err
	}
	taken := make(latencies, 0, count)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	gap := time.Second / time.Duration(perSecond)
	begin := time.Now()
	for i := range count {
		due := begin.Add(time.Duration(i) * gap)
		for time.Now().Before(due) {
		}
		if err := measured.take(ctx, recorded.frame(history+i)); err != nil {
			return nil, err
		}
		if !measured.frozenAt.IsZero() {
			taken = append(taken, measured.frozenAt.Sub(due))
		}
	}
	if len(taken)*ticksAnOrder*10 < count*9 {
		return nil, fmt.Errorf("%d frames led to %d orders, which are fewer than wanted; the limits stand in the way", count, len(taken))
	}
	slices.Sort(taken)
	return taken, nil
}
