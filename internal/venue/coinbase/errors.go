package coinbase

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// codeOf is the code of an answer that is not 200, which Coinbase calls error.
func codeOf(answer *rest.Answer) string {
	var said struct {
		Code string `json:"error"`
	}
	if json.Unmarshal(answer.Body, &said) != nil {
		return ""
	}
	return said.Code
}

// questionError says what an answer other than 200 means for a question.
func questionError(answer *rest.Answer) error {
	code := codeOf(answer)
	switch {
	case answer.Status == http.StatusBadRequest && code == "INVALID_ARGUMENT":
		return fmt.Errorf("%w (400 INVALID_ARGUMENT)", venue.ErrNoSuchThing)
	case answer.Status == http.StatusNotFound && code != "NOT_FOUND":
		return fmt.Errorf("%w (404)", venue.ErrNoEndpoint)
	}
	return answer.Question(code)
}

// definitive are the codes by which Coinbase says that there is no order and will
// be none: errors of the API, and failure reasons of a new order
// (https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/orders/create-order).
// UNKNOWN_FAILURE_REASON is not among them.
var definitive = map[string]string{
	"INVALID_ARGUMENT":                           "Coinbase finds the request malformed",
	"PERMISSION_DENIED":                          "the key is not allowed to trade",
	"RESOURCE_EXHAUSTED":                         "Coinbase takes no more requests for now",
	"Unauthorized":                               "Coinbase does not take the key, its signature or this machine's time",
	"UNSUPPORTED_ORDER_CONFIGURATION":            "the product does not take such orders",
	"INVALID_SIDE":                               "the side is not known",
	"INVALID_PRODUCT_ID":                         "the product is not known",
	"INVALID_SIZE_PRECISION":                     "the quantity is not a whole lot",
	"INVALID_PRICE_PRECISION":                    "the limit price is not a whole tick",
	"INSUFFICIENT_FUND":                          "the account does not hold enough",
	"INSUFFICIENT_FUNDS":                         "the account does not hold enough",
	"INVALID_LEDGER_BALANCE":                     "the account does not hold enough",
	"INVALID_LIMIT_PRICE":                        "the limit price is out of bounds",
	"INVALID_LIMIT_PRICE_POST_ONLY":              "the limit price would take liquidity",
	"INVALID_NO_LIQUIDITY":                       "nobody is on the other side",
	"INVALID_REQUEST":                            "Coinbase finds the request malformed",
	"INVALID_ORDER_CONFIG":                       "Coinbase finds the order's terms malformed",
	"ORDER_ENTRY_DISABLED":                       "the product takes no new orders",
	"INELIGIBLE_PAIR":                            "the account may not trade the product",
	"COMMANDER_REJECTED_NEW_ORDER":               "Coinbase's matching has refused the order",
	"PREVIEW_INSUFFICIENT_FUND":                  "the account does not hold enough",
	"PREVIEW_INVALID_LIMIT_PRICE":                "the limit price is out of bounds",
	"PREVIEW_INVALID_PRICE_PRECISION":            "the limit price is not a whole tick",
	"PREVIEW_INVALID_SIZE_PRECISION":             "the quantity is not a whole lot",
	"PREVIEW_INVALID_BASE_SIZE_TOO_SMALL":        "the quantity is below the product's least",
	"PREVIEW_INVALID_BASE_SIZE_TOO_LARGE":        "the quantity is above the product's most",
	"PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL":       "the value is below the product's least",
	"PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE":       "the value is above the product's most",
	"PREVIEW_BREACHED_PRICE_LIMIT":               "the limit price is too far from the market",
	"PREVIEW_BREACHED_ACCOUNT_POSITION_LIMIT":    "the account's position would be too large",
	"PREVIEW_LIMIT_PRICE_TOO_FAR_FROM_MARKET":    "the limit price is too far from the market",
	"PREVIEW_ORDER_SIZE_EXCEEDS_BRACKETED_LIMIT": "the quantity is above the account's most",
}

// placementError says what an answer means that does not accept an order.
func placementError(answer *rest.Answer, codes ...string) error {
	switch answer.Status {
	case http.StatusOK:
	case http.StatusUnauthorized:
		codes = nil
		if strings.TrimSpace(string(answer.Body)) == "Unauthorized" {
			codes = []string{"Unauthorized"}
		}
	case http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests:
		codes = []string{codeOf(answer)}
	default:
		codes = nil
	}
	said := ""
	for _, code := range codes {
		if _, known := definitive[code]; known {
			return answer.Outcome(code, definitive)
		}
		if said == "" {
			said = code
		}
	}
	return answer.Outcome(said, nil)
}
