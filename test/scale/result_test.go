package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func TestPercentile(t *testing.T) {
	var hundred times
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	for _, test := range []struct {
		of   times
		p    float64
		want time.Duration
	}{{nil, 50, 0}, {times{7}, 99, 7}, {hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {times{1, 2, 3}, 50, 2}} {
		if got := test.of.percentile(test.p); got != test.want {
			t.Errorf("p%v of %d times is %d, want %d", test.p, len(test.of), got, test.want)
		}
	}
}

func good() *result {
	return &result{
		Agents: 100, Apply: 13, Bare: 10, Sets: 20, Writes: 6, StatusWrites: 2, ServerCPUPerAgent: 9, BareServerCPUPerAgent: 8, SetServerCPU: 4, HeapPerAgent: 15 << 10, Failover: 5,
		ByKind: map[string]int{"create pods": 100},
	}
}

func TestRowsNameWhatMisses(t *testing.T) {
	missed := func(r *result) string {
		var names []string
		for _, row := range r.rows() {
			if row.missed {
				names = append(names, row.name)
			}
		}
		return strings.Join(names, ", ")
	}
	if got := missed(good()); got != "" {
		t.Errorf("a run that meets every target misses %s", got)
	}
	for want, spoil := range map[string]func(*result){
		"ratio to the bare client":                       func(r *result) { r.Apply = 13.1 },
		"… status of the agent":                          func(r *result) { r.StatusWrites = 2.01 },
		"reads past the cache per reconcile":             func(r *result) { r.Reads = 0.01 },
		"writes per minute when idle":                    func(r *result) { r.IdleWrites = 1 },
		"heap per agent":                                 func(r *result) { r.HeapPerAgent++ },
		"leader killed → first reconcile of the standby": func(r *result) { r.Failover = 5.1 },
	} {
		r := good()
		spoil(r)
		if got := missed(r); got != want {
			t.Errorf("missed %q, want %q", got, want)
		}
	}
}

func TestTableHoldsEveryRun(t *testing.T) {
	var out bytes.Buffer
	other := good()
	other.Agents, other.Reads = 7, 1
	if err := write(&out, []*result{good(), other}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"100 agents", "7 agents", "1.30", "1.00 (missed)", "100  create pods"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestCalibrationGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calibration.yaml")
	if err := os.WriteFile(path, []byte("runs: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	worse := good()
	worse.Apply *= 1.3
	opts := options{calibration: path}
	if err := judge(opts, []*result{worse}); err != nil {
		t.Errorf("without calibrated runs of that size there is nothing to compare with: %v", err)
	}
	opts.calibrate = true
	for range 2 {
		if err := judge(opts, []*result{good()}); err != nil {
			t.Fatal(err)
		}
	}
	opts.calibrate = false
	slightly := good()
	slightly.Apply *= 1.19
	if err := judge(opts, []*result{slightly}); err != nil {
		t.Errorf("within the allowance: %v", err)
	}
	err := judge(opts, []*result{worse})
	if err == nil || !strings.Contains(err.Error(), "applyPerBareClient is 1.690") || !strings.Contains(err.Error(), "up to 1.560") {
		t.Errorf("a figure that is worse by 1.3: %v", err)
	}
	busy := good()
	busy.IdleWrites = 1
	if err := judge(opts, []*result{busy}); err == nil {
		t.Error("of nothing, any is worse")
	}
}

func TestProcessorTime(t *testing.T) {
	stat := "42 (a (strange) name) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 7 8 20 0 9 0"
	got, err := processorTime([]byte(stat))
	if err != nil || got != 2*time.Second {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := processorTime([]byte("42 (short) S 1")); err == nil {
		t.Error("a line that is too short was understood")
	}
	own, err := usageOf(os.Getpid())
	if err != nil || own.rss == 0 || own.peak < own.rss/2 {
		t.Errorf("own usage: %+v, %v", own, err)
	}
}

func TestAwaited(t *testing.T) {
	w := &awaited[*v1alpha1.TradingAgent]{want: 2, done: make(chan struct{}), met: map[string]bool{}, meets: func(a *v1alpha1.TradingAgent) bool { return a.Generation == 2 }}
	waiting := []*awaited[*v1alpha1.TradingAgent]{w}
	tell := func(name string, generation int64) {
		waiting = told(waiting, name, &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: generation}})
	}
	for _, step := range []struct {
		name       string
		generation int64
		left       int
	}{{"a", 1, 1}, {"a", 2, 1}, {"a", 2, 1}, {"a", 3, 1}, {"b", 2, 1}, {"a", 2, 0}} {
		tell(step.name, step.generation)
		if len(waiting) != step.left {
			t.Fatalf("after %+v %d wait, want %d", step, len(waiting), step.left)
		}
	}
	at, err := w.wait(t.Context(), time.Minute)
	if err != nil || at.IsZero() {
		t.Errorf("waited until %s, %v", at, err)
	}
	// What comes later changes nothing: the time has been read.
	w.tell("b", &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Generation: 2}})
	if !w.at.Equal(at) {
		t.Errorf("the time moved from %s to %s", at, w.at)
	}
	never := &awaited[*v1alpha1.TradingAgent]{what: "never", name: "a", want: 1, done: make(chan struct{}), met: map[string]bool{}, meets: func(*v1alpha1.TradingAgent) bool { return true }}
	if never.tell("b", &v1alpha1.TradingAgent{}) {
		t.Error("another object than the named one counted")
	}
	if _, err := never.wait(t.Context(), time.Millisecond); err == nil {
		t.Error("the deadline did not end the wait")
	}
}

// What the crowd reports must mean to the operator what a real agent's report
// means.
func TestStatusAfterBecomesReady(t *testing.T) {
	agent := &v1alpha1.TradingAgent{Status: v1alpha1.TradingAgentStatus{PodUID: "pod", Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}}}
	for _, step := range []struct {
		age              time.Duration
		trades, hasRuled bool
	}{{0, false, false}, {recovery, true, false}, {2 * firstDecision, true, true}} {
		agent.Status.Trading = new(statusAfter(step.age, "pod", 0, 1))
		if got := reported(agent); got != step.trades {
			t.Errorf("after %s it trades: %t", step.age, got)
		}
		if got := agent.Status.Trading.LastDecision != nil; got != step.hasRuled {
			t.Errorf("after %s it has decided: %t", step.age, got)
		}
	}
	if !observed(agent) {
		t.Error("an agent that is Ready and reports is not observed")
	}
	agent.Generation = 1
	if observed(agent) {
		t.Error("an agent with a newer spec is observed")
	}
}
