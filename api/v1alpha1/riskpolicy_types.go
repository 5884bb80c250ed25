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

	// total limits bind all agents of this policy together. Live and paper
	// agents are summed apart.
	// +optional
	Total *TotalLimits `json:"total,omitempty"`

	// restrictedPairs are pairs in which the agents of this policy open nothing;
	// what they hold may be reduced. Any name of an AssetPair of the namespace.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$')",message="must be ASCII letters and digits, parted by single - / _ or spaces, such as BTC-USD"
	RestrictedPairs []string `json:"restrictedPairs,omitempty"`
}

// TotalLimits bind several agents together. Each agent holds a share of them in
// the ledger, so that all of them together never exceed the total.
//
// +kubebuilder:validation:MinProperties=1
type TotalLimits struct {
	// maxGrossNotional is the largest value of all positions of all these agents,
	// long and short added up, open orders included. It binds opening only.
	// +optional
	MaxGrossNotional PositiveDecimal `json:"maxGrossNotional,omitempty"`
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

	// minNotional is the smallest value of an order that opens or enlarges a
	// position, in the policy's currency. The pair's own holds besides.
	// +optional
	MinNotional PositiveDecimal `json:"minNotional,omitempty"`

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

	// duplicateWindowSeconds is for how long an opening order of the same pair,
	// side, quantity and price as an earlier one is refused, in the time of the
	// market data. Nothing counts as a duplicate when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	DuplicateWindowSeconds int32 `json:"duplicateWindowSeconds,omitempty"`
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

	// maxGrossNotional is the largest value of all positions, long and short added
	// up, open orders included, in the policy's currency.
	// +optional
	MaxGrossNotional PositiveDecimal `json:"maxGrossNotional,omitempty"`

	// maxNetNotional is the largest value by which long positions may outweigh
	// short ones, or the other way round, open orders included.
	// +optional
	MaxNetNotional PositiveDecimal `json:"maxNetNotional,omitempty"`

	// maxLeverage is how many times equity all positions may be worth, long and
	// short added up, open orders included. "5" when not set.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,3}([.][0-9]{1,9})?$')",message="must be a number of times below 1000 with at most nine digits, such as \"5\" or \"1.5\""
	MaxLeverage PositiveDecimal `json:"maxLeverage,omitempty"`

	// maxConsecutiveLosses is the number of trades in a row that lose, from flat
	// to flat and after fees, at which nothing is opened any more until a named
	// person allows it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxConsecutiveLosses int32 `json:"maxConsecutiveLosses,omitempty"`

	// stopCoolDownSeconds is how long nothing is opened in a pair after its stop,
	// in the time of the market data.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	StopCoolDownSeconds int32 `json:"stopCoolDownSeconds,omitempty"`

	// maxCorrelatedPositions is the largest number of pairs held at the same time
	// that move together. 2 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	MaxCorrelatedPositions *int32 `json:"maxCorrelatedPositions,omitempty"`

	// correlationFraction is the correlation of returns above which two pairs move
	// together, whichever the sign. "0.7" when not set.
	// +optional
	CorrelationFraction Fraction `json:"correlationFraction,omitempty"`

	// maxValueAtRiskFraction is the largest share of equity that all positions may
	// lose within a day in the worst of twenty, by the returns of the last 60 days;
	// with fewer than 30 returns nothing is opened. "0.05" when not set.
	// +optional
	MaxValueAtRiskFraction Fraction `json:"maxValueAtRiskFraction,omitempty"`

	// maxVolatilityFraction is the deviation of a day's returns above which a
	// decision needs volatileConfidenceFraction. "0.05" when not set.
	// +optional
	MaxVolatilityFraction Fraction `json:"maxVolatilityFraction,omitempty"`

	// volatileConfidenceFraction is the confidence that a decision needs to open a
	// position in a pair that is volatile. "0.80" when not set.
	// +optional
	VolatileConfidenceFraction Fraction `json:"volatileConfidenceFraction,omitempty"`

	// maxAutomaticExits is the number of stops within automaticExitWindowSeconds
	// at which the agent only reduces until a named person allows more.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	MaxAutomaticExits int32 `json:"maxAutomaticExits,omitempty"`

	// automaticExitWindowSeconds is how far back stops count, in the time of the
	// market data. 86400 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	AutomaticExitWindowSeconds int32 `json:"automaticExitWindowSeconds,omitempty"`
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

	// maxFrozenBars is how many bars in a row may have changed nothing before
	// prices count as frozen.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxFrozenBars int32 `json:"maxFrozenBars,omitempty"`

	// maxMissingBars is how many bars may be missing before the newest one for it
	// to be traded on.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	MaxMissingBars *int32 `json:"maxMissingBars,omitempty"`
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
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=3"
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
