package coinbase

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// How Coinbase, or the way to it, can fail. Every error of the client is one of
// these; none holds a part of the credentials or of what the venue has written.
var (
	// ErrUnreachable means that no answer came, or one that says to try again.
	ErrUnreachable = venue.ErrUnreachable
	// ErrRefused means that Coinbase does not take the key or its signature.
	ErrRefused = venue.ErrRefused
	// ErrForbidden means that the key is good but not for this question.
	ErrForbidden = venue.ErrForbidden
	// ErrNotFound means that Coinbase has no such thing.
	ErrNotFound = venue.ErrNoSuchThing
	// ErrNoEndpoint means that the address does not know the question.
	ErrNoEndpoint = venue.ErrNoEndpoint
	// ErrMalformed means an answer that cannot be understood.
	ErrMalformed = venue.ErrMalformed
)

// RateLimitedError is an answer that asks to come back later.
type RateLimitedError = venue.RateLimitedError

const (
	// defaultRetryAfter is for an answer that does not say how long.
	defaultRetryAfter = 10 * time.Second
	// maxRetryAfter bounds how long a header can silence the checks.
	maxRetryAfter = 5 * time.Minute
	// clockTolerance is how far this machine's clock may be off before a refusal
	// is blamed on it: a token is good for two minutes.
	clockTolerance = 30 * time.Second
)

// venueCode is the shape of a code in an error's body. Nothing else of the body
// is repeated: a gateway may write into it whatever it was sent.
var venueCode = regexp.MustCompile(`^[A-Z][A-Z_]{1,39}$`)

// refusal says what an answer other than 200 means.
func refusal(response *http.Response, body []byte, now time.Time) error {
	var said struct {
		Code string `json:"error"`
	}
	spoken := json.Unmarshal(body, &said) == nil && venueCode.MatchString(said.Code)
	status := strconv.Itoa(response.StatusCode) + " " + http.StatusText(response.StatusCode)
	if spoken {
		status += " " + said.Code
	}
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w (%s)%s", ErrRefused, status, clockHint(response, now))
	case code == http.StatusTooManyRequests:
		return &RateLimitedError{After: retryAfter(response.Header.Get("Retry-After"), now)}
	case code == http.StatusForbidden && spoken:
		return fmt.Errorf("%w (%s)", ErrForbidden, status)
	case code == http.StatusForbidden, code == http.StatusRequestTimeout, code >= http.StatusInternalServerError:
		// A 403 in another form comes from the shield in front of the exchange.
		return fmt.Errorf("%w (%s)", ErrUnreachable, status)
	case code == http.StatusNotFound && said.Code == "NOT_FOUND":
		return fmt.Errorf("%w (%s)", ErrNotFound, status)
	case code == http.StatusBadRequest && said.Code == "INVALID_ARGUMENT":
		return fmt.Errorf("%w (%s)", ErrNotFound, status)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented:
		return fmt.Errorf("%w (%s)", ErrNoEndpoint, status)
	}
	return fmt.Errorf("%w (%s)", ErrMalformed, status)
}

// clockHint names the most common cause of a refusal that is not the key's.
func clockHint(response *http.Response, now time.Time) string {
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return ""
	}
	if off := now.Sub(theirs).Round(time.Second); off.Abs() > clockTolerance {
		return fmt.Sprintf("; this machine's clock is %s off the exchange's, which makes every signature invalid", off.Abs())
	}
	return ""
}

// retryAfter reads seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	wait := defaultRetryAfter
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, time.Second), maxRetryAfter)
}
