package ledger_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
)

const agentRole = "desk_agents"

// asAgents is a database of a test's own as agents connect to it that may only add
// to its journals.
func asAgents(tb testing.TB) (agents, owner string) {
	tb.Helper()
	owner = server.Database(tb)
	conn := admin(tb, owner)
	for _, statement := range []string{
		`DO $$ BEGIN CREATE ROLE ` + agentRole + ` LOGIN PASSWORD 'plain'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`,
		`REVOKE CONNECT, TEMPORARY ON DATABASE ` + strings.TrimPrefix(mustParse(tb, owner).Path, "/") + ` FROM PUBLIC`,
		`GRANT CONNECT ON DATABASE ` + strings.TrimPrefix(mustParse(tb, owner).Path, "/") + ` TO ` + agentRole,
	} {
		if _, err := conn.Exec(tb.Context(), statement); err != nil {
			tb.Fatal(err)
		}
	}
	if err := ledger.Admit(tb.Context(), owner, agentRole); err != nil {
		tb.Fatal(err)
	}
	as := mustParse(tb, owner)
	as.User = url.UserPassword(agentRole, "plain")
	return as.String(), owner
}

func mustParse(tb testing.TB, uri string) *url.URL {
	tb.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// restricted is a ledger as an agent without the owner's rights has it. What only
// an operator or a person does goes through the owner's.
type restricted struct {
	*ledger.Postgres

	owner *ledger.Postgres
}

func (r restricted) Release(ctx context.Context, agentUID string) error {
	return r.owner.Release(ctx, agentUID)
}

func (r restricted) Rearm(ctx context.Context, agentUID, person, reason string) error {
	return r.owner.Rearm(ctx, agentUID, person, reason)
}

func (r restricted) Unlatch(ctx context.Context, haltUID, by, reason string) error {
	return r.owner.Unlatch(ctx, haltUID, by, reason)
}

func (r restricted) UnlatchAgent(ctx context.Context, agentUID, haltUID, by, reason string) error {
	return r.owner.UnlatchAgent(ctx, agentUID, haltUID, by, reason)
}

func inPostgresAsAgents(t *testing.T) book {
	t.Helper()
	agents, owner := asAgents(t)
	r := restricted{openAt(t, agents), openAt(t, owner)}
	t.Cleanup(func() {
		checkBooks(t, r.owner)
		verify(t, owner)
	})
	return r
}

// A role that was admitted can do what agents do, and change nothing behind them.
func TestAgentsRoleChangesNothing(t *testing.T) {
	agents, owner := asAgents(t)
	b := openAt(t, owner)
	eventful(t, b)
	conn, err := pgx.Connect(t.Context(), agents)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	rows, err := conn.Query(t.Context(), `SELECT c.table_name::text, min(c.column_name::text) FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'trading' AND t.table_type = 'BASE TABLE' GROUP BY 1 ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Column string }])
	if err != nil || len(tables) < 20 {
		t.Fatalf("%d tables: %v", len(tables), err)
	}
	denied := func(statement string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), statement)
		if answer, ok := errors.AsType[*pgconn.PgError](err); !ok || answer.Code != "42501" {
			t.Errorf("%s: %v, want that it is denied", statement, err)
		}
	}
	for _, table := range tables {
		denied(`DELETE FROM trading.` + table.Name)
		denied(`TRUNCATE trading.` + table.Name)
		denied(`UPDATE trading.` + table.Name + ` SET ` + table.Column + ` = ` + table.Column)
		denied(`ALTER TABLE trading.` + table.Name + ` DISABLE TRIGGER ALL`)
		denied(`DROP TABLE trading.` + table.Name)
	}
	for _, statement := range []string{
		`UPDATE trading.leases SET epoch = epoch + 1`, `INSERT INTO trading.leases (agent_uid, epoch, holder) VALUES ('uid-a', 9, 'me')`,
		`UPDATE trading.claims SET agent_uid = 'uid-a'`, `INSERT INTO trading.orders (id, agent_uid, pair, state, market_time) VALUES (gen_random_uuid(), 'uid-a', 'x', 'Filled', now())`,
		`INSERT INTO trading.shares (scope, agent_uid, amount) VALUES ('x', 'uid-a', 1)`, `INSERT INTO trading.balances VALUES ('uid-a', 'assets:cash', '', 'USD', 1)`,
		`INSERT INTO trading.arming (agent_uid, kind, person, reason, epoch, after_sequence, after_transaction) VALUES ('uid-a', 'Rearmed', 'me', 'x', 1, 0, 0)`,
		`SELECT trading.record_arming('uid-a', 'Rearmed', 'me', 'x', NULL)`, `SELECT trading.fund('uid-a', 'x', 1, 1)`, `SELECT trading.forget('x')`,
		`SELECT trading.anchor()`, `SELECT trading.admit('` + agentRole + `')`, `SELECT trading.link('uid-a', 'marks', 1::smallint, 1, 1, 1, 'x')`,
		`INSERT INTO trading.links (agent_uid, ordinal, journal, form, first, last, count, hash) VALUES ('uid-a', 99, 'marks', 1, 1, 1, 1, '')`,
		`CREATE TABLE trading.mine (x int)`, `SET session_replication_role = replica`,
	} {
		denied(statement)
	}
	// What it may insert is refused where it does not hold the epoch.
	if _, err := conn.Exec(t.Context(), `INSERT INTO trading.order_updates (agent_uid, order_id, epoch, state, venue_order_id, reason, market_time)
		SELECT agent_uid, id, 1, 'Sent', '', '', now() FROM trading.orders WHERE state = 'Intended' LIMIT 1`); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("news of an epoch that is over: %v", err)
	}
	for _, statement := range []string{`SELECT trading.hold('uid-a', 1)`, `SELECT trading.claim('uid-a', 1, 'X-USD', 'X', 'USD', 1, 1)`,
		`SELECT trading.take_claim('uid-a', 1, 'BTC-USD', 'BTC', 'USD', 1, 1)`, `SELECT trading.fund('uid-a', 1, 'x', 1, 1)`, `SELECT trading.give_back('uid-a', 1, '{}')`} {
		if _, err := conn.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s was done for an epoch that is over", statement)
		}
	}
	verify(t, owner)
	if _, err := ledger.Migrate(t.Context(), agents); err != nil {
		t.Errorf("an agent's role looks whether there is something to migrate: %v", err)
	}
	if err := ledger.Admit(t.Context(), agents, agentRole); err == nil {
		t.Error("an agent's role admitted somebody")
	}
}
