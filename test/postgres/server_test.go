package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		_, err = conn.Exec(ctx, "CREATE TABLE kept (n int)")
		return errors.Join(err, conn.Close(ctx))
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
	before := temporary(t)
	for _, inMemory := range []bool{false, true} {
		leavesNothing(t, postgres.Options{NoSync: inMemory}, before)
	}
}

func leavesNothing(t *testing.T, options postgres.Options, before []string) {
	t.Helper()
	server, err := postgres.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	if made := len(temporary(t)) - len(before); made != 1 {
		t.Errorf("a server has %d directories, want 1", made)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if left := temporary(t); !slices.Equal(left, before) {
		t.Errorf("%v are there after a server, %v were before", left, before)
	}
}

// temporary lists what servers of this process have in the directories for
// temporary files. One of the test's own would not do: the unprivileged server
// cannot reach into those of t.TempDir.
func temporary(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{os.TempDir(), "/dev/shm"} {
		here, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("trading-postgres-%d-*", os.Getpid())))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, here...)
	}
	return found
}

func exec(t *testing.T, uri, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), statement)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, uri string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n
}
