package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// LatchedHalt is a halt that binds an agent until its release is recorded.
type LatchedHalt struct {
	// UID of the halt; Name is for people, such as TradingHalt/stop.
	UID, Name string
	// State is ReduceOnly or Halted, and Task Keep, CancelOrders or Flatten.
	State, Task string
	// Reason why, in the words of who requested it.
	Reason string
	// Pairs that it binds, in canonical spelling; nil is all of the agent's.
	Pairs []string
}

func (h *LatchedHalt) check() error {
	switch {
	case h.UID == "" || h.Name == "":
		return errors.New("latch a halt: no UID or no name")
	case h.State != "ReduceOnly" && h.State != "Halted":
		return fmt.Errorf("latch %s: the state is %q, not ReduceOnly or Halted", h.Name, h.State)
	case h.Task != "Keep" && h.Task != "CancelOrders" && h.Task != "Flatten":
		return fmt.Errorf("latch %s: the task is %q, not Keep, CancelOrders or Flatten", h.Name, h.Task)
	case h.Pairs != nil && len(h.Pairs) == 0:
		return fmt.Errorf("latch %s: it binds no pair", h.Name)
	}
	return nil
}

// Halts is the ledger's memory of halts. It is no part of Ledger, because a halt
// binds an agent before it has an epoch, and is released whoever has it.
type Halts interface {
	// Latch records that a halt binds an agent. Repeating it changes nothing.
	Latch(ctx context.Context, agentUID string, halt LatchedHalt) error
	// Latched are the halts that bind an agent and were not released, in the order
	// in which they were latched.
	Latched(ctx context.Context, agentUID string) ([]LatchedHalt, error)
	// Unlatch records that a halt was released, for every agent that it binds. The
	// first release counts; repeating it changes nothing.
	Unlatch(ctx context.Context, haltUID, by, reason string) error
	// UnlatchAgent is Unlatch for one agent: the halt binds every other as before.
	UnlatchAgent(ctx context.Context, agentUID, haltUID, by, reason string) error
}

var (
	_ Halts = (*Postgres)(nil)
	_ Halts = (*Memory)(nil)
)

func checkRelease(haltUID, by, reason string) error {
	if haltUID == "" || by == "" || reason == "" {
		return errors.New("releasing a halt needs its UID, a name and a reason")
	}
	return nil
}

func checkAgentRelease(agentUID, haltUID, by, reason string) error {
	if agentUID == "" {
		return errors.New("releasing a halt for one agent needs the agent's UID")
	}
	return checkRelease(haltUID, by, reason)
}

// copied shares nothing with the original.
func (h *LatchedHalt) copied() LatchedHalt {
	c := *h
	c.Pairs = slices.Clone(h.Pairs)
	return c
}
