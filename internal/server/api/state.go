package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// answer is a response with a JSON body.
type answer[T any] struct{ Body T }

// StatusDocument is the agent and what it does now.
type StatusDocument struct {
	Namespace string        `json:"namespace" doc:"Namespace of the TradingAgent."`
	Name      string        `json:"name" doc:"Name of the TradingAgent."`
	Trading   TradingStatus `json:"trading" doc:"What the agent does now and why; status.trading of the TradingAgent follows it within a minute."`
}

// TradingStatus is status.trading as the API tells it.
type TradingStatus struct {
	PodUID             string           `json:"podUID" doc:"Pod that trades."`
	ObservedGeneration int64            `json:"observedGeneration" doc:"Generation of the agent's spec that is in force."`
	Epoch              int64            `json:"epoch" doc:"Epoch under which the process writes to the ledger; it only grows."`
	ReconciledEpoch    int64            `json:"reconciledEpoch" doc:"Epoch for which the agent has reconciled with its venue; it trades only when this is epoch."`
	State              string           `json:"state" enum:"Enabled,ReduceOnly,Halted" doc:"How far the agent trades now."`
	Reason             string           `json:"reason" doc:"The word for why."`
	Message            string           `json:"message,omitempty" doc:"The same in a sentence."`
	Loop               string           `json:"loop,omitempty" doc:"Where the agent is in its loop."`
	Currency           string           `json:"currency,omitempty" doc:"Currency of the figures."`
	Equity             openapi.Decimal  `json:"equity,omitempty" doc:"Cash plus positions at the last price."`
	PNL                openapi.Decimal  `json:"pnl,omitempty" doc:"Equity less what the agent was given to trade with."`
	DrawdownFraction   openapi.Decimal  `json:"drawdownFraction,omitempty" doc:"Fall from the highest equity, as a share of it."`
	Decisions          int64            `json:"decisions" doc:"Decisions since the agent was created."`
	Fills              int64            `json:"fills" doc:"Fills since the agent was created."`
	OpenOrders         int32            `json:"openOrders" doc:"Orders at the venue, those of unknown outcome included."`
	Positions          []StatusPosition `json:"positions,omitempty" doc:"Positions that are not flat."`
	LastDecision       *LastDecision    `json:"lastDecision,omitempty" doc:"The newest ruling."`
	Data               *DataStatus      `json:"data,omitempty" doc:"Which prices are in use."`
}

// StatusPosition is one position, in short.
type StatusPosition struct {
	Pair         string          `json:"pair" doc:"Pair in its canonical spelling."`
	Quantity     openapi.Decimal `json:"quantity" doc:"In the base currency; negative is short."`
	AveragePrice openapi.Decimal `json:"averagePrice,omitempty" doc:"Price paid, in the quote currency."`
	LastPrice    openapi.Decimal `json:"lastPrice,omitempty" doc:"Price that it is valued at."`
}

// LastDecision is the newest ruling, in short.
type LastDecision struct {
	Time               time.Time       `json:"time" doc:"End of the bar that was decided on."`
	Pair               string          `json:"pair" doc:"Pair in its canonical spelling."`
	Action             string          `json:"action" enum:"Buy,Sell,Hold" doc:"What was ruled."`
	ConfidenceFraction openapi.Decimal `json:"confidenceFraction,omitempty" doc:"How sure the ruling is."`
	Outcome            string          `json:"outcome" doc:"Ordered, or the word for why there was no order."`
}

// DataStatus says which prices are in use.
type DataStatus struct {
	Source      string     `json:"source,omitempty" doc:"The feed."`
	LastBarTime *time.Time `json:"lastBarTime,omitempty" doc:"End of the newest bar."`
}

// EffectiveDocument is what the manifests come to.
type EffectiveDocument struct {
	Generation int64            `json:"generation" doc:"Generation of the agent's spec."`
	Values     []EffectiveValue `json:"values" doc:"Every value in force."`
}

// EffectiveValue is one resolved value.
type EffectiveValue struct {
	Field  string `json:"field" doc:"The field, such as limits.order.maxNotional."`
	Value  string `json:"value" doc:"Its value in force."`
	Source string `json:"source" enum:"Spec,RiskPolicy,AssetPair,Default" doc:"Who decided it."`
}

// PositionList is what the agent holds.
type PositionList struct {
	Currency string     `json:"currency" doc:"Currency of the figures."`
	Items    []Position `json:"items" doc:"Positions that are not flat, in order of pair."`
}

// Position is one position and what it is worth.
type Position struct {
	StatusPosition

	Cost       openapi.Decimal `json:"cost" doc:"What was paid for it, without fees; negative for a short position."`
	Value      openapi.Decimal `json:"value,omitempty" doc:"What it is worth at the last price."`
	Unrealised openapi.Decimal `json:"unrealised,omitempty" doc:"Value less cost."`
}

func (h *handlers) registerState(routes huma.API) {
	huma.Register(routes, openapi.Route(http.MethodGet, "/api/v1/status", "get-status", "Agent", "What the agent does now, and why",
		"Answers also while the agent waits for its ledger, its venue or its turn.", keys.Read), h.status)
	huma.Register(routes, openapi.Route(http.MethodGet, "/api/v1/effective", "get-effective", "Agent", "The configuration in force",
		"Every resolved value with its source. It is changed in the manifests, not here.", keys.Read, http.StatusServiceUnavailable), h.effective)
	huma.Register(routes, openapi.Route(http.MethodGet, "/api/v1/positions", "list-positions", "Trading", "What the agent holds",
		"From the agent's own books, which agree with the ledger and the venue whenever it trades; it answers also while the ledger is down.",
		keys.Read, http.StatusServiceUnavailable), h.positions)
}

func (h *handlers) status(context.Context, *struct{}) (*answer[StatusDocument], error) {
	return &answer[StatusDocument]{StatusDocument{Namespace: h.Namespace, Name: h.Name, Trading: statusOf(h.Agent.Status())}}, nil
}

// statusOf is a status in the words of the API.
func statusOf(s v1alpha1.TradingStatus) TradingStatus {
	status := TradingStatus{
		PodUID: s.PodUID, ObservedGeneration: s.ObservedGeneration, Epoch: s.Epoch, ReconciledEpoch: s.ReconciledEpoch,
		State: string(s.State), Reason: s.Reason, Message: s.Message, Loop: string(s.Loop), Currency: s.Currency,
		Equity: openapi.Decimal(s.Equity), PNL: openapi.Decimal(s.PNL), DrawdownFraction: openapi.Decimal(s.DrawdownFraction),
		Decisions: s.Decisions, Fills: s.Fills, OpenOrders: s.OpenOrders,
	}
	for i := range s.Positions {
		status.Positions = append(status.Positions, positionOf(&s.Positions[i]))
	}
	if d := s.LastDecision; d != nil {
		status.LastDecision = &LastDecision{
			Pair: d.Pair, Action: d.Action, ConfidenceFraction: openapi.Decimal(d.ConfidenceFraction), Outcome: d.Outcome,
		}
		if at := utc(d.Time); at != nil {
			status.LastDecision.Time = *at
		}
	}
	if s.Data != nil {
		status.Data = &DataStatus{Source: s.Data.Source, LastBarTime: utc(s.Data.LastBarTime)}
	}
	return status
}

func positionOf(p *v1alpha1.PositionStatus) StatusPosition {
	return StatusPosition{
		Pair: p.Pair, Quantity: openapi.Decimal(p.Quantity), AveragePrice: openapi.Decimal(p.AveragePrice), LastPrice: openapi.Decimal(p.LastPrice),
	}
}

func utc(at *metav1.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return new(at.UTC())
}

func (h *handlers) effective(context.Context, *struct{}) (*answer[EffectiveDocument], error) {
	desk := h.Agent.Desk()
	if desk == nil {
		return nil, h.notYet()
	}
	document := EffectiveDocument{Generation: desk.Generation, Values: make([]EffectiveValue, len(desk.Values))}
	for i, value := range desk.Values {
		document.Values[i] = EffectiveValue{Field: value.Field, Value: value.Value, Source: string(value.Source)}
	}
	return &answer[EffectiveDocument]{document}, nil
}

func (h *handlers) positions(context.Context, *struct{}) (*answer[PositionList], error) {
	snapshot := h.Agent.Snapshot()
	if snapshot == nil || !snapshot.Known {
		return nil, h.notYet()
	}
	list := PositionList{Currency: snapshot.Currency, Items: make([]Position, len(snapshot.Positions))}
	for i := range snapshot.Positions {
		list.Items[i] = valued(&snapshot.Positions[i])
	}
	return &answer[PositionList]{list}, nil
}

func valued(p *trader.PositionStatus) Position {
	short := p.API()
	position := Position{StatusPosition: positionOf(&short), Cost: openapi.Decimal(p.Cost.String())}
	if p.LastPrice > 0 {
		value := p.Instrument.Notional(p.LastPrice, p.Quantity)
		position.Value, position.Unrealised = openapi.Decimal(value.String()), openapi.Decimal((value - p.Cost).String())
	}
	return position
}

// notYet tells why the agent cannot answer now.
func (h *handlers) notYet() error {
	status := h.Agent.Status()
	return later(status.Reason, status.Message)
}

// retrySeconds is how long a client should leave an agent alone that cannot
// answer.
const retrySeconds = "5"

func later(reason, detail string) error {
	return huma.ErrorWithHeaders(openapi.NewProblem(http.StatusServiceUnavailable, reason, detail), http.Header{"Retry-After": {retrySeconds}})
}
