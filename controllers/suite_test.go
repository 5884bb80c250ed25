package controllers_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingagent"
)

const (
	patience = 20 * time.Second
	interval = 20 * time.Millisecond
	// calm is how long nothing must happen where nothing shall.
	calm = 500 * time.Millisecond
)

var bench *testbench.Bench

func TestControllers(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Controllers")
}

var _ = BeforeSuite(func() {
	log.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var err error
	bench, err = testbench.Start(false)
	Expect(err).NotTo(HaveOccurred())
})

var _ = AfterSuite(func() {
	if bench != nil {
		Expect(bench.Stop()).To(Succeed())
	}
})

// desk is a namespace of its own for one test.
type desk struct {
	ctx       context.Context
	namespace string
}

func newDesk(ctx context.Context) *desk {
	// Deletion timestamps are the API server's, so each test begins at its time.
	bench.Clock.SetTime(time.Now().Truncate(time.Second))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "desk-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	Expect(bench.Client.Create(ctx, namespace)).To(Succeed())
	return &desk{ctx: context.WithoutCancel(ctx), namespace: namespace.Name}
}

func (d *desk) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: d.namespace, Name: name}
}

func (d *desk) create(objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(bench.Client.Create(d.ctx, object)).To(Succeed())
	}
}

func (d *desk) secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: d.meta("ledger"), Data: map[string][]byte{"uri": []byte("postgres://agent:hunter2@db/trading")}}
}

func (d *desk) ledger() *v1alpha1.Ledger {
	return &v1alpha1.Ledger{ObjectMeta: d.meta("main"), Spec: v1alpha1.LedgerSpec{URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"}}}
}

func (d *desk) account() *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{ObjectMeta: d.meta("paper"), Spec: v1alpha1.TradingAccountSpec{
		Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
		Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
	}}
}

func (d *desk) policy() *v1alpha1.RiskPolicy {
	return &v1alpha1.RiskPolicy{ObjectMeta: d.meta("careful"), Spec: v1alpha1.RiskPolicySpec{
		Currency: "USD",
		Order:    v1alpha1.OrderLimits{MaxNotional: "1000"},
		Agent:    v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(5))},
	}}
}

func (d *desk) pair(name string, base, quote v1alpha1.Currency, aliases ...string) *v1alpha1.AssetPair {
	return &v1alpha1.AssetPair{ObjectMeta: d.meta(name), Spec: v1alpha1.AssetPairSpec{
		Base: base, Quote: quote, TickSize: "0.00001", LotSize: "1", Aliases: aliases,
	}}
}

func (d *desk) agent(name string, pairs ...string) *v1alpha1.TradingAgent {
	agent := &v1alpha1.TradingAgent{ObjectMeta: d.meta(name), Spec: v1alpha1.TradingAgentSpec{
		Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
		AccountRef:    v1alpha1.ObjectReference{Name: "paper"},
		RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"},
		MarketData: v1alpha1.MarketDataSpec{
			Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "sample/eurusd-1h"},
		},
		DeletionPolicy: v1alpha1.DeletionFlatten,
	}}
	for _, pair := range pairs {
		agent.Spec.AssetPairs = append(agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: pair})
	}
	return agent
}

// furnish creates everything that an agent refers to.
func (d *desk) furnish() {
	GinkgoHelper()
	d.create(d.secret(), d.ledger(), d.account(), d.policy(), d.pair("eur-usd", "EUR", "USD"))
}

// get reads an object anew; the test fails if it does not exist.
func get[T client.Object](d *desk, object T, name string) T {
	GinkgoHelper()
	Expect(bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, object)).To(Succeed())
	return object
}

func (d *desk) readAgent(name string) *v1alpha1.TradingAgent {
	GinkgoHelper()
	return get(d, &v1alpha1.TradingAgent{}, name)
}

// change writes a change of an object, again and again if the operator comes
// between.
func change[T client.Object](d *desk, object T, edit func(T)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := bench.Client.Get(d.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		edit(object)
		return bench.Client.Update(d.ctx, object)
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
}

// touch wakes the controller of an agent after the clock was moved.
func (d *desk) touch(name string) {
	GinkgoHelper()
	change(d, d.readAgent(name), func(agent *v1alpha1.TradingAgent) {
		if agent.Annotations == nil {
			agent.Annotations = map[string]string{}
		}
		agent.Annotations["touched"] = strconv.FormatInt(time.Now().UnixNano(), 10)
	})
}

// eventually waits until an agent is as wanted, and checks the invariants of
// every object then.
func (d *desk) eventually(name string, wanted func(Gomega, *v1alpha1.TradingAgent)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		agent := &v1alpha1.TradingAgent{}
		g.Expect(bench.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, agent)).To(Succeed())
		wanted(g, agent)
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	d.checkInvariants()
}

// eventuallyReady waits until an object's Ready condition has a status and a
// reason for its newest spec.
func eventuallyReady(d *desk, object client.Object, wanted metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(bench.Client.Get(d.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		ready := reconcile.StatusOf(object).Get(v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Reason).To(Equal(reason), ready.Message)
		g.Expect(ready.Status).To(Equal(wanted))
		g.Expect(ready.ObservedGeneration).To(Equal(object.GetGeneration()))
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	d.checkInvariants()
}

func (d *desk) eventuallyAgent(name string, wanted metav1.ConditionStatus, reason string) *v1alpha1.TradingAgent {
	GinkgoHelper()
	agent := d.agent(name)
	eventuallyReady(d, agent, wanted, reason)
	return agent
}

// checkInvariants checks what must hold of every object's status at any time.
func (d *desk) checkInvariants() {
	GinkgoHelper()
	lists := []client.ObjectList{
		&v1alpha1.TradingAgentList{}, &v1alpha1.TradingAccountList{}, &v1alpha1.RiskPolicyList{}, &v1alpha1.AssetPairList{}, &v1alpha1.LedgerList{},
		&v1alpha1.TradingHaltList{},
	}
	for _, list := range lists {
		Expect(bench.Client.List(d.ctx, list, client.InNamespace(d.namespace))).To(Succeed())
		for _, object := range objectsOf(list) {
			checkStatus(object)
		}
	}
}

func objectsOf(list client.ObjectList) []client.Object {
	GinkgoHelper()
	items, err := meta.ExtractList(list)
	Expect(err).NotTo(HaveOccurred())
	objects := make([]client.Object, len(items))
	for i, item := range items {
		objects[i] = item.(client.Object)
	}
	return objects
}

// checkStatus checks one object's conditions, and that kstatus reads them as
// they are meant.
func checkStatus(object client.Object) {
	GinkgoHelper()
	conditions := reconcile.StatusOf(object)
	name := fmt.Sprintf("%T %s: %+v", object, object.GetName(), *conditions.Conditions)
	ready := conditions.Get(v1alpha1.ConditionReady)
	reconciling, stalled := conditions.Get(v1alpha1.ConditionReconciling), conditions.Get(v1alpha1.ConditionStalled)
	if ready == nil {
		Expect(*conditions.Conditions).To(BeEmpty(), name)
		Expect(*conditions.ObservedGeneration).To(BeEquivalentTo(-1), name)
		Expect(computed(object)).To(Equal(status.InProgressStatus), name)
		return
	}
	Expect(ready.ObservedGeneration).To(Equal(*conditions.ObservedGeneration), name)
	if ready.Status == metav1.ConditionTrue {
		Expect(reconciling).To(BeNil(), name)
		Expect(stalled).To(BeNil(), name)
	} else {
		Expect((reconciling != nil) != (stalled != nil)).To(BeTrue(), name)
	}
	for _, condition := range *conditions.Conditions {
		Expect(condition.ObservedGeneration).To(Equal(*conditions.ObservedGeneration), name)
		Expect(knownReasons()).To(HaveKey(condition.Reason), name)
	}
	if _, isAgent := object.(*v1alpha1.TradingAgent); isAgent {
		checkAccepted(conditions, name)
	}
	expected := status.CurrentStatus
	switch {
	case !object.GetDeletionTimestamp().IsZero():
		expected = status.TerminatingStatus
	case *conditions.ObservedGeneration != object.GetGeneration():
		expected = status.InProgressStatus
	case stalled != nil:
		Expect(stalled.Status).To(Equal(metav1.ConditionTrue), name)
		expected = status.FailedStatus
	case reconciling != nil:
		Expect(reconciling.Status).To(Equal(metav1.ConditionTrue), name)
		expected = status.InProgressStatus
	}
	Expect(computed(object)).To(Equal(expected), name)
}

// acceptedPhases are what makes Accepted.
var acceptedPhases = []string{v1alpha1.ConditionSchemaValid, v1alpha1.ConditionPlatformValid, v1alpha1.ConditionRiskValid, v1alpha1.ConditionDataValid}

// checkAccepted checks that Accepted is what its phases come to, and that an agent
// is Ready only by all that Ready stands for.
func checkAccepted(conditions reconcile.Status, name string) {
	GinkgoHelper()
	holds := func(conditionType string) bool {
		condition := conditions.Get(conditionType)
		return condition != nil && condition.Status == metav1.ConditionTrue
	}
	if accepted := conditions.Get(v1alpha1.ConditionAccepted); accepted != nil {
		all := true
		for _, phase := range acceptedPhases {
			Expect(conditions.Get(phase)).NotTo(BeNil(), name)
			all = all && holds(phase)
		}
		Expect(holds(v1alpha1.ConditionAccepted)).To(Equal(all), name)
	}
	if holds(v1alpha1.ConditionReady) {
		for _, part := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionPodAvailable, v1alpha1.ConditionVenueReconciled} {
			Expect(holds(part)).To(BeTrue(), name)
		}
	}
}

func computed(object client.Object) status.Status {
	GinkgoHelper()
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	Expect(err).NotTo(HaveOccurred())
	result, err := status.Compute(&unstructured.Unstructured{Object: tree})
	Expect(err).NotTo(HaveOccurred())
	return result.Status
}

func knownReasons() map[string]bool {
	known := map[string]bool{}
	for _, reason := range v1alpha1.Reasons() {
		known[reason.Word] = true
	}
	return known
}

// The kubelet's part.

// pod waits for the agent's pod.
func (d *desk) pod(agent string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	key := client.ObjectKey{Namespace: d.namespace, Name: agent + "-trader"}
	Eventually(func() error { return bench.Client.Get(d.ctx, key, pod) }).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	return pod
}

// schedule binds a pod to a node, so that its deletion waits for the kubelet.
func (d *desk) schedule(pod *corev1.Pod) {
	GinkgoHelper()
	binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "node-1"}}
	Expect(bench.Client.SubResource("binding").Create(d.ctx, pod, binding)).To(Succeed())
}

// run has the kubelet report a pod that runs.
func (d *desk) run(pod *corev1.Pod) {
	GinkgoHelper()
	d.setPod(pod, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}, corev1.ConditionTrue)
}

func (d *desk) setPod(pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState, ready corev1.ConditionStatus) {
	GinkgoHelper()
	before := get(d, &corev1.Pod{}, pod.Name)
	after := before.DeepCopy()
	after.Status.Phase = phase
	after.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(bench.Clock.Now())}}
	after.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "trading-agent", Image: testbench.AgentImage, State: state}}
	Expect(bench.Client.Status().Patch(d.ctx, after, client.MergeFrom(before))).To(Succeed())
}

// kill is the kubelet's last word: the pod is really gone.
func (d *desk) kill(pod *corev1.Pod) {
	GinkgoHelper()
	Expect(bench.Client.Delete(d.ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
}

// The agent's part.

// report applies status.trading as the agent does.
func (d *desk) report(agent string, pod *corev1.Pod, edit func(map[string]any)) {
	GinkgoHelper()
	trading := map[string]any{
		"podUID": string(pod.UID), "observedGeneration": d.readAgent(agent).Generation,
		"epoch": int64(1), "reconciledEpoch": int64(1), "state": "Enabled", "reason": "Trading", "loop": "IDLE",
	}
	if edit != nil {
		edit(trading)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": d.namespace, "name": agent},
		"status":   map[string]any{"trading": trading},
	}}
	applied.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TradingAgent"))
	Expect(bench.Client.Status().Apply(d.ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("trading-agent"), client.ForceOwnership)).To(Succeed())
}

// trader creates an agent with all that it refers to and brings it to Ready.
func (d *desk) trader(name string) *corev1.Pod {
	GinkgoHelper()
	d.furnish()
	d.create(d.agent(name, "EUR/USD"))
	return d.bringUp(name)
}

func (d *desk) bringUp(name string) *corev1.Pod {
	GinkgoHelper()
	pod := d.pod(name)
	d.schedule(pod)
	d.run(pod)
	d.report(name, pod, nil)
	d.eventuallyAgent(name, metav1.ConditionTrue, v1alpha1.ReasonTrading)
	Expect(tradingagent.ChildName(d.agent(name))).To(Equal(pod.Name))
	return pod
}
