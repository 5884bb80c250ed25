package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrUnavailable means that the database cannot be reached or does not
	// answer in time.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrOutcomeUnknown means that the reply to a commit was lost and the
	// database could not be asked again.
	ErrOutcomeUnknown = errors.New("the outcome of the commit is unknown")
)

// failure is an error whose text and whose chain hold no secret. The driver's
// own errors carry the whole configuration, password included, so they are not
// passed on.
type failure struct {
	text   string
	causes []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.causes }

// unavailableCodes are the SQLSTATEs, or their classes, that pass with time or
// with an administrator's help: connection, resources, shutdown, time-outs, a
// standby that is not writable, input and output, authorisation, no database.
var unavailableCodes = []string{"08", "28", "3D", "53", "57P", "57014", "55P03", "25006", "58"}

// unavailable says whether an error comes from not reaching the database or not
// being answered in time.
func unavailable(err error) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, code := range unavailableCodes {
			if strings.HasPrefix(answer.Code, code) {
				return true
			}
		}
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[interface {
		error
		SafeToRetry() bool
	}](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, context.DeadlineExceeded)
}

// conflicting says whether a transaction lost against another and may be tried
// again.
func conflicting(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (answer.Code == "40001" || answer.Code == "40P01")
}

// hider removes a connection's secrets from errors.
type hider struct{ secrets []string }

func newHider(passwords ...string) hider {
	var h hider
	for _, password := range passwords {
		if password == "" {
			continue
		}
		h.secrets = append(h.secrets, password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:])
	}
	return h
}

func (h hider) text(s string) string {
	for _, secret := range h.secrets {
		s = strings.ReplaceAll(s, secret, "xxxxx")
	}
	return s
}

// clean returns the error without secrets: as ErrUnavailable if the database
// could not be reached, else as it is.
func (h hider) clean(err error) error {
	if err == nil {
		return nil
	}
	var causes []error
	text := h.text(err.Error())
	if unavailable(err) {
		causes = append(causes, ErrUnavailable)
		text = fmt.Sprintf("%v: %s", ErrUnavailable, oneLine(text))
	} else if text == err.Error() {
		return err
	}
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		causes = append(causes, answer)
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			causes = append(causes, known)
		}
	}
	return &failure{text: text, causes: causes}
}

// outcomeUnknown is a commit whose fate could not be learnt.
func (h hider) outcomeUnknown(err error) error {
	return &failure{
		text:   fmt.Sprintf("%v: ask again with the same key: %s", ErrOutcomeUnknown, oneLine(h.text(err.Error()))),
		causes: []error{ErrOutcomeUnknown, ErrUnavailable},
	}
}

// answered says whether a failed commit was definitively refused. A fatal answer
// tells of the connection's end, which may come after the commit.
func answered(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answer.SeverityUnlocalized == "ERROR"
}

// fleeting is the near end of a connection, whose port is another each time.
var fleeting = regexp.MustCompile(`\b(tcp|udp) \S+->`)

// oneLine folds the driver's account of several attempts, and says the same for
// the same fault each time: what is copied into a status must not flutter.
func oneLine(text string) string {
	return fleeting.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1 ")
}
