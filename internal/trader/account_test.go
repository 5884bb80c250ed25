package trader

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// nameless is a venue that does not know what the desk calls its account.
type nameless struct{ *paper.Venue }

func (n nameless) Fills(ctx context.Context, cursor string) ([]order.Fill, string, error) {
	fills, next, err := n.Venue.Fills(ctx, cursor)
	told := make([]order.Fill, len(fills))
	for i, fill := range fills {
		fill.Account = ""
		told[i] = fill
	}
	return told, next, err
}

func TestFillsAreBookedOnTheAgentsAccount(t *testing.T) {
	config, account := setup(t, "AAA")
	simulated, err := paper.New(paper.NewMemoryBook(), account)
	if err != nil {
		t.Fatal(err)
	}
	var booked []order.Fill
	shell, err := NewShell(config, Options{
		Ledger: ledger.NewMemory(), Venue: nameless{simulated}, inline: true, OnFill: func(fill order.Fill) { booked = append(booked, fill) },
		Feed: func(map[string]time.Time) (market.Feed, error) {
			return record(walk(11, 200, config.Agent.Instruments), nil), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(booked) == 0 {
		t.Error("nothing was booked")
	}
	for _, fill := range booked {
		if fill.Account != config.Agent.Account {
			t.Errorf("%+v is booked on another account than %s", fill, config.Agent.Account)
		}
	}
}

// An account that holds less than its agents' books say lets them only reduce,
// once it has been given the time to agree; more is its owner's affair.
func TestBalancesAreCompared(t *testing.T) {
	for _, test := range []struct {
		name string
		held int64
		want string
	}{{"as much", 10_000, ReasonTrading}, {"more", 10_001, ReasonTrading}, {"less", 9_999, ReasonPositionMismatch}} {
		synctest.Test(t, func(t *testing.T) {
			x := newExchange()
			x.held["USD"] = decimal.NewFromInt(test.held)
			d := trade(t, x, 0, nil)
			status := d.until(test.name, func(s *Status) bool { return s.Reason == test.want })
			if (status.State == risk.Enabled) != (test.want == ReasonTrading) || status.Ready() != (test.want == ReasonTrading) {
				t.Errorf("%s: %+v", test.name, status)
			}
			if test.want == ReasonPositionMismatch {
				x.mu.Lock()
				x.held["USD"] = decimal.NewFromInt(10_000)
				x.mu.Unlock()
				d.until("agreement", func(s *Status) bool { return s.Reason == ReasonTrading && s.Ready() })
			}
			if err := d.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What another agent's open order may have spent while that agent is down keeps
// nobody else from trading; what it cannot have spent does.
func TestAnotherAgentsOpenOrderMayHaveSpent(t *testing.T) {
	for _, test := range []struct {
		held int64
		want string
	}{{19_000, ReasonTrading}, {18_900, ReasonPositionMismatch}} {
		synctest.Test(t, func(t *testing.T) {
			x := newExchange()
			x.held["USD"] = decimal.NewFromInt(test.held)
			config, _ := setup(t, "BBB")
			down := config.Agent
			down.UID, down.Name, down.Venue = "down-uid", "down", "Live"
			lease, err := x.books.Acquire(t.Context(), down)
			if err != nil {
				t.Fatal(err)
			}
			instrument := down.Instruments[0]
			price := market.Price(10_000)
			lots := market.Quantity(decimal.NewFromInt(1000).Div(instrument.Notional(price, 1).Decimal()).IntPart())
			intent := order.Intent{
				ID: order.NewID(down.Account, down.UID, 1, 0, 0), Account: down.Account, AgentUID: down.UID, Sequence: 1, Pair: instrument.Pair,
				Side: order.Buy, Quantity: lots, Limit: price, Reserved: instrument.Notional(price, lots), MarketTime: time.Now(), Reason: "Decision",
			}
			decided := ledger.Decision{Sequence: 1, Pair: instrument.Pair, BarEnd: intent.MarketTime, Action: "Buy", Outcome: OutcomeOrdered}
			if err := x.books.Decide(t.Context(), lease, decided, []order.Intent{intent}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			d := trade(t, x, 0, nil)
			d.until(test.want, func(s *Status) bool { return s.Reason == test.want })
			if err := d.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
