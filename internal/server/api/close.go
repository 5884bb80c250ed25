package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
)

// closeTimeout is how long a client waits for the agent's word. It is shorter
// than what the server gives an answer.
const closeTimeout = 5 * time.Second

// Closing is the answer to a wish that was granted.
type Closing struct {
	Pair      string          `json:"pair" doc:"Pair in its canonical spelling."`
	Orders    []openapi.ID    `json:"orders" doc:"The orders that close the position; /api/v1/orders tells what becomes of them."`
	Known     bool            `json:"known" doc:"Whether the orders were there before: the same key was used for them, or the position was being closed already."`
	Remaining openapi.Decimal `json:"remaining" doc:"What the orders leave of the position, because the limits allow no more at once; ask again with another key."`
}

type closeInput struct {
	Pair string `path:"pair" minLength:"4" maxLength:"32" pattern:"^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$" doc:"The pair, in any usual spelling, such as BTC-USD."`
	Key  string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Any text of your own, such as a new UUID for each wish. The same key never leads to a second order, not even after a restart of the agent: send it again whenever you are in doubt."`
}

type closeOutput struct {
	Location string `header:"Location" doc:"The first of the orders."`
	Body     Closing
}

func (h *handlers) registerClose(routes huma.API) {
	huma.Register(routes, openapi.Route(http.MethodPost, "/api/v1/positions/{pair}/close", "close-position", "Trading", "Close a position",
		"Makes the agent leave the position of one pair with orders that can only shrink it. They pass the gate as all orders do: "+
			"409 names the limit that denies them, such as TradingHalted under a halt, or NothingHeld. Orders that would open more of the pair are cancelled first. "+
			"The agent may open a position again when its debate says so; to prevent it, set spec.trading of the TradingAgent to ReduceOnly.",
		keys.Trade, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable), h.closePosition)
}

func (h *handlers) closePosition(ctx context.Context, input *closeInput) (*closeOutput, error) {
	desk := h.Agent.Desk()
	if desk == nil {
		return nil, h.notYet()
	}
	instrument, found := desk.instrument(input.Pair)
	if !found {
		return nil, notTraded(desk)
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	closed, err := h.Agent.Close(ctx, ledger.Request{Key: ledger.RequestKey(input.Key), Pair: instrument.Pair})
	switch {
	case errors.Is(err, trader.ErrNotNow):
		return nil, later(h.Agent.Status().Reason, "the agent has not answered in time and may still do it; ask again with the same Idempotency-Key")
	case err != nil:
		return nil, fmt.Errorf("closing %s: %w", instrument.Pair, err)
	case errors.Is(closed.Err, ledger.ErrConflict):
		problem := openapi.NewProblem(http.StatusUnprocessableEntity, "", "this Idempotency-Key was used for another position; take a new one")
		problem.Errors = []openapi.Fault{{Location: "header.Idempotency-Key", Message: "it stands for another request"}}
		return nil, problem
	case len(closed.Denied) > 0:
		return nil, denied(closed.Denied[0])
	}
	output := &closeOutput{Body: Closing{
		Pair: instrument.Pair, Orders: openapi.IDs(closed.Orders), Known: closed.Known,
		Remaining: decimalOf(instrument.QuantityDecimal(closed.Remaining)),
	}}
	if len(closed.Orders) > 0 {
		output.Location = "/api/v1/orders/" + string(output.Body.Orders[0])
	}
	return output, nil
}

// denied is the answer to a wish that led to no order: it passes by itself (503),
// or it is for a person to deal with (409).
func denied(reason string) error {
	passing := []string{trader.ReasonRecovering, trader.ReasonLedgerUnavailable, trader.ReasonVenueUnreachable, trader.ReasonPositionMismatch}
	if slices.Contains(passing, reason) {
		return later(reason, "the agent cannot make orders now: "+meaning(reason)+" Ask again with the same Idempotency-Key")
	}
	return openapi.NewProblem(http.StatusConflict, reason, "no order was made: "+meaning(reason))
}

// meaning explains a reason as docs/reference/reasons.md does.
func meaning(reason string) string {
	for _, limit := range risk.Explanations() {
		if string(limit.Word) == reason {
			return limit.Meaning
		}
	}
	for _, known := range append(trader.Outcomes(), v1alpha1.Reasons()...) {
		if known.Word == reason {
			return known.Meaning
		}
	}
	return reason
}
