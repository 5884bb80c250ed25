package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Currency is the code of a currency or asset, such as USD or BTC.
//
// +kubebuilder:validation:MinLength=2
// +kubebuilder:validation:MaxLength=12
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z0-9]{2,12}$')",message="must be 2 to 12 upper-case ASCII letters or digits, such as USD (a look-alike such as the Cyrillic С is refused)"
type Currency string

// RiskPolicySpec holds the limits that bind every agent that names the policy.
// A limit that is not set does not bind, except where a default is named.
type RiskPolicySpec struct {
	// trading says how far the agents of this policy may trade. Enabled when
	// not set; the strictest of policy and agent wins.
	// +optional
	Trading TradingState `json:"trading,omitempty"`

	// currency of every amount in this policy.
	// +required
	Currency Currency `json:"currency,omitempty"`

	// order limits bind each single order.
	// +required
	Order OrderLimits `json:"order,omitzero"`

	// agent limits bind each agent on its own.
	// +required
	Agent AgentLimits `json:"agent,omitzero"`

	// data limits say which prices may be traded on.
	// +optional
	Data *DataLimits `json:"data,omitempty"`
}

// Limits is what an agent may tighten for itself: the same fields as its policy.
//
// +kubebuilder:validation:MinProperties=1
type Limits struct {
	// order limits bind each single order.
	// +optional
	Order *OrderLimits `json:"order,omitempty"`

	// agent limits bind this agent.
	// +optional
	Agent *AgentLimits `json:"agent,omitempty"`

	// data limits say which prices may be traded on.
	// +optional
	Data *DataLimits `json:"data,omitempty"`
}

// OrderLimits bind each single order.
//
// +kubebuilder:validation:MinProperties=1
type OrderLimits struct {
	// maxNotional is the largest value of one order, in the policy's currency.
	// +optional
	MaxNotional PositiveDecimal `json:"maxNotional,omitempty"`

	// priceCollarFraction is how far an order's price may be from the newest
	// price. "0.02" when not set.
	// +optional
	PriceCollarFraction Fraction `json:"priceCollarFraction,omitempty"`

	// maxPerSecond is the largest number of orders sent in one second, in the
	// time of the market data. 5 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxPerSecond int32 `json:"maxPerSecond,omitempty"`
}

// AgentLimits bind each agent on its own. Their counts live in the ledger, so
// that a crash loop resets nothing.
//
// +kubebuilder:validation:MinProperties=1
type AgentLimits struct {
	// maxDrawdownFraction is the largest fall from the highest equity; beyond
	// it the agent only reduces. "0.15" when not set.
	// +optional
	MaxDrawdownFraction Fraction `json:"maxDrawdownFraction,omitempty"`

	// maxDailyLossFraction is the largest loss since the trading day began, of
	// the equity at its beginning; beyond it the agent only reduces.
	// +optional
	MaxDailyLossFraction Fraction `json:"maxDailyLossFraction,omitempty"`

	// maxTradesPerDay is the largest number of orders that open or enlarge a
	// position in one UTC day. 5 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	MaxTradesPerDay *int32 `json:"maxTradesPerDay,omitempty"`

	// maxPositions is the largest number of pairs held at the same time. 2 when
	// not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	MaxPositions *int32 `json:"maxPositions,omitempty"`

	// maxPositionFraction is the largest share of equity that one position may
	// be worth, open orders included. "0.25" when not set.
	// +optional
	MaxPositionFraction Fraction `json:"maxPositionFraction,omitempty"`
}

// DataLimits say which prices may be traded on.
//
// +kubebuilder:validation:MinProperties=1
type DataLimits struct {
	// maxAgeSeconds is how old the newest price may be. 5400 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	MaxAgeSeconds int32 `json:"maxAgeSeconds,omitempty"`
}

// RiskPolicyStatus says whether the policy can bind and whom.
//
// +kubebuilder:validation:MinProperties=1
type RiskPolicyStatus struct {
	// conditions are Ready, Accepted; Reconciling and Stalled only while true.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 before the operator has seen the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration"`

	// agents is how many TradingAgents name this policy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Agents *int32 `json:"agents,omitempty"`
}

// RiskPolicy holds the limits that bind every agent that names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=2"
// +kubebuilder:resource:path=riskpolicies,shortName=rp,categories=trading
// +kubebuilder:printcolumn:name="Trading",type=string,JSONPath=`.spec.trading`
// +kubebuilder:printcolumn:name="Currency",type=string,JSONPath=`.spec.currency`
// +kubebuilder:printcolumn:name="Max-Order",type=string,JSONPath=`.spec.order.maxNotional`
// +kubebuilder:printcolumn:name="Max-Drawdown",type=string,JSONPath=`.spec.agent.maxDrawdownFraction`
// +kubebuilder:printcolumn:name="Agents",type=integer,JSONPath=`.status.agents`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RiskPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec holds the limits.
	// +required
	Spec RiskPolicySpec `json:"spec,omitzero"`

	// status says whether the policy can bind and whom.
	// +optional
	// +default={"observedGeneration":-1}
	Status RiskPolicyStatus `json:"status"`
}

// RiskPolicyList is a list of RiskPolicies.
//
// +kubebuilder:object:root=true
type RiskPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []RiskPolicy `json:"items"`
}
