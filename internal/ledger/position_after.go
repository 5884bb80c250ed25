package ledger

import (
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// After is the position once a fill is booked, by the rule that the ledger books
// by. It fails where the ledger would.
func (p Position) After(instrument market.Instrument, fill order.Fill) (Position, error) {
	result, err := execute(instrument, p, fill)
	return result.position, err
}
