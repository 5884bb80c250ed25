package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// startWithin is how long a server that was started again may need to answer.
const startWithin = 30 * time.Second

// A database whose settings let a crash forget is refused, whoever has set them.
func TestForgetfulSettingsAreRefused(t *testing.T) {
	for name, settings := range map[string][]string{
		"synchronous_commit of the database": {`ALTER DATABASE %d SET synchronous_commit = off`},
		"synchronous_commit of the role":     {`ALTER ROLE %r IN DATABASE %d SET synchronous_commit = off`},
	} {
		t.Run(name, func(t *testing.T) {
			b, uri := openLedger(t)
			lease := acquire(t, b, trader("a", btc))
			own := mustParse(t, uri)
			conn := admin(t, uri)
			for _, setting := range settings {
				statement := strings.NewReplacer("%d", strings.TrimPrefix(own.Path, "/"), "%r", own.User.Username()).Replace(setting)
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := ledger.Open(t.Context(), uri); !errors.Is(err, ledger.ErrNotDurable) || !strings.Contains(err.Error(), "synchronous_commit is off") {
				t.Errorf("opening: %v, want ErrNotDurable", err)
			}
			// Who has it open already finds out with the next epoch.
			b.Database().Reset()
			if _, err := b.Acquire(t.Context(), lease.Agent); !errors.Is(err, ledger.ErrNotDurable) {
				t.Errorf("acquiring: %v, want ErrNotDurable", err)
			}
		})
	}
	for name, value := range map[string]string{"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"} {
		careless, err := postgres.Start(postgres.Options{Settings: map[string]string{name: value}, Migrate: func(ctx context.Context, uri string) error {
			_, err := ledger.Migrate(ctx, uri)
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Open(t.Context(), careless.Database(t)); !errors.Is(err, ledger.ErrNotDurable) || !strings.Contains(err.Error(), name+" is off") {
			t.Errorf("a server with %s %s: %v, want ErrNotDurable", name, value, err)
		}
		if err := careless.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A database that comes back from an older copy is noticed: by the process that
// saw more, even if it lost no more than its last commit; by the next process; and
// it stays known until the agent has proven its orders.
func TestRestoredCopyIsNoticed(t *testing.T) {
	for name, forgotten := range map[string]func(*testing.T, *ledger.Postgres, ledger.Lease) ledger.Lease{
		"the last commit": func(t *testing.T, b *ledger.Postgres, lease ledger.Lease) ledger.Lease {
			t.Helper()
			ordered(t, b, lease, 2, "BTC-USD", order.Buy, 1)
			return lease
		},
		"an epoch": func(t *testing.T, b *ledger.Postgres, lease ledger.Lease) ledger.Lease {
			t.Helper()
			return acquire(t, b, lease.Agent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failing := durable(t)
			uri := failing.Database(t)
			b := openAt(t, uri)
			lease := acquire(t, b, trader("a", btc))
			first := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			copied := failing.Copy(t)
			lease = forgotten(t, b, lease)
			failing.Restore(t, copied)

			err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: first, State: order.Sent, MarketTime: noon})
			if !errors.Is(err, ledger.ErrForgot) {
				t.Fatalf("a commit on a database that has forgotten: %v, want ErrForgot", err)
			}
			if got := query[string](t, openAt(t, uri), `SELECT state FROM trading.orders`); got != "Intended" {
				t.Errorf("the order became %s all the same", got)
			}
			// Whoever comes next is told, although it remembers nothing.
			other := openAt(t, uri)
			next := lease.Agent
			next.Holder = "pod-next"
			taken := acquire(t, other, next)
			// The process that saw more has lost its epoch for good, even where the
			// restored database gave the same number to another.
			if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("the process from before: %v, want ErrFenced", err)
			}
			told := load(t, other, taken)
			if told.Forgot == "" {
				t.Error("the next process was not told that the database has forgotten")
			}
			if err := other.Proven(t.Context(), taken, "nothing was open"); err != nil {
				t.Fatal(err)
			}
			again := load(t, other, acquire(t, other, next))
			if again.Forgot != "" {
				t.Errorf("after the orders were proven: %s", again.Forgot)
			}
			verify(t, uri)
		})
	}
}

// The process that noticed goes on by itself: it takes a new epoch, greater than
// any that it had, and loads.
func TestProcessGoesOnAfterForgetting(t *testing.T) {
	failing := durable(t)
	uri := failing.Database(t)
	b := openAt(t, uri)
	lease := acquire(t, b, trader("a", btc))
	copied := failing.Copy(t)
	for range 3 {
		lease = acquire(t, b, lease.Agent)
	}
	ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
	failing.Restore(t, copied)
	var next ledger.Lease
	postgres.Eventually(t, startWithin, "the server answers", func() (ok bool) {
		var err error
		next, err = b.Acquire(t.Context(), lease.Agent)
		return err == nil
	})
	if next.Epoch <= lease.Epoch {
		t.Errorf("epoch %d after epoch %d, which the database has forgotten", next.Epoch, lease.Epoch)
	}
	if err := b.Intend(t.Context(), next, []order.Intent{intent(next, 1, 0, "BTC-USD", order.Buy, 1)}); !errors.Is(err, ledger.ErrForgot) {
		t.Errorf("an order before it was loaded what is left: %v, want ErrForgot", err)
	}
	if told := load(t, b, next); told.Forgot == "" {
		t.Error("the process was not told")
	}
	if err := b.Intend(t.Context(), next, []order.Intent{intent(next, 1, 0, "BTC-USD", order.Buy, 1)}); err != nil {
		t.Errorf("an order after it was loaded what is left: %v", err)
	}
	if err := b.Proven(t.Context(), next, "all were asked for"); err != nil {
		t.Error(err)
	}
	if told := load(t, b, next); told.Forgot != "" {
		t.Errorf("after all was proven: %s", told.Forgot)
	}
	verify(t, uri)
}

// A process whose epoch is still there goes on by itself, whatever the database lost
// of its chain and whichever call finds it: it loads, is told, and proves its orders.
func TestProcessLoadsAfterForgetting(t *testing.T) {
	type finder struct {
		lease ledger.Lease
		lost  int64
		find  func(*ledger.Postgres, ledger.Lease) error
	}
	byLoading := func(b *ledger.Postgres, lease ledger.Lease) error {
		_, err := b.Load(t.Context(), lease)
		return err
	}
	byWriting := func(b *ledger.Postgres, lease ledger.Lease) error {
		mark := ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}
		// Repeating it tells and records nothing more.
		for range 3 {
			if err := b.SaveMark(t.Context(), lease, mark); !errors.Is(err, ledger.ErrForgot) || errors.Is(err, ledger.ErrFenced) {
				return fmt.Errorf("a mark before it was loaded what is left: %w, want ErrForgot", err)
			}
		}
		return nil
	}
	failing := durable(t)
	uri := failing.Database(t)
	b := openAt(t, uri)
	finders := map[string]*finder{}
	for lost := range int64(4) {
		for name, find := range map[string]func(*ledger.Postgres, ledger.Lease) error{"loading": byLoading, "writing": byWriting} {
			agent := trader(fmt.Sprintf("%s-%d", name, lost), btc)
			agent.Account += agent.UID
			finders[agent.Name] = &finder{acquire(t, b, agent), lost + 1, find}
		}
	}
	copied := failing.Copy(t)
	for _, f := range finders {
		for sequence := range f.lost {
			ordered(t, b, f.lease, sequence+1, "BTC-USD", order.Buy, 1)
		}
	}
	failing.Restore(t, copied)
	for name, f := range finders {
		if err := f.find(b, f.lease); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := load(t, b, f.lease); left.Forgot == "" || len(left.OpenOrders) != 0 {
			t.Errorf("%s: told %q, and of %d open orders", name, left.Forgot, len(left.OpenOrders))
		}
		if err := b.SaveMark(t.Context(), f.lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); err != nil {
			t.Errorf("%s: once it was told: %v", name, err)
		}
		if err := b.Proven(t.Context(), f.lease, "nothing was open"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := load(t, b, f.lease); left.Forgot != "" {
			t.Errorf("%s: after all was proven: %s", name, left.Forgot)
		}
		if n := query[int64](t, b, `SELECT count(*) FROM trading.recoveries WHERE agent_uid = $1`, f.lease.Agent.UID); n != 2 {
			t.Errorf("%s: %d rows were recorded, want 2", name, n)
		}
	}
	verify(t, uri)
}

// A server on another timeline may have forgotten: every agent is told once.
func TestFailOverIsNoticed(t *testing.T) {
	failing := durable(t)
	uri := failing.Database(t)
	b := openAt(t, uri)
	kept, err := ledger.TakeAnchor(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	lease := acquire(t, b, trader("a", btc))
	failing.Branch(t)
	after := openAt(t, uri)
	taken := acquire(t, after, lease.Agent)
	if told := load(t, after, taken); !strings.Contains(told.Forgot, "timeline 1 to 2") {
		t.Errorf("after a fail-over: %q", told.Forgot)
	}
	info, err := ledger.Info(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if behind := info.Footing.Behind(kept); !strings.Contains(behind, "timeline 1 to 2") {
		t.Errorf("held to its anchor: %q", behind)
	}
	// What a second fail-over has lost is waited for from then on.
	failing.Branch(t)
	begun := time.Now()
	after = openAt(t, uri)
	taken = acquire(t, after, lease.Agent)
	if told := load(t, after, taken); !strings.Contains(told.Forgot, "timeline 2 to 3") || told.ForgotFor > time.Since(begun) {
		t.Errorf("%s after another fail-over: %q, for %s", time.Since(begun), told.Forgot, told.ForgotFor)
	}
	if err := after.Proven(t.Context(), taken, "all were asked for"); err != nil {
		t.Fatal(err)
	}
	if told := load(t, after, acquire(t, after, lease.Agent)); told.Forgot != "" {
		t.Errorf("on the same server once more: %q", told.Forgot)
	}
	verify(t, uri)
}

// An operator that finds the database behind its anchor tells every agent, running
// ones among them.
func TestForgetTellsEveryAgent(t *testing.T) {
	b, uri := openLedger(t)
	first, second := acquire(t, b, trader("a", btc)), acquire(t, b, trader("b", eth))
	gone := acquire(t, b, trader("gone"))
	if err := b.Release(t.Context(), gone.Agent.UID); err != nil {
		t.Fatal(err)
	}
	load(t, b, first)
	for i, want := range []int64{2, 0} {
		if told, err := ledger.Forget(t.Context(), uri, "the anchor is ahead"); err != nil || told != want {
			t.Errorf("telling them, time %d: %d agents, %v, want %d", i+1, told, err, want)
		}
	}
	info, err := ledger.Info(t.Context(), uri)
	if err != nil || info.Footing.Unproven != 2 {
		t.Errorf("%d agents have to prove their orders, want 2: %v", info.Footing.Unproven, err)
	}
	for _, lease := range []ledger.Lease{first, second} {
		mark := ledger.Mark{Pair: lease.Agent.Instruments[0].Pair, MarketTime: noon, Price: 1}
		if err := b.SaveMark(t.Context(), lease, mark); !errors.Is(err, ledger.ErrForgot) || errors.Is(err, ledger.ErrFenced) {
			t.Errorf("a running agent: %v, want ErrForgot", err)
		}
		if told := load(t, b, lease).Forgot; told != "the anchor is ahead" {
			t.Errorf("the agent was told %q", told)
		}
		if err := b.SaveMark(t.Context(), lease, mark); err != nil {
			t.Errorf("once it was told: %v", err)
		}
		for range 2 {
			if err := b.Proven(t.Context(), lease, "asked"); err != nil {
				t.Error(err)
			}
		}
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.recoveries`); n != 4 {
		t.Errorf("%d rows were recorded, want 4", n)
	}
	verify(t, uri)
}

// forget tells an agent that its ledger has forgotten.
func forget(t *testing.T, b book, agent ledger.Agent, reason string) {
	t.Helper()
	kept, ok := b.(*ledger.Memory)
	if !ok {
		query[int64](t, b, `SELECT trading.forget($1)`, reason)
		return
	}
	if err := kept.Forget(agent.UID, reason); err != nil {
		t.Fatal(err)
	}
}

// What was forgotten had sequences too: those that follow are above them, for ever.
// For how long it is known goes on over a restart.
func TestSequencesAfterForgetting(t *testing.T) {
	for kind, open := range ledgers {
		t.Run(kind, func(t *testing.T) {
			b := open(t)
			lease := acquire(t, b, trader("a", btc))
			ordered(t, b, lease, 7, "BTC-USD", order.Buy, 1)
			begun := time.Now()
			forget(t, b, lease.Agent, "an older copy")
			if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); !errors.Is(err, ledger.ErrForgot) {
				t.Errorf("before it was loaded what is left: %v, want ErrForgot", err)
			}
			told := ledger.Snapshot{}
			for range 2 {
				again := load(t, b, lease)
				if again.Forgot != "an older copy" || again.ForgotFor < told.ForgotFor || again.ForgotFor > time.Since(begun) {
					t.Errorf("told %q for %s, and before for %s", again.Forgot, again.ForgotFor, told.ForgotFor)
				}
				told = again
				lease = acquire(t, b, lease.Agent)
			}
			if told.LastSequence < begun.UnixMicro() || told.LastSequence >= 1<<53 {
				t.Errorf("the sequence goes on behind %d at %d", told.LastSequence, begun.UnixMicro())
			}
			load(t, b, lease)
			for range 2 {
				if err := b.Proven(t.Context(), lease, "asked"); err != nil {
					t.Fatal(err)
				}
			}
			// Until it was proven, the database may have been an older copy once more.
			proven := load(t, b, lease)
			if proven.Forgot != "" || proven.ForgotFor != 0 || proven.LastSequence <= told.LastSequence {
				t.Errorf("proven: %q for %s, behind %d and before behind %d", proven.Forgot, proven.ForgotFor, proven.LastSequence, told.LastSequence)
			}
			lease = acquire(t, b, lease.Agent)
			if again := load(t, b, lease); again.LastSequence != proven.LastSequence {
				t.Errorf("after a restart behind %d, and before behind %d", again.LastSequence, proven.LastSequence)
			}
			next := proven.LastSequence + 1
			intents := []order.Intent{intent(lease, next, 0, "BTC-USD", order.Buy, 1)}
			if err := b.Decide(t.Context(), lease, decide(next, "BTC-USD", noon), intents, noon); err != nil {
				t.Fatal(err)
			}
			if again := load(t, b, lease); again.LastSequence != next {
				t.Errorf("after decision %d behind %d", next, again.LastSequence)
			}
		})
	}
}

func TestBehind(t *testing.T) {
	kept := ledger.Anchor{Serial: 3, Agents: 2, Links: 50, Epochs: 7, Digest: "aa", SystemIdentifier: "1", Timeline: 1}
	for name, test := range map[string]struct {
		change func(*ledger.Footing)
		want   string
	}{
		"as it was":          {func(*ledger.Footing) {}, ""},
		"further":            {func(f *ledger.Footing) { f.Links, f.Epochs, f.Agents = 51, 8, 3 }, ""},
		"a later anchor":     {func(f *ledger.Footing) { f.Serial, f.Digest = 4, "bb" }, ""},
		"another cluster":    {func(f *ledger.Footing) { f.SystemIdentifier = "2" }, "another one"},
		"another timeline":   {func(f *ledger.Footing) { f.Timeline = 2 }, "timeline 1 to 2"},
		"an earlier anchor":  {func(f *ledger.Footing) { f.Serial = 2 }, "anchor 2"},
		"another digest":     {func(f *ledger.Footing) { f.Digest = "bb" }, "another anchor 3"},
		"fewer links":        {func(f *ledger.Footing) { f.Links = 49 }, "49 links"},
		"fewer epochs":       {func(f *ledger.Footing) { f.Epochs = 6 }, "epochs of 6"},
		"fewer agents":       {func(f *ledger.Footing) { f.Agents = 1 }, "1 agents"},
		"older, and renamed": {func(f *ledger.Footing) { f.Links, f.Timeline = 1, 2 }, "1 links"},
	} {
		now := ledger.Footing{Anchor: kept}
		test.change(&now)
		if got := now.Behind(kept); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
