// Package coinbase trades spot pairs at Coinbase Advanced Trade, of class A: a
// client order id that was used before is answered with the order that it was used
// for (https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/orders/create-order).
// It also tells what an API key may do and how a product is traded.
package coinbase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Name is the venue's name in ledgers.
const Name = "Coinbase"

// settle is by how much answers are taken to lag behind what has happened.
// Coinbase promises nothing; orders and fills are usually shown within a second.
const settle = 20 * time.Second

// Options of a Venue.
type Options = venue.Options[*Credentials]

// Venue is one account at Coinbase. It is safe for use by many at once.
type Venue struct {
	session   session
	spellings venue.Spellings

	mu sync.Mutex
	// clientIDs by Coinbase's order ids; uuid.Nil for orders that are not ours.
	clientIDs map[string]uuid.UUID
}

var (
	_ venue.Venue    = (*Venue)(nil)
	_ venue.Balancer = (*Venue)(nil)
	_ venue.Stopper  = (*Venue)(nil)
	_ venue.Checker  = (*Venue)(nil)
)

// New prepares the account. It fails on a gateway that must not be used, and on
// pairs that share a symbol.
func New(options Options) (*Venue, error) {
	host, known := hosts[options.Environment]
	if !known {
		return nil, fmt.Errorf("coinbase has no environment %q; use %s or %s", options.Environment, v1alpha1.EnvironmentProduction, v1alpha1.EnvironmentSandbox)
	}
	if options.Credentials == nil {
		return nil, errors.New("an account at Coinbase needs credentials")
	}
	client, err := rest.New(rest.Options{
		Host: host, Gateway: options.Gateway, Transport: options.Transport, Guard: options.Guard, Now: options.Now, Limits: limits,
	})
	if err != nil {
		return nil, err
	}
	spellings, err := options.Spell("Coinbase", Symbol, func(symbol string) string { return symbol })
	if err != nil {
		return nil, err
	}
	return &Venue{spellings: spellings, session: session{client, options.Credentials}, clientIDs: map[string]uuid.UUID{}}, nil
}

// Close lets go of connections that are kept for further requests.
func (v *Venue) Close() { v.session.client.Close() }

// Account implements venue.Checker: the portfolio that a key was made for is the
// account.
func (v *Venue) Account(ctx context.Context) (venue.Account, error) { return v.session.account(ctx) }

// Product implements venue.Checker. It fails with venue.ErrNoSuchThing where the
// account cannot trade such a product at all.
func (v *Venue) Product(ctx context.Context, symbol string) (venue.Product, error) {
	return v.session.product(ctx, symbol)
}

// Traits implements venue.Venue. A placement can be accepted as long as its token
// is good, by a clock that may be behind this machine's.
func (v *Venue) Traits() venue.Traits {
	return venue.Traits{Class: venue.ClassReturns, RequestExpiry: tokenLife + clockTolerance, Settle: settle, Spot: true}
}

// frozen is an order's request. The order of its fields is that of its bytes.
type frozen struct {
	ClientOrderID string `json:"client_order_id"`
	ProductID     string `json:"product_id"`
	Side          string `json:"side"`
	Configuration struct {
		// A limit order that rests until it is cancelled, as at the paper venue; the
		// agent cancels it.
		Limit struct {
			BaseSize   string `json:"base_size"`
			LimitPrice string `json:"limit_price"`
			PostOnly   bool   `json:"post_only"`
		} `json:"limit_limit_gtc"`
	} `json:"order_configuration"`
}

// Freeze implements venue.Venue. When a request expires is in its token.
func (v *Venue) Freeze(intent order.Intent, _ time.Time) ([]byte, error) {
	instrument, traded := v.spellings.Instruments[intent.Pair]
	side := sideWord(intent.Side)
	switch {
	case !traded:
		return nil, fmt.Errorf("%s is not traded at Coinbase by this agent", intent.Pair)
	case side == "":
		return nil, fmt.Errorf("order %s is neither a purchase nor a sale", intent.ID)
	case intent.Quantity <= 0 || intent.Limit <= 0:
		return nil, fmt.Errorf("order %s needs a quantity and a limit price above zero", intent.ID)
	}
	request := frozen{ClientOrderID: intent.ID.String(), ProductID: v.spellings.Symbols[intent.Pair], Side: side}
	request.Configuration.Limit.BaseSize = instrument.QuantityDecimal(intent.Quantity).String()
	request.Configuration.Limit.LimitPrice = instrument.PriceDecimal(intent.Limit).String()
	return json.Marshal(request)
}

func sideWord(side order.Side) string {
	switch side {
	case order.Buy:
		return "BUY"
	case order.Sell:
		return "SELL"
	}
	return ""
}

// Place implements venue.Venue.
func (v *Venue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	placement := rest.Placement{ID: request.Intent.ID, NotAfter: request.NotAfter, Request: rest.Request{
		Method: http.MethodPost, Path: apiPath + "/orders", Body: request.Body, Sign: func(leaving *rest.Leaving) error {
			return v.session.credentials.sign(leaving, leaving.Now.Add(tokenLife))
		},
	}}
	answer, err := v.session.client.Place(ctx, placement)
	if err != nil {
		return venue.Order{}, err
	}
	if answer.Status != http.StatusOK {
		return venue.Order{}, placementError(answer)
	}
	var told struct {
		Success       *bool  `json:"success"`
		FailureReason string `json:"failure_reason"`
		Accepted      *struct {
			OrderID       string `json:"order_id"`
			ProductID     string `json:"product_id"`
			Side          string `json:"side"`
			ClientOrderID string `json:"client_order_id"`
		} `json:"success_response"`
		Terms   terms `json:"order_configuration"`
		Refused struct {
			Error   string `json:"error"`
			Preview string `json:"preview_failure_reason"`
			New     string `json:"new_order_failure_reason"`
		} `json:"error_response"`
	}
	if err := answer.Decode(&told); err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
	}
	switch {
	case told.Success == nil || *told.Success && told.Accepted == nil:
		return venue.Order{}, fmt.Errorf("%w: the answer does not say whether the order was accepted", venue.ErrUnknownOutcome)
	case !*told.Success:
		return venue.Order{}, placementError(answer, told.Refused.New, told.Refused.Preview, told.Refused.Error, told.FailureReason)
	}
	accepted := told.Accepted
	if accepted.ClientOrderID != request.Intent.ID.String() || accepted.ProductID != v.spellings.Symbols[request.Intent.Pair] ||
		accepted.Side != sideWord(request.Intent.Side) || !orderID.MatchString(accepted.OrderID) || !told.Terms.of(request.Body) {
		return venue.Order{}, fmt.Errorf("%w: the answer tells of another order", venue.ErrUnknownOutcome)
	}
	v.learn(accepted.OrderID, request.Intent.ID)
	return venue.Order{ID: request.Intent.ID, VenueOrderID: accepted.OrderID, Pair: request.Intent.Pair, State: order.Acked}, nil
}

// terms are an accepted order's size and limit, as far as they are told.
type terms struct {
	Limit *struct {
		BaseSize   string `json:"base_size"`
		LimitPrice string `json:"limit_price"`
		PostOnly   bool   `json:"post_only"`
	} `json:"limit_limit_gtc"`
}

// of reports whether nothing that is told differs from a request: a client order id
// that was used before is answered with the order that it was used for.
func (t terms) of(body []byte) bool {
	var asked frozen
	if t.Limit == nil {
		return true
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return false
	}
	same := func(told, asked string) bool {
		value, err := rest.Number("terms of an order", told)
		return told == "" || err == nil && value.String() == asked
	}
	limit := &asked.Configuration.Limit
	return same(t.Limit.BaseSize, limit.BaseSize) && same(t.Limit.LimitPrice, limit.LimitPrice) && t.Limit.PostOnly == limit.PostOnly
}

// Lookup implements venue.Venue. By its own id an order is asked for directly;
// Coinbase finds none by the client's, so that the orders since it was sent are
// gone through.
func (v *Venue) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	if ref.VenueOrderID != "" {
		return v.byVenueID(ctx, ref)
	}
	symbol, traded := v.spellings.Symbols[ref.Pair]
	if !traded {
		return venue.Order{}, fmt.Errorf("%s is not traded at Coinbase by this agent", ref.Pair)
	}
	query := url.Values{"product_ids": {symbol}}
	if !ref.SentAt.IsZero() {
		query.Set("start_date", stamp(ref.SentAt.Add(-clockTolerance)))
	}
	var found *venue.Order
	err := v.eachOrder(ctx, query, func(o *venue.Order) bool {
		if o.ID == ref.ID {
			found = o
		}
		return found == nil
	})
	switch {
	case err != nil:
		return venue.Order{}, fmt.Errorf("looking for order %s at Coinbase: %w", ref.ID, err)
	case found == nil:
		return venue.Order{}, fmt.Errorf("order %s at Coinbase: %w", ref.ID, venue.ErrNotFound)
	}
	return *found, nil
}

func (v *Venue) byVenueID(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	if !orderID.MatchString(ref.VenueOrderID) {
		return venue.Order{}, fmt.Errorf("order %s: Coinbase has no ids like %q", ref.ID, ref.VenueOrderID)
	}
	answer, err := v.session.client.Ask(ctx, v.session.request(http.MethodGet, apiPath+"/orders/historical/"+ref.VenueOrderID, nil))
	if err != nil {
		return venue.Order{}, fmt.Errorf("looking up order %s at Coinbase: %w", ref.ID, err)
	}
	if answer.Status == http.StatusNotFound && codeOf(answer) == "NOT_FOUND" {
		return venue.Order{}, fmt.Errorf("order %s at Coinbase: %w", ref.ID, venue.ErrNotFound)
	}
	if answer.Status != http.StatusOK {
		return venue.Order{}, fmt.Errorf("looking up order %s at Coinbase: %w", ref.ID, questionError(answer))
	}
	var told struct {
		Order *orderTold `json:"order"`
	}
	if err := answer.Decode(&told); err != nil {
		return venue.Order{}, err
	}
	if told.Order == nil {
		return venue.Order{}, fmt.Errorf("%w: it holds no order", venue.ErrMalformed)
	}
	found, err := v.read(told.Order)
	if err != nil {
		return venue.Order{}, err
	}
	if found.VenueOrderID != ref.VenueOrderID || found.ID != ref.ID {
		return venue.Order{}, fmt.Errorf("%w: it speaks of another order than %s", venue.ErrMalformed, ref.ID)
	}
	return *found, nil
}

// Open implements venue.Venue. Orders on their way into the book are asked for
// before those in it, so that none slips through between both questions; Coinbase
// does not take both in one.
func (v *Venue) Open(ctx context.Context) ([]venue.Order, error) { return v.open(ctx, nil) }

// open lists the open orders in these pairs, or in all of the agent's.
func (v *Venue) open(ctx context.Context, pairs []string) ([]venue.Order, error) {
	var symbols []string
	for pair, symbol := range v.spellings.Symbols {
		if pairs == nil || slices.Contains(pairs, pair) {
			symbols = append(symbols, symbol)
		}
	}
	if len(symbols) == 0 {
		return nil, nil
	}
	slices.Sort(symbols)
	open, seen := []venue.Order{}, map[string]bool{}
	for _, states := range [][]string{{"PENDING", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"}, {"OPEN"}} {
		err := v.eachOrder(ctx, url.Values{"product_ids": symbols, "order_status": states}, func(o *venue.Order) bool {
			if !o.State.Final() && !seen[o.VenueOrderID] {
				seen[o.VenueOrderID] = true
				open = append(open, *o)
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("listing open orders at Coinbase: %w", err)
		}
	}
	return open, nil
}
