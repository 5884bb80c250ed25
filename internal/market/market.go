// Package market holds what the desk knows of prices: instruments counted in
// ticks and lots, bars, the readers of recorded data and the feeds that deliver
// it. Everything behind the readers is integer arithmetic.
package market

import "time"

// Price counts ticks of one instrument.
type Price int64

// Quantity counts lots of one instrument. Positions use it signed, negative
// being short; orders and fills use it positive with a side.
type Quantity int64

// Money is an amount of one currency in units of 1e-8, so that nothing is lost
// below a hundred-millionth and the largest amount is some 92 billion.
type Money int64

// MoneyUnit is one whole unit of a currency.
const MoneyUnit Money = 100_000_000

// Bar is the trading in one instrument over one span of time.
type Bar struct {
	// Start and End bound the span, in UTC. A bar is known at its End.
	Start, End time.Time
	// Open, High, Low and Close prices. High is the greatest and Low the least.
	Open, High, Low, Close Price
	// Bid and Ask at the close; zero where the data has no quotes.
	Bid, Ask Price
	// Volume traded; zero where the data has none.
	Volume Quantity
}

// PairBar is a bar of one pair in a desk's merged stream.
type PairBar struct {
	Pair string
	Bar
	// Late says that a newer bar had ended before this one could be had, as after
	// an outage: there is something to learn from it, and nothing to trade on.
	Late bool
}
