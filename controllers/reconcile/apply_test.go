package reconcile

import (
	"context"
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// store is an API server that counts what it is asked, and a cache of it that may
// be blind.
type store struct {
	live, cached            client.WithWatch
	reads, creates, applies int
}

func newStore(t *testing.T, blind bool, objects ...client.Object) *store {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	s := &store{}
	server := fake.NewClientBuilder().WithScheme(scheme).WithReturnManagedFields().WithObjects(objects...).Build()
	s.live = interceptor.NewClient(server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			s.reads++
			return c.Get(ctx, key, object, options...)
		},
	})
	empty := fake.NewClientBuilder().WithScheme(scheme).Build()
	s.cached = interceptor.NewClient(server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if blind {
				return empty.Get(ctx, key, object, options...)
			}
			return c.Get(ctx, key, object, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			s.creates++
			return c.Create(ctx, object, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			s.applies++
			return c.Apply(ctx, object, options...)
		},
	})
	return s
}

func (s *store) apply(t *testing.T, desired client.Object) error {
	t.Helper()
	applier := &Applier{Client: s.cached, Live: s.live}
	return applier.Apply(t.Context(), parent, desired)
}

var parent = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur", UID: "parent"}}

func account(owner types.UID, labels map[string]string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "desk", Name: "eur-trader", Labels: maps.Clone(labels),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "eur", UID: owner, Controller: new(true)}},
		},
		AutomountServiceAccountToken: new(false),
	}
}

func TestApplyCreatesWithoutReading(t *testing.T) {
	s := newStore(t, false)
	for range 3 {
		if err := s.apply(t, account("parent", map[string]string{"a": "1"})); err != nil {
			t.Fatal(err)
		}
	}
	if s.reads != 0 || s.creates != 1 || s.applies != 0 {
		t.Errorf("%d reads past the cache, %d creations, %d applies", s.reads, s.creates, s.applies)
	}
}

// The cache shows only what carries the operator's label, and what it has heard
// of.
func TestApplyMeetsWhatTheCacheDoesNotShow(t *testing.T) {
	for _, test := range []struct {
		name     string
		there    *corev1.ServiceAccount
		applies  int
		notOwned bool
	}{
		{"its own, as wanted", account("parent", map[string]string{"a": "1"}), 0, false},
		{"its own, without the label", account("parent", nil), 1, false},
		{"somebody else's", account("another", nil), 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, true, test.there)
			err := s.apply(t, account("parent", map[string]string{"a": "1"}))
			var notOwned *NotOwnedError
			if errors.As(err, &notOwned) != test.notOwned || err != nil && !test.notOwned {
				t.Fatalf("got %v", err)
			}
			if s.applies != test.applies {
				t.Errorf("%d applies, want %d", s.applies, test.applies)
			}
			after := &corev1.ServiceAccount{}
			if err := s.live.Get(t.Context(), client.ObjectKeyFromObject(test.there), after); err != nil {
				t.Fatal(err)
			}
			if got := after.Labels["a"] == "1"; got == test.notOwned {
				t.Errorf("the label is there: %t", got)
			}
		})
	}
}

// What a later release of the operator wants no more must go, although it was
// written when the object was created.
func TestApplyTakesBackWhatItCreated(t *testing.T) {
	s := newStore(t, false)
	for _, labels := range []map[string]string{{"a": "1", "b": "1"}, {"a": "2"}} {
		if err := s.apply(t, account("parent", labels)); err != nil {
			t.Fatal(err)
		}
	}
	after := &corev1.ServiceAccount{}
	if err := s.live.Get(t.Context(), client.ObjectKeyFromObject(account("parent", nil)), after); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(after.Labels, map[string]string{"a": "2"}) {
		t.Errorf("the labels are %v", after.Labels)
	}
}
