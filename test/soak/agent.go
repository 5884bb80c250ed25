package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

const balance = 10_000 * market.MoneyUnit

// errEnough ends the run.
var errEnough = errors.New("there were enough connections")

// fickle is a judge that wants what it does not have, so that the agent trades.
type fickle struct{ asked int }

func (*fickle) Name() string { return "soak/fickle" }

// Rule implements decision.Judge.
func (f *fickle) Rule(_ context.Context, bull, bear decision.Argument, view decision.View) (decision.Ruling, error) {
	ruling := decision.Ruling{Action: decision.Hold, ConfidenceMicros: 900_000, Judge: f.Name(), Arguments: []decision.Argument{bull, bear}}
	if f.asked++; f.asked%3 == 0 {
		ruling.Action = decision.Buy
		if view.Position > 0 {
			ruling.Action = decision.Sell
		}
	}
	return ruling, nil
}

// soaked runs the agent until there were so many connections, and samples behind
// the first ones and the last.
func soaked(ctx context.Context, span time.Duration, reconnects int) (first, last sample, err error) {
	server, err := postgres.Start(postgres.Options{NoSync: true}) //nolint:contextcheck // it is closed, not cancelled
	if err != nil {
		return first, last, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := ledger.Migrate(ctx, server.AdminURI()); err != nil {
		return first, last, err
	}
	books, err := ledger.Open(ctx, server.AdminURI())
	if err != nil {
		return first, last, err
	}
	defer books.Close()
	config, account, err := newConfig()
	if err != nil {
		return first, last, err
	}
	simulated, err := paper.New(paper.NewPostgresBook(books.Database(), config.Agent.Account, config.Agent.UID), account)
	if err != nil {
		return first, last, err
	}
	world := newExchange()
	defer world.server.Close()
	feed := &reconnecting{exchange: world, pair: config.Agent.Instruments[0], pace: span / time.Duration(reconnects)}
	running, stop := context.WithCancel(ctx)
	defer stop()
	feed.after = func(made int) error {
		switch {
		case made == warmUps:
			first = sampleNow()
			fmt.Printf("%6d connections: %s\n", made, first)
		case made == warmUps+reconnects:
			// What ends by itself may take a moment more at the end than at the start.
			last, err = settled(func(s sample) bool { return s.goroutines <= first.goroutines && s.descriptors <= first.descriptors })
			stop()
			return errEnough
		case made > warmUps && (made-warmUps)%max(reconnects/10, 1) == 0:
			fmt.Printf("%6d connections: %s\n", made, sampleNow())
		}
		return nil
	}
	fills := 0
	shell, err := trader.NewShell(config, trader.Options{
		Ledger: books, Venue: simulated, Log: logr.Discard(), OnFill: func(order.Fill) { fills++ },
		Feed: func(map[string]time.Time) (_ market.Feed, err error) {
			feed.history, err = feed.open(running, historyBars)
			feed.due = time.Now()
			return feed, err
		},
	})
	if err != nil {
		return first, last, err
	}
	if err := shell.Run(running); err != nil {
		return first, last, err
	}
	if feed.made < warmUps+reconnects {
		return first, last, fmt.Errorf("it ended after %d connections of %d: %w", feed.made, warmUps+reconnects, ctx.Err())
	}
	if fills == 0 {
		return first, last, errors.New("the agent has traded nothing, so that nothing was shown")
	}
	fmt.Printf("%d connections, %d fills\n", feed.made, fills)
	return first, last, nil
}

// historyBars are enough to decide on.
const historyBars = 60

func newConfig() (trader.Config, paper.Config, error) {
	pair, err := market.NewInstrument("BTC", "USD", decimal.RequireFromString("0.01"), decimal.RequireFromString("0.00000001"), decimal.NewFromInt(1))
	if err != nil {
		return trader.Config{}, paper.Config{}, err
	}
	debate, err := decision.NewDebate("builtin/trend", "builtin/reversion", "builtin/quorum")
	if err != nil {
		return trader.Config{}, paper.Config{}, err
	}
	debate.Judge = &fickle{}
	config := trader.Config{
		Agent: ledger.Agent{
			UID: "agent", Namespace: "desk", Name: "soaked", Account: "account", Venue: paper.Name, Currency: "USD", Balance: balance,
			Holder: "pod", Instruments: []market.Instrument{pair},
		},
		Interval: granularity, MinConfidence: order.Whole / 2, Risk: order.Whole / 100, Stop: order.Whole / 50, Debate: debate,
		Settings: trader.Settings{Trading: risk.Enabled, Generation: 1, Limits: risk.NoLimits()},
	}
	config.Settings.Limits.PriceCollar = order.Whole / 2
	return config, paper.Config{
		Account: config.Agent.Account, Currency: "USD", Balance: balance, TakerFee: 600_000, MakerFee: 250_000, Seed: 7,
		Instruments: config.Agent.Instruments,
	}, nil
}
