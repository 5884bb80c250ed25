package gemini

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
)

// refusals are Gemini's words for the exchange's.
var refusals = map[exchange.Reason]struct {
	status int
	reason string
}{
	exchange.ReasonUnknownProduct: {http.StatusBadRequest, "InvalidSymbol"},
	exchange.ReasonNotTraded:      {http.StatusBadRequest, "MarketNotOpen"},
	exchange.ReasonMaintenance:    {http.StatusBadRequest, "MarketNotOpen"},
	exchange.ReasonPrice:          {http.StatusBadRequest, "InvalidPrice"},
	exchange.ReasonQuantity:       {http.StatusBadRequest, "InvalidQuantity"},
	exchange.ReasonTooSmall:       {http.StatusBadRequest, "InvalidQuantity"},
	exchange.ReasonFunds:          {http.StatusNotAcceptable, "InsufficientFunds"},
}

func (f *Front) place(w http.ResponseWriter, r *http.Request, c call) {
	var asked struct {
		ClientOrderID string          `json:"client_order_id"`
		Symbol        string          `json:"symbol"`
		Amount        decimal.Decimal `json:"amount"`
		Price         decimal.Decimal `json:"price"`
		Side          exchange.Side   `json:"side"`
		Type          string          `json:"type"`
		Options       []string        `json:"options"`
	}
	err := json.Unmarshal(c.payload, &asked)
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "InvalidJson", "the payload is no order")
		return
	case asked.Type != "exchange limit":
		refuse(w, http.StatusBadRequest, "InvalidOrderType", "Invalid order type")
		return
	case asked.Side != exchange.Buy && asked.Side != exchange.Sell:
		refuse(w, http.StatusBadRequest, "InvalidSide", "Invalid side")
		return
	case len(asked.Options) > 0 && !slices.Equal(asked.Options, []string{"immediate-or-cancel"}):
		refuse(w, http.StatusBadRequest, "UnsupportedOption", "Option is not supported")
		return
	}
	placement := exchange.Placement{
		Account: c.key.Account, ClientID: asked.ClientOrderID, Symbol: asked.Symbol, Side: asked.Side,
		Quantity: asked.Amount, Limit: asked.Price, Immediate: len(asked.Options) > 0,
	}
	if product, listed := f.listed(asked.Symbol); listed {
		placement.Symbol = product.Symbol
	}
	placed, _, err := f.exchange.Place(r.Context(), placement)
	if refusal, refused := errors.AsType[*exchange.Refusal](err); refused {
		said := refusals[refusal.Reason]
		refuse(w, said.status, said.reason, err.Error())
		return
	}
	exchange.Say(w, http.StatusOK, tell(&placed))
}

// tell of an order. Its number at Gemini is its place in the book.
func tell(o *exchange.Order) map[string]any {
	average := decimal.Zero
	if o.Filled.IsPositive() {
		average = o.Cost.DivRound(o.Filled, 12)
	}
	number := strconv.FormatInt(o.Sequence, 10)
	told := map[string]any{
		"order_id": number, "id": number, "symbol": strings.ToLower(o.Symbol), "exchange": "gemini", "avg_execution_price": average,
		"side": o.Side, "type": "exchange limit", "timestamp": strconv.FormatInt(o.AcceptedAt.Unix(), 10),
		"timestampms": o.AcceptedAt.UnixMilli(), "is_live": o.Status == exchange.Open,
		"is_cancelled": o.Status != exchange.Open && o.Status != exchange.Filled, "is_hidden": false, "was_forced": false,
		"executed_amount": o.Filled, "remaining_amount": o.Remaining(), "options": []string{}, "price": o.Limit, "original_amount": o.Quantity,
	}
	if o.ClientID != "" {
		told["client_order_id"] = o.ClientID
	}
	if o.Immediate {
		told["options"] = []string{"immediate-or-cancel"}
	}
	return told
}

// find an order by its number.
func (f *Front) find(account string, number json.Number) (exchange.Order, bool) {
	for _, o := range f.exchange.Orders(account) {
		if strconv.FormatInt(o.Sequence, 10) == number.String() {
			return o, true
		}
	}
	return exchange.Order{}, false
}

func (f *Front) cancel(w http.ResponseWriter, r *http.Request, c call) {
	var asked struct {
		ID json.Number `json:"order_id"`
	}
	if err := json.Unmarshal(c.payload, &asked); err != nil || asked.ID == "" {
		refuse(w, http.StatusBadRequest, "MissingOrderField", "order_id is required")
		return
	}
	o, found := f.find(c.key.Account, asked.ID)
	if !found {
		refuse(w, http.StatusNotFound, "OrderNotFound", "Order "+asked.ID.String()+" not found")
		return
	}
	ended, err := f.exchange.Cancel(r.Context(), c.key.Account, o.ID)
	if refusal, refused := errors.AsType[*exchange.Refusal](err); refused && refusal.Reason != exchange.ReasonFinal {
		refuse(w, http.StatusNotFound, "OrderNotFound", "Order "+asked.ID.String()+" not found")
		return
	}
	exchange.Say(w, http.StatusOK, tell(&ended))
}

func (f *Front) cancelAll(w http.ResponseWriter, r *http.Request, c call) {
	cancelled, rejects := []int64{}, []int64{}
	for _, o := range f.exchange.OpenOrders(c.key.Account) {
		if _, err := f.exchange.Cancel(r.Context(), c.key.Account, o.ID); err != nil {
			rejects = append(rejects, o.Sequence)
			continue
		}
		cancelled = append(cancelled, o.Sequence)
	}
	exchange.Say(w, http.StatusOK, map[string]any{
		"result": "ok", "details": map[string]any{"cancelledOrders": cancelled, "cancelRejects": rejects},
	})
}

// status of an order by its number, or of all with a client order id: a list where
// there are several.
func (f *Front) status(w http.ResponseWriter, _ *http.Request, c call) {
	var asked struct {
		ID            json.Number `json:"order_id"`
		ClientOrderID string      `json:"client_order_id"`
		IncludeTrades bool        `json:"include_trades"`
	}
	if err := json.Unmarshal(c.payload, &asked); err != nil || (asked.ID == "") == (asked.ClientOrderID == "") {
		refuse(w, http.StatusBadRequest, "MissingOrderField", "order_id or client_order_id is required, and not both")
		return
	}
	found := []map[string]any{}
	for _, o := range f.exchange.Orders(c.key.Account) {
		if strconv.FormatInt(o.Sequence, 10) != asked.ID.String() && (asked.ClientOrderID == "" || o.ClientID != asked.ClientOrderID) {
			continue
		}
		told := tell(&o)
		if asked.IncludeTrades {
			told["trades"] = f.tradesOf(&o)
		}
		found = append(found, told)
	}
	switch len(found) {
	case 0:
		refuse(w, http.StatusNotFound, "OrderNotFound", "Order not found")
	case 1:
		exchange.Say(w, http.StatusOK, found[0])
	default:
		exchange.Say(w, http.StatusOK, found)
	}
}

func (f *Front) orders(w http.ResponseWriter, _ *http.Request, c call) {
	open := f.exchange.OpenOrders(c.key.Account)
	told := make([]map[string]any, 0, len(open))
	for _, o := range open {
		told = append(told, tell(&o))
	}
	exchange.Say(w, http.StatusOK, told)
}

func (f *Front) tradesOf(o *exchange.Order) []map[string]any {
	told := []map[string]any{}
	for _, t := range f.exchange.Trades(o.Account) {
		if t.OrderID == o.ID {
			told = append(told, tellTrade(&t, o.Sequence))
		}
	}
	return told
}

func tellTrade(t *exchange.Trade, number int64) map[string]any {
	side := "Buy"
	if t.Side == exchange.Sell {
		side = "Sell"
	}
	told := map[string]any{
		"price": t.Price, "amount": t.Quantity, "timestamp": t.At.Unix(), "timestampms": t.At.UnixMilli(), "type": side,
		"aggressor": !t.Maker, "fee_currency": t.FeeCurrency, "fee_amount": t.Fee, "tid": t.Sequence,
		"order_id": strconv.FormatInt(number, 10), "exchange": "gemini", "is_clearing_fill": false, "symbol": strings.ToUpper(t.Symbol),
	}
	if t.ClientID != "" {
		told["client_order_id"] = t.ClientID
	}
	return told
}

// trades lists those of a symbol, newest first: the oldest from a time on, or the
// newest where none is named.
func (f *Front) trades(w http.ResponseWriter, _ *http.Request, c call) {
	asked := struct {
		Symbol    string `json:"symbol"`
		Limit     int    `json:"limit_trades"`
		Timestamp *int64 `json:"timestamp"`
	}{Limit: 50}
	if err := json.Unmarshal(c.payload, &asked); err != nil || asked.Limit < 1 || asked.Limit > 500 {
		refuse(w, http.StatusBadRequest, "InvalidJson", "limit_trades is not between 1 and 500")
		return
	}
	numbers := map[string]int64{}
	for _, o := range f.exchange.Book().Orders {
		numbers[o.ID] = o.Sequence
	}
	trades := slices.DeleteFunc(f.exchange.Trades(c.key.Account), func(t exchange.Trade) bool {
		return asked.Symbol != "" && !strings.EqualFold(t.Symbol, asked.Symbol) || asked.Timestamp != nil && t.At.UnixMilli() < *asked.Timestamp
	})
	if len(trades) > asked.Limit {
		// A part needs an order that stays, whatever the exchange's behaviour.
		slices.SortFunc(trades, func(a, b exchange.Trade) int { return int(a.Sequence - b.Sequence) })
		if asked.Timestamp != nil {
			trades = trades[:asked.Limit]
		} else {
			trades = trades[len(trades)-asked.Limit:]
		}
	}
	slices.Reverse(trades)
	told := make([]map[string]any, len(trades))
	for i := range trades {
		told[i] = tellTrade(&trades[i], numbers[trades[i].OrderID])
	}
	exchange.Say(w, http.StatusOK, told)
}

func (f *Front) balances(w http.ResponseWriter, _ *http.Request, c call) {
	balances := f.exchange.Balances(c.key.Account)
	told := make([]map[string]any, 0, len(balances))
	for currency, balance := range balances {
		told = append(told, map[string]any{
			"type": "exchange", "currency": currency, "amount": balance.Total, "available": balance.Total.Sub(balance.Held),
			"availableForWithdrawal": balance.Total.Sub(balance.Held),
		})
	}
	exchange.Say(w, http.StatusOK, told)
}
