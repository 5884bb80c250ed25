package admission_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// patience covers the moment in which the API server's own caches have not yet
// seen what was created before.
const patience = 20 * time.Second

// server has the schemas and the policies, and neither operator nor webhook.
var server *testbench.Server

func TestMain(m *testing.M) {
	code, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "admission:", err)
		code = 1
	}
	// A watch that a cache has filtered may stay when the cache ends.
	if err := goleak.Find(goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop")); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goroutines were left:", err)
		code = 1
	}
	os.Exit(code)
}

func withServer(run func() int) (code int, err error) {
	log.SetLogger(logr.Discard())
	if server, err = testbench.StartServer(false); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := failLoudly(context.Background()); err != nil {
		return 1, err
	}
	return run(), nil
}

// failLoudly has every policy refuse what it cannot judge, also those that let it
// pass where they are deployed, so that an expression that fails shows itself.
func failLoudly(ctx context.Context) error {
	var policies admissionregistrationv1.ValidatingAdmissionPolicyList
	if err := server.Client.List(ctx, &policies); err != nil {
		return err
	}
	loud := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"failurePolicy":"Fail"}}`))
	for i := range policies.Items {
		if err := server.Client.Patch(ctx, &policies.Items[i], loud); err != nil {
			return err
		}
	}
	return nil
}

// newNamespace makes a namespace for one test and returns its name.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "desk-"}}
	create(t, namespace)
	return namespace.Name
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := server.Client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

// in puts an object into a namespace.
func in[T client.Object](namespace string, object T) T {
	object.SetNamespace(namespace)
	return object
}

// eventually asks until the answer is empty, and fails the test with the last
// answer otherwise.
func eventually(t *testing.T, ask func(context.Context) string) {
	t.Helper()
	answer := ""
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		answer = ask(ctx)
		return answer == "", nil
	})
	if err != nil {
		t.Fatal(answer)
	}
}
