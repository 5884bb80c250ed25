package kraken

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// accountID is the public id of a Kraken account, which GetApiKeyInfo calls iban,
// such as "AA88 N84G WOAK NMOI".
var accountID = regexp.MustCompile(`^[A-Z0-9]{4}( ?[A-Z0-9]{2,4}){2,8}$`)

// permissionShape is how Kraken writes a permission, such as query-funds.
var permissionShape = regexp.MustCompile(`^[a-z][-a-z0-9]{1,63}$`)

// What an agent's key must be allowed, in the words of GetApiKeyInfo
// (https://docs.kraken.com/exchange/guides/rest/api-keys).
var (
	viewing = []string{"query-funds", "query-open-trades", "query-closed-trades"}
	trading = []string{"modify-trades", "close-trades"}
)

// Account implements venue.Checker. The question needs no permission. A key that
// sees only a span of the account's history is refused with venue.ErrForbidden: an
// order outside of it would look as if it had never been.
func (v *Venue) Account(ctx context.Context) (venue.Account, error) {
	var info struct {
		IBAN        string    `json:"iban"`
		Permissions *[]string `json:"permissions"`
		QueryFrom   string    `json:"queryFrom"`
		QueryTo     string    `json:"queryTo"`
	}
	if err := v.session.ask(ctx, "GetApiKeyInfo", nil, &info); err != nil {
		return venue.Account{}, questionError(err)
	}
	// What is not said must not count as "no": that would let a key pass.
	if info.Permissions == nil {
		return venue.Account{}, fmt.Errorf("%w: it does not say what the key may do", venue.ErrMalformed)
	}
	if !accountID.MatchString(info.IBAN) {
		return venue.Account{}, fmt.Errorf("%w: it does not say which account the key is for", venue.ErrMalformed)
	}
	if !unbounded(info.QueryFrom) || !unbounded(info.QueryTo) {
		return venue.Account{}, fmt.Errorf("%w: the key sees only a part of the account's history; make one without query dates", venue.ErrForbidden)
	}
	account := venue.Account{ID: strings.ReplaceAll(info.IBAN, " ", ""), CanView: true, CanTrade: true}
	for _, permission := range *info.Permissions {
		if !permissionShape.MatchString(permission) {
			return venue.Account{}, fmt.Errorf("%w: it names a permission of another form", venue.ErrMalformed)
		}
		// Kraken may get more words for it.
		if strings.Contains(permission, "withdraw") || strings.Contains(permission, "transfer") {
			account.CanTransfer = true
		}
	}
	for _, needed := range viewing {
		account.CanView = account.CanView && slices.Contains(*info.Permissions, needed)
	}
	for _, needed := range trading {
		account.CanTrade = account.CanTrade && slices.Contains(*info.Permissions, needed)
	}
	return account, nil
}

// unbounded reports whether a query date is not set.
func unbounded(date string) bool { return date == "" || date == "0" }

// Product implements venue.Checker. Kraken tells everybody the same.
func (v *Venue) Product(ctx context.Context, symbol string) (venue.Product, error) {
	pairs, err := v.session.assetPairs(ctx, []string{symbol})
	if err != nil {
		return venue.Product{}, questionError(err)
	}
	_, pair, listed := find(pairs, symbol)
	if !listed {
		return venue.Product{}, fmt.Errorf("%w: it speaks of another pair than %s", venue.ErrMalformed, symbol)
	}
	product, err := pair.product()
	if err != nil {
		return venue.Product{}, fmt.Errorf("%s: %w", symbol, err)
	}
	return product, nil
}

// questionError says what Kraken's own words mean; others stay.
func questionError(err error) error {
	if said, ok := asSaid(err); ok {
		return said.question()
	}
	return err
}
