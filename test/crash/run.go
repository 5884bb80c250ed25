package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
	"github.com/three-rivers-tech/trading-operator/test/crash/wire"
)

const (
	// reach is how long an agent is given to come to a point. Some are rare.
	reach = 15 * time.Second
	// stand is how long an agent that shall be killed stands at its point, and
	// linger one that shall only see what is around it break.
	stand  = "1*sleep(60000)"
	linger = "1*sleep(700)"
	// agentName is the agent of a run.
	agentName = "one"
)

// run is one world under strikes.
type run struct {
	world *rig.World
	agent *rig.Agent
	// name of the agent.
	name   string
	tally  *tally
	random *rand.Rand
	// expires says that the venue refuses requests that are too old. Where it does
	// not, ahead is how far the agent's clock is ahead, in seconds.
	expires bool
	ahead   int
}

// play lets the agent trade, strikes, and at the end holds its ledger against the
// exchange.
func (r *run) play(ctx context.Context, all []strike) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.tradesOn(ctx); err != nil {
		return err
	}
	for _, s := range all {
		if err := r.suffer(ctx, s); err != nil {
			return fmt.Errorf("%s at %s: %w", s.kind, s.point.name, err)
		}
	}
	return r.settle(ctx)
}

// start starts the agent and waits until it is ready.
func (r *run) start(ctx context.Context) error {
	if err := r.launch(""); err != nil {
		return err
	}
	if err := r.agent.Ready(ctx, rig.Patience); err != nil {
		return err
	}
	r.tally.ready(time.Since(r.agent.Started))
	return nil
}

// launch starts the agent.
func (r *run) launch(failpoints string) (err error) {
	r.agent, err = r.world.Start(r.name, 0, fmt.Sprintf("clockAhead=return(%d);%s", r.ahead, failpoints))
	return err
}

// arrival is how long an order counts as on its way where the venue does not say
// for how long it takes one, with time to spare, in seconds.
const arrival = 11 * 60

// letArrive lets so much time pass for the agent, at a venue that takes requests
// for ever, that it need not wait for an order that has no answer. Nothing is on
// the line then.
func (r *run) letArrive(ctx context.Context) error {
	if r.expires {
		return nil
	}
	r.ahead += arrival
	return r.agent.Arm(ctx, "clockAhead", fmt.Sprintf("return(%d)", r.ahead))
}

// tradesOn waits for an order that is made from now on and gets an answer.
func (r *run) tradesOn(ctx context.Context) error {
	began := time.Now()
	err := awaitOrder(ctx, r.world, r.agent)
	if err == nil {
		r.tally.trading(time.Since(began))
	}
	return err
}

// awaitOrder waits for an order that is made from now on and gets an answer.
func awaitOrder(ctx context.Context, world *rig.World, agent *rig.Agent) error {
	last := int64(-1)
	return agent.Await(ctx, rig.Patience, "the next order", func(ctx context.Context) (done bool, err error) {
		if last < 0 {
			last, err = world.Ask(ctx, `SELECT coalesce(max(ordinal), 0) FROM trading.intents`)
			if err != nil {
				last = -1
			}
			return false, err
		}
		newest, err := world.Ask(ctx, `SELECT coalesce(max(i.ordinal), 0) FROM trading.intents i JOIN trading.orders o ON o.id = i.id
			WHERE i.ordinal > $1 AND o.state IN ('Acked', 'Filled', 'Cancelled')`, last)
		return newest > 0, err
	})
}

// suffer brings the agent to a point and strikes there. A point that the agent
// does not come to in time is counted as missed.
func (r *run) suffer(ctx context.Context, s strike) error {
	var hold *wire.Hold
	var reached bool
	var err error
	switch {
	case s.point.chance:
		reached, err = true, r.wait(ctx, time.Duration(r.random.IntN(400))*time.Millisecond)
	case s.point.line:
		hold, reached, err = r.holdOrder(ctx, s.point)
	case s.point.when == starting, s.point.when == recovering:
		reached, err = r.dieAndStart(ctx, s)
	case s.point.when == adopting:
		reached, err = r.handOver(ctx, s)
	default:
		reached, err = r.bring(ctx, s)
	}
	if err != nil {
		return err
	}
	r.tally.struck(s, reached)
	if reached {
		if err := r.hit(ctx, s, hold); err != nil {
			return err
		}
	}
	if err := r.agent.Ready(ctx, rig.Patience); err != nil {
		return err
	}
	if err := r.letArrive(ctx); err != nil {
		return err
	}
	return r.tradesOn(ctx)
}

// terms are what is armed for a kind of fault.
func (k kind) terms() string {
	if k == killAgent {
		return stand
	}
	return linger
}

// bring arms a point of a running agent and waits until it has come there.
func (r *run) bring(ctx context.Context, s strike) (bool, error) {
	if err := r.agent.Arm(ctx, s.point.name, s.kind.terms()); err != nil {
		return false, err
	}
	if s.point.resting {
		r.world.Exchange.SetLiquid(false)
		defer r.world.Exchange.SetLiquid(true)
	}
	if s.point.when == ending {
		if err := r.agent.Ask(); err != nil {
			return false, err
		}
	}
	if s.point.asking && r.line() != nil {
		if err := r.loseAnswer(ctx); err != nil {
			return false, err
		}
	}
	return r.reached(ctx, s.point.name)
}

// loseAnswer lets the next order arrive, and its answer be lost.
func (r *run) loseAnswer(ctx context.Context) error {
	hold, reached, err := r.holdOrder(ctx, point{stage: wire.Answer})
	if err != nil || !reached {
		return err
	}
	r.line().Cut(wire.Reset)
	r.line().Cut(wire.Whole)
	hold.Release()
	return nil
}

func (r *run) reached(ctx context.Context, name string) (bool, error) {
	err := r.agent.Reached(ctx, name, reach)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, rig.ErrEnded) || ctx.Err() != nil {
		return false, err
	}
	return false, r.agent.Disarm(ctx, name)
}

// dieAndStart kills the agent, where something is to be recovered in the middle of
// an order, and brings the next process to a point of its start.
func (r *run) dieAndStart(ctx context.Context, s strike) (bool, error) {
	if s.point.when == recovering || r.random.IntN(2) == 0 {
		at := openings[r.random.IntN(len(openings))]
		if err := r.agent.Arm(ctx, at, stand); err != nil {
			return false, err
		}
		if reached, err := r.reached(ctx, at); err != nil || !reached {
			return false, err
		}
	}
	if err := r.agent.Kill(); err != nil {
		return false, err
	}
	r.tally.killed()
	if err := r.launch(s.point.name + "=" + s.kind.terms()); err != nil {
		return false, err
	}
	return r.reached(ctx, s.point.name)
}

// handOver deletes the agent in good order, with what it holds, and brings the next
// owner of its pairs to a point of the adoption.
func (r *run) handOver(ctx context.Context, s strike) (bool, error) {
	if err := r.agent.Stop(rig.Patience); err != nil {
		return false, err
	}
	r.world.Desk.Halted = true
	if err := r.start(ctx); err != nil {
		return false, err
	}
	if err := r.letArrive(ctx); err != nil {
		return false, err
	}
	err := r.agent.Await(ctx, rig.Patience, "the end of every order", func(ctx context.Context) (bool, error) {
		open, err := r.world.Ask(ctx, `SELECT count(*) FROM trading.orders WHERE state NOT IN ('Filled', 'Cancelled', 'Rejected')`)
		return err == nil && open == 0, err
	})
	if err != nil {
		return false, err
	}
	if err := r.agent.Stop(rig.Patience); err != nil {
		return false, err
	}
	if err := ledger.Release(ctx, r.world.URI, "file:desk/"+r.name); err != nil {
		return false, err
	}
	r.world.Desk.Halted = false
	// An agent that is gone never comes back.
	r.name = fmt.Sprintf("%s-%d", agentName, len(r.world.Desk.Agents))
	r.world.Desk.Agents = append(r.world.Desk.Agents, rig.AgentManifest{Name: r.name, Bases: rig.Pairs})
	if err := r.launch(s.point.name + "=" + s.kind.terms()); err != nil {
		return false, err
	}
	return r.reached(ctx, s.point.name)
}

// holdOrder stops the next order at a stage of the line.
func (r *run) holdOrder(ctx context.Context, p point) (*wire.Hold, bool, error) {
	hold := r.line().HoldNext(p.stage, isOrder)
	timer := time.NewTimer(reach)
	defer timer.Stop()
	select {
	case <-hold.Reached():
		return hold, true, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-r.agent.Ended():
		return nil, false, rig.ErrEnded
	case <-timer.C:
		r.line().Forget(hold)
		return nil, false, nil
	}
}

// isOrder reports whether a request places an order at any of the venues.
func isOrder(request *http.Request) bool {
	path := strings.TrimSuffix(request.URL.Path, "/")
	return request.Method == http.MethodPost &&
		(strings.HasSuffix(path, "/orders") || strings.HasSuffix(path, "/AddOrder") || strings.HasSuffix(path, "/order/new"))
}

// hit breaks something and repairs it.
func (r *run) hit(ctx context.Context, s strike, hold *wire.Hold) error {
	switch s.kind {
	case killAgent:
		if err := r.agent.Kill(); err != nil {
			return err
		}
		r.tally.killed()
		r.letLate(hold)
		return r.start(ctx)
	case stopDatabase:
		if err := r.world.Server.Stop(true); err != nil {
			return err
		}
		r.tally.stopped()
		if hold != nil {
			hold.Release()
		}
		if err := r.wait(ctx, time.Duration(r.random.IntN(1200))*time.Millisecond); err != nil {
			return err
		}
		if err := r.world.Server.StartAgain(); err != nil {
			return err
		}
	case cutLine:
		how := []wire.Cut{wire.Reset, wire.Silent}[r.random.IntN(2)]
		r.line().Cut(how)
		r.tally.cut()
		if hold != nil {
			hold.Release()
		}
		err := r.wait(ctx, 200*time.Millisecond+time.Duration(r.random.IntN(1800))*time.Millisecond)
		r.line().Cut(wire.Whole)
		if err != nil {
			return err
		}
	}
	if s.point.when == ending {
		return r.endAndStart(ctx)
	}
	return nil
}

// letLate lets an order whose sender is dead be lost, or arrive late.
func (r *run) letLate(hold *wire.Hold) {
	if hold == nil {
		return
	}
	switch {
	case r.random.IntN(2) == 0:
		r.line().Cut(wire.Reset)
		r.line().Cut(wire.Whole)
		hold.Release()
		return
	case !r.expires:
		hold.Release()
		return
	}
	time.AfterFunc(time.Duration(r.random.IntN(8000))*time.Millisecond, hold.Release)
}

// endAndStart waits for the end of an agent that was asked to end, and starts the
// next one.
func (r *run) endAndStart(ctx context.Context) error {
	if err := r.agent.AwaitEnd(rig.Patience); err != nil {
		return err
	}
	return r.start(ctx)
}

// line leads from the agent to the exchange.
func (r *run) line() *wire.Proxy { return r.world.Line(0) }

// wait lets time pass in which faults last.
func (r *run) wait(ctx context.Context, span time.Duration) error { return passing(ctx, span) }

// passing lets time pass.
func passing(ctx context.Context, span time.Duration) error {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// settle ends trading and holds the ledger against the exchange: a last process is
// started that may trade no more, and whatever it cannot put in order is wrong.
func (r *run) settle(ctx context.Context) error {
	if err := r.agent.Stop(rig.Patience); err != nil {
		return fmt.Errorf("asking the agent to end: %w", err)
	}
	r.world.Desk.Halted = true
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.letArrive(ctx); err != nil {
		return err
	}
	verdict, err := settled(ctx, r.world)
	if err != nil {
		return err
	}
	if err := r.agent.Stop(rig.Patience); err != nil {
		return fmt.Errorf("asking the halted agent to end: %w", err)
	}
	r.tally.judged(&verdict)
	if !verdict.Clean() {
		return fmt.Errorf("the ledger and the exchange do not agree:\n%s\n%s", verdict.String(), r.agent.Log())
	}
	return nil
}
