package tradinghalt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// mostNamed is how many agents a status names.
const mostNamed = 10

// fencePause is how soon steps against agents that are overdue are taken again.
const fencePause = 2 * time.Second

// report writes into a halt's status who has obeyed it.
func report(halt v1alpha1.Halt, members []member, now time.Time) reconcile.Outcome {
	status := halt.HaltStatus()
	status.Scope = halt.HaltSpec().Scope.String()
	var acknowledged, done, absent, overdue int
	var next time.Duration
	var first, last *metav1.MicroTime
	status.OverdueAgents = nil
	for i := range members {
		m := &members[i]
		switch {
		case m.told != nil:
			acknowledged++
			first, last = earliest(first, m.told.AcknowledgedTime), latest(last, m.told.AcknowledgedTime)
			if m.told.State == v1alpha1.HaltDone {
				done++
			}
		case m.absent && m.loose != nil:
			next = sooner(next, latchPause)
		case m.absent:
			absent++
		case m.overdue(halt, now):
			overdue++
			if len(status.OverdueAgents) < mostNamed {
				status.OverdueAgents = append(status.OverdueAgents, m.fenced)
			}
		default:
			next = sooner(next, m.acknowledgedBy(halt).Sub(now))
		}
	}
	slices.SortFunc(status.OverdueAgents, func(a, b v1alpha1.OverdueAgent) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	status.Matched, status.Acknowledged, status.Done = reconcile.Count(len(members)), reconcile.Count(acknowledged), reconcile.Count(done)
	status.Absent, status.Overdue = reconcile.Count(absent), reconcile.Count(overdue)
	if status.EnforcedTime == nil || status.FirstAcknowledgedTime == nil {
		// What comes later is the word of processes that have begun later, unless
		// nobody had a process when the halt was enforced.
		status.FirstAcknowledgedTime, status.LastAcknowledgedTime = first, last
	}
	if overdue > 0 {
		next = sooner(next, fencePause)
	}
	return conclude(halt, len(members), acknowledged, done, absent, overdue, looseWords(members), next, now)
}

// conclude sets Enforced.
func conclude(halt v1alpha1.Halt, matched, acknowledged, done, absent, overdue int, loose string, next time.Duration, now time.Time) reconcile.Outcome {
	status := reconcile.StatusOf(halt)
	switch {
	case overdue > 0:
		message := fmt.Sprintf("%d of %d agents have not acknowledged within %s and are fenced", overdue, matched, halt.HaltSpec().Deadline()) + loose
		status.Set(v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonHaltOverdue, message, now)
		return reconcile.Wait(v1alpha1.ReasonHaltOverdue, message, next)
	case done+absent < matched:
		message := fmt.Sprintf("of %d agents %d have acknowledged and %d are done", matched-absent, acknowledged, done) + loose
		status.Set(v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonHaltInForce, message, now)
		return reconcile.Wait(v1alpha1.ReasonHaltInForce, message, next)
	}
	message := fmt.Sprintf("all of %d agents are done", matched-absent)
	if absent > 0 {
		message += fmt.Sprintf("; %d more have no process and come up halted", absent)
	}
	if halt.HaltStatus().EnforcedTime == nil {
		halt.HaltStatus().EnforcedTime = new(metav1.NewMicroTime(now))
	}
	status.Set(v1alpha1.ConditionEnforced, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced, message, now)
	return reconcile.Done(v1alpha1.ReasonHaltEnforced, message)
}

// sooner of two spans, of which zero is none.
func sooner(a, b time.Duration) time.Duration {
	b = max(b, time.Millisecond)
	if a == 0 || b < a {
		return b
	}
	return a
}

func earliest(a, b *metav1.MicroTime) *metav1.MicroTime {
	if a == nil || b != nil && b.Time.Before(a.Time) {
		return b
	}
	return a
}

func latest(a, b *metav1.MicroTime) *metav1.MicroTime {
	if a == nil || b != nil && b.After(a.Time) {
		return b
	}
	return a
}
