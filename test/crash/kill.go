package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/three-rivers-tech/trading-operator/test/crash/instrument"
	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
)

// speed is how many seconds of the recordings pass in one: twenty bars of each pair.
const speed = 1200

// killOptions are the flags of "kill".
type killOptions struct {
	kills, lanes, perRun int
	seed                 int64
	venues               []string
	only                 []string
}

func newKillCommand() *cobra.Command {
	options := killOptions{}
	command := &cobra.Command{
		Use:   "kill",
		Short: "Kill, stop and cut at every point until there were so many kills",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return options.run(command.Context()) },
	}
	flags := command.Flags()
	flags.IntVar(&options.kills, "kills", 1200, "end after so many kills")
	flags.IntVar(&options.lanes, "lanes", 8, "how many runs at a time, each with a PostgreSQL of its own; most of the time they wait")
	flags.IntVar(&options.perRun, "per-run", 20, "faults in one run, between an empty database and the comparison")
	flags.Int64Var(&options.seed, "seed", 0, "what is drawn by chance; another one each time if it is 0")
	flags.StringSliceVar(&options.venues, "venues", venueNames(), "venues to trade at")
	flags.StringSliceVar(&options.only, "points", nil, "strike at these points only")
	return command
}

// campaign is all runs of one call.
type campaign struct {
	options killOptions
	program string
	tally   *tally

	mu     sync.Mutex
	number int
	// waiting are the strikes that each venue's runs still have before all of them
	// come again.
	waiting map[string][]strike
	random  *rand.Rand
}

func (o *killOptions) run(ctx context.Context) error {
	if o.seed == 0 {
		o.seed = time.Now().UnixNano() % 1_000_000
	}
	build, err := instrument.Agent(ctx, ".")
	if err != nil {
		return err
	}
	for _, name := range failpoints() {
		if !slices.Contains(build.Failpoints, name) {
			return fmt.Errorf("the agent has no failpoint %s", name)
		}
	}
	c := &campaign{
		options: *o, program: build.Path, tally: newTally(), waiting: map[string][]strike{},
		random: rand.New(rand.NewPCG(uint64(o.seed), 0)), //nolint:gosec // a seed must give the same again
	}
	fmt.Printf("crash: seed %d, %d lanes, %s\n", o.seed, o.lanes, strings.Join(o.venues, " "))
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for lane := range o.lanes {
		group.Go(func() error { return c.lane(ctx, lane) })
	}
	err = group.Wait()
	c.tally.print(os.Stdout, time.Since(began))
	if unreached := c.tally.unreached(); len(unreached) > 0 {
		err = errors.Join(err, fmt.Errorf("no agent came to %s", strings.Join(unreached, ", ")))
	}
	if len(c.tally.problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of the runs went wrong, seed %d", len(c.tally.problems), o.seed))
	}
	return err
}

// lane plays one run after another on a PostgreSQL of its own.
func (c *campaign) lane(ctx context.Context, lane int) (err error) {
	server, err := rig.StartServer() //nolint:contextcheck // it ends when it is closed
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	for ctx.Err() == nil && c.tally.kills() < c.options.kills {
		number, venue, all, seed := c.next()
		began, before := time.Now(), c.tally.kills()
		problem := c.play(ctx, server, venue, all, seed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		outcome := "agrees"
		if problem != nil {
			outcome = "WRONG: " + problem.Error()
			c.tally.problem(outcome)
		}
		fmt.Printf("run %d, lane %d, %s, run seed %d: %d faults, %d kills of all lanes, %s: %s\n",
			number, lane, venue, seed, len(all), c.tally.kills()-before, time.Since(began).Round(time.Second), outcome)
		if c.tally.hopeless() {
			return errors.New("so many runs went wrong that the others are not played")
		}
		if problem != nil {
			// The server may be down, and agents may be left on it.
			if err := errors.Join(server.Stop(true), server.StartAgain()); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// next is what the next run suffers.
func (c *campaign) next() (number int, venue string, all []strike, seed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	venue = c.options.venues[c.number%len(c.options.venues)]
	c.number++
	for len(all) < c.options.perRun {
		if len(c.waiting[venue]) == 0 {
			c.waiting[venue] = c.shuffled(venue)
		}
		all = append(all, c.waiting[venue][0])
		c.waiting[venue] = c.waiting[venue][1:]
	}
	return c.number, venue, all, c.random.Uint64()
}

func (c *campaign) shuffled(venue string) []strike {
	all := strikes(venues[venue].line)
	if len(c.options.only) > 0 {
		all = slices.DeleteFunc(all, func(s strike) bool { return !slices.Contains(c.options.only, s.point.name) })
	}
	c.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// play is one run in a world of its own.
func (c *campaign) play(ctx context.Context, server *rig.Server, venue string, all []strike, seed uint64) (err error) {
	exchange, err := venues[venue].open(ctx)
	if err != nil {
		return err
	}
	world, err := rig.NewWorld(ctx, rig.Options{
		Program: c.program, Server: server, Exchange: exchange, Seed: seed, Speed: speed,
		Agents: []rig.AgentManifest{{Name: agentName, Bases: rig.Pairs}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	r := &run{
		world: world, name: agentName, tally: c.tally, expires: venues[venue].expires,
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a seed must give the same again
	}
	err = r.play(ctx, all)
	if err != nil && r.agent != nil {
		err = errors.Join(err, errors.New(world.Describe(ctx)), r.agent.Kill())
	}
	return err
}
