// Package exchange is a simulated exchange: accounts, orders and trades in exact
// decimals, and every way in which an exchange, or the way to it, is known to
// fail. A venue's protocol is a Front on top of it. Its own book, not the
// client's, says what has happened.
package exchange

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// Repeat is what the exchange does with a client order id that it has seen
// before on the same account.
type Repeat string

// The ways of treating a repeat.
const (
	// RepeatReturns answers with the order that the id was first used for.
	RepeatReturns Repeat = "returns"
	// RepeatRefused refuses it for ever.
	RepeatRefused Repeat = "refused"
	// RepeatRefusedWhileOpen refuses it as long as the first order is open.
	RepeatRefusedWhileOpen Repeat = "refused-while-open"
	// RepeatAccepted makes another order of it.
	RepeatAccepted Repeat = "accepted"
)

// Side of an order or trade.
type Side string

// The two sides.
const (
	Buy  Side = "buy"
	Sell Side = "sell"
)

// Status of an order in the book.
type Status string

// The states of an order. Every one but Open is final.
const (
	Open      Status = "open"
	Filled    Status = "filled"
	Cancelled Status = "cancelled"
	// Expired orders had an end of their own.
	Expired Status = "expired"
	// Failed orders were accepted and then taken back by the exchange.
	Failed Status = "failed"
)

// Options of an exchange.
type Options struct {
	Repeat Repeat
	// TakerFee and MakerFee are shares of a trade's value.
	TakerFee, MakerFee decimal.Decimal
	// FeeOnReceived takes fees in the currency that a trade brings in, instead of
	// the quote currency.
	FeeOnReceived bool
	// Seed of the dice that faults with a probability are thrown by.
	Seed uint64
}

// Product is a pair that is traded.
type Product struct {
	Symbol string `json:"symbol"`
	Base   string `json:"base"`
	Quote  string `json:"quote"`
	// Tick and Lot are the steps of prices and quantities.
	Tick decimal.Decimal `json:"tick"`
	Lot  decimal.Decimal `json:"lot"`
	// MinQuantity and MinNotional are the least that an order may be; zero is none.
	MinQuantity decimal.Decimal `json:"minQuantity"`
	MinNotional decimal.Decimal `json:"minNotional"`
	// State in the front's own words where the product is not traded as usual;
	// empty if it is.
	State string `json:"state,omitempty"`
}

// Key is an API key as the exchange knows it.
type Key struct {
	Name string `json:"name"`
	// Secret that both sides know, or the public key in PEM.
	Secret string `json:"secret"`
	// Account that the key is for, and its type in the venue's words.
	Account     string `json:"account"`
	AccountType string `json:"accountType"`
	// Environment that the key is for, Production or Sandbox.
	Environment string `json:"environment"`
	CanView     bool   `json:"canView"`
	CanTrade    bool   `json:"canTrade"`
	CanTransfer bool   `json:"canTransfer"`
}

// Order in the book.
type Order struct {
	// Sequence counts accepted orders from one; ID is a UUID made of it.
	Sequence int64           `json:"sequence"`
	ID       string          `json:"id"`
	ClientID string          `json:"clientId"`
	Account  string          `json:"account"`
	Symbol   string          `json:"symbol"`
	Side     Side            `json:"side"`
	Quantity decimal.Decimal `json:"quantity"`
	Limit    decimal.Decimal `json:"limit"`
	// Immediate orders are cancelled as far as they do not fill at once.
	Immediate bool `json:"immediate,omitempty"`
	// Expires is when what is left is cancelled; zero for never.
	Expires time.Time       `json:"expires,omitzero"`
	Status  Status          `json:"status"`
	Filled  decimal.Decimal `json:"filled"`
	// Cost is the value of its trades in the quote currency, without Fees, which
	// are in FeeCurrency.
	Cost        decimal.Decimal `json:"cost"`
	Fees        decimal.Decimal `json:"fees"`
	FeeCurrency string          `json:"feeCurrency"`
	// ArrivedAt is when its request began to arrive, AcceptedAt when it entered the
	// book, and EndedAt when it became final, all by the exchange's clock.
	ArrivedAt  time.Time `json:"arrivedAt"`
	AcceptedAt time.Time `json:"acceptedAt"`
	EndedAt    time.Time `json:"endedAt,omitzero"`
	// Repeats counts later requests with the same client id.
	Repeats int `json:"repeats"`
	// Body of the request that made it.
	Body string `json:"body"`
}

// Remaining is what is not filled.
func (o *Order) Remaining() decimal.Decimal { return o.Quantity.Sub(o.Filled) }

// Trade is one execution of an order.
type Trade struct {
	// Sequence counts trades from one; ID is a UUID made of it.
	Sequence    int64           `json:"sequence"`
	ID          string          `json:"id"`
	OrderID     string          `json:"orderId"`
	ClientID    string          `json:"clientId"`
	Account     string          `json:"account"`
	Symbol      string          `json:"symbol"`
	Side        Side            `json:"side"`
	Quantity    decimal.Decimal `json:"quantity"`
	Price       decimal.Decimal `json:"price"`
	Fee         decimal.Decimal `json:"fee"`
	FeeCurrency string          `json:"feeCurrency"`
	Maker       bool            `json:"maker,omitempty"`
	At          time.Time       `json:"at"`
}

// Balance of one currency.
type Balance struct {
	Total decimal.Decimal `json:"total"`
	// Held by open orders.
	Held decimal.Decimal `json:"held"`
}

// Exchange is one venue. It is safe for use by many at once.
type Exchange struct {
	options Options

	mu        sync.Mutex
	ahead     time.Duration
	changed   chan struct{}
	dice      *rand.Rand
	behaviour Behaviour
	faults    []Fault
	requests  []Request
	keys      map[string]Key
	products  map[string]Product
	prices    map[string]decimal.Decimal
	accounts  map[string]map[string]decimal.Decimal
	orders    []*Order
	byID      map[string]*Order
	byClient  map[clientKey]*Order
	open      []*Order
	trades    []Trade
	cancelAll map[string]time.Time
	used      map[string]time.Time
	withheld  map[string]bool
	waiting   int
}

type clientKey struct{ account, client string }

// New is an exchange without products and accounts.
func New(options Options) *Exchange {
	return &Exchange{
		options: options, changed: make(chan struct{}),
		dice: rand.New(rand.NewPCG(options.Seed, 1)), //nolint:gosec // dice of a test, which must fall alike
		keys: map[string]Key{}, products: map[string]Product{}, prices: map[string]decimal.Decimal{},
		accounts: map[string]map[string]decimal.Decimal{}, byID: map[string]*Order{}, byClient: map[clientKey]*Order{},
		cancelAll: map[string]time.Time{}, used: map[string]time.Time{},
		withheld: map[string]bool{},
	}
}

// namespace of the ids that are made of sequences.
var namespace = uuid.MustParse("5f4b6e0a-9d1f-5a35-8a0e-3f1f9d6f6c11")

func idOf(kind byte, sequence int64) string {
	return uuid.NewSHA1(namespace, strconv.AppendInt([]byte{kind}, sequence, 10)).String()
}

// PutKey makes a key known, or changes it.
func (e *Exchange) PutKey(key Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys[key.Name] = key
	if e.accounts[key.Account] == nil {
		e.accounts[key.Account] = map[string]decimal.Decimal{}
	}
}

// Key finds a key by its name.
func (e *Exchange) Key(name string) (Key, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key, known := e.keys[name]
	return key, known
}

// Use remembers a nonce and reports whether it is used for the first time.
func (e *Exchange) Use(nonce string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, used := e.used[nonce]; used {
		return false
	}
	e.used[nonce] = e.clock()
	return true
}

// PutProduct lists a product, or changes it.
func (e *Exchange) PutProduct(product Product) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.products[product.Symbol] = product
}

// Delist takes a product away.
func (e *Exchange) Delist(symbol string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.products, symbol)
}

// Product finds a product.
func (e *Exchange) Product(symbol string) (Product, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	product, listed := e.products[symbol]
	return product, listed
}

// Products lists all, by symbol.
func (e *Exchange) Products() []Product {
	e.mu.Lock()
	defer e.mu.Unlock()
	products := make([]Product, 0, len(e.products))
	for _, product := range e.products {
		products = append(products, product)
	}
	slices.SortFunc(products, func(a, b Product) int { return strings.Compare(a.Symbol, b.Symbol) })
	return products
}

// SetBalance sets what an account holds of a currency.
func (e *Exchange) SetBalance(account, currency string, total decimal.Decimal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.accounts[account] == nil {
		e.accounts[account] = map[string]decimal.Decimal{}
	}
	e.accounts[account][currency] = total
}

// Balances of an account by currency.
func (e *Exchange) Balances(account string) map[string]Balance {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.balances(account)
}

func (e *Exchange) balances(account string) map[string]Balance {
	balances := map[string]Balance{}
	for currency, total := range e.accounts[account] {
		balances[currency] = Balance{Total: total}
	}
	for _, o := range e.open {
		if o.Account != account {
			continue
		}
		currency, amount := e.hold(o)
		balance := balances[currency]
		balance.Held = balance.Held.Add(amount)
		balances[currency] = balance
	}
	return balances
}

// Time as the world has it: the machine's, and what Advance has added.
func (e *Exchange) Time() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.time()
}

func (e *Exchange) time() time.Time { return time.Now().Add(e.ahead).UTC() }

// Clock is what the exchange takes for the time: the world's, and its own skew.
func (e *Exchange) Clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clock()
}

func (e *Exchange) clock() time.Time {
	return e.time().Add(time.Duration(e.behaviour.Skew)).Truncate(time.Microsecond)
}

// Advance lets time pass at once, for requests that are held up as well.
func (e *Exchange) Advance(by time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ahead += by
	e.expire()
	close(e.changed)
	e.changed = make(chan struct{})
}

// wait lets time pass. It ends early with the channel, which may be nil.
func (e *Exchange) wait(span time.Duration, gone <-chan struct{}) {
	if span <= 0 {
		return
	}
	e.mu.Lock()
	until := e.time().Add(span)
	e.waiting++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.waiting--
		e.mu.Unlock()
	}()
	for {
		e.mu.Lock()
		left, changed := until.Sub(e.time()), e.changed
		e.mu.Unlock()
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-gone:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// Waiting is how many requests are held up.
func (e *Exchange) Waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waiting
}
