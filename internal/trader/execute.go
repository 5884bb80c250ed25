package trader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// execute carries out one command and returns what came of it. It fails only on
// what ends the process.
func (s *Shell) execute(ctx context.Context, command Command) ([]Event, error) {
	call, cancel := s.bounded(ctx)
	defer cancel()
	switch c := command.(type) {
	case *Deliberate:
		return s.deliberate(call, c), nil
	case Recall:
		return s.recall(call, c.Request)
	case Answer:
		s.answer(c.Request, c.Closed)
		return nil, nil
	case *Commit:
		// gofail: var decisionMade struct{}
		return s.commit(call, *c)
	case BeginSend:
		// gofail: var sendWanted struct{}
		return s.beginSend(call, c)
	case Send:
		if wishes := s.posted(); len(wishes) > 0 {
			return append(wishes, SendBegun{c.Intent.ID}), nil
		}
		return s.send(call, c.Intent), nil
	case Cancel:
		return s.cancel(call, c.ID), nil
	case Lookup:
		return s.lookup(call, c.ID), nil
	case Record:
		// gofail: var newsHeard struct{}
		c.Update.At = s.clock.Now()
		return s.outcome(s.options.Ledger.UpdateOrder(call, s.lease, c.Update))
	case Book:
		// gofail: var fillSeen struct{}
		isNew, err := s.book(call, c.Fill)
		// gofail: var fillBooked struct{}
		return s.outcome(err, FillBooked{c.Fill, isNew})
	case Fund:
		// gofail: var shareWanted struct{}
		shares, err := s.options.Ledger.Fund(call, s.lease, c.Claims)
		// gofail: var shareGranted struct{}
		return s.outcome(err, Funded{shares})
	case Disarm:
		return s.outcome(s.options.Ledger.Disarm(call, s.lease, string(risk.AutomaticExits), c.MarketTime))
	case AskArmed:
		arming, err := s.options.Ledger.Arming(call, s.lease)
		return s.outcome(err, Armed{arming})
	case *SaveMark:
		// gofail: var markMade struct{}
		return s.outcome(s.options.Ledger.SaveMark(call, s.lease, c.Mark))
	}
	return nil, fmt.Errorf("no way to carry out %T", command)
}

// errHaltedFirst is why no debate was held that had been asked for.
var errHaltedFirst = errors.New("trading was halted before the debate")

// deliberate holds a debate, which a halt breaks off at once. What the owner has
// said meanwhile is heard before what the debate has come to.
func (s *Shell) deliberate(ctx context.Context, c *Deliberate) []Event {
	s.ruled = Ruled{Pair: c.View.Pair, BarEnd: c.BarEnd, Err: errHaltedFirst}
	if !s.core.haltsDebate(c.View.Pair) {
		s.ponder(true)
		s.ruled.Ruling, s.ruled.Err = s.config.Debate.Hold(ctx, c.View)
		s.ponder(false)
	}
	s.events = append(append(s.events[:0], s.posted()...), &s.ruled)
	return s.events
}

func (s *Shell) ponder(pondering bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pondering = pondering
}

// commit puts orders into the ledger. What is in it may leave, as it is there.
func (s *Shell) commit(ctx context.Context, c Commit) ([]Event, error) {
	var err error
	if c.Intents, err = s.freeze(c.Intents); err != nil {
		s.options.Log.Error(err, "the venue could never accept an order, so it is not made")
		return []Event{Refused{err}}, nil
	}
	// The first order is sent next: one commit for both is what keeps it fast.
	sentAt := s.clock.Now()
	if c.Request != nil {
		err = s.request(ctx, c, sentAt)
	} else {
		err = s.options.Ledger.Decide(ctx, s.lease, c.Decision, c.Intents, sentAt)
	}
	switch {
	case err == nil:
		// gofail: var decisionCommitted struct{}
		s.sentry.Approve(c.Intents)
	case c.Request == nil && errors.Is(err, ledger.ErrDecided):
		return []Event{Refused{err}}, nil
	}
	if err != nil {
		return s.outcome(err)
	}
	s.committed = Committed{c.Intents}
	s.events = append(s.events[:0], &s.committed)
	return s.events, nil
}

// freeze returns the orders as they will leave, and until when they may.
func (s *Shell) freeze(intents []order.Intent) ([]order.Intent, error) {
	frozen := slices.Clone(intents)
	notAfter := s.clock.Now().Add(requestExpiry).UTC().Truncate(time.Microsecond)
	for i := range frozen {
		body, err := s.options.Venue.Freeze(frozen[i], notAfter)
		if err != nil {
			return nil, fmt.Errorf("freezing order %s: %w", frozen[i].ID, err)
		}
		frozen[i].Frozen, frozen[i].NotAfter = string(body), notAfter
	}
	return frozen, nil
}

// outcome is what a call to the ledger comes to.
func (s *Shell) outcome(err error, success ...Event) ([]Event, error) {
	switch {
	case err == nil:
		return success, nil
	case fatal(err):
		return nil, err
	}
	s.options.Log.Info("the ledger fails", "reason", err.Error())
	return []Event{impairedBy(err)}, nil
}

// fatal reports whether waiting cannot help.
func fatal(err error) bool {
	return errors.Is(err, ledger.ErrFenced) || errors.Is(err, ledger.ErrPairClaimed) ||
		errors.Is(err, ledger.ErrPairHeld)
}

// impairedBy says which part cannot be relied on.
func impairedBy(err error) Impaired {
	_, early := errors.AsType[*tooEarlyError](err)
	switch {
	case early:
		return Impaired{ReasonRecovering, err.Error()}
	case errors.Is(err, errVenue):
		return Impaired{ReasonVenueUnreachable, err.Error()}
	case errors.Is(err, errMismatch), errors.Is(err, ledger.ErrConflict), errors.Is(err, ledger.ErrNoIntent), errors.Is(err, ledger.ErrForgot):
		return Impaired{ReasonPositionMismatch, err.Error()}
	}
	return Impaired{ReasonLedgerUnavailable, err.Error()}
}

// beginSend sees to it that the ledger knows that an order is being sent. The epoch
// is checked by what records it, directly before the order leaves; wishes that the
// owner has posted meanwhile are heard before it does.
func (s *Shell) beginSend(ctx context.Context, c BeginSend) ([]Event, error) {
	if !c.Recorded {
		err := s.options.Ledger.UpdateOrder(ctx, s.lease, ledger.OrderUpdate{ID: c.ID, State: order.Sent, MarketTime: s.core.now, At: s.clock.Now()})
		if err != nil {
			return s.outcome(err)
		}
	}
	// gofail: var sendRecorded struct{}
	s.sentry.Release(c.ID)
	return append(s.posted(), SendBegun{c.ID}), nil
}

// send places an order, once. An answer that says neither yes nor no leaves its
// outcome unknown. What the venue fills at once is asked for at once.
func (s *Shell) send(ctx context.Context, intent order.Intent) []Event {
	left := intent.NotAfter.Sub(s.clock.Now())
	if left <= 0 {
		return []Event{News{ID: intent.ID, Event: order.Absent, Reason: EndNeverSent}}
	}
	if !s.options.inline {
		var cancel context.CancelFunc
		ctx, cancel = s.clock.Bound(ctx, left)
		defer cancel()
	}
	s.times.pace = 0
	// gofail: var orderLeaves struct{}
	placed, err := s.sentry.Place(ctx, s.options.Venue, venue.RequestOf(intent))
	// gofail: var orderAnswered struct{}
	rejected, refused := errors.AsType[*venue.RejectedError](err)
	switch {
	case refused:
		return []Event{News{ID: intent.ID, Event: order.Reject, Reason: rejected.Code}}
	case err != nil:
		s.options.Log.Info("the outcome of an order is unknown", "order", intent.ID, "reason", err.Error())
		return []Event{News{ID: intent.ID, Event: order.Lose, Reason: "NoAnswer"}}
	}
	news := News{ID: intent.ID, Event: eventOf(placed.State), VenueOrderID: placed.VenueOrderID, Filled: placed.Filled}
	if !s.core.live {
		return []Event{news}
	}
	fills, err := s.newFills(ctx)
	if err != nil {
		// The next poll asks again.
		s.options.Log.Info("the venue does not tell of fills", "reason", err.Error())
	}
	return append([]Event{news}, fills...)
}

// ref is how the venue finds an order that is open.
func (s *Shell) ref(id uuid.UUID) venue.Ref {
	if o := s.core.order(id); o != nil {
		return refOf(&o.Intent, o.venueOrderID)
	}
	return venue.Ref{ID: id}
}

// refOf is how the venue finds the order of an intent, which was sent after it
// had been frozen.
func refOf(intent *order.Intent, venueOrderID string) venue.Ref {
	ref := venue.Ref{ID: intent.ID, VenueOrderID: venueOrderID, Pair: intent.Pair}
	if !intent.NotAfter.IsZero() {
		ref.SentAt = intent.NotAfter.Add(-requestExpiry)
	}
	return ref
}

// eventOf is the news that the venue's word for an order's state is.
func eventOf(state order.State) order.Event {
	switch state {
	case order.Filled:
		return order.FillWhole
	case order.Cancelled:
		return order.Cancel
	case order.Rejected:
		return order.Reject
	case order.Intended, order.Sent, order.Acked, order.Unknown:
	}
	return order.Ack
}

// cancel asks the venue to cancel an order and then what has become of it. What
// fails is tried again with the next bar.
func (s *Shell) cancel(ctx context.Context, id uuid.UUID) []Event {
	// gofail: var cancelWanted struct{}
	if err := s.options.Venue.Cancel(ctx, s.ref(id)); err != nil && !errors.Is(err, venue.ErrNotFound) {
		s.options.Log.Info("an order could not be cancelled", "order", id, "reason", err.Error())
		return nil
	}
	// gofail: var cancelAnswered struct{}
	return s.lookup(ctx, id)
}

// lookup asks what became of an order. Fills come before the news that it has
// ended, so that it never ends with fills that are not booked.
func (s *Shell) lookup(ctx context.Context, id uuid.UUID) []Event {
	o := s.core.order(id)
	if o == nil {
		return nil
	}
	intent, provable := o.Intent, s.provablyAbsent(&o.Intent)
	// gofail: var lookupWanted struct{}
	found, err := s.options.Venue.Lookup(ctx, s.ref(id))
	// gofail: var lookupAnswered struct{}
	missing := errors.Is(err, venue.ErrNotFound)
	if err != nil && !missing {
		s.options.Log.Info("an order could not be looked up", "order", id, "reason", err.Error())
		return nil
	}
	var events []Event
	if missing || found.State.Final() || found.Filled > o.filled {
		if events, err = s.newFills(ctx); err != nil {
			s.options.Log.Info("the venue does not tell of fills", "order", id, "reason", err.Error())
			return events
		}
	}
	if missing {
		return append(events, s.notFound(&intent, events, provable)...)
	}
	delete(s.missing, id)
	return append(events, News{
		ID: id, Event: eventOf(found.State), VenueOrderID: found.VenueOrderID, Filled: found.Filled, Reason: s.reasonOf(id, found.State),
	})
}

// notFound is what follows from the venue's word that it has no such order.
func (s *Shell) notFound(intent *order.Intent, events []Event, provable bool) []Event {
	if hasFill(events, intent.ID) {
		return nil
	}
	if o := s.core.order(intent.ID); o != nil && !o.state.Unsettled() {
		if s.clock.Now().Sub(s.missingSince(intent.ID)) <= s.traits.Settle+callTimeout {
			return nil
		}
		return []Event{Impaired{ReasonPositionMismatch, forgotten(intent.ID).Error()}}
	}
	if !provable {
		return nil
	}
	delete(s.missing, intent.ID)
	return []Event{News{ID: intent.ID, Event: order.Absent, Reason: EndNeverArrived}}
}

func hasFill(events []Event, id uuid.UUID) bool {
	return slices.ContainsFunc(events, func(event Event) bool {
		seen, ok := event.(FillSeen)
		return ok && seen.Fill.OrderID == id
	})
}

// missingSince is when the venue first said that it has no such order.
func (s *Shell) missingSince(id uuid.UUID) time.Time {
	since, known := s.missing[id]
	if !known {
		since = s.clock.Now()
		s.missing[id] = since
	}
	return since
}

// reasonOf is why an order has ended in a state.
func (s *Shell) reasonOf(id uuid.UUID, state order.State) string {
	o := s.core.order(id)
	switch {
	case state != order.Cancelled:
		return ""
	case o == nil:
	case o.overtaken:
		return EndOvertaken
	case !s.core.rested(s.core.pair(o.Pair), o):
		_, reason, _ := s.core.tradingState()
		return reason
	}
	return EndExpired
}

const (
	// latestArrival is how long after it may have left a request can still arrive
	// at a venue that does not say for how long it takes one.
	latestArrival = 10 * time.Minute
	// clocksDiffer is by how much the venue's clock may be behind this one.
	clocksDiffer = time.Second
)

// provablyAbsent reports whether an order that the venue does not have now will
// never be there: it may not leave any more, what has left is not taken any more,
// and what was taken shows.
func (s *Shell) provablyAbsent(intent *order.Intent) bool {
	return !s.clock.Now().Before(s.lastArrival(intent).Add(s.traits.Settle))
}

// lastArrival is the end of the time in which the venue may accept an order.
func (s *Shell) lastArrival(intent *order.Intent) time.Time {
	leaves := intent.NotAfter
	if leaves.IsZero() {
		leaves = s.missingSince(intent.ID).Add(requestExpiry)
	}
	return leaves.Add(s.expiry() + clocksDiffer)
}

// expiry is how long after it has left a request can still arrive.
func (s *Shell) expiry() time.Duration {
	if s.traits.RequestExpiry <= 0 {
		return latestArrival
	}
	return s.traits.RequestExpiry
}

// errVenue marks what the venue did not answer.
var errVenue = errors.New("the venue does not answer")

// newFills pages through the fills since the last call that the ledger does not
// have yet. What was seen before it fails is returned too.
func (s *Shell) newFills(ctx context.Context) ([]Event, error) {
	var events []Event
	err := s.eachNewFill(ctx, func(fill order.Fill) error {
		if !s.booked.has(fill.TradeID) {
			events = append(events, FillSeen{fill})
			s.times.pace = 0
		}
		return nil
	})
	return events, err
}

func (s *Shell) eachNewFill(ctx context.Context, do func(order.Fill) error) error {
	for {
		fills, cursor, err := s.options.Venue.Fills(ctx, s.cursor)
		if err != nil {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
		for _, fill := range fills {
			// A venue does not know what the desk calls its account.
			fill.Account = s.config.Agent.Account
			if err := do(fill); err != nil {
				return err
			}
		}
		if len(fills) == 0 || cursor == s.cursor {
			s.cursor = cursor
			return nil
		}
		s.cursor = cursor
	}
}

// book books a fill, once.
func (s *Shell) book(ctx context.Context, fill order.Fill) (bool, error) {
	isNew, err := s.options.Ledger.BookFill(ctx, s.lease, fill)
	if err != nil {
		return false, err
	}
	s.booked.add(fill.TradeID)
	if isNew && s.options.OnFill != nil {
		s.options.OnFill(fill)
	}
	return isNew, nil
}

// mostNewest bounds how many trade ids are remembered.
const mostNewest = 4096

// newest remembers the newest of many words.
type newest struct {
	known map[string]bool
	ring  []string
	next  int
}

func (n *newest) has(word string) bool { return n.known[word] }

func (n *newest) add(word string) {
	switch {
	case n.known[word]:
		return
	case n.known == nil:
		n.known = map[string]bool{}
	}
	n.known[word] = true
	if len(n.ring) < mostNewest {
		n.ring = append(n.ring, word)
		return
	}
	delete(n.known, n.ring[n.next])
	n.ring[n.next] = word
	n.next = (n.next + 1) % mostNewest
}
