package coinbase

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// hosts of the environments. A token is for a request to one host, so this is
// also what is signed where a gateway stands in between.
var hosts = map[v1alpha1.VenueEnvironment]string{
	v1alpha1.EnvironmentProduction: "api.coinbase.com",
	v1alpha1.EnvironmentSandbox:    "api-sandbox.coinbase.com",
}

// limits keep an account below the 30 private requests a second that Coinbase
// allows to one user, who may have several
// (https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/rest-api).
var limits = rest.Limits{
	Questions:     rest.Limit{PerSecond: 5, Burst: 20},
	Placements:    rest.Limit{PerSecond: 4, Burst: 10},
	Cancellations: rest.Limit{PerSecond: 6, Burst: 20},
}

const apiPath = "/api/v3/brokerage"

// Symbol is how Coinbase spells a pair.
func Symbol(base, quote string) string { return base + "-" + quote }

// session is one key at one address.
type session struct {
	client      *rest.Client
	credentials *Credentials
}

// request is a request that the key signs.
func (s session) request(method, path string, query url.Values) rest.Request {
	return rest.Request{Method: method, Path: path, Query: query, Sign: func(leaving *rest.Leaving) error {
		return s.credentials.sign(leaving, leaving.Now.Add(tokenLife))
	}}
}

// ask puts a question that must be answered with 200.
func (s session) ask(ctx context.Context, path string, query url.Values, into any) error {
	answer, err := s.client.Ask(ctx, s.request(http.MethodGet, apiPath+path, query))
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return questionError(answer)
	}
	return answer.Decode(into)
}

var (
	portfolioID   = regexp.MustCompile(`^[-0-9A-Za-z]{8,64}$`)
	portfolioType = regexp.MustCompile(`^[A-Z_]{0,64}$`)
)

func (s session) account(ctx context.Context) (venue.Account, error) {
	var told struct {
		CanView       *bool  `json:"can_view"`
		CanTrade      *bool  `json:"can_trade"`
		CanTransfer   *bool  `json:"can_transfer"`
		PortfolioID   string `json:"portfolio_uuid"`
		PortfolioType string `json:"portfolio_type"`
	}
	if err := s.ask(ctx, "/key_permissions", nil, &told); err != nil {
		return venue.Account{}, err
	}
	// What is not said must not count as "no": that would let a key pass.
	if told.CanView == nil || told.CanTrade == nil || told.CanTransfer == nil {
		return venue.Account{}, fmt.Errorf("%w: it does not say whether the key can view, trade and transfer", venue.ErrMalformed)
	}
	if !portfolioID.MatchString(told.PortfolioID) || !portfolioType.MatchString(told.PortfolioType) {
		return venue.Account{}, fmt.Errorf("%w: it does not say which portfolio the key is for", venue.ErrMalformed)
	}
	return venue.Account{
		ID: told.PortfolioID, Type: told.PortfolioType,
		CanView: *told.CanView, CanTrade: *told.CanTrade, CanTransfer: *told.CanTransfer,
	}, nil
}

func (s session) product(ctx context.Context, id string) (venue.Product, error) {
	var told struct {
		ID              string `json:"product_id"`
		BaseIncrement   string `json:"base_increment"`
		QuoteIncrement  string `json:"quote_increment"`
		PriceIncrement  string `json:"price_increment"`
		QuoteMinSize    string `json:"quote_min_size"`
		IsDisabled      bool   `json:"is_disabled"`
		TradingDisabled bool   `json:"trading_disabled"`
		CancelOnly      bool   `json:"cancel_only"`
		ViewOnly        bool   `json:"view_only"`
	}
	if err := s.ask(ctx, "/products/"+url.PathEscape(id), nil, &told); err != nil {
		return venue.Product{}, err
	}
	if told.ID != id {
		return venue.Product{}, fmt.Errorf("%w: it speaks of another product than %s", venue.ErrMalformed, id)
	}
	if told.PriceIncrement == "" {
		told.PriceIncrement = told.QuoteIncrement
	}
	var product venue.Product
	for _, number := range []struct {
		name, text string
		positive   bool
		into       *decimal.Decimal
	}{
		{"price_increment", told.PriceIncrement, true, &product.PriceIncrement},
		{"base_increment", told.BaseIncrement, true, &product.BaseIncrement},
		{"quote_min_size", told.QuoteMinSize, false, &product.QuoteMinSize},
	} {
		value, err := rest.Number(number.name+" of "+id, number.text)
		if err != nil {
			return venue.Product{}, err
		}
		if number.positive && !value.IsPositive() {
			return venue.Product{}, fmt.Errorf("%w: %s of %s is zero", venue.ErrMalformed, number.name, id)
		}
		*number.into = value
	}
	switch {
	case told.IsDisabled:
		product.Untradable = "is disabled"
	case told.TradingDisabled:
		product.Untradable = "has trading disabled"
	case told.ViewOnly:
		product.Untradable = "can only be viewed by this account"
	case told.CancelOnly:
		product.Untradable = "takes cancellations only"
	}
	return product, nil
}
