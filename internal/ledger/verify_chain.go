package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// journal is a table that the chains cover.
type journal struct {
	name, key string
	// columns that are hashed, in this order, in form 1.
	columns string
}

// form of the links that this program knows.
const form = 1

// journals are all that a chain covers, with the columns of form 1 in their order.
// They are written here once more, and not read from the database, because the
// database is what is judged.
var journals = []journal{
	{"epochs", "epoch", "agent_uid epoch holder system_identifier timeline recorded_at"},
	{"intents", "ordinal", "id ordinal agent_uid account sequence leg replacement epoch pair side quantity limit_price reduce_only reserved reason quantity_lots limit_ticks market_time recorded_at frozen not_after"},
	{"decisions", "sequence", "agent_uid sequence epoch pair bar_end action confidence outcome reasoning intents recorded_at"},
	{"requests", "ordinal", "agent_uid key pair epoch intents recorded_at ordinal"},
	{"transactions", "id", "id agent_uid kind epoch market_time recorded_at"},
	{"postings", "id", "id transaction_id agent_uid ledger_account pair currency amount"},
	{"adoptions", "transaction_id", "transaction_id agent_uid from_agent_uid epoch pair quantity cost recorded_at"},
	{"fills", "transaction_id", "venue account trade_id order_id agent_uid epoch pair side quantity price value fee fee_currency realised quantity_lots price_ticks transaction_id market_time recorded_at fee_quantity opened_at"},
	{"order_updates", "id", "id agent_uid order_id epoch state venue_order_id reason market_time happened_at recorded_at"},
	{"arming", "id", "id agent_uid kind person reason epoch after_sequence after_transaction market_time recorded_at"},
	{"recoveries", "id", "id agent_uid kind reason epoch recorded_at"},
	{"marks", "ordinal", "agent_uid pair market_time ordinal epoch price equity peak_equity day_start day_start_equity recorded_at"},
	{"api_uses", "id", "id agent_uid request outcome key_id key_name scope method path status recorded_at"},
}

func journalNames() []string {
	names := make([]string, len(journals))
	for i := range journals {
		names[i] = journals[i].name
	}
	return names
}

// replayed are what a row says besides its text, for those journals that orders
// are worked out from.
var replayed = map[string]string{
	"intents":       `ARRAY[f.id::text, f.quantity_lots::text, f.pair, f.market_time::text, f.recorded_at::text]`,
	"order_updates": `ARRAY[f.order_id::text, f.state, f.venue_order_id, f.reason, f.market_time::text, f.recorded_at::text, f.happened_at::text, f.epoch::text]`,
	"fills":         `ARRAY[f.order_id::text, f.quantity_lots::text, f.quantity::text, f.market_time::text, f.recorded_at::text]`,
}

// chainRow is a row as it is hashed.
type chainRow struct {
	key  int64
	text []byte
	says []sql.NullString
}

// stream reads an agent's rows of one journal in the order of their keys, some at
// a time.
type stream struct {
	journal
	v     *verifier
	ahead []chainRow
	ended bool
}

// streamPart is how many rows are read at once.
const streamPart = 2000

func (v *verifier) open(ctx context.Context, j journal) (*stream, error) {
	says := "NULL::text[]"
	if columns, ok := replayed[j.name]; ok {
		says = columns
	}
	listed := "f." + strings.Join(strings.Fields(j.columns), ", f.")
	_, err := v.tx.ExecContext(ctx, fmt.Sprintf(`DECLARE walk_%[1]s NO SCROLL CURSOR FOR SELECT f.%[2]s, ROW(%[3]s)::text, %[4]s FROM trading.%[1]s f
		WHERE f.agent_uid = current_setting('trading.agent') ORDER BY f.%[2]s`, j.name, j.key, listed, says))
	return &stream{journal: j, v: v}, err
}

// next is the first row that was not taken; nil if there are no more.
func (s *stream) next(ctx context.Context) (*chainRow, error) {
	if len(s.ahead) == 0 && !s.ended {
		if err := s.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if len(s.ahead) == 0 {
		return nil, nil
	}
	return &s.ahead[0], nil
}

func (s *stream) fetch(ctx context.Context) error {
	rows, err := s.v.tx.QueryContext(ctx, fmt.Sprintf("FETCH %d FROM walk_%s", streamPart, s.name))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	s.ahead = s.ahead[:0]
	for rows.Next() {
		var row chainRow
		var says nullStrings
		if err := rows.Scan(&row.key, &row.text, &says); err != nil {
			return err
		}
		row.says = says
		s.ahead = append(s.ahead, row)
	}
	s.ended = len(s.ahead) < streamPart
	return rows.Err()
}

// chain walks an agent's chain from who the agent is to its head.
func (v *verifier) chain(ctx context.Context, verdict *Verdict) error {
	if _, err := v.tx.ExecContext(ctx, `SELECT set_config('trading.agent', $1, true)`, verdict.UID); err != nil {
		return err
	}
	streams := map[string]*stream{}
	for _, j := range journals {
		opened, err := v.open(ctx, j)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		streams[j.name] = opened
	}
	walk := &walk{verdict: verdict, streams: streams, orders: map[string]*replayedOrder{}}
	if err := v.links(ctx, walk); err != nil {
		return err
	}
	for _, j := range journals {
		if err := walk.rest(ctx, streams[j.name]); err != nil {
			return err
		}
		if _, err := v.tx.ExecContext(ctx, "CLOSE walk_"+j.name); err != nil {
			return err
		}
	}
	return v.orders(ctx, walk)
}

// links walks the links.
func (v *verifier) links(ctx context.Context, w *walk) error {
	var identity string
	err := v.tx.QueryRowContext(ctx, `SELECT ROW(uid, account, venue, currency, recorded_at)::text FROM trading.agents WHERE uid = $1`, w.verdict.UID).Scan(&identity)
	if err != nil {
		return err
	}
	first := sha256.Sum256([]byte(identity))
	w.hash = first[:]
	if _, err := v.tx.ExecContext(ctx, `DECLARE walk_links NO SCROLL CURSOR FOR SELECT ordinal, journal, form, first, last, count, hash FROM trading.links
		WHERE agent_uid = current_setting('trading.agent') ORDER BY ordinal`); err != nil {
		return err
	}
	for {
		part, err := v.someLinks(ctx)
		if err != nil {
			return err
		}
		for i := range part {
			if err := w.link(ctx, &part[i]); err != nil {
				return err
			}
		}
		if len(part) < streamPart {
			break
		}
	}
	if _, err := v.tx.ExecContext(ctx, `CLOSE walk_links`); err != nil {
		return err
	}
	var length int64
	var head []byte
	err = v.tx.QueryRowContext(ctx, `SELECT length, hash FROM trading.chains WHERE agent_uid = $1`, w.verdict.UID).Scan(&length, &head)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		w.verdict.differ("the chain has no head")
	case err != nil:
		return err
	case length != w.verdict.Links || !bytes.Equal(head, w.hash):
		w.verdict.differ("the head of the chain is at link %d, %x, the last link is %d, %x", length, head[:4], w.verdict.Links, w.hash[:4])
	}
	return nil
}

// link of a chain as it is stored.
type link struct {
	ordinal, first, last, count int64
	journal                     string
	form                        int
	hash                        []byte
}

func (v *verifier) someLinks(ctx context.Context) ([]link, error) {
	rows, err := v.tx.QueryContext(ctx, fmt.Sprintf("FETCH %d FROM walk_links", streamPart))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var part []link
	for rows.Next() {
		var l link
		if err := rows.Scan(&l.ordinal, &l.journal, &l.form, &l.first, &l.last, &l.count, &l.hash); err != nil {
			return nil, err
		}
		part = append(part, l)
	}
	return part, rows.Err()
}

// walk is how far a chain was walked.
type walk struct {
	verdict *Verdict
	streams map[string]*stream
	hash    []byte
	orders  map[string]*replayedOrder
}

// link takes the rows that a link covers and computes its hash anew. After a
// difference it goes on from the hash that is stored, so that each is told once.
func (w *walk) link(ctx context.Context, l *link) error {
	w.verdict.Links++
	if l.ordinal != w.verdict.Links {
		w.verdict.differ("link %d follows link %d", l.ordinal, w.verdict.Links-1)
		w.verdict.Links = l.ordinal
	}
	s := w.streams[l.journal]
	if s == nil || l.form != form {
		w.verdict.differ("link %d covers %q in form %d, which this program does not know", l.ordinal, l.journal, l.form)
		w.hash = l.hash
		return nil
	}
	digest := sha256.New()
	digest.Write(w.hash)
	digest.Write(fmt.Appendf(nil, "%s/%d/%d/%d/%d\n", l.journal, l.form, l.first, l.last, l.count))
	var count int64
	for {
		row, err := s.next(ctx)
		if err != nil {
			return err
		}
		if row == nil || row.key > l.last {
			break
		}
		if count > 0 {
			digest.Write([]byte{'\n'})
		}
		digest.Write(row.text)
		count++
		w.replay(l.journal, row)
		s.ahead = s.ahead[1:]
	}
	w.verdict.Rows += count
	switch now := digest.Sum(nil); {
	case count != l.count:
		w.verdict.differ("link %d covers %d rows of %s from %d to %d, and there are %d", l.ordinal, l.count, l.journal, l.first, l.last, count)
	case !bytes.Equal(now, l.hash):
		w.verdict.differ("link %d: the rows of %s from %d to %d, or the link, are not what was written", l.ordinal, l.journal, l.first, l.last)
	}
	w.hash = l.hash
	return nil
}

// rest tells of rows behind the last link of their journal.
func (w *walk) rest(ctx context.Context, s *stream) error {
	for {
		row, err := s.next(ctx)
		if err != nil || row == nil {
			return err
		}
		w.verdict.differ("%s %d is covered by no link", s.name, row.key)
		w.replay(s.name, row)
		s.ahead = s.ahead[1:]
	}
}
