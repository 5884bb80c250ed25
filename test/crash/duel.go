package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
	"github.com/three-rivers-tech/trading-operator/test/crash/wire"
)

// scene is what comes between an owner and its work.
type scene int

const (
	// frozen owners are stopped by SIGSTOP at a step and go on after another process
	// of the agent has taken over.
	frozen scene = iota
	// hasty is the same, and the owner goes on while the other is starting, or at the
	// moment at which it is ready.
	hasty
	// delayed orders are held up on the line by a network that delivers them after
	// another process has taken over.
	delayed
	// parted owners lose the database and the exchange, and find both again after
	// another process has taken over.
	parted
	// claimed pairs are wanted by another agent while their owner is frozen, and
	// stay its own.
	claimed
	// released pairs are given up for a frozen owner that was deleted, and another
	// agent adopts what it held.
	released
	// ahead and behind are frozen owners whose clock jumps by an hour meanwhile.
	ahead
	behind
)

var sceneNames = [...]string{"frozen", "hasty", "delayed", "parted", "claimed", "released", "ahead", "behind"}

// String names the scene.
func (s scene) String() string { return sceneNames[s] }

// standoff is a scene at a step.
type standoff struct {
	scene scene
	step  string
}

// String names both.
func (s standoff) String() string { return s.scene.String() + " at " + s.step }

// steps are where owners are stopped.
var steps = []string{
	"decisionMade", "decisionChecked", "decisionCommitted", "sendWanted", "sendRecorded", "orderLeaves", "orderAnswered", "newsHeard",
	"fillSeen", "fillPosted", "fillBooked", "shareWanted", "markMade", "transactionReady", "transactionAnswered",
}

// standoffs are all that make sense where there is a line, or none.
func standoffs(line bool) []standoff {
	var all []standoff
	for _, step := range steps {
		for _, s := range []scene{frozen, hasty, parted, claimed, released, ahead, behind} {
			all = append(all, standoff{s, step})
		}
	}
	if line {
		for range 10 {
			all = append(all, standoff{delayed, wire.FirstByte.String()})
		}
	}
	return all
}

const (
	// rivalName is another agent that wants the same pairs.
	rivalName = "two"
	// pause is how long an owner stands at a failpoint by itself. It is frozen well
	// before that.
	pause = "1*sleep(1000)"
	// endsWithin is how long an owner that was taken over may take to find out.
	endsWithin = 40 * time.Second
	// detectedWithin is how soon an order of an old epoch must be known for what it
	// is, at a venue that lets requests live for ever.
	detectedWithin = 2 * time.Second
)

// jumps are by how much the owner's clock jumps, in seconds.
var jumps = map[scene]int{ahead: 3600, behind: -3600}

// duel is one run: an owner and who comes after it.
type duel struct {
	world  *rig.World
	scene  scene
	tally  *fenceTally
	random *rand.Rand
	// expires says that the venue refuses requests that are too old.
	expires bool

	owner, heir *rig.Agent
	hold        *wire.Hold
	// takenAt is when the heir was ready, and epoch what it then had.
	takenAt time.Time
	epoch   int64
}

func (d *duel) killAll() error {
	var problems []error
	for _, agent := range []*rig.Agent{d.owner, d.heir} {
		if agent != nil {
			problems = append(problems, agent.Kill())
		}
	}
	return errors.Join(problems...)
}

func (d *duel) play(ctx context.Context, step string) (err error) {
	start := d.world.Start
	if d.scene == parted {
		start = d.world.StartApart
	}
	if d.owner, err = start(agentName, 1, ""); err != nil {
		return err
	}
	if err := d.owner.Ready(ctx, rig.Patience); err != nil {
		return err
	}
	if err := d.trades(ctx, d.owner); err != nil {
		return err
	}
	reached, err := d.stop(ctx, step)
	if err != nil {
		return err
	}
	if !reached {
		d.tally.missed()
	}
	if d.scene == claimed {
		return d.defend(ctx)
	}
	err = d.takeOver(ctx)
	refused := d.scene == released && errors.Is(err, rig.ErrEnded) && d.heir.LogHolds("open orders; cancel them at the venue")
	if refused {
		// Nobody adopts a pair in which orders are open: it stays closed.
		d.tally.refused()
		err = d.letGo()
	}
	if err != nil {
		return err
	}
	if err := d.endOfOwner(ctx); err != nil || refused {
		return err
	}
	if err := d.trades(ctx, d.heir); err != nil {
		return fmt.Errorf("after the owner's end: %w", err)
	}
	return d.settle(ctx)
}

// stop brings the owner to a step and takes it out of the game there.
func (d *duel) stop(ctx context.Context, step string) (bool, error) {
	if d.scene == delayed {
		d.hold = d.world.Line(1).HoldNext(wire.FirstByte, isOrder)
		timer := time.NewTimer(reach)
		defer timer.Stop()
		select {
		case <-d.hold.Reached():
			return true, d.owner.Freeze()
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timer.C:
			return false, d.owner.Freeze()
		}
	}
	if err := d.owner.Arm(ctx, step, pause); err != nil {
		return false, err
	}
	err := d.owner.Reached(ctx, step, reach)
	if errors.Is(err, rig.ErrEnded) || ctx.Err() != nil {
		return false, err
	}
	reached := err == nil
	if d.scene == parted {
		d.world.DatabaseLine(1).Cut(wire.Silent)
		if line := d.world.Line(1); line != nil {
			line.Cut(wire.Silent)
		}
		return reached, nil
	}
	if jump, ok := jumps[d.scene]; ok {
		if err := d.owner.Arm(ctx, "clockAhead", fmt.Sprintf("return(%d)", jump)); err != nil {
			return false, err
		}
	}
	return reached, d.owner.Freeze()
}

// letGo lets the owner go on.
func (d *duel) letGo() error {
	if d.scene == parted {
		d.world.DatabaseLine(1).Cut(wire.Whole)
		if line := d.world.Line(1); line != nil {
			line.Cut(wire.Whole)
		}
		return nil
	}
	err := d.owner.Thaw()
	if d.hold != nil {
		d.hold.Release()
	}
	return err
}

// takeOver starts who comes after the owner, and lets the owner go on.
func (d *duel) takeOver(ctx context.Context) (err error) {
	name := agentName
	if d.scene == released {
		name = rivalName
		// An owner that was frozen inside a transaction holds up whoever comes, until
		// PostgreSQL ends its connection.
		err := d.owner.Await(ctx, rig.Patience, "the release of the owner's pairs", func(ctx context.Context) (bool, error) {
			err := ledger.Release(ctx, d.world.URI, "file:desk/"+agentName)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	if d.heir, err = d.world.Start(name, 2, ""); err != nil {
		return err
	}
	early := d.scene == hasty && d.random.IntN(2) == 0
	if early {
		if err := d.wait(ctx, time.Duration(d.random.IntN(3000))*time.Millisecond); err != nil {
			return err
		}
		if err := d.letGo(); err != nil {
			return err
		}
	}
	if err := d.heir.Ready(ctx, rig.Patience); err != nil {
		return err
	}
	d.takenAt = time.Now()
	d.tally.tookOver(d.takenAt.Sub(d.heir.Started))
	if d.epoch, err = d.world.Ask(ctx, `SELECT epoch FROM trading.leases WHERE agent_uid = $1`, "file:desk/"+name); err != nil {
		return err
	}
	switch {
	case early:
		return nil
	case d.scene == hasty:
		// What the owner was about to send may still leave, were it not for the epoch.
		return d.letGo()
	}
	if err := d.trades(ctx, d.heir); err != nil {
		return err
	}
	if err := d.wait(ctx, time.Duration(d.random.IntN(2000))*time.Millisecond); err != nil {
		return err
	}
	return d.letGo()
}

// endOfOwner waits for the owner to find out that it is none any more. Until then
// it must not place anything; what a venue takes from it nevertheless must be known
// soon.
func (d *duel) endOfOwner(ctx context.Context) error {
	timer := time.NewTimer(endsWithin)
	defer timer.Stop()
	select {
	case <-d.owner.Ended():
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("the owner has not ended %s after it was taken over:\n%s", endsWithin, d.owner.Log())
	}
	if err := d.owner.Err(); err == nil || !d.owner.LogHolds("has taken over its epoch") {
		return fmt.Errorf("the owner has ended with %w and does not say that it was taken over:\n%s", err, d.owner.Log())
	}
	return d.outdated(ctx)
}

// outdated looks for orders of old epochs that were accepted after the take-over.
func (d *duel) outdated(ctx context.Context) error {
	if d.scene == released {
		// Epochs are counted for each agent; that the owner's book is closed is what
		// the comparison at the end shows.
		return nil
	}
	// The book first: the ledger has what the heir orders meanwhile.
	book, err := d.world.Exchange.Book(ctx, d.world.DB)
	if err != nil {
		return err
	}
	record, err := judge.ReadLedger(ctx, d.world.DB)
	if err != nil {
		return err
	}
	late := judge.Outdated(book, record, d.epoch, d.takenAt)
	if len(late) == 0 {
		return nil
	}
	d.tally.outdated(len(late))
	if d.expires {
		return fmt.Errorf("%d orders of an old epoch were accepted after the take-over at %s, such as %+v",
			len(late), d.takenAt.Format(time.RFC3339Nano), late[0])
	}
	for i := range late {
		if err := d.detected(ctx, &late[i]); err != nil {
			return err
		}
	}
	return nil
}

// detected waits until the heir knows of an order that it did not send.
func (d *duel) detected(ctx context.Context, late *judge.Order) error {
	err := d.heir.Await(ctx, detectedWithin, "order "+late.ClientID+" of an old epoch to be known", func(ctx context.Context) (bool, error) {
		known, err := d.world.Ask(ctx, `SELECT count(*) FROM trading.orders WHERE id = $1::uuid AND state IN ('Acked', 'Filled', 'Cancelled')`, late.ClientID)
		return known > 0, err
	})
	if err == nil {
		d.tally.detected(time.Since(late.AcceptedAt))
	}
	return err
}

// defend lets another agent want the pairs of a frozen owner, which stay its own.
func (d *duel) defend(ctx context.Context) (err error) {
	if d.heir, err = d.world.Start(rivalName, 2, ""); err != nil {
		return err
	}
	timer := time.NewTimer(endsWithin)
	defer timer.Stop()
	select {
	case <-d.heir.Ended():
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("an agent that wants another's pairs is still there after %s:\n%s", endsWithin, d.heir.Log())
	}
	if log := d.heir.Log(); d.heir.Err() == nil || !strings.Contains(log, "is traded by another agent") {
		return fmt.Errorf("an agent that wants another's pairs ended with %w and said:\n%s", d.heir.Err(), log)
	}
	if err := d.letGo(); err != nil {
		return err
	}
	if err := d.trades(ctx, d.owner); err != nil {
		return fmt.Errorf("the owner after another wanted its pairs: %w", err)
	}
	d.heir, d.owner = d.owner, nil
	return d.settle(ctx)
}

// trades waits for an order of the agent that is made from now on and gets an
// answer.
func (d *duel) trades(ctx context.Context, agent *rig.Agent) error {
	return awaitOrder(ctx, d.world, agent)
}

// settle ends trading and holds the ledger against the exchange.
func (d *duel) settle(ctx context.Context) error {
	if err := d.heir.Stop(rig.Patience); err != nil {
		return fmt.Errorf("asking the heir to end: %w", err)
	}
	d.world.Desk.Halted = true
	name, process := agentName, 2
	if d.scene == released {
		name = rivalName
	}
	var err error
	failpoints := ""
	if !d.expires {
		// Nothing is on the line any more, and nobody waits ten minutes for that.
		failpoints = fmt.Sprintf("clockAhead=return(%d)", arrival)
	}
	if d.heir, err = d.world.Start(name, process, failpoints); err != nil {
		return err
	}
	if err := d.heir.Ready(ctx, rig.Patience); err != nil {
		return err
	}
	verdict, err := settled(ctx, d.world)
	if err != nil {
		return err
	}
	d.tally.judged(&verdict)
	if !verdict.Clean() {
		return fmt.Errorf("the ledger and the exchange do not agree:\n%s\n%s", verdict.String(), d.heir.Log())
	}
	return d.heir.Stop(rig.Patience)
}

func (d *duel) wait(ctx context.Context, span time.Duration) error {
	return passing(ctx, span)
}
