package exchange

import (
	"encoding/json"
	"net/http"
)

// Control is how a test changes the exchange: PUT one key, one product or all
// faults, DELETE a product by its id, GET the requests that were seen.
func (e *Exchange) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /keys", func(w http.ResponseWriter, r *http.Request) {
		change(e, w, r, func(key Key) error {
			if _, err := parsePublicKey(key.PublicKey); err != nil {
				return err
			}
			e.keys[key.Name] = key
			return nil
		})
	})
	mux.HandleFunc("PUT /products", func(w http.ResponseWriter, r *http.Request) {
		change(e, w, r, func(product Product) error {
			e.products[product.ID] = product
			return nil
		})
	})
	mux.HandleFunc("DELETE /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.products, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		change(e, w, r, func(faults []Fault) error {
			e.faults = faults
			return nil
		})
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		say(w, http.StatusOK, e.requests)
	})
	return mux
}

// change applies what a request's body holds.
func change[T any](e *Exchange, w http.ResponseWriter, r *http.Request, apply func(T) error) {
	var given T
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := apply(given); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
