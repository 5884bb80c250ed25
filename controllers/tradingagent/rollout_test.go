package tradingagent

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// rollingOut is an agent that was Ready with a first revision and has a second
// one now, whose pod has been failing for the given time.
func rollingOut(since time.Duration) *scope {
	s := whole()
	first := *desiredRevision(s.agent, s.wanted, 1)
	s.revisions = []appsv1.ControllerRevision{first}
	s.agent.Spec.Image = "registry.example/trading-agent:broken"
	settle(s)
	s.good, _ = storedRevision(s.revisions, first.Name)
	withPod(s)
	s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
	s.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	s.agent.Status.Revision = &v1alpha1.RevisionStatus{Current: s.wanted.name, Since: new(metav1.NewTime(now.Add(-since))), Good: first.Name}
	// What the agent needs had been there for long.
	for _, status := range []reconcile.Status{reconcile.StatusOf(s.ledger), reconcile.StatusOf(s.account)} {
		status.Get(v1alpha1.ConditionReady).LastTransitionTime = metav1.NewTime(now.Add(-time.Hour))
	}
	return s
}

func TestRollout(t *testing.T) {
	for _, test := range []struct {
		name     string
		since    time.Duration
		change   func(*scope)
		reason   string
		given    bool
		comeBack time.Duration
	}{
		{"within the deadline", 4 * time.Minute, nil, v1alpha1.ReasonPodFailed, false, time.Minute},
		{"past the deadline", 5 * time.Minute, nil, v1alpha1.ReasonRolledBack, true, 0},
		{"a deadline of its own", time.Minute, func(s *scope) { s.agent.Spec.ProgressDeadlineSeconds = 30 }, v1alpha1.ReasonRolledBack, true, 0},
		{"an image that cannot be pulled", 5 * time.Minute, func(s *scope) {
			s.pod.Status.ContainerStatuses[0].State.Waiting.Reason = "ImagePullBackOff"
		}, v1alpha1.ReasonRolledBack, true, 0},
		{"by hand", 5 * time.Minute, func(s *scope) { s.agent.Spec.Rollback = v1alpha1.RollbackManual }, v1alpha1.ReasonRolloutFailed, false, 0},
		{"nothing was good yet", 5 * time.Minute, func(s *scope) { s.good, s.agent.Status.Revision.Good = nil, "" }, v1alpha1.ReasonRolloutFailed, false, 0},
		{"a pod that no node takes", 5 * time.Minute, func(s *scope) {
			s.pod.Spec.NodeName, s.pod.Status.ContainerStatuses = "", nil
		}, v1alpha1.ReasonPodStarting, false, 0},
		{"a node that is lost", 5 * time.Minute, func(s *scope) {
			s.node = &corev1.Node{ObjectMeta: meta("node-1"), Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}
		}, v1alpha1.ReasonNodeLost, false, 0},
		{"a ledger that is down", 5 * time.Minute, func(s *scope) {
			s.pod.Status.ContainerStatuses = nil
			s.agent.Status.Trading = &v1alpha1.TradingStatus{PodUID: "pod-uid", State: v1alpha1.TradingReduceOnly, Reason: v1alpha1.ReasonLedgerUnavailable}
		}, v1alpha1.ReasonLedgerUnavailable, false, 0},
		{"a ledger that was down until a moment ago", 5 * time.Minute, func(s *scope) {
			reconcile.StatusOf(s.ledger).Get(v1alpha1.ConditionReady).LastTransitionTime = metav1.NewTime(now.Add(-time.Minute))
		}, v1alpha1.ReasonPodFailed, false, 4 * time.Minute},
		{"the old pod has not ended yet", 5 * time.Minute, func(s *scope) {
			s.pod.Annotations[templateHashAnnotation] = "old"
		}, v1alpha1.ReasonPodFailed, false, 0},
		{"a revision that was good and has another trouble now", time.Hour, func(s *scope) {
			s.agent.Status.Revision.Good = s.wanted.name
		}, v1alpha1.ReasonPodFailed, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := rollingOut(test.since)
			if test.change != nil {
				test.change(s)
				s.settings, _ = v1alpha1.Resolve(s.agent, s.policy)
			}
			outcome := report(s)
			told := s.agent.Status.Revision
			if outcome.Reason() != test.reason || (told.Failed != nil) != test.given || outcome.After() != test.comeBack {
				t.Fatalf("got %s after %s, failed %+v: %s", outcome.Reason(), outcome.After(), told.Failed, outcome.Message())
			}
			if !test.given {
				return
			}
			if !outcome.Stalled() || !strings.Contains(outcome.Message(), told.Failed.Reason) || told.Failed.Name != s.wanted.name {
				t.Errorf("the evidence is missing: %s; %+v", outcome.Message(), told.Failed)
			}
			if target := s.targetRevision(); target != s.good {
				t.Errorf("the next pass brings the agent to %s", target.name)
			}
		})
	}
}

func TestAfterARollback(t *testing.T) {
	given := func() *scope {
		s := rollingOut(5 * time.Minute)
		report(s)
		return s
	}
	running := func(s *scope) *scope {
		s.target = s.targetRevision()
		s.hash, _ = templateHash(s)
		withTrading(s)
		return s
	}
	t.Run("the object stays Stalled with its evidence while the good revision works", func(t *testing.T) {
		s := running(given())
		before := s.agent.Status.Revision.Good
		outcome := report(s)
		told := s.agent.Status.Revision
		if outcome.Reason() != v1alpha1.ReasonRolledBack || !outcome.Stalled() || told.Failed == nil || told.Good != before || told.Current != before {
			t.Errorf("got %s: %s; %+v", outcome.Reason(), outcome.Message(), told)
		}
		if s.pod.Spec.Containers[0].Image != defaultImage {
			t.Errorf("the pod runs %s", s.pod.Spec.Containers[0].Image)
		}
	})
	t.Run("limits and trading are those of the newest spec", func(t *testing.T) {
		s := given()
		s.agent.Spec.Trading = v1alpha1.TradingHalted
		s.agent.Spec.Limits = &v1alpha1.Limits{Agent: &v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(1))}}
		spec := s.agent.Spec.DeepCopy()
		s.good.content.Into(spec)
		if spec.Trading != v1alpha1.TradingHalted || spec.Limits == nil {
			t.Errorf("they were rolled back: %+v", spec)
		}
		if settle(s); s.targetRevision() != s.good {
			t.Error("a change that needs no new process ends the rollback")
		}
	})
	for name, edit := range map[string]func(*scope){
		"a corrected spec":   func(s *scope) { s.agent.Spec.Image = "registry.example/trading-agent:3" },
		"the good spec":      func(s *scope) { s.agent.Spec.Image = "" },
		"a change to Manual": func(s *scope) { s.agent.Spec.Rollback = v1alpha1.RollbackManual },
	} {
		t.Run(name+" ends it", func(t *testing.T) {
			s := given()
			edit(s)
			settle(s)
			if s.target != s.wanted {
				t.Fatalf("brought to %s", s.target.name)
			}
			withTrading(s)
			outcome := report(s)
			told := s.agent.Status.Revision
			if !outcome.IsDone() || told.Failed != nil || told.Good != s.wanted.name {
				t.Errorf("got %s, %+v", outcome.Reason(), told)
			}
		})
	}
}

// An edit that cannot be right must not be what a lost pod comes back with.
func TestALostPodComesBackAsItWas(t *testing.T) {
	for _, test := range []struct {
		name    string
		dataset string
		lost    bool
		good    bool
	}{
		{"a wrong data set, and the pod is lost", "sample/nothing", true, true},
		{"a wrong data set, and the pod is there", "sample/nothing", false, false},
		{"a good edit, and the pod is lost", "sample/eurusd-1h", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := rollingOut(0)
			s.agent.Finalizers = []string{v1alpha1.AgentFinalizer}
			s.agent.Spec.MarketData.Replay.Dataset = test.dataset
			settle(s)
			s.good, _ = storedRevision(s.revisions, s.agent.Status.Revision.Good)
			if test.lost {
				s.pod = nil
			}
			if got := s.targetRevision() == s.good; got != test.good {
				t.Errorf("comes back with the good revision: %v", got)
			}
		})
	}
}

func TestWantedRevision(t *testing.T) {
	const newDefault = "registry.example/trading-agent:2"
	s := whole()
	stored := []appsv1.ControllerRevision{*desiredRevision(s.agent, s.wanted, 1)}
	good := s.agent.DeepCopy()
	good.Status.Revision = &v1alpha1.RevisionStatus{Current: s.wanted.name, Good: s.wanted.name}
	t.Run("a new default image restarts no agent that was Ready", func(t *testing.T) {
		wanted, err := wantedRevision(good, stored, newDefault)
		if err != nil || wanted.content.Image != defaultImage || !wanted.stored {
			t.Errorf("got %+v, %v", wanted, err)
		}
	})
	t.Run("a corrected default reaches an agent that never was", func(t *testing.T) {
		wanted, err := wantedRevision(s.agent, stored, newDefault)
		if err != nil || wanted.content.Image != newDefault || wanted.stored {
			t.Errorf("got %+v, %v", wanted, err)
		}
	})
	t.Run("an edit takes up the new default", func(t *testing.T) {
		agent := good.DeepCopy()
		agent.Spec.Sizing = &v1alpha1.SizingSpec{RiskFraction: "0.02"}
		wanted, err := wantedRevision(agent, stored, newDefault)
		if err != nil || wanted.content.Image != newDefault || wanted.stored {
			t.Errorf("got %+v, %v", wanted, err)
		}
	})
	t.Run("an image that is taken out of the spec again gives way to the default", func(t *testing.T) {
		agent := s.agent.DeepCopy()
		agent.Spec.Image = "registry.example/trading-agent:own"
		own, err := wantedRevision(agent, nil, defaultImage)
		if err != nil {
			t.Fatal(err)
		}
		agent.Status.Revision = &v1alpha1.RevisionStatus{Current: own.name, Good: own.name}
		agent.Spec.Image = ""
		wanted, err := wantedRevision(agent, []appsv1.ControllerRevision{*desiredRevision(agent, own, 1)}, defaultImage)
		if err != nil || wanted.content.Image != defaultImage {
			t.Errorf("got %+v, %v", wanted, err)
		}
	})
	t.Run("an agent of the same name that came before has other revisions", func(t *testing.T) {
		agent := s.agent.DeepCopy()
		agent.UID = types.UID("another")
		wanted, err := wantedRevision(agent, stored, defaultImage)
		if err != nil || wanted.name == s.wanted.name || wanted.stored {
			t.Errorf("got %+v, %v", wanted, err)
		}
	})
	t.Run("one that cannot be read says so", func(t *testing.T) {
		broken := stored[0].DeepCopy()
		broken.Data.Raw = []byte("{")
		if _, err := wantedRevision(s.agent, []appsv1.ControllerRevision{*broken}, defaultImage); err == nil {
			t.Error("no error")
		}
	})
}

func TestForgettable(t *testing.T) {
	stored := make([]appsv1.ControllerRevision, 0, 8)
	for number := range int64(8) {
		stored = append(stored, appsv1.ControllerRevision{ObjectMeta: meta(string(rune('a' + number))), Revision: number})
	}
	named := func(old appsv1.ControllerRevision, name string) bool { return old.Name == name }
	if old := forgettable(stored, []string{"a", "h"}); !slices.EqualFunc(old, []string{"b", "c", "d"}, named) {
		t.Errorf("forgets %v", old)
	}
	if old := forgettable(stored[:revisionHistory], nil); old != nil {
		t.Errorf("forgets %d of %d", len(old), revisionHistory)
	}
}
