package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func haltsClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	made, err := client.New(apiServer, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// plugin runs kubectl trading.
func plugin(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var output bytes.Buffer
	root := newRootCommand()
	root.SetOut(&output)
	root.SetErr(&output)
	root.SetArgs(append(arguments, "--kubeconfig", kubeconfig))
	err := root.ExecuteContext(t.Context())
	return output.String(), err
}

// counting is the operator's part: it says of each halt what a test wants, and that
// a release is recorded.
func counting(t *testing.T, status func(halt v1alpha1.Halt) *v1alpha1.TradingHaltStatus) {
	t.Helper()
	admin := haltsClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			var own v1alpha1.TradingHaltList
			var cluster v1alpha1.ClusterTradingHaltList
			if err := errors.Join(admin.List(ctx, &own), admin.List(ctx, &cluster)); err != nil {
				return false, client.IgnoreNotFound(err)
			}
			for _, halt := range v1alpha1.Halts(own.Items, cluster.Items) {
				told := status(halt)
				if halt.HaltSpec().Released() {
					told = &v1alpha1.TradingHaltStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue,
						Reason: v1alpha1.ReasonHaltReleased, LastTransitionTime: metav1.Now()}}}
				}
				if told != nil {
					*halt.HaltStatus() = *told
					_ = admin.Status().Update(ctx, halt)
				}
			}
			return false, nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		background := context.Background()
		for _, kind := range []client.Object{&v1alpha1.TradingHalt{}, &v1alpha1.ClusterTradingHalt{}} {
			if err := admin.DeleteAllOf(background, kind, client.InNamespace(namespaceOf(kind))); err != nil {
				t.Error(err)
			}
		}
	})
}

func namespaceOf(kind client.Object) string {
	if _, cluster := kind.(*v1alpha1.ClusterTradingHalt); cluster {
		return ""
	}
	return "default"
}

func obeyed(v1alpha1.Halt) *v1alpha1.TradingHaltStatus {
	return &v1alpha1.TradingHaltStatus{
		Matched: new(int32(3)), Acknowledged: new(int32(3)), Done: new(int32(3)), Overdue: new(int32(0)), Absent: new(int32(0)),
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionEnforced, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonHaltEnforced, LastTransitionTime: metav1.Now()}},
	}
}

func TestHaltAndRelease(t *testing.T) {
	counting(t, obeyed)
	admin := haltsClient(t)
	output, err := plugin(t, "halt", "stop", "--pair", "BTC-USD", "--task", "Flatten", "--deadline", "3s", "--release-by-another", "--reason", "a test")
	if err != nil || !strings.Contains(output, "TradingHalt/stop created: Halted, Flatten, AssetPair BTC-USD") || !strings.Contains(output, "3 matched, 3 acknowledged, 3 done, 0 overdue") {
		t.Fatalf("%s%v", output, err)
	}
	halt := &v1alpha1.TradingHalt{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "stop"}, halt); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Task: v1alpha1.HaltFlatten, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "BTC-USD"},
		Reason: "a test", RequestedBy: "keeper", ReleaseBy: v1alpha1.ReleaseByAnother, DeadlineSeconds: 3,
	}
	if fmt.Sprint(halt.Spec) != fmt.Sprint(want) {
		t.Errorf("created %+v", halt.Spec)
	}
	if output, err := plugin(t, "release", "stop", "--reason", "over"); err != nil || !strings.Contains(output, "TradingHalt/stop released by keeper") {
		t.Errorf("%s%v", output, err)
	}
	if _, err := plugin(t, "release", "stop", "--reason", "over"); err == nil || !strings.Contains(err.Error(), "was released by keeper already") {
		t.Errorf("released twice: %v", err)
	}
	if _, err := plugin(t, "release", "nothing", "--reason", "over"); err == nil {
		t.Error("what does not exist was released")
	}
}

func TestHaltEverywhere(t *testing.T) {
	counting(t, obeyed)
	if output, err := plugin(t, "halt", "all", "--all", "--cluster", "--state", "ReduceOnly", "--reason", "a test"); err != nil || !strings.Contains(output, "kubectl trading release all --cluster") {
		t.Fatalf("%s%v", output, err)
	}
	halt := &v1alpha1.ClusterTradingHalt{}
	if err := haltsClient(t).Get(t.Context(), client.ObjectKey{Name: "all"}, halt); err != nil || halt.Spec.State != v1alpha1.HaltReduceOnly {
		t.Errorf("%+v, %v", halt.Spec, err)
	}
	if output, err := plugin(t, "release", "all", "--cluster", "--reason", "over"); err != nil {
		t.Errorf("%s%v", output, err)
	}
}

// A drill releases itself, and leaves its result behind.
// A halt that binds nobody is in force, but whoever gave the wrong namespace must not
// believe that the desk has stopped.
func TestHaltOfNobody(t *testing.T) {
	counting(t, func(halt v1alpha1.Halt) *v1alpha1.TradingHaltStatus {
		status := obeyed(halt)
		status.Matched, status.Acknowledged, status.Done = new(int32(0)), new(int32(0)), new(int32(0))
		return status
	})
	for name, drill := range map[string][]string{"halt": nil, "drill": {"--drill"}} {
		output, err := plugin(t, append([]string{"halt", "nobody-" + name, "--all", "--reason", "a test"}, drill...)...)
		if err == nil || !strings.Contains(err.Error(), "nothing was stopped") || !strings.Contains(err.Error(), "--cluster") {
			t.Errorf("%s: %s%v", name, output, err)
		}
		if name == "halt" && !strings.Contains(output, "kubectl trading release nobody-halt -n default --reason") {
			t.Errorf("how it is released is not told: %s", output)
		}
	}
}

func TestDrill(t *testing.T) {
	counting(t, obeyed)
	output, err := plugin(t, "halt", "--all", "--drill", "--reason", "monthly")
	if err != nil || !strings.Contains(output, "created") || !strings.Contains(output, "released by keeper") {
		t.Fatalf("%s%v", output, err)
	}
	var halts v1alpha1.TradingHaltList
	if err := haltsClient(t).List(t.Context(), &halts); err != nil || len(halts.Items) != 1 {
		t.Fatalf("%+v, %v", halts.Items, err)
	}
	if spec := halts.Items[0].Spec; spec.Drill != v1alpha1.DrillPaper || spec.Release == nil || !strings.HasPrefix(halts.Items[0].Name, "drill-") {
		t.Errorf("%s: %+v", halts.Items[0].Name, spec)
	}
}

// Who has not obeyed is named, by the operator or, without it, counted by the
// agents' own words; the halt stays in force.
func TestHaltNamesWhoIsMissing(t *testing.T) {
	counting(t, func(halt v1alpha1.Halt) *v1alpha1.TradingHaltStatus {
		if halt.GetName() == "uncounted" {
			return nil
		}
		return &v1alpha1.TradingHaltStatus{
			Matched: new(int32(3)), Acknowledged: new(int32(2)), Done: new(int32(2)), Overdue: new(int32(1)), Absent: new(int32(0)),
			OverdueAgents: []v1alpha1.OverdueAgent{{Namespace: "desk", Name: "eur-trend"}},
		}
	})
	if _, err := plugin(t, "halt", "counted", "--all", "--wait", "300ms", "--reason", "a test"); err == nil || !strings.Contains(err.Error(), "overdue are desk/eur-trend") {
		t.Errorf("%v", err)
	}
	if _, err := plugin(t, "halt", "uncounted", "--all", "--wait", "300ms", "--reason", "a test"); err == nil || !strings.Contains(err.Error(), "the operator has not counted; 0 of ") {
		t.Errorf("%v", err)
	}
}

func TestHaltIsOfOneScope(t *testing.T) {
	for _, arguments := range [][]string{{}, {"--all", "--agent", "a"}, {"--pair", "BTC-USD", "--venue", "Coinbase"}} {
		if _, err := plugin(t, append([]string{"halt", "--reason", "a test"}, arguments...)...); err == nil || !strings.Contains(err.Error(), "exactly one of") {
			t.Errorf("%v: %v", arguments, err)
		}
	}
	if _, err := plugin(t, "halt", "--all"); err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("without a reason: %v", err)
	}
}
