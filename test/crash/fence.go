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

// fenceSpeed is how many seconds of the recordings pass in one: ten bars of each
// pair, for many agents at a time.
const fenceSpeed = 600

// fenceOptions are the flags of "fence".
type fenceOptions struct {
	runs, lanes int
	seed        int64
	venues      []string
	only, steps []string
}

func newFenceCommand() *cobra.Command {
	options := fenceOptions{}
	command := &cobra.Command{
		Use:   "fence",
		Short: "Stop owners in the middle of a step, let others take over, and let the owners go on",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return options.run(command.Context()) },
	}
	flags := command.Flags()
	flags.IntVar(&options.runs, "runs", 500, "how many runs")
	flags.IntVar(&options.lanes, "lanes", 6, "how many runs at a time; most of the time they wait")
	flags.Int64Var(&options.seed, "seed", 0, "what is drawn by chance; another one each time if it is 0")
	flags.StringSliceVar(&options.venues, "venues", venueNames(), "venues to trade at")
	flags.StringSliceVar(&options.only, "scenes", nil, "play these scenes only")
	flags.StringSliceVar(&options.steps, "steps", nil, "stop owners at these steps only")
	return command
}

// fences is all runs of one call.
type fences struct {
	options fenceOptions
	program string
	tally   *fenceTally

	mu      sync.Mutex
	number  int
	waiting map[string][]standoff
	random  *rand.Rand
}

func (o *fenceOptions) run(ctx context.Context) (err error) {
	if o.seed == 0 {
		o.seed = time.Now().UnixNano() % 1_000_000
	}
	build, err := instrument.Agent(ctx, ".")
	if err != nil {
		return err
	}
	server, err := rig.StartServer() //nolint:contextcheck // it ends when it is closed
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	f := &fences{
		options: *o, program: build.Path, tally: newFenceTally(), waiting: map[string][]standoff{},
		random: rand.New(rand.NewPCG(uint64(o.seed), 0)), //nolint:gosec // a seed must give the same again
	}
	fmt.Printf("fence: seed %d, %d lanes, %s\n", o.seed, o.lanes, strings.Join(o.venues, " "))
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range o.lanes {
		group.Go(func() error { return f.lane(ctx, server) })
	}
	err = group.Wait()
	f.tally.print(os.Stdout, time.Since(began))
	if len(f.tally.problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of the runs went wrong, seed %d", len(f.tally.problems), o.seed))
	}
	return err
}

// lane plays one run after another.
func (f *fences) lane(ctx context.Context, server *rig.Server) error {
	for ctx.Err() == nil {
		number, venue, s, seed := f.next()
		if number > f.options.runs {
			return nil
		}
		began := time.Now()
		err := f.play(ctx, server, venue, s, seed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		outcome := "holds"
		if err != nil {
			outcome = "WRONG: " + err.Error()
			f.tally.problem(outcome)
		}
		fmt.Printf("run %d, %s, %s, run seed %d, %s: %s\n", number, venue, s, seed, time.Since(began).Round(time.Second), outcome)
	}
	return ctx.Err()
}

func (f *fences) next() (number int, venue string, s standoff, seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	venue = f.options.venues[f.number%len(f.options.venues)]
	f.number++
	if len(f.waiting[venue]) == 0 {
		all := standoffs(venues[venue].line)
		if len(f.options.only) > 0 {
			all = slices.DeleteFunc(all, func(s standoff) bool { return !slices.Contains(f.options.only, s.scene.String()) })
		}
		if len(f.options.steps) > 0 {
			all = slices.DeleteFunc(all, func(s standoff) bool { return !slices.Contains(f.options.steps, s.step) })
		}
		f.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		f.waiting[venue] = all
	}
	s = f.waiting[venue][0]
	f.waiting[venue] = f.waiting[venue][1:]
	return f.number, venue, s, f.random.Uint64()
}

// play is one run in a world of its own.
func (f *fences) play(ctx context.Context, server *rig.Server, venue string, s standoff, seed uint64) (err error) {
	exchange, err := venues[venue].open(ctx)
	if err != nil {
		return err
	}
	agents := []rig.AgentManifest{{Name: agentName, Bases: rig.Pairs}, {Name: rivalName, Bases: rig.Pairs}}
	world, err := rig.NewWorld(ctx, rig.Options{
		Program: f.program, Server: server, Exchange: exchange, Seed: seed, Speed: fenceSpeed, Agents: agents,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	d := &duel{
		world: world, scene: s.scene, tally: f.tally, expires: venues[venue].expires,
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a seed must give the same again
	}
	defer func() { err = errors.Join(err, d.killAll()) }()
	if err = d.play(ctx, s.step); err != nil {
		err = errors.Join(err, errors.New(world.Describe(ctx)))
	}
	return err
}
