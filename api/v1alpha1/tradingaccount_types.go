package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Venue is where orders go.
//
// +kubebuilder:validation:Enum=Paper;Coinbase;Alpaca;Kraken;Gemini
type Venue string

const (
	// VenuePaper fills orders against the agent's own market data. Its book is
	// kept in the account's ledger.
	VenuePaper Venue = "Paper"
	// VenueCoinbase is Coinbase Advanced Trade.
	VenueCoinbase Venue = "Coinbase"
	// VenueAlpaca is Alpaca's Trading API.
	VenueAlpaca Venue = "Alpaca"
	// VenueKraken is Kraken's spot exchange.
	VenueKraken Venue = "Kraken"
	// VenueGemini is Gemini's spot exchange.
	VenueGemini Venue = "Gemini"
)

// VenueEnvironment is which of a venue's systems an account is on.
//
// +kubebuilder:validation:Enum=Production;Sandbox
type VenueEnvironment string

const (
	// EnvironmentProduction is where orders cost money.
	EnvironmentProduction VenueEnvironment = "Production"
	// EnvironmentSandbox is where they do not.
	EnvironmentSandbox VenueEnvironment = "Sandbox"
)

// TradingAccountSpec is one account at one venue.
//
// +kubebuilder:validation:XValidation:rule="self.venue != 'Paper' || has(self.paper)",message="paper is required when venue is Paper"
// +kubebuilder:validation:XValidation:rule="self.venue == 'Paper' || !has(self.paper)",message="paper is for venue Paper only; remove it"
// +kubebuilder:validation:XValidation:rule="self.venue != 'Coinbase' || has(self.coinbase)",message="coinbase is required when venue is Coinbase"
// +kubebuilder:validation:XValidation:rule="self.venue == 'Coinbase' || !has(self.coinbase)",message="coinbase is for venue Coinbase only; remove it"
// +kubebuilder:validation:XValidation:rule="self.venue != 'Alpaca' || has(self.alpaca)",message="alpaca is required when venue is Alpaca"
// +kubebuilder:validation:XValidation:rule="self.venue == 'Alpaca' || !has(self.alpaca)",message="alpaca is for venue Alpaca only; remove it"
// +kubebuilder:validation:XValidation:rule="self.venue != 'Kraken' || has(self.kraken)",message="kraken is required when venue is Kraken"
// +kubebuilder:validation:XValidation:rule="self.venue == 'Kraken' || !has(self.kraken)",message="kraken is for venue Kraken only; remove it"
// +kubebuilder:validation:XValidation:rule="self.venue != 'Gemini' || has(self.gemini)",message="gemini is required when venue is Gemini"
// +kubebuilder:validation:XValidation:rule="self.venue == 'Gemini' || !has(self.gemini)",message="gemini is for venue Gemini only; remove it"
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

	// coinbase is the account at Coinbase Advanced Trade, with venue Coinbase.
	// +optional
	Coinbase *CoinbaseAccountSpec `json:"coinbase,omitempty"`

	// alpaca is the account at Alpaca, with venue Alpaca.
	// +optional
	Alpaca *AlpacaAccountSpec `json:"alpaca,omitempty"`

	// kraken is the account at Kraken, with venue Kraken.
	// +optional
	Kraken *KrakenAccountSpec `json:"kraken,omitempty"`

	// gemini is the account at Gemini, with venue Gemini.
	// +optional
	Gemini *GeminiAccountSpec `json:"gemini,omitempty"`

	// total limits bind all agents of this account together, in its currency.
	// +optional
	Total *TotalLimits `json:"total,omitempty"`
}

// AccountShare is the part of an account's money that an agent on it trades with.
type AccountShare struct {
	// currency that the agents' books and limits are in, and that every pair they
	// trade is quoted in. It cannot change: the agents' books are kept in it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because the agents' books are kept in it; create another TradingAccount"
	Currency Currency `json:"currency,omitempty"`

	// balance that each agent on the account starts with: its share of the money
	// that is at the venue. What the agents' books come to together is compared with
	// what the venue says that the account holds; money beyond that is the owner's
	// own. It cannot change: agents were given it, and their profit is counted from
	// it.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because the account's agents were given it and their profit is counted from it; create another TradingAccount"
	Balance PositiveDecimal `json:"balance,omitempty"`
}

// CoinbaseAccountSpec is an account at Coinbase Advanced Trade: the portfolio
// that an API key was made for.
type CoinbaseAccountSpec struct {
	// environment is Production or Sandbox. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because orders and positions belong to the environment they were made in; create another TradingAccount"
	Environment VenueEnvironment `json:"environment,omitempty"`

	// credentialsRef names the Secret with the API key: its name under the key
	// "key-name" and its ECDSA private key in PEM under "private-key". It may name
	// another Secret later, for a key of the same portfolio.
	// +required
	CredentialsRef ObjectReference `json:"credentialsRef,omitzero"`

	AccountShare `json:",inline"`
}

// AlpacaAccountSpec is an account at Alpaca.
type AlpacaAccountSpec struct {
	// environment is Production, or Sandbox for one of Alpaca's paper accounts. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because orders and positions belong to the environment they were made in; create another TradingAccount"
	Environment VenueEnvironment `json:"environment,omitempty"`

	// credentialsRef names the Secret with the API key: its ID under the key
	// "key-id" and its secret under "secret-key". It may name another Secret later,
	// for a key of the same account.
	// +required
	CredentialsRef ObjectReference `json:"credentialsRef,omitzero"`

	AccountShare `json:",inline"`
}

// KrakenAccountSpec is an account at Kraken's spot exchange.
type KrakenAccountSpec struct {
	// environment is Production, or Sandbox for a simulator behind the operator's
	// gateway: Kraken has no sandbox of its spot exchange. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because orders and positions belong to the environment they were made in; create another TradingAccount"
	Environment VenueEnvironment `json:"environment,omitempty"`

	// credentialsRef names the Secret with the API key: its public part under the
	// key "api-key" and its private part under "private-key". It may name another
	// Secret later, for a key of the same account.
	// +required
	CredentialsRef ObjectReference `json:"credentialsRef,omitzero"`

	AccountShare `json:",inline"`
}

// GeminiAccountSpec is an account at Gemini: the one that an account-scoped API key
// was made for.
type GeminiAccountSpec struct {
	// environment is Production or Sandbox. It cannot change.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cannot change, because orders and positions belong to the environment they were made in; create another TradingAccount"
	Environment VenueEnvironment `json:"environment,omitempty"`

	// credentialsRef names the Secret with the API key: its public part under the
	// key "api-key" and its secret under "api-secret". It may name another Secret
	// later, for a key of the same account.
	// +required
	CredentialsRef ObjectReference `json:"credentialsRef,omitzero"`

	AccountShare `json:",inline"`
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

	// venueAccount is what the venue says of the account and of the key to it.
	// +optional
	VenueAccount *VenueAccountStatus `json:"venueAccount,omitempty"`
}

// KeyPermission is one thing that a key to an account is allowed.
//
// +kubebuilder:validation:Enum=View;Trade;Transfer
type KeyPermission string

const (
	// PermissionView reads balances and orders.
	PermissionView KeyPermission = "View"
	// PermissionTrade sends and cancels orders.
	PermissionTrade KeyPermission = "Trade"
	// PermissionTransfer moves money out of the account.
	PermissionTransfer KeyPermission = "Transfer"
)

// VenueAccountStatus is what a venue says of an account.
type VenueAccountStatus struct {
	// id of the account at its venue, such as the UUID of a portfolio at Coinbase.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id,omitempty"`

	// type of the account in the venue's own words, such as DEFAULT.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Type string `json:"type,omitempty"`

	// permissions of the key that the credentials hold.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Permissions []KeyPermission `json:"permissions,omitempty"`
}

// TradingAccount is one account at one venue.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="trading.three-rivers-tech.com/schema-revision=5"
// +kubebuilder:resource:shortName=tac,categories=trading
// +kubebuilder:printcolumn:name="Venue",type=string,JSONPath=`.spec.venue`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.spec.*.environment`
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
