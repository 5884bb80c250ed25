package indicator

import (
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Two hundred days of SPY and what another project's spreadsheets make of them,
// to the last digit that it publishes; the first days of each are empty there
// because the history is too short, and ready here after just as many bars.
func TestAsPublished(t *testing.T) {
	file, err := os.Open("testdata/spy.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	needs := map[string]int{
		"rsi": RSIBars, "macd": macdSlow, "signal": MACDBars, "histogram": MACDBars, "upper": BollingerBars, "middle": BollingerBars,
		"lower": BollingerBars, "percentB": BollingerBars, "adx": ADXBars, "plusDI": ATRBars, "minusDI": ATRBars, "atr": ATRBars,
	}
	var pulse Pulse
	compared := 0
	for day, row := range rows[1:] {
		bar := closing(day, price(t, row[2]))
		bar.High, bar.Low = price(t, row[0]), price(t, row[1])
		pulse.Add(bar)
		got := valuesByName(pulse.Values())
		for column, name := range rows[0][3:] {
			published := row[column+3]
			if (published != "") != (pulse.Bars() >= needs[name]) {
				t.Fatalf("%s after %d bars is %q there; here it needs %d", name, pulse.Bars(), published, needs[name])
			}
			if published == "" {
				continue
			}
			want, err := strconv.ParseFloat(published, 64)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got[name]-want) > 1.6e-6 {
				t.Errorf("%s after %d bars is %.6f; published is %s", name, pulse.Bars(), got[name], published)
			}
			compared++
		}
	}
	if compared < 2000 {
		t.Errorf("only %d values were compared", compared)
	}
}

// price is in ticks of a ten-thousandth.
func price(t *testing.T, text string) market.Price {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return market.Price(math.Round(value * 10_000))
}

func valuesByName(v Values) map[string]float64 {
	return map[string]float64{
		"rsi": v.RSI, "macd": v.MACD / 10_000, "signal": v.Signal / 10_000, "histogram": v.Histogram / 10_000, "upper": v.Upper / 10_000,
		"middle": v.Middle / 10_000, "lower": v.Lower / 10_000, "percentB": v.PercentB, "adx": v.ADX, "plusDI": v.PlusDI,
		"minusDI": v.MinusDI, "atr": v.ATR / 10_000,
	}
}
