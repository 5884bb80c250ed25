package rest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// defaultRetryAfter is for an answer that does not say how long.
	defaultRetryAfter = 10 * time.Second
	// maxRetryAfter bounds how long a header can silence the client.
	maxRetryAfter = 5 * time.Minute
	// clockTolerance is how far this machine's clock may be off before a refusal
	// is blamed on it.
	clockTolerance = 5 * time.Second
)

// ParseGateway reads the address of a gateway. It must be https, or http to a
// loopback address, and hold neither user nor query.
func ParseGateway(address string) (*url.URL, error) {
	gateway, err := url.Parse(address)
	if err != nil || gateway.Host == "" || gateway.RawQuery != "" || gateway.Fragment != "" || gateway.User != nil {
		return nil, errors.New("the URL of a venue's gateway must be like https://gateway.example, without user, query and fragment")
	}
	if gateway.Scheme != "https" && (gateway.Scheme != "http" || !isLoopback(gateway.Hostname())) {
		return nil, fmt.Errorf("the URL of a venue's gateway, %s, must begin with https://, because requests are signed; plain http is for loopback addresses only", gateway)
	}
	return gateway, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// cause is why no answer came, in words that stay the same from one try to the
// next: a port or a request's number would make every status differ.
func cause(ctx context.Context, err error, timeout time.Duration) string {
	var network *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("no answer within %s", timeout)
	case errors.Is(ctx.Err(), context.Canceled):
		return "the request was broken off"
	case errors.As(err, &name):
		return "its name " + name.Name + " cannot be resolved"
	case errors.As(err, &network):
		return network.Op + ": " + rootOf(network.Err)
	case errors.As(err, &certificate):
		return certificate.Error()
	}
	// Other errors may repeat what the other side has written.
	return "the connection broke"
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func rootOf(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// codeShape is what a venue's code may look like in an error. Nothing else of an
// answer is repeated: a gateway may write into it whatever it was sent.
var codeShape = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9_:. ]{1,63}$|^[0-9]{3,12}$`)

// Code is the venue's code if it looks like one, and empty if not.
func Code(said string) string {
	if codeShape.MatchString(said) {
		return said
	}
	return ""
}

// Question is what an answer other than 200 means for a question; code is the
// venue's own word for it, if it has one. Where a venue's codes say more than its
// statuses, the adapter reads them first.
func (a *Answer) Question(code string) error {
	status := strconv.Itoa(a.Status) + " " + http.StatusText(a.Status)
	if code = Code(code); code != "" {
		status += " " + code
	}
	switch {
	case a.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w (%s)%s", venue.ErrRefused, status, a.clockHint())
	case a.Status == http.StatusTooManyRequests:
		return &venue.RateLimitedError{After: a.RetryAfter()}
	case a.Status == http.StatusForbidden && code != "":
		return fmt.Errorf("%w (%s)", venue.ErrForbidden, status)
	case a.Status == http.StatusForbidden, a.Status == http.StatusRequestTimeout, a.Status >= http.StatusInternalServerError:
		// A 403 in another form comes from the shield in front of the venue.
		return fmt.Errorf("%w (%s)", venue.ErrUnreachable, status)
	case a.Status == http.StatusNotFound && code != "":
		return fmt.Errorf("%w (%s)", venue.ErrNoSuchThing, status)
	case a.Status == http.StatusNotFound, a.Status == http.StatusMethodNotAllowed, a.Status == http.StatusNotImplemented:
		return fmt.Errorf("%w (%s)", venue.ErrNoEndpoint, status)
	}
	return fmt.Errorf("%w (%s)", venue.ErrMalformed, status)
}

// clockHint names the most common cause of a refusal that is not the key's.
func (a *Answer) clockHint() string {
	theirs, err := http.ParseTime(a.Header.Get("Date"))
	if err != nil {
		return ""
	}
	if off := a.ReceivedAt.Sub(theirs).Round(time.Second); off.Abs() > clockTolerance {
		return fmt.Sprintf("; this machine's clock is %s off the venue's, which can make every signature invalid", off.Abs())
	}
	return ""
}

// Outcome is what an answer that does not accept a placement means. Only a code
// that the venue is known to use for a definitive no makes it a
// *venue.RejectedError, with the sentence that the table has for it.
func (a *Answer) Outcome(code string, definitive map[string]string) error {
	if sentence, known := definitive[code]; known {
		return &venue.RejectedError{Code: code, Message: sentence}
	}
	said := strconv.Itoa(a.Status)
	if code = Code(code); code != "" {
		said += " " + code
	}
	return fmt.Errorf("%w: it is not known what its answer %s means", venue.ErrUnknownOutcome, said)
}

// Decode reads an answer's JSON. Fields that are not known are passed over.
func (a *Answer) Decode(into any) error {
	if json.Unmarshal(a.Body, into) != nil {
		return fmt.Errorf("%w: it is not the JSON that was asked for", venue.ErrMalformed)
	}
	return nil
}
