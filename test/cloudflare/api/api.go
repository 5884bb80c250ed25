// Package api is the part of Cloudflare's API v4 by which DNS records are kept:
// zones and their records, tokens with permissions, and the API's own errors.
// What is recorded is published to a Publisher, as Cloudflare publishes it to its
// name servers.
package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
)

const (
	base = "/client/v4"
	// tokenLength is that of every API token.
	tokenLength = 40
	// maxBody bounds what a request may hold.
	maxBody = 1 << 16
)

// Token is an API token as Cloudflare knows it.
type Token struct {
	Value string `json:"value"`
	// ZoneRead and DNSEdit are permissions for every zone of the account.
	ZoneRead bool `json:"zoneRead"`
	DNSEdit  bool `json:"dnsEdit"`
}

// Record is a DNS record.
type Record struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Content string `json:"content"`
	TTL     int    `json:"ttl"`
}

// Request is one that was seen.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	// Code of the API's error; 0 for none.
	Code int `json:"code"`
}

// Limit answers that many requests with 429 before the next is heard.
type Limit struct {
	Requests   int `json:"requests"`
	RetryAfter int `json:"retryAfter"` // seconds
}

// Publisher is told of every TXT record of a name when they change.
type Publisher interface {
	Publish(ctx context.Context, name string, contents []string) error
}

// Account is the state behind the API.
type Account struct {
	publisher Publisher

	mu       sync.Mutex
	tokens   map[string]Token
	zones    map[string]string            // names by id
	records  map[string]map[string]Record // by zone and id
	limit    Limit
	requests []Request
}

// New is an account without tokens and zones.
func New(publisher Publisher) *Account {
	return &Account{publisher: publisher, tokens: map[string]Token{}, zones: map[string]string{}, records: map[string]map[string]Record{}}
}

// AddToken makes the token valid.
func (a *Account) AddToken(token Token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token.Value] = token
}

// AddZone adds a zone and returns its id.
func (a *Account) AddZone(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := newID()
	a.zones[id], a.records[id] = name, map[string]Record{}
	return id
}

// ServeHTTP answers as Cloudflare does.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	answer := a.answer(w, r)
	code := 0
	if len(answer.Errors) > 0 {
		code = answer.Errors[0].Code
	}
	a.requests = append(a.requests, Request{Method: r.Method, Path: r.URL.Path, Status: answer.status, Code: code})
	answer.write(w)
}

func (a *Account) answer(w http.ResponseWriter, r *http.Request) response {
	if a.limit.Requests > 0 {
		a.limit.Requests--
		return limited(w, a.limit.RetryAfter)
	}
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return missingHeaders
	}
	if len(value) != tokenLength {
		return malformedToken
	}
	token, ok := a.tokens[value]
	if !ok {
		return unknownToken
	}
	path, ok := strings.CutPrefix(r.URL.Path, base+"/zones")
	if !ok {
		return noRoute(r.URL.Path)
	}
	if path == "" && r.Method == http.MethodGet {
		return a.listZones(token, r.URL.Query())
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	zone, known := a.zones[parts[0]]
	if !known || len(parts) < 2 || len(parts) > 3 || parts[1] != "dns_records" {
		return noRoute(r.URL.Path)
	}
	if !token.DNSEdit {
		return notPermitted
	}
	switch {
	case len(parts) == 2 && r.Method == http.MethodGet:
		return a.listRecords(parts[0], r.URL.Query())
	case len(parts) == 2 && r.Method == http.MethodPost:
		return a.create(r, parts[0], zone)
	case len(parts) == 3 && r.Method == http.MethodDelete:
		return a.remove(r.Context(), parts[0], parts[2])
	default:
		return methodNotAllowed
	}
}

// newID is 32 hexadecimal digits, as every id of Cloudflare's.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
