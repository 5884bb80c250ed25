package tradingagent

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// finding is what a policy objects to; an empty reason objects to nothing.
type finding struct{ reason, message string }

func (f finding) ok() bool { return f.reason == "" }

// policy judges one thing about an agent.
type policy func(*scope) finding

// references are judged in this order: what must exist, then what must be Ready,
// before a pod may start.
var references = []policy{
	accountExists,
	policyExists,
	pairsExist,
	ledgerExists,
	ledgerSecretExists,
	referencesReady,
}

// check returns the first finding of a chain.
func check(s *scope, chain []policy) finding {
	for _, judge := range chain {
		if found := judge(s); !found.ok() {
			return found
		}
	}
	return finding{}
}

func accountExists(s *scope) finding {
	if s.account != nil {
		return finding{}
	}
	return finding{v1alpha1.ReasonAccountNotFound, fmt.Sprintf("TradingAccount %q does not exist; create it, or correct spec.accountRef.name", s.agent.Spec.AccountRef.Name)}
}

func policyExists(s *scope) finding {
	if s.policy != nil {
		return finding{}
	}
	return finding{v1alpha1.ReasonRiskPolicyNotFound, fmt.Sprintf("RiskPolicy %q does not exist; create it, or correct spec.riskPolicyRef.name", s.agent.Spec.RiskPolicyRef.Name)}
}

func pairsExist(s *scope) finding {
	for i, pair := range s.tradedPairs() {
		if pair == nil {
			return finding{v1alpha1.ReasonAssetPairNotFound, fmt.Sprintf("no AssetPair has the name %q; create it, add the name to a pair's aliases, or correct spec.assetPairs[%d].name", s.agent.Spec.AssetPairs[i].Name, i)}
		}
	}
	return finding{}
}

func ledgerExists(s *scope) finding {
	if s.ledger != nil {
		return finding{}
	}
	return finding{v1alpha1.ReasonLedgerNotFound, fmt.Sprintf("Ledger %q of account %q does not exist; create it", s.account.Spec.LedgerRef.Name, s.account.Name)}
}

// ledgerSecretExists asks the Ledger's own status: its controller reads Secrets,
// this one does not.
func ledgerSecretExists(s *scope) finding {
	resolved := reconcile.StatusOf(s.ledger).Get(v1alpha1.ConditionResolvedRefs)
	if resolved == nil || resolved.Reason != v1alpha1.ReasonLedgerSecretNotFound {
		return finding{}
	}
	return finding{v1alpha1.ReasonLedgerSecretNotFound, fmt.Sprintf("Ledger %q: %s", s.ledger.Name, resolved.Message)}
}

func referencesReady(s *scope) finding {
	traded := s.tradedPairs()
	objects := append(make([]client.Object, 0, 3+len(traded)), s.ledger, s.account, s.policy)
	for _, pair := range traded {
		objects = append(objects, pair)
	}
	kinds := []string{"Ledger", "TradingAccount", "RiskPolicy", "AssetPair"}
	for i, object := range objects {
		// A Ready of an older generation will do: it is looked at again in a
		// moment, and an edited policy must not make all of its agents blink.
		ready := reconcile.StatusOf(object).Get(v1alpha1.ConditionReady)
		if ready != nil && ready.Status == metav1.ConditionTrue {
			continue
		}
		message := "has not been looked at yet"
		if ready != nil {
			message = "is not Ready: " + ready.Reason
		}
		return finding{v1alpha1.ReasonReferenceNotReady, fmt.Sprintf("%s %q %s", kinds[min(i, len(kinds)-1)], object.GetName(), message)}
	}
	return finding{}
}

// The validators of admission once more, for objects that are older than a rule or
// came while the webhook was away.

func specIsValid(s *scope) finding {
	errs := v1alpha1.ValidateTradingAgent(s.agent)
	return judged(v1alpha1.ReasonInvalidSpec, append(errs, v1alpha1.ValidateDistinctPairs(s.agent, s.pairs)...))
}

func modeFitsAccount(s *scope) finding {
	return judged(v1alpha1.ReasonModeMismatch, v1alpha1.ValidateMode(s.agent, s.account))
}

func directionFitsVenue(s *scope) finding {
	return judged(v1alpha1.ReasonShortUnsupported, v1alpha1.ValidateDirection(s.agent, s.account))
}

func currenciesAgree(s *scope) finding {
	return judged(v1alpha1.ReasonCurrencyMismatch, v1alpha1.ValidateCurrencies(s.agent, s.account, s.policy, s.pairs))
}

func pairsAreFree(s *scope) finding {
	return judged(v1alpha1.ReasonPairTaken, v1alpha1.ValidateUniquePairs(s.agent, s.elders, s.pairs))
}

// judged turns what a validator returns into a finding. The validators see no
// Secret, so their words may stand in status.
func judged(reason string, errs field.ErrorList) finding {
	if len(errs) == 0 {
		return finding{}
	}
	words := make([]string, len(errs))
	for i, err := range errs {
		words[i] = err.Error()
	}
	return finding{reason, strings.Join(words, "; ")}
}
