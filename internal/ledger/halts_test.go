package ledger_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

var emergency = ledger.LatchedHalt{UID: "halt-1", Name: "TradingHalt/stop", State: "Halted", Task: "Flatten", Reason: "a test"}

// A halt binds an agent until it is released, whoever has the agent's epoch.
func TestHaltsAreLatched(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			halts := b.(ledger.Halts)
			pair := ledger.LatchedHalt{UID: "halt-2", Name: "ClusterTradingHalt/btc", State: "ReduceOnly", Task: "Keep", Reason: "another", Pairs: []string{"BTC-USD"}}
			latch := func(agent string, halt ledger.LatchedHalt) {
				t.Helper()
				if err := halts.Latch(t.Context(), agent, halt); err != nil {
					t.Fatal(err)
				}
			}
			want := func(agent string, wanted ...ledger.LatchedHalt) {
				t.Helper()
				bound, err := halts.Latched(t.Context(), agent)
				same := func(a, b ledger.LatchedHalt) bool {
					return a.UID == b.UID && a.Name == b.Name && a.State == b.State && a.Task == b.Task && a.Reason == b.Reason && slices.Equal(a.Pairs, b.Pairs) && (a.Pairs == nil) == (b.Pairs == nil)
				}
				if err != nil || !slices.EqualFunc(bound, wanted, same) {
					t.Errorf("agent %s: want %+v, got %+v, %v", agent, wanted, bound, err)
				}
			}
			want("uid-a")
			latch("uid-a", emergency)
			acquire(t, b, trader("a", btc))
			latch("uid-a", pair)
			latch("uid-b", emergency)
			looser := emergency
			looser.State = "ReduceOnly"
			latch("uid-a", looser)
			want("uid-a", emergency, pair)
			for range 2 {
				if err := halts.Unlatch(t.Context(), emergency.UID, "ada", "it is over"); err != nil {
					t.Fatal(err)
				}
			}
			want("uid-a", pair)
			want("uid-b")
			latch("uid-a", emergency)
			want("uid-a", pair)
			latch("uid-b", pair)
			for range 2 {
				if err := halts.UnlatchAgent(t.Context(), "uid-a", pair.UID, "ada", "this one is right again"); err != nil {
					t.Fatal(err)
				}
			}
			latch("uid-a", pair)
			want("uid-a")
			want("uid-b", pair)
			if err := halts.Unlatch(t.Context(), pair.UID, "ada", "it is over"); err != nil {
				t.Fatal(err)
			}
			want("uid-b")
			for name, wrong := range map[string]ledger.LatchedHalt{
				"no uid":   {Name: "x", State: "Halted", Task: "Keep"},
				"no state": {UID: "x", Name: "x", Task: "Keep"},
				"no task":  {UID: "x", Name: "x", State: "Halted"},
				"no pair":  {UID: "x", Name: "x", State: "Halted", Task: "Keep", Pairs: []string{}},
			} {
				if err := halts.Latch(t.Context(), "uid-a", wrong); err == nil {
					t.Errorf("%s was latched", name)
				}
			}
			if err := halts.Unlatch(t.Context(), pair.UID, "", "it is over"); err == nil {
				t.Error("a halt was released by nobody")
			}
			if err := halts.UnlatchAgent(t.Context(), "", emergency.UID, "ada", "it is over"); err == nil {
				t.Error("a halt was released for one agent that has no name")
			}
		})
	}
}

// What an operator latches for agents without a process, the next operator finds.
func TestLatchAll(t *testing.T) {
	b, uri := openLedger(t)
	bound := func(want ...string) {
		t.Helper()
		if got, err := ledger.BoundBy(t.Context(), uri, emergency.UID); err != nil || !slices.Equal(got, want) {
			t.Errorf("bound are %v, %v; want %v", got, err, want)
		}
	}
	bound()
	for range 2 {
		if err := ledger.LatchAll(t.Context(), uri, map[string]ledger.LatchedHalt{"uid-a": emergency, "uid-b": emergency}); err != nil {
			t.Fatal(err)
		}
	}
	bound("uid-a", "uid-b")
	if latched, err := b.Latched(t.Context(), "uid-b"); err != nil || len(latched) != 1 {
		t.Errorf("latched are %+v, %v", latched, err)
	}
	if err := b.UnlatchAgent(t.Context(), "uid-a", emergency.UID, "ada", "over"); err != nil {
		t.Fatal(err)
	}
	bound("uid-b")
	if err := b.Unlatch(t.Context(), emergency.UID, "ada", "over"); err != nil {
		t.Fatal(err)
	}
	bound()
	if err := ledger.LatchAll(t.Context(), uri, map[string]ledger.LatchedHalt{"uid-a": {UID: "x"}}); err == nil {
		t.Error("a halt without a name was latched")
	}
	empty := server.Empty(t)
	if err := ledger.LatchAll(t.Context(), empty, map[string]ledger.LatchedHalt{"uid-a": emergency}); !errors.Is(err, ledger.ErrSchema) {
		t.Errorf("a database that remembers nothing: %v, want ErrSchema", err)
	}
	if got, err := ledger.BoundBy(t.Context(), empty, emergency.UID); err != nil || got != nil {
		t.Errorf("a database without a ledger binds %v, %v", got, err)
	}
}

// Whoever is fenced commits nothing more; who has taken over since is not touched.
func TestFenceHalted(t *testing.T) {
	b, uri := openLedger(t)
	old := trader("a", btc)
	old.Holder = "pod-1"
	lease := acquire(t, b, old)
	fence := func(holder string, want bool) {
		t.Helper()
		if taken, err := ledger.FenceHalted(t.Context(), uri, "uid-a", "halt-1", holder); err != nil || taken != want {
			t.Errorf("fencing %s: %v, %v", holder, taken, err)
		}
	}
	fence("pod-2", false)
	if err := b.Decide(t.Context(), lease, decide(1, "BTC-USD", noon), nil, time.Time{}); err != nil {
		t.Fatalf("another pod was to be fenced: %v", err)
	}
	fence("pod-1", true)
	bought := decide(2, "BTC-USD", noon.Add(time.Hour))
	if err := b.Decide(t.Context(), lease, bought, []order.Intent{intent(lease, 2, 0, "BTC-USD", order.Buy, 5)}, time.Time{}); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("an intent of a fenced process: %v, want ErrFenced", err)
	}
	fence("pod-1", false)
	old.Holder = "pod-3"
	next := acquire(t, b, old)
	if next.Epoch != lease.Epoch+2 {
		t.Errorf("epoch %d followed %d", next.Epoch, lease.Epoch)
	}
	fence("pod-1", false)
	if err := b.Decide(t.Context(), next, decide(2, "BTC-USD", noon.Add(time.Hour)), nil, time.Time{}); err != nil {
		t.Errorf("the next process was fenced too: %v", err)
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.halt_fences WHERE holder = 'pod-1' AND epoch = $1`, lease.Epoch); n != 1 {
		t.Errorf("%d rows tell of the fence", n)
	}
	if taken, err := ledger.FenceHalted(t.Context(), server.Empty(t), "uid-a", "halt-1", "pod-1"); err != nil || taken {
		t.Errorf("a database without a ledger: %v, %v", taken, err)
	}
}

// The way out when the objects are gone needs a name and a reason, and frees the one
// agent that it is asked for.
func TestReleaseLatched(t *testing.T) {
	b, uri := openLedger(t)
	acquire(t, b, trader("a", btc))
	for _, uid := range []string{"uid-a", "uid-b"} {
		if err := b.Latch(t.Context(), uid, emergency); err != nil {
			t.Fatal(err)
		}
	}
	agent := trader("a", btc)
	if _, err := ledger.ReleaseLatched(t.Context(), uri, agent.Namespace, agent.Name, "", "over"); err == nil {
		t.Error("nobody has released a halt")
	}
	if _, err := ledger.ReleaseLatched(t.Context(), uri, agent.Namespace, "nobody", "ada", "over"); !errors.Is(err, ledger.ErrUnknownAgent) {
		t.Errorf("an unknown agent: %v", err)
	}
	released, err := ledger.ReleaseLatched(t.Context(), uri, agent.Namespace, agent.Name, "ada", "over")
	if err != nil || len(released) != 1 || released[0].UID != emergency.UID {
		t.Errorf("released %+v, %v", released, err)
	}
	if left, err := b.Latched(t.Context(), "uid-a"); err != nil || len(left) != 0 {
		t.Errorf("left %+v, %v", left, err)
	}
	if left, err := b.Latched(t.Context(), "uid-b"); err != nil || len(left) != 1 {
		t.Errorf("the release of one agent has freed another: %+v, %v", left, err)
	}
	for _, statement := range []string{`UPDATE trading.halts SET state = 'ReduceOnly'`, `DELETE FROM trading.halts`, `DELETE FROM trading.halt_releases`, `TRUNCATE trading.halts`} {
		if err := exec(t, b, statement); err == nil {
			t.Errorf("%s was accepted", statement)
		}
	}
}
