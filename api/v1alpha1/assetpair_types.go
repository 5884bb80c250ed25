package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AssetPairSpec is one instrument.
//
// +kubebuilder:validation:XValidation:rule="self.base != self.quote",message="base and quote must differ"
type AssetPairSpec struct {
	// base is what is bought and sold, such as BTC. It cannot change: positions
	// are counted in it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because positions are counted in it; create another AssetPair"
	Base Currency `json:"base,omitempty"`

	// quote is what prices are in, such as USD. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because prices are in it; create another AssetPair"
	Quote Currency `json:"quote,omitempty"`

	// aliases are other names of the pair, such as XBTUSD. Each must be unique
	// among the pairs of the namespace after normalisation.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$')",message="must be ASCII letters and digits, parted by single - / _ or spaces, such as XBT-USD"
	Aliases []string `json:"aliases,omitempty"`

	// tickSize is the smallest step of the price, in the quote currency. It
	// cannot change: the ledger counts prices in it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because recorded prices are counted in it; create another AssetPair"
	TickSize PositiveDecimal `json:"tickSize,omitempty"`

	// lotSize is the smallest step of the quantity, in the base currency. It
	// cannot change: the ledger counts quantities in it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because recorded quantities are counted in it; create another AssetPair"
	LotSize PositiveDecimal `json:"lotSize,omitempty"`

	// minNotional is the smallest value of an order, in the quote currency.
	// +optional
	MinNotional Decimal `json:"minNotional,omitempty"`

	// minQuantity is the smallest quantity of an order that opens or enlarges a
	// position, in the base currency.
	// +optional
	MinQuantity PositiveDecimal `json:"minQuantity,omitempty"`

	// maxQuantity is the largest quantity of one order, in the base currency. A
	// larger position is left in several orders.
	// +optional
	MaxQuantity PositiveDecimal `json:"maxQuantity,omitempty"`

	// session is when positions may be opened; always when not set.
	// +optional
	Session *SessionSpec `json:"session,omitempty"`
}

// SessionSpec says when a pair is traded, by the clocks of a place.
type SessionSpec struct {
	// timeZone of the hours, as the IANA time zone database names it, such as
	// America/New_York or UTC.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`
	TimeZone string `json:"timeZone,omitempty"`

	// hours in which positions may be opened.
	// +required
	// +listType=map
	// +listMapKey=day
	// +listMapKey=open
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=28
	Hours []SessionHours `json:"hours,omitempty"`
}

// Weekday is a day of the week.
//
// +kubebuilder:validation:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
type Weekday string

// SessionHours are hours of one day.
type SessionHours struct {
	// day on which the session opens.
	// +required
	Day Weekday `json:"day,omitempty"`

	// open is when, such as "09:30".
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	Open string `json:"open,omitempty"`

	// close is when the session ends, such as "16:00" or "24:00"; an hour that is
	// not later than open is on the next day.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:Pattern=`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`
	Close string `json:"close,omitempty"`
}

// AssetPairStatus says whether the pair can be traded and who does.
//
// +kubebuilder:validation:MinProperties=1
type AssetPairStatus struct {
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

	// canonical is the spelling that every other place shows, such as BTC-USD.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Canonical string `json:"canonical,omitempty"`

	// agents is how many TradingAgents trade this pair.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Agents *int32 `json:"agents,omitempty"`
}

// AssetPair is one instrument: base, quote, aliases, tick and lot size.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=3"
// +kubebuilder:resource:shortName=ap,categories=trading
// +kubebuilder:printcolumn:name="Pair",type=string,JSONPath=`.status.canonical`
// +kubebuilder:printcolumn:name="Tick",type=string,JSONPath=`.spec.tickSize`
// +kubebuilder:printcolumn:name="Lot",type=string,JSONPath=`.spec.lotSize`
// +kubebuilder:printcolumn:name="Min-Notional",type=string,JSONPath=`.spec.minNotional`
// +kubebuilder:printcolumn:name="Agents",type=integer,JSONPath=`.status.agents`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AssetPair struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the instrument.
	// +required
	Spec AssetPairSpec `json:"spec,omitzero"`

	// status says whether the pair can be traded and who does.
	// +optional
	// +default={"observedGeneration":-1}
	Status AssetPairStatus `json:"status"`
}

// AssetPairList is a list of AssetPairs.
//
// +kubebuilder:object:root=true
type AssetPairList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []AssetPair `json:"items"`
}
