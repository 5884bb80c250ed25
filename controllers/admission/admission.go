// Package admission is the thin webhook: it calls the validators of the API with
// other objects of the namespace. What one object can say by itself is in the
// schema, and what it says beside one other object is in the policies of
// config/admission, so that deleting, halting and tightening never need this
// webhook.
package admission

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// SetupWithManager registers the webhooks of every kind that has one.
func SetupWithManager(mgr ctrl.Manager) error {
	world := world{cached: mgr.GetClient(), live: mgr.GetAPIReader()}
	for kind, err := range map[string]error{
		"TradingAgent":   ctrl.NewWebhookManagedBy(mgr, &v1alpha1.TradingAgent{}).WithValidator(&agentValidator{world}).Complete(),
		"AssetPair":      ctrl.NewWebhookManagedBy(mgr, &v1alpha1.AssetPair{}).WithValidator(&pairValidator{world}).Complete(),
		"TradingAccount": ctrl.NewWebhookManagedBy(mgr, &v1alpha1.TradingAccount{}).WithValidator(&accountValidator{world}).Complete(),
		"RiskPolicy":     ctrl.NewWebhookManagedBy(mgr, &v1alpha1.RiskPolicy{}).WithValidator(&policyValidator{world}).Complete(),
		"Ledger":         ctrl.NewWebhookManagedBy(mgr, &v1alpha1.Ledger{}).WithValidator(&ledgerValidator{world}).Complete(),
	} {
		if err != nil {
			return fmt.Errorf("set up the webhook of %s: %w", kind, err)
		}
	}
	return nil
}

// world is what the validators see of other objects.
type world struct{ cached, live client.Reader }

// find reads one object; false if it does not exist. The API server is asked
// where the cache has nothing, because in one kubectl apply the object may be a
// few milliseconds old.
func (w world) find(ctx context.Context, namespace, name string, object client.Object) (bool, error) {
	for _, reader := range []client.Reader{w.cached, w.live} {
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
		if err == nil {
			return true, nil
		}
		if !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("read %T %q: %w", object, name, err)
		}
	}
	return false, nil
}

// findPairs lists the pairs of a namespace, from the API server if the cache
// lacks one that is looked for.
func (w world) findPairs(ctx context.Context, namespace string, selectors []v1alpha1.AssetPairSelector) ([]v1alpha1.AssetPair, error) {
	var pairs v1alpha1.AssetPairList
	for _, reader := range []client.Reader{w.cached, w.live} {
		if err := reader.List(ctx, &pairs, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list asset pairs: %w", err)
		}
		if len(missingPairs(pairs.Items, selectors)) == 0 {
			break
		}
	}
	return pairs.Items, nil
}

func missingPairs(pairs []v1alpha1.AssetPair, selectors []v1alpha1.AssetPairSelector) []int {
	var missing []int
	for i, selector := range selectors {
		if v1alpha1.FindPair(pairs, selector.Name) == nil {
			missing = append(missing, i)
		}
	}
	return missing
}

// invalid is the answer to a wrong object: the API server shows it as it shows
// what its own schema refuses.
func invalid(kind, name string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind(kind).GroupKind(), name, errs)
}

// added are the errors that the old object does not have. An object that has
// become wrong, because another has changed, may still be changed elsewhere.
func added(before, after field.ErrorList) field.ErrorList {
	known := map[string]bool{}
	for _, err := range before {
		known[err.Error()] = true
	}
	var fresh field.ErrorList
	for _, err := range after {
		if !known[err.Error()] {
			fresh = append(fresh, err)
		}
	}
	return fresh
}

func missing(path *field.Path, format string, args ...any) string {
	return fmt.Sprintf("%s: %s", path, fmt.Sprintf(format, args...))
}

type warnings = admission.Warnings
