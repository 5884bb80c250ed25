package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// watched is a database whose chains tests move, and what the controller asks of it.
type watched struct {
	*Reconciler

	clock    *testingclock.FakePassiveClock
	recorder *events.FakeRecorder
	object   *v1alpha1.Ledger
	footing  ledger.Footing
	anchors  int
	told     []string
	fails    error
}

func watch() *watched {
	w := &watched{
		clock: testingclock.NewFakePassiveClock(now), recorder: events.NewFakeRecorder(10),
		object:  &v1alpha1.Ledger{ObjectMeta: metav1.ObjectMeta{Generation: 1}},
		footing: ledger.Footing{Anchor: ledger.Anchor{Agents: 1, Links: 10, Epochs: 1, SystemIdentifier: "1", Timeline: 1}},
	}
	w.Reconciler = &Reconciler{
		Tools: reconcile.Tools{Clock: w.clock, Reporter: &reconcile.Reporter{Recorder: w.recorder}},
		Anchor: func(context.Context, string) (ledger.Anchor, error) {
			if w.fails != nil {
				return ledger.Anchor{}, w.fails
			}
			w.anchors++
			w.footing.Serial++
			w.footing.Digest = strings.Repeat("a", 63) + string(rune('0'+w.footing.Serial%10))
			return w.footing.Anchor, nil
		},
		Forget: func(_ context.Context, _, reason string) (int64, error) {
			if w.fails != nil {
				return 0, w.fails
			}
			w.told = append(w.told, reason)
			w.footing.Unproven = 1
			return 1, nil
		},
	}
	return w
}

// look is one pass, and what it leaves of the condition.
func (w *watched) look() (metav1.ConditionStatus, string) {
	footing := w.footing
	w.hold(context.Background(), "postgres://", w.object, &finding{server: ledger.ServerInfo{Footing: &footing}})
	condition := reconcile.StatusOf(w.object).Get(v1alpha1.ConditionIntact)
	if condition == nil {
		return "", ""
	}
	return condition.Status, condition.Reason
}

// The status follows the chains once an hour, and only if they have grown.
func TestAnchorsAreRare(t *testing.T) {
	w := watch()
	for range 3 {
		if status, reason := w.look(); status != metav1.ConditionTrue || reason != v1alpha1.ReasonLedgerIntact {
			t.Fatalf("Intact is %s, %s", status, reason)
		}
	}
	if w.anchors != 1 || w.object.Status.Anchor.Serial != 1 {
		t.Fatalf("%d anchors after three looks, want the first alone", w.anchors)
	}
	kept := w.object.DeepCopy()
	w.clock.SetTime(now.Add(24 * time.Hour))
	w.look()
	if w.anchors != 1 {
		t.Error("an anchor was taken of chains that have not grown")
	}
	w.footing.Links++
	w.clock.SetTime(now.Add(anchorPause - time.Second))
	w.look()
	if w.anchors != 1 || !kept.Status.Anchor.Time.Equal(w.object.Status.Anchor.Time) {
		t.Error("an anchor was taken within the hour")
	}
	w.clock.SetTime(now.Add(anchorPause))
	w.look()
	if w.anchors != 2 || *w.object.Status.Anchor.Links != 11 {
		t.Errorf("%d anchors an hour later, the last of %d links", w.anchors, *w.object.Status.Anchor.Links)
	}
}

// A database that has forgotten is told to its agents once, stays told until they
// have proven their orders, and is then held to what it has.
func TestForgottenIsToldOnce(t *testing.T) {
	for name, forget := range map[string]func(*ledger.Footing){
		"a restored copy": func(f *ledger.Footing) { f.Links, f.Serial, f.Digest = 5, 0, "" },
		"a fail-over":     func(f *ledger.Footing) { f.Timeline = 2 },
		"another cluster": func(f *ledger.Footing) { f.SystemIdentifier = "2" },
		"an empty one": func(f *ledger.Footing) {
			*f = ledger.Footing{Anchor: ledger.Anchor{SystemIdentifier: "1", Timeline: 1}}
		},
		"replaced anchors": func(f *ledger.Footing) { f.Digest = strings.Repeat("f", 64) },
	} {
		t.Run(name, func(t *testing.T) {
			w := watch()
			w.look()
			forget(&w.footing)
			for range 3 {
				w.clock.SetTime(w.clock.Now().Add(2 * anchorPause))
				if status, reason := w.look(); status != metav1.ConditionFalse || reason != v1alpha1.ReasonLedgerForgot {
					t.Fatalf("Intact is %s, %s", status, reason)
				}
			}
			if len(w.told) != 1 || len(w.recorder.Events) != 1 || w.anchors != 1 {
				t.Errorf("told %q, %d events, %d anchors", w.told, len(w.recorder.Events), w.anchors)
			}
			w.footing.Unproven = 0
			if status, _ := w.look(); status != metav1.ConditionTrue || w.anchors != 2 {
				t.Errorf("after all was proven Intact is %s, with %d anchors", status, w.anchors)
			}
			if status, _ := w.look(); status != metav1.ConditionTrue || w.anchors != 2 || len(w.told) != 1 {
				t.Errorf("one look later Intact is %s, with %d anchors, told %d times", status, w.anchors, len(w.told))
			}
		})
	}
}

// What the database refuses is said, and tried again.
func TestAnchorsThatCannotBeTaken(t *testing.T) {
	w := watch()
	w.fails = errors.New("permission denied for function anchor")
	if status, reason := w.look(); status != metav1.ConditionUnknown || reason != v1alpha1.ReasonLedgerNotAnchored {
		t.Errorf("Intact is %s, %s", status, reason)
	}
	w.fails = nil
	w.look()
	w.footing.Links, w.fails = 1, errors.New("permission denied for function forget")
	if status, reason := w.look(); status != metav1.ConditionUnknown || reason != v1alpha1.ReasonLedgerNotAnchored {
		t.Errorf("Intact is %s, %s", status, reason)
	}
	w.fails = nil
	if status, reason := w.look(); status != metav1.ConditionFalse || reason != v1alpha1.ReasonLedgerForgot {
		t.Errorf("Intact is %s, %s", status, reason)
	}
	unanswered := &v1alpha1.Ledger{}
	w.hold(context.Background(), "", unanswered, &finding{err: errors.New("no answer")})
	if unanswered.Status.Anchor != nil || len(unanswered.Status.Conditions) != 0 {
		t.Errorf("a database that does not answer left %+v", unanswered.Status)
	}
}

// Prometheus hears of a database that has forgotten, of none whose answer is not
// known, and nothing of a ledger that is gone.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	w := watch()
	w.object.Namespace, w.object.Name = "desk", "main"
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"intact", func() { w.look() }, "trading_ledger_intact{name=\"main\",namespace=\"desk\"} 1\n"},
		{"forgotten", func() { w.footing.Links = 1; w.look() }, "trading_ledger_intact{name=\"main\",namespace=\"desk\"} 0\n"},
		{"not known", func() {
			w.footing.Unproven, w.fails = 0, errors.New("permission denied for function anchor")
			w.look()
		}, ""},
	} {
		step.do()
		metrics.tell(w.object)
		want := step.want
		if want != "" {
			want = "# HELP trading_ledger_intact 1 if the ledger's database has what it had when it was last anchored, 0 if it has forgotten something (the condition Intact); absent while that is not known.\n# TYPE trading_ledger_intact gauge\n" + want
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "trading_ledger_intact"); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	reconcile.StatusOf(w.object).Set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLedgerForgot, "", now)
	metrics.tell(w.object)
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 1 {
		t.Errorf("%d series of a ledger that is not ready, %v", n, err)
	}
	metrics.forget(types.NamespacedName{Namespace: "desk", Name: "main"})
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Errorf("%d series of a ledger that is gone, %v", n, err)
	}
}
