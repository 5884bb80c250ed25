package reconcile_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// decoded is an agent as a decoder makes it: each text a copy of its own.
func decoded(name string) *v1alpha1.TradingAgent {
	own := func(text string) string { return string([]byte(text)) }
	agent := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: own("desk"), UID: "uid-of-" + "x", Finalizers: []string{own("trading.three-rivers-tech.com/agent")},
		Labels:          map[string]string{own("app.kubernetes.io/part-of"): own("desk"), own("trading.three-rivers-tech.com/agent"): name},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: own("v1"), Kind: own("ConfigMap"), Name: name}},
	}}
	for i := range 12 {
		agent.Status.Conditions = append(agent.Status.Conditions, metav1.Condition{
			Type: fmt.Sprintf("Condition%d", i), Status: metav1.ConditionStatus(own("True")), Reason: fmt.Sprintf("ReasonOf%d", i),
			Message: fmt.Sprintf("what is said of condition %d of every agent", i), LastTransitionTime: metav1.NewTime(time.Unix(1, 0)),
		})
	}
	for i := range 30 {
		agent.Status.Effective = append(agent.Status.Effective, v1alpha1.EffectiveValue{
			Field: fmt.Sprintf("limits.order.field%d", i), Value: strconv.Itoa(i), Source: v1alpha1.ValueSource(own("Default")),
		})
	}
	return agent
}

func TestCompactChangesNothing(t *testing.T) {
	for _, object := range []metav1.Object{
		decoded("eur"),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bare"}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "eur-trader"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"trading.three-rivers-tech.com"}, Resources: []string{"tradingagents", "ledgers"}, ResourceNames: []string{"eur"}, Verbs: []string{"get"}},
			{NonResourceURLs: []string{"/healthz"}, Verbs: []string{"get"}},
		}},
	} {
		before := reflect.ValueOf(object).MethodByName("DeepCopy").Call(nil)[0].Interface()
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		for range 2 { // it is given its own work again
			after, err := reconcile.Compact(object)
			if err != nil || !reflect.DeepEqual(after, before) {
				t.Errorf("%v; got\n%+v\nwant\n%+v", err, after, before)
			}
		}
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "desk/eur"}
	if got, err := reconcile.Compact(tombstone); err != nil || got != tombstone {
		t.Errorf("a tombstone became %v, %v", got, err)
	}
}

// One agent's table of settings must never show another's.
func TestCompactSharesOnlyWhatIsEqual(t *testing.T) {
	first, second, other := decoded("eur"), decoded("gbp"), decoded("jpy")
	other.Status.Effective[3].Value = "17"
	for _, agent := range []*v1alpha1.TradingAgent{first, second, other} {
		if _, err := reconcile.Compact(agent); err != nil {
			t.Fatal(err)
		}
	}
	if &first.Status.Effective[0] != &second.Status.Effective[0] {
		t.Error("equal tables are kept twice")
	}
	if other.Status.Effective[3].Value != "17" || first.Status.Effective[3].Value != "3" {
		t.Errorf("tables are mixed up: %v and %v", other.Status.Effective[3], first.Status.Effective[3])
	}
}

func BenchmarkCompact(b *testing.B) {
	for name, transform := range map[string]cache.TransformFunc{"as-decoded": func(o any) (any, error) { return o, nil }, "compact": reconcile.Compact} {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			kept := make([]any, 0, b.N)
			for i := range b.N {
				object, err := transform(decoded(fmt.Sprintf("agent-%d", i)))
				if err != nil {
					b.Fatal(err)
				}
				kept = append(kept, object)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(kept)), "B/agent")
			runtime.KeepAlive(kept)
		})
	}
}
