// Package alpaca is Alpaca's Trading API as seen over HTTP, on top of a simulated
// exchange. A client order id that was used before is refused for ever.
package alpaca

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// Hosts that the front acts for, by environment. Keys of one are not known to the
// other.
var Hosts = map[string]string{"Production": "api.alpaca.markets", "Sandbox": "paper-api.alpaca.markets"}

// Options of an exchange that behaves as Alpaca: fees are taken from what a trade
// brings in, at the rates of the lowest volume
// (https://docs.alpaca.markets/docs/crypto-fees).
func Options() exchange.Options {
	return exchange.Options{
		Repeat:   exchange.RepeatRefused,
		TakerFee: decimal.New(25, -4), MakerFee: decimal.New(15, -4), FeeOnReceived: true,
	}
}

// Front speaks Alpaca's protocol.
type Front struct {
	exchange *exchange.Exchange
	mux      *http.ServeMux
}

var _ exchange.Front = (*Front)(nil)

// New is a front of an exchange.
func New(behind *exchange.Exchange) *Front {
	f := &Front{exchange: behind, mux: http.NewServeMux()}
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, exchange.Key){
		"POST /v2/orders":                   f.place,
		"GET /v2/orders":                    f.orders,
		"DELETE /v2/orders":                 f.cancelAll,
		"GET /v2/orders/{order_id}":         f.order,
		"DELETE /v2/orders/{order_id}":      f.cancel,
		"GET /v2/orders:by_client_order_id": f.orderByClientID,
		"GET /v2/account":                   f.account,
		"GET /v2/account/activities/FILL":   f.fills,
		"GET /v2/positions":                 f.positions,
		"GET /v2/assets/{symbol}":           f.asset,
	} {
		f.mux.HandleFunc(pattern, f.authenticated(handle))
	}
	return f
}

// ServeHTTP answers as Alpaca does.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// Endpoint says what a request asks for.
func (f *Front) Endpoint(r *http.Request) exchange.Endpoint {
	path := strings.TrimPrefix(r.URL.Path, "/v2")
	switch {
	case path == "/orders" && r.Method == http.MethodPost:
		return exchange.EndpointPlace
	case path == "/orders" && r.Method == http.MethodDelete:
		return exchange.EndpointCancelAll
	case path == "/orders":
		return exchange.EndpointOrders
	case strings.HasPrefix(path, "/orders/") && r.Method == http.MethodDelete:
		return exchange.EndpointCancel
	case strings.HasPrefix(path, "/orders/"), path == "/orders:by_client_order_id":
		return exchange.EndpointOrder
	case strings.HasPrefix(path, "/account/activities"):
		return exchange.EndpointTrades
	case path == "/account":
		return exchange.EndpointAccount
	case path == "/positions":
		return exchange.EndpointBalances
	case strings.HasPrefix(path, "/assets/"):
		return exchange.EndpointProduct
	}
	return exchange.EndpointOther
}

// Codes of Alpaca's refusals.
const (
	codeInvalid      = 40010001
	codeUnauthorized = 40110000
	codeForbidden    = 40310000
	codeNotFound     = 40410000
	codeUnprocessed  = 42210000
	codeRateLimited  = 42910000
	codeInternal     = 50010000
)

// Fail answers with a status in Alpaca's words.
func (f *Front) Fail(w http.ResponseWriter, status int) {
	codes := map[int]int{
		http.StatusUnauthorized: codeUnauthorized, http.StatusForbidden: codeForbidden, http.StatusNotFound: codeNotFound,
		http.StatusUnprocessableEntity: codeUnprocessed, http.StatusTooManyRequests: codeRateLimited, http.StatusBadRequest: codeInvalid,
	}
	code, known := codes[status]
	if !known {
		code = codeInternal
	}
	refuse(w, status, code, "%s", strings.ToLower(http.StatusText(status)))
}

func refuse(w http.ResponseWriter, status, code int, format string, values ...any) {
	exchange.Say(w, status, map[string]any{"code": code, "message": fmt.Sprintf(format, values...)})
}

// authenticated checks who asks. Alpaca's keys are known by a secret that goes
// with every request.
func (f *Front) authenticated(handle func(http.ResponseWriter, *http.Request, exchange.Key)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, known := f.exchange.Key(r.Header.Get("APCA-API-KEY-ID"))
		secret := subtle.ConstantTimeCompare([]byte(r.Header.Get("APCA-API-SECRET-KEY")), []byte(key.Secret)) == 1
		if !known || !secret || cmp.Or(r.Header.Get("X-Forwarded-Host"), r.Host) != Hosts[key.Environment] {
			refuse(w, http.StatusUnauthorized, codeUnauthorized, "request is not authorized")
			return
		}
		exchange.Signed(r.Context(), key.Name)
		handle(w, r, key)
	}
}

// NewKey makes a key: its ID and secret, and what the exchange is told of it. Its
// name and account are new unless edit sets them; it may view and trade.
func NewKey(edit func(*exchange.Key)) (id, secret string, key exchange.Key) {
	key = exchange.Key{
		Name: "PK" + rand.Text()[:18], Secret: rand.Text() + rand.Text()[:14],
		Account: uuid.NewString(), AccountType: "ACTIVE", Environment: "Sandbox", CanView: true, CanTrade: true,
	}
	if edit != nil {
		edit(&key)
	}
	return key.Name, key.Secret, key
}

// account tells of the account; its type stands for its crypto_status.
func (f *Front) account(w http.ResponseWriter, _ *http.Request, key exchange.Key) {
	cash := f.exchange.Balances(key.Account)["USD"]
	exchange.Say(w, http.StatusOK, map[string]any{
		"id": key.Account, "account_number": "PA" + strings.ToUpper(key.Account[:8]), "status": "ACTIVE", "crypto_status": key.AccountType,
		"currency": "USD", "cash": cash.Total, "buying_power": cash.Total.Sub(cash.Held),
		"non_marginable_buying_power": cash.Total.Sub(cash.Held), //nolint:misspell // Alpaca's word
		"multiplier":                  "1", "crypto_tier": 1,
		"trading_blocked": !key.CanTrade, "transfers_blocked": !key.CanTransfer, "account_blocked": !key.CanView,
		"trade_suspended_by_user": false, "shorting_enabled": false,
	})
}

func (f *Front) positions(w http.ResponseWriter, _ *http.Request, key exchange.Key) {
	positions := []map[string]any{}
	for currency, balance := range f.exchange.Balances(key.Account) {
		if currency == "USD" || balance.Total.IsZero() {
			continue
		}
		positions = append(positions, map[string]any{
			"asset_id": uuid.NewSHA1(uuid.Nil, []byte(currency)), "symbol": currency + "USD", "exchange": "CRYPTO", "asset_class": "crypto",
			"qty": balance.Total, "qty_available": balance.Total.Sub(balance.Held), "side": "long", "avg_entry_price": "0",
		})
	}
	exchange.Say(w, http.StatusOK, positions)
}

// listed finds a product by its symbol, with or without the slash.
func (f *Front) listed(symbol string) (exchange.Product, bool) {
	for _, product := range f.exchange.Products() {
		if sameSymbol(product.Symbol, symbol) {
			return product, true
		}
	}
	return exchange.Product{}, false
}

func sameSymbol(a, b string) bool {
	return strings.ReplaceAll(a, "/", "") == strings.ReplaceAll(b, "/", "")
}

// States of a product that takes no orders, in Alpaca's words.
const (
	Inactive   = "inactive"
	Untradable = "untradable"
)

func (f *Front) asset(w http.ResponseWriter, r *http.Request, _ exchange.Key) {
	product, listed := f.listed(r.PathValue("symbol"))
	if !listed {
		refuse(w, http.StatusNotFound, codeNotFound, "asset not found for %s", r.PathValue("symbol"))
		return
	}
	status := "active"
	if product.State == Inactive {
		status = Inactive
	}
	exchange.Say(w, http.StatusOK, map[string]any{
		"id": uuid.NewSHA1(uuid.Nil, []byte(product.Symbol)), "class": "crypto", "exchange": "CRYPTO", "symbol": product.Symbol,
		"name": product.Base + " / " + product.Quote, "status": status, "tradable": product.State == "",
		"shortable": false, "fractionable": true, "min_order_size": product.MinQuantity,
		"min_trade_increment": product.Lot, "price_increment": product.Tick,
	})
}

// refusals are Alpaca's words for the exchange's.
var refusals = map[exchange.Reason]struct {
	status, code int
	message      string
}{
	exchange.ReasonUnknownProduct: {http.StatusUnprocessableEntity, codeUnprocessed, `asset "%s" not found`},
	exchange.ReasonNotTraded:      {http.StatusUnprocessableEntity, codeUnprocessed, `asset "%s" is not tradable`},
	exchange.ReasonMaintenance:    {http.StatusUnprocessableEntity, codeUnprocessed, `asset "%s" is not tradable`},
	exchange.ReasonPrice:          {http.StatusUnprocessableEntity, codeUnprocessed, "invalid limit_price for %s"},
	exchange.ReasonQuantity:       {http.StatusUnprocessableEntity, codeUnprocessed, "invalid qty for %s"},
	exchange.ReasonTooSmall:       {http.StatusForbidden, codeForbidden, "cost basis of %s must be >= minimal amount of order"},
	exchange.ReasonFunds:          {http.StatusForbidden, codeForbidden, "insufficient balance for %s"},
	exchange.ReasonRepeat:         {http.StatusUnprocessableEntity, codeInvalid, "client_order_id must be unique"},
}

// asked is an order as Alpaca is asked for it.
type asked struct {
	Symbol        string          `json:"symbol"`
	Quantity      decimal.Decimal `json:"qty"`
	Side          exchange.Side   `json:"side"`
	Type          string          `json:"type"`
	TimeInForce   string          `json:"time_in_force"`
	Limit         decimal.Decimal `json:"limit_price"`
	ClientOrderID string          `json:"client_order_id"`
}

func (f *Front) place(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	var a asked
	if err := json.Unmarshal(exchange.Body(r.Context()), &a); err != nil {
		refuse(w, http.StatusBadRequest, 40010000, "request body format is invalid")
		return
	}
	switch {
	case !key.CanTrade:
		refuse(w, http.StatusForbidden, codeForbidden, "account is not authorized to trade")
		return
	case a.Type != "limit", a.Side != exchange.Buy && a.Side != exchange.Sell, len(a.ClientOrderID) > 128:
		refuse(w, http.StatusUnprocessableEntity, codeInvalid, "invalid order")
		return
	case a.TimeInForce != "gtc" && a.TimeInForce != "ioc":
		refuse(w, http.StatusUnprocessableEntity, codeUnprocessed, "invalid crypto time_in_force")
		return
	}
	if a.ClientOrderID == "" {
		a.ClientOrderID = uuid.NewString()
	}
	placement := exchange.Placement{
		Account: key.Account, ClientID: a.ClientOrderID, Symbol: a.Symbol, Side: a.Side, Quantity: a.Quantity, Limit: a.Limit,
		Immediate: a.TimeInForce == "ioc",
	}
	if product, listed := f.listed(a.Symbol); listed {
		placement.Symbol = product.Symbol
	}
	placed, _, err := f.exchange.Place(r.Context(), placement)
	if refusal, refused := errors.AsType[*exchange.Refusal](err); refused {
		said := refusals[refusal.Reason]
		message := said.message
		if strings.Contains(message, "%s") {
			message = fmt.Sprintf(message, a.Symbol)
		}
		refuse(w, said.status, said.code, "%s", message)
		return
	}
	exchange.Say(w, http.StatusOK, tell(&placed))
}

func (f *Front) cancel(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	id := r.PathValue("order_id")
	o, err := f.exchange.Cancel(r.Context(), key.Account, id)
	refusal, refused := errors.AsType[*exchange.Refusal](err)
	switch {
	case !refused:
		w.WriteHeader(http.StatusNoContent)
	case refusal.Reason == exchange.ReasonFinal:
		refuse(w, http.StatusUnprocessableEntity, codeUnprocessed, "order is already in %q state", status(&o))
	default:
		refuse(w, http.StatusNotFound, codeNotFound, "order not found for %s", id)
	}
}

func (f *Front) cancelAll(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	open := f.exchange.OpenOrders(key.Account)
	results := make([]map[string]any, 0, len(open))
	for _, o := range open {
		code := http.StatusOK
		if _, err := f.exchange.Cancel(r.Context(), key.Account, o.ID); err != nil {
			code = http.StatusInternalServerError
		}
		results = append(results, map[string]any{"id": o.ID, "status": code})
	}
	exchange.Say(w, http.StatusMultiStatus, results)
}
