// Package ledger migrates each Ledger's database and says whether agents can
// write to it.
package ledger

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

const (
	// infoTimeout bounds the questions to a database.
	infoTimeout = 10 * time.Second

	// migrateTimeout bounds a migration, the wait for another operator's
	// included. It is generous: giving up in the middle helps nobody.
	migrateTimeout = 10 * time.Minute

	// concurrency: a pass waits for a database most of its time.
	concurrency = 8
)

// Reconciler keeps databases migrated and reports on them.
type Reconciler struct {
	reconcile.Tools
	// Info and Migrate ask and change the database at a URI. Their errors must
	// not carry the URI's password.
	Info    func(ctx context.Context, uri string) (ledger.ServerInfo, error)
	Migrate func(ctx context.Context, uri string) (int64, error)
	// Anchor takes an anchor in the database at a URI, and Forget tells its agents
	// that it has forgotten something.
	Anchor func(ctx context.Context, uri string) (ledger.Anchor, error)
	Forget func(ctx context.Context, uri, reason string) (int64, error)
	// Metrics tell of what is found.
	Metrics *Metrics
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=ledgers;tradingaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=ledgers/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// Reconcile resolves one ledger's Secret, asks its database about itself,
// migrates it where it is behind, and reports.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.Ledger{}
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.Metrics.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := object.DeepCopy()
	accounts, err := reconcile.AccountsOf(ctx, r.Client, object)
	if err != nil {
		return r.Reporter.Finish(ctx, before, object, reconcile.Outcome{}, err)
	}
	object.Status.Accounts = reconcile.Count(len(accounts))
	uri, found, err := r.resolve(ctx, object)
	if err != nil {
		return r.Reporter.Finish(ctx, before, object, reconcile.Outcome{}, err)
	}
	if found.missing == nil {
		r.ask(ctx, uri, &found)
	}
	outcome := report(object, found, r.Clock.Now())
	r.hold(ctx, uri, object, &found)
	result, err := r.Reporter.Finish(ctx, before, object, outcome, nil)
	r.Metrics.tell(object)
	return result, err
}

// resolve reads the operator's connection URI, and looks whether the agents' exists.
func (r *Reconciler) resolve(ctx context.Context, object *v1alpha1.Ledger) (string, finding, error) {
	var found finding
	owner, agents := object.Spec.URISecretRef, object.Spec.AgentURI()
	uri, err := r.uri(ctx, object.Namespace, owner)
	if err != nil {
		return "", found, err
	}
	if uri == "" {
		found.missing = &owner
		return "", found, nil
	}
	if agents != owner {
		theirs, err := r.uri(ctx, object.Namespace, agents)
		if err != nil {
			return "", found, err
		}
		if theirs == "" {
			found.missing = &agents
		}
	}
	return uri, found, nil
}

// uri reads a connection URI past the cache, so that the operator never holds the
// cluster's Secrets in memory; empty if Secret or key do not exist.
func (r *Reconciler) uri(ctx context.Context, namespace string, ref v1alpha1.SecretKeyReference) (string, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read Secret %q: %w", ref.Name, err)
	}
	return string(secret.Data[ref.Key]), nil
}

// ask questions the database and migrates it if it is fit and behind.
func (r *Reconciler) ask(ctx context.Context, uri string, found *finding) {
	asking, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	found.server, found.err = r.Info(asking, uri)
	if found.err != nil || found.unfit() || found.server.SchemaVersion >= found.server.Latest {
		return
	}
	migrating, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	version, err := r.Migrate(migrating, uri)
	found.migration = err
	if err == nil {
		found.server.SchemaVersion = version
	}
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Ledger{}, builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.TradingAccount{}, reconcile.Map(ledgerOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency, ReconciliationTimeout: migrateTimeout + time.Minute}).
		Complete(r)
}

func ledgerOf(_ context.Context, account *v1alpha1.TradingAccount) ([]ctrlreconcile.Request, error) {
	key := client.ObjectKey{Namespace: account.Namespace, Name: account.Spec.LedgerRef.Name}
	return []ctrlreconcile.Request{{NamespacedName: key}}, nil
}
