package stream

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

// Teller publishes what holds now, when it has changed.
type Teller struct {
	hub *Hub

	mu   sync.Mutex
	told [topicCount][]byte
}

// NewTeller tells a hub's clients.
func NewTeller(hub *Hub) *Teller { return &Teller{hub: hub} }

// StatusData is what an event of the topic status holds. The fields mean what they
// mean in status.trading.
type StatusData struct {
	State           v1alpha1.TradingState `json:"state"`
	Reason          string                `json:"reason"`
	Message         string                `json:"message,omitempty"`
	Loop            v1alpha1.LoopState    `json:"loop,omitempty"`
	Generation      int64                 `json:"observedGeneration,omitempty"`
	Epoch           int64                 `json:"epoch,omitempty"`
	ReconciledEpoch int64                 `json:"reconciledEpoch,omitempty"`
	Decisions       int64                 `json:"decisions"`
	Fills           int64                 `json:"fills"`
	OpenOrders      int32                 `json:"openOrders"`
}

// EquityData is what an event of the topic equity holds.
type EquityData struct {
	Currency         string                 `json:"currency"`
	Equity           v1alpha1.SignedDecimal `json:"equity"`
	PNL              v1alpha1.SignedDecimal `json:"pnl"`
	DrawdownFraction v1alpha1.Fraction      `json:"drawdownFraction"`
}

// PositionsData is what an event of the topic positions holds: every position that
// is not flat. Prices come as quotes.
type PositionsData struct {
	Positions []PositionData `json:"positions"`
}

// PositionData is one position.
type PositionData struct {
	Pair         string                 `json:"pair"`
	Quantity     v1alpha1.SignedDecimal `json:"quantity"`
	AveragePrice v1alpha1.Decimal       `json:"averagePrice,omitempty"`
}

// QuoteData is what an event of the topic quotes holds: the newest bar of a pair.
type QuoteData struct {
	Pair   string           `json:"pair"`
	Start  time.Time        `json:"start"`
	End    time.Time        `json:"end"`
	Open   decimal.Decimal  `json:"open"`
	High   decimal.Decimal  `json:"high"`
	Low    decimal.Decimal  `json:"low"`
	Close  decimal.Decimal  `json:"close"`
	Bid    *decimal.Decimal `json:"bid,omitempty"`
	Ask    *decimal.Decimal `json:"ask,omitempty"`
	Volume *decimal.Decimal `json:"volume,omitempty"`
}

// Status publishes what differs from the status before.
func (t *Teller) Status(status *v1alpha1.TradingStatus) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(Status, now, StatusData{
		State: status.State, Reason: status.Reason, Message: status.Message, Loop: status.Loop,
		Generation: status.ObservedGeneration, Epoch: status.Epoch, ReconciledEpoch: status.ReconciledEpoch,
		Decisions: status.Decisions, Fills: status.Fills, OpenOrders: status.OpenOrders,
	})
	if status.ReconciledEpoch == 0 {
		// Until ledger and venue agree, what it holds is not known.
		return
	}
	positions := PositionsData{Positions: make([]PositionData, len(status.Positions))}
	for i, p := range status.Positions {
		positions.Positions[i] = PositionData{Pair: p.Pair, Quantity: p.Quantity, AveragePrice: p.AveragePrice}
	}
	t.tell(Positions, now, positions)
	if status.Equity != "" {
		t.tell(Equity, now, EquityData{
			Currency: status.Currency, Equity: status.Equity, PNL: status.PNL, DrawdownFraction: status.DrawdownFraction,
		})
	}
}

// tell publishes a document that differs from the one before.
func (t *Teller) tell(topic Topic, at time.Time, document any) {
	data, err := json.Marshal(document)
	if err != nil || bytes.Equal(data, t.told[topic]) { // These structs cannot fail.
		return
	}
	t.told[topic] = data
	t.hub.Publish(topic, "", at, data)
}

// Bar publishes a bar as the newest quote of its pair.
func (t *Teller) Bar(instrument market.Instrument, bar market.Bar) {
	quote := QuoteData{
		Pair: instrument.Pair, Start: bar.Start.UTC(), End: bar.End.UTC(),
		Open: instrument.PriceDecimal(bar.Open), High: instrument.PriceDecimal(bar.High),
		Low: instrument.PriceDecimal(bar.Low), Close: instrument.PriceDecimal(bar.Close),
	}
	if bar.Bid > 0 && bar.Ask > 0 {
		quote.Bid, quote.Ask = new(instrument.PriceDecimal(bar.Bid)), new(instrument.PriceDecimal(bar.Ask))
	}
	if bar.Volume > 0 {
		quote.Volume = new(instrument.QuantityDecimal(bar.Volume))
	}
	data, err := json.Marshal(quote)
	if err != nil { // Times of market data are within the years that JSON can write.
		return
	}
	t.hub.Publish(Quotes, quote.Pair, time.Now(), data)
}
