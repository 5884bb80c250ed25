package trader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// A person's wish to close a position passes the core and the gate as everything
// else does. It is told to the core (Closing), which has the ledger say whether
// the same wish has led to orders before (Recall), and only then makes orders.

// Closed is the answer to a wish to close a position.
type Closed struct {
	// Orders that close the position.
	Orders []uuid.UUID
	// Known says that the orders are not new: the wish was granted before, or the
	// position was being closed already.
	Known bool
	// Remaining is what the orders leave of the position, signed, because the
	// limits allow no more at once.
	Remaining market.Quantity
	// Denied are the words for why there is no order, the leading one first.
	Denied []string
	// Err is ledger.ErrConflict if the wish's key stands for another one.
	Err error
}

// close begins to grant a wish. Orders that would open more of the pair are
// cancelled first, so that the position stays closed.
func (c *Core) close(request ledger.Request) {
	if c.busy() {
		_, reason, _ := c.tradingState()
		c.deny(request, reason)
		return
	}
	if c.pair(request.Pair) == nil {
		c.deny(request, ReasonNothingHeld)
		return
	}
	for _, opening := range slices.Clone(c.open) {
		o := c.order(opening.ID)
		switch {
		case o.Pair != request.Pair || o.ReduceOnly || o.cancelling:
		case o.state == order.Intended:
			c.conclude(o, order.Absent, "", EndOvertaken)
		default:
			o.cancelling, o.overtaken = true, true
			c.emit(Cancel{o.ID})
		}
	}
	c.emit(Recall{request})
}

// closeNow goes on once the ledger has told what the wish has led to before.
func (c *Core) closeNow(e Recalled) {
	pair := c.pair(e.Request.Pair)
	switch {
	case c.busy():
		_, reason, _ := c.tradingState()
		c.deny(e.Request, reason)
		return
	case e.Err != nil || len(e.Orders) > 0:
		c.emit(Answer{e.Request, Closed{Orders: e.Orders, Known: true, Err: e.Err}})
		return
	}
	var closing []uuid.UUID
	left := pair.position.Quantity
	for i := range c.open {
		o := &c.open[i]
		switch {
		case o.Pair != e.Request.Pair:
		case o.ReduceOnly:
			closing, o.wished = append(closing, o.ID), true
			left += (o.Quantity - o.filled) * market.Quantity(o.Side)
		default:
			c.deny(e.Request, ReasonOrderOpen)
			return
		}
	}
	switch {
	case len(closing) > 0:
		c.emit(Answer{e.Request, Closed{Orders: closing, Known: true, Remaining: left}})
		return
	case left == 0:
		c.deny(e.Request, ReasonNothingHeld)
		return
	}
	legs, denied := c.pass(pair, c.exitLegs(pair, OrderClose), order.Whole)
	if len(denied) > 0 || len(legs) == 0 {
		words := make([]string, len(denied))
		for i := range denied {
			words[i] = string(denied[i])
		}
		c.deny(e.Request, words...)
		return
	}
	c.loop = Execution
	c.inHand = &Commit{Intents: legs, Request: &e.Request}
	c.emit(c.inHand)
}

func (c *Core) deny(request ledger.Request, words ...string) {
	c.emit(Answer{request, Closed{Denied: words}})
}

// granted answers a wish whose orders are committed.
func (c *Core) granted(request ledger.Request, intents []order.Intent) {
	answer := Closed{Orders: make([]uuid.UUID, len(intents)), Remaining: c.pair(request.Pair).position.Quantity}
	for i := range intents {
		answer.Orders[i] = intents[i].ID
		answer.Remaining += intents[i].Quantity * market.Quantity(intents[i].Side)
	}
	c.emit(Answer{request, answer})
}

// ErrNotNow means that the agent could not answer in time. The wish may still be
// granted; asking again with the same key tells.
var ErrNotNow = errors.New("the agent has not answered in time; ask again with the same key")

// Close asks the agent to close the position of a pair, with orders that only
// reduce it and that pass the gate. The same key never leads to a second order,
// not even after a restart. It may be called from any goroutine and waits for the
// answer until the context ends; then it fails with ErrNotNow.
func (s *Shell) Close(ctx context.Context, request ledger.Request) (Closed, error) {
	answer := make(chan Closed, 1)
	s.mu.Lock()
	s.waiting[request] = append(s.waiting[request], answer)
	s.mu.Unlock()
	defer s.unwait(request, answer)
	s.post(Closing{request})
	select {
	case closed := <-answer:
		return closed, nil
	case <-s.ended:
		return Closed{}, fmt.Errorf("%w: the agent has stopped", ErrNotNow)
	case <-ctx.Done():
		return Closed{}, fmt.Errorf("%w: %w", ErrNotNow, ctx.Err())
	}
}

func (s *Shell) unwait(request ledger.Request, answer chan Closed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.waiting[request], func(other chan Closed) bool { return other == answer })
	if len(left) == 0 {
		delete(s.waiting, request)
		return
	}
	s.waiting[request] = left
}

// answer tells everybody who has asked the same.
func (s *Shell) answer(request ledger.Request, closed Closed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.waiting[request] {
		select {
		case waiting <- closed:
		default:
		}
	}
}

// recall asks the ledger what a wish has led to.
func (s *Shell) recall(ctx context.Context, request ledger.Request) ([]Event, error) {
	orders, err := s.options.Ledger.Recall(ctx, s.lease, request)
	if errors.Is(err, ledger.ErrConflict) {
		return []Event{Recalled{Request: request, Err: err}}, nil
	}
	if err != nil {
		s.giveUp(Recall{request}, impairedBy(err).Reason)
	}
	return s.outcome(err, Recalled{Request: request, Orders: orders})
}

// request commits the orders that a wish leads to.
func (s *Shell) request(ctx context.Context, commit Commit, sentAt time.Time) error {
	err := s.options.Ledger.Request(ctx, s.lease, *commit.Request, commit.Intents, sentAt)
	if err != nil {
		s.giveUp(&commit, impairedBy(err).Reason)
	}
	return err
}

// giveUp answers a wish whose command the ledger has failed, or which nobody will
// carry out.
func (s *Shell) giveUp(command Command, reason string) {
	denied := Closed{Denied: []string{reason}}
	switch c := command.(type) {
	case Recall:
		s.answer(c.Request, denied)
	case *Commit:
		if c.Request != nil {
			s.answer(*c.Request, denied)
		}
	}
}
