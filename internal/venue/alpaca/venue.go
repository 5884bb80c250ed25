// Package alpaca trades crypto pairs at Alpaca by its Trading API v2, of class B1: a
// client order id is "a unique identifier for the order", and a request with one
// that was used before is refused with "client_order_id must be unique", whatever
// became of the first (https://docs.alpaca.markets/reference/postorder). Requests
// carry no time, so none ever expires.
//
// Alpaca takes its fee from what a trade brings in, tells nothing of it with the
// trade, and posts it at the end of the day without naming the order
// (https://docs.alpaca.markets/docs/crypto-fees). Fills therefore carry the most
// that the fee can be: see fees.go.
package alpaca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Name is the venue's name in ledgers.
const Name = "Alpaca"

// settle is by how much answers are taken to lag behind what has happened. Alpaca
// promises nothing; orders and their executions come from one system there, and are
// usually shown within a second.
const settle = 10 * time.Second

// hosts of the environments: Sandbox is paper trading.
var hosts = map[v1alpha1.VenueEnvironment]string{
	v1alpha1.EnvironmentProduction: "api.alpaca.markets",
	v1alpha1.EnvironmentSandbox:    "paper-api.alpaca.markets",
}

// limits keep one process below the 200 requests a minute that Alpaca allows to an
// account (https://alpaca.markets/support/usage-limit-api-calls).
var limits = rest.Limits{
	Questions:     rest.Limit{PerSecond: 2, Burst: 60},
	Placements:    rest.Limit{PerSecond: 0.6, Burst: 20},
	Cancellations: rest.Limit{PerSecond: 0.6, Burst: 20},
}

// Options of a Venue.
type Options = venue.Options[*Credentials]

// Venue is one account at Alpaca. It is safe for use by many at once.
type Venue struct {
	client      *rest.Client
	credentials *Credentials
	environment v1alpha1.VenueEnvironment
	// forwarded is Alpaca's host where a gateway is in between.
	forwarded string
	// spellings find a pair by its symbol without the slash.
	spellings venue.Spellings

	mu sync.Mutex
	// clientIDs by Alpaca's order ids; uuid.Nil for orders that are not ours.
	clientIDs map[string]uuid.UUID
}

var (
	_ venue.Venue    = (*Venue)(nil)
	_ venue.Balancer = (*Venue)(nil)
	_ venue.Stopper  = (*Venue)(nil)
	_ venue.Checker  = (*Venue)(nil)
)

// Symbol is how Alpaca spells a pair.
func Symbol(base, quote string) string { return base + "/" + quote }

// New prepares the account. It fails on a gateway that must not be used, and on
// symbols that are not those of crypto pairs.
func New(options Options) (*Venue, error) {
	host, known := hosts[options.Environment]
	if !known {
		return nil, fmt.Errorf("alpaca has no environment %q; use %s or %s", options.Environment, v1alpha1.EnvironmentProduction, v1alpha1.EnvironmentSandbox)
	}
	if options.Credentials == nil {
		return nil, errors.New("an account at Alpaca needs credentials")
	}
	client, err := rest.New(rest.Options{
		Host: host, Gateway: options.Gateway, Transport: options.Transport, Guard: options.Guard, Now: options.Now, Limits: limits,
	})
	if err != nil {
		return nil, err
	}
	spellings, err := options.Spell("Alpaca", Symbol, joined)
	if err != nil {
		return nil, err
	}
	v := &Venue{
		spellings: spellings, client: client, credentials: options.Credentials, environment: options.Environment, clientIDs: map[string]uuid.UUID{},
	}
	if options.Gateway != "" {
		v.forwarded = host
	}
	for pair, symbol := range v.spellings.Symbols {
		if base, quote, crypto := strings.Cut(symbol, "/"); !crypto || base == "" || quote == "" {
			return nil, fmt.Errorf("%s: Alpaca's symbol %q is not that of a crypto pair, such as BTC/USD; stocks are not traded", pair, symbol)
		}
	}
	return v, nil
}

// joined is a symbol as Alpaca also writes it, without the slash.
func joined(symbol string) string { return strings.ReplaceAll(symbol, "/", "") }

// Close lets go of connections that are kept for further requests.
func (v *Venue) Close() { v.client.Close() }

// Traits implements venue.Venue.
func (v *Venue) Traits() venue.Traits {
	return venue.Traits{Class: venue.ClassRefuses, Settle: settle, Spot: true}
}

// request is a request that the account's key goes with.
func (v *Venue) request(method, path string, query url.Values) rest.Request {
	return rest.Request{Method: method, Path: path, Query: query, Sign: v.sign}
}

func (v *Venue) sign(leaving *rest.Leaving) error {
	v.credentials.sign(leaving.Header)
	if v.forwarded != "" {
		leaving.Header.Set("X-Forwarded-Host", v.forwarded)
	}
	return nil
}

// ask puts a question that must be answered with 200.
func (v *Venue) ask(ctx context.Context, path string, query url.Values, into any) error {
	answer, err := v.client.Ask(ctx, v.request(http.MethodGet, path, query))
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return question(answer)
	}
	return answer.Decode(into)
}

// frozen is an order's request. The order of its fields is that of its bytes.
type frozen struct {
	Symbol        string `json:"symbol"`
	Quantity      string `json:"qty"`
	Side          string `json:"side"`
	Type          string `json:"type"`
	TimeInForce   string `json:"time_in_force"`
	Limit         string `json:"limit_price"`
	ClientOrderID string `json:"client_order_id"`
}

// Freeze implements venue.Venue. Alpaca takes no deadline.
func (v *Venue) Freeze(intent order.Intent, _ time.Time) ([]byte, error) {
	instrument, traded := v.spellings.Instruments[intent.Pair]
	switch {
	case !traded:
		return nil, fmt.Errorf("%s is not traded at Alpaca by this agent", intent.Pair)
	case intent.Side != order.Buy && intent.Side != order.Sell:
		return nil, fmt.Errorf("order %s is neither a purchase nor a sale", intent.ID)
	case intent.Quantity <= 0 || intent.Limit <= 0:
		return nil, fmt.Errorf("order %s needs a quantity and a limit price above zero", intent.ID)
	}
	return json.Marshal(frozen{
		Symbol: v.spellings.Symbols[intent.Pair], Quantity: instrument.QuantityDecimal(intent.Quantity).String(), Side: sideWord(intent.Side),
		Type: "limit", TimeInForce: "gtc", Limit: instrument.PriceDecimal(intent.Limit).String(), ClientOrderID: intent.ID.String(),
	})
}

// Place implements venue.Venue.
func (v *Venue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	placement := rest.Placement{Request: v.request(http.MethodPost, "/v2/orders", nil), ID: request.Intent.ID, NotAfter: request.NotAfter}
	placement.Body = request.Body
	answer, err := v.client.Place(ctx, placement)
	if err != nil {
		return venue.Order{}, err
	}
	if answer.Status != http.StatusOK {
		return venue.Order{}, answer.Outcome(codeOf(answer), definitive)
	}
	var told orderTold
	if err := answer.Decode(&told); err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
	}
	placed, err := v.read(&told)
	if err != nil {
		return venue.Order{}, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
	}
	if placed.ID != request.Intent.ID || placed.Pair != request.Intent.Pair {
		return venue.Order{}, fmt.Errorf("%w: the answer tells of another order", venue.ErrUnknownOutcome)
	}
	return placed, nil
}

// Lookup implements venue.Venue.
func (v *Venue) Lookup(ctx context.Context, ref venue.Ref) (venue.Order, error) {
	path, query := "/v2/orders:by_client_order_id", url.Values{"client_order_id": {ref.ID.String()}}
	if ref.VenueOrderID != "" {
		path, query = "/v2/orders/"+url.PathEscape(ref.VenueOrderID), nil
	}
	answer, err := v.client.Ask(ctx, v.request(http.MethodGet, path, query))
	switch {
	case err != nil:
		return venue.Order{}, err
	case missing(answer):
		return venue.Order{}, fmt.Errorf("order %s: %w", ref.ID, venue.ErrNotFound)
	case answer.Status != http.StatusOK:
		return venue.Order{}, question(answer)
	}
	var told orderTold
	if err := answer.Decode(&told); err != nil {
		return venue.Order{}, err
	}
	found, err := v.read(&told)
	if err != nil {
		return venue.Order{}, err
	}
	if found.ID != ref.ID {
		return venue.Order{}, fmt.Errorf("%w: it tells of another order than %s", venue.ErrMalformed, ref.ID)
	}
	return found, nil
}

// Cancel implements venue.Venue. Alpaca cancels by its own id, which is asked for
// where it is not known.
func (v *Venue) Cancel(ctx context.Context, ref venue.Ref) error {
	if ref.VenueOrderID == "" {
		found, err := v.Lookup(ctx, ref)
		if err != nil {
			return err
		}
		if found.State.Final() {
			return nil
		}
		ref.VenueOrderID = found.VenueOrderID
	}
	answer, err := v.client.Cancel(ctx, v.request(http.MethodDelete, "/v2/orders/"+url.PathEscape(ref.VenueOrderID), nil))
	switch {
	case err != nil:
		return err
	case answer.Status == http.StatusNoContent:
		return nil
	case missing(answer):
		return fmt.Errorf("order %s: %w", ref.ID, venue.ErrNotFound)
	case answer.Status == http.StatusUnprocessableEntity && codeOf(answer) == codeUnprocessed:
		// "The order is no longer cancelable": it is final, or being cancelled.
		return nil
	}
	return question(answer)
}

// mostOrders is the longest list of orders that Alpaca gives at once.
const mostOrders = 500

// Open implements venue.Venue. It fails where more orders are open than Alpaca
// lists at once.
func (v *Venue) Open(ctx context.Context) ([]venue.Order, error) {
	return v.open(ctx, v.pairNames())
}

func (v *Venue) pairNames() []string {
	names := make([]string, 0, len(v.spellings.Symbols))
	for pair := range v.spellings.Symbols {
		names = append(names, pair)
	}
	slices.Sort(names)
	return names
}

func (v *Venue) open(ctx context.Context, pairs []string) ([]venue.Order, error) {
	symbols := make([]string, 0, len(pairs))
	for _, pair := range pairs {
		symbol, traded := v.spellings.Symbols[pair]
		if !traded {
			return nil, fmt.Errorf("%s is not traded at Alpaca by this agent", pair)
		}
		symbols = append(symbols, symbol)
	}
	if len(symbols) == 0 {
		return nil, nil
	}
	var told []orderTold
	query := url.Values{"status": {"open"}, "limit": {strconv.Itoa(mostOrders)}, "symbols": {strings.Join(symbols, ",")}}
	if err := v.ask(ctx, "/v2/orders", query, &told); err != nil {
		return nil, err
	}
	if len(told) >= mostOrders {
		return nil, fmt.Errorf("%w: %d orders or more are open in %s, which cannot be listed; cancel some at Alpaca", venue.ErrMalformed, mostOrders, strings.Join(symbols, ", "))
	}
	orders := make([]venue.Order, 0, len(told))
	for i := range told {
		o, err := v.read(&told[i])
		if err != nil {
			return nil, err
		}
		if !o.State.Final() {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// CancelAll implements venue.Stopper, order by order: what Alpaca offers for all of
// them cancels those of other pairs as well.
func (v *Venue) CancelAll(ctx context.Context, pairs []string) error {
	open, err := v.open(ctx, pairs)
	if err != nil {
		return err
	}
	var failed error
	for i := range open {
		err := v.Cancel(ctx, venue.Ref{ID: open[i].ID, VenueOrderID: open[i].VenueOrderID, Pair: open[i].Pair})
		if err != nil && !errors.Is(err, venue.ErrNotFound) {
			failed = errors.Join(failed, fmt.Errorf("cancel order %s at Alpaca: %w", open[i].VenueOrderID, err))
		}
	}
	return failed
}

// CancelAllAfter implements venue.Stopper. Alpaca has no dead-man switch.
func (v *Venue) CancelAllAfter(context.Context, time.Duration) error {
	return fmt.Errorf("alpaca has no dead-man switch: %w", errors.ErrUnsupported)
}
