package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// nullStrings reads an array of texts that may be null.
type nullStrings []sql.NullString

// Scan implements sql.Scanner.
func (n *nullStrings) Scan(from any) error {
	*n = nil
	if from == nil {
		return nil
	}
	text, ok := from.(string)
	if !ok {
		return fmt.Errorf("an array was expected, not %T", from)
	}
	var array pgtype.FlatArray[pgtype.Text]
	if err := pgtype.NewMap().SQLScanner(&array).Scan(text); err != nil {
		return fmt.Errorf("reading an array: %w", err)
	}
	for _, item := range array {
		*n = append(*n, sql.NullString{String: item.String, Valid: item.Valid})
	}
	return nil
}

// replayedOrder is an order as intents, updates and fills make it.
type replayedOrder struct {
	quantity, filledLots, lateLots int64
	filled                         decimal.Decimal
	state                          order.State
	pair, venueOrderID, reason     string
	marketTime, recordedAt, sentAt string
	sentEpoch                      string
}

// replay applies a row to the order that it tells of.
func (w *walk) replay(journal string, row *chainRow) {
	if row.says == nil {
		return
	}
	says := func(i int) string { return row.says[i].String }
	number := func(i int) int64 {
		n, err := strconv.ParseInt(says(i), 10, 64)
		if err != nil {
			w.verdict.differ("%s %d: %v", journal, row.key, err)
		}
		return n
	}
	o := w.orders[says(0)]
	if journal == "intents" {
		w.orders[says(0)] = &replayedOrder{state: order.Intended, quantity: number(1), pair: says(2), marketTime: says(3), recordedAt: says(4)}
		return
	}
	if o == nil {
		w.verdict.differ("%s %d is of order %s, which was never intended", journal, row.key, says(0))
		return
	}
	switch journal {
	case "order_updates":
		o.update(order.State(says(1)), says(2), says(3))
		o.marketTime, o.recordedAt = says(4), says(5)
		if o.state == order.Sent && o.sentAt == "" {
			o.sentAt, o.sentEpoch = says(5), says(7)
			if row.says[6].Valid {
				o.sentAt = says(6)
			}
		}
	case "fills":
		lots := number(1)
		o.filledLots += lots
		if o.state.Final() {
			o.lateLots += lots
		}
		quantity, err := decimal.NewFromString(says(2))
		if err != nil {
			w.verdict.differ("%s %d: %v", journal, row.key, err)
		}
		o.filled = o.filled.Add(quantity)
		o.state = stateAfterFill(o.state, market.Quantity(o.filledLots), market.Quantity(o.quantity))
		o.marketTime, o.recordedAt = says(3), says(4)
	}
}

func (o *replayedOrder) update(state order.State, venueOrderID, reason string) {
	o.state = state
	if venueOrderID != "" {
		o.venueOrderID = venueOrderID
	}
	if reason != "" {
		o.reason = reason
	}
}

// orders compares the orders that were worked out with those that are stored.
func (v *verifier) orders(ctx context.Context, w *walk) error {
	rows, err := v.tx.QueryContext(ctx, `SELECT id::text, pair, state, venue_order_id, reason, filled::text, filled_lots, late_lots,
		market_time::text, recorded_at::text, coalesce(sent_at::text, ''), coalesce(sent_epoch::text, '') FROM trading.orders WHERE agent_uid = $1`, w.verdict.UID)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, filled string
		var o replayedOrder
		if err := rows.Scan(&id, &o.pair, &o.state, &o.venueOrderID, &o.reason, &filled, &o.filledLots, &o.lateLots,
			&o.marketTime, &o.recordedAt, &o.sentAt, &o.sentEpoch); err != nil {
			return err
		}
		if o.filled, err = decimal.NewFromString(filled); err != nil {
			return err
		}
		want := w.orders[id]
		if want == nil {
			w.verdict.differ("order %s was never intended", id)
			continue
		}
		delete(w.orders, id)
		o.quantity = want.quantity
		if !o.filled.Equal(want.filled) {
			w.verdict.differ("order %s: %s is filled, its fills come to %s", id, o.filled, want.filled)
		}
		o.filled = want.filled
		if o != *want {
			w.verdict.differ("order %s is stored as %s, its journals make it %s", id, o.brief(), want.brief())
		}
	}
	for id := range w.orders {
		w.verdict.differ("order %s was intended and is not stored", id)
	}
	return rows.Err()
}

func (o *replayedOrder) brief() string {
	return fmt.Sprintf("%s %s, %d lots filled, %d late, venue id %q, reason %q, sent %q by epoch %q, last news %s, recorded %s",
		o.pair, o.state, o.filledLots, o.lateLots, o.venueOrderID, o.reason, o.sentAt, o.sentEpoch, o.marketTime, o.recordedAt)
}

// proofs are statements about one agent that return a row for each difference.
var proofs = []struct{ what, statement string }{
	{"transaction %s does not sum to zero", `SELECT concat(transaction_id, ' in ', currency) FROM trading.postings
		WHERE agent_uid = $1 GROUP BY transaction_id, currency HAVING sum(amount) <> 0`},
	{"posting %s has no transaction of this agent", `SELECT p.id::text FROM trading.postings p
		LEFT JOIN trading.transactions t ON t.id = p.transaction_id WHERE p.agent_uid = $1 AND t.agent_uid IS DISTINCT FROM p.agent_uid`},
	{"the balance of %s is not the sum of its postings", `SELECT concat_ws(' ', ledger_account, pair, currency)
		FROM (SELECT ledger_account, pair, currency, amount FROM trading.balances WHERE agent_uid = $1) b
		FULL JOIN (SELECT ledger_account, pair, currency, sum(amount) AS amount FROM trading.postings WHERE agent_uid = $1 GROUP BY 1, 2, 3) p
		USING (ledger_account, pair, currency) WHERE b.amount IS DISTINCT FROM p.amount`},
	{"fill %s is not what its postings book", `SELECT f.trade_id FROM trading.fills f LEFT JOIN LATERAL (SELECT
			sum(p.amount) FILTER (WHERE p.ledger_account = 'assets:position' AND p.pair = f.pair) AS moved,
			sum(p.amount) FILTER (WHERE p.ledger_account IN ('assets:cost', 'income:realised') AND p.pair = f.pair) AS value,
			sum(p.amount) FILTER (WHERE p.ledger_account = 'income:realised' AND p.pair = f.pair) AS realised,
			sum(p.amount) FILTER (WHERE p.ledger_account = 'expenses:fees' AND p.pair = f.pair AND p.currency = f.fee_currency) AS fee
		FROM trading.postings p WHERE p.transaction_id = f.transaction_id AND p.agent_uid = f.agent_uid) b ON true
		WHERE f.agent_uid = $1 AND (coalesce(b.moved, 0) <> CASE f.side WHEN 'Buy' THEN f.quantity ELSE -f.quantity END - f.fee_quantity
			OR coalesce(b.value, 0) <> CASE f.side WHEN 'Buy' THEN f.value ELSE -f.value END
			OR coalesce(b.realised, 0) <> -f.realised OR coalesce(b.fee, 0) <> f.fee)`},
	{"the position in %s is not what fills and adoptions come to", `SELECT concat(pair, ': ', h.held, ' by postings, ', m.moved, ' by fills')
		FROM (SELECT pair, sum(amount) AS held FROM trading.postings WHERE agent_uid = $1 AND ledger_account = 'assets:position' GROUP BY pair) h
		FULL JOIN (SELECT pair, sum(moved) AS moved FROM (
			SELECT pair, CASE side WHEN 'Buy' THEN quantity ELSE -quantity END - fee_quantity AS moved FROM trading.fills WHERE agent_uid = $1
			UNION ALL SELECT pair, quantity FROM trading.adoptions WHERE agent_uid = $1
			UNION ALL SELECT pair, -quantity FROM trading.adoptions WHERE from_agent_uid = $1) x GROUP BY pair) m
		USING (pair) WHERE coalesce(h.held, 0) <> coalesce(m.moved, 0)`},
	{"the position in %s has no claim that says so", `SELECT p.pair FROM trading.positions p LEFT JOIN trading.claims c
		ON c.account = p.account AND c.pair = p.pair AND c.agent_uid = p.agent_uid WHERE p.agent_uid = $1 AND c.opened_at IS NULL`},
	{"the claim of %s is not what its newest fill says", `SELECT c.pair FROM trading.claims c JOIN LATERAL (SELECT f.opened_at FROM trading.fills f
			WHERE f.account = c.account AND f.pair = c.pair ORDER BY f.transaction_id DESC LIMIT 1) n ON true
		WHERE c.agent_uid = $1 AND n.opened_at IS NOT NULL AND c.opened_at IS DISTINCT FROM n.opened_at`},
	{"the lease is not the newest epoch: %s", `SELECT concat(l.epoch, ' of ', l.holder) FROM trading.leases l
		LEFT JOIN (SELECT epoch, holder FROM trading.epochs WHERE agent_uid = $1 ORDER BY epoch DESC LIMIT 1) e ON true
		WHERE l.agent_uid = $1 AND (l.epoch, l.holder) IS DISTINCT FROM (e.epoch, e.holder)`},
	{"what the agent must prove is not its newest recovery: %s", `SELECT c.forgot FROM trading.chains c WHERE c.agent_uid = $1 AND c.forgot <> coalesce(
		(SELECT CASE kind WHEN 'Forgot' THEN reason ELSE '' END FROM trading.recoveries WHERE agent_uid = $1 ORDER BY id DESC LIMIT 1), '')`},
	{"decision %s names an order that was not committed with it", `SELECT d.sequence::text FROM trading.decisions d, unnest(d.intents) AS n (id)
		WHERE d.agent_uid = $1 AND NOT EXISTS (SELECT FROM trading.intents i WHERE i.id = n.id AND i.agent_uid = d.agent_uid AND i.sequence = d.sequence)`},
}

// books proves positions, cash and balances from postings, and postings from fills.
func (v *verifier) books(ctx context.Context, verdict *Verdict) error {
	for _, proof := range proofs {
		found, err := v.texts(ctx, proof.statement, verdict.UID)
		if err != nil {
			return err
		}
		for _, what := range found {
			verdict.differ(proof.what, what)
		}
	}
	var err error
	if verdict.Positions, err = v.texts(ctx, `SELECT concat(pair, ' ', trim_scale(sum(amount))) FROM trading.postings
		WHERE agent_uid = $1 AND ledger_account = 'assets:position' GROUP BY pair HAVING sum(amount) <> 0 ORDER BY pair`, verdict.UID); err != nil {
		return err
	}
	verdict.Cash, err = v.texts(ctx, `SELECT concat(currency, ' ', trim_scale(sum(amount))) FROM trading.postings
		WHERE agent_uid = $1 AND ledger_account = 'assets:cash' GROUP BY currency HAVING sum(amount) <> 0 ORDER BY currency`, verdict.UID)
	return err
}

func (v *verifier) texts(ctx context.Context, statement, agentUID string) ([]string, error) {
	rows, err := v.tx.QueryContext(ctx, statement, agentUID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, rows.Err()
}
