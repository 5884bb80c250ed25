package link

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestDueIn(t *testing.T) {
	base := v1alpha1.TradingStatus{PodUID: "a", State: v1alpha1.TradingEnabled, Reason: "Trading", Equity: "10000", Decisions: 3}
	with := func(mutate func(*v1alpha1.TradingStatus)) v1alpha1.TradingStatus {
		changed := base
		mutate(&changed)
		return changed
	}
	cases := map[string]struct {
		current v1alpha1.TradingStatus
		since   time.Duration
		want    time.Duration
	}{
		"nothing changed":               {base, time.Hour, time.Minute},
		"a halt is written at once":     {with(func(s *v1alpha1.TradingStatus) { s.State = v1alpha1.TradingHalted }), time.Second, 0},
		"a state that flaps is spaced":  {with(func(s *v1alpha1.TradingStatus) { s.Reason = "MaxDrawdown" }), 400 * time.Millisecond, 600 * time.Millisecond},
		"figures wait for the interval": {with(func(s *v1alpha1.TradingStatus) { s.Decisions = 4 }), 20 * time.Second, 40 * time.Second},
		"figures are due":               {with(func(s *v1alpha1.TradingStatus) { s.Decisions = 4 }), time.Minute, 0},
		"an equity tick is no reason":   {with(func(s *v1alpha1.TradingStatus) { s.Equity = "10001" }), time.Hour, time.Minute},
		"an equity move is":             {with(func(s *v1alpha1.TradingStatus) { s.Equity = "10001.01" }), time.Hour, 0},
		"a position is": {with(func(s *v1alpha1.TradingStatus) {
			s.Positions = []v1alpha1.PositionStatus{{Pair: "EUR-USD", Quantity: "5"}}
		}), time.Hour, 0},
	}
	for name, c := range cases {
		if got := dueIn(&base, &c.current, c.since, time.Minute); got != c.want {
			t.Errorf("%s: due in %s, want %s", name, got, c.want)
		}
	}
}

// TestRefusedWritesSlowDown plays an API server that cannot keep up: many agents
// that write again at once would keep it down.
func TestRefusedWritesSlowDown(t *testing.T) {
	conflict := apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("tradingagents").GroupResource(), "alice", errors.New("modified"))
	for name, test := range map[string]struct {
		answer error
		most   int
	}{
		// The watch shows no other version, so asking again could change nothing.
		"overtaken": {conflict, 12},
		"failing":   {apierrors.NewTooManyRequestsError("slow down"), 25},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				server := &refusing{answer: test.answer}
				changed := make(chan struct{})
				reporter := NewReporter(server, server, Identity{Namespace: "desk", Name: "alice"}, DefaultReportInterval, logr.Discard())
				var bars int64
				go func() {
					// A bar a second changes the figures and, at last, the state.
					bar := time.NewTicker(time.Second)
					defer bar.Stop()
					for {
						select {
						case <-bar.C:
							select {
							case changed <- struct{}{}:
							case <-ctx.Done():
								return
							}
						case <-ctx.Done():
							return
						}
					}
				}()
				status := func() v1alpha1.TradingStatus {
					bars++
					return v1alpha1.TradingStatus{PodUID: "a", State: v1alpha1.TradingEnabled, Reason: "Trading", Decisions: bars}
				}
				if err := reporter.Run(ctx, status, changed); err != nil {
					t.Fatal(err)
				}
				if server.writes < 5 || server.writes > test.most {
					t.Errorf("%d writes in five minutes, want 5 to %d", server.writes, test.most)
				}
			})
		})
	}
}

// TestSlowWritesAreFew plays an API server that takes seconds for a write: figures
// wait the longer for it, a change of state does not.
func TestSlowWritesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		server := &refusing{takes: 300 * time.Millisecond}
		changed := make(chan struct{})
		var state atomic.Value
		state.Store(v1alpha1.TradingEnabled)
		var bars int64
		status := func() v1alpha1.TradingStatus {
			bars++
			return v1alpha1.TradingStatus{PodUID: "a", State: state.Load().(v1alpha1.TradingState), Decisions: bars}
		}
		var halted time.Time
		time.AfterFunc(30*time.Minute, func() {
			state.Store(v1alpha1.TradingHalted)
			halted = time.Now()
			changed <- struct{}{}
			<-time.After(10 * time.Second)
			if at := server.written(); at.Before(halted) || at.Sub(halted) > 2*server.takes {
				t.Errorf("halted at %s, written at %s", halted, at)
			}
		})
		reporter := NewReporter(server, server, Identity{Namespace: "desk", Name: "alice"}, DefaultReportInterval, logr.Discard())
		if err := reporter.Run(ctx, status, changed); err != nil {
			t.Fatal(err)
		}
		// Every five minutes, and the halt.
		if server.writes < 11 || server.writes > 14 {
			t.Errorf("%d writes in an hour", server.writes)
		}
	})
}

// TestWhatFollowsIsOneWrite halts an agent whose orders are cancelled a moment later.
func TestWhatFollowsIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		server := &refusing{}
		changed := make(chan struct{})
		var told atomic.Pointer[v1alpha1.TradingStatus]
		tell := func(status v1alpha1.TradingStatus) {
			told.Store(&status)
			changed <- struct{}{}
		}
		told.Store(&v1alpha1.TradingStatus{PodUID: "a", State: v1alpha1.TradingEnabled})
		time.AfterFunc(10*time.Second, func() {
			halted := v1alpha1.TradingStatus{PodUID: "a", State: v1alpha1.TradingHalted}
			halted.Halts = []v1alpha1.HaltAcknowledgement{{UID: "h", State: v1alpha1.HaltAcknowledged}}
			tell(halted)
			<-time.After(gathering / 2)
			halted.Halts = []v1alpha1.HaltAcknowledgement{{UID: "h", State: v1alpha1.HaltDone}}
			tell(halted)
			began := time.Now()
			<-time.After(5 * time.Second)
			if at := server.written(); at.Sub(began) > gathering {
				t.Errorf("written %s after it was done", at.Sub(began))
			}
		})
		reporter := NewReporter(server, server, Identity{Namespace: "desk", Name: "alice"}, DefaultReportInterval, logr.Discard())
		if err := reporter.Run(ctx, func() v1alpha1.TradingStatus { return *told.Load() }, changed); err != nil {
			t.Fatal(err)
		}
		if server.writes != 2 {
			t.Errorf("%d writes, want one for the start and one for the halt", server.writes)
		}
	})
}

// TestOvertakenWriteComesWithTheNextVersion shows that backing off costs an agent
// nothing that was only overtaken once.
func TestOvertakenWriteComesWithTheNextVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		server := &refusing{answer: apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("tradingagents").GroupResource(), "alice", errors.New("modified"))}
		began := time.Now()
		time.AfterFunc(gathering+100*time.Millisecond, func() { server.become("2", nil) })
		reporter := NewReporter(server, server, Identity{Namespace: "desk", Name: "alice"}, DefaultReportInterval, logr.Discard())
		status := func() v1alpha1.TradingStatus { return v1alpha1.TradingStatus{PodUID: "a", Reason: "Trading"} }
		if err := reporter.Run(ctx, status, nil); err != nil {
			t.Fatal(err)
		}
		if server.writes != 2 || server.last.Sub(began) > gathering+500*time.Millisecond {
			t.Errorf("%d writes, the last after %s; want 2, half a second after the first", server.writes, server.last.Sub(began))
		}
	})
}

// refusing is an API server that answers every write alike, and the watch of it.
type refusing struct {
	client.Client

	mu      sync.Mutex
	version string
	answer  error
	writes  int
	last    time.Time
	// takes is how long a write is under way.
	takes time.Duration
}

func (r *refusing) written() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *refusing) become(version string, answer error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.answer = version, answer
}

func (r *refusing) Version(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version, nil
}

func (r *refusing) Status() client.SubResourceWriter {
	return interceptor.NewClient(nil, interceptor.Funcs{
		SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
			<-time.After(r.takes)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.writes++
			r.last = time.Now()
			return r.answer
		},
	}).Status()
}
