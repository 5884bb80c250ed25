package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/openapi"
)

// Halter creates halts on the agent alone, at the API server.
type Halter interface {
	// Halt creates the TradingHalt of a name, which is latched and is released at the
	// API server alone. One of that name that asks for the same is no error. It fails
	// with ErrHaltTaken if the name stands for another, and with ErrNoHalts where the
	// agent has no API server.
	Halt(ctx context.Context, name string, state v1alpha1.HaltState, task v1alpha1.HaltTask, reason string) error
}

var (
	// ErrHaltTaken means that a halt of the name asks for something else.
	ErrHaltTaken = errors.New("the halt's name stands for another one")
	// ErrNoHalts means that the agent runs without an API server, where halts are kept.
	ErrNoHalts = errors.New("the agent runs without an API server, where halts are kept")
)

// haltTimeout is how long a client waits for the API server.
const haltTimeout = 5 * time.Second

// Halted is the answer to a wish to halt.
type Halted struct {
	Halt  string `json:"halt" doc:"The TradingHalt that was created, in the agent's namespace. It is latched: kubectl trading release, with this name, ends it."`
	State string `json:"state" enum:"ReduceOnly,Halted" doc:"How far it lets the agent trade."`
}

type haltInput struct {
	Reason string `query:"reason" required:"true" minLength:"1" maxLength:"256" doc:"Why, for those who find the agent halted."`
	Task   string `query:"task" enum:"Keep,CancelOrders,Flatten" default:"CancelOrders" doc:"What becomes of open orders and positions."`
	Key    string `header:"Idempotency-Key" required:"true" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" doc:"Any text of your own, such as a new UUID for each wish. The same key never leads to a second halt."`
}

type haltOutput struct {
	Body Halted
}

func (h *handlers) registerHalt(routes huma.API) {
	for _, route := range []struct {
		path, id, summary, description string
		state                          v1alpha1.HaltState
	}{
		{"/api/v1/halt", "halt", "Halt the agent", "Creates a TradingHalt on this agent: no order leaves any more but those of task Flatten.", v1alpha1.HaltHalted},
		{"/api/v1/reduce-only", "reduce-only", "Let the agent only reduce", "Creates a TradingHalt on this agent with state ReduceOnly: only orders that shrink a position leave.", v1alpha1.HaltReduceOnly},
	} {
		huma.Register(routes, openapi.Route(http.MethodPost, route.path, route.id, "Trading", route.summary,
			route.description+" It is latched: no restart, no edit and no route of this API ends it, only its release at the API server (kubectl trading release). "+
				"When /api/v1/status tells of it, it is in force.",
			keys.Admin, http.StatusConflict, http.StatusServiceUnavailable),
			func(ctx context.Context, input *haltInput) (*haltOutput, error) {
				return h.halt(ctx, input, route.state)
			})
	}
}

func (h *handlers) halt(ctx context.Context, input *haltInput, state v1alpha1.HaltState) (*haltOutput, error) {
	if h.Halter == nil {
		return nil, openapi.NewProblem(http.StatusConflict, "", ErrNoHalts.Error()+"; set spec.trading in its manifest, or stop it")
	}
	ctx, cancel := context.WithTimeout(ctx, haltTimeout)
	defer cancel()
	reason := input.Reason
	if identity, known := keys.FromContext(ctx); known {
		reason = fmt.Sprintf("%s (by API key %q)", reason, identity.Name)
	}
	// The key itself is the client's and need not be fit for a name.
	name := fmt.Sprintf("%s-api-%.16s", h.Name, ledger.RequestKey(input.Key))
	err := h.Halter.Halt(ctx, name, state, v1alpha1.HaltTask(input.Task), reason)
	switch {
	case errors.Is(err, ErrNoHalts):
		return nil, openapi.NewProblem(http.StatusConflict, "", ErrNoHalts.Error()+"; set spec.trading in its manifest, or stop it")
	case errors.Is(err, ErrHaltTaken):
		return nil, openapi.NewProblem(http.StatusConflict, "", "this Idempotency-Key was used for another halt; take a new one")
	case err != nil:
		h.Log.Error(err, "a halt could not be created", "halt", name)
		return nil, later(v1alpha1.ReasonControlPlaneLost, "the API server has not taken the halt; ask again with the same Idempotency-Key, or use kubectl trading halt")
	}
	return &haltOutput{Body: Halted{Halt: name, State: string(state)}}, nil
}
