package kraken

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// pageSize of histories.
const pageSize = 50

// codes of currencies that Kraken writes in its own way, with a mark of their kind.
var codes = map[string]string{
	"BTC": "XXBT", "DOGE": "XXDG", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP",
	"USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP", "CAD": "ZCAD", "JPY": "ZJPY",
}

func codeOf(currency string) string {
	if code, ok := codes[currency]; ok {
		return code
	}
	return currency
}

// pairID is the name that AssetPairs and trades have for a product, whose symbol is
// the short one that orders have. Only two marked currencies make another one.
func pairID(product *exchange.Product) string {
	base, quote := codeOf(product.Base), codeOf(product.Quote)
	if base == product.Base || quote == product.Quote {
		return product.Symbol
	}
	return base + quote
}

func webSocketName(product *exchange.Product) string {
	return strings.TrimPrefix(codeOf(product.Base), "X") + "/" + product.Quote
}

// spelled finds a product by any of its names.
func (f *Front) spelled(name string) (exchange.Product, bool) {
	for _, product := range f.exchange.Products() {
		if name == product.Symbol || name == pairID(&product) || name == webSocketName(&product) {
			return product, true
		}
	}
	return exchange.Product{}, false
}

func (f *Front) assetPairs(query url.Values) (any, error) {
	pairs := map[string]any{}
	for name := range strings.SplitSeq(query.Get("pair"), ",") {
		product, listed := f.spelled(name)
		if !listed {
			return nil, errUnknownPair
		}
		status := product.State
		if status == "" {
			status = "online"
		}
		pairs[pairID(&product)] = map[string]any{
			"altname": product.Symbol, "wsname": webSocketName(&product), "aclass_base": "currency", "base": codeOf(product.Base),
			"aclass_quote": "currency", "quote": codeOf(product.Quote), "lot": "unit", "cost_decimals": 5,
			"pair_decimals": -product.Tick.Exponent(), "lot_decimals": decimals(product.Lot), "lot_multiplier": 1,
			"ordermin": product.MinQuantity, "costmin": product.MinNotional, "tick_size": product.Tick, "status": status,
		}
	}
	return pairs, nil
}

// decimals of a step that is a power of ten.
func decimals(step decimal.Decimal) int32 {
	for count := range int32(18) {
		if step.Equal(decimal.New(1, -count)) {
			return count
		}
	}
	return 0
}

// txid is a name such as Kraken gives to orders and trades.
func txid(kind byte, id string) string {
	sum := sha256.Sum256([]byte(id))
	text := base32.StdEncoding.EncodeToString(sum[:])
	return string(kind) + text[:5] + "-" + text[5:10] + "-" + text[10:16]
}

// TradeID is what Kraken calls a trade by.
func TradeID(t *exchange.Trade) string { return txid('T', t.ID) }

// seconds of the Unix time with a fraction, as a number.
func seconds(at time.Time) json.Number {
	if at.IsZero() {
		return "0"
	}
	return json.Number(fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000))
}

var statuses = map[exchange.Status]string{
	exchange.Open: "open", exchange.Filled: "closed", exchange.Cancelled: "canceled", exchange.Expired: "expired", exchange.Failed: "canceled",
}

func describe(o *exchange.Order) string {
	return fmt.Sprintf("%s %s %s @ limit %s", o.Side, o.Quantity, o.Symbol, o.Limit)
}

func tell(o *exchange.Order) map[string]any {
	average := decimal.Zero
	if o.Filled.IsPositive() {
		average = o.Cost.DivRound(o.Filled, 8)
	}
	told := map[string]any{
		"refid": nil, "userref": nil, "cl_ord_id": nil, "status": statuses[o.Status], "opentm": seconds(o.AcceptedAt), "starttm": 0, "expiretm": 0,
		"descr": map[string]string{
			"pair": o.Symbol, "type": string(o.Side), "ordertype": "limit", "price": o.Limit.String(), "price2": "0", "leverage": "none",
			"order": describe(o), "close": "",
		},
		"vol": o.Quantity, "vol_exec": o.Filled, "cost": o.Cost, "fee": o.Fees, "price": average, "stopprice": "0.00000",
		"limitprice": "0.00000", "misc": "", "oflags": "fciq",
	}
	if o.ClientID != "" {
		told["cl_ord_id"] = o.ClientID
	}
	if o.Status != exchange.Open {
		told["closetm"] = seconds(o.EndedAt)
	}
	return told
}

func (f *Front) queryOrders(_ *http.Request, key exchange.Key, form url.Values) (any, error) {
	wanted := strings.Split(form.Get("txid"), ",")
	if len(wanted) > pageSize {
		return nil, errInvalidArguments
	}
	found := map[string]any{}
	for _, o := range f.exchange.Orders(key.Account) {
		if id := txid('O', o.ID); slices.Contains(wanted, id) {
			found[id] = tell(&o)
		}
	}
	if len(found) == 0 {
		return nil, errInvalidOrder
	}
	return found, nil
}

func (f *Front) openOrders(_ *http.Request, key exchange.Key, form url.Values) (any, error) {
	found := map[string]any{}
	for _, o := range f.exchange.OpenOrders(key.Account) {
		if id := form.Get("cl_ord_id"); id == "" || id == o.ClientID {
			found[txid('O', o.ID)] = tell(&o)
		}
	}
	return map[string]any{"open": found}, nil
}

func (f *Front) closedOrders(_ *http.Request, key exchange.Key, form url.Values) (any, error) {
	closed := slices.DeleteFunc(f.exchange.Orders(key.Account), func(o exchange.Order) bool {
		id := form.Get("cl_ord_id")
		return o.Status == exchange.Open || id != "" && id != o.ClientID
	})
	slices.SortFunc(closed, func(a, b exchange.Order) int { return b.EndedAt.Compare(a.EndedAt) })
	page, err := pageOf(closed, form, func(o *exchange.Order) time.Time { return o.EndedAt })
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	for i := range page.entries {
		found[txid('O', page.entries[i].ID)] = tell(&page.entries[i])
	}
	return map[string]any{"closed": found, "count": page.count}, nil
}

// trades lists trades newest first. In an answer they have no order, and none twice.
func (f *Front) trades(_ *http.Request, key exchange.Key, form url.Values) (any, error) {
	all := f.exchange.Trades(key.Account)
	slices.SortFunc(all, func(a, b exchange.Trade) int { return int(b.Sequence - a.Sequence) })
	all = slices.CompactFunc(all, func(a, b exchange.Trade) bool { return a.Sequence == b.Sequence })
	page, err := pageOf(all, form, func(t *exchange.Trade) time.Time { return t.At })
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	for i := range page.entries {
		t := &page.entries[i]
		product, _ := f.exchange.Product(t.Symbol)
		found[TradeID(t)] = map[string]any{
			"ordertxid": txid('O', t.OrderID), "postxid": txid('P', t.OrderID), "pair": pairID(&product), "time": seconds(t.At),
			"type": string(t.Side), "ordertype": "limit", "price": t.Price, "cost": t.Price.Mul(t.Quantity), "fee": t.Fee, "vol": t.Quantity,
			"margin": "0.00000", "misc": "", "trade_id": t.Sequence, "maker": t.Maker,
		}
	}
	return map[string]any{"trades": found, "count": page.count}, nil
}

// page of a history, and how many entries there are in all.
type page[T any] struct {
	entries []T
	count   int
}

// pageOf cuts a page out of a history whose newest entries come first: after start,
// up to end, from the offset on.
func pageOf[T any](list []T, form url.Values, at func(*T) time.Time) (page[T], error) {
	start, end, offset := time.Time{}, time.Unix(1<<40, 0), 0
	for name, into := range map[string]*time.Time{"start": &start, "end": &end} {
		if text := form.Get(name); text != "" {
			number, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return page[T]{}, errInvalidArguments
			}
			*into = time.Unix(number, 0)
		}
	}
	if text := form.Get("ofs"); text != "" {
		number, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return page[T]{}, errInvalidArguments
		}
		offset = int(number)
	}
	list = slices.DeleteFunc(list, func(entry T) bool { return !at(&entry).After(start) || at(&entry).After(end) })
	first := min(offset, len(list))
	return page[T]{list[first:min(first+pageSize, len(list))], len(list)}, nil
}

func (f *Front) balances(_ *http.Request, key exchange.Key, _ url.Values) (any, error) {
	found := map[string]any{}
	for currency, balance := range f.exchange.Balances(key.Account) {
		found[codeOf(currency)] = map[string]decimal.Decimal{"balance": balance.Total, "hold_trade": balance.Held}
	}
	return found, nil
}
