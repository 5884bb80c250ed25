package reconcile

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// NotOwnedError says that an object with a child's name exists and belongs to
// somebody else. It is never touched.
type NotOwnedError struct{ Kind, Name string }

func (e *NotOwnedError) Error() string {
	return fmt.Sprintf("%s %q exists and does not belong to this object; delete or rename it", e.Kind, e.Name)
}

// Applier brings children to their desired state under one field owner: it
// creates what is missing, changes what differs by server-side apply, and writes
// nothing where there is nothing to change.
type Applier struct {
	Client client.Client
	// Live reads past the cache, which holds labelled objects only: one of that
	// name that it does not show may be somebody else's.
	Live client.Reader
}

// Apply applies one child of owner. desired must carry owner's controller
// reference. It fails with NotOwnedError.
func (a *Applier) Apply(ctx context.Context, owner, desired client.Object) error {
	gvk, err := apiutil.GVKForObject(desired, a.Client.Scheme())
	if err != nil {
		return err
	}
	if err := a.apply(ctx, gvk, owner, desired); err != nil {
		return fmt.Errorf("apply %s %s: %w", gvk.Kind, desired.GetName(), err)
	}
	return nil
}

func (a *Applier) apply(ctx context.Context, gvk schema.GroupVersionKind, owner, desired client.Object) error {
	live := desired.DeepCopyObject().(client.Object)
	err := a.Client.Get(ctx, client.ObjectKeyFromObject(desired), live)
	if apierrors.IsNotFound(err) {
		// Creating tells whether there is such an object, which an apply would take
		// over without a word, and costs no read of the API server.
		err = a.Client.Create(ctx, live, client.FieldOwner(FieldOwner))
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		live = desired.DeepCopyObject().(client.Object)
		err = a.Live.Get(ctx, client.ObjectKeyFromObject(desired), live)
	}
	if err != nil {
		return err
	}
	if !metav1.IsControlledBy(live, owner) {
		return &NotOwnedError{Kind: gvk.Kind, Name: desired.GetName()}
	}
	have, err := plain(live)
	if err != nil {
		return err
	}
	want, err := plain(desired)
	if err != nil || covers(have, want) {
		return err
	}
	if err := a.takeFields(ctx, desired); err != nil {
		return err
	}
	child := &unstructured.Unstructured{Object: want}
	child.SetGroupVersionKind(gvk)
	return a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(child), client.FieldOwner(FieldOwner), client.ForceOwnership)
}

// takeFields turns the fields that were owned by creating the object into fields
// that are owned by applying it. Else one that is no longer wanted would stay,
// because its creator owned it for ever.
func (a *Applier) takeFields(ctx context.Context, desired client.Object) error {
	// The cache holds no managed fields.
	live := desired.DeepCopyObject().(client.Object)
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(desired), live); err != nil {
		return err
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(FieldOwner), FieldOwner)
	if err != nil || len(patch) == 0 {
		return err
	}
	return a.Client.Patch(ctx, live, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(FieldOwner))
}

// plain is the object as a tree of maps, without what only the server sets.
func plain(object client.Object) (map[string]any, error) {
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(tree, "metadata", "creationTimestamp")
	delete(tree, "status")
	delete(tree, "apiVersion")
	delete(tree, "kind")
	return tree, nil
}

// covers reports whether everything that is wanted is there. Maps may hold more
// (the labels of others); lists must be equal in length and order, so that a
// rule that somebody added to a Role counts as a difference. Owner references
// are the exception, because other owners may stand beside ours.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range want {
			if key == "ownerReferences" && containsAll(have[key], value) {
				continue
			}
			if !covers(have[key], value) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		for i := range want {
			if !covers(have[i], want[i]) {
				return false
			}
		}
		return true
	default:
		return have == want
	}
}

func containsAll(have, want any) bool {
	haves, okHave := have.([]any)
	wants, okWant := want.([]any)
	if !okHave || !okWant {
		return false
	}
	for _, wanted := range wants {
		found := false
		for _, candidate := range haves {
			found = found || covers(candidate, wanted)
		}
		if !found {
			return false
		}
	}
	return true
}
