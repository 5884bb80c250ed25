package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func TestSummarize(t *testing.T) {
	type want struct {
		ready                metav1.ConditionStatus
		reconciling, stalled bool
	}
	outcomes := []struct {
		name    string
		outcome Outcome
		want    want
	}{
		{"done", Done("Ready", "all is well"), want{ready: metav1.ConditionTrue}},
		{"wait", Wait("PodStarting", "soon", time.Second), want{ready: metav1.ConditionFalse, reconciling: true}},
		{"stall", Stall("InvalidSpec", "act"), want{ready: metav1.ConditionFalse, stalled: true}},
	}
	// Every outcome may follow every other; nothing of the former may stay.
	for _, first := range outcomes {
		for _, then := range outcomes {
			t.Run(first.name+" then "+then.name, func(t *testing.T) {
				policy := &v1alpha1.RiskPolicy{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
				status := StatusOf(policy)
				status.Summarize(first.outcome, now)
				status.Summarize(then.outcome, now.Add(time.Minute))
				ready := status.Get(v1alpha1.ConditionReady)
				if ready.Status != then.want.ready || ready.Reason != then.outcome.Reason() || ready.Message != then.outcome.Message() {
					t.Errorf("Ready is %+v", ready)
				}
				if got := status.Get(v1alpha1.ConditionReconciling) != nil; got != then.want.reconciling {
					t.Errorf("Reconciling is there: %v", got)
				}
				if got := status.Get(v1alpha1.ConditionStalled) != nil; got != then.want.stalled {
					t.Errorf("Stalled is there: %v", got)
				}
				if policy.Status.ObservedGeneration != 3 || ready.ObservedGeneration != 3 {
					t.Errorf("observed generations are %d and %d, want 3", policy.Status.ObservedGeneration, ready.ObservedGeneration)
				}
				changed := first.want.ready != then.want.ready
				if moved := ready.LastTransitionTime.Time.Equal(now.Add(time.Minute)); moved != changed {
					t.Errorf("the transition is at %v", ready.LastTransitionTime)
				}
			})
		}
	}
}

func TestWaitOrStall(t *testing.T) {
	for _, test := range []struct {
		name    string
		missing time.Duration
		stalled bool
		after   time.Duration
	}{
		{"just noticed", 0, false, time.Minute},
		{"one nanosecond left", time.Minute - 1, false, 1},
		{"over", time.Minute, true, 0},
		{"long over", time.Hour, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			outcome := WaitOrStall("AccountNotFound", "create it", now.Add(-test.missing), now, ReferenceGrace)
			if outcome.Stalled() != test.stalled || outcome.result().RequeueAfter != test.after {
				t.Errorf("got stalled %v after %v", outcome.Stalled(), outcome.result().RequeueAfter)
			}
		})
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("ж", maxMessage)
	clipped := clip(long)
	if len(clipped) > maxMessage || !strings.HasSuffix(clipped, "…") || strings.ContainsRune(clipped, '\uFFFD') {
		t.Errorf("got %d bytes ending in %q", len(clipped), clipped[len(clipped)-6:])
	}
	if short := clip("short"); short != "short" {
		t.Errorf("got %q", short)
	}
}

func TestCovers(t *testing.T) {
	rule := func(verbs ...any) map[string]any { return map[string]any{"verbs": verbs} }
	for _, test := range []struct {
		name       string
		have, want map[string]any
		covers     bool
	}{
		{"equal", map[string]any{"a": int64(1)}, map[string]any{"a": int64(1)}, true},
		{"labels of others", map[string]any{"a": "1", "b": "2"}, map[string]any{"a": "1"}, true},
		{"missing", map[string]any{}, map[string]any{"a": "1"}, false},
		{"different", map[string]any{"a": "2"}, map[string]any{"a": "1"}, false},
		{"equal rules", map[string]any{"rules": []any{rule("get")}}, map[string]any{"rules": []any{rule("get")}}, true},
		{"a rule was added", map[string]any{"rules": []any{rule("get"), rule("*")}}, map[string]any{"rules": []any{rule("get")}}, false},
		{"a verb was added", map[string]any{"rules": []any{rule("get", "*")}}, map[string]any{"rules": []any{rule("get")}}, false},
		{"a rule was taken away", map[string]any{"rules": []any{}}, map[string]any{"rules": []any{rule("get")}}, false},
		{"another owner", map[string]any{"ownerReferences": []any{map[string]any{"uid": "x"}, map[string]any{"uid": "u"}}}, map[string]any{"ownerReferences": []any{map[string]any{"uid": "u"}}}, true},
		{"not our owner", map[string]any{"ownerReferences": []any{map[string]any{"uid": "x"}}}, map[string]any{"ownerReferences": []any{map[string]any{"uid": "u"}}}, false},
		{"a map where a list is wanted", map[string]any{"rules": map[string]any{}}, map[string]any{"rules": []any{rule("get")}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := covers(test.have, test.want); got != test.covers {
				t.Errorf("got %v", got)
			}
		})
	}
}

// finished is what came of a pass.
type finished struct {
	writes, told int
	after        *v1alpha1.RiskPolicy
	requeue      time.Duration
	err          error
}

// finishing runs Finish against a client that counts its writes.
func finishing(t *testing.T, change func(*v1alpha1.RiskPolicy), outcome Outcome, failure, writeFailure error) finished {
	t.Helper()
	var writes int
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	policy := &v1alpha1.RiskPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "careful", Generation: 1}}
	StatusOf(policy).Summarize(Done("Ready", "well"), now)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(policy).WithStatusSubresource(policy).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			writes++
			if writeFailure != nil {
				return writeFailure
			}
			return c.SubResource(sub).Patch(ctx, object, patch, opts...)
		},
	}).Build()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(policy), policy); err != nil {
		t.Fatal(err)
	}
	recorder := events.NewFakeRecorder(10)
	reporter := &Reporter{Client: c, Recorder: recorder, Clock: clocktesting.NewFakePassiveClock(now.Add(time.Hour))}
	after := policy.DeepCopy()
	change(after)
	result, err := reporter.Finish(t.Context(), policy, after, outcome, failure)
	return finished{writes, len(recorder.Events), after, result.RequeueAfter, err}
}

func TestFinish(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "riskpolicies"}, "careful", errors.New("newer"))
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "riskpolicies"}, "careful")
	broken := errors.New("broken")
	nothing := func(*v1alpha1.RiskPolicy) {}
	for _, test := range []struct {
		name                  string
		change                func(*v1alpha1.RiskPolicy)
		outcome               Outcome
		failure, writeFailure error
		writes, told          int
		fails                 bool
		requeue               time.Duration
		reason                string
	}{
		{name: "nothing new is not written", change: nothing, outcome: Done("Ready", "well"), reason: "Ready"},
		{name: "looked at again without a write", change: nothing, outcome: Done("Ready", "well").Again(time.Minute), requeue: time.Minute, reason: "Ready"},
		{name: "a count is written without an event", change: func(p *v1alpha1.RiskPolicy) { p.Status.Agents = new(int32) }, outcome: Done("Ready", "well"), writes: 1, reason: "Ready"},
		{name: "a change is written once and told once", change: nothing, outcome: Stall("InvalidSpec", "act"), writes: 1, told: 1, reason: "InvalidSpec"},
		{name: "an error is written, told and retried", change: nothing, failure: broken, writes: 1, told: 1, fails: true, reason: "Retrying"},
		{name: "a conflict says nothing about the object", change: nothing, failure: conflict, requeue: conflictPause, reason: "Ready"},
		{name: "a write that was outrun is done again", change: nothing, outcome: Stall("InvalidSpec", "act"), writeFailure: conflict, writes: 1, requeue: conflictPause, reason: "InvalidSpec"},
		{name: "a write that fails is retried and not told", change: nothing, outcome: Stall("InvalidSpec", "act").Again(time.Minute), writeFailure: broken, writes: 1, fails: true, reason: "InvalidSpec"},
		{name: "an object that is gone is no error", change: nothing, outcome: Stall("InvalidSpec", "act"), writeFailure: gone, writes: 1, reason: "InvalidSpec"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := finishing(t, test.change, test.outcome, test.failure, test.writeFailure)
			if got.writes != test.writes || got.told != test.told || (got.err != nil) != test.fails || got.requeue != test.requeue {
				t.Errorf("got %+v", got)
			}
			if got.err != nil && got.requeue != 0 {
				t.Error("an error and a requeue time at once")
			}
			if reason := StatusOf(got.after).Get(v1alpha1.ConditionReady).Reason; reason != test.reason {
				t.Errorf("Ready has reason %s, want %s", reason, test.reason)
			}
		})
	}
}

// What the cache leaves out of a pod must not be deleted by a patch.
func TestPatchOfASlimPodLosesNothing(t *testing.T) {
	full := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "1"}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{
			{Name: "sidecar", Env: []corev1.EnvVar{{Name: "A", Value: "b"}}},
			{Name: "c", Image: "i", Env: []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: RevisionVariable, Value: `{"image":"i$$(A)"}`}}},
		}},
	}
	slim, err := SlimPod(full.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	before := slim.(*corev1.Pod)
	if before.Spec.NodeName != "node-1" || len(before.Spec.Containers) != 1 || before.Spec.Containers[0].Image != "" || len(before.Spec.Containers[0].Env) != 1 {
		t.Errorf("got %+v", before.Spec)
	}
	if revision, err := RunningRevision(before); err != nil || revision == nil || revision.Image != "i$(A)" {
		t.Errorf("the revision is %+v, %v", revision, err)
	}
	after := before.DeepCopy()
	after.Labels["b"] = "2"
	patch, err := client.MergeFrom(before).Data(after)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"metadata":{"labels":{"b":"2"}}}`; string(patch) != want {
		t.Errorf("the patch is %s, want %s", patch, want)
	}
}

func TestEveryConditionReasonHasARow(t *testing.T) {
	seen := map[string]bool{}
	for _, reason := range v1alpha1.Reasons() {
		if seen[reason.Word] || reason.Meaning == "" {
			t.Errorf("%s stands twice or means nothing", reason.Word)
		}
		seen[reason.Word] = true
	}
	for _, word := range []string{v1alpha1.ReasonRetrying, v1alpha1.ReasonReady, v1alpha1.ReasonAccepted} {
		if !seen[word] {
			t.Errorf("%s has no row", word)
		}
	}
}
