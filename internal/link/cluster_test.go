package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var (
	apiServer            *rest.Config
	apiServerEnvironment *envtest.Environment
)

func TestMain(m *testing.M) {
	code, err := withAPIServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		code = 1
	}
	// A watch that a cache has filtered may stay when the cache ends.
	if err := goleak.Find(goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop")); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goroutines were left:", err)
		code = 1
	}
	os.Exit(code)
}

func withAPIServer(run func() int) (code int, err error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, errors.New("KUBEBUILDER_ASSETS is not set; run the tests with make test")
	}
	ctrllog.SetLogger(logr.Discard())
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	apiServerEnvironment = environment
	apiServer, err = environment.Start()
	if err != nil {
		return 1, fmt.Errorf("start the API server: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	return run(), nil
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	made, err := client.New(apiServer, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// applySamples puts a desk into the namespace "default" and returns its agent.
func applySamples(t *testing.T, admin client.Client, name string) *v1alpha1.TradingAgent {
	t.Helper()
	manifests, err := LoadFiles(t.Context(), []string{samples})
	if err != nil {
		t.Fatal(err)
	}
	objects := make([]client.Object, 0, 8)
	for i := range manifests.Accounts {
		objects = append(objects, &manifests.Accounts[i])
	}
	for i := range manifests.Policies {
		objects = append(objects, &manifests.Policies[i])
	}
	for i := range manifests.Pairs {
		objects = append(objects, &manifests.Pairs[i])
	}
	for i := range manifests.Ledgers {
		objects = append(objects, &manifests.Ledgers[i])
	}
	agent := &manifests.Agents[0]
	agent.Name = name
	for _, object := range append(objects, client.Object(agent)) {
		object.SetNamespace("default")
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(admin.Delete(context.Background(), object)); err != nil {
				t.Error(err)
			}
		})
	}
	return agent
}

// await asks until the answer is empty; it fails the test after some seconds.
func await(t *testing.T, changes <-chan struct{}, ask func() string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		answer := ask()
		if answer == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatal(answer)
		case <-changes:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestWatcherFollowsTheManifests(t *testing.T) {
	admin := newClient(t)
	agent := applySamples(t, admin, "watched")
	identity := Identity{Namespace: agent.Namespace, Name: agent.Name, UID: agent.UID}
	watcher, err := NewWatcher(t.Context(), apiServer, identity)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	if !watcher.WaitForSync(ctx) {
		t.Fatal("the watcher has not synced")
	}
	desk, err := watcher.Desk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if missing := desk.Missing(); len(missing) > 0 || desk.Agent.UID != agent.UID {
		t.Fatalf("the desk misses %v", missing)
	}

	// What needs a new process stays as the process began with it; a halt does not.
	pinned := v1alpha1.RevisionOf(&agent.Spec)
	watcher.Pin(&pinned)
	halt := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"trading":"Halted","decision":{"intervalSeconds":7}}}`))
	if err := admin.Patch(ctx, agent.DeepCopy(), halt); err != nil {
		t.Fatal(err)
	}
	await(t, watcher.Changes(), func() string {
		if desk, err := watcher.Desk(ctx); err != nil || desk.Agent.Spec.Trading != v1alpha1.TradingHalted {
			return fmt.Sprintf("the halt has not arrived: %v", err)
		} else if decision := desk.Agent.Spec.Decision; decision != nil && decision.IntervalSeconds == 7 {
			t.Fatal("the process takes up a part of a spec that it was not started for")
		}
		return ""
	})

	policy := &v1alpha1.RiskPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Spec.RiskPolicyRef.Name}}
	if err := admin.Delete(ctx, policy); err != nil {
		t.Fatal(err)
	}
	await(t, watcher.Changes(), func() string {
		if desk, err := watcher.Desk(ctx); err != nil || desk.Policy != nil {
			return fmt.Sprintf("the policy has not gone: %v", err)
		}
		return ""
	})

	if err := admin.Delete(ctx, agent.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	await(t, watcher.Changes(), func() string {
		if _, err := watcher.Desk(ctx); !errors.Is(err, ErrAgentGone) {
			return fmt.Sprintf("the agent is gone, and the watcher says %v", err)
		}
		return ""
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the watcher ended with %v", err)
	}
}

func TestReporterWritesItsOwnStatusAndNothingElse(t *testing.T) {
	admin := newClient(t)
	agent := applySamples(t, admin, "reported")
	agent.Status.ObservedGeneration, agent.Status.PodName = 1, "reported-trader"
	if err := admin.Status().Update(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	current := v1alpha1.TradingStatus{PodUID: "pod", State: v1alpha1.TradingEnabled, Reason: v1alpha1.ReasonTrading, Equity: "10000"}
	status := make(chan v1alpha1.TradingStatus, 1)
	status <- current
	ask := func() v1alpha1.TradingStatus {
		current := <-status
		status <- current
		return current
	}
	changed := make(chan struct{}, 1)
	identity := Identity{Namespace: agent.Namespace, Name: agent.Name, UID: agent.UID}
	watcher, err := NewWatcher(ctx, apiServer, identity)
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan error, 1)
	go func() { watched <- watcher.Run(ctx) }()
	if !watcher.WaitForSync(ctx) {
		t.Fatal("the watcher has not synced")
	}
	reporter := NewReporter(newClient(t), watcher, identity, time.Hour, logr.Discard())
	ended := make(chan error, 1)
	go func() { ended <- reporter.Run(ctx, ask, changed) }()

	written := func(want v1alpha1.TradingState) func() string {
		return func() string {
			var got v1alpha1.TradingAgent
			if err := admin.Get(ctx, client.ObjectKeyFromObject(agent), &got); err != nil {
				return err.Error()
			}
			if got.Status.PodName != "reported-trader" || got.Status.ObservedGeneration != 1 {
				t.Fatalf("the reporter changed what is not its own: %+v", got.Status)
			}
			if got.Status.Trading == nil || got.Status.Trading.State != want {
				return fmt.Sprintf("status.trading is %+v, want state %s", got.Status.Trading, want)
			}
			return ""
		}
	}
	await(t, nil, written(v1alpha1.TradingEnabled))

	<-status
	current.State, current.Reason = v1alpha1.TradingHalted, v1alpha1.ReasonHalted
	status <- current
	changed <- struct{}{}
	await(t, nil, written(v1alpha1.TradingHalted))

	// Another object of the same name is another agent: it is never written to.
	if err := admin.Delete(ctx, agent.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	again := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name}, Spec: agent.Spec}
	if err := admin.Create(ctx, again); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), again); err != nil {
			t.Error(err)
		}
	})
	<-status
	current.Reason = v1alpha1.ReasonRecovering
	status <- current
	changed <- struct{}{}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrAgentGone) {
			t.Errorf("the reporter ended with %v, want ErrAgentGone", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the reporter goes on although its object is gone")
	}
	var other v1alpha1.TradingAgent
	if err := admin.Get(ctx, client.ObjectKeyFromObject(again), &other); err != nil {
		t.Fatal(err)
	}
	if other.Status.Trading != nil {
		t.Errorf("the report landed on another object: %+v", other.Status.Trading)
	}
	cancel()
	if err := <-watched; err != nil {
		t.Errorf("the watcher ended with %v", err)
	}
}
