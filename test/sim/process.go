package sim

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/trader"
	"github.com/three-rivers-tech/trading-operator/internal/venue"
)

// agent is one TradingAgent, of which one process after another runs; more than
// one if the first was taken for dead.
type agent struct {
	name     string
	config   trader.Config
	settings trader.Settings
	// leaves says that the owner has deleted the agent, which closes its positions.
	leaves bool
	// ambushes are what strikes when an order is on its way, each from a time on.
	ambushes  []appointment
	processes []*process
}

// current is the youngest process.
func (a *agent) current() *process { return a.processes[len(a.processes)-1] }

// process is one process of an agent. It runs as a coroutine: whenever it waits,
// for a reply or for time, the world goes on.
type process struct {
	w     *world
	agent *agent
	name  string
	shell *trader.Shell
	feed  *feed
	// epoch that the ledger gave it.
	epoch int64
	yield func(struct{}) bool
	next  func() (struct{}, bool)
	stop  func()
	// token is of the wait that the process is in.
	token int64
	alive bool
	// paused is until when the process is stopped, as by SIGSTOP.
	paused time.Time
	err    error
}

// killed is the panic that ends a process wherever it is.
type killed struct{}

// spawn starts a process of an agent.
func (w *world) spawn(a *agent) {
	p := &process{w: w, agent: a, name: a.name + "." + strconv.Itoa(len(a.processes)+1), alive: true}
	config := a.config
	config.Settings = a.settings
	config.Agent.Holder = p.name
	config.Debate.Judge = coin{p}
	c := clock{p}
	sentry := venue.NewSentry(c.Now)
	var err error
	p.shell, err = trader.NewShell(config, trader.Options{
		Ledger: keeper{p}, Venue: &line{process: p, guard: sentry}, Sentry: sentry, Clock: c,
		Feed: func(resume map[string]time.Time) (market.Feed, error) {
			p.feed = w.exchange.feed(config.Agent.Instruments, resume)
			return p.feed, nil
		},
	})
	if err != nil {
		w.judge.fail("process %s cannot begin: %v", p.name, err)
		return
	}
	if a.leaves {
		p.shell.Delete(true)
	}
	a.processes = append(a.processes, p)
	w.note(p.name, "begins")
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		p.live()
	})
	w.at(w.now, func() { p.resume(p.token) })
}

// configured is the agent as the process knows it.
func (p *process) configured() ledger.Agent {
	agent := p.agent.config.Agent
	agent.Holder = p.name
	return agent
}

// live runs the shell until it ends or is killed.
func (p *process) live() {
	defer func() {
		p.alive = false
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r) //nolint:forbidigo // a fault of the product, which the test shall show
			}
		}
	}()
	p.err = p.shell.Run(context.Background())
	p.w.note(p.name, "ends")
	if p.err != nil && !errors.Is(p.err, ledger.ErrFenced) {
		p.w.judge.fail("process %s ended: %v", p.name, p.err)
	}
}

// resume lets the process go on if it is still in the given wait.
func (p *process) resume(token int64) {
	if !p.alive || token != p.token {
		return
	}
	if p.paused.After(p.w.now) {
		p.w.at(p.paused, func() { p.resume(token) })
		return
	}
	p.w.running = p
	p.next()
	p.w.running = nil
}

// wait returns at the given time, or earlier for no reason; zero is never.
func (p *process) wait(until time.Time) {
	p.token++
	token := p.token
	if !until.IsZero() {
		p.w.at(until, func() { p.resume(token) })
	}
	if !p.yield(struct{}{}) {
		panic(killed{}) //nolint:forbidigo // only a panic ends a process wherever it is
	}
}

// poke ends the wait that the process is in.
func (p *process) poke() {
	token := p.token
	p.w.at(p.w.now, func() { p.resume(token) })
}

// kill ends the process at once.
func (p *process) kill() {
	if p.alive {
		p.w.note(p.name, "killed")
		p.alive = false
		p.stop()
	}
}

// await waits until something is so, or the context ends.
func (p *process) await(ctx context.Context, so func() bool) error {
	for !so() {
		if err := ctx.Err(); err != nil {
			return err
		}
		deadline, _ := ctx.Deadline()
		p.wait(deadline)
	}
	return nil
}

// sleep waits for a span.
func (p *process) sleep(ctx context.Context, span time.Duration) error {
	until := p.w.now.Add(span)
	p.w.at(until, p.poke)
	return p.await(ctx, func() bool { return !p.w.now.Before(until) })
}

// clock is the world's clock as a process sees it.
type clock struct{ p *process }

var _ trader.Clock = clock{}

// Now implements trader.Clock.
func (c clock) Now() time.Time { return c.p.w.now }

// Bound implements trader.Clock.
func (c clock) Bound(ctx context.Context, span time.Duration) (context.Context, context.CancelFunc) {
	bound := &bounded{Context: ctx, p: c.p, deadline: c.p.w.now.Add(span)}
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(bound.deadline) {
		bound.deadline = earlier
	}
	return bound, bound.cancel
}

// After implements trader.Clock.
func (c clock) After(span time.Duration, do func()) { c.p.w.in(span, do) }

// Next implements trader.Clock.
func (c clock) Next(ctx context.Context, awaited trader.Awaited) trader.Came {
	for ctx.Err() == nil {
		select {
		case <-awaited.Woken:
			return trader.Came{Woken: true}
		default:
		}
		until := awaited.Until
		if !until.IsZero() && !until.After(c.p.w.now) {
			return trader.Came{Due: true}
		}
		if awaited.Feed != nil {
			due := c.p.feed.due()
			if !due.IsZero() && !due.After(c.p.w.now) {
				bar, err := awaited.Feed.Next(ctx)
				return trader.Came{Bar: bar, Err: err}
			}
			if until.IsZero() || (!due.IsZero() && due.Before(until)) {
				until = due
			}
		}
		c.p.wait(until)
	}
	return trader.Came{}
}

// bounded is a context in the world's time. Nobody waits for its Done.
type bounded struct {
	context.Context
	p         *process
	deadline  time.Time
	cancelled bool
}

// Deadline implements context.Context.
func (b *bounded) Deadline() (time.Time, bool) { return b.deadline, true }

// Err implements context.Context.
func (b *bounded) Err() error {
	switch {
	case b.cancelled:
		return context.Canceled
	case !b.p.w.now.Before(b.deadline):
		return context.DeadlineExceeded
	}
	return b.Context.Err()
}

// cancel ends the context, and the wait of a process that it bounds.
func (b *bounded) cancel() {
	b.cancelled = true
	if b.p.w.running != b.p {
		b.p.poke()
	}
}
