// Package trader is the agent's core and the shell that runs it. The core is a
// pure state machine: events in, commands out, with no goroutine, no clock and
// no dependence on the order of maps. Backtest, paper and live trading differ
// only in the feed, the venue and the ledger that the shell connects to it.
package trader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// Config is what one process of an agent is started with.
type Config struct {
	// Agent as the ledger knows it; its Instruments are the pairs traded.
	Agent ledger.Agent
	// Interval between two decisions on one pair, in market time.
	Interval time.Duration
	// MinConfidence that a ruling needs to become an order.
	MinConfidence order.Fraction
	// LongShort allows positions below zero.
	LongShort bool
	// Risk is the share of equity that one trade may lose at its stop, and Stop
	// how far the price may move against a position, as a share of its entry.
	Risk, Stop order.Fraction
	// Target is how far the price must move in favour of a position for it to be
	// closed, as a share of its entry; zero is no target.
	Target order.Fraction
	// Debate that decides.
	Debate decision.Debate
	// Recorded says that the data is a recording: the market's time is then its own,
	// whatever the venue.
	Recorded bool
	// Settings at the start; they may change while the agent runs.
	Settings Settings
}

// pairState is what the core knows of one pair.
type pairState struct {
	// index of the pair among the core's.
	index      int
	instrument market.Instrument
	settings   PairSettings
	// halted is what the halts that bind the pair ask for.
	halted      restraint
	frames      *decision.Frames
	price       market.Price
	priceAt     time.Time
	position    ledger.Position
	lastDecided time.Time
	// bars counts what was seen, so that an order's age is counted in bars and
	// not in nights and weekends.
	bars int64
	// fresh says that a frame was completed that nobody has decided on.
	fresh bool
	// last bar, and what is wrong with it or with those before it.
	last                    market.Bar
	crossed                 bool
	frozenBars, missingBars int32
	// recent are opening orders that were sent, lastStop the time of the last
	// stop, and realised what the trade under way has come to so far.
	recent   []risk.Sent
	lastStop time.Time
	realised market.Money
	// flattened is when it was last tried to close the position by itself.
	flattened time.Time
}

// openOrder is an order that may yet be filled.
type openOrder struct {
	order.Intent
	state    order.State
	filled   market.Quantity
	placedAt int64
	// begunAt is when its send began, zero if another process has begun it.
	begunAt time.Time
	// venueOrderID is empty until the venue has given it.
	venueOrderID string
	// cancelling says that the venue was asked to cancel it.
	cancelling bool
	// confidence of the decision behind it.
	confidence order.Fraction
	// wished says that a person waits for the position to be closed by it, and
	// overtaken that it is cancelled because of such a wish.
	wished, overtaken bool
}

// Core decides. It is used by one goroutine.
type Core struct {
	config   Config
	settings Settings
	pairs    []pairState
	commands []Command

	// live says that the venue tells of fills only when it is asked, and current
	// that the market's time is the wall clock's besides.
	live    bool
	current bool
	// polls counts how often the venue was asked without a bar.
	polls      int64
	recovered  bool
	impairment Impaired
	ended      bool
	dataLoss   string
	deleting   *Deleting
	// halted is what the halts ask for that bind the whole agent.
	halted restraint

	epoch, reconciledEpoch int64
	sequence               int64
	decisions, fills       int64
	cash                   market.Money
	peak                   market.Money
	day                    time.Time
	dayEquity              market.Money
	tradesToday            int32
	// openings are what the ledger had of days that have not begun for the core.
	openings   map[time.Time]int32
	open       []openOrder
	now        time.Time
	lastBar    time.Time
	loop       Loop
	statistics *risk.Statistics
	// shares are what the agent may be worth of totals that bind several agents,
	// by scope; short is the ruling that waits for more of them.
	shares map[string]market.Money
	short  *Ruled
	// losses counts the newest trades that lost in a row, exits the stops, both
	// since a person last allowed more; disarmed waits for one.
	losses       int32
	exits        []time.Time
	disarmed     bool
	lastDecision *ledger.Decision

	// deliberating says that a debate is on, and inHand is the commit that has
	// not been answered.
	deliberating bool
	inHand       *Commit
	// mark and question are what was emitted last of their kind: each is carried out
	// before there is another one, and most bars have them.
	mark     SaveMark
	question Deliberate
	sentAt   []time.Time
}

// NewCore checks the configuration and makes a core that waits for Recovered.
func NewCore(config Config) (*Core, error) {
	switch {
	case len(config.Agent.Instruments) == 0:
		return nil, errors.New("an agent needs at least one pair; name one in spec.assetPairs")
	case config.Interval <= 0:
		return nil, fmt.Errorf("decision.intervalSeconds must be greater than zero, not %s", config.Interval)
	case config.Stop <= 0:
		return nil, errors.New("sizing.stopFraction must be greater than zero")
	case config.Target < 0:
		return nil, errors.New("sizing.targetFraction must not be negative")
	case config.Debate.Bull == nil || config.Debate.Bear == nil || config.Debate.Judge == nil:
		return nil, errors.New("a debate needs a bull, a bear and a judge")
	}
	core := &Core{config: config, settings: config.Settings, loop: Recovering}
	for _, instrument := range config.Agent.Instruments {
		if instrument.Quote != config.Agent.Currency {
			return nil, fmt.Errorf("%s is quoted in %s, but the account is kept in %s; choose a pair quoted in %s",
				instrument.Pair, instrument.Quote, config.Agent.Currency, config.Agent.Currency)
		}
		core.pairs = append(core.pairs, pairState{instrument: instrument, frames: decision.NewFrames(config.Interval)})
	}
	slices.SortFunc(core.pairs, func(a, b pairState) int { return strings.Compare(a.instrument.Pair, b.instrument.Pair) })
	for i := range core.pairs {
		core.pairs[i].index = i
	}
	core.statistics = risk.NewStatistics(len(core.pairs), config.Interval)
	core.update(config.Settings)
	return core, nil
}

// Handle takes an event and returns what shall be done, in order. The returned
// slice is valid until the next call.
func (c *Core) Handle(event Event) []Command {
	c.commands = c.commands[:0]
	switch e := event.(type) {
	case Observed:
		c.observe(e.Bar)
	case Recovered:
		c.recover(e)
	case *Arrived:
		c.arrive(e.Bar)
	case Ticked:
		c.tick(e.Now)
	case Passed:
		c.moveTo(e.Now)
	case Polled:
		c.poll()
	case Updated:
		c.update(e.Settings)
		c.obey()
	case Deleting:
		c.deleting = &e
		c.obey()
	case Urged:
		c.urge()
	case Closing:
		c.close(e.Request)
	case Recalled:
		c.closeNow(e)
	case *Ruled:
		c.ruled(*e)
	case *Committed:
		c.committed(*e)
	case Refused:
		c.refused()
	case SendBegun:
		c.sendBegun(e.ID)
	case News:
		c.news(e)
	case FillSeen:
		c.emit(Book(e))
	case FillBooked:
		c.booked(e)
	case Funded:
		c.funded(e)
	case Armed:
		c.rearmed(e)
	case Impaired:
		c.impair(e)
	case DataLost:
		c.dataLoss = e.Message
	case DataEnded:
		c.ended = true
	}
	return c.commands
}

// update puts settings in force.
func (c *Core) update(settings Settings) {
	c.settings = settings
	for i := range c.pairs {
		pair := &c.pairs[i]
		pair.settings = PairSettings{}
		for j := range settings.Pairs {
			if settings.Pairs[j].Pair == pair.instrument.Pair {
				pair.settings = settings.Pairs[j]
			}
		}
	}
	c.halt()
	c.disarmIfDue()
}

func (c *Core) emit(command Command) { c.commands = append(c.commands, command) }

func (c *Core) pair(name string) *pairState {
	for i := range c.pairs {
		if c.pairs[i].instrument.Pair == name {
			return &c.pairs[i]
		}
	}
	return nil
}

func (c *Core) order(id uuid.UUID) *openOrder {
	for i := range c.open {
		if c.open[i].ID == id {
			return &c.open[i]
		}
	}
	return nil
}

// observe learns from a bar: pulse, price and time.
func (c *Core) observe(bar market.PairBar) *pairState {
	pair := c.pair(bar.Pair)
	if pair == nil || !bar.End.After(pair.priceAt) {
		return nil
	}
	pair.fresh = pair.frames.Add(bar.Bar) || pair.fresh
	pair.watch(&bar.Bar)
	c.statistics.Add(pair.index, &bar.Bar)
	pair.price, pair.priceAt = bar.Close, bar.End
	pair.bars++
	if bar.End.After(c.now) {
		c.now = bar.End
	}
	if bar.End.After(c.lastBar) {
		c.lastBar = bar.End
	}
	return pair
}

// recover takes over what the ledger holds. What the market has taught so far
// is kept.
func (c *Core) recover(e Recovered) {
	s := e.Snapshot
	c.epoch, c.reconciledEpoch = e.Epoch, e.Epoch
	c.recovered, c.impairment = true, Impaired{}
	c.deliberating, c.inHand = false, nil
	// Ids that were made stay made, whatever a ledger has forgotten.
	c.sequence = max(c.sequence, s.LastSequence)
	c.decisions, c.fills, c.cash = s.Decisions, s.Fills, s.Cash
	c.lastDecision = s.LastDecision
	c.loop = Idle
	for i := range c.pairs {
		pair := &c.pairs[i]
		name := pair.instrument.Pair
		pair.position, pair.lastDecided = s.Positions[name], s.LastDecided[name]
		pair.lastStop, pair.realised, pair.recent = s.LastStop[name], s.Realised[name], pair.recent[:0]
		if mark, ok := s.LastMark[name]; ok && pair.priceAt.Before(mark.MarketTime) {
			pair.price, pair.priceAt = mark.Price, mark.MarketTime
		}
	}
	if c.now.Before(s.Newest.MarketTime) {
		c.now = s.Newest.MarketTime
	}
	c.open = c.open[:0]
	for _, o := range s.OpenOrders {
		c.open = append(c.open, openOrder{Intent: o.Intent, state: o.State, filled: o.Filled, venueOrderID: o.VenueOrderID, placedAt: c.barsOf(o.Pair), wished: o.Reason == OrderClose})
	}
	for i := range s.RecentOpenings {
		if o := &s.RecentOpenings[i]; c.pair(o.Pair) != nil {
			c.pair(o.Pair).remember(o, o.MarketTime)
		}
	}
	c.shares, c.short = s.Shares, nil
	c.losses, c.exits, c.disarmed = s.ConsecutiveLosses, s.AutomaticExits, s.Disarmed
	c.recoverValue(s)
	c.disarmIfDue()
	c.obey()
}

// recoverValue takes over peak and day. The newest mark's day may be over: the
// next bar begins the new one.
func (c *Core) recoverValue(s ledger.Snapshot) {
	equity, known := c.equity()
	if s.Newest.MarketTime.IsZero() {
		if known {
			c.peak, c.dayEquity = max(c.peak, equity), equity
		}
		return
	}
	c.peak, c.openings = max(c.peak, s.Newest.PeakEquity), s.Openings
	if c.day.After(s.Newest.DayStart) {
		// The day has begun while the ledger was away, or just after the newest mark.
		c.tradesToday = c.openings[c.day]
		return
	}
	c.day, c.dayEquity, c.tradesToday = s.Newest.DayStart, s.Newest.DayStartEquity, c.openings[s.Newest.DayStart]
}

func (c *Core) barsOf(pair string) int64 {
	if state := c.pair(pair); state != nil {
		return state.bars
	}
	return 0
}

// impair stops everything that needs ledger or venue. Whatever was in hand is
// read back at the next Recovered, so nothing is done twice.
func (c *Core) impair(e Impaired) {
	c.recovered, c.impairment = false, e
	c.deliberating, c.inHand, c.short = false, nil, nil
	c.loop = Recovering
}

// arrive takes the next bar.
func (c *Core) arrive(bar market.PairBar) {
	c.beginDay(bar.End)
	pair := c.observe(bar)
	if pair == nil {
		return
	}
	c.loop, c.dataLoss = Perception, ""
	if !c.recovered {
		c.loop = Recovering
		return
	}
	if equity, known := c.equity(); known {
		c.peak = max(c.peak, equity)
		c.mark = SaveMark{ledger.Mark{
			Pair: bar.Pair, MarketTime: bar.End, Price: bar.Close, Equity: equity,
			PeakEquity: c.peak, DayStart: c.day, DayStartEquity: c.dayEquity,
		}}
		c.emit(&c.mark)
	}
	c.askIfArmed()
	c.giveBack()
	c.tend(pair, false)
	c.consider(pair)
}

// tick lets a market move that moves without bars.
func (c *Core) tick(now time.Time) {
	if now.After(c.now) {
		c.moveTo(now)
		c.poll()
	}
}

// moveTo moves the time, which never goes back.
func (c *Core) moveTo(now time.Time) {
	if now.After(c.now) {
		c.beginDay(now)
		c.now = now
	}
}

// poll looks after what is open without waiting for a bar.
func (c *Core) poll() {
	if !c.recovered {
		return
	}
	c.polls++
	for i := range c.pairs {
		c.tend(&c.pairs[i], true)
	}
	c.flatten()
}

// beginDay resets the day's counts when the UTC day has changed. The day begins
// with the equity before its first bar.
func (c *Core) beginDay(now time.Time) {
	day := now.UTC().Truncate(24 * time.Hour)
	if !day.After(c.day) {
		return
	}
	c.day, c.tradesToday = day, c.openings[day]
	if equity, known := c.equity(); known {
		c.dayEquity = equity
	}
}

// equity is cash plus every position at its pair's last price; unknown if a pair
// that is held has none.
func (c *Core) equity() (market.Money, bool) {
	equity := c.cash
	for i := range c.pairs {
		pair := &c.pairs[i]
		if pair.position.Quantity == 0 {
			continue
		}
		if pair.price <= 0 {
			return 0, false
		}
		equity += pair.instrument.Notional(pair.price, pair.position.Quantity)
	}
	return equity, c.recovered || c.epoch > 0
}
