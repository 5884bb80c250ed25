package gemini

import (
	"fmt"
	"net/http"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Reasons of Gemini's errors (https://docs.gemini.com/error-codes).
const (
	endpointNotFound = "EndpointNotFound"
	invalidNonce     = "InvalidNonce"
	invalidSymbol    = "InvalidSymbol"
	missingRole      = "MissingRole"
	orderNotFound    = "OrderNotFound"
	rateLimit        = "RateLimit"
)

// definitive are the reasons after which a placement does not exist and never will:
// all of https://docs.gemini.com/error-codes that a new order can meet and that say
// what is wrong with it, with the key, or with the market.
//
// What is not here leaves the outcome open. Among it, on purpose: InvalidNonce,
// because the refused request may be a copy, made on the way, of one that was
// accepted; Maintenance and System, which do not say where the request was.
var definitive = map[string]string{
	"AccountClosed":             "the account is closed",
	"ApiKeyIpFilteringFailure":  "the key must not be used from this address",
	"ClientOrderIdMustBeString": "its client order id is not a text",
	"ClientOrderIdTooLong":      "its client order id is too long",
	"ConflictingOptions":        "its options contradict each other",
	"EndpointMismatch":          "the request is for another address",
	endpointNotFound:            "the address is not known",
	"InsufficientFunds":         "the account does not have the funds",
	"InvalidJson":               "the request cannot be read",
	"InvalidOrderType":          "its type is not known",
	"InvalidPrice":              "its price is not one that Gemini takes",
	"InvalidQuantity":           "its quantity is not one that Gemini takes",
	"InvalidSide":               "its side is not known",
	"InvalidSignature":          "the signature is not the key's",
	invalidSymbol:               "Gemini does not trade the pair",
	"MarketNotOpen":             "the market takes no orders now",
	"MissingApikeyHeader":       "the request names no key",
	"MissingNonce":              "the request has no nonce",
	"MissingOrderField":         "a part of the order is missing",
	"MissingPayloadHeader":      "the request has no payload",
	"MissingPayloadKey":         "a part of the order is missing",
	missingRole:                 "the key is not allowed to trade",
	"MissingSignatureHeader":    "the request is not signed",
	"OptionsMustBeArray":        "its options cannot be read",
	rateLimit:                   "too many requests were sent",
	"RemoteAddressForbidden":    "the key must not be used from this address",
	"UnsupportedOption":         "an option of it is not known",
}

// reasonOf is the reason of an error; empty if there is none.
func reasonOf(answer *rest.Answer) string {
	var said struct {
		Result string `json:"result"`
		Reason string `json:"reason"`
	}
	if answer.Decode(&said) != nil || said.Result != "error" {
		return ""
	}
	return said.Reason
}

// question is what an answer that is no 200 means for a question. Gemini's reasons
// say more than its statuses: a wrong signature is a 400.
func question(answer *rest.Answer) error {
	reason := reasonOf(answer)
	switch reason {
	case "InvalidSignature", "InvalidApiKey", "MissingApikeyHeader", "AccountClosed":
		return fmt.Errorf("%w (%s)", venue.ErrRefused, reason)
	case invalidNonce:
		return errNonce
	case missingRole, "RemoteAddressForbidden", "ApiKeyIpFilteringFailure":
		return fmt.Errorf("%w (%s)", venue.ErrForbidden, reason)
	case orderNotFound, invalidSymbol:
		return fmt.Errorf("%w (%s)", venue.ErrNoSuchThing, reason)
	case endpointNotFound:
		return fmt.Errorf("%w (%s)", venue.ErrNoEndpoint, reason)
	case rateLimit:
		return &venue.RateLimitedError{After: answer.RetryAfter()}
	case "Maintenance", "System", "MarketNotOpen":
		return fmt.Errorf("%w (%s)", venue.ErrUnreachable, reason)
	}
	return answer.Question(reason)
}

// errNonce is the refusal of a nonce, which is what a key counts on that was made
// without time based nonces, and how a clock shows that is off.
var errNonce = fmt.Errorf("%w: it does not take the time as a nonce; make a key with \"Uses a time based nonce\" chosen, and keep this machine's clock right", venue.ErrRefused)

// missing reports whether Gemini itself says that it has no such order.
func missing(answer *rest.Answer) bool {
	return answer.Status == http.StatusNotFound && reasonOf(answer) == orderNotFound
}
