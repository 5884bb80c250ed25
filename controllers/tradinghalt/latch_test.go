package tradinghalt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

// databases are ledgers by their URIs; one without an entry does not answer.
type databases map[string]*ledger.Memory

var errAway = errors.New("the database does not answer")

func (d databases) world() World {
	return World{
		Latch: func(ctx context.Context, uri string, bound map[string]ledger.LatchedHalt) error {
			book := d[uri]
			if book == nil {
				return errAway
			}
			for agent, halt := range bound {
				if err := book.Latch(ctx, agent, halt); err != nil {
					return err
				}
			}
			return nil
		},
		Bound: func(ctx context.Context, uri, haltUID string) ([]string, error) {
			book := d[uri]
			if book == nil {
				return nil, errAway
			}
			latched, err := book.Latched(ctx, "eur")
			if len(latched) == 1 && latched[0].UID == haltUID {
				return []string{"eur"}, err
			}
			return nil, err
		},
		Unlatch: func(ctx context.Context, uri, haltUID, by, reason string) error {
			book := d[uri]
			if book == nil {
				return errAway
			}
			return book.Unlatch(ctx, haltUID, by, reason)
		},
	}
}

// operatorOn is an operator that has just begun to lead.
func operatorOn(api client.Client, kept databases) *Reconciler {
	r := &Reconciler{
		New:   func() v1alpha1.Halt { return &v1alpha1.TradingHalt{} },
		World: kept.world(), taken: map[process]steps{}, seen: map[process]time.Time{}, bonds: map[client.ObjectKey]*bonds{},
	}
	r.Client, r.Live, r.Clock = api, api, clocktesting.NewFakePassiveClock(time.Now())
	return r
}

// deskOf is an agent without a process, and two accounts, each with its ledger.
func deskOf(t *testing.T) (client.Client, *v1alpha1.TradingAgent, *v1alpha1.TradingHalt) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "desk", Name: name, UID: types.UID(name)}
	}
	agent := &v1alpha1.TradingAgent{ObjectMeta: meta("eur"), Spec: v1alpha1.TradingAgentSpec{AccountRef: v1alpha1.ObjectReference{Name: "one"}}}
	agent.Labels = map[string]string{"team": "eur"}
	halt := &v1alpha1.TradingHalt{ObjectMeta: meta("halt"), Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"}, Reason: "a test", RequestedBy: "ada",
	}}
	objects := make([]client.Object, 0, 8)
	objects = append(objects, agent, halt)
	for _, name := range []string{"one", "two"} {
		account := &v1alpha1.TradingAccount{ObjectMeta: meta(name), Spec: v1alpha1.TradingAccountSpec{LedgerRef: v1alpha1.ObjectReference{Name: name}}}
		kept := &v1alpha1.Ledger{ObjectMeta: meta(name)}
		kept.Spec.URISecretRef.Name, kept.Spec.URISecretRef.Key = name, "uri"
		objects = append(objects, account, kept, &corev1.Secret{ObjectMeta: meta(name), Data: map[string][]byte{"uri": []byte(name)}})
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), agent, halt
}

// An agent without a process stays bound, whatever is edited and whoever leads: the
// ledger that it would come up with knows of the halt.
func TestAnAbsentAgentStaysBound(t *testing.T) {
	api, agent, halt := deskOf(t)
	kept := databases{}
	first := operatorOn(api, kept)
	pass := func(r *Reconciler, want, message string) {
		t.Helper()
		members, outside, err := r.gather(t.Context(), halt)
		if err != nil {
			t.Fatal(err)
		}
		outcome := r.count(t.Context(), halt, members, outside)
		status := halt.Status
		if got := fmt.Sprint(*status.Matched, *status.Absent); got != want || !strings.Contains(outcome.Message(), message) {
			t.Errorf("matched and absent are %s, want %s; %q does not say %q", got, want, outcome.Message(), message)
		}
	}
	edit := func(change func()) {
		t.Helper()
		change()
		if err := api.Update(t.Context(), agent); err != nil {
			t.Fatal(err)
		}
	}
	pass(first, "1 0", "desk/eur: the database does not answer")
	edit(func() { agent.Labels = nil })
	pass(first, "1 0", "desk/eur: the database does not answer")
	kept["one"], kept["two"] = ledger.NewMemory(), ledger.NewMemory()
	pass(first, "1 1", "come up halted")

	edit(func() { agent.Spec.AccountRef.Name = "two" })
	pass(first, "1 1", "come up halted")
	if latched, err := kept["two"].Latched(t.Context(), "eur"); err != nil || len(latched) != 1 {
		t.Errorf("the ledger of another account has latched %v, %v", latched, err)
	}
	second := operatorOn(api, kept)
	pass(second, "1 1", "come up halted")

	away := kept["two"]
	delete(kept, "two")
	halt.Spec.Release = &v1alpha1.HaltRelease{By: "ada", Reason: "over"}
	for _, r := range []*Reconciler{second, operatorOn(api, kept)} {
		members, outside, err := r.gather(t.Context(), halt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.release(t.Context(), halt, append(members, outside...)); err == nil || !strings.Contains(err.Error(), errAway.Error()) {
			t.Errorf("a release that the ledger has not recorded: %v", err)
		}
	}
	kept["two"] = away
	members, outside, err := second.gather(t.Context(), halt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.release(t.Context(), halt, append(members, outside...)); err != nil {
		t.Error(err)
	}
	if left, err := away.Latched(t.Context(), "eur"); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// What is latched for an agent is what its own process would latch.
func TestWhatIsLatched(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*v1alpha1.TradingHaltSpec)
		want ledger.LatchedHalt
	}{
		"nothing said":   {func(*v1alpha1.TradingHaltSpec) {}, ledger.LatchedHalt{State: "Halted", Task: "CancelOrders"}},
		"reduce only":    {func(s *v1alpha1.TradingHaltSpec) { s.State, s.Task = v1alpha1.HaltReduceOnly, v1alpha1.HaltKeep }, ledger.LatchedHalt{State: "ReduceOnly", Task: "Keep"}},
		"unknown words":  {func(s *v1alpha1.TradingHaltSpec) { s.State, s.Task = "Frozen", "Burn" }, ledger.LatchedHalt{State: "Halted", Task: "CancelOrders"}},
		"one of its own": {func(s *v1alpha1.TradingHaltSpec) { s.Task = v1alpha1.HaltFlatten }, ledger.LatchedHalt{State: "Halted", Task: "Flatten"}},
	} {
		api, _, halt := deskOf(t)
		c.edit(&halt.Spec)
		kept := databases{"one": ledger.NewMemory()}
		r := operatorOn(api, kept)
		members, outside, err := r.gather(t.Context(), halt)
		if err != nil {
			t.Fatal(err)
		}
		r.count(t.Context(), halt, members, outside)
		latched, err := kept["one"].Latched(t.Context(), "eur")
		c.want.UID, c.want.Name, c.want.Reason = "halt", "TradingHalt/halt", "a test"
		same := func(a, b ledger.LatchedHalt) bool {
			return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
		}
		if err != nil || !slices.EqualFunc(latched, []ledger.LatchedHalt{c.want}, same) {
			t.Errorf("%s: %+v, %v; want %+v", name, latched, err, c.want)
		}
	}
}
