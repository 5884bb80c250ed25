package v1alpha1

import (
	"fmt"
	"math/big"
	"regexp"
)

var (
	decimalPattern  = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$`)
	fractionPattern = regexp.MustCompile(`^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$`)
)

// Rat is the exact value of a decimal string. It fails on anything that the
// schema would refuse, because objects may be older than a rule and files never
// saw the schema.
func Rat[D ~string](d D) (*big.Rat, error) {
	if !decimalPattern.MatchString(string(d)) {
		return nil, fmt.Errorf("%q is not a decimal number such as \"1000\" or \"0.02\"", string(d))
	}
	value, ok := new(big.Rat).SetString(string(d))
	if !ok {
		return nil, fmt.Errorf("%q is not a decimal number such as \"1000\" or \"0.02\"", string(d))
	}
	return value, nil
}

// notAbove reports whether a limit is at most another. A string that is not a
// decimal counts as zero, the strictest limit.
func notAbove[D ~string](a, b D) bool {
	return ratOrZero(a).Cmp(ratOrZero(b)) <= 0
}

func ratOrZero[D ~string](d D) *big.Rat {
	value, err := Rat(d)
	if err != nil {
		return new(big.Rat)
	}
	return value
}
