package tradinghalt

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// overdueOn is a halt whose time is over, with the one agent that it binds as the
// cache knows it, and what the API server says of the agent.
func overdueOn(t *testing.T) (r *Reconciler, halt *v1alpha1.TradingHalt, known member, live *v1alpha1.TradingAgent) {
	t.Helper()
	api, _, halt := deskOf(t)
	r = operatorOn(api, databases{})
	r.World.Stop = func(context.Context, *v1alpha1.TradingAccount, []*v1alpha1.AssetPair) error {
		return errors.ErrUnsupported
	}
	r.Reporter = &reconcile.Reporter{Recorder: events.NewFakeRecorder(10)}
	live, account := &v1alpha1.TradingAgent{}, &v1alpha1.TradingAccount{}
	err := errors.Join(
		api.Get(t.Context(), client.ObjectKey{Namespace: "desk", Name: "eur"}, live),
		api.Get(t.Context(), client.ObjectKey{Namespace: "desk", Name: "one"}, account),
	)
	if err != nil {
		t.Fatal(err)
	}
	live.Status.PodUID, live.Status.PodName = "pod-1", "eur-trader"
	begun := r.Clock.Now()
	halt.CreationTimestamp = metav1.NewTime(begun)
	r.Clock.(*clocktesting.FakePassiveClock).SetTime(begun.Add(halt.Spec.Deadline() + time.Millisecond))
	agent := live.DeepCopy()
	return r, halt, member{agent: agent, runs: agent, account: account, since: begun}, live
}

// The cache may be behind: before the first step against a process the API server is
// asked whether it has obeyed. Where it does not say, what is known counts.
func TestNoStepIsTakenAgainstAProcessThatHasObeyed(t *testing.T) {
	obeyed := &v1alpha1.TradingStatus{PodUID: "pod-1", Halts: []v1alpha1.HaltAcknowledgement{{UID: "halt", State: v1alpha1.HaltAcknowledged}}}
	for _, test := range []struct {
		name   string
		change func(live *v1alpha1.TradingAgent)
		gone   bool
		refuse error
		fenced bool
		// acknowledged, absent and overdue, as the report counts them.
		counts [3]int32
	}{
		{name: "it has not", fenced: true, counts: [3]int32{0, 0, 1}},
		{name: "it has", change: func(live *v1alpha1.TradingAgent) { live.Status.Trading = obeyed }, counts: [3]int32{1, 0, 0}},
		{name: "another process has begun", change: func(live *v1alpha1.TradingAgent) { live.Status.PodUID = "pod-2" }},
		{name: "the agent is gone", gone: true, counts: [3]int32{0, 1, 0}},
		{name: "the API server does not say", refuse: errors.New("it is overloaded"), fenced: true, counts: [3]int32{0, 0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, halt, known, live := overdueOn(t)
			fenced := false
			r.World.Fence = func(context.Context, string, string, string, string) (bool, error) {
				fenced = true
				return true, nil
			}
			if test.change != nil {
				test.change(live)
			}
			err := r.Client.Update(t.Context(), live)
			if test.gone {
				err = r.Client.Delete(t.Context(), live)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.Live = interceptor.NewClient(r.Client.(client.WithWatch), interceptor.Funcs{
				Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
					if _, agent := object.(*v1alpha1.TradingAgent); agent && test.refuse != nil {
						return test.refuse
					}
					return api.Get(ctx, key, object, options...)
				},
			})
			members := []member{known}

			r.fence(t.Context(), halt, members)
			report(halt, members, r.Clock.Now())

			if fenced != test.fenced {
				t.Errorf("it was fenced: %t, want %t", fenced, test.fenced)
			}
			if got := [3]int32{*halt.Status.Acknowledged, *halt.Status.Absent, *halt.Status.Overdue}; got != test.counts {
				t.Errorf("acknowledged, absent and overdue are %v, want %v", got, test.counts)
			}
		})
	}
}
