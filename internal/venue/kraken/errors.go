package kraken

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// Messages of Kraken, each a severity (E or W), a category and words: see
// https://docs.kraken.com/exchange/guides/general/errors and
// https://support.kraken.com/articles/360001491786-api-error-messages.
const (
	invalidNonce = "EAPI:Invalid nonce"
	unknownOrder = "EOrder:Unknown order"
	invalidOrder = "EOrder:Invalid order"
	unknownPair  = "EQuery:Unknown asset pair"
	unknownAsset = "EQuery:Unknown asset"
	permission   = "EGeneral:Permission denied"
	lockout      = "EGeneral:Temporary lockout"
	throttled    = "EService:Throttled"
)

// definitive are the beginnings of the refusals of a placement after which the
// order does not exist and never will: the request was refused before or by the
// matching engine for what it is, or for what the key or the account may not do.
//
// What is not here leaves the outcome open. Among it, on purpose: an invalid
// nonce, because the refused request may be the second copy of an accepted one;
// a client id in use, because then an order with our id is there; and the words
// of EService for an engine that does not answer in time, even "Deadline
// elapsed", because they do not say where the request was when time ran out.
var definitive = []string{
	"EAPI:Invalid key",
	"EAPI:Invalid signature",
	"EAPI:Rate limit exceeded",
	"EAPI:Feature disabled",
	"EAccount:Invalid permissions",
	"EBM:limit exceeded",
	"EGeneral:Invalid arguments",
	"EGeneral:Permission denied",
	"EGeneral:Temporary lockout",
	"EOrder:Cost minimum not met",
	"EOrder:Domain rate limit exceeded",
	"EOrder:Insufficient funds",
	"EOrder:Invalid price",
	"EOrder:Order minimum not met",
	"EOrder:Orders limit exceeded",
	"EOrder:Rate limit exceeded",
	"EOrder:Tick size check failed",
	"EOrder:Trading agreement required",
	"EQuery:Unknown asset pair",
	"EService:Market in cancel_only mode",
	"EService:Market in post_only mode",
	"ETrade:Invalid request",
}

// saidError is what Kraken's error list held, in words that may be repeated.
type saidError struct{ codes []string }

// Error joins what Kraken said.
func (e *saidError) Error() string { return "Kraken says " + strings.Join(e.codes, ", ") }

// has reports whether one of the messages begins with a code.
func (e *saidError) has(code string) bool {
	return slices.ContainsFunc(e.codes, func(said string) bool { return begins(said, code) })
}

// begins reports whether a message is a code, or that code with more about it.
func begins(said, code string) bool {
	rest, ok := strings.CutPrefix(said, code)
	return ok && (rest == "" || rest[0] == ':')
}

// unknown reports whether Kraken has no such order. It says so in two ways, one
// for orders that may not be looked at and one for ids that never were.
func (e *saidError) unknown() bool { return e.has(unknownOrder) || e.has(invalidOrder) }

// clientID finds messages about the client id, in whatever words: Kraken does not
// document those of an id that an open order has.
var clientID = regexp.MustCompile(`(?i)cl_?ord|client|duplicate`)

// refusesForGood reports whether every message is a definitive refusal.
func (e *saidError) refusesForGood() bool {
	return len(e.codes) > 0 && !slices.ContainsFunc(e.codes, func(said string) bool {
		return clientID.MatchString(said) || !slices.ContainsFunc(definitive, func(code string) bool { return begins(said, code) })
	})
}

// message is the shape of Kraken's messages. Others are not repeated: a gateway
// may write into an answer whatever it was sent.
var message = regexp.MustCompile(`^E[A-Z][A-Za-z]{1,15}:[A-Za-z][A-Za-z0-9 _:]{0,79}$`)

// unspoken stands for a message that is not repeated.
const unspoken = "EUnknown:a message of another form"

// saidErrors reads an error list; nil if it holds no more than warnings.
func saidErrors(list []string) *saidError {
	var codes []string
	for _, said := range list {
		switch {
		case strings.HasPrefix(said, "W"):
		case message.MatchString(said):
			codes = append(codes, said)
		default:
			codes = append(codes, unspoken)
		}
	}
	if codes == nil {
		return nil
	}
	return &saidError{codes: codes}
}

// limitedFor is how long Kraken's call counter takes to fall by a few calls, at a
// third of a call a second (https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits).
const limitedFor = 15 * time.Second

// limited reports whether Kraken asks to be left alone.
func (e *saidError) limited() bool {
	return e.has("EAPI:Rate limit exceeded") || e.has(throttled) || e.has(lockout) || e.has("EGeneral:Too many requests")
}

func asSaid(err error) (*saidError, bool) { return errors.AsType[*saidError](err) }

// question says what a refusal means to one who asks about an account or product.
func (e *saidError) question() error {
	switch {
	case e.limited():
		return &venue.RateLimitedError{After: limitedFor}
	case e.has("EAPI:Invalid key"), e.has("EAPI:Invalid signature"):
		return fmt.Errorf("%w (%w)", venue.ErrRefused, e)
	case e.has(permission), e.has("EAccount:Invalid permissions"):
		return fmt.Errorf("%w (%w)", venue.ErrForbidden, e)
	case e.has(unknownPair), e.has(unknownAsset):
		return fmt.Errorf("%w (%w)", venue.ErrNoSuchThing, e)
	case e.has("EGeneral:Unknown method"):
		return fmt.Errorf("%w (%w)", venue.ErrNoEndpoint, e)
	case e.has(invalidNonce):
		return fmt.Errorf("%w: another program uses the key, or this machine's clock was set back (%w)", venue.ErrUnreachable, e)
	}
	// What is left are faults of the service, and words that it may get.
	return fmt.Errorf("%w (%w)", venue.ErrUnreachable, e)
}
