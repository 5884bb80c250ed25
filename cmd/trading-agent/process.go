package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/server/api"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// Pauses between two attempts to reach the ledger when the process starts.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// process is one agent in this process, from the moment it can be asked how it
// is; the trader inside it exists once the ledger has answered.
type process struct {
	holder  string
	data    market.Library
	log     logr.Logger
	shell   atomic.Pointer[trader.Shell]
	waiting atomic.Pointer[v1alpha1.TradingStatus]
	changed chan struct{}
	voice   voice
	halts   *halts
	// halter creates halts for the agent's API; nil without an API server.
	halter api.Halter
	// route is the way to real venues. Who asks one before there is a trader, the start
	// or the sweeper, holds the turn: both sign with one key.
	route     route
	venueTurn chan struct{}
	// front is nil for an agent that nobody can reach.
	front *front
}

func newProcess(holder string, data market.Library, log logr.Logger) *process {
	p := &process{holder: holder, data: data, log: log, changed: make(chan struct{}, 1), venueTurn: make(chan struct{}, 1), voice: voice{pulse: indicator.NewBoard()}, halts: newHalts()}
	p.wait(v1alpha1.ReasonRecovering, "the agent has started and reads its manifests", 0)
	return p
}

// wait says what the process waits for before it can trade.
func (p *process) wait(reason, message string, generation int64) {
	p.waiting.Store(&v1alpha1.TradingStatus{
		PodUID: p.holder, ObservedGeneration: generation, State: v1alpha1.TradingReduceOnly,
		Reason: reason, Message: message, Loop: v1alpha1.LoopRecovering,
	})
	p.signal()
}

// signal says that the status may have changed.
func (p *process) signal() {
	if p.front != nil {
		status := p.Status()
		p.front.tell(&status)
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Status implements server.Agent.
func (p *process) Status() v1alpha1.TradingStatus {
	if shell := p.shell.Load(); shell != nil {
		return shell.Status().API(p.holder)
	}
	status := *p.waiting.Load()
	p.halts.waiting(&status)
	return status
}

// trading is the trader's own status; nil before there is one.
func (p *process) trading() *trader.Status {
	if shell := p.shell.Load(); shell != nil {
		return shell.Status()
	}
	return nil
}

// Alive implements server.Agent.
func (p *process) Alive() error {
	if shell := p.shell.Load(); shell != nil {
		return shell.Alive()
	}
	return nil
}

// Ready implements server.Agent.
func (p *process) Ready() error {
	if shell := p.shell.Load(); shell != nil && shell.Status().Ready() {
		return nil
	}
	status := p.Status()
	return errors.New(status.Reason + ": " + status.Message)
}

// openLedger tries until the database answers with the schema that this binary
// knows, because a restart of the process would help nobody. Meanwhile it takes up
// what changes.
func (p *process) openLedger(ctx context.Context, uri database.Source, generation int64, watcher manifests) (*ledger.Postgres, error) {
	pause := firstPause
	for {
		book, err := ledger.Follow(ctx, uri)
		if err == nil {
			return book, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		reason := v1alpha1.ReasonLedgerUnavailable
		if errors.Is(err, ledger.ErrNotDurable) {
			reason = v1alpha1.ReasonLedgerNotDurable
		}
		p.log.Info("the ledger cannot be used yet", "reason", reason, "error", err.Error())
		p.wait(reason, err.Error(), generation)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-watcher.Changes():
			if _, err := p.read(ctx, watcher); err != nil {
				return nil, err
			}
			p.signal()
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

// books are where the agent's trading is recorded: its own ledger and the paper
// venue's book.
type books struct {
	ledger ledger.Ledger
	audit  ledger.Audit
	halts  ledger.Halts
	// accounts are those at venues that agents are bound to.
	accounts ledger.VenueAccounts
	// paper makes the paper venue's book for one agent on one account.
	paper func(account, agentUID string) paper.Book
	// reader tells what one agent has done, without touching what the trader needs.
	// It ends with the context.
	reader func(ctx context.Context, agentUID string) (reader, error)
}

// reader tells what one agent has done.
type reader interface {
	ledger.Reader
	ledger.NewsReader
}

func postgresBooks(book *ledger.Postgres, uri database.Source) books {
	return books{
		ledger: book, audit: book, halts: book, accounts: book,
		paper: func(account, agentUID string) paper.Book {
			return paper.NewPostgresBook(book.Database(), account, agentUID)
		},
		reader: func(ctx context.Context, agentUID string) (reader, error) {
			opened, err := ledger.OpenReader(ctx, uri, agentUID)
			if err == nil {
				context.AfterFunc(ctx, opened.Close)
			}
			return opened, err
		},
	}
}

func memoryBooks() books {
	book := ledger.NewMemoryWithHistory()
	return books{
		ledger: book, audit: book, halts: book, accounts: book,
		paper:  func(string, string) paper.Book { return paper.NewMemoryBook() },
		reader: func(_ context.Context, agentUID string) (reader, error) { return book.Reader(agentUID), nil },
	}
}

// start builds the trader; from here on the process speaks with its voice.
func (p *process) start(ctx context.Context, desk *link.Desk, kept books) (*trader.Shell, error) {
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, p.holder)
	if err != nil {
		return nil, err
	}
	config.Settings = p.settings(desk)
	venue, sentry, err := p.venueOf(ctx, desk, config, kept)
	if err != nil {
		return nil, err
	}
	instruments := map[string]market.Instrument{}
	for _, instrument := range config.Agent.Instruments {
		instruments[instrument.Pair] = instrument
	}
	shell, err := trader.NewShell(config, trader.Options{
		Ledger: kept.ledger,
		Venue:  venue,
		Sentry: sentry,
		Feed: func(resumeAfter map[string]time.Time) (market.Feed, error) {
			feed, err := openFeed(ctx, desk, config, p.data, true, resumeAfter, p.log)
			if err != nil {
				return nil, err
			}
			return p.voice.pulse.Follow(feed), nil
		},
		Log:    p.log,
		OnFill: func(fill order.Fill) { p.logFill(instruments[fill.Pair], fill) },
		OnBar: func(bar market.PairBar) {
			if p.front != nil {
				p.front.tellBar(instruments[bar.Pair], bar.Bar)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if p.front != nil {
		records, err := kept.reader(ctx, config.Agent.UID)
		if err != nil {
			return nil, err
		}
		p.voice.records.Store(&records)
		p.front.opened(kept.audit, records, config.Agent.UID)
	}
	p.shell.Store(shell)
	return shell, nil
}

func (p *process) logFill(instrument market.Instrument, fill order.Fill) {
	p.log.Info("filled", "pair", fill.Pair, "side", sideWord(fill.Side),
		"quantity", instrument.QuantityDecimal(fill.Quantity).String(), "price", instrument.PriceDecimal(fill.Price).String(),
		"fee", fill.Fee.String(), "order", fill.OrderID.String(), "marketTime", fill.MarketTime.UTC())
}

func sideWord(side order.Side) string {
	if side == order.Buy {
		return "Buy"
	}
	return "Sell"
}
