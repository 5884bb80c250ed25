package trader

import (
	"context"
	"slices"
)

// tell hands an event to the core. Where the market's time is the wall clock's,
// the core learns the time first.
func (s *Shell) tell(event Event) []Command {
	if s.core.current {
		s.core.Handle(Passed{s.clock.Now()})
	}
	commands := s.core.Handle(event)
	if _, settings := event.(Updated); settings {
		// A halt is acknowledged when it binds, whatever its task then waits for.
		s.publish()
	}
	return commands
}

// dispatch tells the core of an event and carries out what follows, until
// nothing is left to do.
func (s *Shell) dispatch(ctx context.Context, event Event) error {
	s.queue = append(s.queue[:0], s.tell(event)...)
	return s.carryOut(ctx, s.queue)
}

// carryOut does one command after another. What the owner says meanwhile is heard
// before the next, however many calls each run into their time-out.
func (s *Shell) carryOut(ctx context.Context, queue []Command) error {
	for {
		if queue = s.interject(queue); len(queue) == 0 {
			return nil
		}
		command := queue[0]
		queue = queue[1:]
		if !s.core.recovered && !unconditional(command) {
			// Everything else is read back at the next reconciliation.
			s.giveUp(command, s.core.impairment.Reason)
			continue
		}
		events, err := s.execute(ctx, command)
		if err != nil {
			return err
		}
		s.progress()
		queue = s.follow(events, queue)
	}
}

// follow tells the core of events. What follows from them comes before what was
// waiting: an order is sent directly after the gate has let it pass.
func (s *Shell) follow(events []Event, queue []Command) []Command {
	s.following = s.following[:0]
	for _, next := range events {
		s.following = append(s.following, s.tell(next)...)
	}
	if len(s.following) == 0 {
		return queue
	}
	s.spare = append(append(s.spare[:0], s.following...), queue...)
	s.queue, s.spare = s.spare, s.queue
	return cancelsFirst(s.queue)
}

// interject tells the core what the owner has said meanwhile. An order that waits
// to leave meets the gate once more: it was let pass before that.
func (s *Shell) interject(queue []Command) []Command {
	wishes := s.posted()
	if len(wishes) == 0 {
		return queue
	}
	for i, command := range queue {
		if send, waits := command.(Send); waits {
			queue[i] = BeginSend{ID: send.Intent.ID, Recorded: true}
		}
	}
	return s.follow(wishes, queue)
}

// cancelsFirst keeps the order of commands, but lets no cancellation wait for the
// ledger.
func cancelsFirst(queue []Command) []Command {
	if !slices.ContainsFunc(queue, func(c Command) bool { return rank(c) == 0 }) {
		return queue
	}
	slices.SortStableFunc(queue, func(a, b Command) int { return rank(a) - rank(b) })
	return queue
}

func rank(command Command) int {
	if _, cancels := command.(Cancel); cancels {
		return 0
	}
	return 1
}

// unconditional commands are carried out even while ledger or venue cannot be
// relied on.
func unconditional(command Command) bool {
	switch command.(type) {
	case Cancel, Answer:
		return true
	}
	return false
}
