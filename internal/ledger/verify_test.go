package ledger_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// verify must find nothing.
func verify(tb testing.TB, uri string) *ledger.Verification {
	tb.Helper()
	found, err := ledger.Verify(context.WithoutCancel(tb.Context()), uri, ledger.VerifyOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	if !found.Intact() {
		tb.Errorf("differences: %s", strings.Join(differences(found), "; "))
	}
	return found
}

func differences(found *ledger.Verification) []string {
	all := found.Differences
	for i := range found.Agents {
		all = append(all, found.Agents[i].Differences...)
	}
	return all
}

// eventful fills every journal of a ledger for one agent and some for others.
func eventful(tb testing.TB, b *ledger.Postgres) ledger.Lease {
	tb.Helper()
	ok := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	ctx := tb.Context()
	gone := acquire(tb, b, trader("gone", btc))
	bookFill(tb, b, gone, fillOf(gone, ordered(tb, b, gone, 1, "BTC-USD", order.Buy, 30), "g1", "BTC-USD", order.Buy, 30, 10000, "0.01"))
	ok(b.Release(ctx, gone.Agent.UID))

	acquire(tb, b, trader("a", btc, eth))
	lease := acquire(tb, b, trader("a", btc, eth))
	bought := intent(lease, 1, 0, "BTC-USD", order.Buy, 100)
	bought.Frozen, bought.NotAfter = `{"side":"BUY"}`, noon
	ok(b.Decide(ctx, lease, decide(1, "BTC-USD", noon), []order.Intent{bought}, time.Time{}))
	ok(b.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: bought.ID, State: order.Sent, MarketTime: noon, At: noon}))
	ok(b.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: bought.ID, State: order.Acked, VenueOrderID: "v1", MarketTime: noon}))
	fill := fillOf(lease, bought.ID, "t1", "BTC-USD", order.Buy, 40, 12345, "0.00015")
	fill.FeeCurrency = "BTC"
	bookFill(tb, b, lease, fill)
	ok(b.UpdateOrder(ctx, lease, ledger.OrderUpdate{ID: bought.ID, State: order.Cancelled, Reason: "rested too long", MarketTime: noon}))
	bookFill(tb, b, lease, fillOf(lease, bought.ID, "t2", "BTC-USD", order.Buy, 10, 12345, "0.01"))
	closing := intent(lease, 2, 0, "BTC-USD", order.Sell, 20)
	closing.ReduceOnly = true
	ok(b.Request(ctx, lease, ledger.Request{Key: ledger.RequestKey("k"), Pair: "BTC-USD"}, []order.Intent{closing}, time.Time{}))
	bookFill(tb, b, lease, fillOf(lease, closing.ID, "t3", "BTC-USD", order.Sell, 20, 20000, "-0.01"))
	ok(b.Decide(ctx, lease, decide(3, "ETH-USD", noon), nil, time.Time{}))
	for i := range 2 {
		ok(b.SaveMark(ctx, lease, ledger.Mark{Pair: "BTC-USD", MarketTime: noon.Add(time.Duration(i) * time.Hour), Price: 12345, Equity: 1, PeakEquity: 2, DayStart: noon, DayStartEquity: 3}))
	}
	ok(b.Disarm(ctx, lease, "DailyLoss", noon))
	ok(b.Rearm(ctx, lease.Agent.UID, "ada", "looked at it"))
	use := ledger.Use{Request: uuid.New(), Outcome: "Forbidden", KeyID: "k1", KeyName: "desk", Scope: "admin", Method: "POST", Path: "/v1/x", Status: 403}
	ok(b.RecordUse(ctx, lease.Agent.UID, use))
	ok(exec(tb, b, `SELECT trading.forget('a test')`))
	load(tb, b, lease)
	ok(b.Proven(ctx, lease, "a test"))
	ordered(tb, b, lease, 4, "ETH-USD", order.Buy, 1)
	return lease
}

func TestVerifyIntactLedgers(t *testing.T) {
	b, uri := openLedger(t)
	if found := verify(t, uri); len(found.Agents) != 0 {
		t.Errorf("an empty ledger has agents: %+v", found.Agents)
	}
	lease := eventful(t, b)
	found := verify(t, uri)
	if len(found.Agents) != 2 {
		t.Fatalf("%d agents were verified, want 2", len(found.Agents))
	}
	a := found.Agents[0]
	if a.UID != lease.Agent.UID || a.Links < 20 || a.Rows < a.Links {
		t.Errorf("%+v", a)
	}
	// 30 adopted, 40 - 2 for the fee, 10, less 20.
	if got := strings.Join(a.Positions, ", "); got != "BTC-USD 0.0058" {
		t.Errorf("positions %q", got)
	}
	checkBooks(t, b)

	for _, one := range []string{lease.Agent.UID, "desk/a"} {
		only, err := ledger.Verify(t.Context(), uri, ledger.VerifyOptions{Agent: one})
		if err != nil || len(only.Agents) != 1 || only.Agents[0].Links != a.Links {
			t.Errorf("agent %s alone: %+v, %v", one, only, err)
		}
	}
	if _, err := ledger.Verify(t.Context(), uri, ledger.VerifyOptions{Agent: "desk/nobody"}); err == nil {
		t.Error("an agent that is unknown was verified")
	}
}

// admin connects to a test's database past all rights and triggers.
func admin(tb testing.TB, uri string) *pgx.Conn {
	tb.Helper()
	own, err := url.Parse(uri)
	if err != nil {
		tb.Fatal(err)
	}
	as, err := url.Parse(server.AdminURI())
	if err != nil {
		tb.Fatal(err)
	}
	as.Path = own.Path
	conn, err := pgx.Connect(tb.Context(), as.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	if _, err := conn.Exec(tb.Context(), `SET session_replication_role = replica`); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// otherwise is an expression for a value of a column's type that differs from the
// column's in as little as can be.
func otherwise(column, dataType string) string {
	switch dataType {
	case "bigint", "integer":
		return column + " + 65536"
	case "smallint":
		return column + " + 1"
	case "numeric":
		// Another scale is another byte, even where it is the same number.
		return fmt.Sprintf("(%s::text || CASE WHEN position('.' in %[1]s::text) > 0 THEN '1' ELSE '.1' END)::numeric", column)
	case "text":
		return column + " || ' '"
	case "json":
		return fmt.Sprintf("(%s::text || ' ')::json", column)
	case "boolean":
		return "NOT " + column
	case "timestamp with time zone":
		return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN %[1]s + interval '1 microsecond' ELSE now() END", column)
	case "uuid":
		return fmt.Sprintf("(left(%[1]s::text, 35) || CASE right(%[1]s::text, 1) WHEN '0' THEN '1' ELSE '0' END)::uuid", column)
	case "bytea":
		return fmt.Sprintf("set_byte(%[1]s, 31, 255 - get_byte(%[1]s, 31))", column)
	case "ARRAY":
		return fmt.Sprintf("array_append(%s, gen_random_uuid())", column)
	}
	return ""
}

// One byte of one column of one row of a journal, changed by somebody who may do
// everything, is found, and so is one of what is worked out of the journals.
func TestVerifyFindsEveryChangedByte(t *testing.T) {
	b, uri := openLedger(t)
	lease := eventful(t, b)
	verify(t, uri)
	conn := admin(t, uri)
	run := func(statement string, args ...any) int64 {
		t.Helper()
		tag, err := conn.Exec(t.Context(), statement, args...)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return tag.RowsAffected()
	}
	// The numeric type of confidence has no digit more to change.
	run(`ALTER TABLE trading.decisions ALTER confidence TYPE numeric USING confidence::text::numeric`)
	rows, err := conn.Query(t.Context(), `SELECT conrelid::regclass::text, conname FROM pg_constraint
		WHERE connamespace = 'trading'::regnamespace AND contype = 'c'`)
	if err != nil {
		t.Fatal(err)
	}
	checks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Name string }])
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		run(fmt.Sprintf(`ALTER TABLE %s DROP CONSTRAINT %s`, check.Table, check.Name))
	}
	rows, err = conn.Query(t.Context(), `SELECT attrelid::regclass::text, attname::text FROM pg_attribute
		WHERE attidentity <> '' AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'trading'::regnamespace AND relkind = 'r')`)
	if err != nil {
		t.Fatal(err)
	}
	counted, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Name string }])
	if err != nil {
		t.Fatal(err)
	}
	for _, identity := range counted {
		run(fmt.Sprintf(`ALTER TABLE %s ALTER %s DROP IDENTITY`, identity.Table, identity.Name))
	}
	verify(t, uri)

	type column struct{ Table, Name, Type string }
	// What is state, and no record: claims and shares, which the books prove as far
	// as positions go, and what is for people.
	state := map[string]bool{
		"agents.namespace": true, "agents.name": true, "agents.released_at": true, "leases.acquired_at": true,
		"outbox": true, "budgets": true, "shares": true, "api_keys": true, "claims": true, "migrations": true, "anchored": true, "anchors": true,
		"halts": true, "halt_releases": true, "halt_fences": true, "venue_accounts": true,
	}
	rows, err = conn.Query(t.Context(), `SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'trading' AND t.table_type = 'BASE TABLE' ORDER BY 1, c.ordinal_position`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, c := range columns {
		if state[c.Table] || state[c.Table+"."+c.Name] {
			continue
		}
		tried[c.Table] = true
		owner := "agent_uid"
		if c.Table == "agents" {
			owner = "uid"
		}
		changed := otherwise("t."+c.Name, c.Type)
		if changed == "" {
			t.Fatalf("%s.%s is of type %s, which this test cannot change", c.Table, c.Name, c.Type)
		}
		// One row that has a value there, kept whole to put it back.
		run(`DROP TABLE IF EXISTS pg_temp.kept`)
		run(fmt.Sprintf(`CREATE TEMP TABLE kept AS SELECT ctid AS place, * FROM trading.%s WHERE %s = '%s' AND %s IS NOT NULL LIMIT 1`,
			c.Table, owner, lease.Agent.UID, c.Name))
		run(`ALTER TABLE pg_temp.kept ADD COLUMN now tid`)
		if n := run(fmt.Sprintf(`WITH moved AS (UPDATE trading.%[1]s t SET %[2]s = %[3]s FROM pg_temp.kept k WHERE t.ctid = k.place RETURNING t.ctid)
			UPDATE pg_temp.kept SET now = moved.ctid FROM moved`, c.Table, c.Name, changed)); n != 1 {
			t.Errorf("%s.%s: no row has a value there", c.Table, c.Name)
			continue
		}
		found, err := ledger.Verify(t.Context(), uri, ledger.VerifyOptions{})
		if err != nil {
			t.Fatalf("%s.%s: %v", c.Table, c.Name, err)
		}
		if found.Intact() {
			t.Errorf("%s.%s was changed and not found", c.Table, c.Name)
		}
		run(fmt.Sprintf(`UPDATE trading.%[1]s t SET %[2]s = k.%[2]s FROM pg_temp.kept k WHERE t.ctid = k.now`, c.Table, c.Name))
	}
	for _, table := range []string{"intents", "decisions", "postings", "fills", "order_updates", "marks", "arming", "requests", "links", "chains", "orders", "balances"} {
		if !tried[table] {
			t.Errorf("%s was not tried", table)
		}
	}
	verify(t, uri)
}

// Rows that vanish, appear or change their place are found.
func TestVerifyFindsRows(t *testing.T) {
	for name, statements := range map[string][]string{
		"a posting that is gone":         {`DELETE FROM trading.postings WHERE id = (SELECT max(id) - 2 FROM trading.postings WHERE agent_uid = 'uid-a')`},
		"a decision that is gone":        {`DELETE FROM trading.decisions WHERE sequence = 3`},
		"the last mark is gone":          {`DELETE FROM trading.marks WHERE ordinal = (SELECT max(ordinal) FROM trading.marks)`},
		"a link that is gone":            {`DELETE FROM trading.links WHERE agent_uid = 'uid-a' AND ordinal = 7`},
		"the last link is gone":          {`DELETE FROM trading.links WHERE agent_uid = 'uid-a' AND ordinal = (SELECT max(ordinal) FROM trading.links WHERE agent_uid = 'uid-a')`},
		"the head is gone":               {`DELETE FROM trading.chains WHERE agent_uid = 'uid-a'`},
		"an order that is gone":          {`DELETE FROM trading.orders WHERE state = 'Filled'`},
		"an order from nowhere":          {`INSERT INTO trading.orders (id, agent_uid, pair, state, market_time) VALUES (gen_random_uuid(), 'uid-a', 'BTC-USD', 'Filled', now())`},
		"a mark that no link covers":     {`INSERT INTO trading.marks (agent_uid, pair, market_time, epoch, price, equity, peak_equity, day_start, day_start_equity) VALUES ('uid-a', 'BTC-USD', now(), 2, 1, 1, 1, now(), 1)`},
		"a row of nobody":                {`INSERT INTO trading.arming (agent_uid, kind, person, reason, epoch, after_sequence, after_transaction) VALUES ('nobody', 'Rearmed', 'x', 'x', 1, 0, 0)`},
		"two rows changed about":         {`UPDATE trading.marks SET recorded_at = (SELECT max(recorded_at) FROM trading.marks) WHERE ordinal = (SELECT min(ordinal) FROM trading.marks)`},
		"money moved, still of zero sum": {`UPDATE trading.postings SET amount = amount * 2 WHERE transaction_id = (SELECT transaction_id FROM trading.fills WHERE trade_id = 't3')`},
		"a balance that is made up":      {`UPDATE trading.balances SET amount = amount + 1 WHERE ledger_account = 'assets:cash' AND agent_uid = 'uid-a'`},
		"a claim that is gone":           {`DELETE FROM trading.claims WHERE pair = 'BTC-USD'`},
		"an epoch taken back":            {`UPDATE trading.leases SET epoch = 1 WHERE agent_uid = 'uid-a'`},
		"a fill with other books, and its hash made to fit": {
			`UPDATE trading.fills SET value = value + 1 WHERE trade_id = 't3'`,
			`WITH l AS (SELECT l.*, lag(hash) OVER (ORDER BY ordinal) AS before FROM trading.links l WHERE agent_uid = 'uid-a')
			UPDATE trading.links t SET hash = sha256(l.before || convert_to(concat('fills/1/', l.first, '/', l.last, '/1', E'\n',
				(SELECT ROW(f.venue, f.account, f.trade_id, f.order_id, f.agent_uid, f.epoch, f.pair, f.side, f.quantity, f.price, f.value, f.fee,
					f.fee_currency, f.realised, f.quantity_lots, f.price_ticks, f.transaction_id, f.market_time, f.recorded_at, f.fee_quantity,
					f.opened_at)::text FROM trading.fills f WHERE trade_id = 't3')), 'UTF8'))
			FROM l WHERE t.agent_uid = 'uid-a' AND t.ordinal = l.ordinal AND l.journal = 'fills' AND l.first = (SELECT transaction_id FROM trading.fills WHERE trade_id = 't3')`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, uri := openLedger(t)
			eventful(t, b)
			verify(t, uri)
			conn := admin(t, uri)
			for _, statement := range append([]string{`SET timezone = 'UTC'`}, statements...) {
				tag, err := conn.Exec(t.Context(), statement)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(statement, "SET") && tag.RowsAffected() == 0 {
					t.Fatalf("nothing was changed by %s", statement)
				}
			}
			found, err := ledger.Verify(t.Context(), uri, ledger.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if found.Intact() {
				t.Error("it was not found")
			}
			t.Log(strings.Join(differences(found), "\n"))
		})
	}
}

// An anchor that was kept elsewhere finds what a database cannot find by itself.
func TestVerifyAnchors(t *testing.T) {
	b, uri := openLedger(t)
	eventful(t, b)
	kept, err := ledger.TakeAnchor(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, b, acquire(t, b, trader("a", btc, eth)), 9, "BTC-USD", order.Sell, 1)
	against := func(serial int64, digest string) []string {
		t.Helper()
		found, err := ledger.Verify(t.Context(), uri, ledger.VerifyOptions{Serial: serial, Digest: digest})
		if err != nil {
			t.Fatal(err)
		}
		return differences(found)
	}
	if found := against(kept.Serial, kept.Digest); len(found) != 0 {
		t.Errorf("a kept anchor that holds: %v", found)
	}
	if found := against(kept.Serial+1, kept.Digest); len(found) != 1 {
		t.Errorf("an anchor that the database has not: %v", found)
	}
	if found := against(kept.Serial, strings.Repeat("0", 64)); len(found) != 1 {
		t.Errorf("an anchor of another digest: %v", found)
	}
	// Somebody cuts the chain off and makes everything else fit.
	conn := admin(t, uri)
	for _, statement := range []string{
		`DELETE FROM trading.links WHERE agent_uid = 'uid-gone' AND ordinal = (SELECT length FROM trading.chains WHERE agent_uid = 'uid-gone')`,
		`UPDATE trading.chains SET length = length - 1, hash = (SELECT hash FROM trading.links l WHERE l.agent_uid = 'uid-gone' ORDER BY ordinal DESC LIMIT 1) WHERE agent_uid = 'uid-gone'`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	told := strings.Join(against(kept.Serial, kept.Digest), "\n")
	if !strings.Contains(told, "do not lead to its digest") {
		t.Errorf("a chain that was cut off: %s", told)
	}
}

func TestAnchorIsPlain(t *testing.T) {
	b, uri := openLedger(t)
	empty, err := ledger.TakeAnchor(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if empty.Serial != 1 || empty.Agents != 0 || empty.Links != 0 || len(empty.Digest) != 64 || empty.SystemIdentifier == "" || empty.Timeline != 1 {
		t.Errorf("%+v", empty)
	}
	acquire(t, b, trader("a", btc))
	next, err := ledger.TakeAnchor(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if next.Serial != 2 || next.Agents != 1 || next.Links == 0 || next.Epochs != 1 || next.Digest == empty.Digest || time.Since(next.Time) > time.Hour {
		t.Errorf("%+v", next)
	}
	verify(t, uri)
}
