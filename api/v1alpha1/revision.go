package v1alpha1

// AgentRevision is the part of an agent's spec that its process reads once, at
// its start. A change of it makes a new revision and a new pod; what is not in it
// the process watches. A field that is added here must be left out while it is
// empty, or every agent restarts for it.
type AgentRevision struct {
	// Image is the image that the revision runs, the default of the time filled in.
	Image      string              `json:"image"`
	Mode       Mode                `json:"mode"`
	AssetPairs []AssetPairSelector `json:"assetPairs"`
	Decision   *DecisionSpec       `json:"decision,omitempty"`
	Sizing     *SizingSpec         `json:"sizing,omitempty"`
	MarketData MarketDataSpec      `json:"marketData"`
}

// RevisionOf takes the revision that an agent's spec asks for. Its image is empty
// where the spec names none.
func RevisionOf(spec *TradingAgentSpec) AgentRevision {
	copied := spec.DeepCopy()
	return AgentRevision{
		Image:      copied.Image,
		Mode:       copied.Mode,
		AssetPairs: copied.AssetPairs,
		Decision:   copied.Decision,
		Sizing:     copied.Sizing,
		MarketData: copied.MarketData,
	}
}

// Into puts the revision into a spec and leaves the rest of the spec as it is:
// the limits, the state of trading and what becomes of positions are always those
// of the newest spec.
func (r *AgentRevision) Into(spec *TradingAgentSpec) {
	copied := r.DeepCopy()
	spec.Image = copied.Image
	spec.Mode = copied.Mode
	spec.AssetPairs = copied.AssetPairs
	spec.Decision = copied.Decision
	spec.Sizing = copied.Sizing
	spec.MarketData = copied.MarketData
}
