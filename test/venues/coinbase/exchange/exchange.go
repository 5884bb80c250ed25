// Package exchange is Coinbase Advanced Trade as seen over HTTP: keys with
// permissions, products, and the ways to fail. It knows public keys only.
package exchange

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hosts that the exchange acts for, by environment: a token names the host that
// it is for.
var Hosts = map[string]string{"Production": "api.coinbase.com", "Sandbox": "api-sandbox.coinbase.com"}

const apiPath = "/api/v3/brokerage"

// Addresses of a running exchange.
type Addresses struct {
	// API is what clients speak to, Control what tests change the exchange by.
	API     string `json:"api"`
	Control string `json:"control"`
}

// Key is an API key as the exchange knows it.
type Key struct {
	Name string `json:"name"`
	// Environment is Production or Sandbox.
	Environment string `json:"environment"`
	// PublicKey in PEM.
	PublicKey     string `json:"publicKey"`
	CanView       bool   `json:"canView"`
	CanTrade      bool   `json:"canTrade"`
	CanTransfer   bool   `json:"canTransfer"`
	PortfolioID   string `json:"portfolioId"`
	PortfolioType string `json:"portfolioType"`
}

// Product is a pair that is traded.
type Product struct {
	ID             string `json:"product_id"`
	BaseIncrement  string `json:"base_increment"`
	QuoteIncrement string `json:"quote_increment"`
	PriceIncrement string `json:"price_increment"`
	BaseMinSize    string `json:"base_min_size"`
	QuoteMinSize   string `json:"quote_min_size"`
	Status         string `json:"status"`

	IsDisabled      bool `json:"is_disabled"`
	TradingDisabled bool `json:"trading_disabled"`
	CancelOnly      bool `json:"cancel_only"`
	ViewOnly        bool `json:"view_only"`
}

// Ways to fail.
const (
	// FaultStatus answers Status, with Body or the exchange's own error.
	FaultStatus = "status"
	// FaultSlow waits for Delay before it answers as usual.
	FaultSlow = "slow"
	// FaultReset cuts the connection without an answer.
	FaultReset = "reset"
	// FaultTruncate breaks off in the middle of the answer.
	FaultTruncate = "truncate"
	// FaultBody answers 200 with Body. "{token}" in it stands for the request's
	// own token.
	FaultBody = "body"
)

// Fault is one way in which requests fail until it is taken away.
type Fault struct {
	// Path that requests must begin with, after /api/v3/brokerage; empty for all.
	Path string `json:"path"`
	Kind string `json:"kind"`
	// Status and RetryAfter, in seconds, of FaultStatus.
	Status     int `json:"status"`
	RetryAfter int `json:"retryAfter"`
	// DelayMilliseconds of FaultSlow.
	DelayMilliseconds int    `json:"delayMilliseconds"`
	Body              string `json:"body"`
}

// Request is one that was seen.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Key that signed it; empty if none did.
	Key    string `json:"key"`
	Status int    `json:"status"`
}

// Exchange is the state behind both addresses.
type Exchange struct {
	mu       sync.Mutex
	keys     map[string]Key
	products map[string]Product
	faults   []Fault
	requests []Request
	nonces   map[string]bool
}

// New is an exchange without keys and products.
func New() *Exchange {
	return &Exchange{keys: map[string]Key{}, products: map[string]Product{}, nonces: map[string]bool{}}
}

// ServeHTTP answers as Coinbase does.
func (e *Exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w}
	key, err := e.authenticate(r)
	defer func() { e.record(r, key.Name, answer.status) }()
	if e.fail(answer, r) {
		return
	}
	if err != nil {
		// The exchange gives no reason, and neither does its double; the header is
		// for whoever debugs a test.
		answer.Header().Set("X-Reason", err.Error())
		answer.Header().Set("Content-Type", "text/plain")
		answer.WriteHeader(http.StatusUnauthorized)
		write(answer, "Unauthorized\n")
		return
	}
	path, known := strings.CutPrefix(r.URL.Path, apiPath)
	product, isProduct := strings.CutPrefix(path, "/products/")
	switch {
	case r.Method != http.MethodGet || !known:
		http.NotFound(answer, r)
	case path == "/key_permissions":
		e.permissions(answer, key)
	case isProduct:
		e.product(answer, key, product)
	default:
		http.NotFound(answer, r)
	}
}

func (e *Exchange) permissions(w http.ResponseWriter, key Key) {
	say(w, http.StatusOK, map[string]any{
		"can_view": key.CanView, "can_trade": key.CanTrade, "can_transfer": key.CanTransfer,
		"portfolio_uuid": key.PortfolioID, "portfolio_type": key.PortfolioType,
	})
}

func (e *Exchange) product(w http.ResponseWriter, key Key, id string) {
	if !key.CanView {
		refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "User does not have the right permissions")
		return
	}
	e.mu.Lock()
	product, listed := e.products[id]
	e.mu.Unlock()
	if !listed {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "valid product_id is required")
		return
	}
	say(w, http.StatusOK, product)
}

// fail does what the first fault for the request's path says.
func (e *Exchange) fail(w http.ResponseWriter, r *http.Request) (failed bool) {
	fault, found := e.faultFor(strings.TrimPrefix(r.URL.Path, apiPath))
	if !found {
		return false
	}
	body := strings.ReplaceAll(fault.Body, "{token}", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	switch fault.Kind {
	case FaultStatus:
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
		}
		if body == "" {
			refuse(w, fault.Status, codeOf(fault.Status), http.StatusText(fault.Status))
			return true
		}
		w.WriteHeader(fault.Status)
		write(w, body)
	case FaultSlow:
		select {
		case <-time.After(time.Duration(fault.DelayMilliseconds) * time.Millisecond):
			return false
		case <-r.Context().Done():
		}
	case FaultReset:
		hangUp(w)
	case FaultTruncate:
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
		write(w, `{"can_view":true,`)
	case FaultBody:
		w.WriteHeader(http.StatusOK)
		write(w, body)
	}
	return true
}

func (e *Exchange) faultFor(path string) (Fault, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, fault := range e.faults {
		if strings.HasPrefix(path, fault.Path) {
			return fault, true
		}
	}
	return Fault{}, false
}

func codeOf(status int) string {
	switch status {
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	}
	return "INTERNAL"
}

// hangUp has the client see a reset connection rather than an end.
func hangUp(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the connection ends in good order
	}
	_ = connection.Close()
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	say(w, status, map[string]string{"error": code, "error_details": message, "message": message})
}

func say(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, fmt.Sprintf("encode the answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	write(w, string(text))
}

// write sends what it can; the other side may be gone by then.
func write(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text) //nolint:gosec // no browser speaks to this exchange
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter

	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets a connection be taken over.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (e *Exchange) record(r *http.Request, key string, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, Request{Method: r.Method, Path: r.URL.Path, Key: key, Status: status})
}
