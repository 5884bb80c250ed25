// Package tradingaccount says whether an account's venue answers, and how many
// agents trade on it.
package tradingaccount

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// Reconciler reports on accounts. It writes nothing but their status.
type Reconciler struct {
	reconcile.Tools
}

// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingaccounts;tradingagents;ledgers,verbs=get;list;watch
// +kubebuilder:rbac:groups=trading.three-rivers-tech.com,resources=tradingaccounts/status,verbs=patch

// Reconcile resolves one account's ledger, asks its venue and counts its agents.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	account := &v1alpha1.TradingAccount{}
	if err := r.Client.Get(ctx, request.NamespacedName, account); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := account.DeepCopy()
	agents, err := reconcile.AgentsBy(ctx, r.Client, account.Namespace, reconcile.IndexAccount, account.Name)
	if err != nil {
		return r.Reporter.Finish(ctx, before, account, reconcile.Outcome{}, err)
	}
	account.Status.Agents = reconcile.Count(len(agents))

	ledger := &v1alpha1.Ledger{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: account.Namespace, Name: account.Spec.LedgerRef.Name}, ledger)
	if apierrors.IsNotFound(err) {
		ledger, err = nil, nil
	}
	if err != nil {
		return r.Reporter.Finish(ctx, before, account, reconcile.Outcome{}, fmt.Errorf("read the ledger: %w", err))
	}
	return r.Reporter.Finish(ctx, before, account, r.report(account, ledger), nil)
}

// report sets the account's conditions. ledger is nil if it does not exist.
func (r *Reconciler) report(account *v1alpha1.TradingAccount, ledger *v1alpha1.Ledger) reconcile.Outcome {
	status, now := reconcile.StatusOf(account), r.Clock.Now()
	status.Set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the spec is valid", now)
	if ledger == nil {
		message := fmt.Sprintf("Ledger %q does not exist; create it, or delete this account and create it with another ledgerRef", account.Spec.LedgerRef.Name)
		status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonLedgerNotFound, message, now)
		status.Set(v1alpha1.ConditionVenueReachable, metav1.ConditionUnknown, v1alpha1.ReasonLedgerNotFound, message, now)
		since := status.Since(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, now)
		return reconcile.WaitOrStall(v1alpha1.ReasonLedgerNotFound, message, since, now, reconcile.ReferenceGrace)
	}
	status.Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolved, "the ledger exists", now)
	if unreachable := paperUnreachable(ledger); unreachable != "" {
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

// SetupWithManager registers the controller and what wakes it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.TradingAccount{}, builder.WithPredicates(reconcile.OwnChanges())).
		Watches(&v1alpha1.Ledger{}, reconcile.Map(r.accountsOf), builder.WithPredicates(reconcile.SpecOrReady())).
		Watches(&v1alpha1.TradingAgent{}, reconcile.Map(accountOf), builder.WithPredicates(reconcile.Changed(accountMoved))).
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
