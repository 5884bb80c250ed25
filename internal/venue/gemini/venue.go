// Package gemini trades spot pairs at Gemini by its REST API v1, of class C: a client
// order id is one "that Gemini will echo back to you"; Gemini only "recommends that
// your client order IDs should be unique per trading session", and makes another
// order of a repeat (https://docs.gemini.com/websocket/overview/client-order-id/about).
//
// Requests expire by their nonce: for a key that "uses a time based nonce" it "has to
// be within +/- 30 seconds of Unix Epoch timestamp to be deemed valid"
// (https://docs.gemini.com/authentication/api-key). Only such keys are taken, and an
// order's nonce is set so far back that its window ends when the order must not be
// accepted any more.
package gemini

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Name is the venue's name in ledgers.
const Name = "Gemini"

const (
	// nonceWindow is by how much a nonce may be off Gemini's clock.
	nonceWindow = 30 * time.Second
	// requestExpiry is the longest that an order's request lives. It leaves nonces a
	// good part of the window on either side for clocks that differ.
	requestExpiry = 10 * time.Second
	// settle is by how much answers are taken to lag behind what has happened. Gemini
	// promises nothing; it usually shows trades within a second.
	settle = 10 * time.Second
)

// hosts of the environments (https://docs.gemini.com/sandbox).
var hosts = map[v1alpha1.VenueEnvironment]string{
	v1alpha1.EnvironmentProduction: "api.gemini.com",
	v1alpha1.EnvironmentSandbox:    "api.sandbox.gemini.com",
}

// limits keep one process at the five requests a second that Gemini recommends; it
// refuses what goes beyond 600 a minute (https://docs.gemini.com/rate-limit).
var limits = rest.Limits{
	Questions:     rest.Limit{PerSecond: 3, Burst: 60},
	Placements:    rest.Limit{PerSecond: 1, Burst: 20},
	Cancellations: rest.Limit{PerSecond: 1, Burst: 20},
}

// Options of a Venue.
type Options = venue.Options[*Credentials]

// Venue is one account at Gemini. It is safe for use by many at once.
type Venue struct {
	client      *rest.Client
	credentials *Credentials
	now         func() time.Time
	// forwarded is Gemini's host where a gateway is in between.
	forwarded string
	// listed are the agent's pairs in the order of its instruments.
	listed    []string
	spellings venue.Spellings
}

var (
	_ venue.Venue    = (*Venue)(nil)
	_ venue.Balancer = (*Venue)(nil)
	_ venue.Stopper  = (*Venue)(nil)
	_ venue.Checker  = (*Venue)(nil)
)

// Symbol is how Gemini spells a pair.
func Symbol(base, quote string) string { return strings.ToLower(base + quote) }

// New prepares the account. It fails on a gateway that must not be used.
func New(options Options) (*Venue, error) {
	host, known := hosts[options.Environment]
	if !known {
		return nil, fmt.Errorf("gemini has no environment %q; use %s or %s", options.Environment, v1alpha1.EnvironmentProduction, v1alpha1.EnvironmentSandbox)
	}
	if options.Credentials == nil {
		return nil, errors.New("an account at Gemini needs credentials")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	client, err := rest.New(rest.Options{
		Host: host, Gateway: options.Gateway, Transport: options.Transport, Guard: options.Guard, Now: options.Now,
		Frozen: payloadOf, Limits: limits,
	})
	if err != nil {
		return nil, err
	}
	spellings, err := options.Spell("Gemini", Symbol, strings.ToLower)
	if err != nil {
		return nil, err
	}
	v := &Venue{spellings: spellings, client: client, credentials: options.Credentials, now: options.Now}
	if options.Gateway != "" {
		v.forwarded = host
	}
	for pair, symbol := range v.spellings.Symbols {
		v.spellings.Symbols[pair] = strings.ToLower(symbol)
	}
	for _, instrument := range options.Instruments {
		v.listed = append(v.listed, instrument.Pair)
	}
	return v, nil
}

// Close lets go of connections that are kept for further requests.
func (v *Venue) Close() { v.client.Close() }

// Traits implements venue.Venue.
func (v *Venue) Traits() venue.Traits {
	return venue.Traits{Class: venue.ClassIgnores, RequestExpiry: requestExpiry, Settle: settle, Spot: true}
}

// fields of a payload beside its path and nonce.
type fields map[string]any

// request is a request whose payload is signed with the time at which it leaves.
func (v *Venue) request(path string, parts fields) rest.Request {
	return v.requestAt(path, parts, func(now time.Time) int64 { return now.Unix() })
}

func (v *Venue) requestAt(path string, parts fields, nonce func(now time.Time) int64) rest.Request {
	return rest.Request{Method: http.MethodPost, Path: path, Sign: func(leaving *rest.Leaving) error {
		payload := fields{"request": path, "nonce": nonce(leaving.Now)}
		maps.Copy(payload, parts)
		encoded, err := json.Marshal(payload)
		if err != nil {
			return fmt.Errorf("the payload cannot be written: %w", err)
		}
		v.seal(leaving, encoded)
		return nil
	}}
}

// seal signs a payload.
func (v *Venue) seal(leaving *rest.Leaving, payload []byte) {
	v.credentials.sign(leaving.Header, payload)
	leaving.Body = nil
	v.forward(leaving)
}

// forward tells a gateway whom the request is for.
func (v *Venue) forward(leaving *rest.Leaving) {
	if v.forwarded != "" {
		leaving.Header.Set("X-Forwarded-Host", v.forwarded)
	}
}

// ask puts a question that must be answered with 200.
func (v *Venue) ask(ctx context.Context, path string, parts fields, into any) error {
	answer, err := v.client.Ask(ctx, v.request(path, parts))
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return question(answer)
	}
	return answer.Decode(into)
}

const placing = "/v1/order/new"

// frozen is an order's payload. The order of its fields is that of its bytes.
type frozen struct {
	Request       string   `json:"request"`
	Nonce         int64    `json:"nonce"`
	ClientOrderID string   `json:"client_order_id"`
	Symbol        string   `json:"symbol"`
	Amount        string   `json:"amount"`
	Price         string   `json:"price"`
	Side          string   `json:"side"`
	Type          string   `json:"type"`
	Options       []string `json:"options"`
}

// Freeze implements venue.Venue. The nonce is a part of what is frozen: by it Gemini
// refuses the order after notAfter, and after requestExpiry.
func (v *Venue) Freeze(intent order.Intent, notAfter time.Time) ([]byte, error) {
	instrument, traded := v.spellings.Instruments[intent.Pair]
	switch {
	case !traded:
		return nil, fmt.Errorf("%s is not traded at Gemini by this agent", intent.Pair)
	case intent.Side != order.Buy && intent.Side != order.Sell:
		return nil, fmt.Errorf("order %s is neither a purchase nor a sale", intent.ID)
	case intent.Quantity <= 0 || intent.Limit <= 0:
		return nil, fmt.Errorf("order %s needs a quantity and a limit price above zero", intent.ID)
	}
	if latest := v.now().Add(requestExpiry); notAfter.After(latest) {
		notAfter = latest
	}
	return json.Marshal(frozen{
		Request: placing, Nonce: notAfter.Add(-nonceWindow).Unix(), ClientOrderID: intent.ID.String(), Symbol: v.spellings.Symbols[intent.Pair],
		Amount: instrument.QuantityDecimal(intent.Quantity).String(), Price: instrument.PriceDecimal(intent.Limit).String(),
		Side: sideWord(intent.Side), Type: "exchange limit", Options: []string{},
	})
}

// Place implements venue.Venue.
func (v *Venue) Place(ctx context.Context, request venue.Request) (venue.Order, error) {
	placement := rest.Placement{ID: request.Intent.ID, NotAfter: request.NotAfter, Request: rest.Request{
		Method: http.MethodPost, Path: placing, Body: request.Body,
		Sign: func(leaving *rest.Leaving) error {
			v.seal(leaving, leaving.Body)
			return nil
		},
	}}
	answer, err := v.client.Place(ctx, placement)
	if err != nil {
		return venue.Order{}, err
	}
	if answer.Status != http.StatusOK {
		return venue.Order{}, answer.Outcome(reasonOf(answer), definitive)
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
	told, err := v.status(ctx, ref, false)
	if err != nil {
		return venue.Order{}, err
	}
	found, err := v.read(told)
	if err != nil {
		return venue.Order{}, err
	}
	if found.ID != ref.ID {
		return venue.Order{}, fmt.Errorf("%w: it tells of another order than %s", venue.ErrMalformed, ref.ID)
	}
	return found, nil
}

// status asks what Gemini knows of an order. For a client order id it may answer with
// a list; since no id is ever sent twice, there is one order in it.
func (v *Venue) status(ctx context.Context, ref venue.Ref, trades bool) (*orderTold, error) {
	parts := fields{"include_trades": trades}
	switch {
	case ref.VenueOrderID == "":
		parts["client_order_id"] = ref.ID.String()
	case whole.MatchString(ref.VenueOrderID):
		parts["order_id"] = json.Number(ref.VenueOrderID)
	default:
		return nil, fmt.Errorf("%q is no order id of Gemini's", ref.VenueOrderID)
	}
	answer, err := v.client.Ask(ctx, v.request("/v1/order/status", parts))
	switch {
	case err != nil:
		return nil, err
	case missing(answer):
		return nil, fmt.Errorf("order %s: %w", ref.ID, venue.ErrNotFound)
	case answer.Status != http.StatusOK:
		return nil, question(answer)
	}
	var list []orderTold
	if answer.Decode(&list) != nil {
		list = make([]orderTold, 1)
		if err := answer.Decode(&list[0]); err != nil {
			return nil, err
		}
	}
	switch {
	case list == nil:
		return nil, fmt.Errorf("%w: it is null", venue.ErrMalformed)
	case len(list) == 0:
		return nil, fmt.Errorf("order %s: %w", ref.ID, venue.ErrNotFound)
	case len(list) == 1:
		return &list[0], nil
	}
	return nil, fmt.Errorf("%w: Gemini has %d orders with the id %s; cancel what is not wanted at Gemini", venue.ErrMalformed, len(list), ref.ID)
}

// Cancel implements venue.Venue. Gemini cancels by its own id, which is asked for
// where it is not known; "if the order is already canceled, the message will succeed
// but have no effect".
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
	if !whole.MatchString(ref.VenueOrderID) {
		return fmt.Errorf("%q is no order id of Gemini's", ref.VenueOrderID)
	}
	answer, err := v.client.Cancel(ctx, v.request("/v1/order/cancel", fields{"order_id": json.Number(ref.VenueOrderID)}))
	switch {
	case err != nil:
		return err
	case missing(answer):
		return fmt.Errorf("order %s: %w", ref.ID, venue.ErrNotFound)
	case answer.Status != http.StatusOK:
		return question(answer)
	}
	var told orderTold
	if err := answer.Decode(&told); err != nil {
		return err
	}
	if string(told.ID) != ref.VenueOrderID {
		return fmt.Errorf("%w: it tells of another order than %s", venue.ErrMalformed, ref.VenueOrderID)
	}
	return nil
}

// Open implements venue.Venue.
func (v *Venue) Open(ctx context.Context) ([]venue.Order, error) {
	var told []orderTold
	if err := v.ask(ctx, "/v1/orders", nil, &told); err != nil {
		return nil, err
	}
	orders := make([]venue.Order, 0, len(told))
	for i := range told {
		if _, traded := v.spellings.Pairs[strings.ToLower(told[i].Symbol)]; !traded {
			continue
		}
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

// CancelAll implements venue.Stopper, order by order: what Gemini offers for all of
// them cancels those of other pairs as well.
func (v *Venue) CancelAll(ctx context.Context, pairs []string) error {
	wanted := map[string]bool{}
	for _, pair := range pairs {
		if _, traded := v.spellings.Instruments[pair]; !traded {
			return fmt.Errorf("%s is not traded at Gemini by this agent", pair)
		}
		wanted[pair] = true
	}
	open, err := v.Open(ctx)
	if err != nil {
		return err
	}
	var failed error
	for i := range open {
		if !wanted[open[i].Pair] {
			continue
		}
		err := v.Cancel(ctx, venue.Ref{ID: open[i].ID, VenueOrderID: open[i].VenueOrderID, Pair: open[i].Pair})
		if err != nil && !errors.Is(err, venue.ErrNotFound) {
			failed = errors.Join(failed, fmt.Errorf("cancel order %s at Gemini: %w", open[i].VenueOrderID, err))
		}
	}
	return failed
}

// CancelAllAfter implements venue.Stopper. Gemini's dead-man switch is a property
// that a key is made with, "Requires Heartbeat", and is always of 30 seconds.
func (v *Venue) CancelAllAfter(context.Context, time.Duration) error {
	return fmt.Errorf("gemini has no dead-man switch that can be set: %w", errors.ErrUnsupported)
}
