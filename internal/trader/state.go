package trader

import (
	"fmt"

	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// tradingState is how far the agent trades now, and why.
func (c *Core) tradingState() (risk.TradingState, string, string) {
	if c.impairment.Reason != "" {
		return min(c.settings.Trading, c.halted.state, risk.Reducing), c.impairment.Reason, c.impairment.Message
	}
	if !c.recovered {
		return min(c.settings.Trading, c.halted.state, risk.Reducing), ReasonRecovering, "reading back what the last process left behind"
	}
	if c.deleting != nil && c.Finished() {
		return c.endingState()
	}
	if c.halted.state == risk.Halted {
		return risk.Halted, ReasonTradingHalt, c.halted.message()
	}
	if c.settings.Trading == risk.Halted {
		return risk.Halted, orWord(c.settings.Reason, ReasonHalted), c.settings.Message
	}
	if c.deleting != nil {
		return c.endingState()
	}
	if c.halted.state == risk.Reducing {
		return risk.Reducing, ReasonTradingHalt, c.halted.message()
	}
	if c.settings.Trading == risk.Reducing {
		return risk.Reducing, orWord(c.settings.Reason, ReasonReduceOnly), c.settings.Message
	}
	if c.ended {
		return risk.Reducing, ReasonReplayFinished, "the recording is at its end"
	}
	if c.dataLoss != "" {
		return risk.Reducing, ReasonDataUnavailable, c.dataLoss
	}
	state := c.riskState(nil, nil)
	if risk.DrawdownExceeded(&c.settings.Limits, &state) {
		return risk.Reducing, string(risk.MaxDrawdown), fmt.Sprintf("equity %s is further below its peak %s than limits.agent.maxDrawdownFraction %s allows", state.Equity, c.peak, c.settings.Limits.MaxDrawdown)
	}
	if risk.DailyLossExceeded(&c.settings.Limits, &state) {
		return risk.Reducing, string(risk.MaxDailyLoss), fmt.Sprintf("equity %s is further below the day's first %s than limits.agent.maxDailyLossFraction %s allows", state.Equity, c.dayEquity, c.settings.Limits.MaxDailyLoss)
	}
	if c.disarmed {
		return risk.Reducing, string(risk.AutomaticExits), fmt.Sprintf("as many stops as limits.agent.maxAutomaticExits %d allows came within %s; a named person must allow more", c.settings.Limits.MaxAutomaticExits, c.settings.Limits.AutomaticExitWindow)
	}
	if risk.LossesExceeded(&c.settings.Limits, &state) {
		return risk.Reducing, string(risk.ConsecutiveLosses), fmt.Sprintf("the last %d trades have lost and limits.agent.maxConsecutiveLosses is %d; a named person must allow more", c.losses, c.settings.Limits.MaxConsecutiveLosses)
	}
	return risk.Enabled, ReasonTrading, ""
}

func (c *Core) endingState() (risk.TradingState, string, string) {
	switch {
	case !c.deleting.Flatten && c.Finished():
		return risk.Halted, ReasonStopped, "orders are cancelled, positions are kept"
	case !c.deleting.Flatten:
		return risk.Halted, ReasonStopped, "cancelling orders; positions are kept"
	case c.Finished():
		return risk.Reducing, ReasonFlat, "nothing is held any more"
	default:
		return risk.Reducing, ReasonFlattening, "closing positions"
	}
}

func orWord(word, otherwise string) string {
	if word == "" {
		return otherwise
	}
	return word
}
