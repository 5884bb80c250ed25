package trader

import (
	"testing"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

func TestSlack(t *testing.T) {
	// A lot of 0.001 is worth 0.10 at this price.
	instruments := []market.Instrument{instrument(t, "AAA"), instrument(t, "BBB")}
	marks := map[string]ledger.Mark{"AAA-USD": {Price: 10_000}}
	for name, test := range map[string]struct {
		currency, booked, want string
	}{
		"a hundred lots":             {"USD", "200000", "10.000001"},
		"a share of small books":     {"USD", "10000", "1.000001"},
		"empty books":                {"USD", "0", "0.000001"},
		"what nothing is quoted in":  {"AAA", "5", "0.000001"},
		"what nobody has a price of": {"EUR", "5", "0.000001"},
	} {
		got := slack(instruments, marks, test.currency, decimal.RequireFromString(test.booked))
		if !got.Equal(decimal.RequireFromString(test.want)) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	marks["BBB-USD"] = ledger.Mark{Price: 20_000}
	if got := slack(instruments, marks, "USD", decimal.New(1, 9)); !got.Equal(decimal.RequireFromString("30.000001")) {
		t.Errorf("two pairs: %s", got)
	}
}
