// Package server is the agent's HTTP API: health for the kubelet, metrics for
// Prometheus and the agent's status for people.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Limits on what a client may hold open. Requests are tiny and answers small.
const (
	readTimeout     = 5 * time.Second
	writeTimeout    = 10 * time.Second
	idleTimeout     = 60 * time.Second
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 5 * time.Second
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

// StatusDocument is the answer of /api/v1/status.
type StatusDocument struct {
	Namespace string                 `json:"namespace"`
	Name      string                 `json:"name"`
	Trading   v1alpha1.TradingStatus `json:"trading"`
}

// Problem is an error document as RFC 9457 says.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// New is the agent's handler.
func New(namespace, name string, agent Agent) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newAgentCollector(namespace, name, agent),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(agent.Alive))
	mux.HandleFunc("GET /readyz", probe(agent.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "application/json", StatusDocument{Namespace: namespace, Name: name, Trading: agent.Status()})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, "this API is read only")
			return
		}
		writeProblem(w, http.StatusNotFound, "known are /healthz, /readyz, /metrics and /api/v1/status")
	})
	return mux
}

// Serve answers on the listener until the context ends, then lets the requests
// in hand finish.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, log logr.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	log.Info("the HTTP API listens", "address", listener.Addr().String())
	select {
	case err := <-stopped:
		return fmt.Errorf("serve the HTTP API: %w", err)
	case <-ctx.Done():
	}
	// The parent context is done; what is in hand still gets its time.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the HTTP API: %w", err)
	}
	return nil
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			writeProblem(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	}
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, "application/problem+json", Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, document any) {
	text, err := json.Marshal(document)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that has gone is its own affair.
	_, _ = w.Write(append(text, '\n'))
}
