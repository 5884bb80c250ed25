package tradingagent

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// lookUpPairs notes what is known of the agent's pairs at its account's venue. It
// waits for nothing. An account that is not Ready is not asked with: its own
// status says why.
func (r *Reconciler) lookUpPairs(s *scope) {
	traded := s.tradedPairs()
	s.listings = make([]listings.Answer, len(traded))
	if s.account == nil || s.account.Spec.Venue == v1alpha1.VenuePaper {
		return
	}
	ready := reconcile.StatusOf(s.account).Get(v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue {
		return
	}
	for i, pair := range traded {
		if pair != nil {
			s.listings[i] = r.Listings.Look(s.account, venues.Symbol(s.account.Spec.Venue, pair))
		}
	}
}

// platformIsValid judges the agent against its account's venue. What the venue
// has not said yet holds the agent's start and stalls nobody.
func platformIsValid(s *scope) finding {
	for _, judge := range []policy{modeFitsAccount, directionFitsVenue} {
		if found := judge(s); !found.ok() {
			return found
		}
	}
	if s.account == nil || s.account.Spec.Venue == v1alpha1.VenuePaper {
		return finding{}
	}
	if found := accountIsAccepted(s); !found.ok() {
		return found
	}
	for i, pair := range s.tradedPairs() {
		if pair == nil {
			continue
		}
		if found := pairIsTradable(s, pair, s.listings[i]); !found.ok() {
			return found
		}
	}
	return finding{}
}

// accountIsAccepted repeats what the account's own status says.
func accountIsAccepted(s *scope) finding {
	accepted := reconcile.StatusOf(s.account).Get(v1alpha1.ConditionAccepted)
	switch {
	case accepted == nil || accepted.Status == metav1.ConditionUnknown:
		return finding{v1alpha1.ReasonVenueChecking, fmt.Sprintf("TradingAccount %q has not been verified yet", s.account.Name)}
	case accepted.Status == metav1.ConditionFalse:
		return finding{accepted.Reason, fmt.Sprintf("TradingAccount %q: %s", s.account.Name, accepted.Message)}
	}
	return finding{}
}

// pairIsTradable holds a pair against what its venue says of it.
func pairIsTradable(s *scope, pair *v1alpha1.AssetPair, answer listings.Answer) finding {
	venue := s.account.Spec.Venue
	product := venues.Symbol(venue, pair)
	switch {
	case !answer.Known && answer.Problem != "":
		return stillChecking(s, fmt.Sprintf("%s cannot be asked about %s: %s", venue, product, answer.Problem))
	case !answer.Known:
		return stillChecking(s, fmt.Sprintf("%s has not been asked about %s yet", venue, product))
	case !answer.Listed:
		return finding{v1alpha1.ReasonPairNotListed, fmt.Sprintf("%s does not list %s for this account; correct base and quote of AssetPair %q, or trade another pair", venue, product, pair.Name)}
	case answer.Product.Untradable != "":
		return finding{v1alpha1.ReasonPairNotTradable, fmt.Sprintf("%s at %s %s; wait until it opens, or trade another pair than AssetPair %q", product, venue, answer.Product.Untradable, pair.Name)}
	}
	if found := fitsStep(v1alpha1.ReasonTickMismatch, pair, "tickSize", pair.Spec.TickSize, answer.Product.PriceIncrement, "price"); !found.ok() {
		return found
	}
	if found := fitsStep(v1alpha1.ReasonLotMismatch, pair, "lotSize", pair.Spec.LotSize, answer.Product.BaseIncrement, "quantity"); !found.ok() {
		return found
	}
	if found := fitsMinimum(pair, answer.Product.QuoteMinSize); !found.ok() {
		return found
	}
	return fitsLeastQuantity(pair, answer.Product.BaseMinSize)
}

// fitsStep checks that every price or quantity which the pair can express is one
// that the venue takes.
func fitsStep(reason string, pair *v1alpha1.AssetPair, fieldName string, step v1alpha1.PositiveDecimal, increment decimal.Decimal, what string) finding {
	ours, err := decimal.NewFromString(string(step))
	if err != nil || !ours.IsPositive() {
		return finding{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("AssetPair %q: spec.%s is not a decimal number greater than zero", pair.Name, fieldName)}
	}
	if ours.Mod(increment).IsZero() {
		return finding{}
	}
	whole, _ := ours.QuoRem(increment, 0)
	right := whole.Add(decimal.New(1, 0)).Mul(increment)
	return finding{reason, fmt.Sprintf("AssetPair %q: spec.%s %s is no multiple of %s, the venue's %s increment; create an AssetPair with %s %q",
		pair.Name, fieldName, step, increment, what, fieldName, right)}
}

func fitsMinimum(pair *v1alpha1.AssetPair, least decimal.Decimal) finding {
	ours := decimal.Zero
	if pair.Spec.MinNotional != "" {
		var err error
		if ours, err = decimal.NewFromString(string(pair.Spec.MinNotional)); err != nil {
			return finding{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("AssetPair %q: spec.minNotional is not a decimal number", pair.Name)}
		}
	}
	if ours.GreaterThanOrEqual(least) {
		return finding{}
	}
	return finding{v1alpha1.ReasonMinNotionalTooLow, fmt.Sprintf("AssetPair %q: spec.minNotional %s is below the venue's %s; set it to %q or more", pair.Name, ours, least, least)}
}

// fitsLeastQuantity checks that the venue takes the smallest order that the pair
// allows.
func fitsLeastQuantity(pair *v1alpha1.AssetPair, least decimal.Decimal) finding {
	ours, err := decimal.NewFromString(string(cmp.Or(pair.Spec.MinQuantity, pair.Spec.LotSize)))
	if err != nil {
		return finding{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("AssetPair %q: spec.minQuantity is not a decimal number", pair.Name)}
	}
	if ours.GreaterThanOrEqual(least) {
		return finding{}
	}
	return finding{v1alpha1.ReasonMinQuantityTooLow, fmt.Sprintf("AssetPair %q: spec.minQuantity allows %s, and the venue takes no less than %s; set it to %q or more", pair.Name, ours, least, least)}
}

// pairReasons are the words that only a venue's answer about a pair can take back.
var pairReasons = []string{
	v1alpha1.ReasonPairNotListed, v1alpha1.ReasonPairNotTradable, v1alpha1.ReasonTickMismatch, v1alpha1.ReasonLotMismatch,
	v1alpha1.ReasonMinNotionalTooLow, v1alpha1.ReasonMinQuantityTooLow,
}

// stillChecking is the finding until the venue has spoken of a pair. An agent
// that was judged at this generation, by an operator that has been restarted
// since, keeps that word until then.
func stillChecking(s *scope, message string) finding {
	last := reconcile.StatusOf(s.before).Get(v1alpha1.ConditionPlatformValid)
	switch {
	case last == nil || last.ObservedGeneration != s.agent.Generation:
	case last.Status == metav1.ConditionTrue:
		return finding{}
	case slices.Contains(pairReasons, last.Reason):
		return finding{last.Reason, last.Message}
	}
	return finding{v1alpha1.ReasonVenueChecking, message}
}
