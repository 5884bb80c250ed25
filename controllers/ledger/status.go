package ledger

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

const (
	// checkPause between two looks at a healthy database, which no watch can
	// replace; jittered, so that many ledgers on one server do not knock together.
	checkPause  = time.Minute
	checkJitter = 0.2

	// secretPause is how soon a missing Secret is looked for again. It is not
	// watched, because the right to watch Secrets is the right to read them all.
	secretPause = 5 * time.Second

	// Bounds of the pause before a database that does not answer is asked again.
	minRetryPause = time.Second
	maxRetryPause = 30 * time.Second
)

// finding is what one pass has learnt of a database.
type finding struct {
	// missing is the first key of a Secret that does not exist; nil if all do.
	missing *v1alpha1.SecretKeyReference
	// server is what the database says about itself, if err is nil.
	server ledger.ServerInfo
	err    error
	// migration is why the schema could not be brought up to date.
	migration error
}

// unfit reports a server that nothing may be written to.
func (f *finding) unfit() bool { return f.server.ReadOnly || !f.server.Durable() }

// report sets the ledger's conditions. It is pure, but for the jitter of the
// next look.
func report(object *v1alpha1.Ledger, found finding, now time.Time) reconcile.Outcome {
	status := reconcile.StatusOf(object)
	if found.missing != nil {
		field := "spec.uriSecretRef"
		if *found.missing != object.Spec.URISecretRef {
			field = "spec.agentURISecretRef"
		}
		message := fmt.Sprintf("Secret %q with key %q does not exist; create it, or correct %s", found.missing.Name, found.missing.Key, field)
		status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonLedgerSecretNotFound, message, now)
		unknown(status, v1alpha1.ReasonLedgerSecretNotFound, message, now)
		since := status.Since(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, now)
		return reconcile.WaitOrStall(v1alpha1.ReasonLedgerSecretNotFound, message, since, now, reconcile.ReferenceGrace).Again(secretPause)
	}
	status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolved, "the Secret has the key", now)
	next := wait.Jitter(checkPause, checkJitter)
	if outcome, ok := reportReachable(status, found, now); !ok {
		return outcome
	}
	object.Status.ServerVersion = found.server.ServerVersion
	object.Status.SchemaVersion = new(found.server.SchemaVersion)
	if reason, message := schemaFault(found); reason != "" {
		status.Set(v1alpha1.ConditionMigrated, metav1.ConditionFalse, reason, message, now)
		return reconcile.Stall(reason, message).Again(next)
	}
	message := fmt.Sprintf("the database has schema %d", found.server.SchemaVersion)
	status.Set(v1alpha1.ConditionMigrated, metav1.ConditionTrue, v1alpha1.ReasonLedgerMigrated, message, now)
	return reconcile.Done(v1alpha1.ReasonReady, message).Again(next)
}

// unknown says that nothing is known of the database itself.
func unknown(status reconcile.Status, reason, message string, now time.Time) {
	status.Set(v1alpha1.ConditionReachable, metav1.ConditionUnknown, reason, message, now)
	status.Set(v1alpha1.ConditionMigrated, metav1.ConditionUnknown, reason, message, now)
}

// reportReachable sets Reachable; ok is false where nothing can be written.
func reportReachable(status reconcile.Status, found finding, now time.Time) (outcome reconcile.Outcome, ok bool) {
	reason, message, stalls := reachableFault(found)
	if reason == "" {
		status.Set(v1alpha1.ConditionReachable, metav1.ConditionTrue, v1alpha1.ReasonLedgerReachable, "PostgreSQL "+found.server.ServerVersion+" answers", now)
		return reconcile.Outcome{}, true
	}
	status.Set(v1alpha1.ConditionReachable, metav1.ConditionFalse, reason, message, now)
	if stalls {
		return reconcile.Stall(reason, message).Again(maxRetryPause), false
	}
	// The pause grows with the outage and needs no memory but the status.
	out := now.Sub(status.Since(v1alpha1.ConditionReachable, metav1.ConditionFalse, now))
	return reconcile.Wait(reason, message, min(max(out/2, minRetryPause), maxRetryPause)), false
}

// reachableFault says why the database cannot be written to, and whether that
// stays so until somebody acts.
func reachableFault(found finding) (reason, message string, stalls bool) {
	switch {
	case found.err != nil && refused(found.err):
		return v1alpha1.ReasonLedgerRefused, found.err.Error(), true
	case found.err != nil:
		return v1alpha1.ReasonLedgerUnreachable, found.err.Error(), false
	case found.server.ReadOnly:
		return v1alpha1.ReasonLedgerRefused, "the server takes no writes: it is a standby, or default_transaction_read_only is on", true
	case !found.server.Durable():
		return v1alpha1.ReasonLedgerNotDurable, found.server.NotDurable() + ": a crash of the server could forget orders; turn it on", true
	}
	return "", "", false
}

// refusals are the SQLSTATE classes that time does not cure: wrong user or
// password, no such database, a missing right.
var refusals = []string{"28", "3D", "42501"}

func refused(err error) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, class := range refusals {
			if strings.HasPrefix(answer.Code, class) {
				return true
			}
		}
	}
	return !errors.Is(err, database.ErrUnavailable)
}

func schemaFault(found finding) (reason, message string) {
	server := found.server
	switch {
	case found.migration != nil:
		return v1alpha1.ReasonLedgerMigration, found.migration.Error()
	case server.SchemaVersion > server.Latest:
		return v1alpha1.ReasonLedgerNewer, fmt.Sprintf("the database has schema %d, this operator knows schemas up to %d; upgrade the operator", server.SchemaVersion, server.Latest)
	}
	return "", ""
}
