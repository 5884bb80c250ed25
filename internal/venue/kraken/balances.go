package kraken

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
	"github.com/three-rivers-tech/trading-operator/internal/venue/rest"
)

// Balances implements venue.Balancer. What earns rewards and can be traded as
// usual (codes that end in .F) counts as the currency itself; what is staked or
// bonded (.B, .M, .P, .S) cannot be traded and is left out
// (https://docs.kraken.com/api-reference/account-data/get-ledgers-info).
func (v *Venue) Balances(ctx context.Context) ([]venue.Balance, error) {
	var held map[string]struct {
		Total string `json:"balance"`
		Held  string `json:"hold_trade"`
	}
	if err := v.session.ask(ctx, "BalanceEx", nil, &held); err != nil {
		return nil, fmt.Errorf("kraken: listing balances: %w", err)
	}
	sums := map[string]venue.Balance{}
	for code, balance := range held {
		name, kind, marked := strings.Cut(code, ".")
		if marked && kind != "F" {
			continue
		}
		total, err := amount("a balance", balance.Total)
		if err != nil {
			return nil, fmt.Errorf("kraken: %w", err)
		}
		inOrders, err := amount("what orders hold", balance.Held)
		if err != nil {
			return nil, fmt.Errorf("kraken: %w", err)
		}
		currency := currencyOf(name)
		sum := sums[currency]
		sum.Currency, sum.Total, sum.Available = currency, sum.Total.Add(total), sum.Available.Add(total.Sub(inOrders))
		sums[currency] = sum
	}
	balances := make([]venue.Balance, 0, len(sums))
	for _, balance := range sums {
		balances = append(balances, balance)
	}
	slices.SortFunc(balances, func(a, b venue.Balance) int { return strings.Compare(a.Currency, b.Currency) })
	return balances, nil
}

// amount reads a balance, which may be below zero; none is zero.
func amount(name, text string) (decimal.Decimal, error) {
	if text == "" {
		return decimal.Zero, nil
	}
	return rest.Signed(name, text)
}
