package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// The commands of a ledger: whole, after somebody has changed it, and for a role
// of the agents' own.
func TestLedgerCommands(t *testing.T) {
	server, err := postgres.Start(postgres.Options{NoSync: true, Migrate: func(ctx context.Context, uri string) error {
		_, err := ledger.Migrate(ctx, uri)
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
	uri := server.Database(t)
	file := filepath.Join(t.TempDir(), "uri")
	if err := os.WriteFile(file, []byte(uri+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	book, err := ledger.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	instrument, err := market.NewInstrument("BTC", "USD", decimal.New(1, -2), decimal.New(1, -4), decimal.Zero)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := book.Acquire(t.Context(), ledger.Agent{
		UID: "uid-a", Namespace: "desk", Name: "a", Account: "account", Venue: "Paper", Currency: "USD", Balance: market.MoneyUnit,
		Instruments: []market.Instrument{instrument}, Holder: "pod",
	}); err != nil {
		t.Fatal(err)
	}
	anchor, err := ledger.TakeAnchor(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		t.Helper()
		var out bytes.Buffer
		command := newLedgerCommand()
		command.SetArgs(append(args, "--ledger-uri-file", file))
		command.SetOut(&out)
		command.SetErr(&out)
		command.SilenceUsage = true
		err := command.ExecuteContext(t.Context())
		return out.String(), err
	}
	kept := "1/" + anchor.Digest
	for _, args := range [][]string{{"verify"}, {"verify", "--agent", "desk/a"}, {"verify", "--anchor", kept}} {
		out, err := run(args...)
		if err != nil || !strings.Contains(out, "desk/a") || !strings.Contains(out, "USD 1") || !strings.Contains(out, "intact") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	for _, args := range [][]string{{"verify", "--anchor", "1"}, {"verify", "--anchor", "x/" + anchor.Digest}, {"verify", "--agent", "desk/a", "--anchor", kept}, {"verify", "--agent", "desk/b"}} {
		if out, err := run(args...); err == nil || errors.Is(err, errDiffers) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if out, err := run("verify", "--anchor", "2/"+anchor.Digest); !errors.Is(err, errDiffers) || !strings.Contains(out, "anchor 2") {
		t.Errorf("an anchor that the database has not: %v\n%s", err, out)
	}
	if out, err := run("admit", "nobody"); err == nil {
		t.Errorf("a role that does not exist was admitted: %s", out)
	}

	admin, err := url.Parse(server.AdminURI())
	if err != nil {
		t.Fatal(err)
	}
	own, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	admin.Path = own.Path
	conn, err := pgx.Connect(t.Context(), admin.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	for _, statement := range []string{`CREATE ROLE desk_agents LOGIN`, `SET session_replication_role = replica`, `UPDATE trading.postings SET amount = amount * 2`} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run("admit", "desk_agents"); err != nil {
		t.Errorf("admitting a role: %v\n%s", err, out)
	}
	out, err := run("verify")
	if !errors.Is(err, errDiffers) || !strings.Contains(out, "desk/a (uid-a): link") || strings.Contains(out, "intact") {
		t.Errorf("a ledger that was changed: %v\n%s", err, out)
	}
}
