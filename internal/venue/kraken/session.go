package kraken

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

const (
	host        = "api.kraken.com"
	publicPath  = "/0/public/"
	privatePath = "/0/private/"
	formType    = "application/x-www-form-urlencoded"
	// nonceTries is how often a question is asked whose nonce was too low.
	nonceTries = 4
)

// Questions count against one counter of the account, which falls by a third of a
// call a second in the lowest tier and holds 15; histories count double. Placements
// and cancellations count against one of the pair, which falls by one a second and
// holds 60, and a cancellation counts up to eight
// (https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits,
// https://docs.kraken.com/api/docs/guides/spot-ratelimits).
var limits = rest.Limits{
	Questions:     rest.Limit{PerSecond: 0.33, Burst: 12},
	Placements:    rest.Limit{PerSecond: 1, Burst: 20},
	Cancellations: rest.Limit{PerSecond: 5, Burst: 60},
}

// unpaced are the limits where a gateway stands in between, which paces requests
// itself: it sees those of all agents of an account.
var unpaced = rest.Limits{
	Questions:     rest.Limit{PerSecond: 1000, Burst: 1000},
	Placements:    rest.Limit{PerSecond: 1000, Burst: 1000},
	Cancellations: rest.Limit{PerSecond: 1000, Burst: 1000},
}

// session speaks to Kraken with the key of one account.
type session struct {
	client      *rest.Client
	credentials *Credentials
	nonces      *nonces
	// turn is held from the choice of a nonce until the request is written, so that
	// requests leave in the order of their nonces.
	turn chan struct{}
}

func newSession(options *Options) (*session, error) {
	if options.Credentials == nil {
		return nil, errors.New("an account at Kraken needs credentials")
	}
	now, paced := options.Now, limits
	if now == nil {
		now = time.Now
	}
	if options.Gateway != "" {
		paced = unpaced
	}
	client, err := rest.New(rest.Options{
		Host: host, Gateway: options.Gateway, Transport: options.Transport, Guard: options.Guard, Frozen: frozen,
		Now: now, Limits: paced,
	})
	if err != nil {
		return nil, err
	}
	return &session{client, options.Credentials, &nonces{now: now}, make(chan struct{}, 1)}, nil
}

// nonceFirst is what stands before a frozen body when it leaves.
var nonceFirst = regexp.MustCompile(`^nonce=[0-9]{1,20}&`)

// frozen is what was frozen of a placement that is about to leave.
func frozen(_ http.Header, body []byte) ([]byte, error) {
	first := nonceFirst.Find(body)
	if first == nil {
		return nil, errors.New("it does not begin with a nonce")
	}
	return body[len(first):], nil
}

// public asks what everybody may ask.
func (s *session) public(ctx context.Context, method string, query url.Values, into any) error {
	answer, err := s.client.Ask(ctx, rest.Request{Method: http.MethodGet, Path: publicPath + method, Query: query})
	if err != nil {
		return err
	}
	return s.read(answer, into)
}

// ask puts a question about the account.
func (s *session) ask(ctx context.Context, method string, form url.Values, into any) error {
	return s.repeated(ctx, s.client.Ask, method, form, into)
}

// act asks Kraken to do what does no harm if it is done twice.
func (s *session) act(ctx context.Context, method string, form url.Values, into any) error {
	return s.repeated(ctx, s.client.Cancel, method, form, into)
}

// repeated sends a request, and again if its nonce was too low: another program
// that uses the key, or another request of this one, has overtaken it.
func (s *session) repeated(ctx context.Context, send func(context.Context, rest.Request) (*rest.Answer, error), method string, form url.Values, into any) error {
	for try := 1; ; try++ {
		answer, err := s.inTurn(ctx, func(ctx context.Context, sign func(*rest.Leaving) error) (*rest.Answer, error) {
			return send(ctx, rest.Request{
				Method: http.MethodPost, Path: privatePath + method, ContentType: formType, Body: []byte(form.Encode()), Sign: sign,
			})
		})
		if err == nil {
			err = s.read(answer, into)
		}
		if said, ok := asSaid(err); !ok || !said.has(invalidNonce) || try == nonceTries {
			return err
		}
		if try > 1 {
			s.nonces.refused()
		}
	}
}

// place sends a placement, once.
func (s *session) place(ctx context.Context, request *venue.Request) (*rest.Answer, error) {
	return s.inTurn(ctx, func(ctx context.Context, sign func(*rest.Leaving) error) (*rest.Answer, error) {
		return s.client.Place(ctx, rest.Placement{
			Request: rest.Request{
				Method: http.MethodPost, Path: privatePath + "AddOrder", ContentType: formType, Body: request.Body, Sign: sign,
			},
			ID: request.Intent.ID, NotAfter: request.NotAfter,
		})
	})
}

// inTurn sends a private request. Its turn is over when it was written, or will
// not be.
func (s *session) inTurn(ctx context.Context, send func(context.Context, func(*rest.Leaving) error) (*rest.Answer, error)) (*rest.Answer, error) {
	var once sync.Once
	taken := false
	pass := func() {
		once.Do(func() {
			if taken {
				<-s.turn
			}
		})
	}
	defer pass()
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { pass() }})
	return send(traced, func(leaving *rest.Leaving) error {
		select {
		case s.turn <- struct{}{}:
			taken = true
		case <-time.After(turnPatience):
			return fmt.Errorf("%w: another request does not leave", venue.ErrUnreachable)
		case <-ctx.Done():
			return ctx.Err()
		}
		s.sign(leaving)
		return nil
	})
}

// turnPatience is how long a request waits for another one to leave.
const turnPatience = 5 * time.Second

// sign puts a nonce before the body and signs both.
func (s *session) sign(leaving *rest.Leaving) {
	nonce := s.nonces.next()
	body := []byte("nonce=" + nonce)
	if len(leaving.Body) > 0 {
		body = append(append(body, '&'), leaving.Body...)
	}
	leaving.Body = body
	leaving.Header.Set("Content-Type", formType)
	leaving.Header.Set("API-Key", s.credentials.key)
	leaving.Header.Set("API-Sign", s.credentials.sign(leaving.Path, nonce, body))
}

// read understands an answer to a question. Kraken refuses in answers with the
// status 200; others come from what stands before it.
func (s *session) read(answer *rest.Answer, into any) error {
	if answer.Status != http.StatusOK {
		return answer.Question("")
	}
	err := open(answer.Body, into)
	if said, ok := asSaid(err); ok && said.limited() {
		s.client.Pause(limitedFor)
	}
	return err
}
