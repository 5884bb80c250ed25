// Package rest is the one way in which adapters speak HTTP to a venue. A
// placement is sent at most once: the sentry compares its bytes and is then asked
// for each write of them at the socket itself, so that neither a limit on requests
// nor the making of a connection comes between its word and the first byte. Nothing
// is repeated, and no redirect is followed. Its errors hold no part of a URL's
// query, of a header or of what the venue has written.
package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// defaultTimeout bounds one request; venues answer within a second.
	defaultTimeout = 10 * time.Second
	// defaultMaxBody bounds an answer: a page of some hundred orders is far below.
	defaultMaxBody = 4 << 20
)

// Codes of placements of which not a byte has left.
const (
	// NotSent is a placement for which there was no connection.
	NotSent = "NotSent"
	// Unsigned is a placement that could not be signed.
	Unsigned = "Unsigned"
	// Throttled is a placement that the venue's limit on requests had no room for.
	Throttled = "Throttled"
)

// Options of a Client.
type Options struct {
	// Host that requests are for, such as api.coinbase.com. It is what is signed,
	// whatever stands in between.
	Host string
	// Gateway is the URL that requests are sent to; empty for Host itself, by
	// https.
	Gateway string
	// Transport that requests are sent by; nil for one that checks certificates
	// and goes by the proxy of the process's environment. Of a *http.Transport a
	// copy is used that speaks HTTP/1.1; of any other the connections are not seen,
	// so that a placement is held up no more once it was handed over.
	Transport http.RoundTripper
	// Guard is asked before a placement leaves. Without one none does.
	Guard venue.Guard
	// Frozen finds, in a placement that is about to leave, the bytes that were
	// frozen with its intent; nil where they are the body itself.
	Frozen func(header http.Header, body []byte) ([]byte, error)
	// Now tells the time; nil for the machine's clock.
	Now func() time.Time
	// Limits on requests; all three kinds must have one.
	Limits Limits
	// Timeout of one request, and the most bytes of its answer; zero for 10 s and
	// 4 MiB.
	Timeout time.Duration
	MaxBody int64
}

// Client speaks to one venue. It is safe for use by many at once.
type Client struct {
	options   Options
	base      string
	transport http.RoundTripper
	// gated says that the transport's connections are gates.
	gated  bool
	limits [3]limiter
	paused atomic.Int64
}

// New makes a client. It fails on a gateway that must not be used.
func New(options Options) (*Client, error) {
	c := &Client{options: options, base: "https://" + options.Host}
	if options.Gateway != "" {
		gateway, err := ParseGateway(options.Gateway)
		if err != nil {
			return nil, err
		}
		c.base = strings.TrimSuffix(gateway.String(), "/")
	}
	var err error
	if c.limits, err = options.Limits.limiters(); err != nil {
		return nil, err
	}
	c.transport, c.gated = gatedTransport(options.Transport)
	if c.options.Now == nil {
		c.options.Now = time.Now
	}
	if c.options.Timeout <= 0 {
		c.options.Timeout = defaultTimeout
	}
	if c.options.MaxBody <= 0 {
		c.options.MaxBody = defaultMaxBody
	}
	return c, nil
}

// Close lets go of connections that are kept for further requests.
func (c *Client) Close() {
	if idle, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}
}

// Request is one request before it is signed.
type Request struct {
	Method string
	// Path is signed as it is; it must be escaped already.
	Path  string
	Query url.Values
	// ContentType of the body; empty for JSON.
	ContentType string
	Body        []byte
	// Sign adds what proves who asks. It is called when the request's turn has
	// come, so that what it signs is fresh. Nil for what anybody may ask.
	Sign func(leaving *Leaving) error
}

// Leaving is a request at the moment at which it is signed. Signing may change
// its header, and its body where the venue wants it there.
type Leaving struct {
	Method, Host, Path string
	Query              url.Values
	Header             http.Header
	Body               []byte
	// Now is the time to sign with.
	Now time.Time
}

// Answer is a whole answer, whatever its status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// ReceivedAt is when it was read, by the client's clock.
	ReceivedAt time.Time
}

// Ask sends a question. Its error is one of those of account.go, or the
// context's. An answer of any status is no error.
func (c *Client) Ask(ctx context.Context, request Request) (*Answer, error) {
	if left := c.pause(); left > 0 {
		return nil, &venue.RateLimitedError{After: left}
	}
	return c.ask(ctx, question, request)
}

// Cancel sends a cancellation. It has a limit of its own, and does not stop for
// what the venue has said of other requests.
func (c *Client) Cancel(ctx context.Context, request Request) (*Answer, error) {
	return c.ask(ctx, cancellation, request)
}

func (c *Client) ask(ctx context.Context, kind kind, request Request) (*Answer, error) {
	call, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	if err := c.limits[kind].Wait(call); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: too many requests wait for their turn", venue.ErrUnreachable)
	}
	prepared, err := c.prepare(httptrace.WithClientTrace(call, freely), &request)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(call, prepared)
	if errors.Is(ctx.Err(), context.Canceled) && err != nil {
		return nil, ctx.Err()
	}
	return answer, err
}

// Placement is an order's request.
type Placement struct {
	Request

	// ID is the client order id that the guard knows the order by.
	ID uuid.UUID
	// NotAfter is when it must not be signed or leave any more.
	NotAfter time.Time
}

// Place sends a placement, once. It fails with a *venue.RejectedError, or as the
// guard does, if not a byte has left, and otherwise with venue.ErrUnknownOutcome.
// An answer of any status is no error: what it means is for the adapter to say.
func (c *Client) Place(ctx context.Context, placement Placement) (*Answer, error) {
	if c.options.Guard == nil {
		return nil, &venue.RejectedError{Code: venue.NotApproved, Message: "nobody is there who could approve it"}
	}
	if left := c.pause(); left > 0 {
		return nil, &venue.RejectedError{Code: Throttled, Message: fmt.Sprintf("the venue asks to be left alone for %s", left)}
	}
	remaining := placement.NotAfter.Sub(c.options.Now())
	if remaining <= 0 {
		return nil, &venue.RejectedError{Code: venue.ApprovalExpired, Message: "its time to leave is over"}
	}
	turn, cancelTurn := context.WithTimeout(ctx, min(remaining, c.options.Timeout))
	err := c.limits[placing].Wait(turn)
	cancelTurn()
	if err != nil {
		return nil, &venue.RejectedError{Code: Throttled, Message: "too many orders wait for their turn"}
	}
	call, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	flight := &flight{id: placement.ID, guard: c.options.Guard, frozen: c.options.Frozen, breakOff: cancel}
	prepared, err := c.prepare(flight.traced(call), &placement.Request)
	if err != nil {
		return nil, &venue.RejectedError{Code: Unsigned, Message: err.Error()}
	}
	answer, err := c.depart(call, prepared, flight)
	left, refusal := flight.end()
	switch {
	case !left && refusal != nil:
		return nil, refusal
	case !left && err != nil:
		return nil, &venue.RejectedError{Code: NotSent, Message: err.Error()}
	case !left:
		return nil, &venue.RejectedError{Code: NotSent, Message: "what was answered came before it was sent"}
	case err == nil:
		return answer, nil
	}
	return nil, fmt.Errorf("%w: %w", venue.ErrUnknownOutcome, err)
}

// depart asks the guard with what is about to leave, and sends it.
func (c *Client) depart(ctx context.Context, request *http.Request, flight *flight) (*Answer, error) {
	if err := flight.clear(request); err != nil {
		return nil, err
	}
	if !c.gated {
		if err := flight.handOver(); err != nil {
			return nil, err
		}
	}
	return c.send(ctx, request)
}

// prepare signs a request.
func (c *Client) prepare(ctx context.Context, request *Request) (*http.Request, error) {
	leaving := &Leaving{
		Method: request.Method, Host: c.options.Host, Path: request.Path, Query: request.Query,
		Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"trading-operator"}},
		Body:   request.Body, Now: c.options.Now(),
	}
	if len(request.Body) > 0 {
		leaving.Header.Set("Content-Type", "application/json")
	}
	if request.ContentType != "" {
		leaving.Header.Set("Content-Type", request.ContentType)
	}
	if request.Sign != nil {
		if err := request.Sign(leaving); err != nil {
			return nil, err
		}
	}
	address := c.base + leaving.Path
	if len(leaving.Query) > 0 {
		address += "?" + leaving.Query.Encode()
	}
	var body io.Reader
	if len(leaving.Body) > 0 {
		body = bytes.NewReader(leaving.Body)
	}
	prepared, err := http.NewRequestWithContext(ctx, leaving.Method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%w: the request cannot be made", venue.ErrNoEndpoint)
	}
	prepared.Header = leaving.Header
	return prepared, nil
}

// send speaks to the venue and reads the whole answer. A transport is used rather
// than a client, because that one follows redirects and puts URLs into errors.
func (c *Client) send(ctx context.Context, request *http.Request) (*Answer, error) {
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", venue.ErrUnreachable, cause(ctx, err, c.options.Timeout))
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	body, err := io.ReadAll(io.LimitReader(response.Body, c.options.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("%w: the answer breaks off", venue.ErrUnreachable)
	}
	if int64(len(body)) > c.options.MaxBody {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", venue.ErrMalformed, c.options.MaxBody)
	}
	answer := &Answer{Status: response.StatusCode, Header: response.Header, Body: body, ReceivedAt: c.options.Now()}
	if answer.Status == http.StatusTooManyRequests {
		c.Pause(answer.RetryAfter())
	}
	return answer, nil
}

// Pause stops questions and placements for a while, as the venue has asked for.
// Cancellations go on.
func (c *Client) Pause(span time.Duration) {
	until := c.options.Now().Add(min(span, maxRetryAfter)).UnixNano()
	for {
		known := c.paused.Load()
		if known >= until || c.paused.CompareAndSwap(known, until) {
			return
		}
	}
}

// pause is how much of a pause is left.
func (c *Client) pause() time.Duration {
	if until := c.paused.Load(); until != 0 {
		return time.Unix(0, until).Sub(c.options.Now())
	}
	return 0
}

// RetryAfter is how long the venue wants to be left alone: at least a second and
// at most five minutes; ten seconds if it does not say.
func (a *Answer) RetryAfter() time.Duration {
	wait, header := defaultRetryAfter, a.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(a.ReceivedAt)
	}
	return min(max(wait, time.Second), maxRetryAfter)
}
