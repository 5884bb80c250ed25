// Package coinbase asks Coinbase Advanced Trade what an API key may do and how a
// product is traded. It sends no orders.
package coinbase

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/time/rate"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// requestTimeout bounds one question; the exchange answers within a second.
	requestTimeout = 10 * time.Second
	// maxBody bounds an answer; a product is some 2 KiB.
	maxBody = 64 << 10
	// Coinbase takes 30 private requests a second from one user. All accounts of
	// the operator together stay below, since they may be one user's.
	requestsPerSecond = 10
	requestsBurst     = 20

	apiPath = "/api/v3/brokerage"
)

// hosts of the environments. A token is for a request to one host, so this is
// also what is signed where a gateway stands in between.
var hosts = map[v1alpha1.VenueEnvironment]string{
	v1alpha1.EnvironmentProduction: "api.coinbase.com",
	v1alpha1.EnvironmentSandbox:    "api-sandbox.coinbase.com",
}

// Options of a Client. The zero value asks Coinbase itself.
type Options struct {
	// URL of a gateway that requests of both environments are sent to; empty for
	// Coinbase itself. Tokens are signed for Coinbase's own host even so. It must
	// be https, or http to a loopback address.
	URL string
	// Transport that requests are sent by; nil for one that checks certificates
	// and goes by the proxy of the process's environment.
	Transport http.RoundTripper
}

// Client asks Coinbase. It is safe for use by many at once.
type Client struct {
	gateway *url.URL
	http    *http.Client
	limiter *rate.Limiter
	now     func() time.Time
}

// New makes a client. It fails on a URL that must not be used.
func New(options Options) (*Client, error) {
	client := &Client{
		http: &http.Client{
			Transport: options.Transport,
			Timeout:   requestTimeout,
			// A token is for one address; it is never carried to another.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limiter: rate.NewLimiter(requestsPerSecond, requestsBurst),
		now:     time.Now,
	}
	if options.URL != "" {
		gateway, err := parseGateway(options.URL)
		if err != nil {
			return nil, err
		}
		client.gateway = gateway
	}
	return client, nil
}

func parseGateway(address string) (*url.URL, error) {
	gateway, err := url.Parse(address)
	if err != nil || gateway.Host == "" || gateway.RawQuery != "" || gateway.Fragment != "" || gateway.User != nil {
		return nil, errors.New("the URL of Coinbase must be like https://gateway.example, without user, query and fragment")
	}
	if gateway.Scheme != "https" && (gateway.Scheme != "http" || !isLoopback(gateway.Hostname())) {
		return nil, fmt.Errorf("the URL of Coinbase, %s, must begin with https://, because requests carry tokens; plain http is for loopback addresses only", gateway)
	}
	return gateway, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

var (
	portfolioID   = regexp.MustCompile(`^[-0-9A-Za-z]{8,64}$`)
	portfolioType = regexp.MustCompile(`^[A-Z_]{0,64}$`)
)

// Account asks what a key may do, and whose it is: the portfolio that it was made
// for is the account.
func (c *Client) Account(ctx context.Context, environment v1alpha1.VenueEnvironment, credentials *Credentials) (venue.Account, error) {
	var answer struct {
		CanView       *bool  `json:"can_view"`
		CanTrade      *bool  `json:"can_trade"`
		CanTransfer   *bool  `json:"can_transfer"`
		PortfolioID   string `json:"portfolio_uuid"`
		PortfolioType string `json:"portfolio_type"`
	}
	if err := c.get(ctx, environment, credentials, apiPath+"/key_permissions", &answer); err != nil {
		return venue.Account{}, err
	}
	// What is not said must not count as "no": that would let a key pass.
	if answer.CanView == nil || answer.CanTrade == nil || answer.CanTransfer == nil {
		return venue.Account{}, fmt.Errorf("%w: it does not say whether the key can view, trade and transfer", ErrMalformed)
	}
	if !portfolioID.MatchString(answer.PortfolioID) || !portfolioType.MatchString(answer.PortfolioType) {
		return venue.Account{}, fmt.Errorf("%w: it does not say which portfolio the key is for", ErrMalformed)
	}
	return venue.Account{
		ID: answer.PortfolioID, Type: answer.PortfolioType,
		CanView: *answer.CanView, CanTrade: *answer.CanTrade, CanTransfer: *answer.CanTransfer,
	}, nil
}

// ProductID is how Coinbase spells a pair.
func ProductID(base, quote string) string { return base + "-" + quote }

// Product asks how a product, such as BTC-USD, is traded. It fails with
// ErrNotFound where the account cannot trade such a product at all.
func (c *Client) Product(ctx context.Context, environment v1alpha1.VenueEnvironment, credentials *Credentials, id string) (venue.Product, error) {
	var answer struct {
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
	if err := c.get(ctx, environment, credentials, apiPath+"/products/"+url.PathEscape(id), &answer); err != nil {
		return venue.Product{}, err
	}
	if answer.ID != id {
		return venue.Product{}, fmt.Errorf("%w: it speaks of another product than %s", ErrMalformed, id)
	}
	if answer.PriceIncrement == "" {
		answer.PriceIncrement = answer.QuoteIncrement
	}
	var product venue.Product
	for _, number := range []struct {
		name, text string
		positive   bool
		into       *decimal.Decimal
	}{
		{"price_increment", answer.PriceIncrement, true, &product.PriceIncrement},
		{"base_increment", answer.BaseIncrement, true, &product.BaseIncrement},
		{"quote_min_size", answer.QuoteMinSize, false, &product.QuoteMinSize},
	} {
		value, ok := parseNumber(number.text)
		if !ok || number.positive && !value.IsPositive() {
			return venue.Product{}, fmt.Errorf("%w: %s of %s is not a number to go by", ErrMalformed, number.name, id)
		}
		*number.into = value
	}
	switch {
	case answer.IsDisabled:
		product.Untradable = "is disabled"
	case answer.TradingDisabled:
		product.Untradable = "has trading disabled"
	case answer.ViewOnly:
		product.Untradable = "can only be viewed by this account"
	case answer.CancelOnly:
		product.Untradable = "takes cancellations only"
	}
	return product, nil
}

// plainNumber keeps out exponents, whose expansion could be of any length.
var plainNumber = regexp.MustCompile(`^[0-9]{1,18}([.][0-9]{1,18})?$`)

func parseNumber(text string) (decimal.Decimal, bool) {
	if !plainNumber.MatchString(text) {
		return decimal.Zero, false
	}
	value, err := decimal.NewFromString(text)
	return value, err == nil
}

// get asks one question. Whatever goes wrong, the error is one of this package's.
func (c *Client) get(ctx context.Context, environment v1alpha1.VenueEnvironment, credentials *Credentials, path string, into any) error {
	host, known := hosts[environment]
	if !known {
		return fmt.Errorf("%w: there is no environment %q", ErrNoEndpoint, environment)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.limiter.Wait(ctx); errors.Is(err, context.Canceled) {
		return ctx.Err()
	} else if err != nil {
		return fmt.Errorf("%w: too many questions wait to be asked", ErrUnreachable)
	}
	token, err := credentials.token(http.MethodGet, host, path, c.now())
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address(host)+path, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoEndpoint, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "trading-operator")
	response, err := c.http.Do(request)
	if errors.Is(err, context.Canceled) {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrUnreachable, cause(ctx, err))
	}
	defer func() { _ = response.Body.Close() }() // what is left of it is of no use
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("%w: the answer breaks off", ErrUnreachable)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response, body, c.now())
	}
	if len(body) > maxBody {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxBody)
	}
	if json.Unmarshal(body, into) != nil {
		return fmt.Errorf("%w: it is not the JSON that was asked for", ErrMalformed)
	}
	return nil
}

func (c *Client) address(host string) string {
	if c.gateway == nil {
		return "https://" + host
	}
	return strings.TrimSuffix(c.gateway.String(), "/")
}

// cause is why no answer came, in words that stay the same from one try to the
// next: a port or a request's number would make every status differ.
func cause(ctx context.Context, err error) string {
	var network *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("no answer within %s", requestTimeout)
	case errors.As(err, &name):
		return "its name " + name.Name + " cannot be resolved"
	case errors.As(err, &network):
		return network.Op + ": " + rootOf(network.Err)
	case errors.As(err, &certificate):
		return certificate.Error()
	}
	// Other errors may repeat what the other side has written.
	return "the connection broke"
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func rootOf(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
