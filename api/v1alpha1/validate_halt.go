package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateHalt checks what a halt's own manifest says. A halt that fails it is in
// force nevertheless, as far as it is understood.
func ValidateHalt(spec *TradingHaltSpec) field.ErrorList {
	scope := field.NewPath("spec", "scope")
	var errs field.ErrorList
	if spec.Scope.Type == HaltAssetPair {
		if _, err := NormalizePair(spec.Scope.Name); err != nil {
			errs = append(errs, field.Invalid(scope.Child("name"), spec.Scope.Name, err.Error()))
		}
	}
	if _, err := labels.Parse(spec.Scope.Selector); err != nil {
		errs = append(errs, field.Invalid(scope.Child("selector"), spec.Scope.Selector, err.Error()+"; while it cannot be read, the halt binds every agent"))
	}
	return errs
}

// HaltsBinding are the halts of a list that are not released and bind an agent,
// and a sentence that names them; empty if there is none.
func HaltsBinding(halts []Halt, agent *TradingAgent, account *TradingAccount, pairs []AssetPair) ([]Halt, string) {
	var binding []Halt
	var names []string
	for _, halt := range halts {
		if halt.HaltSpec().Released() || !HaltBinds(halt, agent, account, pairs).Bound {
			continue
		}
		binding = append(binding, halt)
		names = append(names, fmt.Sprintf("%s (%s: %s)", halt.Reference(), halt.HaltSpec().State, halt.HaltSpec().Reason))
	}
	if len(names) == 0 {
		return nil, ""
	}
	return binding, fmt.Sprintf("TradingAgent %q is under %s, and comes up so", agent.Name, strings.Join(names, ", "))
}
