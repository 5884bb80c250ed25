//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// maxLag is how far a watch falls behind the operator's own writes.
const maxLag = 400 * time.Millisecond

// chances draws what is drawn, the same again for the same seed.
func chances(number int) *rand.Rand {
	//nolint:gosec // what is drawn must be drawn again from the printed seed
	return rand.New(rand.NewPCG(uint64(seed), uint64(number)))
}

// TestStaleViews plays every scenario with an operator whose watches come late,
// each piece by another time, while its writes take effect at once.
func TestStaleViews(t *testing.T) {
	for i, s := range scenarios() {
		if s.sampled || s.options.elect {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wanted, _ := s.undisturbed(t)
			rounds := 1
			if long {
				rounds = 8
			}
			for round := range rounds {
				t.Run(fmt.Sprintf("lag %d", round), func(t *testing.T) {
					t.Parallel()
					d := newDesk(t)
					view := newView()
					chance := chances(100*i + round)
					view.lag = func() time.Duration { return time.Duration(chance.Int64N(int64(maxLag))) }
					lagging := s
					lagging.options = operatorOptions{release: newest, view: view}
					lagging.play(d, fault{})
					d.become(wanted)
					s.judge(d)
				})
			}
		})
	}
}

// passes wakes the controller of the agent eur and waits until it has looked a few
// times, or once and has nothing more to do.
func (d *desk) passes(wake func()) {
	d.t.Helper()
	o := d.current()
	before := o.activity.looked("eur")
	wake()
	d.until("passes", func() error {
		passed := o.activity.looked("eur") - before
		if passed < 5 && (passed == 0 || !d.isQuiet()) {
			return fmt.Errorf("there were %d", passed)
		}
		return nil
	})
}

// seeing starts a desk whose operator's view can be held.
func seeing(t *testing.T) (*desk, *view) {
	t.Helper()
	t.Parallel()
	d, v := newDesk(t), newView()
	d.options = operatorOptions{release: newest, view: v}
	d.start()
	return d, v
}

// TestStatusReturnsLate is the lost wake-up that left an agent unready for good:
// its pod went and came back before the operator's first report had returned to
// its cache, so that the second pass found nothing to report.
func TestStatusReturnsLate(t *testing.T) {
	d, v := seeing(t)
	trading(d)
	d.quiet()
	v.hold("tradingagents")
	d.world.set(func(w *world) { w.unready = true })
	d.until("eur is known not to be Ready", d.unready("eur"))
	d.passes(func() { d.world.set(func(w *world) { w.unready = false }) })
	v.release("tradingagents")
	d.awaitTrading("eur")
	d.quiet()
	d.expectPods(tallyOf{1, 0})
}

// TestObedienceReturnsLate hides that an agent has obeyed a halt until its time is
// over. An agent that has obeyed must not be fenced, and counts.
func TestObedienceReturnsLate(t *testing.T) {
	d, v := seeing(t)
	trading(d)
	d.quiet()
	v.hold("tradingagents")
	d.create(d.stop(func(spec *v1alpha1.TradingHaltSpec) { spec.DeadlineSeconds = 1 }))
	d.awaitHalt(v1alpha1.ReasonHaltEnforced)
	v.release("tradingagents")
	d.awaitReason("eur", v1alpha1.ReasonTradingHalt)
	d.quiet()
	d.unfenced()
	d.expectPods(tallyOf{1, 0})
}

// expectPods checks how many pods the agent eur has had.
func (d *desk) expectPods(wanted tallyOf) {
	d.t.Helper()
	if got := d.outcome().counts["Pod/"+d.podName("eur")]; got != wanted {
		tally.findings.Add(1)
		d.t.Errorf("the pod of eur was created and deleted %v times, wanted %v", got, wanted)
	}
	for _, breach := range breaches(d.records.history()) {
		tally.findings.Add(1)
		d.t.Error(breach)
	}
}

// TestOwnPodReturnsLate hides the pod that the operator has created. It must not
// create another, nor complain.
func TestOwnPodReturnsLate(t *testing.T) {
	d, v := seeing(t)
	d.create(d.furniture()...)
	d.quiet()
	v.hold("pods")
	d.create(d.eur())
	d.awaitReason("eur", v1alpha1.ReasonPodCreated)
	for range 5 {
		d.passes(func() { d.touch("eur") })
	}
	v.release("pods")
	d.awaitTrading("eur")
	d.quiet()
	d.expectPods(tallyOf{1, 0})
}

// TestOldAgentReplayed has the operator believe in an agent that was deleted and
// created again under its name, while what the agent waits for appears. Nothing
// may be made for the old one, nor anything of the new one be taken away.
func TestOldAgentReplayed(t *testing.T) {
	for _, furnished := range []bool{false, true} {
		t.Run(map[bool]string{false: "before it ever ran", true: "while it trades"}[furnished], func(t *testing.T) {
			d, v := seeing(t)
			if furnished {
				trading(d)
				edit(d, d.eur(), func(a *v1alpha1.TradingAgent) {
					a.Annotations = map[string]string{v1alpha1.AbandonAnnotation: "true"}
					a.Spec.Endpoint = d.endpoint("traefik")
				})
				d.awaitSeen("eur")
			} else {
				d.create(d.eur())
				d.awaitReason("eur", v1alpha1.ReasonAccountNotFound)
			}
			d.quiet()
			old, _ := d.readAgent("eur")
			if furnished {
				// The finalizer goes when the operator has seen the deletion.
				d.remove(d.eur())
				d.awaitGone("TradingAgent", "eur")
				d.awaitGone("Pod", d.podName("eur"))
				d.travel(v, "tradingagents", old.ResourceVersion)
			} else {
				v.hold("tradingagents")
				d.remove(d.eur())
			}
			d.create(d.eur())
			if !furnished {
				d.create(d.furniture()...)
			}
			d.passes(func() {
				edit(d, d.policy("careful"), func(p *v1alpha1.RiskPolicy) { p.Spec.Order.MaxNotional = "800" })
			})
			for at, object := range d.records.all() {
				for _, owner := range object.GetOwnerReferences() {
					if owner.UID == old.UID {
						t.Errorf("%s belongs to the agent that is gone", at)
					}
				}
			}
			v.release("tradingagents")
			d.awaitTrading("eur")
			d.quiet()
			d.expectPods(map[bool]tallyOf{false: {1, 0}, true: {2, 1}}[furnished])
		})
	}
}

// travel starts another operator that sees a resource as it was at a revision,
// and nothing newer of it until it is released.
func (d *desk) travel(v *view, resource, revision string) {
	d.t.Helper()
	v.remember(resource, revision)
	v.hold(resource)
	d.restart()
}

// TestOldPodReplayed has a fresh operator see the pod of an older spec, where the
// one of the newest runs already. That one must live.
func TestOldPodReplayed(t *testing.T) {
	d, v := seeing(t)
	trading(d)
	d.quiet()
	old := d.pod()
	restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Decision = &v1alpha1.DecisionSpec{IntervalSeconds: 600} })(d)
	d.quiet()
	d.travel(v, "pods", old.ResourceVersion)
	d.passes(func() { d.touch("eur") })
	v.release("pods")
	d.awaitTrading("eur")
	d.quiet()
	d.expectPods(tallyOf{2, 1})
}

// TestOldSpecReplayed has a fresh operator see the agent before its last edit, and
// no pod. None may start from the old spec.
func TestOldSpecReplayed(t *testing.T) {
	d, v := seeing(t)
	trading(d)
	d.quiet()
	old, _ := d.readAgent("eur")
	restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Decision = &v1alpha1.DecisionSpec{IntervalSeconds: 600} })(d)
	d.quiet()
	if err := d.current().kill(); err != nil {
		t.Fatal(err)
	}
	last := d.pod()
	d.remove(last)
	d.awaitGone("Pod", last.Name)
	d.travel(v, "tradingagents", old.ResourceVersion)
	d.passes(func() {})
	v.release("tradingagents")
	d.awaitTrading("eur")
	d.quiet()
	d.expectPods(tallyOf{3, 2})
}

// TestPodDeletedByHandUnseen deletes a pod behind the back of an operator that
// goes on seeing it. Another is made when it learns, and only one.
func TestPodDeletedByHandUnseen(t *testing.T) {
	d, v := seeing(t)
	trading(d)
	d.quiet()
	old := d.pod()
	v.hold("pods")
	d.remove(old)
	d.awaitGone("Pod", old.Name)
	d.passes(func() { d.touch("eur") })
	v.release("pods")
	d.awaitPod(old.UID)
	d.awaitTrading("eur")
	d.quiet()
	d.expectPods(tallyOf{2, 1})
}
