//go:build faults

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradinghalt"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// obeyed is what an agent's process says of the halts that bind it: done at once.
func (w *world) obeyed(live map[key]*unstructured.Unstructured, agent *v1alpha1.TradingAgent) []any {
	var told []any
	for at, object := range live {
		halt := &v1alpha1.TradingHalt{}
		if w.deaf != "" && agent.Status.PodUID == string(w.deaf) || at.kind != "TradingHalt" || runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, halt) != nil {
			continue
		}
		if halt.Spec.Released() || !v1alpha1.HaltBinds(halt, agent, nil, nil).Bound {
			continue
		}
		const then = "2026-01-02T03:04:05.000000Z"
		told = append(told, map[string]any{
			"uid": string(halt.UID), "halt": halt.Reference(), "state": string(v1alpha1.HaltDone), "acknowledgedTime": then, "doneTime": then,
		})
	}
	slices.SortFunc(told, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["uid"].(string), b.(map[string]any)["uid"].(string))
	})
	return told
}

// halting is what fences agents and releases halts, until the operator dies.
func (o *operator) halting(w *world) tradinghalt.World {
	outside, alive := w.halts.World(), func() error {
		if o.transport.isDead() {
			return errCrashed
		}
		return nil
	}
	return tradinghalt.World{
		Fence: func(ctx context.Context, uri, agentUID, haltUID, podUID string) (bool, error) {
			if err := alive(); err != nil {
				return false, err
			}
			return outside.Fence(ctx, uri, agentUID, haltUID, podUID)
		},
		Stop: func(ctx context.Context, account *v1alpha1.TradingAccount, pairs []*v1alpha1.AssetPair) error {
			if err := alive(); err != nil {
				return err
			}
			return outside.Stop(ctx, account, pairs)
		},
		Latch: func(ctx context.Context, uri string, bound map[string]ledger.LatchedHalt) error {
			if err := alive(); err != nil {
				return err
			}
			return outside.Latch(ctx, uri, bound)
		},
		Bound: func(ctx context.Context, uri, haltUID string) ([]string, error) {
			if err := alive(); err != nil {
				return nil, err
			}
			return outside.Bound(ctx, uri, haltUID)
		},
		Unlatch: func(ctx context.Context, uri, haltUID, by, reason string) error {
			if err := alive(); err != nil {
				return err
			}
			return outside.Unlatch(ctx, uri, haltUID, by, reason)
		},
	}
}

// stop is a halt of everything; the tests are the user admin at the API server.
func (d *desk) stop(edit func(*v1alpha1.TradingHaltSpec)) *v1alpha1.TradingHalt {
	halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: d.meta("").Namespace, Name: "stop"}, Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "a test", RequestedBy: "admin",
	}}
	if edit != nil {
		edit(&halt.Spec)
	}
	return halt
}

// awaitHalt waits until a halt's Ready has a reason.
func (d *desk) awaitHalt(reason string) {
	d.t.Helper()
	d.until("the halt is "+reason, func() error {
		halt := d.stop(nil)
		if err := server.Client.Get(d.ctx, client.ObjectKeyFromObject(halt), halt); err != nil {
			return err
		}
		ready := reconcile.StatusOf(halt).Get(v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason {
			return fmt.Errorf("its status is %+v", halt.Status)
		}
		return nil
	})
}

// unfenced checks that no agent was fenced, where all have obeyed.
func (d *desk) unfenced() {
	d.t.Helper()
	for _, done := range d.world.halts.Done() {
		if !strings.Contains(done, "unlatch") {
			d.t.Errorf("an agent that has obeyed was fenced: %s", done)
		}
	}
}

// haltScenarios: whenever the operator dies, a halt ends as without that, and no
// agent is fenced that has obeyed.
func haltScenarios() []scenario {
	return []scenario{{
		name: "halt and release", before: trading, pods: keepsPod,
		act: func(d *desk) {
			d.create(d.stop(nil))
			d.awaitHalt(v1alpha1.ReasonHaltEnforced)
			d.awaitReason("eur", v1alpha1.ReasonTradingHalt)
			edit(d, d.stop(nil), func(halt *v1alpha1.TradingHalt) {
				halt.Spec.Release = &v1alpha1.HaltRelease{By: "admin", Reason: "it is over"}
			})
			d.awaitHalt(v1alpha1.ReasonHaltReleased)
			d.awaitTrading("eur")
			d.unfenced()
		},
	}, {
		name: "agent created under a halt", pods: keepsPod,
		before: func(d *desk) {
			d.create(d.furniture()...)
			d.create(d.stop(nil))
			d.awaitHalt(v1alpha1.ReasonHaltEnforced)
		},
		act: func(d *desk) {
			d.create(d.eur())
			d.awaitReason("eur", v1alpha1.ReasonTradingHalt)
			d.awaitHalt(v1alpha1.ReasonHaltEnforced)
			d.unfenced()
		},
	}, {
		name: "an agent that does not obey is fenced", before: trading, pods: replacesPod,
		act: func(d *desk) {
			old := d.pod().UID
			d.world.set(func(w *world) { w.deaf = old })
			d.create(d.stop(func(spec *v1alpha1.TradingHaltSpec) { spec.DeadlineSeconds = 3 }))
			d.awaitPod(old)
			d.awaitHalt(v1alpha1.ReasonHaltEnforced)
			d.awaitReason("eur", v1alpha1.ReasonTradingHalt)
			if done := strings.Join(d.world.halts.Done(), " "); !strings.Contains(done, "fence") || !strings.Contains(done, "stop") {
				d.t.Errorf("fenced by %q", done)
			}
		},
	}}
}
