package keys

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// Authenticator finds out who sends a request.
type Authenticator interface {
	// Authenticate fails with ErrUnauthenticated, or with a *LimitedError for a
	// client that has failed too often. No error repeats what the client sent.
	Authenticate(r *http.Request) (Identity, error)
}

// Auditor keeps the record of what was done with keys that can do more than read.
// An Authenticator that is not an Auditor too lets nobody past Require(Trade, …).
type Auditor interface {
	// Audit commits the record, or fails; then the request is not carried out.
	Audit(ctx context.Context, use Use) error
}

// Outcome of a use.
type Outcome string

const (
	// Begun is recorded before a request is carried out.
	Begun Outcome = "Begun"
	// Done is recorded when it has been answered.
	Done Outcome = "Done"
	// Forbidden is a request for which the key's scope does not suffice.
	Forbidden Outcome = "Forbidden"
)

// Use is one use of the scope trade or admin.
type Use struct {
	// Request tells which Done belongs to which Begun.
	Request uuid.UUID
	KeyID   string
	KeyName string
	// Scope that the request asked for; the key's own includes it unless the
	// outcome is Forbidden.
	Scope  Scope
	Method string
	// Path without the query.
	Path    string
	Outcome Outcome
	// Status of the answer; zero for Begun.
	Status int
}

type contextKey struct{}

// NewContext carries an identity to the handlers.
func NewContext(ctx context.Context, identity Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, identity)
}

// FromContext is the identity that Require found.
func FromContext(ctx context.Context) (Identity, bool) {
	identity, found := ctx.Value(contextKey{}).(Identity)
	return identity, found
}

// auditTimeout bounds how long a request waits for its record. A ledger that takes
// longer counts as down.
const auditTimeout = 3 * time.Second

// Require lets a request through to next when its sender has the scope, and
// answers with a problem document otherwise: 401, 403 which names the scope, 429, or
// 503 until the agent has read its keys.
// What needs more than Read is carried out only once the ledger has a record of
// it; 503 when it cannot have.
func Require(scope Scope, auth Authenticator, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := auth.Authenticate(r)
		if err != nil {
			Refuse(w, r, err)
			return
		}
		// What follows needs no key, and cannot tell one to anybody.
		r.Header.Del("Authorization")
		request := r.WithContext(NewContext(r.Context(), identity))
		if scope == Read && identity.Allows(Read) {
			next.ServeHTTP(w, request)
			return
		}
		audited(scope, auth, identity, next, w, request)
	})
}

// Refuse answers a request that Authenticate refused with err.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if limited, ok := errors.AsType[*LimitedError](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(limited.Seconds()))
		status := http.StatusTooManyRequests
		if limited.Starting {
			status = http.StatusServiceUnavailable
		}
		problem.Write(w, status, limited.Error())
		return
	}
	challenge := `Bearer realm="trading-agent"`
	if r.Header.Get("Authorization") != "" {
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	problem.Write(w, http.StatusUnauthorized, ErrUnauthenticated.Error())
}

func audited(scope Scope, auth Authenticator, identity Identity, next http.Handler, w http.ResponseWriter, r *http.Request) {
	use := Use{
		Request: uuid.New(), KeyID: identity.KeyID, KeyName: identity.Name, Scope: scope,
		Method: r.Method, Path: pathOf(r), Outcome: Begun,
	}
	auditor, _ := auth.(Auditor)
	if !identity.Allows(scope) {
		use.Outcome, use.Status = Forbidden, http.StatusForbidden
		if auditor != nil {
			// Nothing is carried out, so nothing depends on the record.
			_ = record(r.Context(), auditor, use)
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="trading-agent", error="insufficient_scope", scope="`+string(scope)+`"`)
		problem.Write(w, http.StatusForbidden, "this needs a key with the scope "+string(scope)+"; the key that was sent has "+string(identity.Scope))
		return
	}
	if auditor == nil || record(r.Context(), auditor, use) != nil {
		w.Header().Set("Retry-After", "5")
		problem.Write(w, http.StatusServiceUnavailable, "the ledger cannot record this request, so it was not carried out; try again when status.trading no longer says LedgerUnavailable")
		return
	}
	answer := &statusRecorder{ResponseWriter: w, status: http.StatusInternalServerError}
	// The client may be gone; what it asked for has been done all the same.
	ctx := context.WithoutCancel(r.Context())
	defer func() {
		use.Outcome, use.Status = Done, answer.status
		// Begun is on record, so a failure here loses nothing but the answer's status.
		_ = record(ctx, auditor, use)
	}()
	next.ServeHTTP(answer, r)
	answer.end()
}

func record(ctx context.Context, auditor Auditor, use Use) error {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	return auditor.Audit(ctx, use)
}

// statusRecorder remembers the status of an answer. Until something is written it
// is that of a handler that panics.
type statusRecorder struct {
	http.ResponseWriter

	status  int
	written bool
}

// WriteHeader implements http.ResponseWriter.
func (s *statusRecorder) WriteHeader(status int) {
	if !s.written && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		s.status, s.written = status, true
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *statusRecorder) Write(text []byte) (int, error) {
	s.end()
	return s.ResponseWriter.Write(text)
}

// end is what net/http makes of a handler that returns without a status.
func (s *statusRecorder) end() {
	if !s.written {
		s.status, s.written = http.StatusOK, true
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
