package ledger_test

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/ledger/database"
)

// movable is a URI that changes while it is in use; empty cannot be read.
type movable struct{ uri atomic.Pointer[string] }

func (m *movable) set(uri string) { m.uri.Store(&uri) }

func (m *movable) read() (string, error) {
	if uri := *m.uri.Load(); uri != "" {
		return uri, nil
	}
	return "", errors.New("the file is gone")
}

// A password may change under a pool: what is open goes on, and what is opened later
// takes the new one as soon as it is told.
func TestPasswordChangesWhileOpen(t *testing.T) {
	const first, second = "hunter2/p@ss first", "hunter2/p@ss second"
	uri := server.Database(t)
	conn := admin(t, uri)
	say := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	with := func(password string) string {
		address, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		address.User = url.UserPassword("rotated", password)
		return address.String()
	}
	say(`CREATE ROLE rotated LOGIN PASSWORD '` + first + `'`)
	t.Cleanup(func() { say(`DROP ROLE rotated`) })
	var source movable
	source.set(with(first))
	pool, err := database.Open(t.Context(), source.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	reached := func(when string) {
		t.Helper()
		if err := pool.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused := func(when string) {
		t.Helper()
		err := pool.Ping(t.Context())
		if !errors.Is(err, ledger.ErrUnavailable) {
			t.Fatalf("%s: got %v, want ErrUnavailable", when, err)
		}
		silent(t, when, err)
	}
	reached("with the first password")
	say(`ALTER ROLE rotated PASSWORD '` + second + `'`)
	reached("a connection that was open")
	pool.Reset()
	refused("before the new password is told")
	source.set("")
	refused("while nothing can be read")
	source.set("postgres://rotated:hunter2:5432/x")
	refused("while what is read is no URI")
	source.set(with(second))
	reached("with the second password")
}

// A URI that leads to another database does not lead a trader there: it has neither
// the epoch nor the chain.
func TestURIChangesToAnotherDatabase(t *testing.T) {
	var source movable
	source.set(server.Database(t))
	b, err := ledger.Follow(t.Context(), source.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	lease := acquire(t, b, trader("a", btc))
	mark := ledger.Mark{Pair: "BTC-USD", MarketTime: noon, Price: 1}
	if err := b.SaveMark(t.Context(), lease, mark); err != nil {
		t.Fatal(err)
	}
	source.set(server.Database(t))
	b.Database().Reset()
	if err := b.SaveMark(t.Context(), lease, mark); !errors.Is(err, ledger.ErrForgot) || !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrForgot and ErrFenced", err)
	}
}
