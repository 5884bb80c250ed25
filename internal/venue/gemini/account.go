package gemini

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// accountType is the shape of Gemini's words for kinds of accounts.
var accountType = regexp.MustCompile(`^[a-z_-]{1,32}$`)

// exchangeAccount is the type of account that trades.
const exchangeAccount = "exchange"

// Account implements venue.Checker. Gemini names an account by no id of its own; the
// millisecond in which it was made is what of it never changes. Both questions are
// asked with one nonce, which a key that "uses a time based nonce" takes and any
// other refuses.
func (v *Venue) Account(ctx context.Context) (venue.Account, error) {
	at := v.now().Unix()
	nonce := func(time.Time) int64 { return at }
	var detail struct {
		Account struct {
			Type    string `json:"type"`
			Created text   `json:"created"`
		} `json:"account"`
	}
	if err := v.askAt(ctx, "/v1/account", nonce, &detail); err != nil {
		return venue.Account{}, err
	}
	var roles struct {
		Auditor     *bool `json:"isAuditor"`
		FundManager *bool `json:"isFundManager"`
		Trader      *bool `json:"isTrader"`
	}
	if err := v.askAt(ctx, "/v1/roles", nonce, &roles); err != nil {
		return venue.Account{}, err
	}
	// What is not said must not count as "no": that would let a key pass.
	if roles.Auditor == nil || roles.FundManager == nil || roles.Trader == nil {
		return venue.Account{}, fmt.Errorf("%w: it does not say which roles the key has", venue.ErrMalformed)
	}
	if _, err := momentOf(detail.Account.Created); err != nil || !accountType.MatchString(detail.Account.Type) {
		return venue.Account{}, fmt.Errorf("%w: it does not say which account the key is for", venue.ErrMalformed)
	}
	return venue.Account{
		ID: "created-" + string(detail.Account.Created), Type: detail.Account.Type,
		CanView:     *roles.Trader || *roles.Auditor,
		CanTrade:    *roles.Trader && detail.Account.Type == exchangeAccount,
		CanTransfer: *roles.FundManager,
	}, nil
}

func (v *Venue) askAt(ctx context.Context, path string, nonce func(time.Time) int64, into any) error {
	answer, err := v.client.Ask(ctx, v.requestAt(path, nil, nonce))
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return question(answer)
	}
	return answer.Decode(into)
}

// details are what Gemini says of a symbol
// (https://docs.gemini.com/rest/market-data, Get Symbol Details). Its tick_size is
// the step of quantities.
type details struct {
	Symbol       string `json:"symbol"`
	QuantityStep text   `json:"tick_size"`
	PriceStep    text   `json:"quote_increment"`
	MinOrderSize text   `json:"min_order_size"`
	Status       string `json:"status"`
	ProductType  string `json:"product_type"`
}

// Product implements venue.Checker. Gemini tells everybody the same. Its least order
// is a quantity of the base currency.
func (v *Venue) Product(ctx context.Context, symbol string) (venue.Product, error) {
	answer, err := v.client.Ask(ctx, rest.Request{
		Method: http.MethodGet, Path: "/v1/symbols/details/" + url.PathEscape(strings.ToLower(symbol)),
		Sign: func(leaving *rest.Leaving) error {
			v.forward(leaving)
			return nil
		},
	})
	switch {
	case err != nil:
		return venue.Product{}, err
	case answer.Status == http.StatusBadRequest && reasonOf(answer) != "":
		// The symbol is all that was said.
		return venue.Product{}, fmt.Errorf("%w: %s", venue.ErrNoSuchThing, symbol)
	case answer.Status != http.StatusOK:
		return venue.Product{}, question(answer)
	}
	var told details
	if err := answer.Decode(&told); err != nil {
		return venue.Product{}, err
	}
	return told.product(symbol)
}

// untradable are the states of an order book that takes no limit order which trades
// at once.
var untradable = map[string]string{
	"open": "", "limit_only": "",
	"closed": "is closed", "cancel_only": "takes cancellations only", "post_only": "takes only orders that do not trade at once",
}

func (d *details) product(symbol string) (venue.Product, error) {
	if !strings.EqualFold(d.Symbol, symbol) {
		return venue.Product{}, fmt.Errorf("%w: it speaks of another symbol than %s", venue.ErrMalformed, symbol)
	}
	var product venue.Product
	for _, number := range []struct {
		name     string
		text     text
		positive bool
		into     *decimal.Decimal
	}{
		{"quote_increment", d.PriceStep, true, &product.PriceIncrement},
		{"tick_size", d.QuantityStep, true, &product.BaseIncrement},
		{"min_order_size", d.MinOrderSize, false, &product.BaseMinSize},
	} {
		value, err := step(number.text)
		if err != nil || number.positive && !value.IsPositive() {
			return venue.Product{}, fmt.Errorf("%w: %s of %s is not a number to go by", venue.ErrMalformed, number.name, symbol)
		}
		*number.into = value
	}
	word, known := untradable[d.Status]
	switch {
	case d.ProductType != "" && d.ProductType != "spot":
		product.Untradable = "is not a spot pair"
	case !known:
		product.Untradable = "is in a state that is not known"
	default:
		product.Untradable = word
	}
	return product, nil
}

// short is a number that may have an exponent of one or two digits, such as 1e-8.
var short = regexp.MustCompile(`^[0-9]{1,18}([.][0-9]{1,18})?([eE][-+]?[0-9]{1,2})?$`)

func step(number text) (decimal.Decimal, error) {
	if !short.MatchString(string(number)) {
		return decimal.Zero, venue.ErrMalformed
	}
	return decimal.NewFromString(string(number))
}

// Balances implements venue.Balancer.
func (v *Venue) Balances(ctx context.Context) ([]venue.Balance, error) {
	var told []struct {
		Type      string `json:"type"`
		Currency  string `json:"currency"`
		Amount    text   `json:"amount"`
		Available text   `json:"available"`
	}
	if err := v.ask(ctx, "/v1/balances", nil, &told); err != nil {
		return nil, err
	}
	balances := make([]venue.Balance, 0, len(told))
	for _, holding := range told {
		currency := strings.ToUpper(holding.Currency)
		if !currencyName.MatchString(currency) {
			return nil, fmt.Errorf("%w: a balance has no currency", venue.ErrMalformed)
		}
		if holding.Type != "" && holding.Type != exchangeAccount {
			continue
		}
		total, err := rest.Number("the amount of "+currency, string(holding.Amount))
		if err != nil {
			return nil, err
		}
		available, err := rest.Number("the available amount of "+currency, string(holding.Available))
		if err != nil {
			return nil, err
		}
		balances = append(balances, venue.Balance{Currency: currency, Total: total, Available: available})
	}
	return balances, nil
}
