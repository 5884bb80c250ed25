package admission_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
)

// guarded is an agent with a pod that may speak for it, and with a service
// account that RBAC would let write any status of the namespace.
type guarded struct {
	agent *v1alpha1.TradingAgent
	pod   *corev1.Pod
}

func newGuarded(t *testing.T) guarded {
	t.Helper()
	namespace := newNamespace(t)
	g := guarded{agent: in(namespace, agent("eur")), pod: podOf(namespace, "eur-trader")}
	create(t, g.agent, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "eur-trader"}}, g.pod)
	create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "wide"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "patch", "update"}},
	}}, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "wide"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "wide"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace}},
	})
	g.observe(t, g.pod)
	return g
}

// observe has the operator name the pod that may speak.
func (g guarded) observe(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	observed := fmt.Sprintf(`{"status":{"observedGeneration":1,"podName":%q,"podUID":%q}}`, pod.Name, pod.UID)
	if err := operatorClient(t).Status().Patch(t.Context(), g.agent.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(observed))); err != nil {
		t.Fatalf("the operator names the pod: %v", err)
	}
}

func podOf(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: "eur-trader",
			Containers:         []corev1.Container{{Name: "trading-agent", Image: "registry.example/trading-agent:test"}},
		},
	}
}

func operatorClient(t *testing.T) client.Client {
	t.Helper()
	return clientOf(t, server.OperatorConfig())
}

func clientOf(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	made, err := client.New(config, client.Options{Scheme: server.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// tokenOf is the connection of the agent's service account, with a token bound to
// a pod as the kubelet asks for it, or to none.
func tokenOf(t *testing.T, namespace string, pod *corev1.Pod) *rest.Config {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "eur-trader"}}
	if err := server.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatalf("request a token: %v", err)
	}
	config := rest.AnonymousClientConfig(server.Config)
	config.BearerToken = request.Status.Token
	return config
}

func reported(podUID types.UID) v1alpha1.TradingStatus {
	return v1alpha1.TradingStatus{PodUID: string(podUID), State: v1alpha1.TradingEnabled, Reason: v1alpha1.ReasonTrading, Equity: "10000"}
}

// The agent's own code, with the token of its own pod, is let through.
func TestOwnPodReports(t *testing.T) {
	g := newGuarded(t)
	config := tokenOf(t, g.agent.Namespace, g.pod)
	identity := link.Identity{Namespace: g.agent.Namespace, Name: g.agent.Name, UID: g.agent.UID}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watcher, err := link.NewWatcher(ctx, config, identity)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- watcher.Run(ctx) }()
	if !watcher.WaitForSync(ctx) {
		t.Fatal("the watcher has not synced")
	}
	reporter := link.NewReporter(clientOf(t, config), watcher, identity, time.Hour, logr.Discard())
	go func() {
		ended <- reporter.Run(ctx, func() v1alpha1.TradingStatus { return reported(g.pod.UID) }, nil)
	}()
	eventually(t, func(ctx context.Context) string {
		live := &v1alpha1.TradingAgent{}
		if err := server.Client.Get(ctx, client.ObjectKeyFromObject(g.agent), live); err != nil {
			return err.Error()
		}
		if live.Status.Trading == nil || live.Status.Trading.PodUID != string(g.pod.UID) || live.Status.PodName != g.pod.Name {
			return fmt.Sprintf("the report has not arrived: %+v", live.Status)
		}
		return ""
	})
	cancel()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Whoever is not the agent's own pod of this moment is refused, although RBAC
// would let it write.
func TestOthersDoNotReport(t *testing.T) {
	g := newGuarded(t)
	namespace := g.agent.Namespace
	duplicate := podOf(namespace, "eur-trader-by-hand")
	stranger := in(namespace, agent("gbp"))
	stranger.Spec.AssetPairs[0].Name = "GBP-USD"
	create(t, duplicate, stranger)
	own := tokenOf(t, namespace, g.pod)
	const notOwn = "the one that may report for this agent is"
	for name, c := range map[string]struct {
		config *rest.Config
		target *v1alpha1.TradingAgent
		as     types.UID
		edit   func(*v1alpha1.TradingAgentStatus)
		want   string
	}{
		"a token bound to no pod":          {tokenOf(t, namespace, nil), g.agent, g.pod.UID, nil, "the token is bound to no pod"},
		"a duplicate pod":                  {tokenOf(t, namespace, duplicate), g.agent, duplicate.UID, nil, notOwn + " " + string(g.pod.UID)},
		"a duplicate pod that poses":       {tokenOf(t, namespace, duplicate), g.agent, g.pod.UID, nil, notOwn},
		"an agent for another":             {own, stranger, g.pod.UID, nil, notOwn + " none at present"},
		"the own pod in another's name":    {own, g.agent, duplicate.UID, nil, "status.trading.podUID must be the UID of the pod that writes"},
		"the own pod, naming another pod":  {own, g.agent, g.pod.UID, func(s *v1alpha1.TradingAgentStatus) { s.PodUID = "other" }, "status.trading and nothing else"},
		"the own pod, writing a condition": {own, g.agent, g.pod.UID, func(s *v1alpha1.TradingAgentStatus) { s.Conditions = []metav1.Condition{ready()} }, "status.trading and nothing else"},
		"the own pod, writing a generation": {own, g.agent, g.pod.UID, func(s *v1alpha1.TradingAgentStatus) { s.ObservedGeneration++ },
			"status.trading and nothing else"},
	} {
		t.Run(name, func(t *testing.T) {
			live := &v1alpha1.TradingAgent{}
			if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(c.target), live); err != nil {
				t.Fatal(err)
			}
			live.Status.Trading = new(reported(c.as))
			if c.edit != nil {
				c.edit(&live.Status)
			}
			refusedFor(t, clientOf(t, c.config).Status().Update(t.Context(), live), c.want)
		})
	}
}

// A pod that ends speaks no more from the moment that the operator has named no
// pod, or the next one.
func TestEarlierPodDoesNotReport(t *testing.T) {
	g := newGuarded(t)
	earlier := clientOf(t, tokenOf(t, g.agent.Namespace, g.pod))
	report := func() error {
		live := &v1alpha1.TradingAgent{}
		if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(g.agent), live); err != nil {
			return err
		}
		live.Status.Trading = new(reported(g.pod.UID))
		return earlier.Status().Update(t.Context(), live)
	}
	if err := report(); err != nil {
		t.Fatal(err)
	}
	next := podOf(g.agent.Namespace, "eur-trader-next")
	create(t, next)
	g.observe(t, next)
	refusedFor(t, report(), "the one that may report for this agent is "+string(next.UID))
	// When the pod is gone, its token is worth nothing at all.
	if err := server.Client.Delete(t.Context(), g.pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) string {
		if err := report(); !apierrors.IsUnauthorized(err) {
			return fmt.Sprintf("want no authentication with the token of a pod that is gone, got %v", err)
		}
		return ""
	})
}

// The operator leaves status.trading alone, and people are left to RBAC.
func TestOperatorAndPeopleWriteStatus(t *testing.T) {
	g := newGuarded(t)
	forge := client.RawPatch(types.MergePatchType, []byte(`{"status":{"trading":{"podUID":"forged","state":"Enabled","reason":"Trading"}}}`))
	refusedFor(t, operatorClient(t).Status().Patch(t.Context(), g.agent.DeepCopy(), forge), "the operator never changes it")
	if err := server.Client.Status().Patch(t.Context(), g.agent.DeepCopy(), forge); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	erase := client.RawPatch(types.MergePatchType, []byte(`{"status":{"trading":null}}`))
	refusedFor(t, operatorClient(t).Status().Patch(t.Context(), g.agent.DeepCopy(), erase), "the operator never changes it")
}

func refusedFor(t *testing.T, err error, want string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("want a refusal with %q, got %v", want, err)
	}
}

func ready() metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Forged", LastTransitionTime: metav1.Now()}
}

// A field that is added to the status later must be guarded, too.
func TestEveryStatusFieldIsGuarded(t *testing.T) {
	var expressions []string
	for _, policy := range policies(t) {
		for _, validation := range policy.Spec.Validations {
			if strings.HasPrefix(policy.Name, "status-guard.") {
				expressions = append(expressions, validation.Expression)
			}
		}
	}
	guard := strings.Join(expressions, "\n")
	for field := range reflect.TypeFor[v1alpha1.TradingAgentStatus]().Fields() {
		name := jsonName(field)
		if compared := fmt.Sprintf("object.status.?%[1]s == oldObject.status.?%[1]s", name); !strings.Contains(guard, compared) {
			t.Errorf("config/admission/status-guard.yaml lets an agent change status.%s: it lacks %q", name, compared)
		}
	}
}
