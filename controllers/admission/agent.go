package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// agentValidator judges an agent beside its account, its policy, its pairs and
// the other agents on the account.
type agentValidator struct{ world }

// ValidateCreate refuses what contradicts existing objects, and warns of those
// that do not exist.
func (v *agentValidator) ValidateCreate(ctx context.Context, agent *v1alpha1.TradingAgent) (warnings, error) {
	around, err := v.around(ctx, agent)
	if err != nil {
		return nil, err
	}
	return append(around.warnings(agent), v.halts(ctx, agent, around)...), invalid("TradingAgent", agent.Name, around.judge(agent))
}

// halts warns of halts that a new agent comes up under. Halts that cannot be read
// hold nobody up: the agent reads them itself.
func (v *agentValidator) halts(ctx context.Context, agent *v1alpha1.TradingAgent, around surroundings) warnings {
	var own v1alpha1.TradingHaltList
	var cluster v1alpha1.ClusterTradingHaltList
	if v.cached.List(ctx, &own, client.InNamespace(agent.Namespace)) != nil || v.cached.List(ctx, &cluster) != nil {
		return nil
	}
	if _, sentence := v1alpha1.HaltsBinding(v1alpha1.Halts(own.Items, cluster.Items), agent, around.account, around.pairs); sentence != "" {
		return warnings{sentence}
	}
	return nil
}

// ValidateUpdate does the same for what the update brings.
func (v *agentValidator) ValidateUpdate(ctx context.Context, before, agent *v1alpha1.TradingAgent) (warnings, error) {
	if !agent.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	around, err := v.around(ctx, agent)
	if err != nil {
		return nil, err
	}
	return around.warnings(agent), invalid("TradingAgent", agent.Name, added(around.judge(before), around.judge(agent)))
}

// ValidateDelete is never called.
func (v *agentValidator) ValidateDelete(context.Context, *v1alpha1.TradingAgent) (warnings, error) {
	return nil, nil
}

// surroundings are the objects that an agent is judged beside; nil is missing.
type surroundings struct {
	account *v1alpha1.TradingAccount
	policy  *v1alpha1.RiskPolicy
	pairs   []v1alpha1.AssetPair
	agents  []v1alpha1.TradingAgent
	// hosts are the agents of all namespaces with the same host.
	hosts []v1alpha1.TradingAgent
}

func (v *agentValidator) around(ctx context.Context, agent *v1alpha1.TradingAgent) (surroundings, error) {
	var around surroundings
	account, policy := &v1alpha1.TradingAccount{}, &v1alpha1.RiskPolicy{}
	if ok, err := v.find(ctx, agent.Namespace, agent.Spec.AccountRef.Name, account); err != nil {
		return around, err
	} else if ok {
		around.account = account
	}
	if ok, err := v.find(ctx, agent.Namespace, agent.Spec.RiskPolicyRef.Name, policy); err != nil {
		return around, err
	} else if ok {
		around.policy = policy
	}
	var err error
	if around.pairs, err = v.findPairs(ctx, agent.Namespace, agent.Spec.AssetPairs); err != nil {
		return around, err
	}
	if around.agents, err = reconcile.AgentsBy(ctx, v.cached, agent.Namespace, reconcile.IndexAccount, agent.Spec.AccountRef.Name); err != nil {
		return around, err
	}
	if agent.Spec.Endpoint != nil {
		around.hosts, err = reconcile.AgentsBy(ctx, v.cached, "", reconcile.IndexHost, agent.Spec.Endpoint.Host)
	}
	return around, err
}

// judge leaves mode, direction and the agent's own limits to the policies of
// config/admission.
func (s surroundings) judge(agent *v1alpha1.TradingAgent) field.ErrorList {
	errs := v1alpha1.ValidateTradingAgent(agent)
	errs = append(errs, v1alpha1.ValidateDistinctPairs(agent, s.pairs)...)
	errs = append(errs, v1alpha1.ValidateCurrencies(agent, s.account, s.policy, s.pairs)...)
	errs = append(errs, v1alpha1.ValidateUniquePairs(agent, s.agents, s.pairs)...)
	return append(errs, v1alpha1.ValidateUniqueHost(agent, s.hosts)...)
}

func (s surroundings) warnings(agent *v1alpha1.TradingAgent) warnings {
	var said warnings
	spec := field.NewPath("spec")
	if s.account == nil {
		said = append(said, missing(spec.Child("accountRef", "name"), "TradingAccount %q does not exist; the agent starts when it does", agent.Spec.AccountRef.Name))
	}
	if s.policy == nil {
		said = append(said, missing(spec.Child("riskPolicyRef", "name"), "RiskPolicy %q does not exist; the agent starts when it does", agent.Spec.RiskPolicyRef.Name))
	}
	for _, i := range missingPairs(s.pairs, agent.Spec.AssetPairs) {
		said = append(said, missing(spec.Child("assetPairs").Index(i).Child("name"), "no AssetPair has the name %q; the agent starts when one does", agent.Spec.AssetPairs[i].Name))
	}
	return said
}
