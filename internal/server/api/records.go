package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/decision"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
)

// PageInput asks for a page.
type PageInput struct {
	Cursor string `query:"cursor" maxLength:"200" pattern:"^[A-Za-z0-9_-]+$" doc:"next of the page before; without it the list begins at the newest."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many items."`
}

// PairInput asks for one pair.
type PairInput struct {
	Pair string `query:"pair" minLength:"4" maxLength:"32" pattern:"^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$" doc:"Only this pair, in any usual spelling, such as BTC-USD; without it all."`
}

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items" doc:"The newest first."`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last."`
}

// Order is an order and what became of it.
type Order struct {
	ID           openapi.ID      `json:"id" doc:"The client order id, which the venue knows too."`
	Pair         string          `json:"pair" doc:"Pair in its canonical spelling."`
	Side         string          `json:"side" enum:"Buy,Sell" doc:"Which way."`
	Quantity     openapi.Decimal `json:"quantity" doc:"In the base currency."`
	Limit        openapi.Decimal `json:"limit" doc:"The worst acceptable price, in the quote currency."`
	Filled       openapi.Decimal `json:"filled" doc:"What of it is filled."`
	ReduceOnly   bool            `json:"reduceOnly" doc:"Whether it can only shrink a position."`
	State        string          `json:"state" enum:"Intended,Sent,Acked,Unknown,Filled,Cancelled,Rejected" doc:"Filled, Cancelled and Rejected are final; the others are open."`
	Reason       string          `json:"reason" doc:"Why it was made, such as Decision, Stop or Close."`
	Ended        string          `json:"ended,omitempty" doc:"Why it ended without being filled, or is in doubt."`
	VenueOrderID string          `json:"venueOrderID,omitempty" doc:"The venue's own id."`
	Sequence     int64           `json:"sequence" doc:"Decision that it follows from, or its place among them."`
	Leg          int32           `json:"leg" doc:"Which order of that decision."`
	Decided      time.Time       `json:"decided" doc:"When it was decided."`
	Updated      time.Time       `json:"updated" doc:"When the last news of it came."`
}

// Fill is one execution.
type Fill struct {
	TradeID     string          `json:"tradeID" doc:"The venue's id of the execution."`
	OrderID     openapi.ID      `json:"orderID" doc:"The order that was filled."`
	Pair        string          `json:"pair" doc:"Pair in its canonical spelling."`
	Side        string          `json:"side" enum:"Buy,Sell" doc:"Which way."`
	Quantity    openapi.Decimal `json:"quantity" doc:"In the base currency."`
	Price       openapi.Decimal `json:"price" doc:"In the quote currency."`
	Value       openapi.Decimal `json:"value" doc:"What changed hands, in the quote currency."`
	Fee         openapi.Decimal `json:"fee" doc:"Fee paid; negative is a rebate."`
	FeeCurrency string          `json:"feeCurrency" doc:"Currency of the fee."`
	Realised    openapi.Decimal `json:"realised" doc:"Gain or loss of what was closed, before fees."`
	Time        time.Time       `json:"time" doc:"When it was executed."`
}

// Decision is one ruling, who said what, and what became of it.
type Decision struct {
	Sequence           int64           `json:"sequence" doc:"Grows with each of the agent's decisions and orders; after the ledger has forgotten it goes on above what was lost."`
	Time               time.Time       `json:"time" doc:"End of the bar that was decided on."`
	Pair               string          `json:"pair" doc:"Pair in its canonical spelling."`
	Action             string          `json:"action" enum:"Buy,Sell,Hold" doc:"What was ruled."`
	ConfidenceFraction openapi.Decimal `json:"confidenceFraction" doc:"How sure the ruling is."`
	Outcome            string          `json:"outcome" doc:"Ordered, or the word for why there was no order."`
	Judge              string          `json:"judge,omitempty" doc:"Who ruled: a model, or Stop, Target or Flatten."`
	Reasons            []string        `json:"reasons,omitempty" doc:"What the judge said."`
	Arguments          []Argument      `json:"arguments,omitempty" doc:"What bull and bear said."`
	Denied             []string        `json:"denied,omitempty" doc:"The limits of the gate that failed."`
	Failure            string          `json:"failure,omitempty" doc:"Why there was no ruling."`
	Orders             []openapi.ID    `json:"orders" doc:"Orders that follow from it."`
}

// Argument is what one side of the debate said.
type Argument struct {
	Role               string          `json:"role" enum:"Bull,Bear" doc:"The side."`
	Model              string          `json:"model" doc:"Who spoke for it."`
	ConfidenceFraction openapi.Decimal `json:"confidenceFraction" doc:"How sure it was of its case."`
	Reasons            []string        `json:"reasons,omitempty" doc:"Its case."`
}

// EquityPoint is the agent's value at one time.
type EquityPoint struct {
	Time     time.Time       `json:"time" doc:"End of the bar."`
	Equity   openapi.Decimal `json:"equity" doc:"Cash plus positions."`
	Peak     openapi.Decimal `json:"peak" doc:"The highest equity until then."`
	DayStart openapi.Decimal `json:"dayStart" doc:"The equity when the trading day began."`
}

type ordersInput struct {
	PageInput
	PairInput
	State string `query:"state" enum:"Open,Intended,Sent,Acked,Unknown,Filled,Cancelled,Rejected" doc:"Only orders in this state; Open are all that are not final."`
}

type orderInput struct {
	ID string `path:"id" format:"uuid" pattern:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" doc:"The client order id."`
}

type fillsInput struct {
	PageInput
	PairInput
	Order string `query:"order" format:"uuid" pattern:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" doc:"Only the fills of this order."`
}

type decisionsInput struct {
	PageInput
	PairInput
}

type equityInput struct {
	PageInput
	From        time.Time `query:"from" doc:"Not before this time."`
	To          time.Time `query:"to" doc:"Not after this time."`
	StepSeconds int       `query:"stepSeconds" minimum:"0" maximum:"2678400" default:"0" doc:"Only the last value of each span of so many seconds; 0 for every value."`
}

func (h *handlers) registerRecords(routes huma.API) {
	const details = "Read from the ledger beside the trading; 503 while the ledger does not answer."
	route := func(path, id, tag, summary string, failures ...int) huma.Operation {
		return openapi.Route(http.MethodGet, path, id, tag, summary, details, keys.Read, append(failures, http.StatusServiceUnavailable)...)
	}
	huma.Register(routes, route("/api/v1/orders", "list-orders", "Trading", "Orders and what became of them"), h.orders)
	huma.Register(routes, route("/api/v1/orders/{id}", "get-order", "Trading", "One order", http.StatusNotFound), h.order)
	huma.Register(routes, route("/api/v1/fills", "list-fills", "Trading", "Executions"), h.fills)
	huma.Register(routes, route("/api/v1/decisions", "list-decisions", "Decisions", "Rulings, with what bull, bear and judge said"), h.decisions)
	huma.Register(routes, route("/api/v1/equity", "list-equity", "Trading", "The agent's value over time"), h.equity)
}

// query is a page of the list of one pair.
func (h *handlers) query(page PageInput, pair string) ledger.Query {
	query := ledger.Query{Pair: pair, Cursor: page.Cursor, Limit: page.Limit}
	if instrument, found := h.Agent.Desk().instrument(pair); found {
		query.Pair = instrument.Pair
	}
	return query
}

// read asks the ledger for a page and puts it into the words of the API.
func read[R, T any](h *handlers, list func(ledger.Reader) (ledger.Page[R], error), say func(*R) T) (*answer[List[T]], error) {
	records := h.Agent.Records()
	if records == nil {
		return nil, h.notYet()
	}
	page, err := list(records)
	if err != nil {
		return nil, h.unread(err)
	}
	told := List[T]{Items: make([]T, len(page.Items)), Next: page.Next}
	for i := range page.Items {
		told.Items[i] = say(&page.Items[i])
	}
	return &answer[List[T]]{told}, nil
}

// unread is the answer to what the ledger could not tell.
func (h *handlers) unread(err error) error {
	switch {
	case errors.Is(err, ledger.ErrCursor):
		problem := openapi.NewProblem(http.StatusUnprocessableEntity, "", "begin the list anew, without a cursor")
		problem.Errors = []openapi.Fault{{Location: "query.cursor", Message: "this list has not given out such a cursor"}}
		return problem
	case errors.Is(err, ledger.ErrNotFound):
		return openapi.NewProblem(http.StatusNotFound, "", "the agent has no such order")
	}
	h.Log.Info("the API could not read the ledger", "error", err.Error())
	return later(v1alpha1.ReasonLedgerUnavailable, "the ledger does not answer; status, positions and pulse still do")
}

func (h *handlers) orders(ctx context.Context, input *ordersInput) (*answer[List[Order]], error) {
	query := ledger.OrderQuery{Query: h.query(input.PageInput, input.Pair)}
	switch input.State {
	case "":
	case "Open":
		query.States = []order.State{order.Intended, order.Sent, order.Acked, order.Unknown}
	default:
		query.States = []order.State{order.State(input.State)}
	}
	return read(h, func(r ledger.Reader) (ledger.Page[ledger.OrderRecord], error) { return r.Orders(ctx, query) }, orderOf)
}

func (h *handlers) order(ctx context.Context, input *orderInput) (*answer[Order], error) {
	id, err := uuid.Parse(input.ID)
	if err != nil {
		return nil, openapi.NewProblem(http.StatusUnprocessableEntity, "", "the id of an order is a UUID")
	}
	records := h.Agent.Records()
	if records == nil {
		return nil, h.notYet()
	}
	record, err := records.Order(ctx, id)
	if err != nil {
		return nil, h.unread(err)
	}
	return &answer[Order]{orderOf(&record)}, nil
}

func orderOf(o *ledger.OrderRecord) Order {
	return Order{
		ID: openapi.ID(o.ID.String()), Pair: o.Pair, Side: o.Side.String(), Quantity: decimalOf(o.Quantity), Limit: decimalOf(o.Limit), Filled: decimalOf(o.Filled),
		ReduceOnly: o.ReduceOnly, State: string(o.State), Reason: o.Reason, Ended: o.Ended, VenueOrderID: o.VenueOrderID,
		Sequence: o.Sequence, Leg: o.Leg, Decided: o.DecidedAt, Updated: o.UpdatedAt,
	}
}

func (h *handlers) fills(ctx context.Context, input *fillsInput) (*answer[List[Fill]], error) {
	query := ledger.FillQuery{Query: h.query(input.PageInput, input.Pair)}
	if input.Order != "" {
		id, err := uuid.Parse(input.Order)
		if err != nil {
			return nil, openapi.NewProblem(http.StatusUnprocessableEntity, "", "the id of an order is a UUID")
		}
		query.Order = id
	}
	return read(h, func(r ledger.Reader) (ledger.Page[ledger.FillRecord], error) { return r.Fills(ctx, query) }, func(f *ledger.FillRecord) Fill {
		return Fill{
			TradeID: f.TradeID, OrderID: openapi.ID(f.OrderID.String()), Pair: f.Pair, Side: f.Side.String(), Quantity: decimalOf(f.Quantity), Price: decimalOf(f.Price),
			Value: decimalOf(f.Value), Fee: decimalOf(f.Fee), FeeCurrency: f.FeeCurrency, Realised: decimalOf(f.Realised), Time: f.MarketTime,
		}
	})
}

func (h *handlers) decisions(ctx context.Context, input *decisionsInput) (*answer[List[Decision]], error) {
	query := h.query(input.PageInput, input.Pair)
	return read(h, func(r ledger.Reader) (ledger.Page[ledger.DecisionRecord], error) { return r.Decisions(ctx, query) }, decisionOf)
}

func decisionOf(d *ledger.DecisionRecord) Decision {
	told := Decision{
		Sequence: d.Sequence, Time: d.BarEnd, Pair: d.Pair, Action: d.Action, ConfidenceFraction: share(d.ConfidenceMicros),
		Outcome: d.Outcome, Orders: openapi.IDs(d.Orders),
	}
	var said struct {
		decision.Ruling

		Failure string   `json:"failure"`
		Denied  []string `json:"denied"`
	}
	// What an older release has written in another shape is left out.
	if len(d.Reasoning) == 0 || json.Unmarshal(d.Reasoning, &said) != nil {
		return told
	}
	told.Judge, told.Reasons, told.Denied, told.Failure = said.Judge, said.Reasons, said.Denied, said.Failure
	for i := range said.Arguments {
		argument := &said.Arguments[i]
		told.Arguments = append(told.Arguments, Argument{
			Role: string(argument.Role), Model: argument.Model, ConfidenceFraction: share(argument.ConfidenceMicros), Reasons: argument.Reasons,
		})
	}
	return told
}

func (h *handlers) equity(ctx context.Context, input *equityInput) (*answer[List[EquityPoint]], error) {
	query := ledger.EquityQuery{
		Query: h.query(input.PageInput, ""), From: input.From, To: input.To, Step: time.Duration(input.StepSeconds) * time.Second,
	}
	return read(h, func(r ledger.Reader) (ledger.Page[ledger.EquityRecord], error) { return r.Equity(ctx, query) }, func(e *ledger.EquityRecord) EquityPoint {
		return EquityPoint{
			Time: e.MarketTime, Equity: openapi.Decimal(e.Equity.String()), Peak: openapi.Decimal(e.PeakEquity.String()),
			DayStart: openapi.Decimal(e.DayStartEquity.String()),
		}
	})
}

func decimalOf(value decimal.Decimal) openapi.Decimal { return openapi.Decimal(value.String()) }

// share is a figure in millionths as a fraction of one.
func share(micros int64) openapi.Decimal { return decimalOf(decimal.New(micros, -6)) }
