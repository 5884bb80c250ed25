package tradingagent

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// listed is an answer of a venue that trades as the scope's pair does.
func listed() listings.Answer {
	return listings.Answer{Known: true, Listed: true, Product: venue.Product{
		PriceIncrement: decimal.RequireFromString("0.00001"), BaseIncrement: decimal.RequireFromString("1"), QuoteMinSize: decimal.RequireFromString("1"),
	}}
}

// atVenue is a scope whose account is one at Coinbase, verified and Ready.
func atVenue() *scope {
	s := whole()
	goLive(s)
	s.agent.Spec.AccountRef.Name = "live"
	s.before = s.agent.DeepCopy()
	s.account = &v1alpha1.TradingAccount{ObjectMeta: meta("live"), Spec: v1alpha1.TradingAccountSpec{
		Venue: v1alpha1.VenueCoinbase, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
		Coinbase: &v1alpha1.CoinbaseAccountSpec{Environment: v1alpha1.EnvironmentProduction, CredentialsRef: v1alpha1.ObjectReference{Name: "coinbase"}, AccountShare: v1alpha1.AccountShare{Currency: "USD", Balance: "1000"}},
	}}
	status := reconcile.StatusOf(s.account)
	status.Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "", now)
	status.Summarize(reconcile.Done(v1alpha1.ReasonReady, ""), now)
	s.pairs[0].Spec.MinNotional = "1"
	s.listings = []listings.Answer{listed()}
	return s
}

func TestPlatformIsValid(t *testing.T) {
	accepted := func(value metav1.ConditionStatus, reason string) func(*scope) {
		return func(s *scope) {
			reconcile.StatusOf(s.account).Set(v1alpha1.ConditionAccepted, value, reason, "make another key", now)
		}
	}
	product := func(edit func(*venue.Product)) func(*scope) {
		return func(s *scope) { edit(&s.listings[0].Product) }
	}
	for _, test := range []struct {
		name           string
		edit           func(*scope)
		reason, speaks string
	}{
		{"all is verified", nil, "", ""},
		{"an agent that sells short", func(s *scope) {
			s.agent.Spec.Decision = &v1alpha1.DecisionSpec{Direction: v1alpha1.DirectionLongShort}
		}, v1alpha1.ReasonShortUnsupported, `spec.decision.direction: Invalid value: "LongShort": TradingAccount "live" is at Coinbase, which sells only what is held; use LongOnly`},
		{"paper on a live account", func(s *scope) { s.agent.Spec.Mode = v1alpha1.ModePaper }, v1alpha1.ReasonModeMismatch, "spec.mode"},
		{"no account yet", func(s *scope) { s.account = nil }, "", ""},
		{"an account that was not looked at", func(s *scope) { s.account.Status.Conditions = nil }, v1alpha1.ReasonVenueChecking, "has not been verified yet"},
		{"a venue that was not reached", accepted(metav1.ConditionUnknown, v1alpha1.ReasonVenueChecking), v1alpha1.ReasonVenueChecking, "has not been verified yet"},
		{"a key that can withdraw", accepted(metav1.ConditionFalse, v1alpha1.ReasonKeyCanWithdraw), v1alpha1.ReasonKeyCanWithdraw, `TradingAccount "live": make another key`},
		{"not asked yet", func(s *scope) { s.listings[0] = listings.Answer{} }, v1alpha1.ReasonVenueChecking, "has not been asked about EUR-USD yet"},
		{"could not be asked", func(s *scope) { s.listings[0] = listings.Answer{Problem: "no answer"} }, v1alpha1.ReasonVenueChecking, "Coinbase cannot be asked about EUR-USD: no answer"},
		{"not listed", func(s *scope) { s.listings[0] = listings.Answer{Known: true} }, v1alpha1.ReasonPairNotListed, `AssetPair "eur-usd"`},
		{"closed", product(func(p *venue.Product) { p.Untradable = "has trading disabled" }), v1alpha1.ReasonPairNotTradable, "EUR-USD at Coinbase has trading disabled"},
		{"a venue with finer ticks", product(func(p *venue.Product) { p.PriceIncrement = decimal.RequireFromString("0.000005") }), "", ""},
		{"a venue with coarser ticks", product(func(p *venue.Product) { p.PriceIncrement = decimal.RequireFromString("0.01") }), v1alpha1.ReasonTickMismatch, `spec.tickSize 0.00001 is no multiple of 0.01, the venue's price increment; create an AssetPair with tickSize "0.01"`},
		{"a tick in between", product(func(p *venue.Product) { p.PriceIncrement = decimal.RequireFromString("0.000004") }), v1alpha1.ReasonTickMismatch, `create an AssetPair with tickSize "0.000012"`},
		{"a venue with coarser lots", product(func(p *venue.Product) { p.BaseIncrement = decimal.RequireFromString("10") }), v1alpha1.ReasonLotMismatch, `spec.lotSize 1 is no multiple of 10, the venue's quantity increment; create an AssetPair with lotSize "10"`},
		{"a notional too low", product(func(p *venue.Product) { p.QuoteMinSize = decimal.RequireFromString("5") }), v1alpha1.ReasonMinNotionalTooLow, `spec.minNotional 1 is below the venue's 5; set it to "5" or more`},
		{"no notional", func(s *scope) { s.pairs[0].Spec.MinNotional = "" }, v1alpha1.ReasonMinNotionalTooLow, `spec.minNotional 0 is below the venue's 1`},
		{"a quantity too low", product(func(p *venue.Product) { p.BaseMinSize = decimal.RequireFromString("2") }), v1alpha1.ReasonMinQuantityTooLow, `AssetPair "eur-usd": spec.minQuantity allows 1, and the venue takes no less than 2; set it to "2" or more`},
		{"the least quantity", func(s *scope) {
			s.pairs[0].Spec.MinQuantity, s.listings[0].Product.BaseMinSize = "2", decimal.RequireFromString("2")
		}, "", ""},
		{"a tick that is none", func(s *scope) { s.pairs[0].Spec.TickSize = "x" }, v1alpha1.ReasonInvalidSpec, "spec.tickSize"},
		{"a pair that does not exist", func(s *scope) { s.pairs = nil }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := atVenue()
			if test.edit != nil {
				test.edit(s)
			}
			if got := platformIsValid(s); got.reason != test.reason || !strings.Contains(got.message, test.speaks) || (got.message == "") != got.ok() {
				t.Errorf("got %+v, want %s with %q", got, test.reason, test.speaks)
			}
		})
	}
}

func TestPlatformOfPaper(t *testing.T) {
	s := whole()
	if got := platformIsValid(s); !got.ok() {
		t.Errorf("got %+v", got)
	}
	goLive(s)
	if got := platformIsValid(s); got.reason != v1alpha1.ReasonModeMismatch {
		t.Errorf("got %+v", got)
	}
}

// An operator that was restarted has forgotten the venue's answers; until they
// come again, what it said of this generation stands.
func TestPlatformAfterARestart(t *testing.T) {
	for _, test := range []struct {
		name       string
		generation int64
		status     metav1.ConditionStatus
		last, want string
	}{
		{"a pair that did not fit", 2, metav1.ConditionFalse, v1alpha1.ReasonTickMismatch, v1alpha1.ReasonTickMismatch},
		{"valid", 2, metav1.ConditionTrue, v1alpha1.ReasonAccepted, ""},
		{"another generation", 1, metav1.ConditionFalse, v1alpha1.ReasonTickMismatch, v1alpha1.ReasonVenueChecking},
		{"the account's own word, which has changed since", 2, metav1.ConditionFalse, v1alpha1.ReasonKeyCannotTrade, v1alpha1.ReasonVenueChecking},
		{"nothing", 2, metav1.ConditionUnknown, v1alpha1.ReasonVenueChecking, v1alpha1.ReasonVenueChecking},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := atVenue()
			s.listings = []listings.Answer{{}}
			s.before.Generation = test.generation
			reconcile.StatusOf(s.before).Set(v1alpha1.ConditionPlatformValid, test.status, test.last, "as it was said", now)
			if got := platformIsValid(s); got.reason != test.want {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}
