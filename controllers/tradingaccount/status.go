package tradingaccount

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

const (
	// lookPause between two looks at the Secret and the claim of an account at a
	// venue. Secrets are not watched, because the right to watch them is the right
	// to read them all; a rotated key is noticed within this time.
	lookPause = time.Minute
	// curePause is the same while the user must act on the Secret.
	curePause = 30 * time.Second

	// Bounds of the pause before a missing Secret is looked for again.
	minSecretPause = 5 * time.Second
	maxSecretPause = 30 * time.Second

	// Bounds of the pause before a venue that does not answer is asked again.
	minRetryPause = 2 * time.Second
	maxRetryPause = time.Minute
)

// finding is what one pass has learnt of an account.
type finding struct {
	invalid field.ErrorList
	// ledger is nil if it does not exist.
	ledger *v1alpha1.Ledger
	// products that the account's agents trade.
	products []string
	// credentials is why the key cannot be used.
	credentials *credentialsError
	// word is what the venue has said; nil if it was not asked.
	word *venueWord
	// former is the account at the venue that agents began to trade on, if the key
	// is for another now.
	former string
	// rival is the TradingAccount that has the claim.
	rival string
}

// verdict is one condition's content.
type verdict struct{ reason, message string }

// report sets the account's conditions and says how the pass ended. It is pure,
// but for the jitter of the next look.
func report(account *v1alpha1.TradingAccount, found *finding, now time.Time) reconcile.Outcome {
	status := reconcile.StatusOf(account)
	if len(found.invalid) > 0 {
		outcome := reconcile.Judge(account, v1alpha1.ReasonInvalidSpec, found.invalid, now)
		unknown(status, outcome.Reason(), outcome.Message(), now, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionVenueReachable)
		return outcome
	}
	if found.ledger == nil {
		message := fmt.Sprintf("Ledger %q does not exist; create it, or delete this account and create it with another ledgerRef", account.Spec.LedgerRef.Name)
		status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonLedgerNotFound, message, now)
		unknown(status, v1alpha1.ReasonLedgerNotFound, message, now, v1alpha1.ConditionVenueReachable)
		reportAccepted(account, found, now)
		since := status.Since(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, now)
		return reconcile.WaitOrStall(v1alpha1.ReasonLedgerNotFound, message, since, now, reconcile.ReferenceGrace)
	}
	if account.Spec.Venue == v1alpha1.VenuePaper {
		return reportPaper(account, found, now)
	}
	return reportReal(account, found, now)
}

func unknown(status reconcile.Status, reason, message string, now time.Time, conditions ...string) {
	for _, condition := range conditions {
		status.Set(condition, metav1.ConditionUnknown, reason, message, now)
	}
}

func reportPaper(account *v1alpha1.TradingAccount, found *finding, now time.Time) reconcile.Outcome {
	status := reconcile.StatusOf(account)
	reportAccepted(account, found, now)
	status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolved, "the ledger exists", now)
	if unreachable := paperUnreachable(found.ledger); unreachable != "" {
		status.Set(v1alpha1.ConditionVenueReachable, metav1.ConditionFalse, v1alpha1.ReasonVenueUnreachable, unreachable, now)
		since := status.Since(v1alpha1.ConditionVenueReachable, metav1.ConditionFalse, now)
		return reconcile.WaitOrStall(v1alpha1.ReasonVenueUnreachable, unreachable, since, now, reconcile.ReferenceGrace)
	}
	status.Set(v1alpha1.ConditionVenueReachable, metav1.ConditionTrue, v1alpha1.ReasonVenueReachable, "the paper venue's ledger is Ready", now)
	return reconcile.Done(v1alpha1.ReasonReady, "the venue answers")
}

// paperUnreachable says why the paper venue, whose book is in the ledger, does
// not answer; empty if it does.
func paperUnreachable(ledger *v1alpha1.Ledger) string {
	ready := reconcile.StatusOf(ledger).Get(v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return fmt.Sprintf("the paper venue's book is in Ledger %q, which has not been looked at yet", ledger.Name)
	case ready.Status != metav1.ConditionTrue:
		return fmt.Sprintf("the paper venue's book is in Ledger %q, which is not Ready: %s", ledger.Name, ready.Reason)
	}
	return ""
}

func reportReal(account *v1alpha1.TradingAccount, found *finding, now time.Time) reconcile.Outcome {
	status := reconcile.StatusOf(account)
	if problem := found.credentials; problem != nil && problem.reason == v1alpha1.ReasonCredentialsNotFound {
		status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, problem.reason, problem.message, now)
		unknown(status, problem.reason, problem.message, now, v1alpha1.ConditionVenueReachable)
		reportAccepted(account, found, now)
		since := status.Since(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, now)
		outcome := reconcile.WaitOrStall(problem.reason, problem.message, since, now, reconcile.ReferenceGrace)
		return outcome.Again(growing(now.Sub(since), minSecretPause, maxSecretPause))
	}
	status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolved, "the ledger exists, and the Secret has both keys", now)
	if away := reportReachable(status, found, now); away.reason != "" {
		reportAccepted(account, found, now)
		return reconcile.Wait(away.reason, away.message, retryPause(status, found, now))
	}
	if fault := reportAccepted(account, found, now); fault.reason != "" {
		return reconcile.Stall(fault.reason, fault.message).Again(wait.Jitter(curePause, pauseJitter))
	}
	return reconcile.Done(v1alpha1.ReasonReady, "the key may trade and not withdraw, and the account is this TradingAccount's alone").
		Again(wait.Jitter(lookPause, pauseJitter))
}

// reportReachable sets VenueReachable and returns why the venue's word is not to
// be had; an empty reason if it is, or if the key is not fit to ask for it.
func reportReachable(status reconcile.Status, found *finding, now time.Time) verdict {
	if problem := found.credentials; problem != nil {
		unknown(status, problem.reason, problem.message, now, v1alpha1.ConditionVenueReachable)
		return verdict{}
	}
	away := venueAway(found.word.err)
	if away.reason != "" {
		status.Set(v1alpha1.ConditionVenueReachable, metav1.ConditionFalse, away.reason, away.message, now)
		return away
	}
	status.Set(v1alpha1.ConditionVenueReachable, metav1.ConditionTrue, v1alpha1.ReasonVenueReachable, "the venue answers", now)
	return verdict{}
}

// venueAway says why a venue has not given its word; an empty reason if it has.
func venueAway(err error) verdict {
	limited, isLimited := errors.AsType[*venue.RateLimitedError](err)
	switch {
	case err == nil, errors.Is(err, venue.ErrRefused), errors.Is(err, venue.ErrForbidden),
		errors.Is(err, venue.ErrNoEndpoint), errors.Is(err, venue.ErrNoSuchThing):
		return verdict{}
	case isLimited:
		return verdict{v1alpha1.ReasonVenueRateLimited, limited.Error()}
	case errors.Is(err, venue.ErrMalformed):
		return verdict{v1alpha1.ReasonVenueAnswerUnknown, err.Error()}
	}
	return verdict{v1alpha1.ReasonVenueUnreachable, err.Error()}
}

// retryPause grows with the outage and needs no memory but the status.
func retryPause(status reconcile.Status, found *finding, now time.Time) time.Duration {
	if limited, ok := errors.AsType[*venue.RateLimitedError](found.word.err); ok {
		return wait.Jitter(limited.After, pauseJitter)
	}
	out := now.Sub(status.Since(v1alpha1.ConditionVenueReachable, metav1.ConditionFalse, now))
	return wait.Jitter(growing(out, minRetryPause, maxRetryPause), pauseJitter)
}

// growing is half of how long something has lasted, within bounds.
func growing(lasted, least, most time.Duration) time.Duration {
	return min(max(lasted/2, least), most)
}

// reportAccepted sets Accepted and returns what is wrong with the account; an
// empty reason if nothing is. Where the venue's word is not to be had, its last
// one for this spec stands.
func reportAccepted(account *v1alpha1.TradingAccount, found *finding, now time.Time) verdict {
	status := reconcile.StatusOf(account)
	if account.Spec.Venue == v1alpha1.VenuePaper {
		status.Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the spec is valid", now)
		return verdict{}
	}
	fault, known := accountFault(account, found)
	switch {
	case !known:
		last := status.Get(v1alpha1.ConditionAccepted)
		if last == nil || last.ObservedGeneration != account.Generation || last.Reason == v1alpha1.ReasonCredentialsInvalid {
			unknown(status, v1alpha1.ReasonVenueChecking, "the venue has not been asked yet", now, v1alpha1.ConditionAccepted)
		}
		return verdict{}
	case fault.reason != "":
		status.Set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, fault.reason, fault.message, now)
	default:
		status.Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the key may trade and not withdraw", now)
	}
	recordVenueAccount(account, found, fault.reason == "")
	return fault
}

// recordVenueAccount shows what the venue has said. An account that was never
// accepted is not held to: another key may be for another.
func recordVenueAccount(account *v1alpha1.TradingAccount, found *finding, accepted bool) {
	if found.word == nil || found.word.err != nil {
		return
	}
	if said := found.word.said; accepted || venueID(account) == said.ID {
		account.Status.VenueAccount = venueAccount(said)
	}
}

// accountFault says what is wrong with the account; known is false where only
// the venue could tell and has not.
func accountFault(account *v1alpha1.TradingAccount, found *finding) (fault verdict, known bool) {
	switch {
	case found.credentials != nil && found.credentials.reason == v1alpha1.ReasonCredentialsInvalid:
		return verdict{found.credentials.reason, found.credentials.message}, true
	case found.word == nil || venueAway(found.word.err).reason != "":
		return verdict{}, false
	case found.word.err != nil:
		return refusalFault(account, found.word.err), true
	case keyFault(found.word.said).reason != "":
		return keyFault(found.word.said), true
	case found.former != "":
		return verdict{v1alpha1.ReasonVenueAccountChanged, fmt.Sprintf(
			"the key is for account %s at the venue, but agents trade on this TradingAccount as account %s; put a key of that account back, or create another TradingAccount",
			found.word.said.ID, found.former)}, true
	case found.rival != "":
		return verdict{v1alpha1.ReasonAccountClaimed, fmt.Sprintf(
			"TradingAccount %s is the same account at the venue (%s); delete one of the two, or use a key of another account",
			found.rival, found.word.said.ID)}, true
	}
	return verdict{}, true
}

// refusalFault says what an answer other than the permissions means.
func refusalFault(account *v1alpha1.TradingAccount, err error) verdict {
	access := account.Access()
	switch {
	case errors.Is(err, venue.ErrRefused):
		return verdict{v1alpha1.ReasonCredentialsRefused, fmt.Sprintf("%s that is in Secret %q; make a new one in environment %s, and put it into the Secret", err, access.Secret, access.Environment)}
	case errors.Is(err, venue.ErrForbidden):
		return verdict{v1alpha1.ReasonKeyCannotView, err.Error() + "; make a key that may view and trade, and not withdraw"}
	}
	cure := "look at the operator's --venue-gateway"
	if access.Environment == v1alpha1.EnvironmentSandbox {
		cure = "use environment Production"
	}
	return verdict{v1alpha1.ReasonVenueCannotVerify, fmt.Sprintf("environment %s of %s cannot say what a key may do: %s; %s", access.Environment, account.Spec.Venue, err, cure)}
}

// keyFault says what is wrong with a key's permissions. What it may do too much
// comes first.
func keyFault(key venue.Account) verdict {
	switch {
	case key.CanTransfer:
		return verdict{v1alpha1.ReasonKeyCanWithdraw, "the key may move money out of the account; make a key that may not withdraw, put it into the Secret, and delete this one at the venue"}
	case !key.CanTrade:
		return verdict{v1alpha1.ReasonKeyCannotTrade, "the key may not trade; make a key that may view and trade, and not withdraw"}
	case !key.CanView:
		return verdict{v1alpha1.ReasonKeyCannotView, "the key may not read the account; make a key that may view and trade, and not withdraw"}
	}
	return verdict{}
}

func venueAccount(said venue.Account) *v1alpha1.VenueAccountStatus {
	status := &v1alpha1.VenueAccountStatus{ID: said.ID, Type: strings.Trim(said.Type, "_")}
	for _, permission := range []struct {
		given bool
		name  v1alpha1.KeyPermission
	}{{said.CanView, v1alpha1.PermissionView}, {said.CanTrade, v1alpha1.PermissionTrade}, {said.CanTransfer, v1alpha1.PermissionTransfer}} {
		if permission.given {
			status.Permissions = append(status.Permissions, permission.name)
		}
	}
	return status
}
