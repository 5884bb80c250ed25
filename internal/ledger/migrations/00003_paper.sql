-- The paper venue's own book. It stands for what a real exchange would keep, so
-- nothing here refers to the schema trading: each judges the other.

-- +goose Up
CREATE SCHEMA paper;
COMMENT ON SCHEMA paper IS 'The paper venue''s own book of orders and fills, as an exchange would keep it.';

CREATE TABLE paper.books (
    account   text NOT NULL,
    agent_uid text NOT NULL,
    orders    bigint NOT NULL DEFAULT 0 CHECK (orders >= 0),
    fills     bigint NOT NULL DEFAULT 0 CHECK (fills >= 0),
    PRIMARY KEY (account, agent_uid)
);
COMMENT ON TABLE paper.books IS 'One book an agent and account; its row is locked by every write, so that orders and fills have an order.';
COMMENT ON COLUMN paper.books.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN paper.books.agent_uid IS 'UID of the TradingAgent.';
COMMENT ON COLUMN paper.books.orders IS 'How many orders were accepted.';
COMMENT ON COLUMN paper.books.fills IS 'How many fills were made.';

CREATE TABLE paper.orders (
    account        text NOT NULL,
    agent_uid      text NOT NULL,
    id             uuid NOT NULL,
    ordinal        bigint NOT NULL,
    venue_order_id text NOT NULL,
    pair           text NOT NULL,
    side           text NOT NULL CHECK (side IN ('Buy', 'Sell')),
    quantity_lots  bigint NOT NULL CHECK (quantity_lots > 0),
    filled_lots    bigint NOT NULL CHECK (filled_lots >= 0),
    limit_ticks    bigint NOT NULL,
    reduce_only    boolean NOT NULL,
    state          text NOT NULL CHECK (state IN ('Acked', 'Filled', 'Cancelled', 'Rejected')),
    accepted_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, agent_uid, id),
    UNIQUE (account, agent_uid, ordinal),
    FOREIGN KEY (account, agent_uid) REFERENCES paper.books
);
CREATE INDEX orders_open ON paper.orders (account, agent_uid, ordinal) WHERE state = 'Acked';
COMMENT ON TABLE paper.orders IS 'Orders that the paper venue was sent.';
COMMENT ON COLUMN paper.orders.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN paper.orders.agent_uid IS 'UID of the TradingAgent.';
COMMENT ON COLUMN paper.orders.id IS 'The client order id.';
COMMENT ON COLUMN paper.orders.ordinal IS 'Order of acceptance within the book.';
COMMENT ON COLUMN paper.orders.venue_order_id IS 'The venue''s own id.';
COMMENT ON COLUMN paper.orders.pair IS 'The pair.';
COMMENT ON COLUMN paper.orders.side IS 'Buy or Sell.';
COMMENT ON COLUMN paper.orders.quantity_lots IS 'Quantity in lots.';
COMMENT ON COLUMN paper.orders.filled_lots IS 'Quantity filled, in lots.';
COMMENT ON COLUMN paper.orders.limit_ticks IS 'The worst acceptable price, in ticks.';
COMMENT ON COLUMN paper.orders.reduce_only IS 'Whether it must not enlarge or turn a position.';
COMMENT ON COLUMN paper.orders.state IS 'Acked, Filled, Cancelled or Rejected.';
COMMENT ON COLUMN paper.orders.accepted_at IS 'Market time of acceptance.';
COMMENT ON COLUMN paper.orders.recorded_at IS 'When it was accepted, in real time.';

CREATE TABLE paper.fills (
    account       text NOT NULL,
    agent_uid     text NOT NULL,
    ordinal       bigint NOT NULL,
    venue         text NOT NULL,
    trade_id      text NOT NULL CHECK (trade_id <> ''),
    order_id      uuid NOT NULL,
    pair          text NOT NULL,
    side          text NOT NULL CHECK (side IN ('Buy', 'Sell')),
    quantity_lots bigint NOT NULL CHECK (quantity_lots > 0),
    price_ticks   bigint NOT NULL,
    fee           numeric NOT NULL,
    fee_currency  text NOT NULL,
    market_time   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, agent_uid, ordinal),
    UNIQUE (account, agent_uid, trade_id),
    FOREIGN KEY (account, agent_uid, order_id) REFERENCES paper.orders
);
COMMENT ON TABLE paper.fills IS 'Executions at the paper venue.';
COMMENT ON COLUMN paper.fills.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN paper.fills.agent_uid IS 'UID of the TradingAgent.';
COMMENT ON COLUMN paper.fills.ordinal IS 'Order of execution within the book, without gaps.';
COMMENT ON COLUMN paper.fills.venue IS 'Name of the venue.';
COMMENT ON COLUMN paper.fills.trade_id IS 'The venue''s id of the execution.';
COMMENT ON COLUMN paper.fills.order_id IS 'The client order id.';
COMMENT ON COLUMN paper.fills.pair IS 'The pair.';
COMMENT ON COLUMN paper.fills.side IS 'Buy or Sell.';
COMMENT ON COLUMN paper.fills.quantity_lots IS 'Quantity in lots.';
COMMENT ON COLUMN paper.fills.price_ticks IS 'Price in ticks.';
COMMENT ON COLUMN paper.fills.fee IS 'Fee paid; negative is a rebate.';
COMMENT ON COLUMN paper.fills.fee_currency IS 'Currency of the fee.';
COMMENT ON COLUMN paper.fills.market_time IS 'Market time of the execution.';
COMMENT ON COLUMN paper.fills.recorded_at IS 'When it was made, in real time.';
