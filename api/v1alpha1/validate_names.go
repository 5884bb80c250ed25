package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateDistinctPairs checks that no two selectors of the agent mean the same
// declared pair, by an alias for instance. Two spellings of one name are found
// without the pairs, by ValidateTradingAgent.
func ValidateDistinctPairs(agent *TradingAgent, pairs []AssetPair) field.ErrorList {
	var errs field.ErrorList
	first := map[string]string{}
	for i, selector := range agent.Spec.AssetPairs {
		pair := FindPair(pairs, selector.Name)
		if pair == nil {
			continue
		}
		if named, twice := first[pair.Name]; twice {
			path := field.NewPath("spec", "assetPairs").Index(i).Child("name")
			errs = append(errs, field.Invalid(path, selector.Name, fmt.Sprintf("means AssetPair %q, as %q does; name each pair once", pair.Name, named)))
			continue
		}
		first[pair.Name] = selector.Name
	}
	return errs
}
