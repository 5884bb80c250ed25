package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// rank orders the states of an order: news never goes to a lower one, and never
// from one final state to another.
var rank = map[order.State]int{
	order.Intended:  1,
	order.Sent:      2,
	order.Unknown:   3,
	order.Acked:     4,
	order.Filled:    5,
	order.Cancelled: 5,
	order.Rejected:  5,
}

const finalRank = 5

// maxFrozen bounds the body of a request. Those of all venues are shorter than a
// thousandth of it.
const maxFrozen = 1 << 20

// advances says whether an order may go from one state to another. Staying in a
// state that is not final advances too: the venue's id may have become known.
func advances(from, to order.State) bool {
	return rank[from] < finalRank && rank[to] >= rank[from]
}

// stateAfterFill is an order's state once so much of it is filled.
func stateAfterFill(state order.State, filled, quantity market.Quantity) order.State {
	switch {
	case rank[state] == finalRank:
		return state
	case filled >= quantity:
		return order.Filled
	default:
		return order.Acked
	}
}

// marketTime is a time as the ledger keeps it: in UTC, in microseconds.
func marketTime(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

var errNotTraded = errors.New("does not trade")

// instrument finds a pair among those that the agent trades; any other is
// errNotTraded.
func (a Agent) instrument(pair string) (market.Instrument, error) {
	for i := range a.Instruments {
		if a.Instruments[i].Pair == pair {
			return a.Instruments[i], nil
		}
	}
	return market.Instrument{}, fmt.Errorf("agent %s %w %q", a, errNotTraded, pair)
}

// String names the agent as people do.
func (a Agent) String() string { return a.Namespace + "/" + a.Name }

// checkedAgent returns the agent with its instruments in order of pair, or says
// what is wrong with it.
func checkedAgent(agent Agent) (Agent, error) {
	for _, field := range []struct{ name, value string }{
		{"UID", agent.UID}, {"name", agent.Name}, {"account", agent.Account},
		{"venue", agent.Venue}, {"currency", agent.Currency}, {"holder", agent.Holder},
	} {
		if field.value == "" {
			return Agent{}, fmt.Errorf("agent %s: its %s must not be empty", agent, field.name)
		}
	}
	if agent.Balance < 0 {
		return Agent{}, fmt.Errorf("agent %s: balance %s must not be negative", agent, agent.Balance)
	}
	agent.Instruments = slices.SortedFunc(slices.Values(agent.Instruments), func(a, b market.Instrument) int {
		return strings.Compare(a.Pair, b.Pair)
	})
	for i, instrument := range agent.Instruments {
		if instrument.Pair == "" || instrument.Tick.Sign() <= 0 || instrument.Lot.Sign() <= 0 {
			return Agent{}, fmt.Errorf("agent %s: instrument %q needs a name, a tick size and a lot size", agent, instrument.Pair)
		}
		if i > 0 && agent.Instruments[i-1].Pair == instrument.Pair {
			return Agent{}, fmt.Errorf("agent %s: %s is listed twice", agent, instrument.Pair)
		}
		// Without conversion rates a book has one currency.
		if instrument.Quote != agent.Currency {
			return Agent{}, fmt.Errorf("agent %s: %s is quoted in %s, but the account's book is kept in %s; choose a pair quoted in %s",
				agent, instrument.Pair, instrument.Quote, agent.Currency, agent.Currency)
		}
	}
	return agent, nil
}

// sameBook says why a known agent may not go on under another account or
// currency: what it has booked would change its meaning.
func sameBook(known, agent Agent) error {
	if known.Account != agent.Account || known.Venue != agent.Venue || known.Currency != agent.Currency {
		return fmt.Errorf("agent %s is booked on account %s at %s in %s and cannot move to account %s at %s in %s; create a new agent instead",
			agent, known.Account, known.Venue, known.Currency, agent.Account, agent.Venue, agent.Currency)
	}
	return nil
}

// sameSteps says whether two definitions of a pair count prices and quantities
// alike.
func sameSteps(a, b market.Instrument) bool {
	return a.Base == b.Base && a.Quote == b.Quote && a.Tick.Equal(b.Tick) && a.Lot.Equal(b.Lot)
}

func checkedDecision(lease Lease, decision Decision, intents []order.Intent) (Decision, error) {
	if decision.Sequence < 1 {
		return Decision{}, fmt.Errorf("decision on %s: sequence %d must be 1 or more", decision.Pair, decision.Sequence)
	}
	if decision.ConfidenceMicros < 0 || decision.ConfidenceMicros > 1_000_000 {
		return Decision{}, fmt.Errorf("decision %d: confidence of %d millionths is not between 0 and 1", decision.Sequence, decision.ConfidenceMicros)
	}
	if decision.Action != "Buy" && decision.Action != "Sell" && decision.Action != "Hold" {
		return Decision{}, fmt.Errorf("decision %d: action %q is none of Buy, Sell and Hold", decision.Sequence, decision.Action)
	}
	if decision.Outcome == "" {
		return Decision{}, fmt.Errorf("decision %d: its outcome must not be empty", decision.Sequence)
	}
	if _, err := lease.Agent.instrument(decision.Pair); err != nil {
		return Decision{}, fmt.Errorf("decision %d: %w", decision.Sequence, err)
	}
	if len(decision.Reasoning) == 0 {
		decision.Reasoning = nil
	} else if !json.Valid(decision.Reasoning) {
		return Decision{}, fmt.Errorf("decision %d: the reasoning is not JSON", decision.Sequence)
	}
	for i := range intents {
		if intents[i].Sequence != decision.Sequence {
			return Decision{}, fmt.Errorf("decision %d: intent %s belongs to decision %d", decision.Sequence, intents[i].ID, intents[i].Sequence)
		}
	}
	decision.BarEnd = marketTime(decision.BarEnd)
	return decision, nil
}

func checkedIntent(lease Lease, intent order.Intent) (order.Intent, error) {
	if intent.Account != lease.Agent.Account || intent.AgentUID != lease.Agent.UID {
		return order.Intent{}, fmt.Errorf("intent %s is of agent %s on account %s, not of agent %s on account %s",
			intent.ID, intent.AgentUID, intent.Account, lease.Agent.UID, lease.Agent.Account)
	}
	if _, err := lease.Agent.instrument(intent.Pair); err != nil {
		return order.Intent{}, fmt.Errorf("intent %s: %w", intent.ID, err)
	}
	switch {
	case intent.Side != order.Buy && intent.Side != order.Sell:
		return order.Intent{}, fmt.Errorf("intent %s: side %d is neither buy nor sell", intent.ID, intent.Side)
	case intent.Quantity <= 0:
		return order.Intent{}, fmt.Errorf("intent %s: quantity of %d lots must be greater than zero", intent.ID, intent.Quantity)
	case intent.Limit <= 0:
		return order.Intent{}, fmt.Errorf("intent %s: limit of %d ticks must be greater than zero", intent.ID, intent.Limit)
	case intent.Reserved < 0:
		return order.Intent{}, fmt.Errorf("intent %s: reserved exposure %s must not be negative", intent.ID, intent.Reserved)
	case intent.Sequence < 0 || intent.Leg < 0 || intent.Replacement < 0:
		return order.Intent{}, fmt.Errorf("intent %s: sequence, leg and replacement must not be negative", intent.ID)
	}
	if len(intent.Frozen) > maxFrozen || !utf8.ValidString(intent.Frozen) || strings.ContainsRune(intent.Frozen, 0) {
		return order.Intent{}, fmt.Errorf("intent %s: the frozen request must be text of at most %d bytes", intent.ID, maxFrozen)
	}
	intent.MarketTime, intent.NotAfter = marketTime(intent.MarketTime), marketTime(intent.NotAfter)
	return intent, nil
}

func checkedFill(lease Lease, fill order.Fill) (order.Fill, market.Instrument, error) {
	instrument, err := lease.Agent.instrument(fill.Pair)
	if err != nil {
		return order.Fill{}, instrument, fmt.Errorf("fill %s: %w", fill.TradeID, err)
	}
	switch {
	case fill.TradeID == "":
		err = errors.New("the trade id must not be empty")
	case fill.Venue != lease.Agent.Venue || fill.Account != lease.Agent.Account:
		err = fmt.Errorf("it is of account %s at %s, not of account %s at %s", fill.Account, fill.Venue, lease.Agent.Account, lease.Agent.Venue)
	case fill.Side != order.Buy && fill.Side != order.Sell:
		err = fmt.Errorf("side %d is neither buy nor sell", fill.Side)
	case fill.Quantity <= 0 || fill.Price <= 0:
		err = fmt.Errorf("quantity of %d lots and price of %d ticks must be greater than zero", fill.Quantity, fill.Price)
	case fill.Fee != 0 && fill.FeeCurrency == "":
		err = fmt.Errorf("fee %s has no currency", fill.Fee)
	}
	if err != nil {
		return order.Fill{}, instrument, fmt.Errorf("fill %s: %w", fill.TradeID, err)
	}
	fill.MarketTime = marketTime(fill.MarketTime)
	return fill, instrument, nil
}

// matches says why a fill cannot be of an order.
func matches(fill order.Fill, intent order.Intent) error {
	if fill.Pair != intent.Pair || fill.Side != intent.Side {
		return fmt.Errorf("fill %s has another pair or side than its order %s: %w", fill.TradeID, intent.ID, ErrConflict)
	}
	return nil
}

func checkedMark(lease Lease, mark Mark) (Mark, error) {
	if _, err := lease.Agent.instrument(mark.Pair); err != nil {
		return Mark{}, fmt.Errorf("mark: %w", err)
	}
	if mark.Price <= 0 {
		return Mark{}, fmt.Errorf("mark of %s: price of %d ticks must be greater than zero", mark.Pair, mark.Price)
	}
	mark.MarketTime, mark.DayStart = marketTime(mark.MarketTime), marketTime(mark.DayStart)
	return mark, nil
}

func checkedUpdate(update OrderUpdate) (OrderUpdate, error) {
	if rank[update.State] == 0 {
		return OrderUpdate{}, fmt.Errorf("order %s: %q is not a state of an order", update.ID, update.State)
	}
	update.MarketTime, update.At = marketTime(update.MarketTime), marketTime(update.At)
	return update, nil
}

// dayOf is the beginning of the UTC day.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// fenced says who has taken over.
func fenced(lease Lease, epoch int64) error {
	return fmt.Errorf("agent %s: epoch %d was overtaken by epoch %d: %w", lease.Agent, lease.Epoch, epoch, ErrFenced)
}

// equalDecisions compares two decisions that are both checked.
func equalDecisions(a, b Decision) bool {
	return a.Sequence == b.Sequence && a.Pair == b.Pair && a.BarEnd.Equal(b.BarEnd) && a.Action == b.Action &&
		a.ConfidenceMicros == b.ConfidenceMicros && a.Outcome == b.Outcome && bytes.Equal(a.Reasoning, b.Reasoning)
}

// decided refuses a second decision on a bar.
func decided(decision Decision) error {
	return fmt.Errorf("decision %d on %s at %s: %w", decision.Sequence, decision.Pair, decision.BarEnd.Format(time.RFC3339), ErrDecided)
}

// follows says why a new decision cannot come after what is stored. The sequence
// is part of order ids, so it never goes back, not even to that of an intent.
func follows(decision Decision, last *Decision, lastSequence int64) error {
	if decision.Sequence < lastSequence || (last != nil && decision.Sequence <= last.Sequence) {
		return fmt.Errorf("decision %d on %s: the sequence has reached %d: %w", decision.Sequence, decision.Pair, lastSequence, ErrConflict)
	}
	return nil
}

// sameFill says why a trade id cannot come again with this content. Fees and
// times are left out: venues restate them.
func sameFill(known, fill order.Fill) error {
	if known.OrderID != fill.OrderID || known.Pair != fill.Pair || known.Side != fill.Side ||
		known.Quantity != fill.Quantity || known.Price != fill.Price {
		return fmt.Errorf("fill %s of order %s: %w", fill.TradeID, fill.OrderID, ErrConflict)
	}
	return nil
}

// openedAt is when the position after an execution was opened.
func openedAt(before time.Time, result execution, at time.Time) time.Time {
	switch {
	case result.position.Quantity == 0:
		return time.Time{}
	case result.opened:
		return at
	default:
		return before
	}
}
