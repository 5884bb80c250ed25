// Package kraken is Kraken's spot exchange as seen over HTTP, on top of a simulated
// exchange. A client order id is refused as long as an order with it is open.
package kraken

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

const (
	publicPath  = "/0/public/"
	privatePath = "/0/private/"
	// Deadlines that Kraken takes lie between these ahead of its clock.
	nearestDeadline  = 2 * time.Second
	farthestDeadline = time.Minute
)

// Options of an exchange that behaves as Kraken.
func Options() exchange.Options {
	return exchange.Options{
		Repeat:   exchange.RepeatRefusedWhileOpen,
		TakerFee: decimal.New(4, -3), MakerFee: decimal.New(25, -4),
	}
}

// States of a pair that takes no orders, in the words of AssetPairs.
const (
	CancelOnly = "cancel_only"
	PostOnly   = "post_only"
	ReduceOnly = "reduce_only"
)

// Front speaks Kraken's protocol.
type Front struct {
	exchange *exchange.Exchange
	private  map[string]route

	mu sync.Mutex
	// nonces are the greatest of each key.
	nonces map[string]uint64
}

// route is a private method: which of three permissions it needs, and what it does.
type route struct {
	right    func(exchange.Key) bool
	endpoint exchange.Endpoint
	handle   func(r *http.Request, key exchange.Key, form url.Values) (any, error)
}

var _ exchange.Front = (*Front)(nil)

// New is a front of an exchange.
func New(behind *exchange.Exchange) *Front {
	f := &Front{exchange: behind, nonces: map[string]uint64{}}
	f.private = map[string]route{
		"AddOrder":             {canTrade, exchange.EndpointPlace, f.place},
		"CancelOrder":          {canTrade, exchange.EndpointCancel, f.cancel},
		"CancelAllOrdersAfter": {canTrade, exchange.EndpointCancelAll, f.cancelAllAfter},
		"QueryOrders":          {canView, exchange.EndpointOrder, f.queryOrders},
		"OpenOrders":           {canView, exchange.EndpointOrders, f.openOrders},
		"ClosedOrders":         {canView, exchange.EndpointOrders, f.closedOrders},
		"TradesHistory":        {canView, exchange.EndpointTrades, f.trades},
		"BalanceEx":            {canView, exchange.EndpointBalances, f.balances},
		"GetApiKeyInfo":        {nil, exchange.EndpointAccount, f.keyInfo},
	}
	return f
}

func canView(key exchange.Key) bool  { return key.CanView }
func canTrade(key exchange.Key) bool { return key.CanTrade }

// Endpoint says what a request asks for.
func (f *Front) Endpoint(r *http.Request) exchange.Endpoint {
	if r.URL.Path == publicPath+"AssetPairs" {
		return exchange.EndpointProduct
	}
	if known, ok := f.private[strings.TrimPrefix(r.URL.Path, privatePath)]; ok {
		return known.endpoint
	}
	return exchange.EndpointOther
}

// Fail answers with a status. Kraken itself always answers with 200: other statuses
// come from the shield in front of it, and are pages for people.
func (f *Front) Fail(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<html><head><title>" + http.StatusText(status) + "</title></head></html>")) // the client may be gone
}

// refusal is what Kraken puts into the list of errors.
type refusal string

func (r refusal) Error() string { return string(r) }

// What Kraken says of requests rather than of orders.
const (
	errInvalidKey       refusal = "EAPI:Invalid key"
	errInvalidSignature refusal = "EAPI:Invalid signature"
	errInvalidNonce     refusal = "EAPI:Invalid nonce"
	errDenied           refusal = "EGeneral:Permission errDenied"
	errInvalidArguments refusal = "EGeneral:Invalid arguments"
	errUnknownMethod    refusal = "EGeneral:Unknown method"
	errUnknownPair      refusal = "EQuery:Unknown asset pair"
	errUnknownOrder     refusal = "EOrder:Unknown order"
	errInvalidOrder     refusal = "EOrder:Invalid order"
	errDeadlineElapsed  refusal = "EService:Deadline elapsed"
)

// words of Kraken for the exchange's refusals.
var words = map[exchange.Reason]refusal{
	exchange.ReasonUnknownProduct: errUnknownPair,
	exchange.ReasonNotTraded:      "EService:Market in cancel_only mode",
	exchange.ReasonPrice:          "EOrder:Tick size check failed",
	exchange.ReasonQuantity:       errInvalidArguments + ":volume",
	exchange.ReasonTooSmall:       "EOrder:Order minimum not met",
	exchange.ReasonFunds:          "EOrder:Insufficient funds",
	exchange.ReasonRepeat:         errInvalidArguments + ":cl_ord_id is not unique",
	exchange.ReasonExpired:        errDeadlineElapsed,
	exchange.ReasonMaintenance:    "EService:Market in cancel_only mode",
	exchange.ReasonUnknownOrder:   errUnknownOrder,
	exchange.ReasonFinal:          errUnknownOrder,
}

// ServeHTTP answers as Kraken does.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, err := f.answer(r)
	said := struct {
		Errors []string `json:"error"`
		Result any      `json:"result,omitempty"`
	}{Errors: []string{}, Result: result}
	if refused, ok := errors.AsType[*exchange.Refusal](err); ok {
		err = words[refused.Reason]
	}
	if err != nil {
		said.Errors, said.Result = []string{err.Error()}, nil
	}
	exchange.Say(w, http.StatusOK, said)
}

func (f *Front) answer(r *http.Request) (any, error) {
	if r.URL.Path == publicPath+"AssetPairs" && r.Method == http.MethodGet {
		return f.assetPairs(r.URL.Query())
	}
	method, private := strings.CutPrefix(r.URL.Path, privatePath)
	route, known := f.private[method]
	if !private || !known || r.Method != http.MethodPost {
		return nil, errUnknownMethod
	}
	form, err := url.ParseQuery(string(exchange.Body(r.Context())))
	if err != nil {
		return nil, errInvalidArguments
	}
	key, err := f.authenticate(r, form.Get("nonce"))
	if err != nil {
		return nil, err
	}
	exchange.Signed(r.Context(), key.Name)
	if route.right != nil && !route.right(key) {
		return nil, errDenied
	}
	return route.handle(r, key, form)
}

// authenticate checks who asks, as Kraken does: a key that it knows, a signature by
// its secret, and a nonce above all that it has seen of the key.
func (f *Front) authenticate(r *http.Request, nonce string) (exchange.Key, error) {
	key, known := f.exchange.Key(r.Header.Get("API-Key"))
	secret, err := base64.StdEncoding.DecodeString(key.Secret)
	if !known || err != nil {
		return exchange.Key{}, errInvalidKey
	}
	content := sha256.Sum256(append([]byte(nonce), exchange.Body(r.Context())...))
	mac := hmac.New(sha512.New, secret)
	mac.Write(append([]byte(r.URL.Path), content[:]...))
	given, err := base64.StdEncoding.DecodeString(r.Header.Get("API-Sign"))
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return exchange.Key{}, errInvalidSignature
	}
	number, err := strconv.ParseUint(nonce, 10, 64)
	if err != nil {
		return exchange.Key{}, errInvalidNonce
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if number <= f.nonces[key.Name] {
		return exchange.Key{}, errInvalidNonce
	}
	f.nonces[key.Name] = number
	return key, nil
}

func (f *Front) place(r *http.Request, key exchange.Key, form url.Values) (any, error) {
	side := exchange.Side(form.Get("type"))
	tif := form.Get("timeinforce")
	if side != exchange.Buy && side != exchange.Sell || form.Get("ordertype") != "limit" || tif != "" && tif != "GTC" && tif != "IOC" {
		return nil, errInvalidArguments
	}
	quantity, quantityErr := decimal.NewFromString(form.Get("volume"))
	limit, limitErr := decimal.NewFromString(form.Get("price"))
	if quantityErr != nil || limitErr != nil {
		return nil, errInvalidArguments
	}
	deadline, err := f.deadline(form.Get("deadline"))
	if err != nil {
		return nil, err
	}
	product, listed := f.spelled(form.Get("pair"))
	if !listed {
		return nil, errUnknownPair
	}
	placed, _, err := f.exchange.Place(r.Context(), exchange.Placement{
		Account: key.Account, ClientID: form.Get("cl_ord_id"), Symbol: product.Symbol, Side: side,
		Quantity: quantity, Limit: limit, Immediate: tif == "IOC", NotAfter: deadline,
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"descr": map[string]string{"order": describe(&placed)}, "txid": []string{txid('O', placed.ID)}}, nil
}

// deadline reads a placement's deadline; zero if it has none.
func (f *Front) deadline(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	deadline, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errInvalidArguments + ":deadline"
	}
	switch left := deadline.Sub(f.exchange.Clock()); {
	case left <= 0:
		return time.Time{}, errDeadlineElapsed
	case left < nearestDeadline, left > farthestDeadline:
		return time.Time{}, errInvalidArguments + ":deadline"
	}
	return deadline, nil
}

func (f *Front) cancel(r *http.Request, key exchange.Key, form url.Values) (any, error) {
	id := ""
	for _, o := range f.exchange.OpenOrders(key.Account) {
		if txid('O', o.ID) == form.Get("txid") || o.ClientID != "" && o.ClientID == form.Get("cl_ord_id") {
			id = o.ID
		}
	}
	if id == "" {
		return nil, errUnknownOrder
	}
	if _, err := f.exchange.Cancel(r.Context(), key.Account, id); err != nil {
		return nil, err
	}
	return map[string]any{"count": 1}, nil
}

func (f *Front) cancelAllAfter(_ *http.Request, key exchange.Key, form url.Values) (any, error) {
	seconds, err := strconv.ParseUint(form.Get("timeout"), 10, 17)
	if err != nil {
		return nil, errInvalidArguments
	}
	trigger := "0"
	if at := f.exchange.CancelAllAfter(key.Account, time.Duration(seconds)*time.Second); !at.IsZero() {
		trigger = at.Format(time.RFC3339)
	}
	return map[string]string{"currentTime": f.exchange.Clock().Format(time.RFC3339), "triggerTime": trigger}, nil
}

func (f *Front) keyInfo(_ *http.Request, key exchange.Key, _ url.Values) (any, error) {
	permissions := []string{}
	for _, granted := range []struct {
		right bool
		names []string
	}{
		{key.CanView, []string{"query-funds", "query-open-trades", "query-closed-trades"}},
		{key.CanTrade, []string{"modify-trades", "close-trades"}},
		{key.CanTransfer, []string{"withdraw-funds"}},
	} {
		if granted.right {
			permissions = append(permissions, granted.names...)
		}
	}
	return map[string]any{
		"apiKeyName": "agent", "apiKey": key.Name, "nonce": "0", "nonceWindow": 0, "permissions": permissions, "iban": key.Account,
		"validUntil": "0", "queryFrom": "0", "queryTo": "0", "createdTime": "1772542900", "modifiedTime": "1772542900",
		"ipAllowlist": []string{}, "lastUsed": "0",
	}, nil
}
