//go:build faults

package faults

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// How many walks are made, how many stations each has between its beginning and
// its end, and how often a spec is drawn until the API server takes it.
const (
	walks     = 24
	longWalks = 300
	stations  = 3
	draws     = 200
)

// place is everything about the desk that a walk changes.
type place struct{ agent, policy map[string]any }

// TestWalks leads an agent and its policy from one drawn place through others and
// back, some of which are not valid: references taken away, a policy that is
// tighter than the agent, a data set that does not exist. What is left must be
// what a fresh desk becomes at the first place.
func TestWalks(t *testing.T) {
	agents, policies := specSchema(t, "tradingagents"), specSchema(t, "riskpolicies")
	count := walks
	if long {
		count = longWalks
	}
	for i := range count {
		t.Run(fmt.Sprintf("walk %d of seed %d", i, seed), func(t *testing.T) {
			t.Parallel()
			w := &walk{t: t, agents: fromSchema(agents, ""), policies: fromSchema(policies, ""), next: seed*1_000_000 + i*10_000}
			w.make()
		})
	}
}

// walk is one walk.
type walk struct {
	t                *testing.T
	agents, policies *rapid.Generator[any]
	// next is the seed of the next draw.
	next int
}

func (w *walk) draw(from *rapid.Generator[any]) map[string]any {
	w.next++
	return from.Example(w.next).(map[string]any)
}

func (w *walk) bump() int {
	w.next++
	return w.next
}

func (w *walk) make() {
	fresh, home := w.fresh()
	d := w.settle()
	d.put(home)
	d.quiet()
	for range stations {
		w.visit(d)
		d.quiet()
	}
	d.furnishAgain()
	d.put(home)
	d.quiet()
	d.becomeLike(fresh)
	for _, desk := range []*desk{d, fresh} {
		for _, breach := range breaches(desk.records.history()) {
			tally.findings.Add(1)
			w.t.Error(breach)
		}
	}
}

// fresh makes a desk that has never been anywhere but at the walk's first place,
// where its agent runs.
func (w *walk) fresh() (*desk, place) {
	w.t.Helper()
	for range draws {
		d := w.settle()
		home := w.home(d)
		d.put(home)
		d.quiet()
		if _, runs := d.records.all()[key{"Pod", d.podName("eur")}]; runs {
			return d, home
		}
	}
	w.t.Fatalf("the agents of %d drawn specs do not run", draws)
	return nil, place{}
}

// settle makes a desk where everything exists that specs may refer to.
func (w *walk) settle() *desk {
	w.t.Helper()
	d := newDesk(w.t)
	d.world.set(func(world *world) { world.unpullable[brokenImage] = true })
	d.start()
	d.create(d.furniture()...)
	d.quiet()
	return d
}

// home draws the place where the walk begins and ends. An agent runs there: what
// one does that does not is decided by what ran before.
func (w *walk) home(d *desk) place {
	w.t.Helper()
	for range draws {
		found := place{agent: w.draw(w.agents), policy: w.draw(w.policies)}
		found.agent["mode"], found.policy["currency"] = "Paper", "USD"
		found.agent["riskPolicyRef"] = map[string]any{"name": "careful"}
		found.agent["marketData"] = map[string]any{"source": "Replay", "replay": map[string]any{"dataset": "prices/{pair}.csv"}}
		if fmt.Sprint(found.agent["image"]) != brokenImage && !strings.Contains(fmt.Sprint(found.agent["assetPairs"]), "XAU") && d.admits(found) {
			return found
		}
	}
	w.t.Fatalf("none of %d drawn specs is valid", draws)
	return place{}
}

// visit goes to another place, or takes something away.
func (w *walk) visit(d *desk) {
	w.t.Helper()
	switch chances(w.bump()).IntN(8) {
	case 0:
		d.takeAway(d.policy("careful"))
	case 1:
		d.takeAway(d.pair("eur-usd", "EUR"))
	case 2:
		d.takeAway(d.account())
	case 3:
		tight := w.draw(w.policies)
		tight["order"] = map[string]any{"maxNotional": "1"}
		d.try("RiskPolicy", "careful", tight)
	default:
		d.try("RiskPolicy", "careful", w.draw(w.policies))
		for range draws {
			if d.try("TradingAgent", "eur", w.draw(w.agents)) {
				return
			}
		}
	}
}

// object is an object of the desk with a drawn spec.
func (d *desk) object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": runtime.DeepCopyJSON(spec)}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetNamespace(d.namespace)
	object.SetName(name)
	return object
}

// admits asks the API server, and the validators that the operator asks again.
func (d *desk) admits(at place) bool {
	d.t.Helper()
	for _, object := range []*unstructured.Unstructured{d.object("TradingAgent", "drawn", at.agent), d.object("RiskPolicy", "drawn", at.policy)} {
		err := server.Client.Create(d.ctx, object.DeepCopy(), client.DryRunAll)
		if refused(err) {
			return false
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	agent, policy := &v1alpha1.TradingAgent{}, &v1alpha1.RiskPolicy{}
	for drawn, into := range map[*map[string]any]any{&at.agent: &agent.Spec, &at.policy: &policy.Spec} {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(*drawn, into); err != nil {
			d.t.Fatal(err)
		}
	}
	return len(v1alpha1.ValidateTradingAgent(agent)) == 0 && len(v1alpha1.ValidateRiskPolicy(policy)) == 0 &&
		len(v1alpha1.ValidateTighter(agent.Spec.Limits, policy)) == 0
}

// put brings agent and policy to a place, creating what does not exist.
func (d *desk) put(at place) {
	d.t.Helper()
	for _, object := range []*unstructured.Unstructured{d.object("RiskPolicy", "careful", at.policy), d.object("TradingAgent", "eur", at.agent)} {
		wanted := object.Object["spec"]
		err := tryEdit(d, object, func(o *unstructured.Unstructured) { o.Object["spec"] = wanted })
		if apierrors.IsNotFound(err) {
			object.Object["spec"] = wanted
			object.SetResourceVersion("")
			d.create(object)
			continue
		}
		if err != nil {
			d.t.Fatal(err)
		}
		d.recorded(object)
	}
}

// try edits an object as far as it exists and the API server allows.
func (d *desk) try(kind, name string, spec map[string]any) bool {
	d.t.Helper()
	object := d.object(kind, name, spec)
	err := tryEdit(d, object, func(o *unstructured.Unstructured) { o.Object["spec"] = runtime.DeepCopyJSON(spec) })
	if refused(err) || apierrors.IsNotFound(err) {
		return false
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.recorded(object)
	return true
}

// refused reports whether the API server does not take an object for what it
// says: by its schema, or by an admission policy.
func refused(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) }

// takeAway deletes something that the agent refers to.
func (d *desk) takeAway(object client.Object) {
	d.t.Helper()
	if err := server.Client.Delete(d.ctx, object); client.IgnoreNotFound(err) != nil {
		d.t.Fatal(err)
	}
}

// furnishAgain creates what was taken away.
func (d *desk) furnishAgain() {
	d.t.Helper()
	for _, object := range d.furniture() {
		if err := server.Client.Create(d.ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			d.t.Fatal(err)
		}
	}
}

// history is what a walk has and a fresh desk has not, in words: how often a
// spec was edited, how many processes an agent has had, and which of an object's
// incarnations it is.
var history = regexp.MustCompile(`("(generation|observedGeneration|epoch|reconciledEpoch)": [0-9]+|epoch [0-9]+|, the [0-9]+\.|hash [0-9]+ of a)`)

// becomeLike waits until this desk is what the other is, history aside.
func (d *desk) becomeLike(other *desk) {
	d.t.Helper()
	wanted := other.outcome().withoutHistory()
	difference := ""
	d.eventually(func() bool {
		difference = d.outcome().withoutHistory().differs(wanted)
		return difference == ""
	}, func() {
		d.t.Errorf("the walk has left (+) what a fresh desk has not (-):\n%s", difference)
	})
}

// withoutHistory keeps of an outcome what does not depend on the way there. The
// stored revisions are history by their nature; the one in use is named in
// status.
func (o outcome) withoutHistory() outcome {
	plain := outcome{objects: map[string]string{}}
	for at, text := range o.objects {
		if !strings.HasPrefix(at, "ControllerRevision/") {
			plain.objects[history.ReplaceAllString(at, "")] = history.ReplaceAllString(text, "")
		}
	}
	return plain
}
