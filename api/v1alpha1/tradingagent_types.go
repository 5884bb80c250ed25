package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Mode decides whether an agent's orders are simulated or cost money.
//
// +kubebuilder:validation:Enum=Paper;Live
type Mode string

const (
	// ModePaper trades on a paper account only.
	ModePaper Mode = "Paper"
	// ModeLive trades on a live account only.
	ModeLive Mode = "Live"
)

// DeletionPolicy says what becomes of open positions when the agent is deleted.
//
// +kubebuilder:validation:Enum=Flatten;Keep
type DeletionPolicy string

const (
	// DeletionFlatten closes every position before the agent goes.
	DeletionFlatten DeletionPolicy = "Flatten"
	// DeletionKeep cancels open orders and leaves the positions on the account.
	DeletionKeep DeletionPolicy = "Keep"
)

// Direction says which side of the market an agent may hold.
//
// +kubebuilder:validation:Enum=LongOnly;LongShort
type Direction string

const (
	// DirectionLongOnly never holds less than nothing.
	DirectionLongOnly Direction = "LongOnly"
	// DirectionLongShort may sell what it does not hold.
	DirectionLongShort Direction = "LongShort"
)

// RollbackPolicy says what becomes of a revision that does not get Ready.
//
// +kubebuilder:validation:Enum=Automatic;Manual
type RollbackPolicy string

const (
	// RollbackAutomatic runs the last good revision again.
	RollbackAutomatic RollbackPolicy = "Automatic"
	// RollbackManual leaves the revision that the spec asks for in place.
	RollbackManual RollbackPolicy = "Manual"
)

// TradingAgentSpec is what one trader does: which pairs, on which account,
// under which policy, deciding how.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'Live' || self.marketData.source != 'Replay'",fieldPath=".marketData.source",message="is a recording, and orders at prices of the past would cost money; use a live source, or mode Paper"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Live' || has(self.controlPlane) && has(self.controlPlane.onLoss)",message="controlPlane.onLoss is required when mode is Live: say whether the agent shall Continue, go ReduceOnly or Halt while no halt can reach it"
type TradingAgentSpec struct {
	// mode is Paper or Live. Live is refused unless the account is live, and
	// Paper unless it is not.
	// +required
	Mode Mode `json:"mode,omitempty"`

	// trading says whether the agent may trade: Enabled, ReduceOnly or Halted.
	// The strictest of agent and policy wins.
	// +required
	Trading TradingState `json:"trading,omitempty"`

	// accountRef names the TradingAccount that the orders go to. It cannot
	// change: positions and orders belong to the account they were made on.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because open orders and positions belong to the account; delete this agent and create another"
	AccountRef ObjectReference `json:"accountRef,omitzero"`

	// riskPolicyRef names the RiskPolicy whose limits bind this agent.
	// +required
	RiskPolicyRef ObjectReference `json:"riskPolicyRef,omitzero"`

	// assetPairs are the instruments this agent trades.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AssetPairs []AssetPairSelector `json:"assetPairs,omitempty"`

	// decision says how and how often the agent decides.
	// +optional
	Decision *DecisionSpec `json:"decision,omitempty"`

	// sizing says how large an order the agent proposes.
	// +optional
	Sizing *SizingSpec `json:"sizing,omitempty"`

	// marketData says where prices come from.
	// +required
	MarketData MarketDataSpec `json:"marketData,omitzero"`

	// limits tighten the policy for this agent alone; they never loosen it.
	// +optional
	Limits *Limits `json:"limits,omitempty"`

	// endpoint gives the agent's API a verified HTTPS address outside the cluster.
	// Without it the API is reachable inside the cluster only.
	// +optional
	Endpoint *EndpointSpec `json:"endpoint,omitempty"`

	// api says how the agent's HTTP and WebSocket API lets clients in.
	// +optional
	API *APISpec `json:"api,omitempty"`

	// image of the agent's process. When not set, it is the operator's default at
	// the time at which the present revision began, so that upgrading the
	// operator restarts nobody.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-zA-Z0-9._:/]*[a-zA-Z0-9])?(@sha256:[0-9a-f]{64})?$')",message="must be an image reference without spaces, such as registry.example.com/trading-agent:v1.2.3"
	Image string `json:"image,omitempty"`

	// rollback says what becomes of a change that needs a new process and does
	// not get Ready in time: Automatic runs the last good revision again and says
	// so, Manual leaves it. The spec itself is never rewritten, and limits,
	// trading and halts are never rolled back. Automatic when not set.
	// +optional
	Rollback RollbackPolicy `json:"rollback,omitempty"`

	// progressDeadlineSeconds is how long a new revision may take to get Ready,
	// while its venue, its ledger and its node are up. 300 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=86400
	ProgressDeadlineSeconds int32 `json:"progressDeadlineSeconds,omitempty"`

	// drainDeadlineSeconds is how long the drain of a node waits for an agent
	// that holds a position or has an open order. 600 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DrainDeadlineSeconds int32 `json:"drainDeadlineSeconds,omitempty"`

	// controlPlane says what the agent does while it cannot see the API server, so
	// that no halt would reach it.
	// +optional
	ControlPlane *ControlPlaneSpec `json:"controlPlane,omitempty"`

	// deletionPolicy says what becomes of open positions when this agent is
	// deleted: Flatten closes them first, Keep leaves them on the account.
	// Keep when not set.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// AssetPairSelector finds one AssetPair of the namespace by any spelling that
// the pair declares: "BTC-USD", "btcusd", "BTC/USD" and "btc_usd" are the same.
type AssetPairSelector struct {
	// name of the pair: the AssetPair's own name, its base and quote in any
	// usual spelling, or one of its aliases.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!self.contains(':')",message="is derivatives notation; this names a spot pair, such as BTC-USDT"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[ -~]*$')",message="has a character that is not ASCII (a look-alike such as the Cyrillic б?); write it with the letters A to Z and digits, such as BTC-USD"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[ -~]*$') || self.contains(':') || self.matches('^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$')",message="must be letters and digits, parted by single - / _ or spaces, such as BTC-USD"
	Name string `json:"name,omitempty"`
}

// DecisionSpec says how and how often an agent decides.
//
// +kubebuilder:validation:MinProperties=1
type DecisionSpec struct {
	// intervalSeconds between two decisions about one pair, in the time of the
	// market data. 300 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`

	// minConfidenceFraction is the confidence a proposal needs to become an
	// order. "0.70" when not set.
	// +optional
	MinConfidenceFraction Fraction `json:"minConfidenceFraction,omitempty"`

	// direction is LongOnly or LongShort. LongOnly when not set.
	// +optional
	Direction Direction `json:"direction,omitempty"`

	// debate names the models that argue and rule.
	// +optional
	Debate *DebateSpec `json:"debate,omitempty"`
}

// DebateSpec names the three voices of the debate.
//
// +kubebuilder:validation:MinProperties=1
type DebateSpec struct {
	// bull argues for buying. builtin/trend when not set.
	// +optional
	Bull *DebaterSpec `json:"bull,omitempty"`

	// bear argues for selling. builtin/reversion when not set.
	// +optional
	Bear *DebaterSpec `json:"bear,omitempty"`

	// judge weighs both and rules. builtin/quorum when not set.
	// +optional
	Judge *JudgeSpec `json:"judge,omitempty"`
}

// DebaterSpec is one side of the debate.
type DebaterSpec struct {
	// model that speaks for this side.
	// +required
	// +kubebuilder:validation:Enum=builtin/trend;builtin/reversion
	Model string `json:"model,omitempty"`
}

// JudgeSpec is the voice that rules.
type JudgeSpec struct {
	// model that rules.
	// +required
	// +kubebuilder:validation:Enum=builtin/quorum
	Model string `json:"model,omitempty"`
}

// SizingSpec says how large an order the agent proposes. The policy's limits
// bind on top of it.
//
// +kubebuilder:validation:MinProperties=1
type SizingSpec struct {
	// riskFraction of the agent's equity that one trade may lose at its stop.
	// "0.01" when not set.
	// +optional
	RiskFraction Fraction `json:"riskFraction,omitempty"`

	// stopFraction is how far the price may move against a position before it
	// is closed. "0.02" when not set.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be greater than zero: a stop at the entry price closes every position at once"
	StopFraction Fraction `json:"stopFraction,omitempty"`

	// targetFraction is how far the price must move in favour of a position for
	// it to be closed with its profit. When not set, a position has no target.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be greater than zero: a target at the entry price closes every position at once"
	TargetFraction Fraction `json:"targetFraction,omitempty"`
}

// DataSource is where prices come from.
//
// +kubebuilder:validation:Enum=Replay;Coinbase
type DataSource string

const (
	// DataSourceReplay plays a recorded data set back at a chosen speed.
	DataSourceReplay DataSource = "Replay"
	// DataSourceCoinbase follows the public candles of Coinbase Exchange, which
	// need no credentials.
	DataSourceCoinbase DataSource = "Coinbase"
)

// MarketDataSpec says where prices come from.
//
// +kubebuilder:validation:XValidation:rule="self.source != 'Replay' || has(self.replay)",message="replay is required when source is Replay"
// +kubebuilder:validation:XValidation:rule="self.source == 'Replay' || !has(self.replay)",message="replay is for source Replay only; remove it, or set source to Replay"
// +kubebuilder:validation:XValidation:rule="self.source == 'Coinbase' || !has(self.coinbase)",message="coinbase is for source Coinbase only; remove it, or set source to Coinbase"
type MarketDataSpec struct {
	// source of the prices.
	// +required
	Source DataSource `json:"source,omitempty"`

	// replay says what is played back, with source Replay.
	// +optional
	Replay *ReplaySpec `json:"replay,omitempty"`

	// coinbase says which candles are followed, with source Coinbase.
	// +optional
	Coinbase *CoinbaseDataSpec `json:"coinbase,omitempty"`
}

// CoinbaseDataSpec says which candles of Coinbase Exchange are followed.
//
// +kubebuilder:validation:MinProperties=1
type CoinbaseDataSpec struct {
	// granularitySeconds is the length of the candles. 60 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:validation:Enum=60;300;900;3600;21600;86400
	GranularitySeconds int32 `json:"granularitySeconds,omitempty"`
}

// ReplaySpec says which recording is played back and how fast.
type ReplaySpec struct {
	// dataset is the recording: "sample/…" ships inside the agent, anything
	// else is a path below the agent's data directory. With several pairs, "{pair}"
	// stands for the pair's name in lower case without separators.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9_./{}]+$') && !self.contains('..') && !self.startsWith('/')",message="must be a relative path of letters, digits, - _ . and /, without \"..\""
	Dataset string `json:"dataset,omitempty"`

	// speed is how many seconds of the recording pass in one second. 1 when
	// not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Speed int32 `json:"speed,omitempty"`
}

// TradingAgent is one trader: which pairs, on which account, under which
// policy, deciding how.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=5"
// +kubebuilder:resource:shortName=ta,categories=trading
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Pairs",type=string,JSONPath=`.status.pairs`
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.riskPolicyRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Trading",type=string,JSONPath=`.status.trading.state`
// +kubebuilder:printcolumn:name="Equity",type=string,JSONPath=`.status.trading.equity`
// +kubebuilder:printcolumn:name="PnL",type=string,JSONPath=`.status.trading.pnl`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Pod",type=string,priority=1,JSONPath=`.status.podName`
// +kubebuilder:printcolumn:name="Node",type=string,priority=1,JSONPath=`.status.nodeName`
// +kubebuilder:printcolumn:name="Revision",type=string,priority=1,JSONPath=`.status.revision.current`
// +kubebuilder:printcolumn:name="Last-Decision",type=string,priority=1,JSONPath=`.status.trading.lastDecision.outcome`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.status.endpoint.url`
// +kubebuilder:printcolumn:name="Cert-Days",type=integer,priority=1,JSONPath=`.status.endpoint.daysLeft`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name must be at most 52 characters, so that the names of the agent's pod and service account fit"
type TradingAgent struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the agent shall do.
	// +required
	Spec TradingAgentSpec `json:"spec,omitzero"`

	// status is what the agent does.
	// +optional
	// +default={"observedGeneration":-1}
	Status TradingAgentStatus `json:"status"`
}

// TradingAgentList is a list of TradingAgents.
//
// +kubebuilder:object:root=true
type TradingAgentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []TradingAgent `json:"items"`
}
