package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// mostDifferences is how many differences of one agent are told; the others are
// counted.
const mostDifferences = 50

// Verdict is what verifying one agent has found.
type Verdict struct {
	UID, Namespace, Name string
	// Links of the agent's chain, and Rows that they cover.
	Links, Rows int64
	// Positions that its postings come to, and Cash, both as text for people.
	Positions, Cash []string
	// Differences are what must not be, at most 50; Count is how many there are.
	Differences []string
	Count       int
}

func (v *Verdict) differ(format string, args ...any) {
	v.Count++
	if len(v.Differences) < mostDifferences {
		v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
	}
}

// Verification is what verifying a ledger has found.
type Verification struct {
	Agents []Verdict
	// Anchor is the newest anchor of the database; nil if none was taken.
	Anchor *Anchor
	// Differences that belong to no single agent.
	Differences []string
}

// Intact says that nothing differs.
func (v *Verification) Intact() bool {
	for i := range v.Agents {
		if v.Agents[i].Count > 0 {
			return false
		}
	}
	return len(v.Differences) == 0
}

// VerifyOptions narrow a verification.
type VerifyOptions struct {
	// Agent is a UID or namespace/name; empty is every agent, those that are gone
	// among them.
	Agent string
	// Serial and Digest are of an anchor that was kept elsewhere, such as in the
	// status of the Ledger; none if Digest is empty.
	Serial int64
	Digest string
}

// Verify holds a ledger to its hash chains and its books to each other: every link
// of every chain is computed anew from the rows that it covers, here and not in the
// database; orders are worked out again from intents, updates and fills; positions,
// cash and balances from postings. It only reads, sees one state of the database,
// and stops nobody from writing meanwhile.
func Verify(ctx context.Context, uri string, options VerifyOptions) (*Verification, error) {
	result := &Verification{}
	err := withDatabase(uri, func(db *sql.DB) error {
		version, err := versionIn(ctx, db)
		if err != nil {
			return err
		}
		if err := fits(version); err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		if err != nil {
			return fmt.Errorf("beginning to read: %w", err)
		}
		// Nothing was written.
		defer func() { _ = tx.Rollback() }()
		v := &verifier{tx: tx, options: options}
		if err := v.run(ctx, result); err != nil {
			return fmt.Errorf("verifying the ledger: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// verifier reads one state of a database.
type verifier struct {
	tx      *sql.Tx
	options VerifyOptions
}

func (v *verifier) run(ctx context.Context, result *Verification) error {
	// Rows are hashed as text, so the text must be the one that was hashed.
	_, err := v.tx.ExecContext(ctx, `SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),
		set_config('search_path', 'pg_catalog, pg_temp', true), set_config('statement_timeout', '0', true)`)
	if err != nil {
		return err
	}
	if result.Agents, err = v.agents(ctx); err != nil {
		return err
	}
	if len(result.Agents) == 0 && v.options.Agent != "" {
		return fmt.Errorf("agent %s: %w", v.options.Agent, ErrUnknownAgent)
	}
	for i := range result.Agents {
		verdict := &result.Agents[i]
		if err := v.chain(ctx, verdict); err != nil {
			return fmt.Errorf("agent %s/%s: %w", verdict.Namespace, verdict.Name, err)
		}
		if err := v.books(ctx, verdict); err != nil {
			return fmt.Errorf("agent %s/%s: %w", verdict.Namespace, verdict.Name, err)
		}
	}
	if v.options.Agent != "" {
		return nil
	}
	if err := v.strays(ctx, result); err != nil {
		return err
	}
	return v.anchor(ctx, result)
}

func (v *verifier) agents(ctx context.Context) ([]Verdict, error) {
	rows, err := v.tx.QueryContext(ctx, `SELECT uid, namespace, name FROM trading.agents
		WHERE $1 = '' OR uid = $1 OR namespace || '/' || name = $1 ORDER BY namespace, name, recorded_at, uid`, v.options.Agent)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var agents []Verdict
	for rows.Next() {
		var a Verdict
		if err := rows.Scan(&a.UID, &a.Namespace, &a.Name); err != nil {
			return nil, err
		}
		agents = append(agents, a)
	}
	return agents, rows.Err()
}

// strays finds rows of journals that belong to no agent at all, whose chain nobody
// would walk.
func (v *verifier) strays(ctx context.Context, result *Verification) error {
	parts := make([]string, 0, len(journals)+1)
	for _, name := range append(journalNames(), "links", "chains", "leases", "orders", "balances") {
		parts = append(parts, fmt.Sprintf(`SELECT '%[1]s', count(*) FROM trading.%[1]s j WHERE NOT EXISTS (SELECT FROM trading.agents a WHERE a.uid = j.agent_uid)`, name))
	}
	rows, err := v.tx.QueryContext(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var count int64
		if err := rows.Scan(&name, &count); err != nil {
			return err
		}
		if count > 0 {
			result.Differences = append(result.Differences, fmt.Sprintf("%s: %d rows are of no agent that is known", name, count))
		}
	}
	return rows.Err()
}

// anchor holds the chains to the newest anchor that the database has, and the
// database to the one that was kept elsewhere.
func (v *verifier) anchor(ctx context.Context, result *Verification) error {
	var newest Anchor
	var again string
	err := v.tx.QueryRowContext(ctx, `SELECT `+anchorColumns+`, encode(sha256(convert_to(coalesce((
			SELECT string_agg(concat(h.agent_uid, ' ', h.length, ' ', encode(CASE h.length WHEN 0 THEN
				sha256(convert_to(ROW(g.uid, g.account, g.venue, g.currency, g.recorded_at)::text, 'UTF8')) ELSE l.hash END, 'hex')),
				E'\n' ORDER BY h.agent_uid COLLATE "C")
			FROM trading.anchored h JOIN trading.agents g ON g.uid = h.agent_uid
			LEFT JOIN trading.links l ON l.agent_uid = h.agent_uid AND l.ordinal = h.length), ''), 'UTF8')), 'hex')
		FROM trading.anchors a ORDER BY serial DESC LIMIT 1`).Scan(append(newest.fields(), &again)...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil {
		newest.Time = newest.Time.UTC()
		result.Anchor = &newest
		if again != newest.Digest {
			result.Differences = append(result.Differences, fmt.Sprintf("anchor %d: the chains do not lead to its digest any more", newest.Serial))
		}
	}
	if v.options.Digest == "" {
		return nil
	}
	var kept string
	err = v.tx.QueryRowContext(ctx, `SELECT encode(digest, 'hex') FROM trading.anchors WHERE serial = $1`, v.options.Serial).Scan(&kept)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		result.Differences = append(result.Differences, fmt.Sprintf("anchor %d: the database does not have it: it is older than the anchor, or another one", v.options.Serial))
	case err != nil:
		return err
	case kept != v.options.Digest:
		result.Differences = append(result.Differences, fmt.Sprintf("anchor %d: the database has the digest %s", v.options.Serial, kept))
	}
	return nil
}
