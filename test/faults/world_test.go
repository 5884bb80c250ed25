//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/internal/link"
)

// retryPause is how soon the world repeats what the API server has refused it.
const retryPause = 100 * time.Millisecond

// world is what surrounds the operator in one namespace: a scheduler, a kubelet,
// the garbage collector, and the agents' processes. It acts on what it sees, so
// that it does the same whenever the operator gets there.
type world struct {
	namespace string
	records   *records
	database  *testbench.Database
	halts     *testbench.Halts
	clock     *shiftedClock

	mu sync.Mutex
	// node that pods are bound to.
	node string
	// lost nodes do nothing any more.
	lost map[string]bool
	// unpullable images never start.
	unpullable map[string]bool
	// unready pods run and fail their readiness probe.
	unready bool
	// holding agents have a position, and keep it until told otherwise.
	holding bool
	// deaf is the pod whose process acknowledges no halt.
	deaf types.UID
	// told is what each pod's status was set to, by UID.
	told map[types.UID]string
	// epochs of each agent's processes, by the agent's and the pod's UID.
	epochs map[types.UID][]types.UID
	poked  chan struct{}
	latest time.Time
}

func newWorld(namespace string) *world {
	return &world{
		namespace: namespace, records: record.of(namespace), database: testbench.NewDatabase(), halts: &testbench.Halts{}, clock: &shiftedClock{},
		node: namespace + "-a", lost: map[string]bool{}, unpullable: map[string]bool{},
		told: map[types.UID]string{}, epochs: map[types.UID][]types.UID{}, poked: make(chan struct{}, 1), latest: time.Now(),
	}
}

// set changes what the world does from now on.
func (w *world) set(change func(*world)) {
	w.mu.Lock()
	change(w)
	w.mu.Unlock()
	select {
	case w.poked <- struct{}{}:
	default:
	}
}

func (w *world) lastAct() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// turn goes on until the context ends.
func (w *world) turn(ctx context.Context) {
	for ctx.Err() == nil {
		moved := w.records.wait()
		var again <-chan time.Time
		if err := w.act(ctx); err != nil && ctx.Err() == nil {
			again = time.After(retryPause)
		}
		select {
		case <-moved:
		case <-w.poked:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// act looks at everything once.
func (w *world) act(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	live := w.records.all()
	for at, object := range live {
		var err error
		if at.kind == "Pod" {
			err = w.keepPod(ctx, live, object)
		}
		if err == nil {
			err = w.collect(ctx, live, object)
		}
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (w *world) acted() { w.latest = time.Now() }

// keepPod plays scheduler and kubelet for one pod.
func (w *world) keepPod(ctx context.Context, live map[key]*unstructured.Unstructured, object *unstructured.Unstructured) error {
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, pod); err != nil {
		return err
	}
	switch {
	case pod.Spec.NodeName == "":
		w.acted()
		binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: w.node}}
		err := server.Client.SubResource("binding").Create(ctx, pod, binding)
		if apierrors.IsConflict(err) {
			return nil
		}
		return err
	case w.lost[pod.Spec.NodeName] || ended(pod):
		return nil
	case pod.DeletionTimestamp != nil:
		w.acted()
		return server.Client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	case w.unpullable[pod.Spec.Containers[0].Image]:
		waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
		return w.tell(ctx, pod, corev1.PodPending, waiting, corev1.ConditionFalse)
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	ready := corev1.ConditionTrue
	if w.unready {
		ready = corev1.ConditionFalse
	}
	if err := w.tell(ctx, pod, corev1.PodRunning, running, ready); err != nil {
		return err
	}
	return w.trade(ctx, live, pod)
}

func ended(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && (pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded)
}

// tell writes a pod's status as its kubelet does, once for each state.
func (w *world) tell(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState, ready corev1.ConditionStatus) error {
	word := fmt.Sprint(phase, ready)
	if w.told[pod.UID] == word {
		return nil
	}
	after := pod.DeepCopy()
	after.Status.Phase = phase
	after.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
	after.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image, State: state, Ready: ready == corev1.ConditionTrue,
	}}
	w.acted()
	if err := server.Client.Status().Patch(ctx, after, client.MergeFrom(pod)); err != nil {
		return err
	}
	w.told[pod.UID] = word
	return nil
}

// trade plays the process of the agent that a running pod belongs to: it acts on
// its manifests and its policy, and reports under its own field owner.
func (w *world) trade(ctx context.Context, live map[key]*unstructured.Unstructured, pod *corev1.Pod) error {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	agent := &v1alpha1.TradingAgent{}
	object := live[key{"TradingAgent", owner.Name}]
	if object == nil || object.GetUID() != owner.UID {
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, agent); err != nil {
		return err
	}
	if agent.Status.PodUID != string(pod.UID) {
		// The admission policy lets only the pod report that the status names.
		return nil
	}
	report := w.reportOf(live, agent, pod)
	reported, found, err := unstructured.NestedMap(object.Object, "status", "trading")
	if err != nil || found && reflect.DeepEqual(reported, report) {
		return err
	}
	applied := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": agent.Namespace, "name": agent.Name, "resourceVersion": agent.ResourceVersion},
		"status":   map[string]any{"trading": report},
	}}
	applied.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TradingAgent"))
	w.acted()
	err = server.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(link.FieldOwner), client.ForceOwnership)
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// reportOf is what the process says of itself.
func (w *world) reportOf(live map[key]*unstructured.Unstructured, agent *v1alpha1.TradingAgent, pod *corev1.Pod) map[string]any {
	epoch := w.epochOf(agent.UID, pod.UID)
	state, reason := w.stateOf(live, agent)
	report := map[string]any{
		"podUID": string(pod.UID), "observedGeneration": agent.Generation, "epoch": epoch, "reconciledEpoch": epoch,
		"state": string(state), "reason": reason, "decisions": int64(0), "fills": int64(0), "openOrders": int64(0),
	}
	if told := w.obeyed(live, agent); len(told) > 0 {
		report["halts"] = told
	}
	if w.holding {
		report["positions"] = []any{map[string]any{"pair": "EUR-USD", "quantity": "100"}}
	}
	return report
}

func (w *world) stateOf(live map[key]*unstructured.Unstructured, agent *v1alpha1.TradingAgent) (v1alpha1.TradingState, string) {
	policy, settings := w.policyOf(live, agent)
	if agent.DeletionTimestamp == nil && len(w.obeyed(live, agent)) > 0 {
		return v1alpha1.TradingHalted, v1alpha1.ReasonTradingHalt
	}
	switch {
	case agent.DeletionTimestamp != nil && settings.DeletionPolicy == v1alpha1.DeletionKeep:
		return v1alpha1.TradingHalted, v1alpha1.ReasonStopped
	case agent.DeletionTimestamp != nil && w.holding:
		return v1alpha1.TradingReduceOnly, v1alpha1.ReasonFlattening
	case agent.DeletionTimestamp != nil:
		return v1alpha1.TradingHalted, v1alpha1.ReasonFlat
	case policy == nil || len(v1alpha1.ValidateRiskPolicy(policy)) > 0:
		return v1alpha1.TradingReduceOnly, v1alpha1.ReasonPolicyMissing
	}
	switch state := v1alpha1.Strictest(agent.Spec.Trading, policy.Spec.Trading); state {
	case v1alpha1.TradingEnabled:
		return state, v1alpha1.ReasonTrading
	case v1alpha1.TradingReduceOnly:
		return state, v1alpha1.ReasonReduceOnly
	default:
		return state, v1alpha1.ReasonHalted
	}
}

func (w *world) policyOf(live map[key]*unstructured.Unstructured, agent *v1alpha1.TradingAgent) (*v1alpha1.RiskPolicy, v1alpha1.Settings) {
	var policy *v1alpha1.RiskPolicy
	if object := live[key{"RiskPolicy", agent.Spec.RiskPolicyRef.Name}]; object != nil {
		read := &v1alpha1.RiskPolicy{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, read) == nil {
			policy = read
		}
	}
	settings, _ := v1alpha1.Resolve(agent, policy)
	return policy, settings
}

// epochOf is the number of an agent's process; the ledger counts them.
func (w *world) epochOf(agent, pod types.UID) int64 {
	for i, known := range w.epochs[agent] {
		if known == pod {
			return int64(i + 1)
		}
	}
	w.epochs[agent] = append(w.epochs[agent], pod)
	return int64(len(w.epochs[agent]))
}

// collect plays the garbage collector: what belongs to an agent that does not
// exist any more goes. The API server is asked, because an owner may have been
// created a moment ago.
func (w *world) collect(ctx context.Context, live map[key]*unstructured.Unstructured, object *unstructured.Unstructured) error {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "TradingAgent" || object.GetDeletionTimestamp() != nil {
		return nil
	}
	if known := live[key{"TradingAgent", owner.Name}]; known != nil && known.GetUID() == owner.UID {
		return nil
	}
	agent := &v1alpha1.TradingAgent{}
	err := server.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: owner.Name}, agent)
	if err == nil && agent.UID == owner.UID || client.IgnoreNotFound(err) != nil {
		return err
	}
	w.acted()
	uid := object.GetUID()
	return server.Client.Delete(ctx, object.DeepCopy(), client.Preconditions{UID: &uid})
}
