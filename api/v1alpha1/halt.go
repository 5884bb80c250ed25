package v1alpha1

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// DefaultHaltDeadlineSeconds is how long an agent may take to acknowledge a halt.
const DefaultHaltDeadlineSeconds int32 = 10

// Halt is a TradingHalt or a ClusterTradingHalt.
//
// +kubebuilder:object:generate=false
// +kubebuilder:ac:generate=false
type Halt interface {
	metav1.Object
	runtime.Object
	// HaltSpec and HaltStatus are the halt's own, not copies.
	HaltSpec() *TradingHaltSpec
	HaltStatus() *TradingHaltStatus
	// Reference names the halt for people, such as TradingHalt/stop.
	Reference() string
}

var (
	_ Halt = (*TradingHalt)(nil)
	_ Halt = (*ClusterTradingHalt)(nil)
)

// HaltSpec implements Halt.
func (h *TradingHalt) HaltSpec() *TradingHaltSpec { return &h.Spec }

// HaltStatus implements Halt.
func (h *TradingHalt) HaltStatus() *TradingHaltStatus { return &h.Status }

// Reference implements Halt.
func (h *TradingHalt) Reference() string { return "TradingHalt/" + h.Name }

// HaltSpec implements Halt.
func (h *ClusterTradingHalt) HaltSpec() *TradingHaltSpec { return &h.Spec }

// HaltStatus implements Halt.
func (h *ClusterTradingHalt) HaltStatus() *TradingHaltStatus { return &h.Status }

// Reference implements Halt.
func (h *ClusterTradingHalt) Reference() string { return "ClusterTradingHalt/" + h.Name }

// Halts are the halts of two lists, the oldest first.
func Halts(own []TradingHalt, cluster []ClusterTradingHalt) []Halt {
	halts := make([]Halt, 0, len(own)+len(cluster))
	for i := range own {
		halts = append(halts, &own[i])
	}
	for i := range cluster {
		halts = append(halts, &cluster[i])
	}
	slices.SortStableFunc(halts, func(a, b Halt) int {
		if older := a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time); older != 0 {
			return older
		}
		return strings.Compare(string(a.GetUID()), string(b.GetUID()))
	})
	return halts
}

// Released reports whether somebody has released the halt.
func (s *TradingHaltSpec) Released() bool { return s.Release != nil }

// Deadline is how long an agent may take to acknowledge.
func (s *TradingHaltSpec) Deadline() time.Duration {
	if s.DeadlineSeconds > 0 {
		return time.Duration(s.DeadlineSeconds) * time.Second
	}
	return time.Duration(DefaultHaltDeadlineSeconds) * time.Second
}

// Trading is the state of trading that the halt asks for. A word that this binary
// does not know halts.
func (s *TradingHaltSpec) Trading() TradingState {
	if s.State == HaltReduceOnly {
		return TradingReduceOnly
	}
	return TradingHalted
}

// EffectiveTask is the task with its default. A word that this binary does not
// know cancels orders: it closes nothing that nobody has asked to be closed.
func (s *TradingHaltSpec) EffectiveTask() HaltTask {
	if s.Task == HaltKeep || s.Task == HaltFlatten {
		return s.Task
	}
	return HaltCancelOrders
}

// String says what is stopped, such as "Venue Coinbase".
func (s *HaltScope) String() string {
	words := string(s.Type)
	if s.Name != "" {
		words += " " + s.Name
	}
	if s.Selector != "" {
		words += " " + s.Selector
	}
	const longest = 500
	if len(words) > longest {
		words = words[:longest] + "…"
	}
	return words
}

// selects reports whether the labels are among those that the selector finds. One
// that cannot be read finds everybody.
func (s *HaltScope) selects(having map[string]string) bool {
	selector, err := labels.Parse(s.Selector)
	return err != nil || selector.Matches(labels.Set(having))
}

// Binding is what a halt means for one agent.
//
// +kubebuilder:object:generate=false
// +kubebuilder:ac:generate=false
type Binding struct {
	// Bound says that the halt binds the agent, or at least one of its pairs.
	Bound bool
	// Pairs that it binds, in canonical spelling; nil is all of the agent's.
	Pairs []string
}

// HaltBinds says whether a halt binds an agent by what manifests say now. Account
// may be nil, and pairs are those of the agent's namespace. Of a halt that is
// released nothing is asked here. What may be meant is bound: a scope that this
// binary does not know binds everybody, because it may be stricter than it knows.
func HaltBinds(halt Halt, agent *TradingAgent, account *TradingAccount, pairs []AssetPair) Binding {
	if halt.GetNamespace() != "" && halt.GetNamespace() != agent.Namespace {
		return Binding{}
	}
	spec := halt.HaltSpec()
	if spec.Drill == DrillPaper && agent.Spec.Mode != ModePaper {
		return Binding{}
	}
	scope := &spec.Scope
	switch scope.Type {
	case HaltAgent:
		if scope.Selector != "" {
			return Binding{Bound: scope.selects(agent.Labels)}
		}
		return Binding{Bound: scope.Name == agent.Name}
	case HaltRiskPolicy:
		return Binding{Bound: scope.Name == agent.Spec.RiskPolicyRef.Name}
	case HaltTradingAccount:
		return Binding{Bound: scope.Name == agent.Spec.AccountRef.Name}
	case HaltVenue:
		// Where an account without a manifest trades is not known; a process of its
		// agent may have open orders there.
		return Binding{Bound: account == nil || strings.EqualFold(scope.Name, string(account.Spec.Venue))}
	case HaltAssetPair:
		return bindsPair(scope.Name, agent, pairs)
	case HaltModel:
		settings, _ := Resolve(agent, nil)
		return Binding{Bound: slices.Contains([]string{settings.BullModel, settings.BearModel, settings.JudgeModel}, scope.Name)}
	case HaltEverything:
	}
	return Binding{Bound: true}
}

// HaltHolds is HaltBinds for an agent that the halt has bound before: nothing but its
// release lets the agent go, whatever the manifests say now.
func HaltHolds(halt Halt, agent *TradingAgent, account *TradingAccount, pairs []AssetPair) Binding {
	binding := HaltBinds(halt, agent, account, pairs)
	if scope := &halt.HaltSpec().Scope; !binding.Bound && scope.Type == HaltAssetPair {
		// Which pair was meant is not known once nobody declares it: all are bound.
		if pair := FindPair(pairs, scope.Name); pair != nil {
			binding.Pairs = []string{pair.Canonical()}
		}
	}
	binding.Bound = true
	return binding
}

// HaltTold reports whether a process of the agent has said that a halt binds it,
// whichever process that was.
func HaltTold(halt Halt, agent *TradingAgent) bool {
	trading := agent.Status.Trading
	return trading != nil && slices.ContainsFunc(trading.Halts, func(told HaltAcknowledgement) bool { return told.UID == string(halt.GetUID()) })
}

// bindsPair finds the agent's pair that a name means. Of pairs that nobody has
// declared, the spellings are compared.
func bindsPair(name string, agent *TradingAgent, pairs []AssetPair) Binding {
	halted := pairIdentity(pairs, name)
	for _, selector := range agent.Spec.AssetPairs {
		if pairIdentity(pairs, selector.Name) != halted {
			continue
		}
		if pair := FindPair(pairs, selector.Name); pair != nil {
			return Binding{Bound: true, Pairs: []string{pair.Canonical()}}
		}
		// The agent cannot trade a pair that does not exist; what it may mean is
		// not known, so all of it is bound.
		return Binding{Bound: true}
	}
	return Binding{}
}
