//go:build faults

package faults

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// resync is short, so that everything is looked at again while a test waits.
const resync = time.Second

// settledStates are where an operator has nothing to do.
var settledStates = map[string]func(*desk){
	"trading": trading,
	"trading at an address that nobody reaches": func(d *desk) {
		trading(d)
		editing(func(a *v1alpha1.TradingAgent) { a.Spec.Endpoint = d.endpoint("traefik") })(d)
	},
	"waiting for a policy": func(d *desk) {
		for _, object := range d.furniture() {
			if object.GetName() != "careful" {
				d.create(object)
			}
		}
		d.create(d.eur())
		d.awaitReason("eur", v1alpha1.ReasonRiskPolicyNotFound)
	},
	// The API server refuses a live agent on a paper account, but knows nothing of
	// an account that comes after its agent.
	"refused": func(d *desk) {
		agent := d.eur()
		agent.Spec.Mode = v1alpha1.ModeLive
		agent.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
		agent.Spec.ControlPlane = &v1alpha1.ControlPlaneSpec{OnLoss: v1alpha1.LossHalt}
		d.create(agent)
		d.create(d.furniture()...)
		d.awaitReason("eur", v1alpha1.ReasonModeMismatch)
	},
	"being deleted and holding a position": func(d *desk) {
		d.world.set(func(w *world) { w.holding = true })
		trading(d)
		d.remove(d.eur())
		d.awaitReason("eur", v1alpha1.ReasonTerminating)
	},
	"image not pullable": func(d *desk) {
		d.world.set(func(w *world) { w.unpullable[newest.agentImage] = true })
		d.create(d.furniture()...)
		d.create(d.eur())
		d.awaitReason("eur", v1alpha1.ReasonImagePull)
	},
}

// TestQuiet forces passes where nothing has changed: by annotations that mean
// nothing, by a resync of everything, and by a restart. None may write.
func TestQuiet(t *testing.T) {
	for name, settle := range settledStates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.options.resync = resync
			d.start()
			settle(d)
			d.silent()
			d.writesNothing("annotations on everything", d.annotateAll)
			d.writesNothing("a resync of everything", func() {
				o := d.current()
				before := o.activity.passed()
				began := time.Now()
				d.until("two resyncs", func() error {
					if time.Since(began) < 2*resync || name != "waiting for a policy" && name != "refused" && o.activity.passed() == before {
						return errors.New("not yet")
					}
					return nil
				})
			})
			d.options.fault = &fault{}
			d.restart()
			d.silent()
			if passed := d.current().activity.passed(); passed == 0 {
				t.Error("the restarted operator has not looked at anything")
			}
			if writes := d.current().transport.written(); len(writes) > 0 {
				tally.findings.Add(1)
				t.Errorf("a restart made the operator write: %v", writes)
			}
		})
	}
}

// silent waits until the operator has written nothing for long enough. Its
// resyncs keep it from being quiet.
func (d *desk) silent() {
	d.t.Helper()
	d.until("no more writes", func() error {
		o := d.current()
		for _, latest := range []time.Time{o.transport.lastWrite(), d.records.lastChange(), d.world.lastAct()} {
			if time.Since(latest) < 2*settled {
				return errors.New("the desk is written to still")
			}
		}
		return nil
	})
}

func (d *desk) writesNothing(what string, force func()) {
	d.t.Helper()
	d.current().transport.arm(fault{})
	force()
	d.silent()
	if writes := d.current().transport.written(); len(writes) > 0 {
		tally.findings.Add(1)
		d.t.Errorf("%s made the operator write: %v", what, writes)
	}
}

// annotateAll changes every object of the desk in a way that matters to nobody.
func (d *desk) annotateAll() {
	d.t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/touched":"yes"}}}`))
	for _, object := range d.records.all() {
		touched := object.DeepCopy()
		if err := server.Client.Patch(d.ctx, touched, patch); err != nil {
			d.t.Fatal(err)
		}
	}
}
