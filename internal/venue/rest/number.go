package rest

import (
	"fmt"
	"regexp"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
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

// Money reads an amount that is not negative, rounded half to even to a unit of
// market.Money: a venue's fees have more digits.
func Money(name, text string) (market.Money, error) {
	value, err := Number(name, text)
	if err != nil {
		return 0, err
	}
	amount, err := market.MoneyOf(value)
	if err != nil {
		return 0, fmt.Errorf("%w: %s cannot be counted", venue.ErrMalformed, name)
	}
	return amount, nil
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
