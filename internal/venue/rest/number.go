package rest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// plainNumber keeps out signs, and exponents, whose expansion could be of any
// length. Venues work fees out to more digits than prices.
var plainNumber = regexp.MustCompile(`^[0-9]{1,18}([.][0-9]{1,40})?$`)

// Number reads a decimal that is not negative. The name is for the error.
func Number(name, text string) (decimal.Decimal, error) {
	if !plainNumber.MatchString(text) {
		return decimal.Zero, fmt.Errorf("%w: %s is not a number", venue.ErrMalformed, name)
	}
	return decimal.RequireFromString(text), nil
}

// Signed reads a decimal that may be negative: a rebate is a fee below zero, and cash
// is below zero where money was lent.
func Signed(name, text string) (decimal.Decimal, error) {
	size, negative := strings.CutPrefix(text, "-")
	value, err := Number(name, size)
	if negative {
		value = value.Neg()
	}
	return value, err
}

// ownVersion is the version of the UUIDs that order.NewID makes.
const ownVersion = 5

// OwnID is a client order id if it can be one of ours, as order.NewID makes them,
// and uuid.Nil for what a person or another program has made.
func OwnID(text string) uuid.UUID {
	id, err := uuid.Parse(text)
	if err != nil || id.Version() != ownVersion || id.String() != text {
		return uuid.Nil
	}
	return id
}
