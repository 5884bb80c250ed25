// Package server is how the world reaches an agent: health and metrics in the
// clear for the cluster alone, and the API over HTTPS for those with a key.
package server

import (
	"net/http"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// Paths of the API that this package serves itself.
const (
	ticketsPath = "/api/v1/tickets"
	streamPath  = "/api/v1/stream"
	apiPath     = "/api/v1/"
)

// Agent is what the server needs to know of the agent it speaks for.
type Agent interface {
	// Status is what the agent does now.
	Status() v1alpha1.TradingStatus
	// Alive fails when the agent's loop hangs and only a restart can help.
	Alive() error
	// Ready fails until the agent has reconciled with its venue for its epoch.
	Ready() error
}

// Options of a Server.
type Options struct {
	Namespace, Name string
	Agent           Agent
	Keyring         *keys.Keyring
	// API answers below /api/v1/. It guards each of its routes with keys.Require.
	API http.Handler
	// Stream answers GET /api/v1/stream, and asks the Keyring itself.
	Stream http.Handler
	// Collectors are shown on /metrics beside the server's own.
	Collectors []prometheus.Collector
	Log        logr.Logger
}

// Server has the handlers of one agent.
type Server struct {
	options  Options
	registry *prometheus.Registry
	requests *requestMetrics
	tls      *tlsMetrics
	rules    atomic.Pointer[Rules]
}

// New prepares the handlers.
func New(options Options) *Server {
	s := &Server{options: options, registry: prometheus.NewRegistry(), requests: newRequestMetrics(), tls: newTLSMetrics()}
	s.rules.Store(&Rules{})
	s.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newAgentCollector(options.Namespace, options.Name, options.Agent),
		keysCollector{options.Keyring},
		s.requests, s.tls,
	)
	s.registry.MustRegister(options.Collectors...)
	return s
}

// Inside is for the kubelet and Prometheus: /healthz, /readyz and /metrics, which
// need no key and tell nothing that one would protect.
func (s *Server) Inside() http.Handler {
	mux := http.NewServeMux()
	s.inside(mux)
	return s.guard(mux)
}

func (s *Server) inside(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", probe(s.options.Agent.Alive))
	mux.HandleFunc("GET /readyz", probe(s.options.Agent.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem.Write(w, http.StatusMethodNotAllowed, "these paths can only be read")
			return
		}
		problem.Write(w, http.StatusNotFound, "known here are /healthz, /readyz and /metrics; the API is below "+apiPath+" on the HTTPS port")
	})
}

// Outside is the API, for whoever has a key.
func (s *Server) Outside() http.Handler {
	mux := http.NewServeMux()
	s.outside(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, http.StatusNotFound, "the API is below "+apiPath+"; "+apiPath+"openapi.json describes it")
	})
	return s.guard(mux)
}

func (s *Server) outside(mux *http.ServeMux) {
	mux.Handle(apiPath, s.options.API)
	mux.Handle("GET "+streamPath, s.options.Stream)
	mux.Handle("POST "+ticketsPath, keys.Require(keys.Read, s.options.Keyring, http.HandlerFunc(s.issueTicket)))
}

// Everything is both, for an agent that listens on one loopback address only.
func (s *Server) Everything() http.Handler {
	mux := http.NewServeMux()
	s.inside(mux)
	s.outside(mux)
	return s.guard(mux)
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			problem.Write(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	}
}
