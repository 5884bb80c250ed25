package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LedgerSpec is one PostgreSQL database that agents write to.
type LedgerSpec struct {
	// uriSecretRef names the key of a Secret that holds the database's
	// connection URI, such as postgres://user:password@host:5432/database.
	// +required
	URISecretRef SecretKeyReference `json:"uriSecretRef,omitzero"`

	// agentURISecretRef names the key of a Secret that holds the connection URI for
	// agents: of a role that may add to journals and change nothing, as
	// `trading-agent ledger admit` makes it. If absent, agents connect as the
	// operator does.
	// +optional
	AgentURISecretRef *SecretKeyReference `json:"agentURISecretRef,omitempty"`
}

// AgentURI names where agents find the database's connection URI.
func (s *LedgerSpec) AgentURI() SecretKeyReference {
	if s.AgentURISecretRef != nil {
		return *s.AgentURISecretRef
	}
	return s.URISecretRef
}

// LedgerAnchor is what all hash chains of a ledger came to at one moment. Its size
// does not depend on how many agents there are.
type LedgerAnchor struct {
	// serial counts the anchors that were taken in the database.
	// +required
	// +kubebuilder:validation:Minimum=1
	Serial int64 `json:"serial,omitempty"`

	// digest is the SHA-256 of the heads of all chains, in hexadecimal digits.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest,omitempty"`

	// agents is how many chains there were.
	// +required
	// +kubebuilder:validation:Minimum=0
	Agents *int64 `json:"agents,omitempty"`

	// links is how many links they had together.
	// +required
	// +kubebuilder:validation:Minimum=0
	Links *int64 `json:"links,omitempty"`

	// epochs is the sum of the agents' epochs.
	// +required
	// +kubebuilder:validation:Minimum=0
	Epochs *int64 `json:"epochs,omitempty"`

	// systemIdentifier tells the database cluster, as PostgreSQL numbers them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	SystemIdentifier string `json:"systemIdentifier,omitempty"`

	// timeline of that cluster; a fail-over or a restore to a point in time begins a
	// new one.
	// +required
	// +kubebuilder:validation:Minimum=1
	Timeline int64 `json:"timeline,omitempty"`

	// time at which it was taken.
	// +required
	Time *metav1.Time `json:"time,omitempty"`
}

// LedgerStatus says whether the database can be written to.
//
// +kubebuilder:validation:MinProperties=1
type LedgerStatus struct {
	// conditions are Ready, ResolvedRefs, Reachable, Migrated, Intact; Reconciling
	// and Stalled only while true.
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

	// schemaVersion of the database.
	// +optional
	// +kubebuilder:validation:Minimum=0
	SchemaVersion *int64 `json:"schemaVersion,omitempty"`

	// serverVersion of PostgreSQL, such as "15.18".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ServerVersion string `json:"serverVersion,omitempty"`

	// accounts is how many TradingAccounts are booked here.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Accounts *int32 `json:"accounts,omitempty"`

	// anchor is what the hash chains in the database came to when they were last
	// looked at, at most once an hour: a database that comes back with less has
	// forgotten something.
	// +optional
	Anchor *LedgerAnchor `json:"anchor,omitempty"`
}

// Ledger is one PostgreSQL database that agents write to.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=3"
// +kubebuilder:resource:shortName=ldg,categories=trading
// +kubebuilder:printcolumn:name="Schema",type=integer,JSONPath=`.status.schemaVersion`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.status.serverVersion`
// +kubebuilder:printcolumn:name="Accounts",type=integer,JSONPath=`.status.accounts`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Intact",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Intact")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Ledger struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the database.
	// +required
	Spec LedgerSpec `json:"spec,omitzero"`

	// status says whether the database can be written to.
	// +optional
	// +default={"observedGeneration":-1}
	Status LedgerStatus `json:"status"`
}

// LedgerList is a list of Ledgers.
//
// +kubebuilder:object:root=true
type LedgerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []Ledger `json:"items"`
}
