package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// Control is how a test changes the account: PUT /tokens replaces its tokens,
// PUT /limit refuses requests; GET /requests and GET /records show what there was
// and is, DELETE /requests forgets what there was.
func (a *Account) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /tokens", func(w http.ResponseWriter, r *http.Request) {
		change(a, w, r, func(tokens []Token) {
			clear(a.tokens)
			for _, token := range tokens {
				a.tokens[token.Value] = token
			}
		})
	})
	mux.HandleFunc("PUT /limit", func(w http.ResponseWriter, r *http.Request) {
		change(a, w, r, func(limit Limit) { a.limit = limit })
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		show(w, a.requests)
	})
	mux.HandleFunc("DELETE /requests", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.requests = nil
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		records := []Record{}
		for _, zone := range a.records {
			records = slices.AppendSeq(records, maps.Values(zone))
		}
		show(w, records)
	})
	return mux
}

func show(w http.ResponseWriter, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // the client is gone if this fails
}

// change applies what a request's body holds.
func change[T any](a *Account, w http.ResponseWriter, r *http.Request, apply func(T)) {
	var given T
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	apply(given)
	w.WriteHeader(http.StatusNoContent)
}
