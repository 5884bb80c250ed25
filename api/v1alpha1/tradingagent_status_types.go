package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TradingAgentStatus is what an agent does and why.
//
// +kubebuilder:validation:MinProperties=1
type TradingAgentStatus struct {
	// conditions are Ready, Accepted with its phases SchemaValid, PlatformValid,
	// RiskValid and DataValid, ResolvedRefs, PodAvailable, VenueReconciled,
	// TradingEnabled; with an endpoint CertificateReady, RouteReady and
	// EndpointVerified; Reconciling, Stalled and Draining only while they are true.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=24
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 before the operator has seen the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration"`

	// podName is the name of the agent's pod.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podName,omitempty"`

	// podUID is the identity of the one pod that may speak for this agent.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PodUID string `json:"podUID,omitempty"`

	// nodeName is where the pod runs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName,omitempty"`

	// revision says which state of the fields that need a new process is in use.
	// +optional
	Revision *RevisionStatus `json:"revision,omitempty"`

	// pairs that the agent trades, in their canonical spelling, parted by commas and
	// in the order of the spec, such as BTC-USD,EUR-USD; a text, because a column of
	// kubectl shows no lists. A pair that does not exist is not among them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=527
	Pairs string `json:"pairs,omitempty"`

	// endpoint is what the outside world sees of the agent's API.
	// +optional
	Endpoint *EndpointStatus `json:"endpoint,omitempty"`

	// effective shows every resolved setting and where it came from.
	// +optional
	// +listType=map
	// +listMapKey=field
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=192
	Effective []EffectiveValue `json:"effective,omitempty"`

	// trading is written by the agent itself.
	// +optional
	Trading *TradingStatus `json:"trading,omitempty"`
}

// RevisionStatus says which revision of an agent runs. A revision is a
// ControllerRevision that holds the fields of the spec that need a new process.
type RevisionStatus struct {
	// current is the revision that the agent's pod runs or is being brought to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Current string `json:"current,omitempty"`

	// image that the revision runs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// since is when the current revision began.
	// +required
	Since *metav1.Time `json:"since,omitempty"`

	// good is the last revision with which the agent was Ready.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Good string `json:"good,omitempty"`

	// failed is the revision that was given up, while the spec still asks for it.
	// +optional
	Failed *RevisionFailure `json:"failed,omitempty"`
}

// RevisionFailure is the evidence on which a revision was given up.
type RevisionFailure struct {
	// name of the revision.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// time at which it was given up.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// reason why it was not Ready then.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Reason string `json:"reason,omitempty"`

	// message that stood beside the reason.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ValueSource says which object decided a setting.
//
// +kubebuilder:validation:Enum=Spec;RiskPolicy;AssetPair;TradingAccount;Default
type ValueSource string

const (
	// SourceSpec is the agent's own spec.
	SourceSpec ValueSource = "Spec"
	// SourceRiskPolicy is the policy the agent names.
	SourceRiskPolicy ValueSource = "RiskPolicy"
	// SourceAssetPair is the pair's own object.
	SourceAssetPair ValueSource = "AssetPair"
	// SourceTradingAccount is the account the agent trades on.
	SourceTradingAccount ValueSource = "TradingAccount"
	// SourceDefault is the built-in default.
	SourceDefault ValueSource = "Default"
)

// EffectiveValue is one resolved setting.
type EffectiveValue struct {
	// field is the setting's path, such as "decision.intervalSeconds".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Field string `json:"field,omitempty"`

	// value in force.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Value string `json:"value,omitempty"`

	// source that decided it.
	// +required
	Source ValueSource `json:"source,omitempty"`
}

// LoopState is where the agent is in its loop.
//
// +kubebuilder:validation:Enum=RECOVERING;PERCEPTION;REASONING;RISK_CHECK;EXECUTION;LEARNING;IDLE
type LoopState string

// The states of an agent's loop.
const (
	LoopRecovering LoopState = "RECOVERING"
	LoopPerception LoopState = "PERCEPTION"
	LoopReasoning  LoopState = "REASONING"
	LoopRiskCheck  LoopState = "RISK_CHECK"
	LoopExecution  LoopState = "EXECUTION"
	LoopLearning   LoopState = "LEARNING"
	LoopIdle       LoopState = "IDLE"
)

// TradingStatus is what the agent itself reports. A change of state is written
// at once, figures at most once a minute.
type TradingStatus struct {
	// podUID of the process that reports.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PodUID string `json:"podUID,omitempty"`

	// observedGeneration is the generation of the agent's spec that is in force
	// in the process.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration"`

	// epoch under which this process writes to the ledger; it only grows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Epoch int64 `json:"epoch"`

	// reconciledEpoch is the epoch for which the agent has reconciled with its
	// venue. The agent trades only when it equals epoch.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ReconciledEpoch int64 `json:"reconciledEpoch"`

	// state is how far the agent trades now.
	// +required
	State TradingState `json:"state,omitempty"`

	// reason is the word for why the state is what it is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Reason string `json:"reason,omitempty"`

	// message says it in a sentence.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// loop is where the agent is in its loop.
	// +optional
	Loop LoopState `json:"loop,omitempty"`

	// currency of the figures.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=12
	Currency string `json:"currency,omitempty"`

	// equity is cash plus positions at the last price.
	// +optional
	Equity SignedDecimal `json:"equity,omitempty"`

	// pnl is equity less what the agent was given to trade with.
	// +optional
	PNL SignedDecimal `json:"pnl,omitempty"`

	// drawdownFraction is the fall from the highest equity.
	// +optional
	DrawdownFraction Fraction `json:"drawdownFraction,omitempty"`

	// decisions made since the agent was created.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Decisions int64 `json:"decisions"`

	// fills booked since the agent was created.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Fills int64 `json:"fills"`

	// openOrders at the venue, those of unknown outcome included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OpenOrders int32 `json:"openOrders"`

	// positions that are not flat.
	// +optional
	// +listType=map
	// +listMapKey=pair
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Positions []PositionStatus `json:"positions,omitempty"`

	// lastDecision is the newest ruling.
	// +optional
	LastDecision *DecisionStatus `json:"lastDecision,omitempty"`

	// data says which prices are in use.
	// +optional
	Data *DataStatus `json:"data,omitempty"`

	// halts that bind the agent or one of its pairs, and how far it has obeyed
	// each; of more than 32 the newest.
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Halts []HaltAcknowledgement `json:"halts,omitempty"`

	// reportedTime is when the agent wrote this.
	// +optional
	ReportedTime *metav1.Time `json:"reportedTime,omitempty"`
}

// PositionStatus is one position.
type PositionStatus struct {
	// pair in its canonical spelling, such as EUR-USD.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Pair string `json:"pair,omitempty"`

	// quantity in the base currency; negative is short.
	// +required
	Quantity SignedDecimal `json:"quantity,omitempty"`

	// averagePrice paid, in the quote currency.
	// +optional
	AveragePrice Decimal `json:"averagePrice,omitempty"`

	// lastPrice the position is valued at.
	// +optional
	LastPrice Decimal `json:"lastPrice,omitempty"`
}

// DecisionStatus is one ruling of the judge and what became of it.
type DecisionStatus struct {
	// time of the bar that was decided on, in the time of the market data.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// pair in its canonical spelling.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Pair string `json:"pair,omitempty"`

	// action ruled: Buy, Sell or Hold.
	// +required
	// +kubebuilder:validation:Enum=Buy;Sell;Hold
	Action string `json:"action,omitempty"`

	// confidenceFraction of the ruling.
	// +optional
	ConfidenceFraction Fraction `json:"confidenceFraction,omitempty"`

	// outcome is Ordered, or the reason why there was no order.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Outcome string `json:"outcome,omitempty"`
}

// DataStatus says which prices are in use.
//
// +kubebuilder:validation:MinProperties=1
type DataStatus struct {
	// source in use, such as "Replay sample/eurusd-1h at 3600x".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Source string `json:"source,omitempty"`

	// lastBarTime is the end of the newest bar, in the time of the market data.
	// +optional
	LastBarTime *metav1.Time `json:"lastBarTime,omitempty"`
}
