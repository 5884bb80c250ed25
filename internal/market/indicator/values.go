package indicator

// Values are a pulse in full. Prices are in ticks; RSI, ADX and the DIs are on
// their own scale of 0 to 100.
type Values struct {
	Close, RSI, ATR         float64
	MACD, Signal, Histogram float64
	Upper, Middle, Lower    float64
	PercentB, Bandwidth     float64
	ADX, PlusDI, MinusDI    float64
}

// Values is the pulse now. Each indicator means something once the pulse has seen
// as many bars as it needs.
func (p *Pulse) Values() Values {
	reading, price := p.Reading(), float64(p.previous.Close)
	mean, half := p.bands()
	macd := p.fast.value - p.slow.value
	return Values{
		Close: price, RSI: unit(reading.RSI), ATR: p.trueRange,
		MACD: macd, Signal: p.signal.value, Histogram: macd - p.signal.value,
		Upper: price + mean + half, Middle: price + mean, Lower: price + mean - half,
		PercentB: unit(reading.PercentB), Bandwidth: unit(reading.Bandwidth),
		ADX: unit(reading.ADX), PlusDI: unit(reading.PlusDI), MinusDI: unit(reading.MinusDI),
	}
}

func unit(micros int64) float64 { return float64(micros) / microsPerUnit }
