package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// liveDesk writes the manifests of an agent on an account at Kraken.
func liveDesk(t *testing.T, mode, environment, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "desk.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, krakenDesk, environment, mode, source), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	krakenDesk = `apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: Ledger
metadata: {name: main, namespace: desk}
spec: {uriSecretRef: {name: ledger, key: uri}}
---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingAccount
metadata: {name: kraken, namespace: desk}
spec:
  venue: Kraken
  ledgerRef: {name: main}
  kraken: {environment: %s, credentialsRef: {name: key}, currency: USD, balance: "1000"}
---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: RiskPolicy
metadata: {name: careful, namespace: desk}
spec: {trading: Enabled, currency: USD, order: {maxNotional: "100"}, agent: {maxTradesPerDay: 5}}
---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: AssetPair
metadata: {name: btc-usd, namespace: desk}
spec: {base: BTC, quote: USD, tickSize: "0.1", lotSize: "0.0001", minNotional: "5"}
---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingAgent
metadata: {name: btc, namespace: desk}
spec:
  mode: %s
  trading: Enabled
  accountRef: {name: kraken}
  riskPolicyRef: {name: careful}
  assetPairs: [{name: btc-usd}]
  controlPlane: {onLoss: Halt}
  marketData: %s
`
	liveData = "{source: Coinbase}"
	replayed = "{source: Replay, replay: {dataset: sample/btcusd-1d}}"
)

// Whoever starts an agent at a real venue is told what is missing before anything
// is asked of the venue.
func TestRealVenuesSayWhatTheyNeed(t *testing.T) {
	unparsed := t.TempDir()
	for _, name := range []string{"api-key", "private-key"} {
		if err := os.WriteFile(filepath.Join(unparsed, name), []byte("canary"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		manifests string
		flags     []string
		want      string
	}{
		"a live account and no database": {liveDesk(t, "Live", "Production", liveData), []string{"--credentials-dir", unparsed}, "--ledger-uri-file"},
		"a live agent on a recording":    {liveDesk(t, "Live", "Production", replayed), nil, "is a recording"},
		"a paper agent on live":          {liveDesk(t, "Paper", "Production", replayed), nil, "is a live account (venue Kraken, Production)"},
		"no credentials":                 {liveDesk(t, "Paper", "Sandbox", replayed), nil, "--credentials-dir"},
		"credentials that are not there": {liveDesk(t, "Paper", "Sandbox", replayed), []string{"--credentials-dir", t.TempDir()}, `the file with "api-key" of Secret "key" does not exist`},
		"credentials that are none":      {liveDesk(t, "Paper", "Sandbox", replayed), []string{"--credentials-dir", unparsed}, `Secret "key": the API key is not one that Kraken gives out`},
		"a gateway without TLS":          {liveDesk(t, "Paper", "Sandbox", replayed), []string{"--venue-gateway", "Kraken=http://gateway.example"}, "--venue-gateway: the gateway of Kraken"},
		"a gateway of no venue":          {liveDesk(t, "Paper", "Sandbox", replayed), []string{"--venue-gateway", "Mars=https://gateway.example"}, "is not a venue and its gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := command(t, append([]string{"run", "-f", test.manifests}, test.flags...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error %v does not say %q", err, test.want)
			}
		})
	}
}

// The paper venue takes nothing that its agent's sentry has not let pass.
func TestThePaperVenueAsksTheSentry(t *testing.T) {
	desk := sampleDesk(t)
	config, err := trader.NewConfig(desk.Agent, desk.Policy, desk.Account, desk.Pairs, "test")
	if err != nil {
		t.Fatal(err)
	}
	running := newProcess("test", market.NewLibrary(nil), logr.Discard())
	opened, sentry, err := running.venueOf(t.Context(), &desk, config, memoryBooks())
	if err != nil || sentry == nil {
		t.Fatal(sentry, err)
	}
	intent := order.Intent{ID: uuid.New(), Pair: config.Agent.Instruments[0].Pair, Side: order.Buy, Quantity: 1000, Limit: 100_000, NotAfter: time.Now().Add(time.Minute)}
	if _, err := opened.Place(t.Context(), venue.RequestOf(intent)); !errors.Is(err, venue.ErrNotApproved) {
		t.Errorf("what nobody has approved: %v", err)
	}
	sentry.Approve([]order.Intent{intent})
	sentry.Release(intent.ID)
	if _, err := sentry.Place(t.Context(), opened, venue.RequestOf(intent)); err != nil {
		t.Errorf("what was approved: %v", err)
	}
}
