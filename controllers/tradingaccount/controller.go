// Package tradingaccount says whether an account can be traded on: whether its
// venue answers, whether its key may trade and nothing more, and whether it is
// claimed by another TradingAccount; and how many agents trade on it.
package tradingaccount

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// concurrency: a pass over an account at a venue waits for the venue most of its
// time.
const concurrency = 8

// Reconciler reports on accounts and claims those at venues.
type Reconciler struct {
	reconcile.Tools
	// Venues asks real venues.
	Venues *Venues
	// Claims keep one account at a venue from being two TradingAccounts.
	Claims *Claims
	// Listings are told which products are still traded.
	Listings *listings.Listings

	memory memory
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingaccounts;tradingagents;ledgers;assetpairs,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingaccounts/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// The Leases of the claims are in the operator's own namespace; the right to them is
// in config/rbac/account_claims.yaml.

// Reconcile resolves one account's references, asks its venue, claims it and
// counts its agents.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	account := &v1alpha1.TradingAccount{}
	err := r.Client.Get(ctx, request.NamespacedName, account)
	if apierrors.IsNotFound(err) {
		return ctrl.Result{}, r.Claims.ReleaseAll(ctx, request.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	before := account.DeepCopy()
	found, err := r.gather(ctx, account)
	if err != nil {
		return r.Reporter.Finish(ctx, before, account, reconcile.Outcome{}, err)
	}
	outcome := report(account, found, r.Clock.Now())
	result, err := r.Reporter.Finish(ctx, before, account, outcome, nil)
	if outcome.IsDone() && account.Spec.Venue != v1alpha1.VenuePaper {
		r.Listings.Keep(account, found.products)
	}
	return result, err
}

// gather learns all that a report needs.
func (r *Reconciler) gather(ctx context.Context, account *v1alpha1.TradingAccount) (*finding, error) {
	agents, err := reconcile.AgentsBy(ctx, r.Client, account.Namespace, reconcile.IndexAccount, account.Name)
	if err != nil {
		return nil, err
	}
	account.Status.Agents = reconcile.Count(len(agents))
	found := &finding{invalid: v1alpha1.ValidateTradingAccount(account)}
	ledger := &v1alpha1.Ledger{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: account.Spec.LedgerRef.Name}, ledger)
	switch {
	case err == nil:
		found.ledger = ledger
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if account.Spec.Venue == v1alpha1.VenuePaper || len(found.invalid) > 0 {
		return found, nil
	}
	if found.products, err = r.productsOf(ctx, account, agents); err != nil {
		return nil, err
	}
	return found, r.examine(ctx, account, found)
}

// productsOf are the products that an account's agents trade, as the venue spells
// them.
func (r *Reconciler) productsOf(ctx context.Context, account *v1alpha1.TradingAccount, agents []v1alpha1.TradingAgent) ([]string, error) {
	var pairs v1alpha1.AssetPairList
	if err := r.Client.List(ctx, &pairs, client.InNamespace(account.Namespace)); err != nil {
		return nil, fmt.Errorf("list asset pairs: %w", err)
	}
	var products []string
	for i := range agents {
		for _, selector := range agents[i].Spec.AssetPairs {
			if pair := v1alpha1.FindPair(pairs.Items, selector.Name); pair != nil {
				products = append(products, venues.Symbol(account.Spec.Venue, pair))
			}
		}
	}
	return products, nil
}

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.TradingAccount{}, builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.Ledger{}, reconcile.Map(r.accountsOf), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(accountOf), builder.WithPredicates(reconcile.Changed(accountMoved))).
		Watches(&v1alpha1.TradingAccount{}, reconcile.Map(r.rivalsOf), builder.WithPredicates(claimMoved())).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(r)
}

func (r *Reconciler) accountsOf(ctx context.Context, ledger *v1alpha1.Ledger) ([]ctrlreconcile.Request, error) {
	accounts, err := reconcile.AccountsOf(ctx, r.Client, ledger)
	return reconcile.Requests(accounts), err
}

func accountOf(_ context.Context, agent *v1alpha1.TradingAgent) ([]ctrlreconcile.Request, error) {
	key := client.ObjectKey{Namespace: agent.Namespace, Name: agent.Spec.AccountRef.Name}
	return []ctrlreconcile.Request{{NamespacedName: key}}, nil
}

// accountMoved: the reference cannot change, so only coming and going matter.
func accountMoved(_, _ *v1alpha1.TradingAgent) bool { return false }

// rivalsOf are the accounts of the cluster that wait for a claim.
func (r *Reconciler) rivalsOf(ctx context.Context, _ *v1alpha1.TradingAccount) ([]ctrlreconcile.Request, error) {
	var all v1alpha1.TradingAccountList
	if err := r.Client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var waiting []v1alpha1.TradingAccount
	for _, account := range all.Items {
		accepted := reconcile.StatusOf(&account).Get(v1alpha1.ConditionAccepted)
		if accepted != nil && accepted.Reason == v1alpha1.ReasonAccountClaimed {
			waiting = append(waiting, account)
		}
	}
	return reconcile.Requests(waiting), nil
}

// claimMoved passes what may set a claim free: an account's end, and its change
// to another at the venue.
func claimMoved() predicate.Predicate {
	moved := reconcile.Changed(func(before, after *v1alpha1.TradingAccount) bool {
		return venueID(before) != "" && venueID(before) != venueID(after)
	})
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: moved.Update,
		DeleteFunc: func(gone event.DeleteEvent) bool {
			account, ok := gone.Object.(*v1alpha1.TradingAccount)
			return ok && account.Spec.Venue != v1alpha1.VenuePaper
		},
	}
}

func venueID(account *v1alpha1.TradingAccount) string {
	if account.Status.VenueAccount == nil {
		return ""
	}
	return account.Status.VenueAccount.ID
}
