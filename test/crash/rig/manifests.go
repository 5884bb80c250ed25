package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Desk is what the manifests of a run say.
type Desk struct {
	// Agents by name; all of them trade on one account under one policy.
	Agents []AgentManifest
	// Account is the spec of the TradingAccount, in YAML and indented by two.
	Account string
	// Direction is LongOnly or LongShort.
	Direction string
	// Halted lets no agent trade.
	Halted bool
	// Speed of the replay: how many seconds of the recording pass in one.
	Speed int
}

// AgentManifest is one TradingAgent and the base currencies of its pairs.
type AgentManifest struct {
	Name  string
	Bases []string
	// UID of the object; empty where its name shall do.
	UID string
}

// PaperAccount is an account at the paper venue. Orders take a moment, some fill in
// two parts.
const PaperAccount = `  venue: Paper
  ledgerRef: {name: main}
  paper: {currency: USD, balance: "100000", takerFeeFraction: "0.0006", partialFillFraction: "0.30"}
`

// Write writes the manifests into a directory.
func (d *Desk) Write(directory string) error {
	trading := "Enabled"
	if d.Halted {
		trading = "Halted"
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, fixed, d.Account)
	for _, base := range Pairs {
		_, _ = fmt.Fprintf(&text, pair, strings.ToLower(base), base)
	}
	for _, agent := range d.Agents {
		names := make([]string, len(agent.Bases))
		for i, base := range agent.Bases {
			names[i] = fmt.Sprintf("{name: %s-usd}", strings.ToLower(base))
		}
		uid := ""
		if agent.UID != "" {
			uid = ", uid: " + agent.UID
		}
		_, _ = fmt.Fprintf(&text, trader, agent.Name, uid, trading, strings.Join(names, ", "), d.Direction, Dataset, d.Speed)
	}
	return os.WriteFile(filepath.Join(directory, "desk.yaml"), []byte(text.String()), 0o600)
}

const fixed = `apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: Ledger
metadata: {name: main, namespace: desk}
spec:
  uriSecretRef: {name: ledger, key: uri}
---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingAccount
metadata: {name: account, namespace: desk}
spec:
%s---
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: RiskPolicy
metadata: {name: wide, namespace: desk}
spec:
  trading: Enabled
  currency: USD
  order: {maxNotional: "4000", priceCollarFraction: "0.01", maxPerSecond: 100}
  agent:
    maxDrawdownFraction: "0.9"
    maxDailyLossFraction: "0.9"
    maxTradesPerDay: 100000
    maxPositions: 3
    maxPositionFraction: "0.02"
    maxCorrelatedPositions: 3
    maxValueAtRiskFraction: "1"
    maxVolatilityFraction: "1"
  total: {maxGrossNotional: "50000"}
---
`

const pair = `apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: AssetPair
metadata: {name: %s-usd, namespace: desk}
spec: {base: %s, quote: USD, tickSize: "0.01", lotSize: "0.001", minNotional: "1"}
---
`

const trader = `apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingAgent
metadata: {name: %s, namespace: desk%s}
spec:
  mode: Paper
  trading: %s
  accountRef: {name: account}
  riskPolicyRef: {name: wide}
  assetPairs: [%s]
  decision:
    intervalSeconds: 60
    minConfidenceFraction: "0.60"
    direction: %s
    debate:
      bull: {model: builtin/trend}
      bear: {model: builtin/trend}
  sizing: {riskFraction: "0.01", stopFraction: "0.003", targetFraction: "0.005"}
  marketData:
    source: Replay
    replay: {dataset: "%s", speed: %d}
  deletionPolicy: Keep
---
`
