package alpaca

import (
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/venue/tally"
)

// highestFee is the share of what a trade brings in that Alpaca takes from those who
// take liquidity and trade the least, which is its highest
// (https://docs.alpaca.markets/docs/crypto-fees).
//
// Whether a trade took liquidity, and the account's tier, are not told with it, and
// the fee itself is posted at the end of the day, without its order. So the books
// hold the most that it can be: never more than the account does, and what was not
// taken is the owner's. Should Alpaca raise its fees, the account will hold less
// than the books say, and the comparison of the two finds it.
var highestFee = decimal.New(25, -4)

// centPlaces is how finely Alpaca counts US dollars; their fees are rounded up to it.
const centPlaces = 2

// feeOf is the most that a trade's fee can be: in the base currency for a purchase,
// in the quote currency for a sale.
func feeOf(instrument market.Instrument, side order.Side, quantity, price decimal.Decimal) (market.Money, string, error) {
	received, currency := quantity, instrument.Base
	if side == order.Sell {
		received, currency = quantity.Mul(price), instrument.Quote
	}
	amount := received.Mul(highestFee)
	if currency == "USD" {
		amount = amount.RoundCeil(centPlaces)
	}
	fee, err := tally.Fee(amount)
	return fee, currency, err
}
