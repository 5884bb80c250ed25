package tradingaccount

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const portfolio = "2b1d0a52-7c1c-4a2f-9d55-0d9a3d6f2a11"

func live() *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "live", UID: "live-uid", Generation: 2},
		Spec: v1alpha1.TradingAccountSpec{
			Venue: v1alpha1.VenueCoinbase, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
			Coinbase: &v1alpha1.CoinbaseAccountSpec{Environment: v1alpha1.EnvironmentProduction, CredentialsRef: v1alpha1.ObjectReference{Name: "coinbase"}, AccountShare: v1alpha1.AccountShare{Currency: "USD", Balance: "1000"}},
		},
	}
}

func paper() *v1alpha1.TradingAccount {
	account := live()
	account.Spec.Venue, account.Spec.Coinbase = v1alpha1.VenuePaper, nil
	account.Spec.Paper = &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"}
	return account
}

func ledger() *v1alpha1.Ledger { return &v1alpha1.Ledger{ObjectMeta: metav1.ObjectMeta{Name: "main"}} }

func good() venue.Account {
	return venue.Account{CanView: true, CanTrade: true, ID: portfolio, Type: "DEFAULT"}
}

// said is a finding in which the venue has answered.
func said(edit func(*finding)) *finding {
	found := &finding{ledger: ledger(), word: &venueWord{said: good()}}
	if edit != nil {
		edit(found)
	}
	return found
}

func failed(err error) *finding {
	return said(func(f *finding) { f.word = &venueWord{err: fmt.Errorf("%w (for a reason)", err)} })
}

func TestReportRealVenue(t *testing.T) {
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	allowed := func(edit func(*venue.Account)) *finding {
		return said(func(f *finding) { edit(&f.word.said) })
	}
	for _, test := range []struct {
		name                          string
		found                         *finding
		reason                        string
		ready, stalled                bool
		resolved, reachable, accepted metav1.ConditionStatus
	}{
		{"all is well", said(nil), v1alpha1.ReasonReady, true, false, yes, yes, yes},
		{"no ledger", said(func(f *finding) { f.ledger = nil }), v1alpha1.ReasonLedgerNotFound, false, false, no, unknown, yes},
		{"no Secret", &finding{ledger: ledger(), credentials: &credentialsError{v1alpha1.ReasonCredentialsNotFound, "no Secret"}}, v1alpha1.ReasonCredentialsNotFound, false, false, no, unknown, unknown},
		{"a key that is none", &finding{ledger: ledger(), credentials: &credentialsError{v1alpha1.ReasonCredentialsInvalid, "no PEM"}}, v1alpha1.ReasonCredentialsInvalid, false, true, yes, unknown, no},
		{"no answer", failed(venue.ErrUnreachable), v1alpha1.ReasonVenueUnreachable, false, false, yes, no, unknown},
		{"an odd answer", failed(venue.ErrMalformed), v1alpha1.ReasonVenueAnswerUnknown, false, false, yes, no, unknown},
		{"too many questions", said(func(f *finding) { f.word = &venueWord{err: &venue.RateLimitedError{After: time.Minute}} }), v1alpha1.ReasonVenueRateLimited, false, false, yes, no, unknown},
		{"refused", failed(venue.ErrRefused), v1alpha1.ReasonCredentialsRefused, false, true, yes, yes, no},
		{"may not ask", failed(venue.ErrForbidden), v1alpha1.ReasonKeyCannotView, false, true, yes, yes, no},
		{"nobody to ask", failed(venue.ErrNoEndpoint), v1alpha1.ReasonVenueCannotVerify, false, true, yes, yes, no},
		{"may not trade", allowed(func(p *venue.Account) { p.CanTrade = false }), v1alpha1.ReasonKeyCannotTrade, false, true, yes, yes, no},
		{"may not view", allowed(func(p *venue.Account) { p.CanView = false }), v1alpha1.ReasonKeyCannotView, false, true, yes, yes, no},
		{"may withdraw", allowed(func(p *venue.Account) { p.CanTransfer = true }), v1alpha1.ReasonKeyCanWithdraw, false, true, yes, yes, no},
		{"may withdraw and not trade", allowed(func(p *venue.Account) { p.CanTransfer, p.CanTrade = true, false }), v1alpha1.ReasonKeyCanWithdraw, false, true, yes, yes, no},
		{"claimed", said(func(f *finding) { f.rival = "other/live" }), v1alpha1.ReasonAccountClaimed, false, true, yes, yes, no},
		{"another account", said(func(f *finding) { f.former = "former" }), v1alpha1.ReasonVenueAccountChanged, false, true, yes, yes, no},
	} {
		t.Run(test.name, func(t *testing.T) {
			account := live()
			outcome := report(account, test.found, now)
			status := reconcile.StatusOf(account)
			status.Summarize(outcome, now)
			if outcome.Reason() != test.reason || outcome.Stalled() != test.stalled || outcome.After() <= 0 {
				t.Errorf("got %s (%s), stalled %v, again after %s", outcome.Reason(), outcome.Message(), outcome.Stalled(), outcome.After())
			}
			for conditionType, wanted := range map[string]metav1.ConditionStatus{
				v1alpha1.ConditionResolvedRefs: test.resolved, v1alpha1.ConditionVenueReachable: test.reachable, v1alpha1.ConditionAccepted: test.accepted,
			} {
				if condition := status.Get(conditionType); condition == nil || condition.Status != wanted {
					t.Errorf("%s is %+v, want %s", conditionType, condition, wanted)
				}
			}
			if (status.Get(v1alpha1.ConditionReady).Status == yes) != test.ready {
				t.Errorf("Ready is %+v", status.Get(v1alpha1.ConditionReady))
			}
			if shown := account.Status.VenueAccount != nil; shown != (test.accepted == yes) {
				t.Errorf("status shows the venue's account: %+v", account.Status.VenueAccount)
			}
			for _, condition := range account.Status.Conditions {
				if !slices.ContainsFunc(v1alpha1.Reasons(), func(r v1alpha1.Reason) bool { return r.Word == condition.Reason }) {
					t.Errorf("the table of reasons lacks %s", condition.Reason)
				}
			}
		})
	}
}

func TestReportPaper(t *testing.T) {
	ready := ledger()
	reconcile.StatusOf(ready).Summarize(reconcile.Done(v1alpha1.ReasonReady, ""), now)
	for _, test := range []struct {
		name   string
		found  *finding
		reason string
	}{
		{"all is well", &finding{ledger: ready}, v1alpha1.ReasonReady},
		{"no ledger", &finding{}, v1alpha1.ReasonLedgerNotFound},
		{"a ledger that was not looked at", &finding{ledger: ledger()}, v1alpha1.ReasonVenueUnreachable},
		{"a spec that is older than a rule", &finding{ledger: ready, invalid: v1alpha1.ValidateTradingAccount(&v1alpha1.TradingAccount{})}, v1alpha1.ReasonInvalidSpec},
	} {
		account := paper()
		outcome := report(account, test.found, now)
		if outcome.Reason() != test.reason {
			t.Errorf("%s: got %s (%s)", test.name, outcome.Reason(), outcome.Message())
		}
		if test.reason == v1alpha1.ReasonReady && outcome.After() != 0 {
			t.Errorf("a paper account is looked at again after %s; nothing about it changes unseen", outcome.After())
		}
		for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionVenueReachable} {
			if reconcile.StatusOf(account).Get(conditionType) == nil {
				t.Errorf("%s: %s is not said", test.name, conditionType)
			}
		}
	}
}

// While the venue is away, its last word for the same spec stands.
func TestTheLastWordStands(t *testing.T) {
	account := live()
	report(account, said(nil), now)
	report(account, failed(venue.ErrUnreachable), now.Add(time.Hour))
	status := reconcile.StatusOf(account)
	if accepted := status.Get(v1alpha1.ConditionAccepted); accepted.Status != metav1.ConditionTrue {
		t.Errorf("Accepted is %+v", accepted)
	}
	if account.Status.VenueAccount == nil || account.Status.VenueAccount.ID != portfolio {
		t.Errorf("the account at the venue is %+v", account.Status.VenueAccount)
	}
	account.Generation++
	report(account, failed(venue.ErrUnreachable), now.Add(time.Hour))
	if accepted := status.Get(v1alpha1.ConditionAccepted); accepted.Status != metav1.ConditionUnknown {
		t.Errorf("for another spec Accepted is %+v", accepted)
	}
	broken := live()
	report(broken, &finding{ledger: ledger(), credentials: &credentialsError{v1alpha1.ReasonCredentialsInvalid, "no PEM"}}, now)
	report(broken, failed(venue.ErrUnreachable), now)
	if accepted := reconcile.StatusOf(broken).Get(v1alpha1.ConditionAccepted); accepted.Status != metav1.ConditionUnknown {
		t.Errorf("for a key that was mended Accepted is %+v", accepted)
	}
}

// A key that turns out too powerful is shown as what it is.
func TestPermissionsAreShown(t *testing.T) {
	account := live()
	report(account, said(nil), now)
	powerful := said(func(f *finding) { f.word.said.CanTransfer = true })
	report(account, powerful, now)
	want := []v1alpha1.KeyPermission{v1alpha1.PermissionView, v1alpha1.PermissionTrade, v1alpha1.PermissionTransfer}
	if got := account.Status.VenueAccount; !slices.Equal(got.Permissions, want) || got.Type != "DEFAULT" {
		t.Errorf("got %+v", got)
	}
	report(account, said(func(f *finding) { f.former, f.word.said.ID = portfolio, "another" }), now)
	if got := account.Status.VenueAccount.ID; got != portfolio {
		t.Errorf("the account that agents trade on was forgotten for %s", got)
	}
}

func TestPauses(t *testing.T) {
	missing := &finding{ledger: ledger(), credentials: &credentialsError{v1alpha1.ReasonCredentialsNotFound, "no Secret"}}
	account := live()
	for _, test := range []struct{ out, pause time.Duration }{{0, 5 * time.Second}, {20 * time.Second, 10 * time.Second}, {time.Hour, 30 * time.Second}} {
		if got := report(account, missing, now.Add(test.out)).After(); got != test.pause {
			t.Errorf("a Secret that is missing for %s is looked for again after %s, want %s", test.out, got, test.pause)
		}
	}
	lost := live()
	for _, test := range []struct{ out, least time.Duration }{{0, 2 * time.Second}, {20 * time.Second, 10 * time.Second}, {time.Hour, time.Minute}} {
		got := report(lost, failed(venue.ErrUnreachable), now.Add(test.out)).After()
		if got < test.least || got > test.least*12/10 {
			t.Errorf("a venue that is away for %s is asked again after %s, want about %s", test.out, got, test.least)
		}
	}
	limited := said(func(f *finding) { f.word = &venueWord{err: &venue.RateLimitedError{After: time.Minute}} })
	if got := report(live(), limited, now).After(); got < time.Minute {
		t.Errorf("asked again after %s, though the venue wants to be left alone for a minute", got)
	}
}

// What a pass learns is remembered for as long as it is to be gone by, and for
// the same spec and Secret only.
func TestMemory(t *testing.T) {
	var remembers memory
	about := subject{2, secretVersion{"uid", "7"}}
	remembers.store("a", about, venueWord{said: good()}, now, now.Add(time.Minute))
	for _, test := range []struct {
		name  string
		about subject
		at    time.Duration
		fresh bool
	}{
		{"the same", about, 59 * time.Second, true},
		{"over", about, time.Minute, false},
		{"another spec", subject{3, about.secret}, 0, false},
		{"another content", subject{2, secretVersion{"uid", "8"}}, 0, false},
		{"another Secret", subject{2, secretVersion{"other", "7"}}, 0, false},
	} {
		if _, fresh := remembers.recall("a", test.about, now.Add(test.at)); fresh != test.fresh {
			t.Errorf("%s: fresh is %v", test.name, fresh)
		}
	}
	remembers.store("b", about, venueWord{}, now.Add(time.Hour), now.Add(2*time.Hour))
	if len(remembers.words) != 1 {
		t.Errorf("%d words are kept of accounts that may be gone", len(remembers.words)-1)
	}
}

func TestGoneByFor(t *testing.T) {
	for _, test := range []struct {
		name string
		word venueWord
		want time.Duration
	}{
		{"good", venueWord{said: good()}, askPause},
		{"may not trade", venueWord{said: venue.Account{CanView: true}}, poorAskPause},
		{"refused", venueWord{err: venue.ErrRefused}, poorAskPause},
		{"unreachable", venueWord{err: venue.ErrUnreachable}, 0},
		{"malformed", venueWord{err: venue.ErrMalformed}, 0},
		{"limited", venueWord{err: &venue.RateLimitedError{After: time.Hour}}, time.Hour},
	} {
		if got := goneByFor(test.word); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestClaimName(t *testing.T) {
	sandbox, other := live(), live()
	sandbox.Spec.Coinbase.Environment = v1alpha1.EnvironmentSandbox
	other.Namespace, other.Name, other.UID = "elsewhere", "other", "other"
	name := claimName(live(), portfolio)
	if name != claimName(other, portfolio) {
		t.Error("two TradingAccounts that are one account claim different names")
	}
	if name == claimName(sandbox, portfolio) || name == claimName(live(), "another") {
		t.Error("two accounts claim one name")
	}
	if len(name) > 63 || strings.Contains(name, portfolio) {
		t.Errorf("the name is %s", name)
	}
}

func TestHolder(t *testing.T) {
	who := holderOf(live())
	if read, ok := parseHolder(new(who.String())); !ok || read != who {
		t.Errorf("%s is read as %v, %v", who, read, ok)
	}
	for _, identity := range []*string{nil, new(""), new("desk/live"), new("a/b/c/d")} {
		if read, ok := parseHolder(identity); ok {
			t.Errorf("%v is read as %v", identity, read)
		}
	}
}
