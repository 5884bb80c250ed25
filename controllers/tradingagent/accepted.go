package tradingagent

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// phase is one part of what makes a spec accepted, with a condition of its own.
type phase struct {
	condition string
	// chain of policies; the first finding is the phase's.
	chain []policy
	// needs is what must exist for the phase to be known.
	needs []policy
	// valid is what is said when nothing was found.
	valid string
	// newOnly phases hold back an agent that has never run and a revision that is
	// new. A pod that was lost is replaced nevertheless: somebody must mind the
	// agent's positions.
	newOnly bool
}

// phases in the order in which their findings lead.
var phases = []phase{
	{
		condition: v1alpha1.ConditionSchemaValid,
		chain:     []policy{specIsValid},
		valid:     "every field is as the schema wants it",
	},
	{
		condition: v1alpha1.ConditionPlatformValid,
		chain:     []policy{platformIsValid, currenciesAgree, pairsAreFree},
		needs:     []policy{accountExists, policyExists, pairsExist},
		valid:     "account, mode and pairs fit the venue and each other",
	},
	{
		condition: v1alpha1.ConditionRiskValid,
		chain:     []policy{limitsAllow, limitsAreTighter, limitsBind},
		needs:     []policy{accountExists, policyExists, pairsExist},
		valid:     "the limits fit each other, the pairs and the account",
		newOnly:   true,
	},
	{
		condition: v1alpha1.ConditionDataValid,
		chain:     []policy{dataArrives, datasetFits, providerHas},
		needs:     []policy{pairsExist},
		valid:     "the market data is there, fresh and long enough",
		newOnly:   true,
	},
}

// The findings that stall nobody. Remarks leave a phase True, unknowns leave it
// open, and what passes by itself is waited for.
var (
	remarks  = []string{v1alpha1.ReasonLimitLooserThanRule, v1alpha1.ReasonLimitNeverBinds, v1alpha1.ReasonDataUnchecked, v1alpha1.ReasonDataReceived}
	unknowns = []string{v1alpha1.ReasonVenueChecking, v1alpha1.ReasonDataChecking}
	passing  = []string{v1alpha1.ReasonVenueUnreachable, v1alpha1.ReasonVenueRateLimited, v1alpha1.ReasonDataUnreachable, v1alpha1.ReasonDataStale}
)

// verdict is what a phase, or all of them, come to.
type verdict struct {
	status metav1.ConditionStatus
	finding
}

// judge takes an agent through the phase.
func (p *phase) judge(s *scope) verdict {
	if p.condition != v1alpha1.ConditionSchemaValid && !specIsValid(s).ok() {
		return verdict{metav1.ConditionUnknown, finding{v1alpha1.ReasonInvalidSpec, "is judged when SchemaValid is True"}}
	}
	found := check(s, p.chain)
	switch {
	case slices.Contains(unknowns, found.reason):
		return p.lastWord(s, found)
	case !found.ok() && !slices.Contains(remarks, found.reason):
		return verdict{metav1.ConditionFalse, found}
	}
	if missing := check(s, p.needs); !missing.ok() {
		return verdict{metav1.ConditionUnknown, missing}
	}
	if found.ok() {
		found = finding{v1alpha1.ReasonAccepted, p.valid}
	}
	return verdict{metav1.ConditionTrue, found}
}

// lastWord lets a phase that was valid at this generation, or waited for what passes
// by itself, stay so until it is known again: an operator that has been restarted
// must not make its agents blink.
func (p *phase) lastWord(s *scope, found finding) verdict {
	last := reconcile.StatusOf(s.before).Get(p.condition)
	if last != nil && last.ObservedGeneration == s.agent.Generation &&
		(last.Status == metav1.ConditionTrue || slices.Contains(passing, last.Reason)) {
		return verdict{last.Status, finding{last.Reason, last.Message}}
	}
	return verdict{metav1.ConditionUnknown, found}
}

// accepted sums the phases up: the first that is not valid leads, and one that is
// not known counts only where none is invalid.
func accepted(verdicts []verdict) verdict {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, judged := range verdicts {
			if judged.status == status {
				return judged
			}
		}
	}
	for _, judged := range verdicts {
		if judged.reason == v1alpha1.ReasonLimitLooserThanRule {
			return judged
		}
	}
	return verdict{metav1.ConditionTrue, finding{v1alpha1.ReasonAccepted, "the spec is valid"}}
}

// mayStart reports whether a pod may be created or replaced. It never stops a pod
// that runs.
func mayStart(s *scope) bool {
	if !check(s, references).ok() {
		return false
	}
	return valid(s, !s.lost())
}

// valid reports whether the phases let a pod start, those of a new revision only
// where they are asked for.
func valid(s *scope, isNew bool) bool {
	for i := range phases {
		if (isNew || !phases[i].newOnly) && phases[i].judge(s).status != metav1.ConditionTrue {
			return false
		}
	}
	return true
}

// lost reports whether the agent had a pod and has none now.
func (s *scope) lost() bool {
	return s.pod == nil && controllerutil.ContainsFinalizer(s.agent, v1alpha1.AgentFinalizer)
}

// reportAccepted sets Accepted and its phases.
func reportAccepted(s *scope) verdict {
	verdicts := make([]verdict, len(phases))
	for i := range phases {
		verdicts[i] = phases[i].judge(s)
		s.status().Set(phases[i].condition, verdicts[i].status, verdicts[i].reason, verdicts[i].message, s.now)
	}
	sum := accepted(verdicts)
	s.status().Set(v1alpha1.ConditionAccepted, sum.status, sum.reason, sum.message, s.now)
	return sum
}

// outcome of a spec that is not accepted, or not yet.
func (v verdict) outcome() reconcile.Outcome {
	if v.status == metav1.ConditionUnknown || slices.Contains(passing, v.reason) {
		// Whoever finds out more wakes the agent.
		return reconcile.Wait(v.reason, v.message, 0)
	}
	return reconcile.Stall(v.reason, v.message)
}

// reportResolved sets ResolvedRefs.
func reportResolved(s *scope, unresolved finding) {
	if unresolved.ok() {
		s.status().Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolved, "account, ledger, policy and pairs exist", s.now)
		return
	}
	s.status().Set(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, unresolved.reason, unresolved.message, s.now)
}

// reportSettings shows what the manifests come to, and the pairs as every other
// place spells them.
func reportSettings(s *scope) {
	traded := s.tradedPairs()
	_, effective := v1alpha1.Resolve(s.agent, s.policy)
	if s.account != nil {
		effective = append(effective, v1alpha1.ResolveAccount(s.account)...)
	}
	s.agent.Status.Effective = slices.Concat(effective, v1alpha1.ResolvePairs(traded))
	var names []string
	for _, pair := range traded {
		// Two selectors of one pair are found elsewhere.
		if pair != nil && !slices.Contains(names, pair.Canonical()) {
			names = append(names, pair.Canonical())
		}
	}
	s.agent.Status.Pairs = strings.Join(names, ",")
}

// limitsAllow finds limits under which the agent could never open a position.
func limitsAllow(s *scope) finding {
	objections, _ := reviewRisk(s)
	return riskFinding(objections)
}

// limitsAreTighter: a policy that is tightened must never stop its agents. The
// stricter limit binds anyway, so this is said and nothing is withheld.
func limitsAreTighter(s *scope) finding {
	found := judged(v1alpha1.ReasonLimitLooserThanRule, v1alpha1.ValidateTighter(s.agent.Spec.Limits, s.policy))
	if !found.ok() {
		found.message += "; the policy's limit binds"
	}
	return found
}

// limitsBind names limits that never deny anything.
func limitsBind(s *scope) finding {
	_, remarks := reviewRisk(s)
	return riskFinding(remarks)
}

func reviewRisk(s *scope) (objections, remarks []v1alpha1.RiskFinding) {
	traded := s.tradedPairs()
	if s.policy == nil || s.account == nil || slices.Contains(traded, nil) {
		return nil, nil
	}
	return v1alpha1.ValidateRisk(s.agent, s.policy, s.account, traded)
}

func riskFinding(found []v1alpha1.RiskFinding) finding {
	if len(found) == 0 {
		return finding{}
	}
	message := found[0].String()
	for _, more := range found[1:] {
		message = fmt.Sprintf("%s; %s", message, more)
	}
	return finding{found[0].Reason, message}
}
