package alpaca

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// accountTold is what Alpaca says of an account
// (https://docs.alpaca.markets/reference/getaccount-1).
type accountTold struct {
	ID               string `json:"id"`
	Status           string `json:"status"`
	CryptoStatus     string `json:"crypto_status"`
	Currency         string `json:"currency"`
	Cash             string `json:"cash"`
	Spendable        string `json:"non_marginable_buying_power"` //nolint:misspell // Alpaca's word
	TradingBlocked   *bool  `json:"trading_blocked"`
	TransfersBlocked *bool  `json:"transfers_blocked"`
	AccountBlocked   *bool  `json:"account_blocked"`
	Suspended        *bool  `json:"trade_suspended_by_user"`
}

// active is the status of an account, or of its crypto part, that may trade.
const active = "ACTIVE"

// statusWord is the shape of a status.
var statusWord = regexp.MustCompile(`^[A-Z_]{0,64}$`)

// Account implements venue.Checker. Alpaca's keys have no permissions of their own:
// what the account may do, each key to it may. That includes sending crypto to
// approved addresses (https://docs.alpaca.markets/docs/crypto-wallets-api), unless
// transfers are blocked, or the account is one of the paper accounts, which hold
// nothing that could be sent.
func (v *Venue) Account(ctx context.Context) (venue.Account, error) {
	told, err := v.account(ctx)
	if err != nil {
		return venue.Account{}, err
	}
	// What is not said must not count as "no": that would let a key pass.
	if told.TradingBlocked == nil || told.TransfersBlocked == nil || told.AccountBlocked == nil || told.Suspended == nil {
		return venue.Account{}, fmt.Errorf("%w: it does not say whether the account is blocked", venue.ErrMalformed)
	}
	if !orderID.MatchString(told.ID) || !statusWord.MatchString(told.CryptoStatus) {
		return venue.Account{}, fmt.Errorf("%w: it does not say which account the key is for", venue.ErrMalformed)
	}
	free := !*told.AccountBlocked
	return venue.Account{
		ID: told.ID, Type: told.CryptoStatus, CanView: true,
		CanTrade:    free && !*told.TradingBlocked && !*told.Suspended && told.Status == active && told.CryptoStatus == active,
		CanTransfer: v.environment == v1alpha1.EnvironmentProduction && !*told.TransfersBlocked,
	}, nil
}

func (v *Venue) account(ctx context.Context) (accountTold, error) {
	var told accountTold
	err := v.ask(ctx, "/v2/account", nil, &told)
	return told, err
}

// Product implements venue.Checker, for crypto pairs. Alpaca's least order is a
// quantity of the base currency; of its value it says nothing.
func (v *Venue) Product(ctx context.Context, symbol string) (venue.Product, error) {
	if !strings.Contains(symbol, "/") {
		return venue.Product{}, fmt.Errorf("%w: %s is not a crypto pair", venue.ErrNoSuchThing, symbol)
	}
	answer, err := v.client.Ask(ctx, v.request(http.MethodGet, "/v2/assets/"+url.PathEscape(joined(symbol)), nil))
	if err != nil {
		return venue.Product{}, err
	}
	if answer.Status != http.StatusOK {
		return venue.Product{}, question(answer)
	}
	var told assetTold
	if err := answer.Decode(&told); err != nil {
		return venue.Product{}, err
	}
	return told.product(symbol)
}

// assetTold is what Alpaca says of an asset
// (https://docs.alpaca.markets/reference/get-v2-assets-symbol_or_asset_id).
type assetTold struct {
	Symbol         string `json:"symbol"`
	Class          string `json:"class"`
	Status         string `json:"status"`
	Tradable       bool   `json:"tradable"`
	MinOrderSize   string `json:"min_order_size"`
	TradeIncrement string `json:"min_trade_increment"`
	PriceIncrement string `json:"price_increment"`
}

func (a *assetTold) product(symbol string) (venue.Product, error) {
	if joined(a.Symbol) != joined(symbol) || a.Class != "crypto" {
		return venue.Product{}, fmt.Errorf("%w: it speaks of another asset than %s", venue.ErrMalformed, symbol)
	}
	var product venue.Product
	for _, number := range []struct {
		name, text string
		positive   bool
		into       *decimal.Decimal
	}{
		{"price_increment", a.PriceIncrement, true, &product.PriceIncrement},
		{"min_trade_increment", a.TradeIncrement, true, &product.BaseIncrement},
		{"min_order_size", a.MinOrderSize, false, &product.BaseMinSize},
	} {
		value, err := rest.Number(number.name+" of "+symbol, number.text)
		if err == nil && number.positive && !value.IsPositive() {
			err = fmt.Errorf("%w: %s of %s is zero", venue.ErrMalformed, number.name, symbol)
		}
		if err != nil {
			return venue.Product{}, err
		}
		*number.into = value
	}
	switch {
	case a.Status != "active":
		product.Untradable = "is not active"
	case !a.Tradable:
		product.Untradable = "is not tradable"
	}
	return product, nil
}

// Balances implements venue.Balancer: the cash, and every crypto asset. Alpaca names
// an asset by its pair with US dollars. Stocks are left out.
func (v *Venue) Balances(ctx context.Context) ([]venue.Balance, error) {
	told, err := v.account(ctx)
	if err != nil {
		return nil, err
	}
	cash, err := rest.Signed("cash", told.Cash)
	if err != nil {
		return nil, err
	}
	spendable, err := rest.Signed("the buying power", told.Spendable)
	if err != nil {
		return nil, err
	}
	if told.Currency != "USD" {
		return nil, fmt.Errorf("%w: the account is not in US dollars", venue.ErrMalformed)
	}
	balances := []venue.Balance{{Currency: told.Currency, Total: cash, Available: decimal.Min(cash, spendable)}}
	var positions []struct {
		Symbol    string `json:"symbol"`
		Class     string `json:"asset_class"`
		Quantity  string `json:"qty"`
		Available string `json:"qty_available"`
	}
	if err := v.ask(ctx, "/v2/positions", nil, &positions); err != nil {
		return nil, err
	}
	for _, position := range positions {
		if position.Class != "crypto" {
			continue
		}
		currency, ok := strings.CutSuffix(joined(position.Symbol), "USD")
		if !ok || !currencyName.MatchString(currency) {
			return nil, fmt.Errorf("%w: a position is not named by its pair with US dollars", venue.ErrMalformed)
		}
		total, err := rest.Number("qty of "+currency, position.Quantity)
		if err != nil {
			return nil, err
		}
		available, err := rest.Number("qty_available of "+currency, position.Available)
		if err != nil {
			return nil, err
		}
		balances = append(balances, venue.Balance{Currency: currency, Total: total, Available: available})
	}
	return balances, nil
}

var currencyName = regexp.MustCompile(`^[A-Z0-9]{1,16}$`)
