package reconcile

import (
	"context"
	"fmt"
	"math"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Indexes of the cache, each on a field that refers to another object.
const (
	IndexAccount = "spec.accountRef.name"
	IndexPolicy  = "spec.riskPolicyRef.name"
	IndexPair    = "spec.assetPairs.name"
	IndexLedger  = "spec.ledgerRef.name"
	IndexNode    = "status.nodeName"
	IndexHost    = "spec.endpoint.host"
	// IndexAgent finds the pods that pass for an agent, by their label.
	IndexAgent = "metadata.labels.agent"
	// IndexOwner finds children by the UID of the object that controls them.
	IndexOwner = "metadata.controller.uid"
)

// agentIndexes are the functions behind the indexes of TradingAgent.
var agentIndexes = map[string]func(*v1alpha1.TradingAgent) []string{
	IndexAccount: func(agent *v1alpha1.TradingAgent) []string { return []string{agent.Spec.AccountRef.Name} },
	IndexPolicy:  func(agent *v1alpha1.TradingAgent) []string { return []string{agent.Spec.RiskPolicyRef.Name} },
	IndexPair:    pairKeys,
	IndexNode:    func(agent *v1alpha1.TradingAgent) []string { return present(agent.Status.NodeName) },
	IndexHost: func(agent *v1alpha1.TradingAgent) []string {
		if agent.Spec.Endpoint == nil {
			return nil
		}
		return present(agent.Spec.Endpoint.Host)
	},
}

func present(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// pairKeys are the spellings under which an agent's pairs are looked up: as
// written, because that may be an object's name, and in normal form.
func pairKeys(agent *v1alpha1.TradingAgent) []string {
	keys := make([]string, 0, 2*len(agent.Spec.AssetPairs))
	for _, selector := range agent.Spec.AssetPairs {
		keys = append(keys, selector.Name)
		if normal, err := v1alpha1.NormalizePair(selector.Name); err == nil && normal != selector.Name {
			keys = append(keys, normal)
		}
	}
	return keys
}

// AddIndexes registers every index with the cache. It is called once, before
// the controllers are set up.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for field, keys := range agentIndexes {
		extract := func(object client.Object) []string { return keys(object.(*v1alpha1.TradingAgent)) }
		if err := indexer.IndexField(ctx, &v1alpha1.TradingAgent{}, field, extract); err != nil {
			return fmt.Errorf("index agents by %s: %w", field, err)
		}
	}
	byLedger := func(object client.Object) []string {
		return []string{object.(*v1alpha1.TradingAccount).Spec.LedgerRef.Name}
	}
	if err := indexer.IndexField(ctx, &v1alpha1.TradingAccount{}, IndexLedger, byLedger); err != nil {
		return fmt.Errorf("index accounts by %s: %w", IndexLedger, err)
	}
	byLabel := func(object client.Object) []string { return present(object.GetLabels()[v1alpha1.AgentLabel]) }
	if err := indexer.IndexField(ctx, &corev1.Pod{}, IndexAgent, byLabel); err != nil {
		return fmt.Errorf("index pods by %s: %w", IndexAgent, err)
	}
	if err := indexer.IndexField(ctx, &appsv1.ControllerRevision{}, IndexOwner, OwnerKeys); err != nil {
		return fmt.Errorf("index revisions by %s: %w", IndexOwner, err)
	}
	return nil
}

// OwnerKeys are the keys of a child in IndexOwner.
func OwnerKeys(child client.Object) []string {
	if owner := metav1.GetControllerOf(child); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

// AgentsBy lists the agents of a namespace, or of all if it is empty, by an index.
func AgentsBy(ctx context.Context, reader client.Reader, namespace, field, value string) ([]v1alpha1.TradingAgent, error) {
	var agents v1alpha1.TradingAgentList
	err := reader.List(ctx, &agents, client.InNamespace(namespace), client.MatchingFields{field: value})
	if err != nil {
		return nil, fmt.Errorf("list agents by %s=%s: %w", field, value, err)
	}
	return agents.Items, nil
}

// Count is a number of objects as status shows it.
func Count(objects int) *int32 {
	if objects < 0 || objects > math.MaxInt32 {
		return new(int32(math.MaxInt32))
	}
	return new(int32(objects))
}

// AccountsOf lists the accounts that are booked in a ledger.
func AccountsOf(ctx context.Context, reader client.Reader, ledger *v1alpha1.Ledger) ([]v1alpha1.TradingAccount, error) {
	var accounts v1alpha1.TradingAccountList
	err := reader.List(ctx, &accounts, client.InNamespace(ledger.Namespace), client.MatchingFields{IndexLedger: ledger.Name})
	if err != nil {
		return nil, fmt.Errorf("list accounts of ledger %s: %w", ledger.Name, err)
	}
	return accounts.Items, nil
}

// AllAgents are the requests for the agents of every namespace, as far as the
// options narrow them down.
func AllAgents(ctx context.Context, reader client.Reader, options ...client.ListOption) ([]ctrlreconcile.Request, error) {
	var agents v1alpha1.TradingAgentList
	// Only the names are read: copying the agents of a cluster is what costs.
	if err := reader.List(ctx, &agents, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return Requests(agents.Items), nil
}

// AgentsTrading lists the agents that trade a pair, each once.
func AgentsTrading(ctx context.Context, reader client.Reader, pair *v1alpha1.AssetPair) ([]v1alpha1.TradingAgent, error) {
	seen := map[types.UID]bool{}
	var trading []v1alpha1.TradingAgent
	for _, name := range append(pair.NormalNames(), pair.Name) {
		agents, err := AgentsBy(ctx, reader, pair.Namespace, IndexPair, name)
		if err != nil {
			return nil, err
		}
		for _, agent := range agents {
			if !seen[agent.UID] {
				seen[agent.UID] = true
				trading = append(trading, agent)
			}
		}
	}
	return trading, nil
}

// Requests are the reconcile requests for a list of objects.
func Requests[T any, O interface {
	*T
	client.Object
}](objects []T) []ctrlreconcile.Request {
	requests := make([]ctrlreconcile.Request, 0, len(objects))
	for i := range objects {
		requests = append(requests, ctrlreconcile.Request{NamespacedName: client.ObjectKeyFromObject(O(&objects[i]))})
	}
	return requests
}

// Map builds an event handler from a typed function. A list that cannot be read
// from the cache wakes nobody; that happens only before the cache has synced,
// and everything is reconciled then.
func Map[O client.Object](find func(context.Context, O) ([]ctrlreconcile.Request, error)) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []ctrlreconcile.Request {
		requests, err := find(ctx, object.(O))
		if err != nil {
			return nil
		}
		return requests
	})
}

// Changed passes updates for which a function says that they matter, and every
// creation and deletion.
func Changed[O client.Object](matters func(before, after O) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(update event.UpdateEvent) bool {
		return matters(update.ObjectOld.(O), update.ObjectNew.(O))
	}}
}

// OwnChanges passes a change of spec and the arrival of what the controller has
// itself reported.
func OwnChanges() predicate.Predicate {
	return Changed(func(before, after client.Object) bool {
		return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() || Reported(before, after)
	})
}

// Reported says whether the controller's own part of the status has changed. Its
// own write must wake it: a pass that ran before the write had come back to the
// cache compared with an older status, and may have found nothing to write when
// there was something. The pass that is woken sees both and, as a rule, writes
// nothing.
func Reported(before, after client.Object) bool {
	switch was := before.(type) {
	case *v1alpha1.TradingAgent:
		told, tells := was.Status, after.(*v1alpha1.TradingAgent).Status
		told.Trading, tells.Trading = nil, nil
		return !equality.Semantic.DeepEqual(told, tells)
	case *v1alpha1.RiskPolicy:
		return !equality.Semantic.DeepEqual(was.Status, after.(*v1alpha1.RiskPolicy).Status)
	case *v1alpha1.AssetPair:
		return !equality.Semantic.DeepEqual(was.Status, after.(*v1alpha1.AssetPair).Status)
	case *v1alpha1.TradingAccount:
		return !equality.Semantic.DeepEqual(was.Status, after.(*v1alpha1.TradingAccount).Status)
	case *v1alpha1.Ledger:
		return !equality.Semantic.DeepEqual(was.Status, after.(*v1alpha1.Ledger).Status)
	case v1alpha1.Halt:
		return !equality.Semantic.DeepEqual(was.HaltStatus(), after.(v1alpha1.Halt).HaltStatus())
	}
	return true
}

// SpecOrReady passes a change of spec, of Ready or of Accepted: what somebody
// who refers to the object must know. A change of a count wakes nobody.
func SpecOrReady() predicate.Predicate {
	return Changed(func(before, after client.Object) bool {
		return before.GetUID() != after.GetUID() ||
			before.GetGeneration() != after.GetGeneration() ||
			differs(before, after, v1alpha1.ConditionReady) ||
			differs(before, after, v1alpha1.ConditionResolvedRefs)
	})
}

func differs(before, after client.Object, conditionType string) bool {
	was, is := StatusOf(before).Get(conditionType), StatusOf(after).Get(conditionType)
	if was == nil || is == nil {
		return was != is
	}
	return was.Status != is.Status || was.Reason != is.Reason || was.ObservedGeneration != is.ObservedGeneration
}

// Owned are the labels that every child carries; the cache holds only pods,
// accounts and roles with the first of them.
func Owned(agent metav1.Object) map[string]string {
	return map[string]string{
		LabelManagedBy:              FieldOwner,
		"app.kubernetes.io/name":    "trading-agent",
		"app.kubernetes.io/part-of": "trading-operator",
		v1alpha1.AgentLabel:         agent.GetName(),
	}
}

// LabelManagedBy selects the children that the cache holds.
const LabelManagedBy = "app.kubernetes.io/managed-by"
