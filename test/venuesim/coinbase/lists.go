package coinbase

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// statuses are Coinbase's words for the states of an order.
var statuses = map[exchange.Status]string{
	exchange.Open: "OPEN", exchange.Filled: "FILLED", exchange.Cancelled: "CANCELLED", exchange.Expired: "EXPIRED", exchange.Failed: "FAILED",
}

func timeWord(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.999999Z") }

func (f *Front) tell(o *exchange.Order) map[string]any {
	average, percent := decimal.Zero, decimal.Zero
	if o.Filled.IsPositive() {
		average = o.Cost.DivRound(o.Filled, 16)
		percent = o.Filled.Mul(decimal.NewFromInt(100)).DivRound(o.Quantity, 2)
	}
	tif := "GOOD_UNTIL_CANCELLED"
	switch {
	case o.Immediate:
		tif = "IMMEDIATE_OR_CANCEL"
	case !o.Expires.IsZero():
		tif = "GOOD_UNTIL_DATE_TIME"
	}
	return map[string]any{
		"order_id": o.ID, "client_order_id": o.ClientID, "product_id": o.Symbol, "user_id": o.Account,
		"side": sideWord(o.Side), "status": statuses[o.Status], "time_in_force": tif, "order_type": "LIMIT",
		"order_configuration": configurationOf(o), "created_time": timeWord(o.AcceptedAt),
		"completion_percentage": percent, "filled_size": o.Filled, "average_filled_price": average,
		"filled_value": o.Cost, "total_fees": o.Fees, "size_in_quote": false, "pending_cancel": false,
		"product_type": "SPOT", "settled": o.Status == exchange.Filled, "retail_portfolio_id": o.Account,
		"order_placement_source": "RETAIL_ADVANCED", "reject_reason": "REJECT_REASON_UNSPECIFIED",
	}
}

func (f *Front) order(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	o, found := f.exchange.Order(key.Account, r.PathValue("order_id"))
	if !found {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "order with this orderID was not found")
		return
	}
	exchange.Say(w, http.StatusOK, map[string]any{"order": f.tell(&o)})
}

func (f *Front) orders(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	query := r.URL.Query()
	states := query["order_status"]
	if slices.Contains(states, "OPEN") && len(states) > 1 {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "open orders cannot be paired with other statuses")
		return
	}
	from, to, ok := span(w, query, "start_date", "end_date")
	if !ok {
		return
	}
	orders := slices.DeleteFunc(f.exchange.Orders(key.Account), func(o exchange.Order) bool {
		return !wanted(query["product_ids"], o.Symbol) || !wanted(query["order_ids"], o.ID) || !wanted(states, statuses[o.Status]) ||
			o.AcceptedAt.Before(from) || !o.AcceptedAt.Before(to)
	})
	slices.Reverse(orders)
	page, next, ok := pageOf(w, orders, query, func(o *exchange.Order) int64 { return o.Sequence })
	if !ok {
		return
	}
	told := make([]map[string]any, len(page))
	for i := range page {
		told[i] = f.tell(&page[i])
	}
	exchange.Say(w, http.StatusOK, map[string]any{"orders": told, "sequence": "0", "has_next": next != "", "cursor": next})
}

func (f *Front) fills(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	query := r.URL.Query()
	from, to, ok := span(w, query, "start_sequence_timestamp", "end_sequence_timestamp")
	if !ok {
		return
	}
	trades := slices.DeleteFunc(f.exchange.Trades(key.Account), func(t exchange.Trade) bool {
		return !wanted(query["product_ids"], t.Symbol) || !wanted(query["order_ids"], t.OrderID) || !wanted(query["trade_ids"], t.ID) ||
			t.At.Before(from) || !t.At.Before(to)
	})
	slices.Reverse(trades)
	page, next, ok := pageOf(w, trades, query, nil)
	if !ok {
		return
	}
	told := make([]map[string]any, len(page))
	for i, t := range page {
		liquidity := "TAKER"
		if t.Maker {
			liquidity = "MAKER"
		}
		told[i] = map[string]any{
			"entry_id": t.ID + "-entry", "trade_id": t.ID, "order_id": t.OrderID, "trade_time": timeWord(t.At), "trade_type": "FILL",
			"price": t.Price, "size": t.Quantity, "commission": t.Fee, "product_id": t.Symbol, "sequence_timestamp": timeWord(t.At),
			"liquidity_indicator": liquidity, "size_in_quote": false, "user_id": t.Account, "side": sideWord(t.Side),
			"retail_portfolio_id": t.Account,
		}
	}
	exchange.Say(w, http.StatusOK, map[string]any{"fills": told, "cursor": next})
}

func (f *Front) accounts(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	type amount struct {
		Value    decimal.Decimal `json:"value"`
		Currency string          `json:"currency"`
	}
	type account struct {
		UUID      string `json:"uuid"`
		Name      string `json:"name"`
		Currency  string `json:"currency"`
		Available amount `json:"available_balance"`
		Hold      amount `json:"hold"`
		Active    bool   `json:"active"`
		Ready     bool   `json:"ready"`
		Type      string `json:"type"`
		Portfolio string `json:"retail_portfolio_id"`
	}
	balances := f.exchange.Balances(key.Account)
	accounts := make([]account, 0, len(balances))
	for currency, balance := range balances {
		accounts = append(accounts, account{
			UUID: key.Account + "/" + currency, Name: currency + " Wallet", Currency: currency, Active: true, Ready: true,
			Available: amount{balance.Total.Sub(balance.Held), currency}, Hold: amount{balance.Held, currency},
			Type: "ACCOUNT_TYPE_CRYPTO", Portfolio: key.Account,
		})
	}
	slices.SortFunc(accounts, func(a, b account) int { return strings.Compare(a.Currency, b.Currency) })
	page, next, ok := pageOf(w, accounts, r.URL.Query(), nil)
	if ok {
		exchange.Say(w, http.StatusOK, map[string]any{"accounts": page, "has_next": next != "", "cursor": next, "size": len(page)})
	}
}

func wanted(among []string, value string) bool {
	return len(among) == 0 || slices.Contains(among, value)
}

// span is the time that a query asks about.
func span(w http.ResponseWriter, query url.Values, start, end string) (from, to time.Time, ok bool) {
	to = time.Unix(1<<40, 0)
	for name, into := range map[string]*time.Time{start: &from, end: &to} {
		if text := query.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", name+" is no time")
				return from, to, false
			}
			*into = at
		}
	}
	return from, to, true
}

// pageOf is a page of a list and the cursor to the next, which is empty after the
// last. Where entries have numbers that fall, the cursor names the last one, so
// that new entries in front shift nothing; elsewhere it counts.
func pageOf[T any](w http.ResponseWriter, list []T, query url.Values, number func(*T) int64) (page []T, next string, ok bool) {
	limit := 100
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 250 {
			refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "limit is not between 1 and 250")
			return nil, "", false
		}
	}
	start := 0
	if cursor := query.Get("cursor"); cursor != "" {
		after, err := strconv.ParseInt(cursor, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "cursor is not one of ours")
			return nil, "", false
		}
		start = min(int(after), len(list))
		if number != nil {
			if start = slices.IndexFunc(list, func(entry T) bool { return number(&entry) < after }); start < 0 {
				start = len(list)
			}
		}
	}
	page = list[start:min(start+limit, len(list))]
	if end := start + len(page); end < len(list) {
		next = strconv.Itoa(end)
		if number != nil {
			next = strconv.FormatInt(number(&page[len(page)-1]), 10)
		}
	}
	return page, next, true
}
