package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Venue is where orders go.
//
// +kubebuilder:validation:Enum=Paper
type Venue string

// VenuePaper fills orders against the agent's own market data. Its book is kept
// in the account's ledger.
const VenuePaper Venue = "Paper"

// TradingAccountSpec is one account at one venue.
//
// +kubebuilder:validation:XValidation:rule="self.venue != 'Paper' || has(self.paper)",message="paper is required when venue is Paper"
type TradingAccountSpec struct {
	// venue of the account. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because orders and positions belong to the venue; create another TradingAccount"
	Venue Venue `json:"venue,omitempty"`

	// ledgerRef names the Ledger that everything on this account is booked in.
	// It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because the account's orders and positions are booked there; create another TradingAccount"
	LedgerRef ObjectReference `json:"ledgerRef,omitzero"`

	// paper is the simulated account, with venue Paper.
	// +optional
	Paper *PaperAccountSpec `json:"paper,omitempty"`
}

// PaperAccountSpec is a simulated account. Each agent on it is given the
// balance once, when it first starts.
type PaperAccountSpec struct {
	// currency of the account. It cannot change: the agents' books are kept in it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because the agents' books are kept in it; create another TradingAccount"
	Currency Currency `json:"currency,omitempty"`

	// balance that each agent on the account starts with. It cannot change:
	// agents were given it, and their profit is counted from it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because the account's agents were given it and their profit is counted from it; create another TradingAccount"
	Balance PositiveDecimal `json:"balance,omitempty"`

	// takerFeeFraction of the value of a fill that takes liquidity. "0.0006"
	// when not set.
	// +optional
	TakerFeeFraction Fraction `json:"takerFeeFraction,omitempty"`

	// makerFeeFraction of the value of a fill that gives liquidity. "0.00025"
	// when not set.
	// +optional
	MakerFeeFraction Fraction `json:"makerFeeFraction,omitempty"`

	// spreadFraction between bid and ask, where the data has no quotes.
	// "0.0005" when not set.
	// +optional
	SpreadFraction Fraction `json:"spreadFraction,omitempty"`

	// slippageFraction is the most that a fill is worse than the quote.
	// "0.001" when not set.
	// +optional
	SlippageFraction Fraction `json:"slippageFraction,omitempty"`

	// partialFillFraction is the share of orders that fill in more than one
	// part. "0.10" when not set.
	// +optional
	PartialFillFraction Fraction `json:"partialFillFraction,omitempty"`

	// latencyMilliseconds between an order's acceptance and its first possible
	// fill, in the time of the market data. 50 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=60000
	LatencyMilliseconds *int32 `json:"latencyMilliseconds,omitempty"`

	// seed of slippage and partial fills: the same seed, data and orders give
	// the same fills. 1 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Seed *int64 `json:"seed,omitempty"`
}

// TradingAccountStatus says whether the venue answers.
//
// +kubebuilder:validation:MinProperties=1
type TradingAccountStatus struct {
	// conditions are Ready, Accepted, ResolvedRefs, VenueReachable; Reconciling and
	// Stalled only while true.
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

	// agents is how many TradingAgents trade on this account.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Agents *int32 `json:"agents,omitempty"`
}

// TradingAccount is one account at one venue.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=2"
// +kubebuilder:resource:shortName=tac,categories=trading
// +kubebuilder:printcolumn:name="Venue",type=string,JSONPath=`.spec.venue`
// +kubebuilder:printcolumn:name="Ledger",type=string,JSONPath=`.spec.ledgerRef.name`
// +kubebuilder:printcolumn:name="Agents",type=integer,JSONPath=`.status.agents`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TradingAccount struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the account.
	// +required
	Spec TradingAccountSpec `json:"spec,omitzero"`

	// status says whether the venue answers.
	// +optional
	// +default={"observedGeneration":-1}
	Status TradingAccountStatus `json:"status"`
}

// TradingAccountList is a list of TradingAccounts.
//
// +kubebuilder:object:root=true
type TradingAccountList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []TradingAccount `json:"items"`
}
