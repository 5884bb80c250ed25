package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/market/indicator"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
)

// PulseList is the market as the agent sees it.
type PulseList struct {
	Items []PairPulse `json:"items" doc:"The pairs that the agent trades, in its order."`
}

// PairPulse is one pair over several time frames.
type PairPulse struct {
	Pair        string       `json:"pair" doc:"Pair in its canonical spelling."`
	LastBarTime *time.Time   `json:"lastBarTime,omitempty" doc:"End of the newest bar; absent if there was none yet."`
	Frames      []FramePulse `json:"frames" doc:"The shortest time frame first; none is shorter than the feed's bars."`
}

// FramePulse is the pulse of one time frame. What needs more bars than there were
// is absent.
type FramePulse struct {
	Frame      string          `json:"frame" doc:"The time frame, such as 4h." example:"4h"`
	Seconds    int64           `json:"seconds" doc:"The same in seconds."`
	Bars       int             `json:"bars" doc:"Complete bars of this length that the agent has seen since it started, those of its history included."`
	BarsNeeded int             `json:"barsNeeded" doc:"How many every indicator needs."`
	Message    string          `json:"message,omitempty" doc:"What is absent because the history is too short."`
	Time       *time.Time      `json:"time,omitempty" doc:"End of the newest complete bar."`
	Close      openapi.Decimal `json:"close,omitempty" doc:"Its closing price."`
	RSI        openapi.Decimal `json:"rsi,omitempty" doc:"Wilder's relative strength index of 14 bars, 0 to 100."`
	MACD       *MACD           `json:"macd,omitempty" doc:"Moving averages of 12 and 26 bars, with a signal of 9."`
	Bollinger  *Bollinger      `json:"bollinger,omitempty" doc:"Bands of two deviations around the mean of 20 bars."`
	ADX        *ADX            `json:"adx,omitempty" doc:"Wilder's directional movement of 14 bars."`
	ATR        openapi.Decimal `json:"atr,omitempty" doc:"Wilder's average true range of 14 bars, in the quote currency."`
}

// MACD is in the quote currency.
type MACD struct {
	Line      openapi.Decimal `json:"line" doc:"The fast average less the slow one."`
	Signal    openapi.Decimal `json:"signal" doc:"The average of the line."`
	Histogram openapi.Decimal `json:"histogram" doc:"Line less signal."`
}

// Bollinger are the bands, in the quote currency.
type Bollinger struct {
	Upper     openapi.Decimal `json:"upper" doc:"Upper band."`
	Middle    openapi.Decimal `json:"middle" doc:"Mean."`
	Lower     openapi.Decimal `json:"lower" doc:"Lower band."`
	PercentB  openapi.Decimal `json:"percentB" doc:"Where the close is: 0 at the lower band, 1 at the upper."`
	Bandwidth openapi.Decimal `json:"bandwidth" doc:"Distance of the bands as a share of the mean."`
}

// ADX is how strong a trend is, and which way it goes; all 0 to 100.
type ADX struct {
	ADX     openapi.Decimal `json:"adx" doc:"Strength of the trend."`
	PlusDI  openapi.Decimal `json:"plusDI" doc:"Directional movement upward."`
	MinusDI openapi.Decimal `json:"minusDI" doc:"Directional movement downward."`
}

type pulseInput struct{ PairInput }

func (h *handlers) registerPulse(routes huma.API) {
	huma.Register(routes, openapi.Route(http.MethodGet, "/api/v1/pulse", "get-pulse", "Decisions", "The market's pulse",
		"RSI, MACD, Bollinger bands, ADX and ATR of each pair over several time frames, from the bars that the agent itself has seen; it answers also while the ledger is down.",
		keys.Read, http.StatusNotFound, http.StatusServiceUnavailable), h.pulse)
}

func (h *handlers) pulse(_ context.Context, input *pulseInput) (*answer[PulseList], error) {
	desk := h.Agent.Desk()
	if desk == nil {
		return nil, h.notYet()
	}
	wanted := desk.Instruments
	if input.Pair != "" {
		instrument, found := desk.instrument(input.Pair)
		if !found {
			return nil, notTraded(desk)
		}
		wanted = []market.Instrument{instrument}
	}
	list := PulseList{Items: make([]PairPulse, len(wanted))}
	for i := range wanted {
		list.Items[i] = pulseOf(h.Agent.Pulse(), &wanted[i])
	}
	return &answer[PulseList]{list}, nil
}

func notTraded(desk *Desk) error {
	traded := make([]string, len(desk.Instruments))
	for i := range desk.Instruments {
		traded[i] = desk.Instruments[i].Pair
	}
	return openapi.NewProblem(http.StatusNotFound, "", "the agent does not trade this pair; it trades "+strings.Join(traded, ", "))
}

func pulseOf(board *indicator.Board, instrument *market.Instrument) PairPulse {
	told := PairPulse{Pair: instrument.Pair, Frames: []FramePulse{}}
	frames, newest, known := board.Pair(instrument.Pair)
	if !known {
		return told
	}
	told.LastBarTime = new(newest.UTC())
	for i := range frames {
		told.Frames = append(told.Frames, frameOf(&frames[i], instrument))
	}
	return told
}

func frameOf(f *indicator.Timeframe, instrument *market.Instrument) FramePulse {
	told := FramePulse{Frame: nameOf(f.Length), Seconds: int64(f.Length / time.Second), Bars: f.Bars, BarsNeeded: indicator.Bars}
	price := func(ticks float64) openapi.Decimal {
		digits := max(-instrument.Tick.Exponent(), 0) + 4
		return decimalOf(decimal.NewFromFloat(ticks).Mul(instrument.Tick).Round(digits))
	}
	figure := func(value float64) openapi.Decimal { return decimalOf(decimal.NewFromFloat(value).Round(6)) }
	if f.Bars > 0 {
		told.Time, told.Close = new(f.End.UTC()), price(f.Close)
	}
	var missing []string
	for _, each := range []struct {
		name  string
		needs int
		tell  func()
	}{
		{"RSI", indicator.RSIBars, func() { told.RSI = figure(f.RSI) }},
		{"ATR", indicator.ATRBars, func() { told.ATR = price(f.ATR) }},
		{"Bollinger", indicator.BollingerBars, func() {
			told.Bollinger = &Bollinger{
				Upper: price(f.Upper), Middle: price(f.Middle), Lower: price(f.Lower), PercentB: figure(f.PercentB), Bandwidth: figure(f.Bandwidth),
			}
		}},
		{"ADX", indicator.ADXBars, func() { told.ADX = &ADX{ADX: figure(f.ADX), PlusDI: figure(f.PlusDI), MinusDI: figure(f.MinusDI)} }},
		{"MACD", indicator.MACDBars, func() { told.MACD = &MACD{Line: price(f.MACD), Signal: price(f.Signal), Histogram: price(f.Histogram)} }},
	} {
		if f.Bars >= each.needs {
			each.tell()
			continue
		}
		missing = append(missing, fmt.Sprintf("%s (%d of %d bars)", each.name, f.Bars, each.needs))
	}
	if len(missing) > 0 {
		told.Message = "the history is too short for " + strings.Join(missing, ", ")
	}
	return told
}

// nameOf is a length in its largest whole unit, such as 4h.
func nameOf(length time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if length >= unit.length && length%unit.length == 0 {
			return fmt.Sprintf("%d%s", length/unit.length, unit.name)
		}
	}
	return fmt.Sprintf("%ds", length/time.Second)
}
