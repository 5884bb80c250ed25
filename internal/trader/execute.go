package trader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
)

// execute carries out one command and returns what came of it. It fails only on
// what ends the process.
func (s *Shell) execute(ctx context.Context, command Command) ([]Event, error) {
	call, cancel := s.bounded(ctx)
	defer cancel()
	switch c := command.(type) {
	case Deliberate:
		ruling, err := s.config.Debate.Hold(call, c.View)
		return []Event{Ruled{Pair: c.View.Pair, BarEnd: c.BarEnd, Ruling: ruling, Err: err}}, nil
	case Recall:
		return s.recall(call, c.Request)
	case Answer:
		s.answer(c.Request, c.Closed)
		return nil, nil
	case Commit:
		return s.commit(call, c)
	case BeginSend:
		return s.beginSend(call, c.ID)
	case Send:
		if wishes := s.posted(); len(wishes) > 0 {
			return append(wishes, SendBegun{c.Intent.ID}), nil
		}
		return []Event{s.send(call, c.Intent)}, nil
	case Cancel:
		return s.cancel(call, c.ID), nil
	case Lookup:
		return s.lookup(call, c.ID), nil
	case Record:
		return s.outcome(s.options.Ledger.UpdateOrder(call, s.lease, c.Update))
	case Book:
		isNew, err := s.options.Ledger.BookFill(call, s.lease, c.Fill)
		if err == nil && isNew && s.options.OnFill != nil {
			s.options.OnFill(c.Fill)
		}
		return s.outcome(err, FillBooked{c.Fill, isNew})
	case Fund:
		shares, err := s.options.Ledger.Fund(call, s.lease, c.Claims)
		return s.outcome(err, Funded{shares})
	case Disarm:
		return s.outcome(s.options.Ledger.Disarm(call, s.lease, string(risk.AutomaticExits), c.MarketTime))
	case AskArmed:
		arming, err := s.options.Ledger.Arming(call, s.lease)
		return s.outcome(err, Armed{arming})
	case SaveMark:
		return s.outcome(s.options.Ledger.SaveMark(call, s.lease, c.Mark))
	}
	return nil, fmt.Errorf("no way to carry out %T", command)
}

// commit puts orders into the ledger. What is in it may leave, as it is there.
func (s *Shell) commit(ctx context.Context, c Commit) ([]Event, error) {
	var err error
	if c.Intents, err = s.freeze(c.Intents); err != nil {
		s.options.Log.Error(err, "the venue could never accept an order, so it is not made")
		return []Event{Refused{err}}, nil
	}
	if c.Request != nil {
		err = s.request(ctx, c)
	} else {
		err = s.options.Ledger.Decide(ctx, s.lease, c.Decision, c.Intents)
	}
	switch {
	case err == nil:
		s.sentry.Approve(c.Intents)
	case c.Request == nil && errors.Is(err, ledger.ErrDecided):
		return []Event{Refused{err}}, nil
	}
	return s.outcome(err, Committed{c.Intents})
}

// freeze returns the orders as they will leave, and until when they may.
func (s *Shell) freeze(intents []order.Intent) ([]order.Intent, error) {
	frozen := slices.Clone(intents)
	notAfter := time.Now().Add(requestExpiry).UTC().Truncate(time.Microsecond)
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

// errMismatch means that ledger and venue disagree.
var errMismatch = errors.New("ledger and venue disagree")

// impairedBy says which part cannot be relied on.
func impairedBy(err error) Impaired {
	switch {
	case errors.Is(err, errVenue):
		return Impaired{ReasonVenueUnreachable, err.Error()}
	case errors.Is(err, errMismatch), errors.Is(err, ledger.ErrConflict), errors.Is(err, ledger.ErrNoIntent):
		return Impaired{ReasonPositionMismatch, err.Error()}
	}
	return Impaired{ReasonLedgerUnavailable, err.Error()}
}

// beginSend records that an order is being sent. The epoch is checked by that,
// directly before the order leaves; wishes that the owner has posted meanwhile
// are heard before it does.
func (s *Shell) beginSend(ctx context.Context, id uuid.UUID) ([]Event, error) {
	err := s.options.Ledger.UpdateOrder(ctx, s.lease, ledger.OrderUpdate{ID: id, State: order.Sent, MarketTime: s.core.now})
	if err != nil {
		return s.outcome(err)
	}
	s.sentry.Release(id)
	return append(s.posted(), SendBegun{id}), nil
}

// send places an order, once. An answer that says neither yes nor no leaves its
// outcome unknown.
func (s *Shell) send(ctx context.Context, intent order.Intent) Event {
	if !time.Now().Before(intent.NotAfter) {
		return News{ID: intent.ID, Event: order.Absent, Reason: EndNeverSent}
	}
	if !s.options.inline {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, intent.NotAfter)
		defer cancel()
	}
	placed, err := s.sentry.Place(ctx, s.options.Venue, venue.RequestOf(intent))
	rejected, refused := errors.AsType[*venue.RejectedError](err)
	switch {
	case refused:
		return News{ID: intent.ID, Event: order.Reject, Reason: rejected.Code}
	case err != nil:
		s.options.Log.Info("the outcome of an order is unknown", "order", intent.ID, "reason", err.Error())
		return News{ID: intent.ID, Event: order.Lose, Reason: "NoAnswer"}
	}
	return News{ID: intent.ID, Event: eventOf(placed.State), VenueOrderID: placed.VenueOrderID}
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
	if err := s.options.Venue.Cancel(ctx, s.ref(id)); err != nil && !errors.Is(err, venue.ErrNotFound) {
		s.options.Log.Info("an order could not be cancelled", "order", id, "reason", err.Error())
		return nil
	}
	return s.lookup(ctx, id)
}

// lookup asks what became of an order. Fills come before the news that it has
// ended, so that it never ends with fills that are not booked.
func (s *Shell) lookup(ctx context.Context, id uuid.UUID) []Event {
	found, err := s.options.Venue.Lookup(ctx, s.ref(id))
	if errors.Is(err, venue.ErrNotFound) {
		if s.absent(id) {
			return []Event{News{ID: id, Event: order.Absent, Reason: EndNeverArrived}}
		}
		return nil
	}
	if err != nil {
		s.options.Log.Info("an order could not be looked up", "order", id, "reason", err.Error())
		return nil
	}
	delete(s.missing, id)
	events := s.newFills(ctx)
	if len(events) > 0 {
		if _, failed := events[len(events)-1].(Impaired); failed {
			return events
		}
	}
	reason := ""
	if found.State == order.Cancelled {
		reason = EndExpired
		switch o := s.core.order(id); {
		case o == nil:
		case o.overtaken:
			reason = EndOvertaken
		case s.core.barsOf(o.Pair)-o.placedAt < restingBars:
			_, reason, _ = s.core.tradingState()
		}
	}
	return append(events, News{ID: id, Event: eventOf(found.State), VenueOrderID: found.VenueOrderID, Reason: reason})
}

// absent reports whether an order has been missing at the venue for so long that
// it can never arrive.
func (s *Shell) absent(id uuid.UUID) bool {
	since, known := s.missing[id]
	if !known {
		since = time.Now()
		s.missing[id] = since
	}
	if time.Since(since) < s.options.Settle {
		return false
	}
	delete(s.missing, id)
	return true
}

// errVenue marks what the venue did not answer.
var errVenue = errors.New("the venue does not answer")

// newFills pages through the fills since the last call.
func (s *Shell) newFills(ctx context.Context) []Event {
	var events []Event
	err := s.eachNewFill(ctx, func(fill order.Fill) error {
		events = append(events, FillSeen{fill})
		return nil
	})
	if err != nil {
		return []Event{impairedBy(err)}
	}
	return events
}

func (s *Shell) eachNewFill(ctx context.Context, do func(order.Fill) error) error {
	for {
		fills, cursor, err := s.options.Venue.Fills(ctx, s.cursor)
		if err != nil {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
		for _, fill := range fills {
			if err := do(fill); err != nil {
				return err
			}
		}
		s.cursor = cursor
		if len(fills) == 0 {
			return nil
		}
	}
}

// overlap is how many fills that the ledger should have are booked again on
// reconciliation. Booking twice changes nothing.
const overlap = 100

// reconcile makes the ledger agree with the venue, and the core with the ledger:
// every fill is booked, every open order is resolved, orders that the ledger
// does not know are cancelled, and positions are compared.
func (s *Shell) reconcile(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	snapshot, err := s.options.Ledger.Load(ctx, s.lease)
	if err != nil {
		return fmt.Errorf("loading what the ledger holds: %w", err)
	}
	held := s.adopted(snapshot)
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	s.cursor = ""
	var seen int64
	book := func(fill order.Fill) error {
		seen++
		held[fill.Pair] += fill.Quantity * market.Quantity(fill.Side)
		if seen <= snapshot.Fills-overlap {
			return nil
		}
		isNew, err := s.options.Ledger.BookFill(ctx, s.lease, fill)
		if err == nil && isNew && s.options.OnFill != nil {
			s.options.OnFill(fill)
		}
		return err
	}
	if err := s.eachNewFill(ctx, book); err != nil {
		return err
	}
	for _, o := range snapshot.OpenOrders {
		if err := s.resolve(ctx, o, book); err != nil {
			return err
		}
	}
	if err := s.cancelOrphans(ctx, snapshot.OpenOrders); err != nil {
		return err
	}
	if snapshot, err = s.options.Ledger.Load(ctx, s.lease); err != nil {
		return fmt.Errorf("loading what the ledger holds: %w", err)
	}
	if err := compare(held, snapshot, s.config.Agent.Instruments); err != nil {
		return err
	}
	s.options.Log.Info("ledger and venue agree", "epoch", s.lease.Epoch, "fills", snapshot.Fills, "openOrders", len(snapshot.OpenOrders))
	return s.dispatch(ctx, Recovered{Epoch: s.lease.Epoch, Snapshot: snapshot})
}

// adopted tells the venue of the positions that the agent took over, and returns
// them by pair.
func (s *Shell) adopted(snapshot ledger.Snapshot) map[string]market.Quantity {
	held := map[string]market.Quantity{}
	openings := make([]paper.Opening, 0, len(snapshot.Adopted))
	for _, a := range snapshot.Adopted {
		held[a.Pair] += a.Quantity
		openings = append(openings, paper.Opening{Pair: a.Pair, Quantity: a.Quantity, Cost: a.Cost})
	}
	if adopter, ok := s.options.Venue.(Adopter); ok && len(openings) > 0 {
		adopter.Adopt(openings)
	}
	return held
}

// catchUp lets the venue take the bars that it has missed.
func (s *Shell) catchUp(ctx context.Context) error {
	taker, ok := s.options.Venue.(BarTaker)
	for ok && len(s.missed) > 0 {
		if _, err := taker.OnBar(ctx, s.missed[0]); err != nil {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
		s.missed = s.missed[1:]
	}
	return nil
}

// resolve finds out what became of an order that the ledger holds open.
func (s *Shell) resolve(ctx context.Context, o ledger.Order, book func(order.Fill) error) error {
	found, err := s.options.Venue.Lookup(ctx, refOf(&o.Intent, o.VenueOrderID))
	update := ledger.OrderUpdate{ID: o.ID, MarketTime: o.MarketTime}
	switch {
	case errors.Is(err, venue.ErrNotFound) && o.State == order.Intended:
		// Its sending was never recorded, so not a byte of it has left.
		update.State, update.Reason = order.Rejected, EndNeverSent
	case errors.Is(err, venue.ErrNotFound) && o.State == order.Acked:
		return fmt.Errorf("order %s was accepted, but the venue does not know it: %w", o.ID, errMismatch)
	case errors.Is(err, venue.ErrNotFound) && s.absent(o.ID):
		update.State, update.Reason = order.Rejected, EndNeverArrived
	case errors.Is(err, venue.ErrNotFound):
		update.State, update.Reason = order.Unknown, "NoAnswer"
	case err != nil:
		return fmt.Errorf("%w: %w", errVenue, err)
	default:
		// Fills first: an order must not end with fills that are not booked.
		if err := s.eachNewFill(ctx, book); err != nil {
			return err
		}
		if found.State == order.Filled {
			return nil
		}
		update.State, update.VenueOrderID = found.State, found.VenueOrderID
	}
	return s.options.Ledger.UpdateOrder(ctx, s.lease, update)
}

// cancelOrphans cancels orders that are open at the venue and not in the ledger:
// a process that has been paused may have sent one that was given up.
func (s *Shell) cancelOrphans(ctx context.Context, known []ledger.Order) error {
	open, err := s.options.Venue.Open(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errVenue, err)
	}
	ours := map[uuid.UUID]bool{}
	for _, o := range known {
		ours[o.ID] = true
	}
	for _, o := range open {
		if ours[o.ID] {
			continue
		}
		s.options.Log.Info("cancelling an order that the ledger does not hold open", "order", o.ID)
		if err := s.options.Venue.Cancel(ctx, venue.Ref{ID: o.ID, VenueOrderID: o.VenueOrderID, Pair: o.Pair}); err != nil {
			return fmt.Errorf("%w: %w", errVenue, err)
		}
	}
	return nil
}

// compare refuses to trade on positions that the venue's fills, and what was
// taken over, do not explain.
func compare(held map[string]market.Quantity, snapshot ledger.Snapshot, instruments []market.Instrument) error {
	for i := range instruments {
		pair := instruments[i].Pair
		if booked := snapshot.Positions[pair].Quantity; held[pair] != booked {
			return fmt.Errorf("%s: the ledger holds %d lots and the venue %d: %w", pair, booked, held[pair], errMismatch)
		}
	}
	return nil
}
