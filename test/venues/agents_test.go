// Package venues_test lets whole agents trade at every real venue: the program that
// is shipped, with manifests and credentials from files, a real PostgreSQL and the
// venue's own protocol spoken by a simulated exchange, whose book is the judge.
package venues_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/venue/venues"
	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
)

const (
	// speed of the replay: some sixteen bars a second of each pair.
	speed = 1000
	// enough fills to have bought and sold more than once.
	enough = 12
	// patience with a venue whose answers settle for half a minute.
	patience = 90 * time.Second

	program = "github.com/three-rivers-tech/trading-operator/cmd/trading-agent"
)

// names of the two agents on the account.
var names = []string{"one", "two"}

// exchanges are the venues that are played, by the names of the API.
var exchanges = map[v1alpha1.Venue]func(context.Context) (rig.Exchange, error){
	v1alpha1.VenueCoinbase: rig.Coinbase,
	v1alpha1.VenueAlpaca:   rig.Alpaca,
	v1alpha1.VenueKraken:   rig.Kraken,
	v1alpha1.VenueGemini:   rig.Gemini,
}

func TestAgentsTradeAtEveryVenue(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "trading-agent")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, program) //nolint:gosec // the path is our own
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	server, err := rig.StartServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range venues.Names() {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			open, played := exchanges[name]
			if !played {
				t.Fatal("there is no simulated exchange of this venue")
			}
			exchange, err := open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			world, err := rig.NewWorld(t.Context(), rig.Options{
				Program: binary, Server: server, Exchange: exchange, Seed: 1, Speed: speed,
				Agents: []rig.AgentManifest{{Name: names[0], Bases: []string{"BTC", "ETH"}}, {Name: names[1], Bases: []string{"SOL"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := world.Close(); err != nil {
					t.Error(err)
				}
			})
			trade(t, world)
		})
	}
}

// trade lets two agents of one account trade, halts them, and compares.
func trade(t *testing.T, world *rig.World) {
	t.Helper()
	ctx := t.Context()
	agents := []*rig.Agent{start(t, world, names[0], 0), start(t, world, names[1], 1)}
	for i, agent := range agents {
		err := agent.Await(ctx, patience, "orders to be filled", func(ctx context.Context) (bool, error) {
			bought, err := filled(ctx, world, i, "Buy")
			if err != nil {
				return false, err
			}
			sold, err := filled(ctx, world, i, "Sell")
			return bought+sold >= enough && sold > 0, err
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, world.Describe(ctx))
		}
	}
	for _, agent := range agents {
		if err := agent.Stop(patience); err != nil {
			t.Fatal(err)
		}
	}
	// They come up again under a halt, which cancels what they have left open. Each is
	// Ready when the account holds what the books of both come to, so they come together.
	world.Desk.Halted = true
	for i, name := range names {
		agents[i] = launch(t, world, name, i)
	}
	for i, agent := range agents {
		err := agent.Ready(ctx, patience)
		if err == nil {
			err = agent.Await(ctx, patience, "open orders to be cancelled", func(ctx context.Context) (bool, error) {
				open, err := world.Ask(ctx, "SELECT count(*) FROM trading.orders o JOIN trading.intents i ON i.id = o.id"+
					" JOIN trading.agents a ON a.uid = i.agent_uid WHERE a.name = $1 AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected')", names[i])
				return open == 0, err
			})
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, world.Describe(ctx))
		}
	}
	for _, agent := range agents {
		if err := agent.Stop(patience); err != nil {
			t.Fatal(err)
		}
		tellsNothing(t, world, agent)
	}
	verdict, err := world.Judge(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.Clean() {
		t.Errorf("ledger and exchange do not agree:\n%s", &verdict)
	}
	if verdict.Fills < 2*enough || verdict.Orders < enough {
		t.Errorf("the exchange has accepted %d orders and executed %d times", verdict.Orders, verdict.Fills)
	}
	t.Logf("%d orders, %d fills", verdict.Orders, verdict.Fills)
}

func launch(t *testing.T, world *rig.World, name string, process int) *rig.Agent {
	t.Helper()
	agent, err := world.Start(name, process, "")
	if err != nil {
		t.Fatal(err)
	}
	// Killing one that has ended changes nothing.
	t.Cleanup(func() { _ = agent.Kill() })
	return agent
}

func start(t *testing.T, world *rig.World, name string, process int) *rig.Agent {
	t.Helper()
	agent := launch(t, world, name, process)
	if err := agent.Ready(t.Context(), patience); err != nil {
		t.Fatalf("%v\n%s", err, world.Describe(t.Context()))
	}
	return agent
}

// filled counts the executions of one side of an agent's orders.
func filled(ctx context.Context, world *rig.World, agent int, side string) (int64, error) {
	return world.Ask(ctx, "SELECT count(*) FROM trading.fills f JOIN trading.agents a ON a.uid = f.agent_uid WHERE a.name = $1 AND f.side = $2", names[agent], side)
}

// tellsNothing makes sure that no part of the credentials is in what an agent has
// written.
func tellsNothing(t *testing.T, world *rig.World, agent *rig.Agent) {
	t.Helper()
	directory := t.TempDir()
	if _, err := world.Exchange.Reach("127.0.0.1:1", directory); err != nil {
		t.Fatal(err)
	}
	secrets := 0
	err := filepath.WalkDir(directory, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the path is our own
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); len(line) < 8 || strings.HasPrefix(line, "-----") {
				continue
			}
			secrets++
			if agent.LogHolds(line) {
				return fmt.Errorf("a part of %s is in the agent's log", entry.Name())
			}
		}
		return nil
	})
	if err != nil || secrets < 2 {
		t.Errorf("%d parts of credentials were looked for: %v", secrets, err)
	}
}
