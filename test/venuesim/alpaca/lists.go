package alpaca

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// status is Alpaca's word for the state of an order.
func status(o *exchange.Order) string {
	switch o.Status {
	case exchange.Filled:
		return "filled"
	case exchange.Cancelled:
		return "canceled"
	case exchange.Expired:
		return "expired"
	case exchange.Failed:
		return "rejected"
	case exchange.Open:
	}
	if o.Filled.IsPositive() {
		return "partially_filled"
	}
	return "new"
}

func timeWord(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.999999Z") }

func tell(o *exchange.Order) map[string]any {
	told := map[string]any{
		"id": o.ID, "client_order_id": o.ClientID, "created_at": timeWord(o.AcceptedAt), "submitted_at": timeWord(o.AcceptedAt),
		"updated_at": timeWord(o.AcceptedAt), "asset_class": "crypto", "symbol": o.Symbol, "qty": o.Quantity, "filled_qty": o.Filled,
		"filled_avg_price": nil, "order_class": "", "order_type": "limit", "type": "limit", "side": o.Side, "time_in_force": "gtc",
		"limit_price": o.Limit, "stop_price": nil, "status": status(o), "extended_hours": false, "legs": nil, "notional": nil,
		"filled_at": nil, "canceled_at": nil, "expired_at": nil, "failed_at": nil, "replaced_at": nil, "replaced_by": nil, "replaces": nil,
	}
	if o.Immediate {
		told["time_in_force"] = "ioc"
	}
	if o.Filled.IsPositive() {
		told["filled_avg_price"] = o.Cost.DivRound(o.Filled, 9)
	}
	return told
}

func (f *Front) order(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	id := r.PathValue("order_id")
	if o, found := f.exchange.Order(key.Account, id); found {
		exchange.Say(w, http.StatusOK, tell(&o))
		return
	}
	refuse(w, http.StatusNotFound, codeNotFound, "order not found for %s", id)
}

func (f *Front) orderByClientID(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	id := r.URL.Query().Get("client_order_id")
	if o, found := f.exchange.OrderByClientID(key.Account, id); found {
		exchange.Say(w, http.StatusOK, tell(&o))
		return
	}
	refuse(w, http.StatusNotFound, codeNotFound, "order not found for %s", id)
}

func (f *Front) orders(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	query := r.URL.Query()
	limit, ok := number(w, query, "limit", 50, 500)
	if !ok {
		return
	}
	after, until, ok := span(w, query)
	if !ok {
		return
	}
	orders := slices.DeleteFunc(f.exchange.Orders(key.Account), func(o exchange.Order) bool {
		return !wantedSymbol(query.Get("symbols"), o.Symbol) || !wantedStatus(query.Get("status"), &o) ||
			!o.AcceptedAt.After(after) || !o.AcceptedAt.Before(until)
	})
	if query.Get("direction") != "asc" {
		slices.Reverse(orders)
	}
	told := []map[string]any{}
	for i := range orders[:min(limit, len(orders))] {
		told = append(told, tell(&orders[i]))
	}
	exchange.Say(w, http.StatusOK, told)
}

func wantedSymbol(list, symbol string) bool {
	return list == "" || slices.ContainsFunc(strings.Split(list, ","), func(wanted string) bool { return sameSymbol(wanted, symbol) })
}

func wantedStatus(wanted string, o *exchange.Order) bool {
	switch wanted {
	case "all":
		return true
	case "closed":
		return o.Status != exchange.Open
	}
	return o.Status == exchange.Open
}

// fills lists executions. Alpaca tells no fees with them.
func (f *Front) fills(w http.ResponseWriter, r *http.Request, key exchange.Key) {
	query := r.URL.Query()
	size, ok := number(w, query, "page_size", 100, 100)
	if !ok {
		return
	}
	after, until, ok := span(w, query)
	if !ok {
		return
	}
	trades := slices.DeleteFunc(f.exchange.Trades(key.Account), func(t exchange.Trade) bool {
		return !t.At.After(after) || !t.At.Before(until)
	})
	token := query.Get("page_token")
	if token != "" || len(trades) > size {
		// Pages need an order that stays, whatever the exchange's behaviour.
		slices.SortFunc(trades, func(a, b exchange.Trade) int { return cmp.Compare(a.Sequence, b.Sequence) })
	}
	if query.Get("direction") != "asc" {
		slices.Reverse(trades)
	}
	if token != "" {
		last := -1
		for i := range trades {
			if ActivityID(&trades[i]) == token {
				last = i
			}
		}
		if last < 0 {
			refuse(w, http.StatusUnprocessableEntity, codeInvalid, "invalid page_token")
			return
		}
		trades = trades[last+1:]
	}
	cumulated, orders := f.cumulated()
	told := []map[string]any{}
	for i := range trades[:min(size, len(trades))] {
		told = append(told, activity(&trades[i], cumulated[trades[i].Sequence], orders[trades[i].OrderID]))
	}
	exchange.Say(w, http.StatusOK, told)
}

// cumulated is how much of its order was filled after each trade, whether or not
// it is shown, and all orders.
func (f *Front) cumulated() (map[int64]decimal.Decimal, map[string]exchange.Order) {
	book := f.exchange.Book()
	after, filled, orders := map[int64]decimal.Decimal{}, map[string]decimal.Decimal{}, map[string]exchange.Order{}
	for _, t := range book.Trades {
		filled[t.OrderID] = filled[t.OrderID].Add(t.Quantity)
		after[t.Sequence] = filled[t.OrderID]
	}
	for _, o := range book.Orders {
		orders[o.ID] = o
	}
	return after, orders
}

// newYork is behind UTC, as the times in activities' ids are.
var newYork = time.FixedZone("EST", -5*60*60)

// ActivityID is what Alpaca calls a trade by: its time in New York, and its own id.
func ActivityID(t *exchange.Trade) string {
	return strings.ReplaceAll(t.At.In(newYork).Format("20060102150405.000"), ".", "") + "::" + t.ID
}

func activity(t *exchange.Trade, cumulated decimal.Decimal, o exchange.Order) map[string]any {
	kind := "partial_fill"
	if cumulated.Equal(o.Quantity) {
		kind = "fill"
	}
	return map[string]any{
		"id": ActivityID(t), "activity_type": "FILL", "transaction_time": timeWord(t.At), "type": kind, "price": t.Price, "qty": t.Quantity,
		"side": t.Side, "symbol": t.Symbol, "leaves_qty": o.Quantity.Sub(cumulated), "cum_qty": cumulated, "order_id": t.OrderID,
		"order_status": status(&o),
	}
}

// span is the time that a query asks about, without its ends.
func span(w http.ResponseWriter, query url.Values) (after, until time.Time, ok bool) {
	until = time.Unix(1<<40, 0)
	for name, into := range map[string]*time.Time{"after": &after, "until": &until} {
		if text := query.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				refuse(w, http.StatusUnprocessableEntity, codeInvalid, "invalid %s", name)
				return after, until, false
			}
			*into = at
		}
	}
	return after, until, true
}

func number(w http.ResponseWriter, query url.Values, name string, usual, most int) (int, bool) {
	text := query.Get(name)
	if text == "" {
		return usual, true
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 || value > most {
		refuse(w, http.StatusUnprocessableEntity, codeInvalid, "invalid %s", name)
		return 0, false
	}
	return value, true
}
