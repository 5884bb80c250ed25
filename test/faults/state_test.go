//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var (
	uidLike  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeLike = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z`)
	// hashLike is the end of a revision's name, or the hash of a pod's template.
	// Both hold UIDs, so they differ from run to run.
	hashLike = regexp.MustCompile(`\b([0-9a-f]{16}|[0-9a-f]{10})\b`)
)

// tallyOf is how often an object was created and deleted.
type tallyOf struct{ created, deleted int }

// outcome is what a run has left, in words that are the same in every run.
type outcome struct {
	objects map[string]string
	counts  map[string]tallyOf
	// released are the agents whose claims were given back to the ledger.
	released []string
}

// outcome reads what the desk is now.
func (d *desk) outcome() outcome {
	history := d.records.history()
	names := newNames(d.namespace, history)
	result := outcome{objects: map[string]string{}, counts: map[string]tallyOf{}}
	for at, object := range d.records.all() {
		result.objects[names.apply(at.String())] = names.render(object)
	}
	seen := map[types.UID]bool{}
	for _, change := range history {
		at := names.apply(key{change.object.GetKind(), change.object.GetName()}.String())
		count := result.counts[at]
		if uid := change.object.GetUID(); !seen[uid] {
			seen[uid] = true
			count.created++
			if change.object.GetKind() == "TradingAgent" && d.world.database.HasReleased(string(uid)) {
				result.released = append(result.released, names.apply(string(uid)))
			}
		}
		if change.event == watch.Deleted {
			count.deleted++
		}
		result.counts[at] = count
	}
	return result
}

// names gives everything that a run has named by chance a name of its own, in
// the order in which it appeared.
type names struct {
	namespace string
	uids      map[string]string
	hashes    map[string]string
}

func newNames(namespace string, history []change) *names {
	n := &names{namespace: namespace, uids: map[string]string{}, hashes: map[string]string{}}
	incarnations, kinds := map[key]int{}, map[string]int{}
	for _, change := range history {
		at, uid := key{change.object.GetKind(), change.object.GetName()}, string(change.object.GetUID())
		if n.uids[uid] == "" {
			incarnations[at]++
			n.uids[uid] = fmt.Sprintf("uid of %s, the %d.", at, incarnations[at])
		}
		// What has a hash for a name is numbered by its owner, because the order of
		// two owners' objects is chance.
		owner := change.object.GetKind() + " of " + change.object.GetLabels()[v1alpha1.AgentLabel]
		texts := []string{change.object.GetName()}
		for _, name := range slices.Sorted(maps.Keys(change.object.GetAnnotations())) {
			if strings.HasPrefix(name, v1alpha1.GroupName) {
				texts = append(texts, change.object.GetAnnotations()[name])
			}
		}
		for _, text := range texts {
			for _, hash := range hashLike.FindAllString(text, -1) {
				if n.hashes[hash] == "" {
					kinds[owner]++
					n.hashes[hash] = fmt.Sprintf("hash %d of a %s", kinds[owner], owner)
				}
			}
		}
	}
	return n
}

func (n *names) apply(text string) string {
	text = strings.ReplaceAll(text, n.namespace, "NAMESPACE")
	text = timeLike.ReplaceAllString(text, "TIME")
	text = uidLike.ReplaceAllStringFunc(text, func(uid string) string {
		if name := n.uids[uid]; name != "" {
			return n.hashed(name)
		}
		return uid
	})
	return n.hashed(text)
}

func (n *names) hashed(text string) string {
	return hashLike.ReplaceAllStringFunc(text, func(hash string) string {
		if name := n.hashes[hash]; name != "" {
			return name
		}
		return hash
	})
}

// render writes an object without what only the server or the clock decides.
func (n *names) render(object *unstructured.Unstructured) string {
	tree := runtime.DeepCopyJSON(object.Object)
	for _, path := range [][]string{
		{"metadata", "resourceVersion"}, {"metadata", "managedFields"}, {"metadata", "selfLink"},
		// A Service's address is drawn by the API server.
		{"spec", "clusterIP"}, {"spec", "clusterIPs"},
	} {
		unstructured.RemoveNestedField(tree, path...)
	}
	sortConditions(tree)
	text, err := json.MarshalIndent(tree, "", " ")
	if err != nil {
		return err.Error()
	}
	return n.apply(string(text))
}

// sortConditions brings conditions into one order: they are a map by type.
func sortConditions(tree map[string]any) {
	conditions, found, err := unstructured.NestedSlice(tree, "status", "conditions")
	if !found || err != nil {
		return
	}
	sort.SliceStable(conditions, func(a, b int) bool { return typeOf(conditions[a]) < typeOf(conditions[b]) })
	if err := unstructured.SetNestedSlice(tree, conditions, "status", "conditions"); err != nil {
		return
	}
}

func typeOf(condition any) string {
	tree, ok := condition.(map[string]any)
	if !ok {
		return ""
	}
	return fmt.Sprint(tree["type"])
}

// differs says how an outcome differs from the wanted one; empty if it does not.
func (o outcome) differs(wanted outcome) string {
	var lines []string
	for _, at := range union(o.objects, wanted.objects) {
		lines = append(lines, diffText(at, wanted.objects[at], o.objects[at])...)
	}
	for _, at := range union(o.counts, wanted.counts) {
		if o.counts[at] != wanted.counts[at] {
			lines = append(lines, fmt.Sprintf("%s: created and deleted %v times, wanted %v", at, o.counts[at], wanted.counts[at]))
		}
	}
	if !slices.Equal(o.released, wanted.released) {
		lines = append(lines, fmt.Sprintf("claims given back of %v, wanted %v", o.released, wanted.released))
	}
	return strings.Join(lines, "\n")
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func diffText(at, wanted, got string) []string {
	switch {
	case wanted == got:
		return nil
	case wanted == "":
		return []string{at + ": should not be there: " + got}
	case got == "":
		return []string{at + ": is missing"}
	}
	var lines []string
	before, after := strings.Split(wanted, "\n"), strings.Split(got, "\n")
	for _, line := range before {
		if !slices.Contains(after, line) {
			lines = append(lines, at+": - "+strings.TrimSpace(line))
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			lines = append(lines, at+": + "+strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, at+": the order of its lines differs")
	}
	return lines
}

func sortedByRevision(changes []change) []change {
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b change) int {
		switch {
		case a.revision < b.revision:
			return -1
		case a.revision > b.revision:
			return 1
		}
		return 0
	})
	return sorted
}

// breaches are the moments of a desk's history at which something was so that
// must never be.
func breaches(history []change) []string {
	var found []string
	live := map[key]*unstructured.Unstructured{}
	for _, change := range history {
		at := key{change.object.GetKind(), change.object.GetName()}
		_, known := live[at]
		if change.event == watch.Deleted {
			delete(live, at)
			continue
		}
		live[at] = change.object
		if at.kind == "Pod" && !known {
			found = append(found, breachesOfStart(live, change.object)...)
		}
	}
	return found
}

// breachesOfStart judges the moment at which a pod appears.
func breachesOfStart(live map[key]*unstructured.Unstructured, pod *unstructured.Unstructured) []string {
	var found []string
	name := pod.GetLabels()[v1alpha1.AgentLabel]
	for at, other := range live {
		if at.kind == "Pod" && other.GetUID() != pod.GetUID() && other.GetLabels()[v1alpha1.AgentLabel] == name {
			found = append(found, fmt.Sprintf("two pods of agent %s: %s and %s", name, other.GetName(), pod.GetName()))
		}
	}
	owner := metav1.GetControllerOf(pod)
	agent := live[key{"TradingAgent", name}]
	if owner == nil || agent == nil || agent.GetUID() != owner.UID {
		return append(found, fmt.Sprintf("pod %s starts for an agent that does not exist", pod.GetName()))
	}
	desired := &v1alpha1.TradingAgent{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(agent.Object, desired); err != nil {
		return append(found, err.Error())
	}
	if !slices.Contains(desired.Finalizers, v1alpha1.AgentFinalizer) {
		found = append(found, fmt.Sprintf("pod %s starts for an agent without finalizer", pod.GetName()))
	}
	return append(found, unbound(live, desired)...)
}

// unbound says why an agent must not begin to trade: nothing valid binds it, or
// its mode is not its account's.
func unbound(live map[key]*unstructured.Unstructured, agent *v1alpha1.TradingAgent) []string {
	var found []string
	policy, account := &v1alpha1.RiskPolicy{}, &v1alpha1.TradingAccount{}
	if object := live[key{"RiskPolicy", agent.Spec.RiskPolicyRef.Name}]; object == nil ||
		runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, policy) != nil || len(v1alpha1.ValidateRiskPolicy(policy)) > 0 {
		found = append(found, fmt.Sprintf("agent %s starts to trade without a valid policy", agent.Name))
	}
	if object := live[key{"TradingAccount", agent.Spec.AccountRef.Name}]; object == nil ||
		runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, account) != nil || len(v1alpha1.ValidateMode(agent, account)) > 0 {
		found = append(found, fmt.Sprintf("agent %s starts to trade in mode %s on an account that is not", agent.Name, agent.Spec.Mode))
	}
	return found
}
