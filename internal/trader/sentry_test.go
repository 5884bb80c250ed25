package trader

import (
	"context"
	"errors"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// A quantity that changes between the gate and the send does not leave, whoever
// changed it, and neither does an order that nobody approved.
func TestChangedOrdersNeverLeave(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*order.Intent)
		reason string
		event  order.Event
	}{
		"nothing":    {func(*order.Intent) {}, "", order.Ack},
		"a quantity": {func(i *order.Intent) { i.Quantity *= 1000 }, venue.ChangedAfterApproval, order.Reject},
		"the id":     {func(i *order.Intent) { i.ID[0]++ }, "NoAnswer", order.Lose},
	} {
		config, account := setup(t, "AAA")
		book := paper.NewMemoryBook()
		simulated, err := paper.New(book, account)
		if err != nil {
			t.Fatal(err)
		}
		shell, err := NewShell(config, Options{Ledger: ledger.NewMemory(), Venue: simulated})
		if err != nil {
			t.Fatal(err)
		}
		if shell.lease, err = shell.options.Ledger.Acquire(t.Context(), config.Agent); err != nil {
			t.Fatal(err)
		}
		intent := order.Intent{
			ID: order.NewID(account.Account, config.Agent.UID, 1, 0, 0), Account: account.Account, AgentUID: config.Agent.UID, Sequence: 1,
			Pair: "AAA-USD", Side: order.Buy, Quantity: 100, Limit: 10_000, MarketTime: start, Reason: OrderDecision,
		}
		commit := &Commit{Intents: []order.Intent{intent}, Decision: ledger.Decision{Sequence: 1, Pair: "AAA-USD", BarEnd: start, Action: "Buy", Outcome: OutcomeOrdered}}
		intent = do(t, shell, commit)[0].(*Committed).Intents[0]
		do(t, shell, BeginSend{intent.ID})
		if _, err := simulated.OnBar(t.Context(), market.PairBar{Pair: "AAA-USD", Bar: market.Bar{Start: start.Add(-1), End: start, Open: 1, High: 1, Low: 1, Close: 1}}); err != nil {
			t.Fatal(err)
		}
		leaves := intent
		test.change(&leaves)
		events := do(t, shell, Send{leaves})
		news, ok := events[0].(News)
		if !ok || news.Event != test.event || news.Reason != test.reason {
			t.Errorf("%s: %+v", name, events)
		}
		_, err = simulated.Lookup(t.Context(), venue.Ref{ID: leaves.ID})
		if left := !errors.Is(err, venue.ErrNotFound); left != (test.reason == "") {
			t.Errorf("%s: the venue has the order: %v, %v", name, left, err)
		}
	}
}

func do(t *testing.T, shell *Shell, command Command) []Event {
	t.Helper()
	events, err := shell.execute(context.WithoutCancel(t.Context()), command)
	if err != nil {
		t.Fatal(err)
	}
	return events
}
