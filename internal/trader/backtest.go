package trader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// Result is what a backtest comes to. It depends on nothing but the
// configuration, the account and the data; how long it took is not in it.
type Result struct {
	// Data describes the feed, From and To bound the bars that were traded on.
	Data     string    `json:"data"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Bars     int64     `json:"bars"`
	Currency string    `json:"currency"`
	// Decisions of the debate and of stops, Fills and round trips that ended
	// flat, of which Wins gained after fees.
	Decisions int64 `json:"decisions"`
	Fills     int64 `json:"fills"`
	Trades    int64 `json:"trades"`
	Wins      int64 `json:"wins"`
	// Balance at the beginning, Equity at the end and its Peak.
	Balance decimal.Decimal `json:"balance"`
	Equity  decimal.Decimal `json:"equity"`
	PNL     decimal.Decimal `json:"pnl"`
	Fees    decimal.Decimal `json:"fees"`
	// MaxDrawdownFraction is the largest fall from a peak, of that peak, at the
	// ends of bars.
	MaxDrawdownFraction decimal.Decimal `json:"maxDrawdownFraction"`
	// Sharpe is the mean of hourly returns over their deviation, annualised by
	// the root of the number of such hours in a year; null with fewer than 30
	// hours or without any movement.
	Sharpe *decimal.Decimal `json:"sharpe"`
	// SharpeHours is how many hours it rests on, and HoursPerYear the number it
	// is annualised with: the hours with bars, scaled to a year.
	SharpeHours  int64 `json:"sharpeHours"`
	HoursPerYear int64 `json:"hoursPerYear"`
	// ExposureFraction is the share of bars at whose end a position was held.
	ExposureFraction decimal.Decimal `json:"exposureFraction"`
	// OpenPositions are held at the end and valued at the last price.
	OpenPositions []BacktestPosition `json:"openPositions"`
}

// BacktestPosition is a position at the end of a backtest.
type BacktestPosition struct {
	Pair      string          `json:"pair"`
	Quantity  decimal.Decimal `json:"quantity"`
	LastPrice decimal.Decimal `json:"lastPrice"`
}

// WinFraction is the share of round trips that gained; zero without any.
func (r *Result) WinFraction() decimal.Decimal {
	return fractionOf(r.Wins, r.Trades)
}

// Backtest runs the agent over a feed as fast as it delivers, with a ledger and
// a paper book in memory, by the same core and shell as an agent in a cluster.
func Backtest(ctx context.Context, config Config, account paper.Config, feed market.Feed) (*Result, error) {
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		return nil, err
	}
	// A result has no reasons in it.
	config.Debate.Terse = true
	tally := newTally(config)
	shell, err := NewShell(config, Options{
		Ledger: ledger.NewMemory(), Venue: simulated, inline: true,
		Feed:   func(map[string]time.Time) (market.Feed, error) { return feed, nil },
		OnFill: tally.fill,
	})
	if err != nil {
		return nil, err
	}
	shell.options.OnBar = func(bar market.PairBar) { tally.bar(shell.core, bar) }
	if err := shell.Run(ctx); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if tally.result.Bars == 0 {
		return nil, errors.New("the data has no bar to trade on after the warm-up; choose a longer recording")
	}
	if tally.err != nil {
		return nil, tally.err
	}
	tally.result.Data = feed.Describe()
	return tally.finish(shell.core)
}

// tally follows a backtest bar by bar.
type tally struct {
	result   Result
	balance  market.Money
	peak     market.Money
	equity   market.Money
	fees     market.Money
	worst    float64
	exposed  int64
	hour     time.Time
	hourly   moments
	hourBase market.Money
	hours    int64
	trips    map[string]*trip
	err      error
}

// trip is a position from flat to flat.
type trip struct {
	instrument market.Instrument
	position   ledger.Position
	cash       market.Money
}

func newTally(config Config) *tally {
	t := &tally{balance: config.Agent.Balance, peak: config.Agent.Balance, equity: config.Agent.Balance,
		hourBase: config.Agent.Balance, trips: map[string]*trip{}}
	t.result.Currency = config.Agent.Currency
	for _, instrument := range config.Agent.Instruments {
		t.trips[instrument.Pair] = &trip{instrument: instrument}
	}
	return t
}

// fill follows round trips. A fill that turns a position ends one and begins
// the next; its fee counts to the one that it ends.
func (t *tally) fill(fill order.Fill) {
	trip := t.trips[fill.Pair]
	after, err := trip.position.After(trip.instrument, fill)
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	t.fees += fill.Fee
	turned := sign(after.Quantity)*sign(trip.position.Quantity) < 0
	trip.cash -= trip.instrument.Notional(fill.Price, fill.Quantity*market.Quantity(fill.Side)) + fill.Fee
	trip.position = after
	if after.Quantity == 0 || turned {
		gain := trip.cash + after.Cost
		t.result.Trades++
		if gain > 0 {
			t.result.Wins++
		}
		trip.cash = -after.Cost
	}
}

// bar follows equity.
func (t *tally) bar(core *Core, bar market.PairBar) {
	if t.result.Bars == 0 {
		t.result.From, t.hour = bar.Start, bar.End.Add(-1).Truncate(time.Hour)
	}
	if hour := bar.End.Add(-1).Truncate(time.Hour); hour.After(t.hour) {
		t.endHour()
		t.hour = hour
	}
	t.result.Bars++
	t.result.To = bar.End
	equity, known := core.equity()
	if !known {
		return
	}
	t.equity = equity
	t.peak = max(t.peak, equity)
	if t.peak > 0 {
		t.worst = max(t.worst, float64(t.peak-equity)/float64(t.peak))
	}
	for i := range core.pairs {
		if core.pairs[i].position.Quantity != 0 {
			t.exposed++
			break
		}
	}
}

// endHour adds the return of an hour that had bars.
func (t *tally) endHour() {
	t.hours++
	if t.hourBase > 0 {
		t.hourly.add(float64(t.equity-t.hourBase) / float64(t.hourBase))
	}
	t.hourBase = t.equity
}

func (t *tally) finish(core *Core) (*Result, error) {
	t.endHour()
	status := core.Status()
	r := &t.result
	r.Decisions, r.Fills = status.Decisions, status.Fills
	r.Balance, r.Equity, r.PNL = t.balance.Decimal(), t.equity.Decimal(), (t.equity - t.balance).Decimal()
	r.Fees = t.fees.Decimal()
	r.MaxDrawdownFraction = decimal.NewFromFloat(t.worst).Round(6)
	r.ExposureFraction = fractionOf(t.exposed, r.Bars)
	r.SharpeHours = t.hours
	if span := r.To.Sub(r.From).Hours(); span > 0 {
		r.HoursPerYear = int64(math.Round(float64(float64(t.hours)*hoursOfYear) / span))
	}
	r.Sharpe = t.hourly.sharpe(float64(r.HoursPerYear))
	for _, position := range status.Positions {
		r.OpenPositions = append(r.OpenPositions, BacktestPosition{
			Pair:      position.Instrument.Pair,
			Quantity:  position.Instrument.QuantityDecimal(position.Quantity),
			LastPrice: position.Instrument.PriceDecimal(position.LastPrice),
		})
	}
	if status.Unknown > 0 {
		return nil, fmt.Errorf("%d orders have no known outcome, which cannot be in a backtest", status.Unknown)
	}
	return r, nil
}

const (
	hoursOfYear = 365.25 * 24
	// fewestHours is the smallest number of returns that a ratio of mean and
	// deviation means anything for.
	fewestHours = 30
)

// moments are mean and spread of a series by Welford's method.
type moments struct {
	count             int64
	mean, sumOfSquare float64
}

func (m *moments) add(value float64) {
	m.count++
	before := value - m.mean
	m.mean += before / float64(m.count)
	m.sumOfSquare += float64(before * (value - m.mean))
}

func (m *moments) sharpe(perYear float64) *decimal.Decimal {
	if m.count < fewestHours || m.sumOfSquare <= 0 {
		return nil
	}
	deviation := math.Sqrt(m.sumOfSquare / float64(m.count-1))
	ratio := decimal.NewFromFloat(float64(m.mean/deviation) * math.Sqrt(perYear)).Round(2)
	return &ratio
}

func fractionOf(part, whole int64) decimal.Decimal {
	if whole == 0 {
		return decimal.Zero
	}
	return decimal.NewFromInt(part).DivRound(decimal.NewFromInt(whole), 6)
}
