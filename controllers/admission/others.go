package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// pairValidator refuses a pair one of whose names another pair has.
type pairValidator struct{ world }

// ValidateCreate judges a new pair.
func (v *pairValidator) ValidateCreate(ctx context.Context, pair *v1alpha1.AssetPair) (warnings, error) {
	pairs, err := v.findPairs(ctx, pair.Namespace, nil)
	if err != nil {
		return nil, err
	}
	return nil, invalid("AssetPair", pair.Name, v1alpha1.ValidateAssetPair(pair, pairs, false))
}

// ValidateUpdate judges what the update brings.
func (v *pairValidator) ValidateUpdate(ctx context.Context, before, pair *v1alpha1.AssetPair) (warnings, error) {
	pairs, err := v.findPairs(ctx, pair.Namespace, nil)
	if err != nil {
		return nil, err
	}
	errs := added(v1alpha1.ValidateAssetPair(before, pairs, false), v1alpha1.ValidateAssetPair(pair, pairs, false))
	return nil, invalid("AssetPair", pair.Name, errs)
}

// ValidateDelete is never called.
func (v *pairValidator) ValidateDelete(context.Context, *v1alpha1.AssetPair) (warnings, error) {
	return nil, nil
}

// accountValidator warns of a ledger that does not exist. It refuses nothing.
type accountValidator struct{ world }

// ValidateCreate looks for the ledger.
func (v *accountValidator) ValidateCreate(ctx context.Context, account *v1alpha1.TradingAccount) (warnings, error) {
	name := account.Spec.LedgerRef.Name
	exists, err := v.find(ctx, account.Namespace, name, &v1alpha1.Ledger{})
	if err != nil || exists {
		return nil, err
	}
	return warnings{missing(field.NewPath("spec", "ledgerRef", "name"), "Ledger %q does not exist; agents on this account start when it does", name)}, nil
}

// ValidateUpdate is never called: the ledger of an account cannot change.
func (v *accountValidator) ValidateUpdate(context.Context, *v1alpha1.TradingAccount, *v1alpha1.TradingAccount) (warnings, error) {
	return nil, nil
}

// ValidateDelete is never called.
func (v *accountValidator) ValidateDelete(context.Context, *v1alpha1.TradingAccount) (warnings, error) {
	return nil, nil
}

// ledgerValidator warns of a Secret that does not exist. It refuses nothing.
type ledgerValidator struct{ world }

// ValidateCreate looks for the Secret.
func (v *ledgerValidator) ValidateCreate(ctx context.Context, ledger *v1alpha1.Ledger) (warnings, error) {
	ref, secret := ledger.Spec.URISecretRef, &corev1.Secret{}
	// Secrets are never read through the cache, which would hold them all.
	err := v.live.Get(ctx, client.ObjectKey{Namespace: ledger.Namespace, Name: ref.Name}, secret)
	exists := !apierrors.IsNotFound(err)
	if err != nil && exists {
		return nil, fmt.Errorf("read Secret %q: %w", ref.Name, err)
	}
	path := field.NewPath("spec", "uriSecretRef")
	if !exists {
		return warnings{missing(path.Child("name"), "Secret %q does not exist; agents start when it does", ref.Name)}, nil
	}
	if len(secret.Data[ref.Key]) == 0 {
		return warnings{missing(path.Child("key"), "Secret %q has no key %q; agents start when it does", ref.Name, ref.Key)}, nil
	}
	return nil, nil
}

// ValidateUpdate looks for the Secret again.
func (v *ledgerValidator) ValidateUpdate(ctx context.Context, _, ledger *v1alpha1.Ledger) (warnings, error) {
	return v.ValidateCreate(ctx, ledger)
}

// ValidateDelete is never called.
func (v *ledgerValidator) ValidateDelete(context.Context, *v1alpha1.Ledger) (warnings, error) {
	return nil, nil
}
