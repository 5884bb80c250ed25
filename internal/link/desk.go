// Package link is the agent's side of the API server: it watches the manifests
// that configure the agent and reports what the agent does. The same manifests
// come from files when the agent runs on a laptop or in a backtest.
package link

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Desk is everything that configures one agent. What does not exist is nil.
type Desk struct {
	Agent   *v1alpha1.TradingAgent
	Account *v1alpha1.TradingAccount
	Policy  *v1alpha1.RiskPolicy
	Ledger  *v1alpha1.Ledger
	// Pairs are those that the agent names, in its order; those that do not
	// exist are absent.
	Pairs []v1alpha1.AssetPair
	// Declared are all pairs of the agent's namespace.
	Declared []v1alpha1.AssetPair
	// Halts are all that may bind the agent, those that are released among them.
	Halts []v1alpha1.Halt
}

// assemble picks out of all objects of a namespace those that configure the agent.
func assemble(agent *v1alpha1.TradingAgent, accounts []v1alpha1.TradingAccount, policies []v1alpha1.RiskPolicy, pairs []v1alpha1.AssetPair, ledgers []v1alpha1.Ledger) Desk {
	desk := Desk{Agent: agent}
	for i := range accounts {
		if accounts[i].Namespace == agent.Namespace && accounts[i].Name == agent.Spec.AccountRef.Name {
			desk.Account = &accounts[i]
		}
	}
	for i := range policies {
		if policies[i].Namespace == agent.Namespace && policies[i].Name == agent.Spec.RiskPolicyRef.Name {
			desk.Policy = &policies[i]
		}
	}
	for i := range ledgers {
		if desk.Account != nil && ledgers[i].Namespace == agent.Namespace && ledgers[i].Name == desk.Account.Spec.LedgerRef.Name {
			desk.Ledger = &ledgers[i]
		}
	}
	own := make([]v1alpha1.AssetPair, 0, len(pairs))
	for i := range pairs {
		if pairs[i].Namespace == agent.Namespace {
			own = append(own, pairs[i])
		}
	}
	desk.Declared = own
	for _, selector := range agent.Spec.AssetPairs {
		if pair := v1alpha1.FindPair(own, selector.Name); pair != nil {
			desk.Pairs = append(desk.Pairs, *pair)
		}
	}
	return desk
}

// Missing names what the agent refers to and does not exist.
func (d *Desk) Missing() []string {
	var missing []string
	if d.Account == nil {
		missing = append(missing, fmt.Sprintf("TradingAccount %q", d.Agent.Spec.AccountRef.Name))
	} else if d.Ledger == nil {
		missing = append(missing, fmt.Sprintf("Ledger %q", d.Account.Spec.LedgerRef.Name))
	}
	if d.Policy == nil {
		missing = append(missing, fmt.Sprintf("RiskPolicy %q", d.Agent.Spec.RiskPolicyRef.Name))
	}
	for _, selector := range d.Agent.Spec.AssetPairs {
		if v1alpha1.FindPair(d.Pairs, selector.Name) == nil {
			missing = append(missing, fmt.Sprintf("AssetPair %q", selector.Name))
		}
	}
	return missing
}

// Validate checks what the objects say together.
func (d *Desk) Validate() field.ErrorList {
	errs := v1alpha1.ValidateTradingAgent(d.Agent)
	errs = append(errs, v1alpha1.ValidateDistinctPairs(d.Agent, d.Pairs)...)
	errs = append(errs, v1alpha1.ValidateMode(d.Agent, d.Account)...)
	errs = append(errs, v1alpha1.ValidateDirection(d.Agent, d.Account)...)
	errs = append(errs, v1alpha1.ValidateCurrencies(d.Agent, d.Account, d.Policy, d.Pairs)...)
	if d.Agent.Spec.Limits != nil {
		errs = append(errs, v1alpha1.ValidateTighter(d.Agent.Spec.Limits, d.Policy)...)
	}
	return errs
}

// ValidateRisk checks that the limits leave room for some order. It is asked once,
// before an agent starts: one that runs is never stopped by it.
func (d *Desk) ValidateRisk() error {
	pairs := make([]*v1alpha1.AssetPair, len(d.Pairs))
	for i := range d.Pairs {
		pairs[i] = &d.Pairs[i]
	}
	objections, _ := v1alpha1.ValidateRisk(d.Agent, d.Policy, d.Account, pairs)
	errs := make([]error, len(objections))
	for i, found := range objections {
		errs[i] = errors.New(found.String())
	}
	return errors.Join(errs...)
}
