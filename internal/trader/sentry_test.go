package trader

import (
	"context"
	"errors"
	"slices"
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
		shell, simulated, commit := inHand(t, 1)
		intent := do(t, shell, commit)[0].(*Committed).Intents[0]
		do(t, shell, BeginSend{ID: intent.ID, Recorded: true})
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
		_, err := simulated.Lookup(t.Context(), venue.Ref{ID: leaves.ID})
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

// inHand is a shell that holds its lease, its venue, and a decision with so many
// orders that is to be committed.
func inHand(t *testing.T, legs int32) (*Shell, *paper.Venue, *Commit) {
	t.Helper()
	config, account := setup(t, "AAA")
	simulated, err := paper.New(paper.NewMemoryBook(), account)
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
	commit := &Commit{Decision: ledger.Decision{Sequence: 1, Pair: "AAA-USD", BarEnd: start, Action: "Buy", Outcome: OutcomeOrdered}}
	for leg := range legs {
		commit.Intents = append(commit.Intents, order.Intent{
			ID: order.NewID(account.Account, config.Agent.UID, 1, leg, 0), Account: account.Account, AgentUID: config.Agent.UID, Sequence: 1, Leg: leg,
			Pair: "AAA-USD", Side: order.Buy, Quantity: 100, Limit: 10_000, MarketTime: start, Reason: OrderDecision,
		})
	}
	return shell, simulated, commit
}

// A process that dies directly after a commit leaves an order that may have left: its
// send was committed with it. Those behind it have not left, until each is begun.
func TestCommitBeginsTheFirstSend(t *testing.T) {
	shell, _, commit := inHand(t, 2)
	states := func() [2]order.State {
		snapshot, err := shell.options.Ledger.Load(t.Context(), shell.lease)
		if err != nil {
			t.Fatal(err)
		}
		return [2]order.State{snapshot.OpenOrders[0].State, snapshot.OpenOrders[1].State}
	}
	do(t, shell, commit)
	if got, want := states(), [2]order.State{order.Sent, order.Intended}; got != want {
		t.Errorf("after the commit the orders are %v, want %v", got, want)
	}
	do(t, shell, BeginSend{ID: commit.Intents[1].ID})
	if got, want := states(), [2]order.State{order.Sent, order.Sent}; got != want {
		t.Errorf("after the second is begun the orders are %v, want %v", got, want)
	}
}

// Only the first order of a commit is recorded as being sent with it.
func TestLaterOrdersAreBegunOneByOne(t *testing.T) {
	snapshot := fresh()
	snapshot.Positions = map[string]ledger.Position{"AAA-USD": {Quantity: 100_000, Cost: 1}}
	h := byHand(t, snapshot, func(c *Config) { c.Settings.Limits.MaxPerSecond = 2 })
	find[Commit](t, h.wish())
	var recorded []bool
	for _, command := range h.core.Handle(&Committed{}) {
		if begin, ok := command.(BeginSend); ok {
			recorded = append(recorded, begin.Recorded)
		}
	}
	if !slices.Equal(recorded, []bool{true, false}) {
		t.Errorf("recorded with the commit: %v", recorded)
	}
}
