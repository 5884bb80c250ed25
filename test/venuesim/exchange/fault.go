package exchange

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/shopspring/decimal"
)

// Endpoint is what a request asks for, whatever the venue calls it.
type Endpoint string

// The endpoints.
const (
	EndpointPlace     Endpoint = "place"
	EndpointCancel    Endpoint = "cancel"
	EndpointCancelAll Endpoint = "cancel-all"
	EndpointOrder     Endpoint = "order"
	EndpointOrders    Endpoint = "orders"
	EndpointTrades    Endpoint = "trades"
	EndpointBalances  Endpoint = "balances"
	EndpointAccount   Endpoint = "account"
	EndpointProduct   Endpoint = "product"
	EndpointOther     Endpoint = "other"
)

// Kind is one way in which a request fails.
type Kind string

// The ways to fail. Held up is held up whether or not the client waits: what has
// been sent arrives.
const (
	// DelayArrival holds a request up on its way: the exchange has not read its
	// clock nor the request's signature yet.
	DelayArrival Kind = "delay-arrival"
	// DelayAcceptance holds it up inside: it was found good and is not in the book.
	DelayAcceptance Kind = "delay-acceptance"
	// DelayAnswer holds the answer up: what was asked for has happened.
	DelayAnswer Kind = "delay-answer"
	// StatusBefore answers Status and does nothing.
	StatusBefore Kind = "status-before"
	// StatusAfter does what was asked for and answers Status.
	StatusAfter Kind = "status-after"
	// ResetBefore cuts the connection and does nothing.
	ResetBefore Kind = "reset-before"
	// ResetRequest cuts it after half of the request's body.
	ResetRequest Kind = "reset-request"
	// ResetAfter does what was asked for and cuts the connection.
	ResetAfter Kind = "reset-after"
	// ResetAnswer does it and cuts the connection in the middle of the answer.
	ResetAnswer Kind = "reset-answer"
	// Truncate does it, and the answer ends in good order before its end.
	Truncate Kind = "truncate"
	// BodyBefore answers 200 with Body and does nothing. "{authorization}" in it
	// stands for the request's own header.
	BodyBefore Kind = "body-before"
	// BodyAfter does what was asked for and answers 200 with Body.
	BodyAfter Kind = "body-after"
)

var kinds = map[Kind]bool{
	DelayArrival: true, DelayAcceptance: true, DelayAnswer: true, StatusBefore: true, StatusAfter: true, ResetBefore: true,
	ResetRequest: true, ResetAfter: true, ResetAnswer: true, Truncate: true, BodyBefore: true, BodyAfter: true,
}

// Fault is one way to fail for some requests.
type Fault struct {
	Kind Kind `json:"kind"`
	// Endpoint whose requests are struck; empty for all.
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// Path that requests must contain, where an endpoint is not fine enough.
	Path string `json:"path,omitempty"`
	// Next is how many requests are struck; zero for all until it is taken away.
	Next int `json:"next,omitempty"`
	// Skip lets so many requests pass first.
	Skip int `json:"skip,omitempty"`
	// Probability with which a request is struck; zero for always.
	Probability float64 `json:"probability,omitempty"`
	// Delay of the kinds that hold up; ten minutes is the longest that makes sense.
	Delay Duration `json:"delay,omitempty"`
	// Status and RetryAfter in seconds of an answer; 503 if there is none.
	Status     int `json:"status,omitempty"`
	RetryAfter int `json:"retryAfter,omitempty"`
	// Body of an answer; the venue's own words for the status if empty.
	Body string `json:"body,omitempty"`
}

// Check finds what is wrong with a fault.
func (f *Fault) Check() error {
	switch {
	case !kinds[f.Kind]:
		return fmt.Errorf("there is no fault of the kind %q", f.Kind)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("the probability is %g; it must be between 0 and 1", f.Probability)
	case f.Delay < 0 || f.Next < 0 || f.Skip < 0:
		return fmt.Errorf("delay %s, next %d and skip %d must not be negative", time.Duration(f.Delay), f.Next, f.Skip)
	case f.Status != 0 && (f.Status < http.StatusMultipleChoices || f.Status > 599):
		return fmt.Errorf("the status is %d; it must be between 300 and 599", f.Status)
	}
	return nil
}

// Behaviour is how the exchange is, rather than how single requests fail.
type Behaviour struct {
	// Skew of the exchange's clock against the world's.
	Skew Duration `json:"skew,omitempty"`
	// PartialFill is the share of an order that fills at once; zero for all of it.
	PartialFill decimal.Decimal `json:"partialFill,omitzero"`
	// FillOnCancel is the share of what is left that fills before a cancellation
	// takes effect; one fills it whole and refuses the cancellation.
	FillOnCancel decimal.Decimal `json:"fillOnCancel,omitzero"`
	// OrderLag and TradeLag are how long orders and trades stay out of answers.
	OrderLag Duration `json:"orderLag,omitempty"`
	TradeLag Duration `json:"tradeLag,omitempty"`
	// RepeatTrades lists every trade twice, ShuffleTrades in any order.
	RepeatTrades  bool `json:"repeatTrades,omitempty"`
	ShuffleTrades bool `json:"shuffleTrades,omitempty"`
	// Illiquid has every order rest, whatever the price.
	Illiquid bool `json:"illiquid,omitempty"`
	// FailAccepted takes back every order that rests.
	FailAccepted bool `json:"failAccepted,omitempty"`
	// Maintenance refuses new orders.
	Maintenance bool `json:"maintenance,omitempty"`
}

// Duration is written as Go writes it, such as "10m0s".
type Duration time.Duration

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	*d = Duration(value)
	return err
}

func (d Duration) std() time.Duration { return time.Duration(d) }

// SetFaults replaces all faults. It fails on one that makes no sense.
func (e *Exchange) SetFaults(faults ...Fault) error {
	for i := range faults {
		if err := faults[i].Check(); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append([]Fault(nil), faults...)
	return nil
}

// Behave replaces the behaviour.
func (e *Exchange) Behave(behaviour Behaviour) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behaviour = behaviour
}

// Behaviour as it is.
func (e *Exchange) Behaviour() Behaviour {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.behaviour
}

// ticket goes with a request: what strikes it and what it holds.
type ticket struct {
	struck    []Fault
	body      []byte
	arrivedAt time.Time
	key       string
}

type ticketKey struct{}

func ticketOf(ctx context.Context) *ticket {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok {
		return t
	}
	return &ticket{}
}

// Body of the request that a context belongs to, as it has arrived.
func Body(ctx context.Context) []byte { return ticketOf(ctx).body }

// Carries notes what a request asks for where its venue wants that elsewhere than in
// the body.
func Carries(ctx context.Context, content []byte) { ticketOf(ctx).body = content }

// Signed notes which key has signed the request that a context belongs to.
func Signed(ctx context.Context, key string) { ticketOf(ctx).key = key }

func (t *ticket) delay(kind Kind) time.Duration {
	if fault, struck := t.by(kind); struck {
		return time.Duration(fault.Delay)
	}
	return 0
}

func (t *ticket) by(kind Kind) (Fault, bool) {
	for _, fault := range t.struck {
		if fault.Kind == kind {
			return fault, true
		}
	}
	return Fault{}, false
}
