package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// BookFill implements Ledger.
func (p *Postgres) BookFill(ctx context.Context, lease Lease, fill order.Fill) (bool, error) {
	// A repetition after a lost commit finds the fill that the first attempt
	// booked: it was new all the same.
	booked := false
	doing := fmt.Sprintf("booking fill %s of order %s", fill.TradeID, fill.OrderID)
	err := p.write(ctx, lease, doing, func(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
		fill, instrument, err := checkedFill(lease, fill)
		if err != nil {
			return err
		}
		known, err := knownFill(ctx, tx, fill)
		if err != nil || known {
			return err
		}
		before, err := orderAndPosition(ctx, tx, lease, fill, instrument)
		if err != nil {
			return err
		}
		result, err := execute(instrument, before.position, fill)
		if err != nil {
			return err
		}
		queueFill(batch, lease, instrument, fill, result, openedAt(before.openedAt, result, fill.MarketTime))
		state := stateAfterFill(before.State, before.Filled+fill.Quantity, before.Quantity)
		queueNews(batch, lease, NewsFill, fill.TradeID, fillNews(instrument, fill, state, before.State.Final()))
		// gofail: var fillPosted struct{}
		booked = true
		return nil
	})
	return booked && err == nil, err
}

// knownFill says whether a fill is booked already, and why a trade id cannot
// come again with another content.
func knownFill(ctx context.Context, tx pgx.Tx, fill order.Fill) (bool, error) {
	var known order.Fill
	err := tx.QueryRow(ctx, `SELECT order_id, pair, side, quantity_lots, price_ticks FROM trading.fills
		WHERE venue = $1 AND account = $2 AND trade_id = $3`, fill.Venue, fill.Account, fill.TradeID).
		Scan(&known.OrderID, &known.Pair, (*readSide)(&known.Side), &known.Quantity, &known.Price)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for fill %s: %w", fill.TradeID, err)
	}
	return true, sameFill(known, fill)
}

// standing is an order and the position of its pair before a fill.
type standing struct {
	Order
	position Position
	openedAt time.Time
}

func orderAndPosition(ctx context.Context, tx pgx.Tx, lease Lease, fill order.Fill, instrument market.Instrument) (standing, error) {
	var s standing
	var opened *time.Time
	err := tx.QueryRow(ctx, `SELECT i.id, i.pair, i.side, i.quantity_lots, o.state, o.filled_lots, c.opened_at,
			(coalesce(q.amount, 0) / $4::text::numeric)::bigint, (coalesce(v.amount, 0) * 100000000)::bigint
		FROM trading.intents i
		JOIN trading.orders o ON o.id = i.id
		JOIN trading.claims c ON c.account = i.account AND c.pair = i.pair AND c.agent_uid = i.agent_uid
		LEFT JOIN trading.balances q ON q.agent_uid = i.agent_uid AND q.ledger_account = 'assets:position' AND q.pair = i.pair AND q.currency = c.base
		LEFT JOIN trading.balances v ON v.agent_uid = i.agent_uid AND v.ledger_account = 'assets:cost' AND v.pair = i.pair AND v.currency = c.quote
		WHERE i.id = $1 AND i.agent_uid = $2 AND i.account = $3`,
		fill.OrderID, lease.Agent.UID, lease.Agent.Account, instrument.Lot.String()).
		Scan(&s.ID, &s.Pair, (*readSide)(&s.Side), &s.Quantity, &s.State, &s.Filled, &opened, &s.position.Quantity, &s.position.Cost)
	if errors.Is(err, pgx.ErrNoRows) {
		return standing{}, fmt.Errorf("fill %s of order %s: %w", fill.TradeID, fill.OrderID, ErrNoIntent)
	}
	if err != nil {
		return standing{}, fmt.Errorf("reading order %s: %w", fill.OrderID, err)
	}
	if opened != nil {
		s.openedAt = opened.UTC()
	}
	return s, matches(fill, s.Intent)
}

// queueFill queues the postings and the fill that they book.
func queueFill(batch *pgx.Batch, lease Lease, instrument market.Instrument, fill order.Fill, result execution, opened time.Time) {
	var postings postings
	postings.add("assets:position", fill.Pair, instrument.Base, instrument.QuantityDecimal(result.quantity-result.fee).String())
	postings.add("equity:exchange", fill.Pair, instrument.Base, instrument.QuantityDecimal(-result.quantity).String())
	postings.add("assets:cash", "", instrument.Quote, (-result.value).String())
	postings.add("assets:cost", fill.Pair, instrument.Quote, (result.value + result.realised).String())
	postings.add("income:realised", fill.Pair, instrument.Quote, (-result.realised).String())
	postings.add("expenses:fees", fill.Pair, fill.FeeCurrency, fill.Fee.String())
	if result.fee != 0 {
		postings.add("assets:cash", "", fill.FeeCurrency, result.change.String())
	} else {
		postings.add("assets:cash", "", fill.FeeCurrency, (-fill.Fee).String())
	}
	feeCurrency := fill.FeeCurrency
	if feeCurrency == "" {
		feeCurrency = instrument.Quote
	}
	batch.Queue(`WITH t AS (
			INSERT INTO trading.transactions (agent_uid, kind, epoch, market_time) VALUES ($1, 'Fill', $2, $3) RETURNING id
		), p AS (
			INSERT INTO trading.postings (transaction_id, agent_uid, ledger_account, pair, currency, amount)
			SELECT t.id, $1, u.ledger_account, u.pair, u.currency, u.amount::numeric
			FROM t, unnest($4::text[], $5::text[], $6::text[], $7::text[]) AS u (ledger_account, pair, currency, amount)
		)
		INSERT INTO trading.fills (venue, account, trade_id, order_id, agent_uid, epoch, pair, side, quantity, price, value, fee,
			fee_currency, realised, quantity_lots, price_ticks, fee_quantity, opened_at, transaction_id, market_time)
		SELECT $8, $9, $10, $11, $1, $2, $12, $13, $14::text::numeric, $15::text::numeric, $16::text::numeric, $17::text::numeric,
			$18, $19::text::numeric, $20, $21, $22::text::numeric, $23, t.id, $3 FROM t`,
		lease.Agent.UID, lease.Epoch, fill.MarketTime, postings.accounts, postings.pairs, postings.currencies, postings.amounts,
		fill.Venue, fill.Account, fill.TradeID, fill.OrderID, fill.Pair, side(fill.Side),
		instrument.QuantityDecimal(fill.Quantity).String(), instrument.PriceDecimal(fill.Price).String(),
		(result.value * market.Money(fill.Side)).String(), fill.Fee.String(), feeCurrency, result.realised.String(),
		fill.Quantity, fill.Price, instrument.QuantityDecimal(result.fee).String(), instant(opened))
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
func (p *Postgres) Holdings(ctx context.Context, lease Lease) (map[string]decimal.Decimal, error) {
	var held map[string]decimal.Decimal
	err := p.write(ctx, lease, "", func(ctx context.Context, tx pgx.Tx, _ *pgx.Batch) error {
		held = map[string]decimal.Decimal{}
		rows, err := tx.Query(ctx, `SELECT b.currency, sum(b.amount)::text FROM trading.balances b JOIN trading.agents a ON a.uid = b.agent_uid
			WHERE a.account = $1 AND b.ledger_account IN ('assets:position', 'assets:cash')
			GROUP BY b.currency HAVING sum(b.amount) <> 0`, lease.Agent.Account)
		if err != nil {
			return fmt.Errorf("summing the books of account %s: %w", lease.Agent.Account, err)
		}
		var currency string
		var amount decimal.Decimal
		_, err = pgx.ForEachRow(rows, []any{&currency, &amount}, func() error {
			held[currency] = amount
			return nil
		})
		if err != nil {
			return fmt.Errorf("summing the books of account %s: %w", lease.Agent.Account, err)
		}
		return nil
	})
	return held, err
}
