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

// Price reads a price in whole ticks, above zero.
func Price(instrument market.Instrument, name, text string) (market.Price, error) {
	steps, err := steps(instrument.Tick, name, text)
	if err == nil && steps == 0 {
		return 0, fmt.Errorf("%w: %s is zero", venue.ErrMalformed, name)
	}
	return market.Price(steps), err
}

// Quantity reads a quantity in whole lots; it may be zero.
func Quantity(instrument market.Instrument, name, text string) (market.Quantity, error) {
	steps, err := steps(instrument.Lot, name, text)
	return market.Quantity(steps), err
}

func steps(step decimal.Decimal, name, text string) (int64, error) {
	value, err := Number(name, text)
	if err != nil {
		return 0, err
	}
	count, rest := value.QuoRem(step, 0)
	if !rest.IsZero() || !count.BigInt().IsInt64() {
		return 0, fmt.Errorf("%w: %s is not a whole number of steps of %s", venue.ErrMalformed, name, step)
	}
	return count.IntPart(), nil
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
