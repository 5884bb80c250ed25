package postgres_test

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

func TestServer(t *testing.T) {
	server, err := postgres.Start(postgres.Options{Migrate: func(ctx context.Context, uri string) error {
		conn, err := pgx.Connect(ctx, uri)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "CREATE TABLE kept (n int)")
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	first, second := server.Database(t), server.Database(t)
	if first == second {
		t.Fatal("two tests share a database")
	}
	exec(t, first, "INSERT INTO kept VALUES (1)")
	exec(t, second, "INSERT INTO kept VALUES (1), (2)")
	exec(t, server.Empty(t), "CREATE TABLE kept (n int)")

	addr := server.Addr()
	if err := server.Stop(true); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), first); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := server.StartAgain(); err != nil {
		t.Fatal(err)
	}
	if server.Addr() != addr {
		t.Errorf("the server moved from %s to %s", addr, server.Addr())
	}
	for uri, want := range map[string]int{first: 1, second: 2} {
		if got := count(t, uri); got != want {
			t.Errorf("%d rows survived a crash, want %d", got, want)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", shared(t))
	server, err := postgres.Start(postgres.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s was left behind", entry.Name())
	}
}

// shared is a directory that the unprivileged server can reach into, unlike
// those of t.TempDir, whose parent is the test's own.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "server-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func exec(t *testing.T, uri, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, uri string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
