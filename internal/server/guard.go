package server

import (
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/problem"
)

// maxBody is far more than any request of the API has.
const maxBody = 64 << 10

// Rules are what the manifest says of the API. They may change at any time.
type Rules struct {
	// Host is spec.endpoint.host; empty if there is none.
	Host string
	// Origins whose pages may use the API from a browser.
	Origins []string
	// QueryToken is spec.api.queryToken.
	QueryToken v1alpha1.QueryTokenPolicy
}

// RulesOf takes the rules out of a manifest.
func RulesOf(agent *v1alpha1.TradingAgent) Rules {
	var rules Rules
	if endpoint := agent.Spec.Endpoint; endpoint != nil {
		rules.Host = endpoint.Host
		rules.Origins = append(rules.Origins, "https://"+endpoint.Host)
	}
	if api := agent.Spec.API; api != nil {
		rules.QueryToken = api.QueryToken
		rules.Origins = append(rules.Origins, api.AllowedOrigins...)
	}
	return rules
}

// SetRules puts rules in force.
func (s *Server) SetRules(rules Rules) {
	s.rules.Store(&rules)
	s.options.Keyring.SetQueryToken(rules.QueryToken)
}

// Origins whose pages may use the API from a browser.
func (s *Server) Origins() []string { return s.rules.Load().Origins }

// guard is what every request passes first.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		if r.TLS != nil && s.rules.Load().Host != "" {
			// A laptop's localhost is left alone.
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if keys.InTheClear(r) {
			s.redirect(w, r)
			return
		}
		if s.shareAcrossOrigins(w, r) {
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		answer := &measured{ResponseWriter: w}
		began := time.Now()
		defer func() {
			if fault := recover(); fault != nil {
				s.survive(answer, fault)
			}
			s.requests.count(r, answer.status, time.Since(began))
		}()
		next.ServeHTTP(answer, r)
	})
}

// survive answers for a handler that panicked. What it panicked with may hold
// anything and is not logged; where it did is.
func (s *Server) survive(answer *measured, fault any) {
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(fault) //nolint:forbidigo // It is how a handler tells net/http to drop the connection.
	}
	s.options.Log.Error(nil, "a request made the API panic", "stack", string(debug.Stack()))
	if answer.status == 0 {
		problem.Write(answer, http.StatusInternalServerError, "the agent could not answer; its log says where")
	}
}

// redirect sends a client that came in the clear to HTTPS, whichever ingress it
// came by. What it asked for is not done, and a token does not go out again.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	host := s.rules.Load().Host
	if host == "" {
		host = r.Host
	}
	query := r.URL.Query()
	query.Del("token")
	target := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	w.Header().Set("Location", target.String())
	problem.Write(w, http.StatusPermanentRedirect, "this API is served over HTTPS only")
}

// shareAcrossOrigins tells browsers which pages may read the answers. It reports
// whether the request was such a question only.
func (s *Server) shareAcrossOrigins(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	allowed := slices.Contains(s.Origins(), origin)
	if allowed {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if allowed {
		header.Set("Access-Control-Allow-Methods", "GET, POST")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key")
		header.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// measured remembers the status of an answer.
type measured struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (m *measured) WriteHeader(status int) {
	if m.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		m.status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (m *measured) Write(text []byte) (int, error) {
	if m.status == 0 {
		m.status = http.StatusOK
	}
	return m.ResponseWriter.Write(text)
}

// Unwrap lets http.ResponseController reach the connection.
func (m *measured) Unwrap() http.ResponseWriter { return m.ResponseWriter }
