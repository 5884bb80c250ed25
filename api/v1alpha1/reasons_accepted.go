package v1alpha1

// Reasons of what is checked of an agent before it starts: its limits, and the
// data that it would trade on.
const (
	ReasonLimitNeverAllows  = "LimitNeverAllows"
	ReasonLimitNeverBinds   = "LimitNeverBinds"
	ReasonStopNotBelow      = "StopNotBelowTarget"
	ReasonDatasetNotFound   = "DatasetNotFound"
	ReasonHistoryTooShort   = "HistoryTooShort"
	ReasonPairNotAtProvider = "PairNotAtProvider"
	ReasonDataStale         = "DataStale"
	ReasonDataUnreachable   = "DataUnreachable"
	ReasonDataChecking      = "DataChecking"
	ReasonDataUnchecked     = "DataUnchecked"
	ReasonDataReceived      = "DataReceived"
)

func acceptedReasons() []Reason {
	return []Reason{
		{ReasonLimitNeverAllows, "A limit lets no order through that opens a position, whatever the market does.", "Raise the limit that the message names; to let an agent only close, set spec.trading to ReduceOnly."},
		{ReasonLimitNeverBinds, "A limit can never deny anything, because another one or the agent's own spec is stricter. Nothing is withheld.", "Lower the limit that the message names, or remove it."},
		{ReasonStopNotBelow, "The stop is not below the target, so a trade risks at least as much as it can win.", "Lower spec.sizing.stopFraction, or raise spec.sizing.targetFraction."},
		{ReasonDatasetNotFound, "No data set of this name ships inside the agent, or it holds the prices of another pair.", "Correct spec.marketData.replay.dataset; the message names those that exist."},
		{ReasonHistoryTooShort, "The past that the data has is too short for the indicators that decide.", "Lower spec.decision.intervalSeconds, choose longer data, or wait until there is more of it."},
		{ReasonPairNotAtProvider, "The provider of the market data does not list the pair.", "Correct base and quote of the AssetPair, or choose another source."},
		{ReasonDataStale, "The provider's newest price is older than limits.data.maxAgeSeconds allows.", "Nothing, unless it stays so: then the pair is hardly traded there. Choose longer candles, or another pair."},
		{ReasonDataUnreachable, "The provider of the market data does not answer.", "Look at the message and at the operator's way to the internet; the operator goes on asking."},
		{ReasonDataChecking, "The provider of the market data is being asked; the agent starts when it has answered.", ""},
		{ReasonDataUnchecked, "The recording is in the agent's own data directory, which the operator cannot see; the agent checks it when it starts.", ""},
		{ReasonDataReceived, "The agent's own process receives prices.", ""},
	}
}
