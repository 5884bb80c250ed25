package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// maxNamed is how many agents a warning names; the rest are counted.
const maxNamed = 10

// policyValidator warns of a policy that is loosened while agents hold positions
// under it. It refuses nothing.
type policyValidator struct{ world }

// ValidateCreate is never called: nobody holds a position under a policy that is new.
func (v *policyValidator) ValidateCreate(context.Context, *v1alpha1.RiskPolicy) (warnings, error) {
	return nil, nil
}

// ValidateUpdate names the limits that are loosened and the agents that hold
// positions.
func (v *policyValidator) ValidateUpdate(ctx context.Context, before, policy *v1alpha1.RiskPolicy) (warnings, error) {
	fields := loosened(before, policy)
	if len(fields) == 0 {
		return nil, nil
	}
	agents, err := reconcile.AgentsBy(ctx, v.cached, policy.Namespace, reconcile.IndexPolicy, policy.Name)
	if err != nil {
		return nil, err
	}
	holders := holding(agents)
	if len(holders) == 0 {
		return nil, nil
	}
	return warnings{fmt.Sprintf("%s: loosened while agents of this policy hold positions: %s", strings.Join(fields, ", "), enumerate(holders))}, nil
}

// ValidateDelete is never called.
func (v *policyValidator) ValidateDelete(context.Context, *v1alpha1.RiskPolicy) (warnings, error) {
	return nil, nil
}

// loosened are the fields of a policy that allow more than before. What is not
// set counts as the default that stands in for it, or as no limit.
func loosened(before, after *v1alpha1.RiskPolicy) []string {
	var fields []string
	spec := field.NewPath("spec")
	if v1alpha1.Strictest(before.Spec.Trading, after.Spec.Trading) != v1alpha1.Strictest(after.Spec.Trading) {
		fields = append(fields, spec.Child("trading").String())
	}
	fields = append(fields, v1alpha1.Loosened(before, after)...)
	return fields
}

// holding are the names of the agents that report a position, in order.
func holding(agents []v1alpha1.TradingAgent) []string {
	var names []string
	for i := range agents {
		if trading := agents[i].Status.Trading; trading != nil && len(trading.Positions) > 0 {
			names = append(names, agents[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// enumerate names so many as a person reads, and counts the rest.
func enumerate(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}
