// Package gemini is Gemini's REST API as seen over HTTP, on top of a simulated
// exchange. A client order id is a label: a repeat is another order.
package gemini

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// Hosts that the front acts for, by environment. Keys of one are not known to the
// other.
var Hosts = map[string]string{"Production": "api.gemini.com", "Sandbox": "api.sandbox.gemini.com"}

// Types of the accounts behind keys. The last is that of a key which does not use
// time based nonces.
const (
	ExchangeAccount  = "exchange"
	CustodyAccount   = "custody"
	IncreasingNonces = "exchange with increasing nonces"
)

// window by which a time based nonce may be off the exchange's clock
// (https://docs.gemini.com/authentication/api-key).
const window = 30 * time.Second

// Options of an exchange that behaves as Gemini, at the fees of the lowest volume.
func Options() exchange.Options {
	return exchange.Options{
		Repeat:   exchange.RepeatAccepted,
		TakerFee: decimal.New(4, -3), MakerFee: decimal.New(2, -3),
	}
}

// Front speaks Gemini's protocol.
type Front struct {
	exchange *exchange.Exchange
	mux      *http.ServeMux

	mu     sync.Mutex
	nonces map[string]int64
}

var _ exchange.Front = (*Front)(nil)

// call is a question or order with the payload that was signed.
type call struct {
	key     exchange.Key
	payload []byte
}

// New is a front of an exchange.
func New(behind *exchange.Exchange) *Front {
	f := &Front{exchange: behind, mux: http.NewServeMux(), nonces: map[string]int64{}}
	for path, route := range map[string]struct {
		right  func(exchange.Key) bool
		handle func(http.ResponseWriter, *http.Request, call)
	}{
		"/v1/order/new":            {canTrade, f.place},
		"/v1/order/cancel":         {canTrade, f.cancel},
		"/v1/order/cancel/all":     {canTrade, f.cancelAll},
		"/v1/order/cancel/session": {canTrade, f.cancelAll},
		"/v1/order/status":         {canView, f.status},
		"/v1/orders":               {canView, f.orders},
		"/v1/mytrades":             {canView, f.trades},
		"/v1/balances":             {canView, f.balances},
		"/v1/account":              {nil, f.account},
		"/v1/roles":                {nil, f.roles},
		"/v1/heartbeat":            {nil, f.heartbeat},
	} {
		f.mux.HandleFunc("POST "+path, f.authenticated(route.right, route.handle))
	}
	f.mux.HandleFunc("GET /v1/symbols/details/{symbol}", f.details)
	f.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "EndpointNotFound", "API entry point not found")
	})
	return f
}

func canView(key exchange.Key) bool  { return key.CanView }
func canTrade(key exchange.Key) bool { return key.CanTrade }

// ServeHTTP answers as Gemini does.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// Endpoint says what a request asks for.
func (f *Front) Endpoint(r *http.Request) exchange.Endpoint {
	endpoints := map[string]exchange.Endpoint{
		"/v1/order/new": exchange.EndpointPlace, "/v1/order/cancel": exchange.EndpointCancel,
		"/v1/order/cancel/all": exchange.EndpointCancelAll, "/v1/order/cancel/session": exchange.EndpointCancelAll,
		"/v1/order/status": exchange.EndpointOrder, "/v1/orders": exchange.EndpointOrders, "/v1/mytrades": exchange.EndpointTrades,
		"/v1/balances": exchange.EndpointBalances, "/v1/account": exchange.EndpointAccount, "/v1/roles": exchange.EndpointAccount,
	}
	if strings.HasPrefix(r.URL.Path, "/v1/symbols/details/") {
		return exchange.EndpointProduct
	}
	return cmp.Or(endpoints[r.URL.Path], exchange.EndpointOther)
}

// Fail answers with a status in Gemini's words.
func (f *Front) Fail(w http.ResponseWriter, status int) {
	reasons := map[int]string{
		http.StatusBadRequest: "InvalidSignature", http.StatusForbidden: "MissingRole", http.StatusNotFound: "OrderNotFound",
		http.StatusNotAcceptable: "InsufficientFunds", http.StatusTooManyRequests: "RateLimit", http.StatusServiceUnavailable: "Maintenance",
	}
	refuse(w, status, cmp.Or(reasons[status], "System"), http.StatusText(status))
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	exchange.Say(w, status, map[string]string{"result": "error", "reason": reason, "message": message})
}

// authenticated checks who asks, for this very address and now, and that the key may.
func (f *Front) authenticated(right func(exchange.Key) bool, handle func(http.ResponseWriter, *http.Request, call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		encoded := r.Header.Get("X-GEMINI-PAYLOAD")
		payload, err := base64.StdEncoding.DecodeString(encoded)
		var said struct {
			Request string          `json:"request"`
			Nonce   decimal.Decimal `json:"nonce"`
		}
		key, known := f.exchange.Key(r.Header.Get("X-GEMINI-APIKEY"))
		mac := hmac.New(sha512.New384, []byte(key.Secret))
		mac.Write([]byte(encoded))
		switch {
		case encoded == "" || err != nil:
			refuse(w, http.StatusBadRequest, "MissingPayloadHeader", "Must provide 'X-GEMINI-PAYLOAD' header")
		case !known || !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(r.Header.Get("X-GEMINI-SIGNATURE"))),
			cmp.Or(r.Header.Get("X-Forwarded-Host"), r.Host) != Hosts[key.Environment]:
			refuse(w, http.StatusBadRequest, "InvalidSignature", "Invalid signature for this request")
		case json.Unmarshal(payload, &said) != nil:
			refuse(w, http.StatusBadRequest, "InvalidJson", "The payload is not JSON")
		case said.Request != r.URL.Path:
			refuse(w, http.StatusBadRequest, "EndpointMismatch", "The payload is for another endpoint")
		case !f.use(&key, said.Nonce):
			refuse(w, http.StatusBadRequest, "InvalidNonce", "Nonce is not valid")
		case right != nil && !right(key):
			refuse(w, http.StatusForbidden, "MissingRole", "To access this endpoint, you need another role")
		default:
			exchange.Signed(r.Context(), key.Name)
			exchange.Carries(r.Context(), payload)
			handle(w, r, call{key, payload})
		}
	}
}

// use reports whether a nonce is good: within the window of the exchange's clock, or,
// for a key without time based nonces, greater than all before it.
func (f *Front) use(key *exchange.Key, nonce decimal.Decimal) bool {
	if key.AccountType != IncreasingNonces {
		off := nonce.Shift(3).Sub(decimal.NewFromInt(f.exchange.Clock().UnixMilli())).Abs()
		return off.LessThanOrEqual(decimal.NewFromInt(window.Milliseconds()))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if nonce.LessThanOrEqual(decimal.NewFromInt(f.nonces[key.Name])) {
		return false
	}
	f.nonces[key.Name] = nonce.IntPart()
	return true
}

// NewKey makes a key: its name and secret, and what the exchange is told of it. Its
// name and account are new unless edit sets them; it may view and trade. The account
// is the millisecond in which it was made.
func NewKey(edit func(*exchange.Key)) (name, secret string, key exchange.Key) {
	key = exchange.Key{
		Name: "account-" + rand.Text()[:20], Secret: rand.Text(), AccountType: ExchangeAccount, Environment: "Production",
		Account: decimal.NewFromInt(1_498_245_007_981 + int64(uuid.New().ID())).String(), CanView: true, CanTrade: true,
	}
	if edit != nil {
		edit(&key)
	}
	return key.Name, key.Secret, key
}

func (f *Front) account(w http.ResponseWriter, _ *http.Request, c call) {
	kind := c.key.AccountType
	if kind == IncreasingNonces {
		kind = ExchangeAccount
	}
	exchange.Say(w, http.StatusOK, map[string]any{
		"account": map[string]any{"accountName": "Primary", "shortName": "primary", "type": kind, "created": c.key.Account},
		"users":   []any{}, "memo_reference_code": "GEMTEST",
	})
}

func (f *Front) roles(w http.ResponseWriter, _ *http.Request, c call) {
	exchange.Say(w, http.StatusOK, map[string]bool{
		"isAuditor": c.key.CanView && !c.key.CanTrade, "isFundManager": c.key.CanTransfer, "isTrader": c.key.CanTrade,
		"isAccountAdmin": false,
	})
}

func (f *Front) heartbeat(w http.ResponseWriter, _ *http.Request, _ call) {
	exchange.Say(w, http.StatusOK, map[string]string{"result": "ok"})
}

// listed finds a product by its symbol.
func (f *Front) listed(symbol string) (exchange.Product, bool) {
	for _, product := range f.exchange.Products() {
		if strings.EqualFold(product.Symbol, symbol) {
			return product, true
		}
	}
	return exchange.Product{}, false
}

// details of a product. Its state is Gemini's word for that of its book.
func (f *Front) details(w http.ResponseWriter, r *http.Request) {
	product, listed := f.listed(r.PathValue("symbol"))
	if !listed {
		refuse(w, http.StatusBadRequest, "InvalidSymbol", "Supplied value is not a valid symbol")
		return
	}
	exchange.Say(w, http.StatusOK, map[string]any{
		"symbol": strings.ToUpper(product.Symbol), "base_currency": product.Base, "quote_currency": product.Quote,
		"tick_size": json.Number(product.Lot.String()), "quote_increment": json.Number(product.Tick.String()),
		"min_order_size": product.MinQuantity, "status": cmp.Or(product.State, "open"), "wrap_enabled": false,
		"product_type": "spot", "contract_type": "vanilla", "contract_price_currency": product.Quote,
	})
}
