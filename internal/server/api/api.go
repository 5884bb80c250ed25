// Package api answers for one agent over HTTP: what it is, holds, has done and
// sees, and what a person may ask of it: to close a position, and to halt.
package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-logr/logr"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// Agent is the agent that the API speaks for. Its methods may be called from any
// goroutine.
type Agent interface {
	// Status is what the agent does now, also while it waits to begin.
	Status() v1alpha1.TradingStatus
	// Snapshot is the trader's own view; nil until there is a trader.
	Snapshot() *trader.Status
	// Desk is what the manifests come to; nil until they are known.
	Desk() *Desk
	// Records is what the agent has done; nil until its ledger is known.
	Records() ledger.Reader
	// Pulse is the market as the agent sees it.
	Pulse() *indicator.Board
	// Close asks for the position of a pair to be closed; see trader.Shell.Close.
	Close(ctx context.Context, request ledger.Request) (trader.Closed, error)
}

// Desk is what the manifests of an agent come to.
type Desk struct {
	// Generation of the agent's spec.
	Generation int64
	// Values in force, each with its source.
	Values []v1alpha1.EffectiveValue
	// Instruments of the pairs that the agent trades.
	Instruments []market.Instrument
}

// instrument finds a pair under any usual spelling.
func (d *Desk) instrument(pair string) (market.Instrument, bool) {
	wanted, err := v1alpha1.NormalizePair(pair)
	if d == nil || err != nil {
		return market.Instrument{}, false
	}
	for _, instrument := range d.Instruments {
		if instrument.Base+instrument.Quote == wanted {
			return instrument, true
		}
	}
	return market.Instrument{}, false
}

// Options of the API.
type Options struct {
	// Namespace and Name of the TradingAgent.
	Namespace, Name string
	Agent           Agent
	// Auth finds out who asks.
	Auth keys.Authenticator
	// Halter creates halts; nil for an agent without an API server.
	Halter Halter
	Log    logr.Logger
}

// handlers answer the routes.
type handlers struct {
	Options
}

// New is the handler of everything below /api/v1/ but the stream and its tickets.
// Each route is guarded by the scope that it names in the document.
func New(options Options) http.Handler {
	mux := http.NewServeMux()
	document := register(mux, options)
	text := encoded(document)
	mux.Handle("GET "+openapi.Path, keys.Require(keys.Read, options.Auth, bodyless(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.Query()) > 0 {
			problem.Write(w, http.StatusUnprocessableEntity, "this path knows no parameters")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	})))
	methods := methodsByPath(document)
	for path, allowed := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			problem.Write(w, http.StatusMethodNotAllowed, "this path knows "+strings.Join(allowed, ", "))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, http.StatusNotFound, "there is no such path; "+openapi.Path+" describes those that there are")
	})
	return mux
}

// Document is the description of the whole API as JSON: the same bytes from the
// same code.
func Document() []byte {
	return encoded(register(http.NewServeMux(), Options{}))
}

func encoded(document *huma.OpenAPI) []byte {
	var text bytes.Buffer
	// A document made of our own types always has a text; a test reads it.
	if err := huma.DefaultJSONFormat.Marshal(&text, document); err != nil {
		return fmt.Appendf(nil, "{%q:%q}", "error", err.Error())
	}
	return text.Bytes()
}

// register puts the routes onto the mux and describes them.
func register(mux *http.ServeMux, options Options) *huma.OpenAPI {
	routes := humago.New(mux, openapi.Config())
	h := &handlers{options}
	routes.UseMiddleware(h.guard)
	h.registerState(routes)
	h.registerRecords(routes)
	h.registerPulse(routes)
	h.registerClose(routes)
	h.registerHalt(routes)
	document := routes.OpenAPI()
	openapi.AddOthers(document)
	openapi.Finish(document)
	return document
}

// guard lets nobody past who lacks the scope of the route, and nothing but an
// empty body: no route takes one, and what is ignored could have been meant, such
// as a quantity.
func (h *handlers) guard(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	operation := ctx.Operation()
	scope, known := openapi.ScopeOf(operation)
	if !known {
		problem.Write(w, http.StatusForbidden, "this route names no scope, so nobody may use it")
		return
	}
	keys.Require(scope, h.Auth, bodyless(func(w http.ResponseWriter, r *http.Request) {
		next(humago.NewContext(operation, r, w))
	})).ServeHTTP(w, r)
}

func bodyless(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if hasBody(r) {
			problem.Write(w, http.StatusUnprocessableEntity, "this route takes no body; leave it empty")
			return
		}
		next(w, r)
	}
}

func hasBody(r *http.Request) bool {
	if r.Body == nil || r.ContentLength == 0 {
		return false
	}
	if r.ContentLength > 0 {
		return true
	}
	n, err := r.Body.Read(make([]byte, 1))
	return n > 0 || !errors.Is(err, io.EOF)
}

// methodsByPath is what each path of the document can be asked.
func methodsByPath(document *huma.OpenAPI) map[string][]string {
	methods := map[string][]string{openapi.Path: {http.MethodGet, http.MethodHead}}
	for path, item := range document.Paths {
		if item.Get != nil {
			methods[path] = append(methods[path], http.MethodGet, http.MethodHead)
		}
		if item.Post != nil {
			methods[path] = append(methods[path], http.MethodPost)
		}
		slices.Sort(methods[path])
		methods[path] = slices.Compact(methods[path])
	}
	return methods
}
