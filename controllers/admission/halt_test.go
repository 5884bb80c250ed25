package admission_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// acting is the connection of a user with every right, so that only the policies stand
// between them and a halt.
func acting(t *testing.T, user string) client.Client {
	t.Helper()
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	return clientOf(t, config)
}

func haltSpec(by string) v1alpha1.TradingHaltSpec {
	return v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything},
		Reason: "a test", RequestedBy: by,
	}
}

// bothKinds are a halt of the desk and one of the platform, of the same spec.
func bothKinds(t *testing.T, spec v1alpha1.TradingHaltSpec) map[string]v1alpha1.Halt {
	t.Helper()
	return map[string]v1alpha1.Halt{
		"TradingHalt":        &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), GenerateName: "stop-"}, Spec: spec},
		"ClusterTradingHalt": &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{GenerateName: "stop-"}, Spec: spec},
	}
}

// settle releases and deletes a halt, so that it binds no other test.
func settle(t *testing.T, halt v1alpha1.Halt) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = acting(t, "cleaner").Patch(ctx, halt, release("cleaner"))
		_ = server.Client.Status().Patch(ctx, halt, recorded())
		_ = acting(t, "cleaner").Delete(ctx, halt)
	})
}

func release(by string) client.Patch {
	text, err := json.Marshal(map[string]any{"spec": map[string]any{"release": map[string]any{"by": by, "reason": "it is over"}}})
	if err != nil {
		return nil
	}
	return client.RawPatch(types.MergePatchType, text)
}

// recorded is what the operator says when every ledger knows of a release.
func recorded() client.Patch {
	return edit(`{"status":{"observedGeneration":2,"conditions":[{"type":"Enforced","status":"False","reason":"HaltReleased",
		"message":"it is over","lastTransitionTime":"2026-11-23T12:00:00Z"}]}}`)
}

func edit(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }

func wantRefusal(t *testing.T, what string, err error, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: want a refusal with %q, got %v", what, words, err)
	}
}

// Who creates a halt is who they say, and it comes without its release.
func TestHaltNamesItsCreator(t *testing.T) {
	for kind, halt := range bothKinds(t, haltSpec("ada")) {
		wantRefusal(t, kind+" by another", acting(t, "bob").Create(t.Context(), halt.DeepCopyObject().(client.Object)), `this request comes from "bob"`)
		released := halt.DeepCopyObject().(v1alpha1.Halt)
		released.HaltSpec().Release = &v1alpha1.HaltRelease{By: "ada", Reason: "at once"}
		wantRefusal(t, kind+" with its release", acting(t, "ada").Create(t.Context(), released), "cannot be given when a halt is created")
		if err := acting(t, "ada").Create(t.Context(), halt); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		settle(t, halt)
	}
}

// A halt cannot be edited, not even by who has created it.
func TestHaltIsLatched(t *testing.T) {
	spec := haltSpec("ada")
	spec.Task, spec.DeadlineSeconds, spec.ReleaseBy = v1alpha1.HaltFlatten, 20, v1alpha1.ReleaseByAnother
	for kind, halt := range bothKinds(t, spec) {
		if err := acting(t, "ada").Create(t.Context(), halt); err != nil {
			t.Fatal(err)
		}
		settle(t, halt)
		for name, text := range map[string]string{
			"looser state":        `{"spec":{"state":"ReduceOnly"}}`,
			"other scope":         `{"spec":{"scope":{"type":"Agent","name":"nobody"}}}`,
			"other reason":        `{"spec":{"reason":"another"}}`,
			"other person":        `{"spec":{"requestedBy":"bob"}}`,
			"other task":          `{"spec":{"task":"Keep"}}`,
			"no task":             `{"spec":{"task":null}}`,
			"longer deadline":     `{"spec":{"deadlineSeconds":3600}}`,
			"released by anybody": `{"spec":{"releaseBy":null}}`,
			"a drill after all":   `{"spec":{"drill":"Paper"}}`,
		} {
			err := acting(t, "ada").Patch(t.Context(), halt.DeepCopyObject().(client.Object), edit(text))
			wantRefusal(t, kind+": "+name, err, "cannot change but for its release")
		}
		wantRefusal(t, kind+": deletion", acting(t, "ada").Delete(t.Context(), halt), "release it before it is deleted")
		label := halt.DeepCopyObject().(client.Object)
		wantRefusal(t, kind+": a label", acting(t, "ada").Patch(t.Context(), label, edit(`{"metadata":{"labels":{"seen":"yes"}}}`)), "")
	}
}

// The release names who gives it, is another person's where that was asked for, is
// final, and lets the halt be deleted.
func TestHaltIsReleased(t *testing.T) {
	spec := haltSpec("ada")
	spec.ReleaseBy = v1alpha1.ReleaseByAnother
	for kind, halt := range bothKinds(t, spec) {
		if err := acting(t, "ada").Create(t.Context(), halt); err != nil {
			t.Fatal(err)
		}
		settle(t, halt)
		copied := func() client.Object { return halt.DeepCopyObject().(client.Object) }
		wantRefusal(t, kind+": in another's name", acting(t, "bob").Patch(t.Context(), copied(), release("eve")), `this request comes from "bob"`)
		wantRefusal(t, kind+": by who requested it", acting(t, "ada").Patch(t.Context(), copied(), release("ada")), "who has requested the halt cannot release it")
		wantRefusal(t, kind+": by another", acting(t, "bob").Patch(t.Context(), copied(), release("bob")), "")
		wantRefusal(t, kind+": taken back", acting(t, "bob").Patch(t.Context(), copied(), edit(`{"spec":{"release":null}}`)), "a release is final")
		wantRefusal(t, kind+": by somebody else again", acting(t, "eve").Patch(t.Context(), copied(), release("eve")), "a release is final")
		// Agents without a process learn of a release from their ledger alone.
		wantRefusal(t, kind+": deletion before agents can know", acting(t, "eve").Delete(t.Context(), copied()), "has not recorded the release")
		wantRefusal(t, kind+": the operator's report", server.Client.Status().Patch(t.Context(), copied(), recorded()), "")
		wantRefusal(t, kind+": deletion", acting(t, "eve").Delete(t.Context(), copied()), "")
	}
}

// Whoever has requested a halt releases it where nobody else is asked for.
func TestHaltIsReleasedByItsCreator(t *testing.T) {
	for kind, halt := range bothKinds(t, haltSpec("ada")) {
		if err := acting(t, "ada").Create(t.Context(), halt); err != nil {
			t.Fatal(err)
		}
		settle(t, halt)
		wantRefusal(t, kind, acting(t, "ada").Patch(t.Context(), halt, release("ada")), "")
	}
}

// A namespace that goes away takes its halts along.
func TestHaltGoesWithItsNamespace(t *testing.T) {
	namespace := newNamespace(t)
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stop"}, Spec: haltSpec("ada")}
	if err := acting(t, "ada").Create(t.Context(), halt); err != nil {
		t.Fatal(err)
	}
	if err := server.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	// The API server's own view of the namespace follows a moment later.
	eventually(t, func(ctx context.Context) string {
		if err := client.IgnoreNotFound(acting(t, "namespace-controller").Delete(ctx, halt)); err != nil {
			return err.Error()
		}
		return ""
	})
}

// An agent halts itself and nothing wider, and releases nothing.
func TestAgentHaltsItselfAlone(t *testing.T) {
	namespace := newNamespace(t)
	user := "system:serviceaccount:" + namespace + ":eur-trader"
	own := v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: "eur"}
	for name, c := range map[string]struct {
		scope v1alpha1.HaltScope
		want  string
	}{
		"itself":         {own, ""},
		"another":        {v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: "gbp"}, "an agent may halt itself and nobody else"},
		"everything":     {v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, "an agent may halt itself and nobody else"},
		"some by labels": {v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "a=b"}, "an agent may halt itself and nobody else"},
	} {
		spec := haltSpec(user)
		spec.Scope = c.scope
		halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "own-"}, Spec: spec}
		wantRefusal(t, name, acting(t, user).Create(t.Context(), halt), c.want)
		if c.want != "" {
			continue
		}
		settle(t, halt)
		wantRefusal(t, "its release", acting(t, user).Patch(t.Context(), halt.DeepCopy(), release(user)), "an agent releases no halt")
	}
	spec := haltSpec(user)
	spec.Scope = own
	everywhere := &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{GenerateName: "own-"}, Spec: spec}
	wantRefusal(t, "its name in every namespace", acting(t, user).Create(t.Context(), everywhere), "an agent may halt itself and nobody else")
}

// A tool that applies a manifest again and again, as it was before the release or
// with another state, changes nothing.
func TestReapplyingDoesNotUndoAHalt(t *testing.T) {
	namespace := newNamespace(t)
	spec := haltSpec("gitops")
	apply := func(edit func(*v1alpha1.TradingHaltSpec)) error {
		halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stop"}, Spec: spec}
		halt.APIVersion, halt.Kind = v1alpha1.GroupVersion.String(), "TradingHalt"
		edit(&halt.Spec)
		//nolint:staticcheck // what tools of the day send: a whole object as a server-side apply
		return acting(t, "gitops").Patch(t.Context(), halt, client.Apply, client.FieldOwner("gitops"), client.ForceOwnership)
	}
	same := func(*v1alpha1.TradingHaltSpec) {}
	wantRefusal(t, "creation", apply(same), "")
	wantRefusal(t, "the same again", apply(same), "")
	wantRefusal(t, "a looser one", apply(func(s *v1alpha1.TradingHaltSpec) { s.State = v1alpha1.HaltReduceOnly }), "cannot change but for its release")
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stop"}}
	wantRefusal(t, "release", acting(t, "ada").Patch(t.Context(), halt, release("ada")), "")
	wantRefusal(t, "the same once more", apply(same), "")
	if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(halt), halt); err != nil || halt.Spec.Release == nil {
		t.Errorf("the release is gone: %+v, %v", halt.Spec, err)
	}
}

// haltIsWarnedOf creates an agent, in a dry run, before and under a halt.
func haltIsWarnedOf(t *testing.T, config *rest.Config, admin client.Client) {
	t.Helper()
	said := &hearer{}
	listening := rest.CopyConfig(config)
	listening.WarningHandlerWithContext = said
	listener := clientOf(t, listening)
	const words = `TradingAgent "late" is under TradingHalt/stop (Halted: a test), and comes up so`
	warned := func() bool {
		said.clear()
		late := agent("late")
		late.Namespace = namespace
		late.Spec.AssetPairs = []v1alpha1.AssetPairSelector{{Name: "gbp-usd"}}
		if err := listener.Create(t.Context(), late, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(said.all(), words)
	}
	if warned() {
		t.Error("warned of a halt that does not exist")
	}
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stop"}, Spec: haltSpec("admin")}
	if err := admin.Create(t.Context(), halt); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) string {
		if warned() {
			return ""
		}
		return "the warnings are: " + said.all()
	})
	if err := admin.Patch(t.Context(), halt, release("admin")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) string {
		if warned() {
			return "a halt that is released is warned of"
		}
		return ""
	})
}
