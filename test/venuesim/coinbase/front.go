// Package coinbase is Coinbase Advanced Trade as seen over HTTP, on top of a
// simulated exchange. A repeated client order id returns the original order.
package coinbase

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

const apiPath = "/api/v3/brokerage"

// Hosts that the front acts for, by environment: a token names the host that it
// is for.
var Hosts = map[string]string{"Production": "api.coinbase.com", "Sandbox": "api-sandbox.coinbase.com"}

// Options of an exchange that behaves as Coinbase.
func Options() exchange.Options {
	return exchange.Options{
		Repeat:   exchange.RepeatReturns,
		TakerFee: decimal.New(6, -3), MakerFee: decimal.New(4, -3),
	}
}

// Front speaks Coinbase's protocol.
type Front struct {
	exchange *exchange.Exchange
	mux      *http.ServeMux
}

var _ exchange.Front = (*Front)(nil)

// New is a front of an exchange.
func New(behind *exchange.Exchange) *Front {
	f := &Front{exchange: behind, mux: http.NewServeMux()}
	type handler = func(http.ResponseWriter, *http.Request, exchange.Key)
	for pattern, route := range map[string]struct {
		right  func(exchange.Key) bool
		handle handler
	}{
		"POST " + apiPath + "/orders":                      {canTrade, f.place},
		"POST " + apiPath + "/orders/batch_cancel":         {canTrade, f.cancel},
		"GET " + apiPath + "/orders/historical/batch":      {canView, f.orders},
		"GET " + apiPath + "/orders/historical/fills":      {canView, f.fills},
		"GET " + apiPath + "/orders/historical/{order_id}": {canView, f.order},
		"GET " + apiPath + "/accounts":                     {canView, f.accounts},
		"GET " + apiPath + "/products/{product_id}":        {canView, f.product},
		"GET " + apiPath + "/key_permissions":              {nil, f.permissions},
	} {
		f.mux.HandleFunc(pattern, f.authenticated(route.right, route.handle))
	}
	return f
}

func canView(key exchange.Key) bool  { return key.CanView }
func canTrade(key exchange.Key) bool { return key.CanTrade }

// ServeHTTP answers as Coinbase does.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// Endpoint says what a request asks for.
func (f *Front) Endpoint(r *http.Request) exchange.Endpoint {
	path := strings.TrimPrefix(r.URL.Path, apiPath)
	switch {
	case path == "/orders":
		return exchange.EndpointPlace
	case path == "/orders/batch_cancel":
		return exchange.EndpointCancel
	case path == "/orders/historical/batch":
		return exchange.EndpointOrders
	case path == "/orders/historical/fills":
		return exchange.EndpointTrades
	case strings.HasPrefix(path, "/orders/historical/"):
		return exchange.EndpointOrder
	case path == "/accounts":
		return exchange.EndpointBalances
	case path == "/key_permissions":
		return exchange.EndpointAccount
	case strings.HasPrefix(path, "/products/"):
		return exchange.EndpointProduct
	}
	return exchange.EndpointOther
}

// Fail answers with a status in Coinbase's words.
func (f *Front) Fail(w http.ResponseWriter, status int) {
	refuse(w, status, codeOf(status), http.StatusText(status))
}

func codeOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	}
	return "INTERNAL"
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	exchange.Say(w, status, map[string]string{"error": code, "error_details": message, "message": message})
}

// authenticated checks who asks, and that the key may.
func (f *Front) authenticated(right func(exchange.Key) bool, handle func(http.ResponseWriter, *http.Request, exchange.Key)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, err := f.authenticate(r)
		if err != nil {
			// The exchange gives no reason, and neither does its double; the header is
			// for whoever debugs a test.
			w.Header().Set("X-Reason", err.Error())
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("Unauthorized\n")) // the client may be gone
			return
		}
		exchange.Signed(r.Context(), key.Name)
		if right != nil && !right(key) {
			refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "User does not have the right permissions")
			return
		}
		handle(w, r, key)
	}
}

func (f *Front) permissions(w http.ResponseWriter, _ *http.Request, key exchange.Key) {
	exchange.Say(w, http.StatusOK, map[string]any{
		"can_view": key.CanView, "can_trade": key.CanTrade, "can_transfer": key.CanTransfer,
		"portfolio_uuid": key.Account, "portfolio_type": key.AccountType,
	})
}

// States of a product that takes no orders, in the words of Coinbase's flags.
const (
	Disabled        = "is_disabled"
	TradingDisabled = "trading_disabled"
	CancelOnly      = "cancel_only"
	ViewOnly        = "view_only"
)

func (f *Front) product(w http.ResponseWriter, r *http.Request, _ exchange.Key) {
	product, listed := f.exchange.Product(r.PathValue("product_id"))
	if !listed {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "valid product_id is required")
		return
	}
	answer := map[string]any{
		"product_id": product.Symbol, "base_currency_id": product.Base, "quote_currency_id": product.Quote,
		"base_increment": product.Lot, "quote_increment": product.Tick, "price_increment": product.Tick,
		"base_min_size": product.MinQuantity, "quote_min_size": product.MinNotional, "status": "online",
		"product_type": "SPOT", "price": f.exchange.Price(product.Symbol),
	}
	for _, state := range []string{Disabled, TradingDisabled, CancelOnly, ViewOnly} {
		answer[state] = product.State == state
	}
	exchange.Say(w, http.StatusOK, answer)
}

// limit is a limit order's configuration.
type limit struct {
	BaseSize   decimal.Decimal `json:"base_size"`
	LimitPrice decimal.Decimal `json:"limit_price"`
	EndTime    *time.Time      `json:"end_time,omitempty"`
	PostOnly   *bool           `json:"post_only,omitempty"`
}

type configuration struct {
	GTC *limit `json:"limit_limit_gtc,omitempty"`
	GTD *limit `json:"limit_limit_gtd,omitempty"`
	IOC *limit `json:"sor_limit_ioc,omitempty"`
}

// words of Coinbase for the exchange's refusals.
var words = map[exchange.Reason]string{
	exchange.ReasonUnknownProduct: "INVALID_PRODUCT_ID",
	exchange.ReasonNotTraded:      "ORDER_ENTRY_DISABLED",
	exchange.ReasonPrice:          "INVALID_PRICE_PRECISION",
	exchange.ReasonQuantity:       "INVALID_SIZE_PRECISION",
	exchange.ReasonTooSmall:       "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
	exchange.ReasonFunds:          "INSUFFICIENT_FUND",
	exchange.ReasonMaintenance:    "ORDER_ENTRY_DISABLED",
	exchange.ReasonUnknownOrder:   "UNKNOWN_CANCEL_ORDER",
	exchange.ReasonFinal:          "INVALID_CANCEL_REQUEST",
}

func (f *Front) place(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	var asked struct {
		ClientOrderID string        `json:"client_order_id"`
		ProductID     string        `json:"product_id"`
		Side          string        `json:"side"`
		Configuration configuration `json:"order_configuration"`
	}
	if err := json.Unmarshal(exchange.Body(r.Context()), &asked); err != nil || asked.ClientOrderID == "" {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "the body is no order with a client_order_id")
		return
	}
	side, known := map[string]exchange.Side{"BUY": exchange.Buy, "SELL": exchange.Sell}[asked.Side]
	terms := cmp.Or(asked.Configuration.GTC, asked.Configuration.GTD, asked.Configuration.IOC)
	if !known || terms == nil {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "side and one limit configuration are required")
		return
	}
	placement := exchange.Placement{
		Account: key.Account, ClientID: asked.ClientOrderID, Symbol: asked.ProductID, Side: side,
		Quantity: terms.BaseSize, Limit: terms.LimitPrice, Immediate: terms == asked.Configuration.IOC,
	}
	if terms.EndTime != nil {
		placement.Expires = *terms.EndTime
	}
	placed, _, err := f.exchange.Place(r.Context(), placement)
	if refusal, refused := errors.AsType[*exchange.Refusal](err); refused {
		word := words[refusal.Reason]
		exchange.Say(w, http.StatusOK, map[string]any{
			"success": false, "failure_reason": word, "order_id": "",
			"error_response": map[string]string{
				"error": word, "message": err.Error(), "error_details": "", "new_order_failure_reason": word,
			},
			"order_configuration": asked.Configuration,
		})
		return
	}
	exchange.Say(w, http.StatusOK, map[string]any{
		"success": true, "failure_reason": "UNKNOWN_FAILURE_REASON", "order_id": placed.ID,
		"success_response": map[string]string{
			"order_id": placed.ID, "product_id": placed.Symbol, "side": sideWord(placed.Side), "client_order_id": placed.ClientID,
		},
		"order_configuration": configurationOf(&placed),
	})
}

func sideWord(side exchange.Side) string { return strings.ToUpper(string(side)) }

func configurationOf(o *exchange.Order) configuration {
	terms := &limit{BaseSize: o.Quantity, LimitPrice: o.Limit}
	switch {
	case o.Immediate:
		return configuration{IOC: terms}
	case !o.Expires.IsZero():
		terms.EndTime = &o.Expires
		return configuration{GTD: terms}
	}
	terms.PostOnly = new(bool)
	return configuration{GTC: terms}
}

func (f *Front) cancel(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	var asked struct {
		OrderIDs []string `json:"order_ids"`
	}
	if err := json.Unmarshal(exchange.Body(r.Context()), &asked); err != nil || len(asked.OrderIDs) == 0 {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "order_ids are required")
		return
	}
	type result struct {
		Success       bool   `json:"success"`
		FailureReason string `json:"failure_reason"`
		OrderID       string `json:"order_id"`
	}
	results := make([]result, 0, len(asked.OrderIDs))
	for _, id := range asked.OrderIDs {
		said := result{Success: true, FailureReason: "UNKNOWN_CANCEL_FAILURE_REASON", OrderID: id}
		_, err := f.exchange.Cancel(r.Context(), key.Account, id)
		if refusal, refused := errors.AsType[*exchange.Refusal](err); refused {
			said.Success, said.FailureReason = false, words[refusal.Reason]
		}
		results = append(results, said)
	}
	exchange.Say(w, http.StatusOK, map[string]any{"results": results})
}
