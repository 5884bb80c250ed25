package trader

import (
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

// share is what the agent may be worth of a total.
func (c *Core) share(total *Total) market.Money {
	if total == nil {
		return risk.Unlimited
	}
	return c.shares[total.Scope]
}

// fund asks for larger shares if nothing else stands in the way of a ruling, and
// reports whether it waits for them. It asks once: what is not granted then
// denies.
func (c *Core) fund(pair *pairState, e Ruled, proposed []order.Intent, confidence order.Fraction) bool {
	asked := c.short != nil
	c.short = nil
	if asked || len(proposed) == 0 {
		return false
	}
	state := c.riskState(pair, nil)
	state.Confidence = confidence
	if !risk.Check(&c.settings.Limits, &state, &proposed[0]).NeedsShare() {
		return false
	}
	waiting := e
	c.short, c.deliberating = &waiting, true
	c.claim(risk.Gross(&state, proposed[0].Side, proposed[0].Reserved))
	return true
}

// claim makes the agent's shares what it needs.
func (c *Core) claim(gross market.Money) {
	claims := make([]ledger.Claim, 0, 2)
	for _, total := range []*Total{c.settings.PolicyTotal, c.settings.AccountTotal} {
		if total != nil {
			claims = append(claims, ledger.Claim{Scope: total.Scope, Total: total.MaxGross, Want: gross})
		}
	}
	c.emit(Fund{claims})
}

// funded goes on with the ruling that has waited.
func (c *Core) funded(e Funded) {
	if !c.recovered {
		return
	}
	c.shares = e.Shares
	if c.short != nil {
		c.ruled(*c.short)
	}
}

// idleFraction is the part of a share, one in so many, that may be unused before
// it is given back: prices move a little with every bar.
const idleFraction = 4

// giveBack returns what the agent is not worth any more, so that others may use
// it.
func (c *Core) giveBack() {
	if len(c.shares) == 0 || c.busy() {
		return
	}
	state := c.riskState(&c.pairs[0], nil)
	gross := risk.Gross(&state, order.Buy, 0)
	idle := false
	for scope, share := range c.shares {
		known := (c.settings.PolicyTotal != nil && c.settings.PolicyTotal.Scope == scope) ||
			(c.settings.AccountTotal != nil && c.settings.AccountTotal.Scope == scope)
		idle = idle || !known || share-gross > share/idleFraction
	}
	if idle {
		c.claim(gross)
	}
}
