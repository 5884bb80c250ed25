package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/kube"
)

// kinds is what a person looks at while the desk comes up.
const kinds = "tradingagents,riskpolicies,assetpairs,tradingaccounts,ledgers"

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// agent is what the watch reads of a TradingAgent.
type agent struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Status struct {
		Conditions []condition `json:"conditions"`
		Trading    struct {
			Decisions json.Number `json:"decisions"`
		} `json:"trading"`
	} `json:"status"`
}

// trades reports whether the agent is ready and has decided at least once.
func (a agent) trades() bool {
	decisions, err := a.Status.Trading.Decisions.Int64()
	return err == nil && decisions > 0 && slices.ContainsFunc(a.Status.Conditions, func(c condition) bool {
		return c.Type == "Ready" && c.Status == "True"
	})
}

func (a agent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s: %s decisions", a.Metadata.Namespace, a.Metadata.Name, cmp.Or(a.Status.Trading.Decisions.String(), "no"))
	for _, c := range a.Status.Conditions {
		fmt.Fprintf(&b, "\n    %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// parseAgents reads a list of objects and keeps the TradingAgents.
func parseAgents(list string) ([]agent, error) {
	var objects struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal([]byte(list), &objects); err != nil {
		return nil, fmt.Errorf("read the objects of config/samples: %w", err)
	}
	var agents []agent
	for _, raw := range objects.Items {
		var kind struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(raw, &kind); err != nil {
			return nil, err
		}
		if kind.Kind != "TradingAgent" {
			continue
		}
		var a agent
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, fmt.Errorf("read a TradingAgent: %w", err)
		}
		agents = append(agents, a)
	}
	return agents, nil
}

// Watch shows the desk until every agent of config/samples trades. show prints
// a new table.
func (o Operator) Watch(ctx context.Context, k kube.Kubectl, timeout time.Duration, show func(table string)) error {
	deadline := time.Now().Add(timeout)
	var shown time.Time
	for {
		out, err := k.Output(ctx, "get", "-k", filepath.Join(o.Root, "config", "samples"), "-o", "json")
		if err != nil {
			return err
		}
		agents, err := parseAgents(out)
		if err != nil {
			return err
		}
		done := len(agents) > 0 && !slices.ContainsFunc(agents, func(a agent) bool { return !a.trades() })
		if done || time.Since(shown) > 2*time.Second {
			if table, err := k.Output(ctx, "get", kinds, "--all-namespaces"); err == nil {
				show(strings.TrimSpace(table))
			}
			shown = time.Now()
		}
		switch {
		case done:
			return nil
		case len(agents) == 0:
			return errors.New("config/samples holds no TradingAgent")
		case time.Now().After(deadline):
			return o.notTrading(ctx, k, agents, timeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (o Operator) notTrading(ctx context.Context, k kube.Kubectl, agents []agent, timeout time.Duration) error {
	var b strings.Builder
	var namespaces []string
	for _, a := range agents {
		if a.trades() {
			continue
		}
		fmt.Fprintf(&b, "\n  %s", a)
		if !slices.Contains(namespaces, a.Metadata.Namespace) {
			namespaces = append(namespaces, a.Metadata.Namespace)
		}
	}
	for _, namespace := range append(namespaces, Namespace) {
		b.WriteString("\n" + Diagnose(ctx, k, namespace))
	}
	return fmt.Errorf("these agents do not trade after %s:%s", timeout, b.String())
}
