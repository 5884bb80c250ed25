package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// TestAHaltWhoseObjectIsGone binds on until the ledger knows of its release: its
// definition may have been deleted, and a release may have gone by unseen.
func TestAHaltWhoseObjectIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, bound := ledger.NewMemory(), newHalts()
		halt := &v1alpha1.TradingHalt{
			ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "stop", UID: "halt-uid"},
			Spec:       v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "prices are wrong"},
		}
		desk := &link.Desk{Agent: &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur"}}, Halts: []v1alpha1.Halt{halt}}
		go bound.record(t.Context(), book, "agent-uid", logr.Discard())
		binds := func() bool { return len(bound.see(desk)) == 1 }
		pass := func() { <-time.After(2 * longestPause) }

		if !binds() {
			t.Fatal("the halt does not bind")
		}
		synctest.Wait()
		if latched, err := book.Latched(t.Context(), "agent-uid"); err != nil || len(latched) != 1 {
			t.Fatalf("latched are %v, %v", latched, err)
		}
		desk.Halts = nil
		if !binds() {
			t.Fatal("a halt ended with its object")
		}
		pass()
		if bound.relieved() || !binds() {
			t.Fatal("a halt ended without a release")
		}
		if err := book.Unlatch(t.Context(), "halt-uid", "ada", "prices are right again"); err != nil {
			t.Fatal(err)
		}
		pass()
		if !bound.relieved() {
			t.Fatal("nobody says that the settings must be looked at again")
		}
		if binds() || bound.relieved() {
			t.Error("a halt of whose release the ledger knows binds on")
		}
		desk.Halts = []v1alpha1.Halt{halt}
		if binds() {
			t.Error("a slower view brings the halt back")
		}
	})
}

// teamHalt is a halt of the agents of team eur, and the desk of one of them.
func teamHalt() (*v1alpha1.TradingHalt, *link.Desk) {
	halt := &v1alpha1.TradingHalt{
		ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "team", UID: "halt-uid"},
		Spec:       v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"}, Reason: "prices are wrong"},
	}
	agent := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "eur", UID: "agent-uid", Labels: map[string]string{"team": "eur"}}}
	return halt, &link.Desk{Agent: agent, Halts: []v1alpha1.Halt{halt}}
}

// still are manifests that do not change.
type still struct {
	*link.Watcher

	desk *link.Desk
}

func (s still) Desk(context.Context) (link.Desk, error) { return *s.desk, nil }
func (s still) Changes() <-chan struct{}                { return nil }
func (s still) WaitForSync(context.Context) bool        { return true }

// asked ends a report at its first write and tells what it would have overwritten.
type asked func()

func (a asked) Version(context.Context) (string, error) {
	a()
	return "", link.ErrAgentGone
}

// TestWhatWasAcknowledgedBindsOn although the ledger knows nothing of it, the agent
// has left the scope and its process has begun anew.
func TestWhatWasAcknowledgedBindsOn(t *testing.T) {
	halt, desk := teamHalt()
	first := newProcess("pod-1", market.Library{}, logr.Discard())
	first.halts.see(desk)
	desk.Agent.Status.Trading = &v1alpha1.TradingStatus{PodUID: "pod-1", Halts: first.Status().Halts}
	desk.Agent.Labels = nil

	second := newProcess("pod-2", market.Library{}, logr.Discard())
	var reported int
	reporter := link.NewReporter(nil, asked(func() { reported = len(second.Status().Halts) }), link.Identity{}, time.Minute, logr.Discard())
	if err := second.report(t.Context(), still{desk: desk}, reporter); !errors.Is(err, link.ErrAgentGone) || reported != 1 {
		t.Errorf("the first report overwrites the halt: it tells of %d, %v", reported, err)
	}
	second.halts.restore(nil)
	if bound := second.halts.see(desk); len(bound) != 1 || bound[0].UID != string(halt.UID) {
		t.Errorf("bound by %+v", bound)
	}

	third := newProcess("pod-3", market.Library{}, logr.Discard())
	if _, err := (overwriting{still{desk: desk}, third.halts}).Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk.Agent.Status.Trading = nil
	if bound := third.halts.see(desk); len(bound) != 1 {
		t.Error("what a report has overwritten is forgotten")
	}
	halt.Spec.Release = &v1alpha1.HaltRelease{By: "ada", Reason: "prices are right again"}
	if bound := third.halts.see(desk); len(bound) != 0 {
		t.Errorf("released, and bound by %+v", bound)
	}
}

// TestHaltsAreLatchedBeforeTheTraderExists: the agent acknowledges them while it
// waits, so the ledger must have them by then.
func TestHaltsAreLatchedBeforeTheTraderExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, kept := ledger.NewMemory(), memoryBooks()
		kept.halts = book
		_, desk := teamHalt()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			// The account does not exist, so the trader is waited for.
			ended <- newProcess("pod-1", market.Library{}, logr.Discard()).tradeBy(ctx, still{desk: desk}, "agent-uid", kept)
		}()
		synctest.Wait()
		if latched, err := book.Latched(t.Context(), "agent-uid"); err != nil || len(latched) != 1 {
			t.Errorf("latched are %v, %v", latched, err)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
