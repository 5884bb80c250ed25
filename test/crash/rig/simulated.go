package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/alpaca"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/coinbase"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/exchange"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/gemini"
	"github.com/three-rivers-tech/trading-operator/test/venuesim/kraken"
)

// share is what an agent begins with, and the account with a hundred times as much:
// what is the owner's own must not matter.
const share = "100000"

// environment of the accounts: recordings are traded where orders cost nothing.
const environment = "Sandbox"

// protocol is how a venue is played and reached.
type protocol struct {
	// venue as a manifest names it, and field of its part of the account.
	venue, field string
	options      func() exchange.Options
	front        func(*exchange.Exchange) exchange.Front
	// symbol of a base currency against USD.
	symbol func(base string) string
	// trade is what the venue calls a trade by.
	trade func(*exchange.Trade) string
	// feesUntold says that the venue does not tell what a trade's fee was.
	feesUntold bool
	// key makes the two parts of the credentials, by their keys in the Secret, and
	// what the exchange is told of them.
	key func(edit func(*exchange.Key)) (secret map[string]string, key exchange.Key, err error)
}

// Simulated is a real venue's adapter in front of a simulated exchange.
type Simulated struct {
	protocol protocol
	exchange *exchange.Exchange
	server   *http.Server
	ended    chan error
	address  string
	account  string
	secret   map[string]string
}

var _ Exchange = (*Simulated)(nil)

// secretOf makes a key of a front whose keys cannot fail to be made.
func secretOf(first, second string, newKey func(func(*exchange.Key)) (string, string, exchange.Key)) func(func(*exchange.Key)) (map[string]string, exchange.Key, error) {
	return func(edit func(*exchange.Key)) (map[string]string, exchange.Key, error) {
		name, secret, key := newKey(edit)
		return map[string]string{first: name, second: secret}, key, nil
	}
}

// Alpaca refuses a repeat of an id for ever.
func Alpaca(ctx context.Context) (Exchange, error) {
	return simulate(ctx, protocol{
		venue: "Alpaca", field: "alpaca", options: alpaca.Options, symbol: func(base string) string { return base + "/USD" },
		front: func(behind *exchange.Exchange) exchange.Front { return alpaca.New(behind) },
		trade: alpaca.ActivityID, feesUntold: true,
		key: secretOf("key-id", "secret-key", alpaca.NewKey),
	})
}

// Gemini takes an id for no more than a label.
func Gemini(ctx context.Context) (Exchange, error) {
	return simulate(ctx, protocol{
		venue: "Gemini", field: "gemini", options: gemini.Options, symbol: func(base string) string { return strings.ToLower(base) + "usd" },
		front: func(behind *exchange.Exchange) exchange.Front { return gemini.New(behind) },
		trade: func(t *exchange.Trade) string { return strconv.FormatInt(t.Sequence, 10) },
		key:   secretOf("api-key", "api-secret", gemini.NewKey),
	})
}

// Kraken refuses a repeat of an id as long as the first order is open.
func Kraken(ctx context.Context) (Exchange, error) {
	return simulate(ctx, protocol{
		venue: "Kraken", field: "kraken", options: kraken.Options,
		symbol: func(base string) string { return strings.Replace(base, "BTC", "XBT", 1) + "USD" },
		front:  func(behind *exchange.Exchange) exchange.Front { return kraken.New(behind) },
		trade:  kraken.TradeID,
		key:    secretOf("api-key", "private-key", kraken.NewKey),
	})
}

// Coinbase returns the original order for a repeat of its id.
func Coinbase(ctx context.Context) (Exchange, error) {
	return simulate(ctx, protocol{
		venue: "Coinbase", field: "coinbase", options: coinbase.Options,
		front:  func(behind *exchange.Exchange) exchange.Front { return coinbase.New(behind) },
		trade:  func(t *exchange.Trade) string { return t.ID },
		symbol: func(base string) string { return base + "-USD" },
		key: func(edit func(*exchange.Key)) (map[string]string, exchange.Key, error) {
			name, private, key, err := coinbase.NewKey(edit)
			return map[string]string{"key-name": name, "private-key": private}, key, err
		},
	})
}

func simulate(ctx context.Context, p protocol) (Exchange, error) {
	s := &Simulated{protocol: p, exchange: exchange.New(p.options()), ended: make(chan error, 1)}
	secret, key, err := p.key(func(key *exchange.Key) { key.Environment = environment })
	if err != nil {
		return nil, err
	}
	s.secret, s.account = secret, key.Account
	s.exchange.PutKey(key)
	s.exchange.SetBalance(key.Account, "USD", decimal.RequireFromString(share).Mul(decimal.NewFromInt(100)))
	for _, base := range Pairs {
		s.exchange.PutProduct(exchange.Product{
			Symbol: p.symbol(base), Base: base, Quote: "USD", Tick: decimal.New(1, -2), Lot: decimal.New(1, -3), MinNotional: decimal.NewFromInt(1),
		})
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s.exchange.Handler(p.front(s.exchange)), ReadHeaderTimeout: 10 * time.Second}
	go func() { s.ended <- s.server.Serve(listener) }()
	return s, nil
}

// Account implements Exchange.
func (s *Simulated) Account() string {
	return fmt.Sprintf(`  venue: %s
  ledgerRef: {name: main}
  %s:
    environment: %s
    credentialsRef: {name: key}
    currency: USD
    balance: "%s"
`, s.protocol.venue, s.protocol.field, environment, share)
}

// Direction implements Exchange: what is not held cannot be sold.
func (s *Simulated) Direction() string { return "LongOnly" }

// Address implements Exchange.
func (s *Simulated) Address() string { return s.address }

// SetPrice implements Exchange.
func (s *Simulated) SetPrice(base string, price decimal.Decimal) {
	s.exchange.SetPrice(s.protocol.symbol(base), price)
}

// SetLiquid implements Exchange.
func (s *Simulated) SetLiquid(liquid bool) {
	s.exchange.Behave(exchange.Behaviour{Illiquid: !liquid})
}

// Book implements Exchange.
func (s *Simulated) Book(context.Context, judge.Querier) (judge.Book, error) {
	kept := s.exchange.Book()
	book := judge.Book{FeesUntold: s.protocol.feesUntold, Orders: make([]judge.Order, len(kept.Orders)), Fills: make([]judge.Fill, len(kept.Trades))}
	pairs := map[string]string{}
	for _, base := range Pairs {
		pairs[s.protocol.symbol(base)] = base + "-USD"
	}
	for i := range kept.Orders {
		o := &kept.Orders[i]
		book.Orders[i] = judge.Order{
			ClientID: o.ClientID, VenueID: o.ID, Pair: pairs[o.Symbol], Side: sideOf(o.Side), Quantity: o.Quantity, Filled: o.Filled,
			Open: o.Status == exchange.Open, AcceptedAt: o.AcceptedAt,
		}
	}
	for i := range kept.Trades {
		t := &kept.Trades[i]
		book.Fills[i] = judge.Fill{
			TradeID: s.protocol.trade(t), ClientID: t.ClientID, Pair: pairs[t.Symbol], Side: sideOf(t.Side), Quantity: t.Quantity, Price: t.Price,
			Fee: t.Fee, FeeCurrency: t.FeeCurrency,
		}
	}
	return book, nil
}

func sideOf(side exchange.Side) string {
	return map[exchange.Side]string{exchange.Buy: "Buy", exchange.Sell: "Sell"}[side]
}

// Close implements Exchange.
func (s *Simulated) Close() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Reach implements Exchange.
func (s *Simulated) Reach(line, directory string) ([]string, error) {
	credentials := filepath.Join(directory, "credentials")
	if err := os.MkdirAll(credentials, 0o700); err != nil {
		return nil, err
	}
	for name, text := range s.secret {
		if err := os.WriteFile(filepath.Join(credentials, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return []string{"--venue-gateway", s.protocol.venue + "=http://" + line, "--credentials-dir", credentials}, nil
}
