package main

import (
	"context"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

const (
	// A year of an agent: a decision every five minutes, a trade in 50 of them.
	yearOfDecisions = 365 * 24 * 12
	decisionsATrade = 50
)

// measureStartUp fills a ledger with a year of one agent and tells how long its next
// process takes to get the epoch and all that the core must know.
func measureStartUp(ctx context.Context, uri string, decisions int) (time.Duration, error) {
	pair, err := instrument("YEAR")
	if err != nil {
		return 0, err
	}
	config, _ := newConfig(pair, marketStep, newTerse())
	config.Agent.UID, config.Agent.Name = "agent-year", "agent-year"
	books, err := ledger.Open(ctx, uri)
	if err != nil {
		return 0, err
	}
	defer books.Close()
	lease, err := books.Acquire(ctx, config.Agent)
	if err != nil {
		return 0, err
	}
	at := time.Date(2025, 11, 23, 0, 0, 0, 0, time.UTC)
	side := order.Sell
	for i := range decisions {
		at = at.Add(5 * time.Minute)
		decision := ledger.Decision{Sequence: int64(i + 1), Pair: pair.Pair, BarEnd: at, Action: "Hold", Outcome: "Hold", ConfidenceMicros: 500_000}
		var intents []order.Intent
		if i%decisionsATrade == 0 {
			side = side.Opposite()
			decision.Action, decision.Outcome = side.String(), "Ordered"
			intents = []order.Intent{{
				ID: order.NewID(config.Agent.Account, config.Agent.UID, decision.Sequence, 0, 0), Account: config.Agent.Account, AgentUID: config.Agent.UID,
				Sequence: decision.Sequence, Pair: pair.Pair, Side: side, Quantity: 1000, Limit: 110_000, MarketTime: at, Reason: "Decision", Frozen: "{}",
			}}
		}
		if err := books.Decide(ctx, lease, decision, intents, time.Time{}); err != nil {
			return 0, err
		}
		for j := range intents {
			if _, err := books.BookFill(ctx, lease, order.Fill{
				Venue: config.Agent.Venue, Account: config.Agent.Account, TradeID: intents[j].ID.String(), OrderID: intents[j].ID, Pair: pair.Pair,
				Side: side, Quantity: 1000, Price: 110_000, Fee: 1_000, FeeCurrency: "USD", MarketTime: at,
			}); err != nil {
				return 0, err
			}
		}
	}
	began := time.Now()
	again, err := ledger.Open(ctx, uri)
	if err != nil {
		return 0, err
	}
	defer again.Close()
	if lease, err = again.Acquire(ctx, config.Agent); err != nil {
		return 0, err
	}
	_, err = again.Load(ctx, lease)
	return time.Since(began), err
}
