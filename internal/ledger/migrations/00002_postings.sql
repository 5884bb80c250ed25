-- Money: every movement is a transaction of postings that sum to zero in each
-- currency.

-- +goose Up
CREATE TABLE trading.transactions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid   text NOT NULL REFERENCES trading.agents,
    kind        text NOT NULL CHECK (kind IN ('Opening', 'Fill', 'Adoption')),
    epoch       bigint NOT NULL,
    market_time timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX transactions_by_agent ON trading.transactions (agent_uid, market_time);
CREATE UNIQUE INDEX transactions_one_opening ON trading.transactions (agent_uid) WHERE kind = 'Opening';
COMMENT ON TABLE trading.transactions IS 'Movements of an agent''s money and holdings. Rows never change.';
COMMENT ON COLUMN trading.transactions.id IS 'Order within an agent.';
COMMENT ON COLUMN trading.transactions.agent_uid IS 'The agent whose book is moved.';
COMMENT ON COLUMN trading.transactions.kind IS 'Opening, Fill or Adoption.';
COMMENT ON COLUMN trading.transactions.epoch IS 'Epoch of the process that booked it.';
COMMENT ON COLUMN trading.transactions.market_time IS 'Market time of the movement; an opening is before all market time.';
COMMENT ON COLUMN trading.transactions.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.postings (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id bigint NOT NULL REFERENCES trading.transactions,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    ledger_account text NOT NULL CHECK (ledger_account IN ('assets:cash', 'assets:cost', 'assets:position',
        'equity:opening', 'equity:exchange', 'income:realised', 'expenses:fees')),
    pair           text NOT NULL DEFAULT '',
    currency       text NOT NULL CHECK (currency <> ''),
    amount         numeric NOT NULL CHECK (amount <> 0 AND amount NOT IN ('NaN', 'Infinity', '-Infinity'))
);
CREATE INDEX postings_by_transaction ON trading.postings (transaction_id);
CREATE INDEX postings_by_agent ON trading.postings (agent_uid, ledger_account);
COMMENT ON TABLE trading.postings IS 'The two or more sides of each transaction. Positive is a debit. Rows never change.';
COMMENT ON COLUMN trading.postings.id IS 'Counts the postings.';
COMMENT ON COLUMN trading.postings.transaction_id IS 'The transaction; its postings sum to zero in each currency.';
COMMENT ON COLUMN trading.postings.agent_uid IS 'The agent whose book is moved.';
COMMENT ON COLUMN trading.postings.ledger_account IS 'assets:cash is money; assets:position is what is held of a pair, in its base currency, and assets:cost what was paid for it, at average cost; equity:opening is the balance that the agent was given; equity:exchange is the other side of assets:position; income:realised is the result of what was closed (negative is a gain); expenses:fees are fees paid (negative is a rebate).';
COMMENT ON COLUMN trading.postings.pair IS 'The pair; empty for assets:cash and equity:opening.';
COMMENT ON COLUMN trading.postings.currency IS 'Currency of the amount.';
COMMENT ON COLUMN trading.postings.amount IS 'Amount in whole units of the currency.';

CREATE TABLE trading.balances (
    agent_uid      text NOT NULL REFERENCES trading.agents,
    ledger_account text NOT NULL,
    pair           text NOT NULL,
    currency       text NOT NULL,
    amount         numeric NOT NULL,
    PRIMARY KEY (agent_uid, ledger_account, pair, currency)
);
COMMENT ON TABLE trading.balances IS 'Running sums of the postings, kept by a trigger.';
COMMENT ON COLUMN trading.balances.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.balances.ledger_account IS 'As in postings.';
COMMENT ON COLUMN trading.balances.pair IS 'As in postings.';
COMMENT ON COLUMN trading.balances.currency IS 'As in postings.';
COMMENT ON COLUMN trading.balances.amount IS 'Sum of the postings.';

CREATE TABLE trading.fills (
    venue          text NOT NULL,
    account        text NOT NULL,
    trade_id       text NOT NULL CHECK (trade_id <> ''),
    order_id       uuid NOT NULL REFERENCES trading.intents,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    epoch          bigint NOT NULL,
    pair           text NOT NULL,
    side           text NOT NULL CHECK (side IN ('Buy', 'Sell')),
    quantity       numeric NOT NULL CHECK (quantity > 0),
    price          numeric NOT NULL CHECK (price > 0),
    value          numeric NOT NULL CHECK (value >= 0),
    fee            numeric NOT NULL,
    fee_currency   text NOT NULL,
    realised       numeric NOT NULL,
    quantity_lots  bigint NOT NULL CHECK (quantity_lots > 0),
    price_ticks    bigint NOT NULL CHECK (price_ticks > 0),
    transaction_id bigint NOT NULL REFERENCES trading.transactions,
    market_time    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (venue, account, trade_id)
);
CREATE INDEX fills_by_agent ON trading.fills (agent_uid, market_time);
CREATE INDEX fills_by_order ON trading.fills (order_id);
COMMENT ON TABLE trading.fills IS 'Executions, each booked once. Rows never change.';
COMMENT ON COLUMN trading.fills.venue IS 'The venue.';
COMMENT ON COLUMN trading.fills.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN trading.fills.trade_id IS 'The venue''s id of the execution.';
COMMENT ON COLUMN trading.fills.order_id IS 'The client order id.';
COMMENT ON COLUMN trading.fills.agent_uid IS 'The agent that the order belongs to.';
COMMENT ON COLUMN trading.fills.epoch IS 'Epoch of the process that booked it.';
COMMENT ON COLUMN trading.fills.pair IS 'The pair.';
COMMENT ON COLUMN trading.fills.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.fills.quantity IS 'Quantity in the base currency.';
COMMENT ON COLUMN trading.fills.price IS 'Price in the quote currency.';
COMMENT ON COLUMN trading.fills.value IS 'Quantity times price in the quote currency, rounded half to even to 1e-8.';
COMMENT ON COLUMN trading.fills.fee IS 'Fee paid; negative is a rebate.';
COMMENT ON COLUMN trading.fills.fee_currency IS 'Currency of the fee.';
COMMENT ON COLUMN trading.fills.realised IS 'Gain or loss of what was closed, in the quote currency, before fees.';
COMMENT ON COLUMN trading.fills.quantity_lots IS 'Quantity in lots, as it was counted.';
COMMENT ON COLUMN trading.fills.price_ticks IS 'Price in ticks, as it was counted.';
COMMENT ON COLUMN trading.fills.transaction_id IS 'The transaction that booked it.';
COMMENT ON COLUMN trading.fills.market_time IS 'Market time of the execution.';
COMMENT ON COLUMN trading.fills.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.adoptions (
    transaction_id bigint PRIMARY KEY REFERENCES trading.transactions,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    from_agent_uid text NOT NULL REFERENCES trading.agents,
    epoch          bigint NOT NULL,
    pair           text NOT NULL,
    quantity       numeric NOT NULL,
    cost           numeric NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX adoptions_by_agent ON trading.adoptions (agent_uid, epoch);
COMMENT ON TABLE trading.adoptions IS 'Positions that a deleted agent left behind and the next agent that claimed the pair took over at cost. Rows never change.';
COMMENT ON COLUMN trading.adoptions.transaction_id IS 'The transaction in the book of the agent that adopts.';
COMMENT ON COLUMN trading.adoptions.agent_uid IS 'The agent that adopts.';
COMMENT ON COLUMN trading.adoptions.from_agent_uid IS 'The agent that left it.';
COMMENT ON COLUMN trading.adoptions.epoch IS 'Epoch of the agent that adopts.';
COMMENT ON COLUMN trading.adoptions.pair IS 'The pair.';
COMMENT ON COLUMN trading.adoptions.quantity IS 'Quantity in the base currency; negative is short.';
COMMENT ON COLUMN trading.adoptions.cost IS 'What it cost, paid from one book to the other.';
COMMENT ON COLUMN trading.adoptions.recorded_at IS 'When it was committed, in real time.';

-- +goose StatementBegin
CREATE FUNCTION trading.check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    off record;
BEGIN
    SELECT p.agent_uid, p.currency, sum(p.amount) AS amount INTO off
      FROM trading.postings p WHERE p.transaction_id = NEW.transaction_id
     GROUP BY p.agent_uid, p.currency HAVING sum(p.amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction %: the postings of agent % in % sum to %, not to zero',
            NEW.transaction_id, off.agent_uid, off.currency, off.amount USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.check_balanced() IS 'Refuses to commit a transaction whose postings do not sum to zero.';

-- +goose StatementBegin
CREATE FUNCTION trading.sum_postings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.balances AS b (agent_uid, ledger_account, pair, currency, amount)
    SELECT f.agent_uid, f.ledger_account, f.pair, f.currency, sum(f.amount)
      FROM fresh f GROUP BY f.agent_uid, f.ledger_account, f.pair, f.currency
        ON CONFLICT (agent_uid, ledger_account, pair, currency) DO UPDATE SET amount = b.amount + excluded.amount;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.sum_postings() IS 'Keeps the balances equal to the sums of the postings.';

CREATE CONSTRAINT TRIGGER postings_balanced AFTER INSERT ON trading.postings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trading.check_balanced();
CREATE TRIGGER postings_summed AFTER INSERT ON trading.postings REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION trading.sum_postings();
CREATE TRIGGER postings_insert_only BEFORE UPDATE OR DELETE ON trading.postings FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER postings_no_truncate BEFORE TRUNCATE ON trading.postings EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER transactions_insert_only BEFORE UPDATE OR DELETE ON trading.transactions FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER transactions_no_truncate BEFORE TRUNCATE ON trading.transactions EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER fills_insert_only BEFORE UPDATE OR DELETE ON trading.fills FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER fills_no_truncate BEFORE TRUNCATE ON trading.fills EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER adoptions_insert_only BEFORE UPDATE OR DELETE ON trading.adoptions FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER adoptions_no_truncate BEFORE TRUNCATE ON trading.adoptions EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER balances_by_trigger_only BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON trading.balances FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION trading.refuse_change();

CREATE VIEW trading.positions AS
SELECT a.uid AS agent_uid, a.namespace, a.name, a.account, p.pair,
       trim_scale(sum(p.amount) FILTER (WHERE p.ledger_account = 'assets:position')) AS quantity,
       trim_scale(coalesce(sum(p.amount) FILTER (WHERE p.ledger_account = 'assets:cost'), 0)) AS cost
  FROM trading.postings p JOIN trading.agents a ON a.uid = p.agent_uid
 WHERE p.ledger_account IN ('assets:position', 'assets:cost')
 GROUP BY a.uid, p.pair
HAVING sum(p.amount) FILTER (WHERE p.ledger_account = 'assets:position') <> 0;
COMMENT ON VIEW trading.positions IS 'What each agent holds, summed from the postings.';
COMMENT ON COLUMN trading.positions.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.positions.namespace IS 'Its namespace.';
COMMENT ON COLUMN trading.positions.name IS 'Its name.';
COMMENT ON COLUMN trading.positions.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN trading.positions.pair IS 'The pair.';
COMMENT ON COLUMN trading.positions.quantity IS 'Quantity in the base currency; negative is short.';
COMMENT ON COLUMN trading.positions.cost IS 'What was paid for it, in the quote currency, at average cost and without fees; negative for a short position.';

CREATE VIEW trading.cash AS
SELECT a.uid AS agent_uid, a.namespace, a.name, a.account, p.currency, trim_scale(sum(p.amount)) AS amount
  FROM trading.postings p JOIN trading.agents a ON a.uid = p.agent_uid
 WHERE p.ledger_account = 'assets:cash'
 GROUP BY a.uid, p.currency;
COMMENT ON VIEW trading.cash IS 'What each agent has of each currency, summed from the postings.';
COMMENT ON COLUMN trading.cash.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.cash.namespace IS 'Its namespace.';
COMMENT ON COLUMN trading.cash.name IS 'Its name.';
COMMENT ON COLUMN trading.cash.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN trading.cash.currency IS 'The currency.';
COMMENT ON COLUMN trading.cash.amount IS 'Amount in whole units.';

-- +goose StatementBegin
CREATE FUNCTION trading.round_money(amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN abs(amount - trunc(amount, 8)) = 0.000000005
                THEN round(amount * 50000000) * 0.00000002
                ELSE round(amount, 8) END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.round_money(numeric) IS 'Rounds half to even to 1e-8, as the agents do.';

-- +goose StatementBegin
CREATE FUNCTION trading.equity(agent_uid text, at timestamptz DEFAULT 'infinity') RETURNS numeric LANGUAGE sql STABLE AS $$
    WITH booked AS (
        SELECT p.ledger_account, p.pair, p.currency, sum(p.amount) AS amount
          FROM trading.postings p JOIN trading.transactions t ON t.id = p.transaction_id
         WHERE p.agent_uid = $1 AND t.market_time <= $2
         GROUP BY p.ledger_account, p.pair, p.currency
    ), held AS (
        SELECT trading.round_money(b.amount * m.price) AS value, b.pair
          FROM booked b LEFT JOIN LATERAL (
               SELECT price FROM trading.marks
                WHERE marks.agent_uid = $1 AND marks.pair = b.pair AND marks.market_time <= $2
                ORDER BY marks.market_time DESC LIMIT 1) m ON true
         WHERE b.ledger_account = 'assets:position' AND b.amount <> 0
    )
    SELECT trim_scale(
        coalesce((SELECT sum(b.amount) FROM booked b WHERE b.ledger_account = 'assets:cash' AND b.currency = a.currency), 0)
        + coalesce((SELECT sum(coalesce(h.value, (SELECT c.amount FROM booked c WHERE c.ledger_account = 'assets:cost' AND c.pair = h.pair), 0)) FROM held h), 0))
      FROM trading.agents a WHERE a.uid = $1
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.equity(text, timestamptz) IS 'What an agent is worth in its own currency by the ledger''s own sum: its cash, and its positions at the newest marks at or before the given market time (at cost where there is no mark). By default the newest of all; null for an unknown agent.';
