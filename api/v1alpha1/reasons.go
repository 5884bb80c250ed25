package v1alpha1

import "slices"

// Types of conditions. Reconciling and Stalled are present only while True, as
// kstatus and the tools built on it expect.
const (
	ConditionReady           = "Ready"
	ConditionReconciling     = "Reconciling"
	ConditionStalled         = "Stalled"
	ConditionAccepted        = "Accepted"
	ConditionResolvedRefs    = "ResolvedRefs"
	ConditionPodAvailable    = "PodAvailable"
	ConditionVenueReconciled = "VenueReconciled"
	ConditionTradingEnabled  = "TradingEnabled"
	ConditionVenueReachable  = "VenueReachable"
	ConditionReachable       = "Reachable"
	ConditionMigrated        = "Migrated"
	// The four phases of Accepted.
	ConditionSchemaValid   = "SchemaValid"
	ConditionPlatformValid = "PlatformValid"
	ConditionRiskValid     = "RiskValid"
	ConditionDataValid     = "DataValid"
	// The conditions of an agent's endpoint. They inform; they do not unready an
	// agent that trades.
	ConditionCertificateReady = "CertificateReady"
	ConditionRouteReady       = "RouteReady"
	ConditionEndpointVerified = "EndpointVerified"
	// ConditionDraining is present only while the agent's node is being emptied.
	ConditionDraining = "Draining"
)

// Reasons. The same word stands in conditions, events and log lines. Every
// reason has a row in Reasons, from which the reference is generated.
const (
	ReasonReady                = "Ready"
	ReasonAccepted             = "Accepted"
	ReasonResolved             = "Resolved"
	ReasonInvalidSpec          = "InvalidSpec"
	ReasonModeMismatch         = "ModeMismatch"
	ReasonLimitLooserThanRule  = "LimitLooserThanPolicy"
	ReasonCurrencyMismatch     = "CurrencyMismatch"
	ReasonPairTaken            = "PairTaken"
	ReasonAliasCollision       = "AliasCollision"
	ReasonAccountNotFound      = "AccountNotFound"
	ReasonRiskPolicyNotFound   = "RiskPolicyNotFound"
	ReasonAssetPairNotFound    = "AssetPairNotFound"
	ReasonLedgerNotFound       = "LedgerNotFound"
	ReasonLedgerSecretNotFound = "LedgerSecretNotFound"
	ReasonReferenceNotReady    = "ReferenceNotReady"
	ReasonPodCreated           = "PodCreated"
	ReasonPodStarting          = "PodStarting"
	ReasonPodRunning           = "PodRunning"
	ReasonPodReplacing         = "PodReplacing"
	ReasonPodFailed            = "PodFailed"
	ReasonPodNotOwned          = "PodNotOwned"
	ReasonImagePull            = "ImagePullFailed"
	ReasonVenueReconciling     = "VenueReconciling"
	ReasonVenueReconciled      = "VenueReconciled"
	ReasonVenueReachable       = "VenueReachable"
	ReasonVenueUnreachable     = "VenueUnreachable"
	ReasonLedgerReachable      = "LedgerReachable"
	ReasonLedgerUnreachable    = "LedgerUnreachable"
	ReasonLedgerRefused        = "LedgerRefused"
	ReasonLedgerNotDurable     = "LedgerNotDurable"
	ReasonLedgerMigrated       = "LedgerMigrated"
	ReasonLedgerMigration      = "LedgerMigrationFailed"
	ReasonLedgerNewer          = "LedgerNewerThanOperator"
	ReasonTrading              = "Trading"
	ReasonReduceOnly           = "ReduceOnlyRequested"
	ReasonHalted               = "HaltRequested"
	ReasonRecovering           = "Recovering"
	ReasonFenced               = "Fenced"
	ReasonLedgerUnavailable    = "LedgerUnavailable"
	ReasonUnresolvedOrders     = "UnresolvedOrders"
	ReasonPositionMismatch     = "PositionMismatch"
	ReasonReplayFinished       = "ReplayFinished"
	ReasonDataUnavailable      = "DataUnavailable"
	ReasonPolicyMissing        = "PolicyMissing"
	ReasonFlattening           = "Flattening"
	ReasonFlat                 = "Flat"
	ReasonStopped              = "Stopped"
	ReasonNotReporting         = "NotReporting"
	ReasonTerminating          = "Terminating"
	ReasonDeletionBlocked      = "DeletionBlocked"
	ReasonPositionsAbandoned   = "PositionsAbandoned"
	ReasonRetrying             = "Retrying"
	ReasonChildNotOwned        = "ChildNotOwned"
	ReasonChildRefused         = "ChildRefused"
	ReasonSpecNotInForce       = "SpecNotInForce"
	ReasonClaimsNotReleased    = "ClaimsNotReleased"
	ReasonRolledBack           = "RolledBack"
	ReasonRolloutFailed        = "RolloutFailed"
	ReasonDuplicatePod         = "DuplicatePod"
	ReasonPodEvicted           = "PodEvicted"
	ReasonPodEndOverdue        = "PodEndOverdue"
	ReasonOutOfMemory          = "OutOfMemory"
	ReasonNodeLost             = "NodeLost"
	ReasonDrainWaiting         = "DrainWaiting"
	ReasonDrainOverdue         = "DrainOverdue"
)

// Reason explains one reason word.
type Reason struct {
	// Word as it stands in conditions, events and logs.
	Word string
	// Meaning in a sentence.
	Meaning string
	// Cure is what the user can do; empty where nothing needs to be done.
	Cure string
}

// Reasons explains every reason word of the operator and the agents, in the
// order of an object's life. The limits of the risk gate have a table of their
// own, beside the gate.
func Reasons() []Reason {
	return slices.Concat(objectReasons(), acceptedReasons(), ledgerReasons(), venueReasons(), endpointReasons(), haltReasons())
}

func objectReasons() []Reason {
	return []Reason{
		{ReasonAccepted, "The spec is valid.", ""},
		{ReasonInvalidSpec, "The spec breaks a rule; the message names field and rule.", "Correct the field that the message names."},
		{ReasonModeMismatch, "The agent's mode does not fit its account: Live needs a live account and Paper a paper account.", "Correct spec.mode, or delete the agent and create it on another account."},
		{ReasonLimitLooserThanRule, "spec.limits would loosen a limit of the RiskPolicy.", "Lower the limit, or remove it so that the policy's holds."},
		{ReasonCurrencyMismatch, "Account, policy and pairs are not in the same currency.", "Use pairs whose quote is the account's currency, and a policy in that currency."},
		{ReasonPairTaken, "Another agent trades this pair on the same account.", "Remove the pair from one of the two agents, or use another account."},
		{ReasonAliasCollision, "Another, older AssetPair of the namespace has one of these names.", "Remove the alias, or delete one of the two pairs."},
		{ReasonResolved, "Everything that the object refers to exists.", ""},
		{ReasonAccountNotFound, "The TradingAccount does not exist.", "Create it, or correct spec.accountRef.name."},
		{ReasonRiskPolicyNotFound, "The RiskPolicy does not exist.", "Create it, or correct spec.riskPolicyRef.name."},
		{ReasonAssetPairNotFound, "No AssetPair of the namespace has this name.", "Create it, add the name to a pair's aliases, or correct spec.assetPairs."},
		{ReasonLedgerNotFound, "The Ledger does not exist.", "Create it, or correct the account's spec.ledgerRef.name."},
		{ReasonLedgerSecretNotFound, "The Secret with the database's URI, or its key, does not exist.", "Create it, or correct the ledger's spec.uriSecretRef."},
		{ReasonReferenceNotReady, "Something that the object refers to exists but is not Ready.", "Look at the object that the message names."},
		{ReasonPodCreated, "The agent's pod was created.", ""},
		{ReasonPodStarting, "The pod is being scheduled or started.", "If it stays so, look at kubectl describe pod."},
		{ReasonPodRunning, "The pod runs.", ""},
		{ReasonPodReplacing, "The spec has changed: the old pod is ending, and the new one starts when it is gone.", ""},
		{ReasonPodFailed, "The agent's process keeps failing.", "Look at kubectl logs of the pod that status.podName names."},
		{ReasonPodNotOwned, "A pod with the agent's pod name exists that the agent does not own.", "Delete that pod."},
		{ReasonImagePull, "The agent's image cannot be pulled.", "Correct spec.image, or where it is not set the operator's AGENT_IMAGE, or make the image available to the node."},
		{ReasonOutOfMemory, "The agent's process needed more memory than its limit and was killed.", "Trade fewer pairs with one agent, or report it with the pod's log."},
		{ReasonPodEvicted, "The agent's pod was evicted; another starts by itself.", "If it stays so, look at the message and at the node."},
		{ReasonPodEndOverdue, "The old pod has not ended in time; no other starts while its process may still trade.", "Look at its node. If the node is lost for good, delete the Node object, or taint it with node.kubernetes.io/out-of-service."},
		{ReasonNodeLost, "The node of the agent's pod does not answer; its process may still trade, so no other is started.", "Bring the node back. If it is lost for good, delete the Node object, or taint it with node.kubernetes.io/out-of-service."},
		{ReasonDuplicatePod, "A second pod passes for this agent; what it reports is refused.", "Delete the pod that the message names."},
		{ReasonRolledBack, "The newest spec did not get Ready in time; the last good revision runs. Limits, trading and halts of the newest spec are in force.", "Look at the message and at status.revision.failed, and correct the spec; spec.rollback: Manual runs it nevertheless."},
		{ReasonRolloutFailed, "The newest spec did not get Ready in time, and stays because spec.rollback is Manual or no revision was good yet.", "Look at the message, and correct the spec."},
		{ReasonDrainWaiting, "The agent's node is being emptied; the eviction waits, because the agent holds a position or has an open order.", "Nothing; the message says until when. To go on at once, delete the pod."},
		{ReasonDrainOverdue, "The agent's node is being emptied, and the time that spec.drainDeadlineSeconds gives is over: the pod may be evicted.", ""},
		{ReasonVenueReconciling, "The agent is comparing its ledger with its venue and does not trade yet.", ""},
		{ReasonVenueReconciled, "The agent's ledger agrees with its venue.", ""},
		{ReasonVenueReachable, "The venue answers.", ""},
		{ReasonVenueUnreachable, "The venue does not answer.", "Look at the message; the controller goes on trying."},
		{ReasonLedgerReachable, "The database answers.", ""},
		{ReasonLedgerUnreachable, "The database does not answer.", "Start it, or correct the URI in the Secret; the controller goes on trying."},
		{ReasonLedgerRefused, "The database refuses the connection or the rights needed.", "Correct user, password, database or rights."},
		{ReasonLedgerNotDurable, "The database may forget what it has committed: fsync or synchronous_commit is off.", "Turn both on."},
		{ReasonLedgerMigrated, "The database has the schema that this operator needs.", ""},
		{ReasonLedgerMigration, "The database's schema could not be brought up to date.", "Look at the message."},
		{ReasonLedgerNewer, "The database has a newer schema than this operator knows.", "Upgrade the operator."},
		{ReasonReady, "The object does what its spec says.", ""},
		{ReasonTrading, "The agent may open, change and close positions.", ""},
		{ReasonReduceOnly, "The agent, its policy or an error allows only orders that shrink a position.", "Set spec.trading to Enabled where it is ReduceOnly."},
		{ReasonHalted, "The agent or its policy is halted: no order is sent, and open ones are cancelled.", "Set spec.trading to Enabled where it is Halted."},
		{ReasonRecovering, "The agent has started and reads back what it left behind.", ""},
		{ReasonFenced, "A newer process of this agent has taken over; this one has stopped.", ""},
		{ReasonLedgerUnavailable, "The agent cannot reach its ledger; it opens nothing until it can.", "Start the database; the agent goes on by itself."},
		{ReasonUnresolvedOrders, "An order's outcome is unknown; the agent opens nothing in its pair until the venue has told.", ""},
		{ReasonPositionMismatch, "The venue's positions differ from the ledger's in a way that the agent cannot explain.", "Compare both, and correct the venue or the ledger by hand."},
		{ReasonReplayFinished, "The recording is at its end.", "Choose another data set, or delete the agent."},
		{ReasonDataUnavailable, "The market data cannot be read.", "Correct spec.marketData; the message says what is wrong."},
		{ReasonPolicyMissing, "The RiskPolicy has gone while the agent runs; only reducing orders pass.", "Create it again."},
		{ReasonFlattening, "The agent is being deleted and closes its positions.", ""},
		{ReasonFlat, "The agent is being deleted and holds nothing any more.", ""},
		{ReasonStopped, "The agent is being deleted; its orders are cancelled and its positions kept.", ""},
		{ReasonNotReporting, "The agent's pod has not reported yet.", "If it stays so, look at kubectl logs of the pod."},
		{ReasonTerminating, "The object is being deleted.", ""},
		{ReasonDeletionBlocked, "The agent cannot be deleted as its deletionPolicy says.", "Look at the message; to give up the positions unclosed, set the annotation trading.three-rivers-tech.com/abandon to \"true\"."},
		{ReasonPositionsAbandoned, "The agent was deleted by the abandon annotation without having proven that it was flat.", "Look at the account at its venue."},
		{ReasonRetrying, "The operator met an error and tries again with growing pauses.", "If it stays so, look at the message."},
		{ReasonChildNotOwned, "An object with the name of one of the agent's children exists that the agent does not own.", "Delete or rename the object that the message names."},
		{ReasonChildRefused, "The API server refuses one of the agent's children, for instance because of a quota.", "Look at the message."},
		{ReasonSpecNotInForce, "The agent's process has not taken up the newest spec yet.", "If it stays so, look at kubectl logs of the pod."},
		{ReasonClaimsNotReleased, "The agent was deleted, but its claims on pairs stand in the ledger, because the ledger could not be reached.", "Nothing, unless another agent shall trade the same pair on the same account: it says so then."},
	}
}

// AbandonAnnotation set to "true" on an agent that is being deleted lets it go
// without waiting for its positions. It is the documented way out when its venue
// or ledger is gone for good.
const AbandonAnnotation = GroupName + "/abandon"

// AgentFinalizer holds an agent until its deletionPolicy is fulfilled and its
// pod is gone.
const AgentFinalizer = GroupName + "/agent"

// AgentLabel on a child names the agent it belongs to. It is an index; ownership
// is decided by UID.
const AgentLabel = GroupName + "/agent"
