package controllers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers"
	"github.com/three-rivers-tech/trading-operator/controllers/assetpair"
	ledgercontroller "github.com/three-rivers-tech/trading-operator/controllers/ledger"
	"github.com/three-rivers-tech/trading-operator/controllers/probe"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/riskpolicy"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingaccount/listings"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingagent"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
)

// A reconciler that is called with anything that the API server could hold must
// not panic, must leave a status that means something, and must come to rest.
// maxPasses is how many passes it may take to.
const maxPasses = 12

var fuzzEpoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fuzzNamespace is where everything that is drawn lives.
const fuzzNamespace = "desk"

func FuzzTradingAgent(f *testing.F)   { fuzz(f, agentComesToRest) }
func FuzzTradingAccount(f *testing.F) { fuzz(f, accountComesToRest) }
func FuzzRiskPolicy(f *testing.F)     { fuzz(f, policyComesToRest) }
func FuzzAssetPair(f *testing.F)      { fuzz(f, pairComesToRest) }
func FuzzLedger(f *testing.F)         { fuzz(f, ledgerComesToRest) }

func fuzz(f *testing.F, property func(*rapid.T)) {
	f.Helper()
	f.Add(bytes.Repeat([]byte{1}, 4096))
	f.Fuzz(rapid.MakeFuzz(property))
}

// TestReconcilersComeToRest is what the fuzz targets test, on a few draws.
func TestReconcilersComeToRest(t *testing.T) {
	t.Run("TradingAgent", func(t *testing.T) { rapid.Check(t, agentComesToRest) })
	t.Run("TradingAccount", func(t *testing.T) { rapid.Check(t, accountComesToRest) })
	t.Run("RiskPolicy", func(t *testing.T) { rapid.Check(t, policyComesToRest) })
	t.Run("AssetPair", func(t *testing.T) { rapid.Check(t, pairComesToRest) })
	t.Run("Ledger", func(t *testing.T) { rapid.Check(t, ledgerComesToRest) })
}

func agentComesToRest(t *rapid.T) {
	w := newFuzzWorld(t, drawDesk(t))
	w.comesToRest(t, "eur", &v1alpha1.TradingAgent{}, &tradingagent.Reconciler{
		Tools: w.tools, AgentImage: testbench.AgentImage, Release: w.database.Release, Listings: listings.New(nil), Data: probe.New(nil),
	})
}

func accountComesToRest(t *rapid.T) {
	w := newFuzzWorld(t, drawDesk(t))
	reached, err := venues.New(venues.Options{Transport: &testbench.Venue{}})
	if err != nil {
		t.Fatal(err)
	}
	asker := &tradingaccount.Venues{Reader: w.tools.Client, Live: w.tools.Live, Real: reached}
	claims := &tradingaccount.Claims{Client: w.tools.Client, Live: w.tools.Live, Namespace: controllers.DefaultNamespace, Clock: w.tools.Clock}
	w.comesToRest(t, "paper", &v1alpha1.TradingAccount{}, &tradingaccount.Reconciler{
		Tools: w.tools, Venues: asker, Claims: claims, Listings: listings.New(asker.Product),
	})
}

func policyComesToRest(t *rapid.T) {
	w := newFuzzWorld(t, drawDesk(t))
	w.comesToRest(t, "careful", &v1alpha1.RiskPolicy{}, &riskpolicy.Reconciler{Tools: w.tools})
}

func pairComesToRest(t *rapid.T) {
	w := newFuzzWorld(t, drawDesk(t))
	w.comesToRest(t, "eur-usd", &v1alpha1.AssetPair{}, &assetpair.Reconciler{Tools: w.tools})
}

func ledgerComesToRest(t *rapid.T) {
	w := newFuzzWorld(t, drawDesk(t))
	if rapid.Bool().Draw(t, "database down") {
		w.database.Fail(errors.New("connection refused"))
	}
	w.comesToRest(t, "main", &v1alpha1.Ledger{}, &ledgercontroller.Reconciler{Tools: w.tools, Info: w.database.Info, Migrate: w.database.Migrate})
}

// fuzzWorld is an API server in memory with drawn objects in it.
type fuzzWorld struct {
	tools    reconcile.Tools
	database *testbench.Database
	// writes since the last look.
	writes []string
	// started are the pods that were created.
	started []*corev1.Pod
}

// comesToRest has a reconciler look at an object until it writes nothing more.
func (w *fuzzWorld) comesToRest(t *rapid.T, name string, object client.Object, reconciler ctrlreconcile.Reconciler) {
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: fuzzNamespace, Name: name}}
	for pass := 1; ; pass++ {
		w.writes = nil
		result, err := reconciler.Reconcile(context.Background(), request)
		if err != nil && result != (ctrl.Result{}) {
			t.Fatalf("pass %d asks to be repeated and fails: %+v, %v", pass, result, err)
		}
		w.judge(t, request.NamespacedName, object)
		if len(w.writes) == 0 {
			return
		}
		if pass == maxPasses {
			t.Fatalf("after %d passes it still writes: %v (%v)", pass, w.writes, err)
		}
	}
}

func newFuzzWorld(t *rapid.T, objects []client.Object) *fuzzWorld {
	scheme, err := controllers.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	w := &fuzzWorld{database: testbench.NewDatabase()}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.TradingAgent{}, &v1alpha1.TradingAccount{}, &v1alpha1.RiskPolicy{}, &v1alpha1.AssetPair{}, &v1alpha1.Ledger{}, &corev1.Pod{})
	if err := reconcile.AddIndexes(context.Background(), indexes{builder}); err != nil {
		t.Fatal(err)
	}
	store := interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			w.note("create", o)
			if pod, ok := o.(*corev1.Pod); ok {
				w.started = append(w.started, pod)
			}
			return c.Create(ctx, o, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			w.note("delete", o)
			return c.Delete(ctx, o, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			w.note("patch", o)
			return c.Patch(ctx, o, patch, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			w.writes = append(w.writes, fmt.Sprintf("apply %v", o))
			return c.Apply(ctx, o, options...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, resource string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			data, err := patch.Data(o)
			w.writes = append(w.writes, fmt.Sprintf("patch %s of %T: %s %v", resource, o, data, err))
			return c.SubResource(resource).Patch(ctx, o, patch, options...)
		},
	})
	clock := clocktesting.NewFakePassiveClock(fuzzEpoch)
	w.tools = reconcile.Tools{
		Client: store, Live: store, Clock: clock,
		Applier:  &reconcile.Applier{Client: store, Live: store},
		Reporter: &reconcile.Reporter{Client: store, Recorder: &events.FakeRecorder{}, Clock: clock},
	}
	return w
}

func (w *fuzzWorld) note(verb string, object client.Object) {
	w.writes = append(w.writes, fmt.Sprintf("%s %T %s", verb, object, object.GetName()))
}

// indexes hands the operator's indexes to the store in memory.
type indexes struct{ builder *fake.ClientBuilder }

// IndexField is part of client.FieldIndexer.
func (i indexes) IndexField(_ context.Context, object client.Object, field string, extract client.IndexerFunc) error {
	i.builder.WithIndex(object, field, extract)
	return nil
}

// judge checks the status that a pass has left, and the pods that it has started.
func (w *fuzzWorld) judge(t *rapid.T, key types.NamespacedName, object client.Object) {
	err := w.tools.Client.Get(context.Background(), key, object)
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !object.GetDeletionTimestamp().IsZero() && !slices.Contains(object.GetFinalizers(), v1alpha1.AgentFinalizer) {
		// What waits for somebody else's finalizer is nobody's business any more.
		return
	}
	status := reconcile.StatusOf(object)
	ready, reconciling, stalled := status.Get(v1alpha1.ConditionReady), status.Get(v1alpha1.ConditionReconciling), status.Get(v1alpha1.ConditionStalled)
	if len(w.writes) == 0 && ready != nil {
		switch {
		case reconciling != nil && stalled != nil:
			t.Fatalf("it is reconciling and stalled: %+v", *status.Conditions)
		case (ready.Status == metav1.ConditionTrue) != (reconciling == nil && stalled == nil):
			t.Fatalf("Ready contradicts the other conditions: %+v", *status.Conditions)
		}
	}
	for _, pod := range w.started {
		w.judgeStart(t, pod)
	}
}

// judgeStart checks that an agent whose pod was started was bound by a policy.
func (w *fuzzWorld) judgeStart(t *rapid.T, pod *corev1.Pod) {
	agent, policy, account := &v1alpha1.TradingAgent{}, &v1alpha1.RiskPolicy{}, &v1alpha1.TradingAccount{}
	for name, into := range map[string]client.Object{pod.Labels[v1alpha1.AgentLabel]: agent} {
		if err := w.tools.Client.Get(context.Background(), types.NamespacedName{Namespace: fuzzNamespace, Name: name}, into); err != nil {
			t.Fatalf("a pod was started for an agent that cannot be read: %v", err)
		}
	}
	references := map[string]client.Object{agent.Spec.RiskPolicyRef.Name: policy, agent.Spec.AccountRef.Name: account}
	for name, into := range references {
		if err := w.tools.Client.Get(context.Background(), types.NamespacedName{Namespace: fuzzNamespace, Name: name}, into); err != nil {
			t.Fatalf("a pod was started for an agent without %T: %v", into, err)
		}
	}
	errs := append(v1alpha1.ValidateRiskPolicy(policy), v1alpha1.ValidateMode(agent, account)...)
	if len(errs) > 0 {
		t.Fatalf("a pod was started for an agent that must not trade: %v", errs)
	}
	if !slices.Contains(agent.Finalizers, v1alpha1.AgentFinalizer) {
		t.Fatal("a pod was started for an agent without finalizer")
	}
}
