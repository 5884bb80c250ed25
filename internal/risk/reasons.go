package risk

// Reason is the word for a limit that denies an order. The same word stands in
// decisions, status, metrics and log lines.
type Reason string

// The reasons, in the order in which they lead a verdict.
const (
	TradingHalted       Reason = "TradingHalted"
	InvalidOrder        Reason = "InvalidOrder"
	UnknownPrice        Reason = "UnknownPrice"
	ReduceOnly          Reason = "ReduceOnly"
	StaleData           Reason = "StaleData"
	CrossedData         Reason = "CrossedData"
	FrozenData          Reason = "FrozenData"
	GappedData          Reason = "GappedData"
	RestrictedPair      Reason = "RestrictedPair"
	SessionClosed       Reason = "SessionClosed"
	UnknownEquity       Reason = "UnknownEquity"
	UnresolvedOrders    Reason = "UnresolvedOrders"
	AutomaticExits      Reason = "AutomaticExits"
	MaxDrawdown         Reason = "MaxDrawdown"
	MaxDailyLoss        Reason = "MaxDailyLoss"
	ConsecutiveLosses   Reason = "ConsecutiveLosses"
	CoolDown            Reason = "CoolDown"
	MaxTradesPerDay     Reason = "MaxTradesPerDay"
	MaxPositions        Reason = "MaxPositions"
	CorrelatedPositions Reason = "CorrelatedPositions"
	MaxPosition         Reason = "MaxPosition"
	MaxGross            Reason = "MaxGrossNotional"
	MaxNet              Reason = "MaxNetNotional"
	MaxLeverage         Reason = "MaxLeverage"
	UnknownRisk         Reason = "UnknownRisk"
	ValueAtRisk         Reason = "ValueAtRisk"
	Volatility          Reason = "Volatility"
	PolicyTotal         Reason = "PolicyTotal"
	AccountTotal        Reason = "AccountTotal"
	MaxOrderNotional    Reason = "MaxOrderNotional"
	MinNotional         Reason = "MinNotional"
	MaxQuantity         Reason = "MaxQuantity"
	MinQuantity         Reason = "MinQuantity"
	PriceCollar         Reason = "PriceCollar"
	DuplicateOrder      Reason = "DuplicateOrder"
	SelfMatch           Reason = "SelfMatch"
	OrderRate           Reason = "OrderRate"
)

// The bits of a verdict, one for each reason.
const (
	bitTradingHalted = iota
	bitInvalidOrder
	bitUnknownPrice
	bitReduceOnly
	bitStaleData
	bitCrossedData
	bitFrozenData
	bitGappedData
	bitRestrictedPair
	bitSessionClosed
	bitUnknownEquity
	bitUnresolvedOrders
	bitAutomaticExits
	bitMaxDrawdown
	bitMaxDailyLoss
	bitConsecutiveLosses
	bitCoolDown
	bitMaxTradesPerDay
	bitMaxPositions
	bitCorrelatedPositions
	bitMaxPosition
	bitMaxGross
	bitMaxNet
	bitMaxLeverage
	bitUnknownRisk
	bitValueAtRisk
	bitVolatility
	bitPolicyTotal
	bitAccountTotal
	bitMaxOrderNotional
	bitMinNotional
	bitMaxQuantity
	bitMinQuantity
	bitPriceCollar
	bitDuplicateOrder
	bitSelfMatch
	bitOrderRate
)

// leading holds the reasons by their bits.
var leading = [...]Reason{
	bitTradingHalted:       TradingHalted,
	bitInvalidOrder:        InvalidOrder,
	bitUnknownPrice:        UnknownPrice,
	bitReduceOnly:          ReduceOnly,
	bitStaleData:           StaleData,
	bitCrossedData:         CrossedData,
	bitFrozenData:          FrozenData,
	bitGappedData:          GappedData,
	bitRestrictedPair:      RestrictedPair,
	bitSessionClosed:       SessionClosed,
	bitUnknownEquity:       UnknownEquity,
	bitUnresolvedOrders:    UnresolvedOrders,
	bitAutomaticExits:      AutomaticExits,
	bitMaxDrawdown:         MaxDrawdown,
	bitMaxDailyLoss:        MaxDailyLoss,
	bitConsecutiveLosses:   ConsecutiveLosses,
	bitCoolDown:            CoolDown,
	bitMaxTradesPerDay:     MaxTradesPerDay,
	bitMaxPositions:        MaxPositions,
	bitCorrelatedPositions: CorrelatedPositions,
	bitMaxPosition:         MaxPosition,
	bitMaxGross:            MaxGross,
	bitMaxNet:              MaxNet,
	bitMaxLeverage:         MaxLeverage,
	bitUnknownRisk:         UnknownRisk,
	bitValueAtRisk:         ValueAtRisk,
	bitVolatility:          Volatility,
	bitPolicyTotal:         PolicyTotal,
	bitAccountTotal:        AccountTotal,
	bitMaxOrderNotional:    MaxOrderNotional,
	bitMinNotional:         MinNotional,
	bitMaxQuantity:         MaxQuantity,
	bitMinQuantity:         MinQuantity,
	bitPriceCollar:         PriceCollar,
	bitDuplicateOrder:      DuplicateOrder,
	bitSelfMatch:           SelfMatch,
	bitOrderRate:           OrderRate,
}

// Explanation is what a reason means and what its reader can do.
type Explanation struct {
	Word    Reason
	Meaning string
	// Cure is empty where nothing needs to be done.
	Cure string
}

// Explanations has a row for every reason, in the order in which they lead.
func Explanations() []Explanation {
	return []Explanation{
		{TradingHalted, "The agent or its policy is halted: no order passes, not even one that reduces.", "Set spec.trading to Enabled where it is Halted."},
		{InvalidOrder, "The order has no side, quantity or limit price, or says that it reduces a position which it would open, enlarge or turn.", "Nothing; the order is not sent. Report it if it repeats."},
		{UnknownPrice, "The pair has no price yet, so no order can be valued.", "Nothing if the feed has just begun; otherwise correct spec.marketData."},
		{ReduceOnly, "Only orders that shrink a position pass at this time.", "Look at status.trading.reason for what allows no more."},
		{StaleData, "The pair's newest price is older than limits.data.maxAgeSeconds; only reducing orders pass.", "Nothing if the market is closed; otherwise look at the feed."},
		{CrossedData, "The pair's newest bid is above its ask, so one of them is wrong; only reducing orders pass.", "Nothing; it ends with the pair's next sound quote. Look at the feed if it repeats."},
		{FrozenData, "More bars than limits.data.maxFrozenBars in a row have changed nothing; only reducing orders pass.", "Nothing if the market rests; otherwise look at the feed."},
		{GappedData, "More bars than limits.data.maxMissingBars are missing before the pair's newest one; only reducing orders pass.", "Nothing; it ends with the next bar that follows without a gap."},
		{RestrictedPair, "The policy names the pair in restrictedPairs: what is held may be reduced, nothing is opened.", "Take the pair out of the policy's restrictedPairs, or out of the agent's assetPairs."},
		{SessionClosed, "The AssetPair's session is closed at this time; only reducing orders pass.", "Nothing; it ends when the session opens. Correct spec.session of the AssetPair if it is wrong."},
		{UnknownEquity, "Equity is not known, because a pair that is held has no price.", "Nothing; it ends with the pair's next price."},
		{UnresolvedOrders, "The outcome of an order in this pair is not known; nothing is opened there until the venue has told.", ""},
		{AutomaticExits, "The agent has stopped itself out limits.agent.maxAutomaticExits times within the window; it only reduces until a named person allows more.", "Look at what went wrong; then run trading-agent rearm with your name and the reason."},
		{MaxDrawdown, "The fall from the highest equity is more than limits.agent.maxDrawdownFraction.", "Look at what went wrong; then raise the limit or replace the agent."},
		{MaxDailyLoss, "The loss since the trading day began is more than limits.agent.maxDailyLossFraction.", "Nothing; it ends with the trading day."},
		{ConsecutiveLosses, "As many trades in a row as limits.agent.maxConsecutiveLosses allows have lost; nothing is opened.", "Look at what went wrong; then run trading-agent rearm with your name and the reason, or raise the limit."},
		{CoolDown, "The pair's last stop is less than limits.agent.stopCoolDownSeconds ago.", "Nothing; it ends when the time is over."},
		{MaxTradesPerDay, "As many orders as limits.agent.maxTradesPerDay allows have opened or enlarged positions today.", "Nothing; it ends with the UTC day. Or raise the limit."},
		{MaxPositions, "As many pairs as limits.agent.maxPositions allows are held or being opened.", "Nothing; it ends when a position is closed. Or raise the limit."},
		{CorrelatedPositions, "As many pairs as limits.agent.maxCorrelatedPositions allows are held that move together with this one: their correlation is above limits.agent.correlationFraction, or not known.", "Nothing; it ends when one of them is closed. Or raise the limit, or choose pairs that have less in common."},
		{MaxPosition, "The position would be worth more than limits.agent.maxPositionFraction of equity, open orders at their worst.", "Lower sizing.riskFraction, or raise the limit."},
		{MaxGross, "All positions together, long and short added up and open orders at their worst, would be worth more than limits.agent.maxGrossNotional.", "Nothing; it ends when a position is closed. Or raise the limit."},
		{MaxNet, "All positions together, long less short and open orders at their worst, would be worth more than limits.agent.maxNetNotional.", "Nothing; it ends when a position is closed. Or raise the limit."},
		{MaxLeverage, "All positions together, open orders at their worst, would be worth more than limits.agent.maxLeverage times equity.", "Lower sizing.riskFraction, or raise the limit."},
		{UnknownRisk, "Fewer than 30 returns are known of a pair that is held or would be opened, so the value at risk is not known.", "Nothing; it ends as bars arrive. A longer history, or shorter bars, bring it sooner."},
		{ValueAtRisk, "In the worst of twenty days the positions would lose more than limits.agent.maxValueAtRiskFraction of equity, by the returns of the last 60 days.", "Lower sizing.riskFraction, or raise the limit."},
		{Volatility, "Prices move by more than limits.agent.maxVolatilityFraction a day, or too few returns are known, and the ruling is less sure than limits.agent.volatileConfidenceFraction.", "Nothing; it ends when the market is calmer or the debate surer. Or raise the limit."},
		{PolicyTotal, "The agents of the policy together hold as much as its total.maxGrossNotional allows; none is left for this order.", "Nothing; it ends when one of them reduces. Or raise the total."},
		{AccountTotal, "The agents of the account together hold as much as its total.maxGrossNotional allows; none is left for this order.", "Nothing; it ends when one of them reduces. Or raise the total."},
		{MaxOrderNotional, "The order is worth more than limits.order.maxNotional.", "Lower sizing.riskFraction, or raise the limit."},
		{MinNotional, "The order is worth less than limits.order.minNotional or the pair's minNotional.", "Raise sizing.riskFraction or the limits that make the order so small."},
		{MaxQuantity, "The order is larger than the pair's maxQuantity.", "Lower sizing.riskFraction, or correct the AssetPair."},
		{MinQuantity, "The order is smaller than the pair's minQuantity.", "Raise sizing.riskFraction or the limits that make the order so small."},
		{PriceCollar, "The order's limit price is further from the newest price than limits.order.priceCollarFraction.", "Nothing; the price has moved away. Report it if it repeats."},
		{DuplicateOrder, "Another decision has sent an order of the same pair, side, quantity and price within limits.order.duplicateWindowSeconds.", "Nothing; it ends when the time is over."},
		{SelfMatch, "An open order of the same agent on the other side would fill this one.", "Nothing; it ends when that order is filled or cancelled."},
		{OrderRate, "As many orders as limits.order.maxPerSecond allows were sent within one second.", "Nothing; it ends within a second."},
	}
}
