//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// unready tells whether an agent is known not to be Ready.
func (d *desk) unready(name string) func() error {
	return func() error {
		agent, ok := d.readAgent(name)
		if !ok {
			return errors.New("there is no such agent")
		}
		if ready := reconcile.StatusOf(agent).Get(v1alpha1.ConditionReady); ready == nil || ready.Status != "False" {
			return fmt.Errorf("Ready is %+v", ready)
		}
		return nil
	}
}

// touch changes something of an agent that means nothing to anybody.
func (d *desk) touch(name string) {
	d.t.Helper()
	edit(d, d.agent(name), func(agent *v1alpha1.TradingAgent) {
		if agent.Annotations == nil {
			agent.Annotations = map[string]string{}
		}
		agent.Annotations["touched"] += "+"
	})
}

// play runs a scenario on a desk of its own, with a fault at the operator's writes.
// It returns these and whether the operator has crashed.
func (s scenario) play(d *desk, f fault) (writes []string, crashed bool) {
	d.t.Helper()
	if s.options.release != (release{}) {
		d.options = s.options
	}
	if d.options.elect {
		d.allowLeading()
	}
	first := d.start()
	if s.before != nil {
		s.before(d)
		d.quiet()
	}
	if s.upgrade == (release{}) {
		first.transport.arm(f)
	} else {
		d.options.release, d.options.fault = s.upgrade, &f
		d.restart()
		first, d.options.fault = d.current(), nil
	}
	if f.onWrite != nil {
		f.onWrite(0)
	}
	stop := d.attend()
	s.act(d)
	d.quiet()
	return first.transport.written(), stop()
}

// judge checks what must hold of every run of the scenario.
func (s scenario) judge(d *desk) {
	d.t.Helper()
	for _, breach := range breaches(d.records.history()) {
		tally.findings.Add(1)
		d.t.Error(breach)
	}
	counts := d.outcome().counts
	for agent, wanted := range s.pods {
		if got := counts["Pod/"+d.podName(agent)]; got != wanted {
			tally.findings.Add(1)
			d.t.Errorf("the pod of %s was created and deleted %v times, wanted %v", agent, got, wanted)
		}
	}
}

// become waits until the desk is as it should be, and stays so.
func (d *desk) become(wanted outcome) {
	d.t.Helper()
	difference := ""
	d.eventually(func() bool {
		difference = d.outcome().differs(wanted)
		return difference == ""
	}, func() {
		d.t.Errorf("this is left (+) where the undisturbed run has left something else (-):\n%s", difference)
	})
}

// eventually waits until a quiet desk is as it should be, and counts a difference
// if it does not become so.
func (d *desk) eventually(equal func() bool, complain func()) {
	d.t.Helper()
	err := wait.PollUntilContextTimeout(d.ctx, 4*interval, converge, true, func(context.Context) (bool, error) {
		return d.isQuiet() && equal(), nil
	})
	if err != nil {
		tally.findings.Add(1)
		complain()
	}
}

// baseline is what undisturbed runs of a scenario leave.
type baseline struct {
	once   sync.Once
	wanted outcome
	writes int
	failed bool
}

var baselines sync.Map

// undisturbed plays a scenario twice without any fault, the first time that it is
// asked. Both must leave the same, or nothing could be concluded from a
// difference.
func (s scenario) undisturbed(t *testing.T) (outcome, int) {
	t.Helper()
	found, _ := baselines.LoadOrStore(s.name, &baseline{})
	b := found.(*baseline)
	b.once.Do(func() {
		b.failed = true
		first := newDesk(t)
		writes, _ := s.play(first, fault{})
		s.judge(first)
		b.wanted = first.outcome()
		second := newDesk(t)
		again, _ := s.play(second, fault{})
		second.become(b.wanted)
		b.writes = max(len(writes), len(again))
		tally.Lock()
		tally.scenarios[s.name] = b.writes
		tally.Unlock()
		b.failed = t.Failed()
	})
	if b.failed {
		t.Fatal("the undisturbed run has failed")
	}
	return b.wanted, b.writes
}

// TestCrashAtEveryWrite kills the operator before each of its writes, and in
// another run after it has taken effect and before its answer has come. A fresh
// operator must bring the desk to where the undisturbed one did, with as many
// objects created and deleted.
func TestCrashAtEveryWrite(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wanted, writes := s.undisturbed(t)
			t.Logf("%d writes", writes)
			for k := 1; k <= writes; k++ {
				for _, lost := range []bool{false, true} {
					if s.sampled && !long && !chosen(s.name, k, lost) {
						continue
					}
					t.Run(fmt.Sprintf("%s %d", map[bool]string{false: "before", true: "after"}[lost], k), func(t *testing.T) {
						t.Parallel()
						s.crash(t, wanted, k, lost)
					})
				}
			}
		})
	}
}

func (s scenario) crash(t *testing.T, wanted outcome, k int, lost bool) {
	t.Helper()
	d := newDesk(t)
	writes, crashed := s.play(d, fault{crashAt: k, lost: lost})
	if crashed {
		tally.crashes.Add(1)
		t.Logf("crashed at %s", writes[k-1])
	}
	d.become(wanted)
	s.judge(d)
}

// chosen draws about one crash in eight of a scenario that has too many.
func chosen(name string, k int, lost bool) bool {
	sum := seed + k*7
	for _, letter := range name {
		sum += int(letter)
	}
	if lost {
		sum += 3
	}
	return sum%8 == 0
}
