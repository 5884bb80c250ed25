// Package invalid_test applies every wrong manifest of this folder to a real API
// server with the schemas and the admission webhook, and holds its answer
// against the manifest's first line.
package invalid_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

const namespace = "desk"

// patience covers the moment in which the webhook's cache has not yet seen what
// was created before.
const patience = 10 * time.Second

func TestWrongManifests(t *testing.T) {
	log.SetLogger(logr.Discard())
	bench, err := testbench.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bench.Stop(); err != nil {
			t.Error(err)
		}
	})
	applier := newApplier(t, bench.Config)
	applier.furnish(t)

	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			verdict, expected := expectation(t, file)
			objects, err := testbench.Objects(file)
			if err != nil || len(objects) != 1 {
				t.Fatalf("want one object, got %d (%v)", len(objects), err)
			}
			applier.expect(t, objects[0], verdict, expected)
		})
	}
}

// expectation reads what a manifest's first line expects: "# refused: words" or
// "# warned: words".
func expectation(t *testing.T, file string) (verdict, words string) {
	t.Helper()
	content, err := fs.ReadFile(os.DirFS("."), file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	verdict, words, ok := strings.Cut(strings.TrimPrefix(first, "# "), ": ")
	if !ok || words == "" || verdict != "refused" && verdict != "warned" {
		t.Fatalf("%s must begin with \"# refused: words of the answer\" or \"# warned: words\", not %q", file, first)
	}
	return verdict, words
}

// isUpdate tells whether a manifest is wrong only beside what is stored under its
// name already.
func isUpdate(t *testing.T, file string) bool {
	t.Helper()
	content, err := fs.ReadFile(os.DirFS("."), file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(content), "\n# An update of ")
}

// applier applies manifests without leaving anything behind: a dry run passes
// schema, webhook and all, and stores nothing.
type applier struct {
	client client.Client

	mu       sync.Mutex
	warnings []string
}

func newApplier(t *testing.T, config *rest.Config) *applier {
	t.Helper()
	a := &applier{}
	config = rest.CopyConfig(config)
	config.WarningHandlerWithContext = a
	var err error
	a.client, err = client.New(config, client.Options{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// HandleWarningHeaderWithContext collects what the API server warns of.
func (a *applier) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.warnings = append(a.warnings, message)
}

func (a *applier) taken() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	warnings := strings.Join(a.warnings, "\n")
	a.warnings = nil
	return warnings
}

// furnish creates what exists already. None of it is refused or warned of, so
// the wrong manifests differ from something right.
func (a *applier) furnish(t *testing.T) {
	t.Helper()
	desk := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := a.client.Create(t.Context(), desk); err != nil {
		t.Fatal(err)
	}
	objects, err := testbench.Objects("given/desk.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		object.SetNamespace(namespace)
		report, reports := object.Object["status"]
		if err := a.client.Create(t.Context(), object); err != nil {
			t.Fatalf("%s %s is right, but was refused: %v", object.GetKind(), object.GetName(), err)
		}
		if reports {
			a.report(t, object, report)
		}
	}
	if warnings := a.taken(); warnings != "" {
		t.Fatalf("the desk is right, but was warned of: %s", warnings)
	}
}

// report writes what the agent in its pod would have reported.
func (a *applier) report(t *testing.T, object *unstructured.Unstructured, status any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.client.Status().Patch(t.Context(), object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatalf("the report of %s: %v", object.GetName(), err)
	}
}

// apply creates the object, or changes the one that exists.
func (a *applier) apply(ctx context.Context, object *unstructured.Unstructured) error {
	object = object.DeepCopy()
	object.SetNamespace(namespace)
	live := object.DeepCopy()
	err := a.client.Get(ctx, client.ObjectKeyFromObject(object), live)
	if apierrors.IsNotFound(err) {
		return a.client.Create(ctx, object, client.DryRunAll)
	}
	if err != nil {
		return err
	}
	object.SetResourceVersion(live.GetResourceVersion())
	object.SetFinalizers(live.GetFinalizers())
	return a.client.Update(ctx, object, client.DryRunAll)
}

func (a *applier) expect(t *testing.T, object *unstructured.Unstructured, verdict, expected string) {
	t.Helper()
	var refusal error
	var warnings string
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		a.taken()
		refusal = a.apply(ctx, object)
		warnings = a.taken()
		if apierrors.IsConflict(refusal) {
			return false, nil
		}
		if verdict == "warned" {
			return refusal == nil && strings.Contains(warnings, expected), nil
		}
		return refusal != nil && strings.Contains(refusal.Error(), expected), nil
	})
	if err != nil {
		t.Errorf("want %s with %q\n got answer: %v\n warnings: %s", verdict, expected, refusal, warnings)
	}
	if verdict == "refused" && !apierrors.IsInvalid(refusal) && !apierrors.IsBadRequest(refusal) {
		t.Errorf("want the answer of a wrong object (400 or 422), got %v", refusal)
	}
}
