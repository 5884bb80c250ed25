package risk

// Reason is the word for a limit that denies an order. The same word stands in
// decisions, status, metrics and log lines.
type Reason string

// The reasons, in the order in which they lead a verdict.
const (
	TradingHalted    Reason = "TradingHalted"
	InvalidOrder     Reason = "InvalidOrder"
	UnknownPrice     Reason = "UnknownPrice"
	ReduceOnly       Reason = "ReduceOnly"
	StaleData        Reason = "StaleData"
	UnknownEquity    Reason = "UnknownEquity"
	UnresolvedOrders Reason = "UnresolvedOrders"
	MaxDrawdown      Reason = "MaxDrawdown"
	MaxDailyLoss     Reason = "MaxDailyLoss"
	MaxTradesPerDay  Reason = "MaxTradesPerDay"
	MaxPositions     Reason = "MaxPositions"
	MaxPosition      Reason = "MaxPosition"
	MaxOrderNotional Reason = "MaxOrderNotional"
	MinNotional      Reason = "MinNotional"
	PriceCollar      Reason = "PriceCollar"
	OrderRate        Reason = "OrderRate"
)

// The bits of a verdict, one for each reason.
const (
	bitTradingHalted = iota
	bitInvalidOrder
	bitUnknownPrice
	bitReduceOnly
	bitStaleData
	bitUnknownEquity
	bitUnresolvedOrders
	bitMaxDrawdown
	bitMaxDailyLoss
	bitMaxTradesPerDay
	bitMaxPositions
	bitMaxPosition
	bitMaxOrderNotional
	bitMinNotional
	bitPriceCollar
	bitOrderRate
)

// leading holds the reasons by their bits.
var leading = [...]Reason{
	bitTradingHalted:    TradingHalted,
	bitInvalidOrder:     InvalidOrder,
	bitUnknownPrice:     UnknownPrice,
	bitReduceOnly:       ReduceOnly,
	bitStaleData:        StaleData,
	bitUnknownEquity:    UnknownEquity,
	bitUnresolvedOrders: UnresolvedOrders,
	bitMaxDrawdown:      MaxDrawdown,
	bitMaxDailyLoss:     MaxDailyLoss,
	bitMaxTradesPerDay:  MaxTradesPerDay,
	bitMaxPositions:     MaxPositions,
	bitMaxPosition:      MaxPosition,
	bitMaxOrderNotional: MaxOrderNotional,
	bitMinNotional:      MinNotional,
	bitPriceCollar:      PriceCollar,
	bitOrderRate:        OrderRate,
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
		{UnknownEquity, "Equity is not known, because a pair that is held has no price.", "Nothing; it ends with the pair's next price."},
		{UnresolvedOrders, "The outcome of an order in this pair is not known; nothing is opened there until the venue has told.", ""},
		{MaxDrawdown, "The fall from the highest equity is more than limits.agent.maxDrawdownFraction.", "Look at what went wrong; then raise the limit or replace the agent."},
		{MaxDailyLoss, "The loss since the trading day began is more than limits.agent.maxDailyLossFraction.", "Nothing; it ends with the trading day."},
		{MaxTradesPerDay, "As many orders as limits.agent.maxTradesPerDay allows have opened or enlarged positions today.", "Nothing; it ends with the UTC day. Or raise the limit."},
		{MaxPositions, "As many pairs as limits.agent.maxPositions allows are held or being opened.", "Nothing; it ends when a position is closed. Or raise the limit."},
		{MaxPosition, "The position would be worth more than limits.agent.maxPositionFraction of equity, open orders at their worst.", "Lower sizing.riskFraction, or raise the limit."},
		{MaxOrderNotional, "The order is worth more than limits.order.maxNotional.", "Lower sizing.riskFraction, or raise the limit."},
		{MinNotional, "The order is worth less than the pair's minNotional.", "Raise sizing.riskFraction or the limits that make the order so small."},
		{PriceCollar, "The order's limit price is further from the newest price than limits.order.priceCollarFraction.", "Nothing; the price has moved away. Report it if it repeats."},
		{OrderRate, "As many orders as limits.order.maxPerSecond allows were sent within one second.", "Nothing; it ends within a second."},
	}
}
