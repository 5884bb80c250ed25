package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func fund(t *testing.T, b book, lease ledger.Lease, claims ...ledger.Claim) map[string]market.Money {
	t.Helper()
	shares, err := b.Fund(t.Context(), lease, claims)
	if err != nil {
		t.Fatal(err)
	}
	if told := load(t, b, lease).Shares; len(shares) > 0 {
		for scope, share := range shares {
			if told[scope] != share {
				t.Errorf("%s was granted %s of %s, and a restart is told %s", lease.Agent, share, scope, told[scope])
			}
		}
	}
	return shares
}

func TestSharesNeverExceedTheTotal(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			first, second := acquire(t, b, trader("a", btc)), acquire(t, b, trader("b", eth))
			claim := func(want string) ledger.Claim {
				return ledger.Claim{Scope: "policy/p", Total: money("100"), Want: money(want)}
			}
			for i, step := range []struct {
				lease      ledger.Lease
				want, gets string
			}{
				{first, "60.00000001", "60.00000001"}, {second, "50", "39.99999999"}, {first, "70", "60.00000001"},
				{first, "10", "10"}, {second, "95", "90"}, {second, "0", "0"}, {first, "100.00000001", "100"}, {second, "1", "0"},
			} {
				if got := fund(t, b, step.lease, claim(step.want))["policy/p"]; got != money(step.gets) {
					t.Errorf("step %d: %s wants %s and gets %s, not %s", i, step.lease.Agent, step.want, got, step.gets)
				}
			}
			// A total that was lowered takes nothing away and gives nothing more.
			lowered := ledger.Claim{Scope: "policy/p", Total: money("50"), Want: money("100")}
			if got := fund(t, b, first, lowered)["policy/p"]; got != money("100") {
				t.Errorf("after the total was lowered %s is left", got)
			}
			lowered.Want = money("30")
			fund(t, b, first, lowered)
			lowered.Want = money("40")
			if got := fund(t, b, second, lowered)["policy/p"]; got != money("20") {
				t.Errorf("of the lowered total %s is granted", got)
			}
			// What is not claimed any more goes back.
			fund(t, b, first, ledger.Claim{Scope: "policy/q", Total: money("1"), Want: money("1")})
			if shares := load(t, b, first).Shares; !maps.Equal(shares, map[string]market.Money{"policy/q": money("1")}) {
				t.Errorf("the agent has %v under another policy", shares)
			}
			if got := fund(t, b, second, lowered)["policy/p"]; got != money("40") {
				t.Errorf("of what was given back %s is granted", got)
			}
			for _, wrong := range [][]ledger.Claim{{{Scope: "", Total: 1, Want: 1}}, {{Scope: "x", Total: 1, Want: -1}}, {claim("1"), claim("2")}} {
				if _, err := b.Fund(t.Context(), first, wrong); err == nil {
					t.Errorf("%v was accepted", wrong)
				}
			}
			first.Epoch--
			if _, err := b.Fund(t.Context(), first, nil); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("an old epoch: %v", err)
			}
		})
	}
}

// What a deleted agent still holds counts until somebody has taken it over, and
// then counts there.
func TestSharesFollowThePositions(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			claim := ledger.Claim{Scope: "account/1", Total: money("100"), Want: money("80")}
			gone := acquire(t, b, trader("gone", btc))
			fund(t, b, gone, claim)
			id := ordered(t, b, gone, 1, "BTC-USD", order.Buy, 10)
			bookFill(t, b, gone, fillOf(gone, id, "t1", "BTC-USD", order.Buy, 10, 100, "0"))
			if err := b.Release(t.Context(), "uid-gone"); err != nil {
				t.Fatal(err)
			}
			other := acquire(t, b, trader("other", eth))
			if got := fund(t, b, other, claim)["account/1"]; got != money("20") {
				t.Errorf("while a position is left, %s is granted", got)
			}
			heir := acquire(t, b, trader("heir", btc))
			if shares := load(t, b, heir).Shares; shares["account/1"] != money("80") {
				t.Errorf("the heir of the position has %v", shares)
			}
			if got := fund(t, b, other, claim)["account/1"]; got != money("20") {
				t.Errorf("while the heir holds it, %s is granted", got)
			}
			if err := b.Release(t.Context(), "uid-other"); err != nil {
				t.Fatal(err)
			}
			if got := fund(t, b, heir, ledger.Claim{Scope: "account/1", Total: money("100"), Want: money("100")})["account/1"]; got != money("100") {
				t.Errorf("after a flat agent was deleted, %s is granted", got)
			}
		})
	}
}

// player is one agent that opens and closes under a total, and may be killed
// between any two of its steps.
type player struct {
	agent ledger.Agent
	lease ledger.Lease
	// share that it knows of, and worth that it holds.
	share, worth market.Money
	// moved is told of every change of what it holds, as it happens.
	moved func(market.Money)
}

func (p *player) move(by market.Money) {
	p.worth += by
	p.moved(by)
}

// step does one thing at random. An agent is worth no more than the share that it
// was granted, and that is all it looks at.
func (p *player) step(b book, random *rand.Rand, total market.Money) error {
	const scope = "policy/p"
	ctx := context.Background()
	want := market.Money(random.Int64N(int64(total)/2 + 1))
	switch random.IntN(5) {
	case 0, 1:
		shares, err := b.Fund(ctx, p.lease, []ledger.Claim{{Scope: scope, Total: total, Want: p.worth + want}})
		if err == nil {
			p.share = shares[scope]
		}
		return err
	case 2:
		if room := p.share - p.worth; room > 0 {
			p.move(min(want, room))
		}
	case 3:
		p.move(-min(p.worth, want))
		if random.IntN(2) == 0 {
			shares, err := b.Fund(ctx, p.lease, []ledger.Claim{{Scope: scope, Total: total, Want: p.worth}})
			if err == nil {
				p.share = shares[scope]
			}
			return err
		}
	case 4:
		// Killed and started again: it knows what the ledger knows.
		var err error
		if p.lease, err = b.Acquire(ctx, p.agent); err != nil {
			return err
		}
		snapshot, err := b.Load(ctx, p.lease)
		p.share = snapshot.Shares[scope]
		return err
	}
	return nil
}

func players(t *testing.T, b book, count int, moved func(market.Money)) []*player {
	t.Helper()
	all := make([]*player, count)
	for i := range all {
		pair := instrument(fmt.Sprintf("A%02d", i), "USD", "0.01", "0.001")
		agent := trader(fmt.Sprintf("p%d", i), pair)
		all[i] = &player{agent: agent, lease: acquire(t, b, agent), moved: moved}
	}
	return all
}

// In no order of their steps are agents together worth more than the total.
func TestNoScheduleExceedsTheTotal(t *testing.T) {
	schedules := 50_000
	if testing.Short() {
		schedules = 2_000
	}
	seed := rand.Uint64()                    //nolint:gosec // draws of a test, which can be repeated by the seed
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // schedules are drawn, not secrets
	most := market.Money(0)
	for n := range schedules {
		b := ledger.NewMemory()
		total := market.Money(random.Int64N(1000) + 10)
		worth := market.Money(0)
		all := players(t, b, 2+random.IntN(4), func(by market.Money) { worth += by })
		for range 24 {
			if err := all[random.IntN(len(all))].step(b, random, total); err != nil {
				t.Fatal(err)
			}
			if worth > total {
				t.Fatalf("schedule %d of seed %d: agents are worth %d of a total of %d", n, seed, worth, total)
			}
			most = max(most, 100*worth/total)
		}
	}
	if most < 100 {
		t.Errorf("the agents never came to more than %d per cent of a total; that tells nothing", most)
	}
}

// The same in PostgreSQL, where the agents run at once.
func TestNoRaceExceedsTheTotal(t *testing.T) {
	b, _ := openLedger(t)
	const total = market.Money(1000)
	var worth atomic.Int64
	all := players(t, b, 4, func(by market.Money) {
		if now := worth.Add(int64(by)); now > int64(total) {
			t.Errorf("agents are worth %d of %d", now, total)
		}
	})
	var running sync.WaitGroup
	for i, p := range all {
		running.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(i))) //nolint:gosec // schedules are drawn, not secrets
			for range 150 {
				if err := p.step(b, random, total); err != nil {
					t.Error(err)
					return
				}
				if sum := query[int64](t, b, `SELECT coalesce(sum(amount) * 100000000, 0)::bigint FROM trading.shares`); sum > int64(total) {
					t.Errorf("the shares come to %d of %d", sum, total)
				}
			}
		})
	}
	running.Wait()
}
