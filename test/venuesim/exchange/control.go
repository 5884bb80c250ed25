package exchange

import (
	"encoding/json"
	"net/http"

	"github.com/shopspring/decimal"
)

// Quote is a product's price.
type Quote struct {
	Symbol string          `json:"symbol"`
	Price  decimal.Decimal `json:"price"`
}

// Holding is what an account has of a currency.
type Holding struct {
	Account  string          `json:"account"`
	Currency string          `json:"currency"`
	Total    decimal.Decimal `json:"total"`
}

// Execution trades a part of an order.
type Execution struct {
	Order    string          `json:"order"`
	Quantity decimal.Decimal `json:"quantity"`
	Price    decimal.Decimal `json:"price"`
}

// Ending ends an order.
type Ending struct {
	Order  string `json:"order"`
	Status Status `json:"status"`
}

// Passing is time that passes at once.
type Passing struct {
	By Duration `json:"by"`
}

// control is how a test changes the exchange and reads its book.
func (e *Exchange) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /keys", change(func(_ *http.Request, key Key) error { e.PutKey(key); return nil }))
	mux.HandleFunc("PUT /products", change(func(_ *http.Request, product Product) error { e.PutProduct(product); return nil }))
	mux.HandleFunc("DELETE /products/{symbol...}", func(w http.ResponseWriter, r *http.Request) {
		e.Delist(r.PathValue("symbol"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /prices", change(func(_ *http.Request, quote Quote) error { e.SetPrice(quote.Symbol, quote.Price); return nil }))
	mux.HandleFunc("PUT /balances", change(func(_ *http.Request, holding Holding) error {
		e.SetBalance(holding.Account, holding.Currency, holding.Total)
		return nil
	}))
	mux.HandleFunc("PUT /faults", change(func(_ *http.Request, faults []Fault) error { return e.SetFaults(faults...) }))
	mux.HandleFunc("PUT /behaviour", change(func(_ *http.Request, behaviour Behaviour) error { e.Behave(behaviour); return nil }))
	mux.HandleFunc("PUT /withheld", change(func(_ *http.Request, trades []string) error { e.Withhold(trades...); return nil }))
	mux.HandleFunc("POST /orders", change(func(r *http.Request, placement Placement) error {
		_, _, err := e.Place(r.Context(), placement)
		return err
	}))
	mux.HandleFunc("POST /fills", change(func(_ *http.Request, fill Execution) error { return e.Fill(fill.Order, fill.Quantity, fill.Price) }))
	mux.HandleFunc("POST /ends", change(func(_ *http.Request, ending Ending) error { return e.End(ending.Order, ending.Status) }))
	mux.HandleFunc("POST /time", change(func(_ *http.Request, passing Passing) error { e.Advance(passing.By.std()); return nil }))
	mux.HandleFunc("GET /book", func(w http.ResponseWriter, _ *http.Request) { Say(w, http.StatusOK, e.Book()) })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { Say(w, http.StatusOK, e.Requests()) })
	return mux
}

// change applies what a request's body holds.
func change[T any](apply func(*http.Request, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var given T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&given); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := apply(r, given); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// Say answers with JSON.
func Say(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may be gone
}
