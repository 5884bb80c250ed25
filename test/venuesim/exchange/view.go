package exchange

import (
	"slices"
	"time"
)

// What an account is shown of the book. It may lag behind the book, and lists of
// trades may repeat and shuffle.

// shown reports whether something that happened at a time is visible yet.
func (e *Exchange) shown(at time.Time, lag Duration) bool {
	return !e.clock().Before(at.Add(time.Duration(lag)))
}

// Order finds an account's order by its id, as far as it is shown.
func (e *Exchange) Order(account, id string) (Order, bool) {
	return e.find(account, func() *Order { return e.byID[id] })
}

// OrderByClientID finds the last order that an account has given an id, as far as
// it is shown.
func (e *Exchange) OrderByClientID(account, clientID string) (Order, bool) {
	return e.find(account, func() *Order { return e.byClient[clientKey{account, clientID}] })
}

func (e *Exchange) find(account string, by func() *Order) (Order, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	o := by()
	if o == nil || o.Account != account || !e.shown(o.AcceptedAt, e.behaviour.OrderLag) {
		return Order{}, false
	}
	return *o, true
}

// Orders are those of an account that are shown, oldest first.
func (e *Exchange) Orders(account string) []Order {
	return e.list(account, func() []*Order { return e.orders })
}

// OpenOrders are those of an account that are shown and open, oldest first.
func (e *Exchange) OpenOrders(account string) []Order {
	return e.list(account, func() []*Order { return e.open })
}

func (e *Exchange) list(account string, of func() []*Order) []Order {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	orders := []Order{}
	for _, o := range of() {
		if o.Account == account && e.shown(o.AcceptedAt, e.behaviour.OrderLag) {
			orders = append(orders, *o)
		}
	}
	return orders
}

// Trades are those of an account that are shown, oldest first unless they are
// shuffled.
func (e *Exchange) Trades(account string) []Trade {
	e.mu.Lock()
	defer e.mu.Unlock()
	trades := []Trade{}
	for i := range e.trades {
		if e.trades[i].Account == account && !e.withheld[e.trades[i].ID] && e.shown(e.trades[i].At, e.behaviour.TradeLag) {
			trades = append(trades, e.trades[i])
		}
	}
	if e.behaviour.RepeatTrades {
		trades = append(trades, trades...)
	}
	if e.behaviour.ShuffleTrades {
		e.dice.Shuffle(len(trades), func(i, j int) { trades[i], trades[j] = trades[j], trades[i] })
	}
	return trades
}

// Withhold keeps trades out of answers, all others are told, until it is called
// without them.
func (e *Exchange) Withhold(trades ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.withheld = map[string]bool{}
	for _, id := range trades {
		e.withheld[id] = true
	}
}

// Book is all that has happened, whoever may see it.
type Book struct {
	Orders []Order `json:"orders"`
	Trades []Trade `json:"trades"`
	// Balances by account and currency.
	Balances map[string]map[string]Balance `json:"balances"`
}

// Book tells everything. It is the judge of a test.
func (e *Exchange) Book() Book {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	book := Book{Orders: make([]Order, len(e.orders)), Trades: slices.Clone(e.trades), Balances: map[string]map[string]Balance{}}
	for i, o := range e.orders {
		book.Orders[i] = *o
	}
	for account := range e.accounts {
		book.Balances[account] = e.balances(account)
	}
	return book
}
