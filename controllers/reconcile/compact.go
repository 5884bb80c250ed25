package reconcile

import (
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// mostWords bounds the vocabulary. What agents have in common is a few hundred
// words; what they do not is not worth keeping twice.
const (
	mostWords  = 1 << 13
	mostTables = 1 << 10
)

// vocabulary keeps one copy of each text and of each table of settings that
// thousands of cached objects share. It never forgets, so it is bounded: when it
// is full, new texts are left as they are.
type vocabulary struct {
	mu     sync.Mutex
	words  map[string]string
	tables map[string][]v1alpha1.EffectiveValue
}

var shared = vocabulary{words: map[string]string{}, tables: map[string][]v1alpha1.EffectiveValue{}}

func (v *vocabulary) word(text string) string {
	if text == "" {
		return ""
	}
	if known, ok := v.words[text]; ok {
		return known
	}
	if len(v.words) < mostWords {
		v.words[text] = text
	}
	return text
}

func (v *vocabulary) list(texts []string) []string {
	for i := range texts {
		texts[i] = v.word(texts[i])
	}
	return exact(texts)
}

func (v *vocabulary) texts(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	// A map of the exact size; the decoder's has grown.
	compact := make(map[string]string, len(labels))
	for key, value := range labels {
		// Others, such as the agent's name, are common to a few objects only.
		if strings.HasPrefix(key, "app.kubernetes.io/") {
			value = v.word(value)
		}
		compact[v.word(key)] = value
	}
	return compact
}

// exact drops what a decoder allocated beyond a list's end.
func exact[T any](list []T) []T {
	if cap(list) == len(list) {
		return list
	}
	return append(make([]T, 0, len(list)), list...)
}

// Compact drops from a cached object what no controller reads, and makes it share
// with the others what it has in common with them. Cached objects are read-only,
// and reading through the client copies them.
func Compact(object any) (any, error) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return object, nil // such as a tombstone
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	meta.SetManagedFields(nil)
	meta.SetNamespace(shared.word(meta.GetNamespace()))
	meta.SetLabels(shared.texts(meta.GetLabels()))
	owners := meta.GetOwnerReferences()
	for i := range owners {
		owners[i].APIVersion, owners[i].Kind = shared.word(owners[i].APIVersion), shared.word(owners[i].Kind)
	}
	meta.SetOwnerReferences(exact(owners))
	meta.SetFinalizers(shared.list(meta.GetFinalizers()))
	switch object := object.(type) {
	case *v1alpha1.TradingAgent:
		shared.agent(object)
	case *rbacv1.Role:
		for i := range object.Rules {
			rule := &object.Rules[i]
			rule.Verbs, rule.APIGroups, rule.Resources = shared.list(rule.Verbs), shared.list(rule.APIGroups), shared.list(rule.Resources)
		}
		object.Rules = exact(object.Rules)
	}
	return object, nil
}

func (v *vocabulary) agent(agent *v1alpha1.TradingAgent) {
	status := &agent.Status
	status.Conditions = exact(status.Conditions)
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		condition.Type, condition.Status = v.word(condition.Type), metav1.ConditionStatus(v.word(string(condition.Status)))
		condition.Reason = v.word(condition.Reason)
		// A quoted name makes a message one object's own.
		if !strings.Contains(condition.Message, `"`) {
			condition.Message = v.word(condition.Message)
		}
	}
	status.Effective = v.table(status.Effective)
}

// table is the one copy of the settings in force, which agents of one policy
// mostly have in common.
func (v *vocabulary) table(values []v1alpha1.EffectiveValue) []v1alpha1.EffectiveValue {
	if len(values) == 0 {
		return nil
	}
	var key strings.Builder
	for i := range values {
		value := &values[i]
		for _, text := range []string{value.Field, value.Value, string(value.Source)} {
			key.WriteString(text)
			key.WriteByte(0)
		}
	}
	if known, ok := v.tables[key.String()]; ok {
		return known
	}
	for i := range values {
		value := &values[i]
		value.Field, value.Value, value.Source = v.word(value.Field), v.word(value.Value), v1alpha1.ValueSource(v.word(string(value.Source)))
	}
	values = exact(values)
	if len(v.tables) < mostTables {
		v.tables[key.String()] = values
	}
	return values
}
