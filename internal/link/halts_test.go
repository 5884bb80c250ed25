package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// A halt of either kind reaches the agent, and so does its release.
func TestWatcherSeesHalts(t *testing.T) {
	admin := newClient(t)
	agent := applySamples(t, admin, "halted")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watcher, err := NewWatcher(ctx, apiServer, Identity{Namespace: agent.Namespace, Name: agent.Name, UID: agent.UID})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	if !watcher.WaitForSync(ctx) {
		t.Fatal("the watcher has not synced")
	}
	latch := &Latch{}
	want := func(names string) {
		t.Helper()
		await(t, watcher.Changes(), func() string {
			desk, err := watcher.Desk(ctx)
			if err != nil {
				return err.Error()
			}
			// Which of two watches is the faster is left to chance.
			bound := strings.Fields(boundBy(latch.See(&desk)))
			if slices.Sort(bound); strings.Join(bound, " ") != names {
				return fmt.Sprintf("bound by %q, want %q", bound, names)
			}
			return ""
		})
	}
	spec := v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "a test", RequestedBy: "admin"}
	own := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: "own"}, Spec: spec}
	cluster := &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: spec}
	for _, halt := range []client.Object{own, cluster} {
		if err := admin.Create(ctx, halt); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), halt)) })
	}
	want("ClusterTradingHalt/all TradingHalt/own")
	own.Spec.Release = &v1alpha1.HaltRelease{By: "admin", Reason: "over"}
	if err := admin.Update(ctx, own); err != nil {
		t.Fatal(err)
	}
	want("ClusterTradingHalt/all")
	if err := admin.Delete(ctx, cluster); err != nil {
		t.Fatal(err)
	}
	want("ClusterTradingHalt/all")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The pulse shows halts that no watch has told of, and that the API server is
// silent.
func TestPulse(t *testing.T) {
	admin := newClient(t)
	signalled := make(chan struct{}, 16)
	config := rest.CopyConfig(apiServer)
	pulse, err := newPulse(config, admin.Scheme(), "default", func() { signalled <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pulse"}, Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: "nobody"}, Reason: "a test", RequestedBy: "admin"}}
	if err := admin.Create(t.Context(), halt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), halt) })
	await(t, signalled, func() string {
		pulse.ask(t.Context(), time.Second)
		for _, known := range pulse.known() {
			if known.GetName() == "pulse" {
				return ""
			}
		}
		return "the halt was not seen"
	})
	heard := pulse.heard.Load()
	silent, err := newPulse(&rest.Config{Host: "127.0.0.1:1"}, admin.Scheme(), "default", func() {})
	if err == nil {
		began := silent.heard.Load()
		silent.ask(t.Context(), time.Second)
		if silent.heard.Load() != began {
			t.Error("a server that does not answer was heard")
		}
	}
	pulse.ask(t.Context(), time.Second)
	if pulse.heard.Load() <= heard {
		t.Error("an answer was not heard")
	}
	for stale, want := range map[time.Duration]time.Duration{time.Second: fastestPulse, 20 * time.Second: 5 * time.Second, time.Hour: slowestPulse} {
		pulse.stale.Store(int64(stale))
		if got := pulse.pace(); got != want {
			t.Errorf("stale after %s: asked every %s, want %s", stale, got, want)
		}
	}
}

// An API server without its store has all halts in its cache and takes no new one:
// that is silence, however fast it would answer.
func TestPulseHearsNothingWithoutTheStore(t *testing.T) {
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Without its store the API server does not end in time.
		if err := errors.Join(environment.ControlPlane.Etcd.Start(), environment.Stop()); err != nil {
			t.Error(err)
		}
	})
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	pulse, err := newPulse(config, scheme, "default", func() {})
	if err != nil {
		t.Fatal(err)
	}
	began := pulse.heard.Load()
	await(t, nil, func() string {
		if pulse.ask(t.Context(), slowestPulse); pulse.heard.Load() == began {
			return "an API server that has all it needs was not heard"
		}
		return ""
	})
	if err := environment.ControlPlane.Etcd.Stop(); err != nil {
		t.Fatal(err)
	}
	// The request hangs, and must not do so for longer than the pulse has patience.
	heard, asked := pulse.heard.Load(), time.Now()
	pulse.ask(t.Context(), fastestPulse)
	if pulse.heard.Load() != heard {
		t.Error("an API server that cannot take a halt was heard")
	}
	if took := time.Since(asked); took > 10*fastestPulse {
		t.Errorf("the answer was awaited for %s", took)
	}
}

// An acknowledgement is news, and is told at once.
func TestAcknowledgementsAreToldAtOnce(t *testing.T) {
	last := v1alpha1.TradingStatus{State: v1alpha1.TradingHalted}
	told := last
	told.Halts = []v1alpha1.HaltAcknowledgement{{UID: "a", State: v1alpha1.HaltAcknowledged}}
	done := last
	done.Halts = []v1alpha1.HaltAcknowledgement{{UID: "a", State: v1alpha1.HaltDone}}
	for name, c := range map[string]struct{ last, now *v1alpha1.TradingStatus }{
		"acknowledged": {&last, &told}, "done": {&told, &done}, "released": {&done, &last},
	} {
		if due := dueIn(c.last, c.now, minSpacing, time.Hour); due > 0 {
			t.Errorf("%s: told in %s", name, due)
		}
	}
	if due := dueIn(&done, &done, minSpacing, time.Hour); due <= 0 {
		t.Error("no news was told at once")
	}
}
