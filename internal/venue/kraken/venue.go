// Package kraken trades on Kraken's spot exchange over REST: an adapter of
// venue.Venue with the venue's own stop controls, and the questions about an
// account and a pair that its owner is told the answers of.
//
// Kraken is of class B2: a client id (cl_ord_id) is unique among open orders
// only. What bounds an unknown outcome is the deadline that every placement
// carries and that the matching engine keeps.
package kraken

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Name is the venue's name in ledgers.
const Name = "Kraken"

const (
	// requestExpiry is how long a placement may be on its way. Kraken takes
	// deadlines between 2 and 60 seconds ahead of its own clock
	// (https://docs.kraken.com/api/docs/rest-api/add-order).
	requestExpiry = 10 * time.Second
	// settle is how late an order or a trade may show. Kraken names no bound; its
	// histories have been seen seconds behind. It also covers a difference between
	// its clock and ours, by which a deadline passes later there.
	settle = 30 * time.Second
	// deadlinePrecision is Kraken's; a deadline is rounded to the earlier.
	deadlinePrecision = time.Millisecond
)

// Options of a Venue. Environment is Production, or Sandbox for a simulator behind a
// gateway: Kraken has no sandbox of its spot exchange. A gateway paces requests, since
// it sees those of all agents of an account. Requests are also numbered by the time.
type Options = venue.Options[*Credentials]

// Venue is one account at Kraken. It is safe for use by many at once.
type Venue struct {
	session *session
	// simulated says that Kraken itself must execute nothing.
	simulated bool
	now       func() time.Time
	listings  *listings

	mu sync.Mutex
	// orders by Kraken's ids: trades are told with those.
	orders map[string]known
}

// known is what is remembered of an order: the client id, uuid.Nil for one that is
// not ours, and when it was opened.
type known struct {
	id     uuid.UUID
	opened time.Time
}

var (
	_ venue.Venue    = (*Venue)(nil)
	_ venue.Balancer = (*Venue)(nil)
	_ venue.Stopper  = (*Venue)(nil)
	_ venue.Checker  = (*Venue)(nil)
)

// New prepares the account; it asks nothing yet. It fails on an environment that
// Kraken does not have, and on a gateway or symbols that must not be used.
func New(options Options) (*Venue, error) {
	simulated := options.Environment == v1alpha1.EnvironmentSandbox
	switch {
	case simulated && options.Gateway == "":
		return nil, fmt.Errorf("kraken has no sandbox of its spot exchange; environment %s needs a gateway to a simulator", options.Environment)
	case !simulated && options.Environment != v1alpha1.EnvironmentProduction:
		return nil, fmt.Errorf("kraken has no environment %q; use %s", options.Environment, v1alpha1.EnvironmentProduction)
	}
	session, err := newSession(&options)
	if err != nil {
		return nil, err
	}
	listings, err := newListings(&options)
	if err != nil {
		return nil, err
	}
	return &Venue{session: session, simulated: simulated, now: session.nonces.now, listings: listings, orders: map[string]known{}}, nil
}

// Close lets go of connections that are kept for further requests.
func (v *Venue) Close() { v.session.client.Close() }

// Traits implements venue.Venue.
func (v *Venue) Traits() venue.Traits {
	return venue.Traits{Class: venue.ClassRefusesOpen, RequestExpiry: requestExpiry, Settle: settle, Spot: true}
}

// Freeze implements venue.Venue: the form that AddOrder takes, without the nonce.
// The order rests until it is filled or cancelled, pays its fee in the quote
// currency, and is refused by the matching engine after notAfter.
func (v *Venue) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	listed, ok := v.listings.byPair[intent.Pair]
	if !ok {
		return nil, fmt.Errorf("kraken: %s is not one of the agent's pairs", intent.Pair)
	}
	if intent.Quantity <= 0 || intent.Limit <= 0 || notAfter.IsZero() {
		return nil, fmt.Errorf("kraken: order %s needs a quantity and a limit greater than zero, and a deadline", intent.ID)
	}
	side, err := sideWord(intent.Side)
	if err != nil {
		return nil, fmt.Errorf("kraken: order %s: %w", intent.ID, err)
	}
	validate := ""
	if v.simulated {
		// Should the gateway lead to Kraken after all, it checks the order and executes
		// nothing (https://docs.kraken.com/api/docs/rest-api/add-order).
		validate = "&validate=true"
	}
	// In the order of their names, as a form is usually encoded.
	deadline := notAfter.UTC().Truncate(deadlinePrecision).Format("2006-01-02T15:04:05.000Z")
	return []byte("cl_ord_id=" + intent.ID.String() + "&deadline=" + url.QueryEscape(deadline) + "&oflags=fciq&ordertype=limit&pair=" +
		url.QueryEscape(listed.symbol) + "&price=" + listed.instrument.PriceDecimal(intent.Limit).String() + "&timeinforce=GTC&type=" + side +
		validate + "&volume=" + listed.instrument.QuantityDecimal(intent.Quantity).String()), nil
}

func sideWord(side order.Side) (string, error) {
	switch side {
	case order.Buy:
		return "buy", nil
	case order.Sell:
		return "sell", nil
	}
	return "", fmt.Errorf("%s is neither buy nor sell", side)
}

// Place implements venue.Venue.
func (v *Venue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	id := request.Intent.ID
	answer, err := v.session.place(ctx, &request)
	if err != nil {
		return venue.Order{}, fmt.Errorf("kraken: placing order %s: %w", id, err)
	}
	var placed struct {
		IDs []string `json:"txid"`
	}
	err = v.session.read(answer, &placed)
	if said, ok := asSaid(err); ok && said.refusesForGood() {
		return venue.Order{}, &venue.RejectedError{Code: said.codes[0], Message: said.Error()}
	}
	if err == nil && (len(placed.IDs) != 1 || !transactionID.MatchString(placed.IDs[0])) {
		err = fmt.Errorf("%w: it does not name one order", venue.ErrMalformed)
	}
	if err != nil {
		return venue.Order{}, fmt.Errorf("kraken: placing order %s: %w: %w", id, venue.ErrUnknownOutcome, err)
	}
	return venue.Order{ID: id, VenueOrderID: placed.IDs[0], Pair: request.Intent.Pair, State: order.Acked}, nil
}

// learn remembers an order.
func (v *Venue) learn(venueOrderID string, order known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.orders) >= mostRemembered {
		clear(v.orders) // it can be asked for again
	}
	v.orders[venueOrderID] = order
}

// Cancel implements venue.Venue.
func (v *Venue) Cancel(ctx context.Context, ref venue.Ref) error {
	form := url.Values{"cl_ord_id": {ref.ID.String()}}
	if ref.VenueOrderID != "" {
		form = url.Values{"txid": {ref.VenueOrderID}}
	}
	var cancelled struct {
		Count *int `json:"count"`
	}
	err := v.session.act(ctx, "CancelOrder", form, &cancelled)
	if said, ok := asSaid(err); ok && said.has(unknownOrder) {
		return v.cancelled(ctx, ref)
	}
	if err != nil {
		return fmt.Errorf("kraken: cancelling order %s: %w", ref.ID, err)
	}
	if cancelled.Count == nil || *cancelled.Count == 0 {
		return v.cancelled(ctx, ref)
	}
	return nil
}

// cancelled tells apart why there was nothing to cancel: the order is final, or
// Kraken does not know it.
func (v *Venue) cancelled(ctx context.Context, ref venue.Ref) error {
	found, err := v.Lookup(ctx, ref)
	switch {
	case err != nil:
		return err
	case !found.State.Final():
		return fmt.Errorf("kraken: cancelling order %s: Kraken lists it as open and does not cancel it", ref.ID)
	}
	return nil
}

// Lookup implements venue.Venue. Open orders are asked for first and closed ones
// after that: an order that is taken by now is in one of the answers, because it
// goes from open to closed only.
func (v *Venue) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	if err := v.spell(ctx); err != nil {
		return venue.Order{}, fmt.Errorf("kraken: looking for order %s: %w", ref.ID, err)
	}
	var byVenueID map[string]orderInfo
	var opened, closed struct {
		Open   map[string]orderInfo `json:"open"`
		Closed map[string]orderInfo `json:"closed"`
	}
	byID := url.Values{"cl_ord_id": {ref.ID.String()}}
	for _, question := range []struct {
		method  string
		form    url.Values
		into    any
		orders  *map[string]orderInfo
		skipped bool
	}{
		{"QueryOrders", url.Values{"txid": {ref.VenueOrderID}}, &byVenueID, &byVenueID, ref.VenueOrderID == ""},
		{"OpenOrders", byID, &opened, &opened.Open, ref.ID == uuid.Nil},
		{"ClosedOrders", byID, &closed, &closed.Closed, ref.ID == uuid.Nil},
	} {
		if question.skipped {
			continue
		}
		err := v.session.ask(ctx, question.method, question.form, question.into)
		if said, ok := asSaid(err); ok && said.unknown() {
			continue
		}
		if err == nil && *question.orders == nil {
			err = fmt.Errorf("%w: it lists no orders", venue.ErrMalformed)
		}
		if err != nil {
			return venue.Order{}, fmt.Errorf("kraken: looking for order %s: %w", ref.ID, err)
		}
		found, err := v.only(ref, *question.orders)
		if !errors.Is(err, venue.ErrNotFound) {
			return found, err
		}
	}
	return venue.Order{}, fmt.Errorf("kraken: order %s: %w", ref.ID, venue.ErrNotFound)
}

// only is the one order of a list that was asked for by its client id. A list of
// other orders is no answer: that the order is missing from it proves nothing.
func (v *Venue) only(ref venue.Ref, orders map[string]orderInfo) (venue.Order, error) {
	if len(orders) > 1 {
		return venue.Order{}, fmt.Errorf("kraken: %w: it has %d orders with the id %s", venue.ErrMalformed, len(orders), ref.ID)
	}
	for id, info := range orders {
		listed, ours := v.listings.bySpelling[info.Description.Pair]
		if !ours {
			return venue.Order{}, fmt.Errorf("kraken: %w: order %s is in %q, which is none of the agent's pairs", venue.ErrMalformed, ref.ID, info.Description.Pair)
		}
		found, err := v.tell(id, &info, listed)
		if err != nil {
			return venue.Order{}, fmt.Errorf("kraken: %w", err)
		}
		if found.ID != ref.ID || ref.VenueOrderID != "" && found.VenueOrderID != ref.VenueOrderID {
			return venue.Order{}, fmt.Errorf("kraken: %w: it speaks of another order than %s", venue.ErrMalformed, ref.ID)
		}
		return found, nil
	}
	return venue.Order{}, venue.ErrNotFound
}

// tell reads an order and remembers it.
func (v *Venue) tell(id string, info *orderInfo, listed *listing) (venue.Order, error) {
	found, err := info.read(id, listed.instrument)
	if err != nil {
		return venue.Order{}, err
	}
	opened, err := moment(info.Opened)
	if err != nil {
		return venue.Order{}, fmt.Errorf("order %s: %w", id, err)
	}
	v.learn(id, known{found.ID, opened})
	return found, nil
}

// Open implements venue.Venue.
func (v *Venue) Open(ctx context.Context) ([]venue.Order, error) {
	open, err := v.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("kraken: listing open orders: %w", err)
	}
	return open, nil
}

func (v *Venue) open(ctx context.Context) ([]venue.Order, error) {
	if err := v.spell(ctx); err != nil {
		return nil, err
	}
	var told struct {
		Orders map[string]orderInfo `json:"open"`
	}
	if err := v.session.ask(ctx, "OpenOrders", nil, &told); err != nil {
		return nil, err
	}
	if told.Orders == nil {
		return nil, fmt.Errorf("%w: it lists no orders", venue.ErrMalformed)
	}
	var open []venue.Order
	for id, info := range told.Orders {
		listed, ours := v.listings.bySpelling[info.Description.Pair]
		if !ours {
			continue
		}
		found, err := v.tell(id, &info, listed)
		if err != nil {
			return nil, err
		}
		open = append(open, found)
	}
	slices.SortFunc(open, func(a, b venue.Order) int { return strings.Compare(a.VenueOrderID, b.VenueOrderID) })
	return open, nil
}

// spell learns, once, how Kraken writes the agent's pairs in its answers.
func (v *Venue) spell(ctx context.Context) error {
	v.mu.Lock()
	learnt := v.listings.bySpelling != nil
	v.mu.Unlock()
	if learnt || len(v.listings.byPair) == 0 {
		return nil
	}
	pairs, err := v.session.assetPairs(ctx, v.listings.symbols())
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.listings.bySpelling != nil {
		return nil // others read it by now
	}
	return v.listings.spelled(pairs)
}

// CancelAll implements venue.Stopper. Kraken's own CancelAll would take the
// orders of other agents of the account with it, so open orders are listed and
// cancelled by their ids, until none is left.
func (v *Venue) CancelAll(ctx context.Context, pairs []string) error {
	for range cancelRounds {
		open, err := v.open(ctx)
		if err != nil {
			return fmt.Errorf("kraken: cancelling all orders: %w", err)
		}
		open = slices.DeleteFunc(open, func(o venue.Order) bool { return !slices.Contains(pairs, o.Pair) })
		if len(open) == 0 {
			return nil
		}
		for _, o := range open {
			err := v.Cancel(ctx, venue.Ref{ID: o.ID, VenueOrderID: o.VenueOrderID, Pair: o.Pair})
			if err != nil && !errors.Is(err, venue.ErrNotFound) {
				return err
			}
		}
	}
	return fmt.Errorf("kraken: orders in %s are open yet after they were cancelled %d times; cancel them at Kraken", strings.Join(pairs, ", "), cancelRounds)
}

// cancelRounds is how often open orders are listed and cancelled.
const cancelRounds = 3

// longestSwitch is the longest time that Kraken counts down.
const longestSwitch = 24 * time.Hour

// CancelAllAfter implements venue.Stopper: the dead-man switch of the whole
// account, in full seconds, rounded up
// (https://docs.kraken.com/api-reference/trading/cancel-all-orders-after-x).
func (v *Venue) CancelAllAfter(ctx context.Context, after time.Duration) error {
	if after < 0 || after > longestSwitch {
		return fmt.Errorf("kraken: the dead-man switch can be set from 1 s to %s, not to %s", longestSwitch, after)
	}
	seconds := int64((after + time.Second - 1) / time.Second)
	var set struct {
		TriggerTime string `json:"triggerTime"`
	}
	if err := v.session.act(ctx, "CancelAllOrdersAfter", url.Values{"timeout": {strconv.FormatInt(seconds, 10)}}, &set); err != nil {
		return fmt.Errorf("kraken: setting the dead-man switch: %w", err)
	}
	return nil
}
