package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// durable is a server of its own that may be crashed: it runs with fsync.
func durable(tb testing.TB) *postgres.Server {
	tb.Helper()
	s, err := postgres.Start(postgres.Options{Migrate: func(ctx context.Context, uri string) error {
		_, err := ledger.Migrate(ctx, uri)
		return err
	}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// A crash of the server amid many writers loses nothing that was told to be
// booked, and repeating what was not told books nothing twice.
func TestCrashUnderWriters(t *testing.T) {
	const writers, fills, crashAfter = 4, 60, 80
	crashing := durable(t)
	uri := crashing.Database(t)
	var told atomic.Int64
	var lost atomic.Int64
	crash := make(chan struct{})
	var wait sync.WaitGroup
	for w := range writers {
		agent := trader(strconv.Itoa(w), btc)
		agent.Account = "account-" + agent.UID
		b := openAt(t, uri)
		lease := acquire(t, b, agent)
		wait.Go(func() {
			for i := range fills {
				intents := []order.Intent{intent(lease, int64(i+1), 0, "BTC-USD", order.Buy, 1)}
				insist(t, &lost, func() error { return b.Intend(t.Context(), lease, intents) })
				fill := fillOf(lease, intents[0].ID, strconv.Itoa(i), "BTC-USD", order.Buy, 1, 10000, "0.01")
				insist(t, &lost, func() error {
					_, err := b.BookFill(t.Context(), lease, fill)
					return err
				})
				if told.Add(1) == crashAfter {
					close(crash)
				}
			}
		})
	}
	<-crash
	if err := crashing.Stop(true); err != nil {
		t.Error(err)
	}
	// Let the writers find out before it comes back.
	postgres.Eventually(t, 30*time.Second, "a writer misses the server", func() bool { return lost.Load() > 0 })
	booked := told.Load()
	if err := crashing.StartAgain(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()

	b := openAt(t, uri)
	if n := query[int64](t, b, `SELECT count(*) FROM trading.fills`); n != writers*fills {
		t.Errorf("%d fills, want %d (%d were told before the crash)", n, writers*fills, booked)
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.positions WHERE quantity = $1 * 0.0001`, fills); n != writers {
		t.Errorf("%d of %d agents hold what they bought", n, writers)
	}
	if n := query[int64](t, b, `SELECT count(*) FROM trading.orders WHERE state = 'Filled'`); n != writers*fills {
		t.Errorf("%d orders are filled, want %d", n, writers*fills)
	}
	checkBooks(t, b)
}

// insist repeats a call until the ledger can be reached, as a trader does.
func insist(t *testing.T, lost *atomic.Int64, call func() error) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, ledger.ErrUnavailable) || time.Now().After(end) {
			t.Errorf("while the server was down: %v", err)
			return
		}
		lost.Add(1)
	}
}

// proxy stands between a ledger and its database and cuts commits.
type proxy struct {
	listener net.Listener
	target   string
	// forwardThenCut lets the next commits pass and cuts the reply off;
	// cutBefore keeps them from the server. Both count down.
	forwardThenCut, cutBefore atomic.Int64
	// closed refuses new connections; mute keeps every reply back.
	closed, mute atomic.Bool
	wait         sync.WaitGroup
	mu           sync.Mutex
	conns        map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	p.wait.Go(func() { p.serve(t.Context()) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for conn := range p.conns {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) serve(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.closed.Load() {
			_ = client.Close()
			continue
		}
		upstream, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[upstream] = true, true
		p.mu.Unlock()
		var cut atomic.Bool
		p.wait.Go(func() { p.requests(client, upstream, &cut) })
		p.wait.Go(func() { p.replies(client, upstream, &cut) })
	}
}

func (p *proxy) end(client, upstream net.Conn) {
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, upstream)
	p.mu.Unlock()
	_ = client.Close()
	_ = upstream.Close()
}

func (p *proxy) requests(client, upstream net.Conn, cut *atomic.Bool) {
	defer p.end(client, upstream)
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("commit\x00")) {
			if p.cutBefore.Add(-1) >= 0 {
				return
			}
			if p.forwardThenCut.Add(-1) >= 0 {
				cut.Store(true)
			}
		}
		if _, err := upstream.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) replies(client, upstream net.Conn, cut *atomic.Bool) {
	defer p.end(client, upstream)
	buffer := make([]byte, 64<<10)
	for {
		n, err := upstream.Read(buffer)
		if err != nil || cut.Load() {
			return
		}
		if p.mute.Load() {
			continue
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// through is the URI of a database by way of the proxy.
func (p *proxy) through(t *testing.T, uri string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

func TestLostCommitReply(t *testing.T) {
	for name, test := range map[string]struct{ forwardThenCut, cutBefore int64 }{
		"the commit arrived":         {forwardThenCut: 1},
		"the commit did not arrive":  {cutBefore: 1},
		"three replies were lost":    {forwardThenCut: 3},
		"two commits did not arrive": {cutBefore: 2},
		"one of each":                {forwardThenCut: 1, cutBefore: 1},
	} {
		t.Run(name, func(t *testing.T) {
			uri := server.Database(t)
			p := newProxy(t, server.Addr())
			direct, b := openAt(t, uri), openAt(t, p.through(t, uri))
			lease := acquire(t, b, trader("a", btc))
			arm := func() {
				p.forwardThenCut.Store(test.forwardThenCut)
				p.cutBefore.Store(test.cutBefore)
			}
			fill := fillOf(lease, orderID(lease, 1, 0), "t1", "BTC-USD", order.Buy, 10, 100, "0.5")
			arm()
			if err := b.Decide(t.Context(), lease, decide(1, "BTC-USD", noon), []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Buy, 10)}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			arm()
			if err := b.Intend(t.Context(), lease, []order.Intent{intent(lease, 2, 0, "BTC-USD", order.Sell, 10)}); err != nil {
				t.Fatal(err)
			}
			arm()
			if isNew, err := b.BookFill(t.Context(), lease, fill); err != nil || !isNew {
				t.Fatalf("booking: new %t, error %v", isNew, err)
			}
			if isNew, err := b.BookFill(t.Context(), lease, fill); err != nil || isNew {
				t.Errorf("booking again: new %t, error %v", isNew, err)
			}
			arm()
			if err := b.UpdateOrder(t.Context(), lease, ledger.OrderUpdate{ID: orderID(lease, 2, 0), State: order.Rejected, MarketTime: noon}); err != nil {
				t.Fatal(err)
			}
			s := load(t, direct, lease)
			if s.Fills != 1 || s.Decisions != 1 || len(s.OpenOrders) != 0 || s.Positions["BTC-USD"].Quantity != 10 || s.Cash != money("9999.499") {
				t.Errorf("%+v", s)
			}
			arm()
			next, err := b.Acquire(t.Context(), trader("a", btc))
			if err != nil || next.Epoch <= lease.Epoch {
				t.Errorf("epoch %d after %d: %v", next.Epoch, lease.Epoch, err)
			}
			load(t, direct, next)
			checkBooks(t, direct)
		})
	}
}

// No method may do its work twice, or not at all, when the reply to its commit is
// lost: what it has done is counted, and everything stays whole.
func TestLostCommitReplyOfEveryMethod(t *testing.T) {
	share := []ledger.Claim{{Scope: "policy", Total: money("100"), Want: money("60")}}
	closing := func(lease ledger.Lease) order.Intent {
		i := intent(lease, 7, 0, "BTC-USD", order.Sell, 1)
		i.ReduceOnly = true
		return i
	}
	for name, method := range map[string]struct {
		call func(context.Context, *ledger.Postgres, ledger.Lease) error
		// rows are where the work shows, and must be one.
		rows string
	}{
		"Acquire": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			agent := trader("other", eth)
			_, err := b.Acquire(ctx, agent)
			return err
		}, `SELECT count(*) FROM trading.transactions WHERE agent_uid = 'uid-other' AND kind = 'Opening'`},
		"Load": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.Load(ctx, lease)
			return err
		}, `SELECT 1`},
		"Decide": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Decide(ctx, lease, decide(5, "BTC-USD", noon), nil, time.Time{})
		}, `SELECT count(*) FROM trading.decisions`},
		"Intend": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Intend(ctx, lease, []order.Intent{intent(lease, 6, 0, "BTC-USD", order.Buy, 1)})
		}, `SELECT count(*) FROM trading.intents WHERE sequence = 6`},
		"Request": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Request(ctx, lease, ledger.Request{Key: ledger.RequestKey("k"), Pair: "BTC-USD"}, []order.Intent{closing(lease)}, time.Time{})
		}, `SELECT count(*) FROM trading.requests r JOIN trading.intents i ON i.id = r.intents[1]`},
		"Recall": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.Recall(ctx, lease, ledger.Request{Key: ledger.RequestKey("k"), Pair: "BTC-USD"})
			return err
		}, `SELECT 1`},
		"UpdateOrder": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: orderID(lease, 1, 0), State: order.Rejected, MarketTime: noon})
		}, `SELECT count(*) FROM trading.order_updates`},
		"BookFill": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.BookFill(ctx, lease, fillOf(lease, orderID(lease, 1, 0), "t1", "BTC-USD", order.Buy, 1, 100, "0"))
			return err
		}, `SELECT count(*) FROM trading.fills f JOIN trading.outbox o ON o.key = f.trade_id`},
		"BookFills": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.BookFills(ctx, lease, []order.Fill{fillOf(lease, orderID(lease, 1, 0), "t1", "BTC-USD", order.Buy, 1, 100, "0")})
			return err
		}, `SELECT count(*) FROM trading.fills`},
		"Disarm": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Disarm(ctx, lease, "DailyLoss", noon)
		}, `SELECT count(*) FROM trading.arming`},
		"Arming": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.Arming(ctx, lease)
			return err
		}, `SELECT 1`},
		"Fund": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			granted, err := b.Fund(ctx, lease, share)
			if err == nil && granted["policy"] != money("60") {
				return fmt.Errorf("granted %v", granted)
			}
			return err
		}, `SELECT count(*) FROM trading.shares WHERE amount = 60`},
		"SaveMark": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.SaveMark(ctx, lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1})
		}, `SELECT count(*) FROM trading.marks`},
		"Holdings": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			_, err := b.Holdings(ctx, lease)
			return err
		}, `SELECT 1`},
		"Proven": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Proven(ctx, lease, "nothing was forgotten")
		}, `SELECT 1 + count(*) FROM trading.recoveries`},
		"RecordUse": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.RecordUse(ctx, lease.Agent.UID, ledger.Use{Request: uuid.Nil, Outcome: "Done", KeyID: "k", Scope: "trade", Method: "POST", Path: "/", Status: 200})
		}, `SELECT count(*) FROM trading.api_uses`},
		"SaveLastUses": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.SaveLastUses(ctx, lease.Agent.UID, map[string]time.Time{"k": noon})
		}, `SELECT count(*) FROM trading.api_keys`},
		"Release": {func(ctx context.Context, b *ledger.Postgres, lease ledger.Lease) error {
			return b.Release(ctx, lease.Agent.UID)
		}, `SELECT count(*) FROM trading.agents WHERE released_at IS NOT NULL`},
	} {
		for fate, arm := range map[string]func(*proxy){
			"arrived":        func(p *proxy) { p.forwardThenCut.Store(1) },
			"did not arrive": func(p *proxy) { p.cutBefore.Store(1) },
		} {
			t.Run(name+" "+fate, func(t *testing.T) {
				uri := server.Database(t)
				p := newProxy(t, server.Addr())
				direct, b := openAt(t, uri), openAt(t, p.through(t, uri))
				lease := acquire(t, b, trader("a", btc))
				ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
				arm(p)
				if err := method.call(t.Context(), b, lease); err != nil {
					t.Fatal(err)
				}
				if p.forwardThenCut.Load() > 0 || p.cutBefore.Load() > 0 {
					t.Error("no commit was cut off")
				}
				if n := query[int64](t, direct, method.rows); n != 1 {
					t.Errorf("%d rows, want 1", n)
				}
				verify(t, uri)
			})
		}
	}
}

// If the database cannot be asked what became of a commit, the caller is told
// so, and learns it by asking again.
func TestOutcomeUnknown(t *testing.T) {
	for name, arrived := range map[string]bool{"arrived": true, "did not arrive": false} {
		t.Run(name, func(t *testing.T) {
			uri := server.Database(t)
			p := newProxy(t, server.Addr())
			direct, b := openAt(t, uri), openAt(t, p.through(t, uri))
			lease := acquire(t, b, trader("a", btc))
			id := ordered(t, b, lease, 1, "BTC-USD", order.Buy, 10)
			if arrived {
				p.forwardThenCut.Store(1)
			} else {
				p.cutBefore.Store(1)
			}
			p.closed.Store(true)
			fill := fillOf(lease, id, "t1", "BTC-USD", order.Buy, 10, 100, "0")
			isNew, err := b.BookFill(t.Context(), lease, fill)
			if isNew || !errors.Is(err, ledger.ErrOutcomeUnknown) || !errors.Is(err, ledger.ErrUnavailable) {
				t.Fatalf("new %t, error %v, want ErrOutcomeUnknown", isNew, err)
			}
			if got := load(t, direct, lease).Fills == 1; got != arrived {
				t.Fatalf("booked: %t, want %t", got, arrived)
			}
			if _, err := b.BookFill(t.Context(), lease, fill); !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrOutcomeUnknown) {
				t.Errorf("with nothing sent: %v, want ErrUnavailable alone", err)
			}
			p.closed.Store(false)
			if isNew, err := b.BookFill(t.Context(), lease, fill); err != nil || isNew == arrived {
				t.Errorf("asked again: new %t, error %v", isNew, err)
			}
			if got := load(t, direct, lease).Fills; got != 1 {
				t.Errorf("%d fills, want 1", got)
			}
		})
	}
}

// A lease that is lost while a commit's fate is unknown ends in ErrFenced: the
// process must stop whatever the outcome.
func TestFencedWhileAsking(t *testing.T) {
	uri := server.Database(t)
	p := newProxy(t, server.Addr())
	direct, b := openAt(t, uri), openAt(t, p.through(t, uri))
	old := acquire(t, b, trader("a", btc))
	id := ordered(t, b, old, 1, "BTC-USD", order.Buy, 10)
	p.cutBefore.Store(1)
	p.closed.Store(true)
	fill := fillOf(old, id, "t1", "BTC-USD", order.Buy, 10, 100, "0")
	if _, err := b.BookFill(t.Context(), old, fill); !errors.Is(err, ledger.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	current := acquire(t, direct, trader("a", btc))
	p.closed.Store(false)
	if _, err := b.BookFill(t.Context(), old, fill); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("%v, want ErrFenced", err)
	}
	bookFill(t, direct, current, fill)
}

// A server that accepts everything and answers nothing must not hold a trader
// for longer than it is willing to wait.
func TestServerIsMute(t *testing.T) {
	uri := server.Database(t)
	p := newProxy(t, server.Addr())
	b := openAt(t, p.through(t, uri))
	lease := acquire(t, b, trader("a", btc))
	p.mute.Store(true)
	hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := b.SaveMark(hurried, lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1})
	if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want ErrUnavailable and the caller's deadline", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %s to give up after 100ms", took)
	}
	p.mute.Store(false)
	if err := b.SaveMark(t.Context(), lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); err != nil {
		t.Error(err)
	}
}

func TestLocksAndCancellation(t *testing.T) {
	b, uri := openLedger(t)
	lease := acquire(t, b, trader("a", btc))
	hurried := openAt(t, uri+"&lock_timeout=50")
	err := b.Database().Write(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT 1 FROM trading.leases FOR UPDATE`); err != nil {
			return err
		}
		if err := hurried.SaveMark(ctx, lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}); !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("a lock that is not given: %v, want ErrUnavailable", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Ping(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a ping that was called off: %v", err)
	}
	if err := b.Intend(ended, lease, []order.Intent{intent(lease, 1, 0, "BTC-USD", order.Buy, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a write that was called off: %v", err)
	}
	if open := load(t, b, lease).OpenOrders; len(open) != 0 {
		t.Errorf("a write that was called off left %+v", open)
	}
}
