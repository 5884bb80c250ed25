package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HaltState is how far a halt lets agents trade.
//
// +kubebuilder:validation:Enum=ReduceOnly;Halted
type HaltState string

const (
	// HaltReduceOnly lets through only orders that shrink a position.
	HaltReduceOnly HaltState = "ReduceOnly"
	// HaltHalted lets no order out but those of task Flatten.
	HaltHalted HaltState = "Halted"
)

// HaltTask says what becomes of open orders and positions under a halt.
//
// +kubebuilder:validation:Enum=Keep;CancelOrders;Flatten
type HaltTask string

const (
	// HaltKeep leaves open orders at the venue.
	HaltKeep HaltTask = "Keep"
	// HaltCancelOrders cancels open orders: with state Halted all of them, with
	// ReduceOnly those that open or enlarge a position.
	HaltCancelOrders HaltTask = "CancelOrders"
	// HaltFlatten cancels open orders and closes every position, with orders that
	// only reduce it and that pass the limits.
	HaltFlatten HaltTask = "Flatten"
)

// HaltScopeType is the kind of thing that a halt stops.
//
// +kubebuilder:validation:Enum=Everything;Agent;RiskPolicy;TradingAccount;Venue;AssetPair;Model
type HaltScopeType string

const (
	// HaltEverything is every agent: of the namespace, or of the cluster.
	HaltEverything HaltScopeType = "Everything"
	// HaltAgent is one agent by its name, or those that labels select.
	HaltAgent HaltScopeType = "Agent"
	// HaltRiskPolicy is every agent of a policy.
	HaltRiskPolicy HaltScopeType = "RiskPolicy"
	// HaltTradingAccount is every agent on an account.
	HaltTradingAccount HaltScopeType = "TradingAccount"
	// HaltVenue is every agent whose account is at a venue.
	HaltVenue HaltScopeType = "Venue"
	// HaltAssetPair is one pair. An agent goes on trading its others.
	HaltAssetPair HaltScopeType = "AssetPair"
	// HaltModel is every agent in whose debate a model speaks or rules.
	HaltModel HaltScopeType = "Model"
)

// HaltScope says what a halt stops. A TradingHalt binds agents of its own
// namespace, a ClusterTradingHalt those of every namespace.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="has(self.selector) == has(oldSelf.selector) && (!has(self.selector) || self.selector == oldSelf.selector)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="self.type != 'Everything' || !has(self.name) && !has(self.selector)",message="type Everything takes neither name nor selector"
// +kubebuilder:validation:XValidation:rule="self.type != 'Agent' || has(self.name) != has(self.selector)",message="type Agent needs either name or selector"
// +kubebuilder:validation:XValidation:rule="self.type in ['Everything', 'Agent'] || has(self.name) && !has(self.selector)",message="this type needs name, and takes no selector"
// +kubebuilder:validation:XValidation:rule="self.type != 'AssetPair' || !has(self.name) || self.name.matches('^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$')",message="name must be a pair in letters and digits, parted by single - / _ or spaces, such as BTC-USD"
type HaltScope struct {
	// type of what is stopped.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
	Type HaltScopeType `json:"type,omitempty"`

	// name of what is stopped: of the TradingAgent, the RiskPolicy or the
	// TradingAccount; the venue, such as Coinbase; the pair in any spelling that it
	// declares, such as BTC-USD; or the model, such as builtin/trend.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	Name string `json:"name,omitempty"`

	// selector finds agents by their labels, with type Agent, such as
	// "team=eur,tier=1": an agent must have all of them. One that a halt has bound
	// stays bound when its labels change.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9_./]+=[-A-Za-z0-9_.]*(,[-A-Za-z0-9_./]+=[-A-Za-z0-9_.]*)*$')",message="must be labels with their values, parted by commas and without spaces, such as team=eur,tier=1"
	Selector string `json:"selector,omitempty"`
}

// HaltReleaser says who may release a halt.
//
// +kubebuilder:validation:Enum=Anyone;AnotherPerson
type HaltReleaser string

const (
	// ReleaseByAnyone lets everybody release it who may write halts.
	ReleaseByAnyone HaltReleaser = "Anyone"
	// ReleaseByAnother lets everybody do so but who has requested it.
	ReleaseByAnother HaltReleaser = "AnotherPerson"
)

// HaltDrill says that a halt is an exercise.
//
// +kubebuilder:validation:Enum=Paper
type HaltDrill string

// DrillPaper binds agents of mode Paper alone.
const DrillPaper HaltDrill = "Paper"

// TradingHaltSpec is a latched halt: it takes effect when it is created, and
// nothing but its release ends it.
//
// +kubebuilder:validation:XValidation:rule="has(self.task) == has(oldSelf.task) && (!has(self.task) || self.task == oldSelf.task)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="has(self.releaseBy) == has(oldSelf.releaseBy) && (!has(self.releaseBy) || self.releaseBy == oldSelf.releaseBy)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="has(self.deadlineSeconds) == has(oldSelf.deadlineSeconds) && (!has(self.deadlineSeconds) || self.deadlineSeconds == oldSelf.deadlineSeconds)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="has(self.drill) == has(oldSelf.drill) && (!has(self.drill) || self.drill == oldSelf.drill)",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.release) || has(self.release)",message="a release is final; create another halt"
type TradingHaltSpec struct {
	// state is ReduceOnly or Halted. The strictest of everything that binds an
	// agent wins.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
	State HaltState `json:"state,omitempty"`

	// task is Keep, CancelOrders or Flatten. The widest of the halts that bind an
	// agent wins. CancelOrders when not set.
	// +optional
	Task HaltTask `json:"task,omitempty"`

	// scope says what is stopped.
	// +required
	Scope HaltScope `json:"scope,omitzero"`

	// reason why, for those who find the desk halted.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
	Reason string `json:"reason,omitempty"`

	// requestedBy is the user who creates the halt, as the API server knows them
	// (kubectl auth whoami). Another name is refused.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a halt cannot change but for its release; create another one beside it, the strictest binds"
	RequestedBy string `json:"requestedBy,omitempty"`

	// releaseBy is Anyone who may write halts, or AnotherPerson than the one who
	// has requested it. Anyone when not set.
	// +optional
	ReleaseBy HaltReleaser `json:"releaseBy,omitempty"`

	// deadlineSeconds is how long an agent may take to acknowledge; one that takes
	// longer is fenced. 10 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	DeadlineSeconds int32 `json:"deadlineSeconds,omitempty"`

	// drill makes this an exercise: with Paper it binds agents of mode Paper alone,
	// and takes the whole way of a halt on them.
	// +optional
	Drill HaltDrill `json:"drill,omitempty"`

	// release ends the halt. It cannot be given at creation, and not be taken back.
	// +optional
	Release *HaltRelease `json:"release,omitempty"`
}

// HaltRelease ends a halt.
type HaltRelease struct {
	// by is the user who releases the halt, as the API server knows them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a release is final; create another halt"
	By string `json:"by,omitempty"`

	// reason why trading may go on.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a release is final; create another halt"
	Reason string `json:"reason,omitempty"`
}

// TradingHaltStatus says who has obeyed a halt. Once the halt is released it
// stays as it was then.
//
// +kubebuilder:validation:MinProperties=1
type TradingHaltStatus struct {
	// conditions are Ready, Accepted and Enforced; Reconciling and Stalled only
	// while true.
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

	// scope in words, such as "Venue Coinbase".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Scope string `json:"scope,omitempty"`

	// matched is how many agents the halt binds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Matched *int32 `json:"matched,omitempty"`

	// acknowledged is how many of them let no order out any more that the halt
	// forbids, by their own word.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged *int32 `json:"acknowledged,omitempty"`

	// done is how many of them have done the task, confirmed by their venue.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Done *int32 `json:"done,omitempty"`

	// absent is how many of them have no process, so that nothing can leave. They
	// come up halted, and do the task then.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Absent *int32 `json:"absent,omitempty"`

	// overdue is how many of them have not acknowledged within deadlineSeconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Overdue *int32 `json:"overdue,omitempty"`

	// firstAcknowledgedTime is when the first agent acknowledged, by its own clock.
	// +optional
	FirstAcknowledgedTime *metav1.MicroTime `json:"firstAcknowledgedTime,omitempty"`

	// lastAcknowledgedTime is when the last agent so far did.
	// +optional
	LastAcknowledgedTime *metav1.MicroTime `json:"lastAcknowledgedTime,omitempty"`

	// enforcedTime is when the operator first found that every agent was done.
	// +optional
	EnforcedTime *metav1.MicroTime `json:"enforcedTime,omitempty"`

	// overdueAgents are at most ten of the overdue, and what was done about them.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	OverdueAgents []OverdueAgent `json:"overdueAgents,omitempty"`
}

// FenceStep is something that the operator does about an agent that does not
// acknowledge a halt.
//
// +kubebuilder:validation:Enum=EpochAdvanced;VenueStopped;PodDeleted
type FenceStep string

const (
	// FenceEpoch has advanced the agent's epoch in the ledger, so that no intent of
	// its process can be committed any more.
	FenceEpoch FenceStep = "EpochAdvanced"
	// FenceVenue has told the venue to cancel everything in the agent's pairs.
	FenceVenue FenceStep = "VenueStopped"
	// FencePod has deleted the agent's pod, never by force.
	FencePod FenceStep = "PodDeleted"
)

// OverdueAgent is an agent that does not acknowledge a halt.
type OverdueAgent struct {
	// namespace of the agent.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the agent.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// podUID of the process that the steps were taken against.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PodUID string `json:"podUID,omitempty"`

	// steps that were taken against it, and succeeded.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Steps []FenceStep `json:"steps,omitempty"`

	// message says which steps could not be taken, and why.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// HaltProgress is how far an agent has obeyed a halt.
//
// +kubebuilder:validation:Enum=Acknowledged;Done
type HaltProgress string

const (
	// HaltAcknowledged means that no order leaves any more that the halt forbids.
	HaltAcknowledged HaltProgress = "Acknowledged"
	// HaltDone means that the task is done too, confirmed by the venue.
	HaltDone HaltProgress = "Done"
)

// HaltAcknowledgement is what an agent says of a halt that binds it.
type HaltAcknowledgement struct {
	// uid of the halt.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`

	// halt is the kind and name of it, such as TradingHalt/stop.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Halt string `json:"halt,omitempty"`

	// state is Acknowledged or Done.
	// +required
	State HaltProgress `json:"state,omitempty"`

	// acknowledgedTime is since when no order leaves any more that the halt forbids.
	// +required
	AcknowledgedTime *metav1.MicroTime `json:"acknowledgedTime,omitempty"`

	// doneTime is when the venue had confirmed that the task was done.
	// +optional
	DoneTime *metav1.MicroTime `json:"doneTime,omitempty"`

	// message says what is left to be done, and what is in the way.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// TradingHalt stops agents of its namespace until it is released.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=1"
// +kubebuilder:resource:shortName=halt,categories=trading
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.spec.task`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.status.scope`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`
// +kubebuilder:printcolumn:name="Done",type=integer,JSONPath=`.status.done`
// +kubebuilder:printcolumn:name="Overdue",type=integer,JSONPath=`.status.overdue`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.requestedBy`
// +kubebuilder:printcolumn:name="Released-By",type=string,JSONPath=`.spec.release.by`
// +kubebuilder:printcolumn:name="Enforced",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Drill",type=string,priority=1,JSONPath=`.spec.drill`
type TradingHalt struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is stopped, and its release.
	// +required
	Spec TradingHaltSpec `json:"spec,omitzero"`

	// status says who has obeyed.
	// +optional
	// +default={"observedGeneration":-1}
	Status TradingHaltStatus `json:"status"`
}

// TradingHaltList is a list of TradingHalts.
//
// +kubebuilder:object:root=true
type TradingHaltList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []TradingHalt `json:"items"`
}

// ClusterTradingHalt stops agents of every namespace until it is released.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=1"
// +kubebuilder:resource:scope=Cluster,shortName=chalt,categories=trading
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.spec.task`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.status.scope`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`
// +kubebuilder:printcolumn:name="Done",type=integer,JSONPath=`.status.done`
// +kubebuilder:printcolumn:name="Overdue",type=integer,JSONPath=`.status.overdue`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.requestedBy`
// +kubebuilder:printcolumn:name="Released-By",type=string,JSONPath=`.spec.release.by`
// +kubebuilder:printcolumn:name="Enforced",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Drill",type=string,priority=1,JSONPath=`.spec.drill`
type ClusterTradingHalt struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is stopped, and its release.
	// +required
	Spec TradingHaltSpec `json:"spec,omitzero"`

	// status says who has obeyed.
	// +optional
	// +default={"observedGeneration":-1}
	Status TradingHaltStatus `json:"status"`
}

// ClusterTradingHaltList is a list of ClusterTradingHalts.
//
// +kubebuilder:object:root=true
type ClusterTradingHaltList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []ClusterTradingHalt `json:"items"`
}
