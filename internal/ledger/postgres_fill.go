package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// mostFills is how many fills are booked in one transaction at most.
const mostFills = 1000

// BookFill implements Ledger.
func (p *Postgres) BookFill(ctx context.Context, lease Lease, fill order.Fill) (bool, error) {
	booked, err := p.BookFills(ctx, lease, []order.Fill{fill})
	return err == nil && booked[0], err
}

// BookFills books fills in their order and in one transaction, all or none, and
// reports which of them were new. One commit for a page of fills is what makes many
// of them cheap. At most a thousand at once.
func (p *Postgres) BookFills(ctx context.Context, lease Lease, fills []order.Fill) ([]bool, error) {
	if len(fills) > mostFills {
		return nil, fmt.Errorf("booking %d fills: at most %d go into one transaction", len(fills), mostFills)
	}
	// A repetition after a lost commit finds the fills that the first attempt
	// booked: they were new all the same.
	booked := make([]bool, len(fills))
	doing := "booking fills"
	if len(fills) > 0 {
		doing = fmt.Sprintf("booking fill %s of order %s", fills[0].TradeID, fills[0].OrderID)
	}
	err := p.write(ctx, lease, step{doing: doing, write: func(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
		checked := make([]order.Fill, len(fills))
		for i := range fills {
			var err error
			if checked[i], _, err = checkedFill(lease, fills[i]); err != nil {
				return err
			}
		}
		known, err := knownFills(ctx, tx, lease, checked)
		if err != nil {
			return err
		}
		standings, err := readStandings(ctx, tx, lease, checked, known)
		if err != nil {
			return err
		}
		var columns fillColumns
		for i := range checked {
			fill := checked[i]
			if before, ok := known[fill.TradeID]; ok {
				if err := sameFill(before, fill); err != nil {
					return err
				}
				continue
			}
			if err := columns.add(lease, standings, fill); err != nil {
				return err
			}
			known[fill.TradeID] = fill
			booked[i] = true
		}
		columns.queue(batch, lease)
		// gofail: var fillPosted struct{}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return booked, nil
}

// knownFills are those of the fills that are booked already, by trade id.
func knownFills(ctx context.Context, tx pgx.Tx, lease Lease, fills []order.Fill) (map[string]order.Fill, error) {
	ids := make([]string, len(fills))
	for i := range fills {
		ids[i] = fills[i].TradeID
	}
	rows, err := tx.Query(ctx, `SELECT trade_id, order_id, pair, side, quantity_lots, price_ticks FROM trading.fills
		WHERE venue = $1 AND account = $2 AND trade_id = ANY ($3)`, lease.Agent.Venue, lease.Agent.Account, ids)
	if err != nil {
		return nil, fmt.Errorf("looking for fills: %w", err)
	}
	found := make(map[string]order.Fill, len(fills))
	var known order.Fill
	_, err = pgx.ForEachRow(rows, []any{&known.TradeID, &known.OrderID, &known.Pair, (*readSide)(&known.Side), &known.Quantity, &known.Price}, func() error {
		found[known.TradeID] = known
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for fills: %w", err)
	}
	return found, nil
}

// holdingOf is what is held of a pair, and since when.
type holdingOf struct {
	position Position
	openedAt time.Time
}

// standings are the orders of fills and the positions of their pairs, as the fills
// that were added so far have left them.
type standings struct {
	orders map[uuid.UUID]*Order
	pairs  map[string]*holdingOf
}

// changeOf is Position.Change of a claim c. Postings sum to zero in each currency, so
// it is what the pair's own postings in its base currency lack to that: fees in this
// currency from other pairs are cash as well, and no change of this one.
const changeOf = `coalesce((SELECT floor(-sum(b.amount) * 100000000)::bigint FROM trading.balances b
		WHERE b.agent_uid = c.agent_uid AND b.pair = c.pair AND b.currency = c.base
			AND b.ledger_account IN ('assets:position', 'equity:exchange', 'expenses:fees')), 0)`

func readStandings(ctx context.Context, tx pgx.Tx, lease Lease, fills []order.Fill, known map[string]order.Fill) (standings, error) {
	found := standings{orders: map[uuid.UUID]*Order{}, pairs: map[string]*holdingOf{}}
	var ids []uuid.UUID
	for i := range fills {
		if _, ok := known[fills[i].TradeID]; !ok {
			ids = append(ids, fills[i].OrderID)
		}
	}
	if len(ids) == 0 {
		return found, nil
	}
	rows, err := tx.Query(ctx, `SELECT i.id, i.pair, i.side, i.quantity_lots, o.state, o.filled_lots, c.opened_at,
			(coalesce(q.amount, 0) / c.lot)::bigint, (coalesce(v.amount, 0) * 100000000)::bigint, `+changeOf+`
		FROM trading.intents i
		JOIN trading.orders o ON o.id = i.id
		JOIN trading.claims c ON c.account = i.account AND c.pair = i.pair AND c.agent_uid = i.agent_uid
		LEFT JOIN trading.balances q ON q.agent_uid = i.agent_uid AND q.ledger_account = 'assets:position' AND q.pair = i.pair AND q.currency = c.base
		LEFT JOIN trading.balances v ON v.agent_uid = i.agent_uid AND v.ledger_account = 'assets:cost' AND v.pair = i.pair AND v.currency = c.quote
		WHERE i.id = ANY ($1) AND i.agent_uid = $2 AND i.account = $3`, ids, lease.Agent.UID, lease.Agent.Account)
	if err != nil {
		return found, fmt.Errorf("reading the orders of fills: %w", err)
	}
	var o Order
	var h holdingOf
	fields := []any{&o.ID, &o.Pair, (*readSide)(&o.Side), &o.Quantity, &o.State, &o.Filled, (*utcInstant)(&h.openedAt), &h.position.Quantity, &h.position.Cost, &h.position.Change}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		found.orders[o.ID] = new(o)
		found.pairs[o.Pair] = new(h)
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("reading the orders of fills: %w", err)
	}
	return found, nil
}

// fillColumns are the columns of what new fills add to the journals. Postings name
// their fill by its place among them.
type fillColumns struct {
	postings

	postingFills []int32

	tradeIDs, pairs, sides, quantities, prices, values, fees, feeCurrencies, realised, feeQuantities []string
	orderIDs                                                                                         []uuid.UUID
	lots, ticks                                                                                      []int64
	marketTimes                                                                                      []time.Time
	openedAt                                                                                         []*time.Time
	news                                                                                             []string
}

// add works a fill out and moves its order and position on.
func (c *fillColumns) add(lease Lease, now standings, fill order.Fill) error {
	instrument, err := lease.Agent.instrument(fill.Pair)
	if err != nil {
		return fmt.Errorf("fill %s: %w", fill.TradeID, err)
	}
	o, held := now.orders[fill.OrderID], now.pairs[fill.Pair]
	if o == nil {
		return fmt.Errorf("fill %s of order %s: %w", fill.TradeID, fill.OrderID, ErrNoIntent)
	}
	if err := matches(fill, o.Intent); err != nil {
		return err
	}
	result, err := execute(instrument, held.position, fill)
	if err != nil {
		return err
	}
	late := o.State.Final()
	o.Filled += fill.Quantity
	o.State = stateAfterFill(o.State, o.Filled, o.Quantity)
	held.position, held.openedAt = result.position, openedAt(held.openedAt, result, fill.MarketTime)
	news, err := json.Marshal(fillNews(instrument, fill, o.State, late))
	if err != nil {
		return fmt.Errorf("telling of fill %s: %w", fill.TradeID, err)
	}
	before := len(c.accounts)
	c.post(instrument, fill, result)
	for range len(c.accounts) - before {
		c.postingFills = append(c.postingFills, int32(len(c.tradeIDs)+1)) //nolint:gosec // At most mostFills.
	}
	word, err := side(fill.Side).MarshalText()
	if err != nil {
		return fmt.Errorf("fill %s: %w", fill.TradeID, err)
	}
	c.tradeIDs, c.orderIDs, c.pairs, c.sides = append(c.tradeIDs, fill.TradeID), append(c.orderIDs, fill.OrderID), append(c.pairs, fill.Pair), append(c.sides, string(word))
	c.quantities = append(c.quantities, instrument.QuantityDecimal(fill.Quantity).String())
	c.prices = append(c.prices, instrument.PriceDecimal(fill.Price).String())
	c.values = append(c.values, (result.value * market.Money(fill.Side)).String())
	c.fees, c.feeCurrencies = append(c.fees, fill.Fee.String()), append(c.feeCurrencies, cmp.Or(fill.FeeCurrency, instrument.Quote))
	c.realised = append(c.realised, result.realised.String())
	c.feeQuantities = append(c.feeQuantities, instrument.QuantityDecimal(result.fee).String())
	c.lots, c.ticks = append(c.lots, int64(fill.Quantity)), append(c.ticks, int64(fill.Price))
	c.marketTimes, c.openedAt = append(c.marketTimes, fill.MarketTime), append(c.openedAt, instant(held.openedAt))
	c.news = append(c.news, string(news))
	return nil
}

// post adds the postings of one fill.
func (p *postings) post(instrument market.Instrument, fill order.Fill, result execution) {
	p.add("assets:position", fill.Pair, instrument.Base, instrument.QuantityDecimal(result.quantity-result.fee).String())
	p.add("equity:exchange", fill.Pair, instrument.Base, instrument.QuantityDecimal(-result.quantity).String())
	p.add("assets:cash", "", instrument.Quote, (-result.value).String())
	p.add("assets:cost", fill.Pair, instrument.Quote, (result.value + result.realised).String())
	p.add("income:realised", fill.Pair, instrument.Quote, (-result.realised).String())
	p.add("expenses:fees", fill.Pair, fill.FeeCurrency, fill.Fee.String())
	p.add("assets:cash", "", fill.FeeCurrency, instrument.QuantityDecimal(result.fee).Sub(fill.Fee.Decimal()).String())
}

// queue queues everything in one statement for each kind, so that each kind adds
// one link to the chain. Transactions are numbered in the order of the fills.
func (c *fillColumns) queue(batch *pgx.Batch, lease Lease) {
	if len(c.tradeIDs) == 0 {
		return
	}
	batch.Queue(`WITH t AS (
			INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time)
			SELECT $1, 'Fill', $2, u.market_time FROM unnest($3::timestamptz[]) WITH ORDINALITY AS u (market_time, n) ORDER BY u.n RETURNING id
		), m AS (
			SELECT t.id, row_number() OVER (ORDER BY t.id) AS n FROM t
		), p AS (
			INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
			SELECT m.id, $1, u.ledger_account, u.pair, u.currency, u.amount::numeric
			FROM unnest($4::int[], $5::text[], $6::text[], $7::text[], $8::text[]) WITH ORDINALITY AS u (n, ledger_account, pair, currency, amount, line)
			JOIN m ON m.n = u.n ORDER BY u.line
		)
		INSERT INTO trading.fills (venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price, value, fee,
			fee_currency, realised, quantity_lots, price_ticks, fee_quantity, opened_at, transaction_id, market_time)
		SELECT $9, $10, u.trade_id, u.order_id, $1, $2, u.pair, u.side, u.quantity::numeric, u.price::numeric, u.value::numeric, u.fee::numeric,
			u.fee_currency, u.realised::numeric, u.lots, u.ticks, u.fee_quantity::numeric, u.opened_at, m.id, u.market_time
		FROM unnest($11::text[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],
			$21::bigint[], $22::bigint[], $23::text[], $24::timestamptz[], $3::timestamptz[]) WITH ORDINALITY
			AS u (trade_id, order_id, pair, side, quantity, price, value, fee, fee_currency, realised, lots, ticks, fee_quantity, opened_at, market_time, n)
		JOIN m ON m.n = u.n ORDER BY u.n`,
		lease.Agent.UID, lease.Epoch, c.marketTimes, c.postingFills, c.accounts, c.postings.pairs, c.currencies, c.amounts,
		lease.Agent.Venue, lease.Agent.Account, c.tradeIDs, c.orderIDs, c.pairs, c.sides, c.quantities, c.prices, c.values, c.fees,
		c.feeCurrencies, c.realised, c.lots, c.ticks, c.feeQuantities, c.openedAt)
	batch.Queue(`INSERT INTO trading.outbox (agent_uid, topic, key, payload)
		SELECT $1, 'Fill', u.key, u.payload::jsonb FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u (key, payload, n) ORDER BY u.n`,
		lease.Agent.UID, c.tradeIDs, c.news)
}

// postings are the columns of one transaction's postings.
type postings struct {
	accounts, pairs, currencies, amounts []string
}

// add adds a posting unless its amount is zero.
func (p *postings) add(account, pair, currency, amount string) {
	if amount == "0" {
		return
	}
	p.accounts = append(p.accounts, account)
	p.pairs = append(p.pairs, pair)
	p.currencies = append(p.currencies, currency)
	p.amounts = append(p.amounts, amount)
}

// negated is the other side of an amount.
func negated(amount string) string {
	if amount[0] == '-' {
		return amount[1:]
	}
	return "-" + amount
}

// Holdings implements Ledger.
func (p *Postgres) Holdings(ctx context.Context, lease Lease) (map[string]Holding, error) {
	var held map[string]Holding
	err := p.write(ctx, lease, step{write: func(ctx context.Context, tx pgx.Tx, _ *pgx.Batch) error {
		held = map[string]Holding{}
		rows, err := tx.Query(ctx, `SELECT currency, sum(booked)::text, sum(pending)::text FROM (
			SELECT b.currency, b.amount AS booked, 0 AS pending FROM trading.balances b JOIN trading.agents a ON a.uid = b.agent_uid
			WHERE a.account = $1 AND b.ledger_account IN ('assets:position', 'assets:cash')
			UNION ALL
			SELECT CASE i.side WHEN 'Buy' THEN c.quote ELSE c.base END, 0,
				(i.quantity - o.filled) * CASE i.side WHEN 'Buy' THEN i.limit_price * (1 + $3::numeric) ELSE 1 END
			FROM trading.orders o JOIN trading.intents i ON i.id = o.id JOIN trading.claims c ON c.account = i.account AND c.pair = i.pair
			WHERE i.account = $1 AND i.agent_uid <> $2 AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected')) every
			GROUP BY currency HAVING sum(booked) <> 0`, lease.Agent.Account, lease.Agent.UID, feeMargin.String())
		if err != nil {
			return fmt.Errorf("summing the books of account %s: %w", lease.Agent.Account, err)
		}
		var currency string
		var holding Holding
		_, err = pgx.ForEachRow(rows, []any{&currency, &holding.Booked, &holding.Pending}, func() error {
			held[currency] = holding
			return nil
		})
		if err != nil {
			return fmt.Errorf("summing the books of account %s: %w", lease.Agent.Account, err)
		}
		return nil
	}})
	return held, err
}
