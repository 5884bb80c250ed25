package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

const samples = "../../config/samples"

func sampleDesk(t *testing.T) link.Desk {
	t.Helper()
	manifests, err := link.LoadFiles(t.Context(), []string{samples})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := manifests.Desk(&manifests.Agents[0])
	if err != nil {
		t.Fatal(err)
	}
	return desk
}

// command runs the binary's own command and returns what it prints.
func command(t *testing.T, arguments ...string) (output, progress string, err error) {
	t.Helper()
	var out, told bytes.Buffer
	root := newRootCommand()
	root.SetArgs(arguments)
	root.SetOut(&out)
	root.SetErr(&told)
	err = root.ExecuteContext(t.Context())
	return out.String(), told.String(), err
}

func TestBacktestPrintsTheSameTwice(t *testing.T) {
	first, speed, err := command(t, "backtest", "-f", samples)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := command(t, "backtest", "-f", samples)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("two backtests differ:\n%s\n%s", first, second)
	}
	for _, want := range []string{"TradingAgent desk/eur-trend", "Trades", "PnL", "Max drawdown", "Sharpe", "Exposure"} {
		if !strings.Contains(first, want) {
			t.Errorf("the report has no %q:\n%s", want, first)
		}
	}
	if !strings.Contains(speed, "bars/s") || strings.Contains(first, "bars/s") {
		t.Errorf("the speed belongs on standard error alone; it says %q", speed)
	}
}

func TestBacktestAsJSON(t *testing.T) {
	output, _, err := command(t, "backtest", "-f", samples, "--agent", "eur-trend", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Bars  int64 `json:"bars"`
		Fills int64 `json:"fills"`
	}
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	if report.Bars < 6000 || report.Fills == 0 {
		t.Errorf("the report is %+v", report)
	}
}

func TestWrongCommandsSayWhatToChange(t *testing.T) {
	cases := map[string]struct {
		arguments []string
		want      string
	}{
		"no manifests":      {[]string{"backtest"}, "-f config/samples/"},
		"missing folder":    {[]string{"backtest", "-f", "nowhere"}, "nowhere"},
		"unknown agent":     {[]string{"backtest", "-f", samples, "--agent", "nobody"}, `no TradingAgent "nobody"`},
		"unknown output":    {[]string{"backtest", "-f", samples, "-o", "xml"}, "text or json"},
		"neither":           {[]string{"run"}, "--agent-uid"},
		"missing URI file":  {[]string{"run", "-f", samples, "--ledger-uri-file", "nowhere"}, "does not exist: nowhere"},
		"address not ours":  {[]string{"run", "-f", samples, "--listen", "127.0.0.1:notaport"}, "--listen"},
		"nobody rearms":     {[]string{"rearm", "eur-trend", "--ledger-uri-file", "nowhere", "--reason", "why"}, `"by"`},
		"rearmed nowhere":   {[]string{"rearm", "eur-trend", "--ledger-uri-file", "nowhere", "--by", "Ada", "--reason", "why"}, "does not exist: nowhere"},
		"recording missing": {[]string{"backtest", "-f", "../../config/backtest"}, "spec.marketData.replay.dataset"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := command(t, c.arguments...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error %v does not say %q", err, c.want)
			}
		})
	}
}

// TestTradingClosesOnDoubt changes the desk under a running agent.
func TestTradingClosesOnDoubt(t *testing.T) {
	cases := map[string]struct {
		change func(*link.Desk)
		state  risk.TradingState
		reason string
	}{
		"all as it was":    {func(*link.Desk) {}, risk.Enabled, ""},
		"policy gone":      {func(d *link.Desk) { d.Policy = nil }, risk.Reducing, v1alpha1.ReasonPolicyMissing},
		"pair gone":        {func(d *link.Desk) { d.Pairs = nil }, risk.Reducing, v1alpha1.ReasonReferenceNotReady},
		"account gone":     {func(d *link.Desk) { d.Account = nil }, risk.Reducing, v1alpha1.ReasonReferenceNotReady},
		"older than rules": {func(d *link.Desk) { d.Policy.Spec.Agent.MaxDrawdownFraction = "15" }, risk.Reducing, v1alpha1.ReasonInvalidSpec},
		"halted meanwhile": {func(d *link.Desk) { d.Agent.Spec.Trading, d.Pairs = v1alpha1.TradingHalted, nil }, risk.Halted, v1alpha1.ReasonHalted},
		"policy halted":    {func(d *link.Desk) { d.Policy.Spec.Trading = v1alpha1.TradingHalted }, risk.Halted, v1alpha1.ReasonHalted},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			desk := sampleDesk(t)
			c.change(&desk)
			settings := settingsOf(&desk)
			if settings.Trading != c.state || settings.Reason != c.reason {
				t.Errorf("trading is %v, %q (%s); want %v, %q", settings.Trading, settings.Reason, settings.Message, c.state, c.reason)
			}
		})
	}
}

// TestProcessFollowsItsManifests runs an agent in memory, halts it and lets it go.
func TestProcessFollowsItsManifests(t *testing.T) {
	desk := sampleDesk(t)
	desk.Agent.Spec.MarketData.Replay.Speed = 1_000_000
	running := newProcess("test", market.NewLibrary(nil), logr.Discard())
	if err := running.Ready(); err == nil || !strings.Contains(err.Error(), v1alpha1.ReasonRecovering) {
		t.Errorf("before its start the agent is ready: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shell, err := running.start(ctx, &desk, memoryBooks())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- shell.Run(ctx) }()
	until := func(what string, reached func(v1alpha1.TradingStatus) bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for !reached(running.Status()) {
			select {
			case <-deadline:
				t.Fatalf("%s: the status is %+v", what, running.Status())
			case err := <-ended:
				t.Fatalf("%s: the agent ended: %v", what, err)
			case <-shell.Changed():
			}
		}
	}
	until("trading", func(s v1alpha1.TradingStatus) bool { return s.Fills > 0 && running.Ready() == nil })

	desk.Agent.Spec.Trading = v1alpha1.TradingHalted
	desk.Agent.Generation = 2
	running.obey(shell, &desk)
	until("halted", func(s v1alpha1.TradingStatus) bool {
		return s.State == v1alpha1.TradingHalted && s.ObservedGeneration == 2 && s.OpenOrders == 0
	})

	desk.Agent.Spec.Trading = v1alpha1.TradingEnabled
	desk.Agent.DeletionTimestamp = new(metav1.Now())
	running.obey(shell, &desk)
	until("flat", func(s v1alpha1.TradingStatus) bool { return s.Reason == v1alpha1.ReasonFlat && len(s.Positions) == 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}

func TestReadURITellsNoSecret(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := root.WriteFile("uri", []byte(" postgres://trader@localhost/trading\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if uri, err := readURI(root.Name() + "/uri"); err != nil || uri != "postgres://trader@localhost/trading" {
		t.Errorf("read %q, %v", uri, err)
	}
	if err := root.WriteFile("empty", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readURI(root.Name() + "/empty"); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file gives %v", err)
	}
}

func TestRevisionFrom(t *testing.T) {
	if revision, err := revisionFrom(""); revision != nil || err != nil {
		t.Errorf("none gives %+v, %v", revision, err)
	}
	revision, err := revisionFrom(`{"image":"agent:1","mode":"Paper","assetPairs":[{"name":"EUR/USD"}],"marketData":{"source":"Coinbase"}}`)
	if err != nil || revision.Image != "agent:1" || revision.AssetPairs[0].Name != "EUR/USD" {
		t.Errorf("got %+v, %v", revision, err)
	}
	if _, err := revisionFrom(`{"image":"agent:1","leverage":"3"}`); err == nil || !strings.Contains(err.Error(), "leverage") {
		t.Errorf("a field that this binary does not know gives %v", err)
	}
}
