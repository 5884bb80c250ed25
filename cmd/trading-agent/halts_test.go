package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
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
