package rig

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Pairs that the agents of the harness trade, all quoted in USD.
var Pairs = []string{"BTC", "ETH", "SOL"}

const (
	// BarLength of the recordings.
	BarLength = time.Minute
	// Bars in each of them.
	Bars = 60_000
	// Dataset is how a manifest names them.
	Dataset = "walk-{pair}.csv"
)

// WritePrices writes a recording of every pair. Prices run up and down in long
// waves, which the models follow, so that orders are many; now and then they jump,
// so that some orders rest unfilled until they are cancelled. The recordings begin
// at the given time: one that is to come, because an agent at a real venue takes
// prices for stale that are older than its clock allows.
func WritePrices(directory string, seed uint64, begin time.Time) error {
	for i, base := range Pairs {
		random := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // prices must be the same every time
		path := filepath.Join(directory, "walk-"+strings.ToLower(base)+"usd.csv")
		if err := os.WriteFile(path, recording(random, begin), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// recording is a file of bars, with prices in cents.
func recording(random *rand.Rand, begin time.Time) []byte {
	const lowest, highest = 5_000, 20_000
	var text bytes.Buffer
	text.WriteString("time,open,high,low,close\n")
	price, drift, left := 10_000, 15, 12
	for bar := range Bars {
		if left--; left <= 0 {
			drift, left = -drift, 8+random.IntN(14)
			drift += random.IntN(7) - 3
			if drift == 0 || (price > highest && drift > 0) || (price < lowest && drift < 0) {
				drift = (lowest+highest)/2 - price
				drift /= max(drift/15, -drift/15, 1)
			}
		}
		open := price
		if random.IntN(60) == 0 {
			open += (2*random.IntN(2) - 1) * price / 40
		}
		price = max(open+drift+random.IntN(9)-4, 100)
		high, low := max(open, price)+random.IntN(4), min(open, price)-random.IntN(4)
		at := begin.Add(time.Duration(bar) * BarLength)
		_, _ = fmt.Fprintf(&text, "%s,%s,%s,%s,%s\n", at.Format(time.RFC3339), cents(open), cents(high), cents(low), cents(price))
	}
	return text.Bytes()
}

func cents(amount int) string { return fmt.Sprintf("%d.%02d", amount/100, amount%100) }
