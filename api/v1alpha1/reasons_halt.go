package v1alpha1

// Types of conditions of halts.
const (
	// ConditionEnforced says that every agent which a halt binds is done.
	ConditionEnforced = "Enforced"
)

// Reasons of halts.
const (
	ReasonTradingHalt      = "TradingHalt"
	ReasonControlPlaneLost = "ControlPlaneLost"
	ReasonHaltEnforced     = "HaltEnforced"
	ReasonHaltInForce      = "HaltInForce"
	ReasonHaltOverdue      = "HaltOverdue"
	ReasonHaltReleased     = "HaltReleased"
	ReasonEpochAdvanced    = "EpochAdvanced"
	ReasonVenueStopped     = "VenueStopped"
	ReasonPodDeleted       = "PodDeleted"
	ReasonFenceFailed      = "FenceFailed"
)

func haltReasons() []Reason {
	return []Reason{
		{ReasonTradingHalt, "A TradingHalt or ClusterTradingHalt binds the agent; the message names it.", "Look at why it was created; release it with kubectl trading release."},
		{ReasonControlPlaneLost, "The agent cannot see the API server, so no halt would reach it; it does what spec.controlPlane.onLoss says.", "Bring the API server back; the agent goes on by itself."},
		{ReasonHaltInForce, "The halt is in force; not every agent that it binds has done its task yet.", "If it stays so, look at status.trading.halts of the agents."},
		{ReasonHaltOverdue, "An agent has not acknowledged the halt in time, and is fenced.", "Look at status.overdueAgents and docs/runbooks/halt-overdue.md."},
		{ReasonHaltEnforced, "Every agent that the halt binds has done its task, confirmed by its venue.", ""},
		{ReasonHaltReleased, "The halt was released; it binds nobody any more.", ""},
		{ReasonEpochAdvanced, "The agent has not acknowledged a halt, so its epoch in the ledger was advanced: no intent of its process can be committed any more.", ""},
		{ReasonVenueStopped, "The agent has not acknowledged a halt, so its venue was told to cancel everything in its pairs.", ""},
		{ReasonPodDeleted, "The agent has not acknowledged a halt, so its pod was deleted; the next one comes up halted.", ""},
		{ReasonFenceFailed, "A step against an agent that does not acknowledge a halt could not be taken; it is tried again.", "Look at the message."},
	}
}
