-- The desk's book of record. Words are checked here as well as in the program,
-- so that no other client can write what the program would not.

-- +goose Up
COMMENT ON SCHEMA trading IS 'The trading desk''s book of record: who may write, what was decided, what was ordered, what was filled, and what it is worth.';
COMMENT ON TABLE trading.migrations IS 'Which migrations were applied.';
COMMENT ON COLUMN trading.migrations.id IS 'Counts the rows.';
COMMENT ON COLUMN trading.migrations.version_id IS 'Version of the schema that the migration leads to.';
COMMENT ON COLUMN trading.migrations.is_applied IS 'Whether the migration was applied or taken back.';
COMMENT ON COLUMN trading.migrations.tstamp IS 'When.';

CREATE TABLE trading.agents (
    uid           text PRIMARY KEY CHECK (uid <> ''),
    namespace     text NOT NULL,
    name          text NOT NULL CHECK (name <> ''),
    account       text NOT NULL CHECK (account <> ''),
    venue         text NOT NULL CHECK (venue <> ''),
    currency      text NOT NULL CHECK (currency <> ''),
    released_at   timestamptz,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.agents IS 'Every trading agent that ever wrote here.';
COMMENT ON COLUMN trading.agents.uid IS 'UID of the TradingAgent object.';
COMMENT ON COLUMN trading.agents.namespace IS 'Namespace of the TradingAgent, for people.';
COMMENT ON COLUMN trading.agents.name IS 'Name of the TradingAgent, for people.';
COMMENT ON COLUMN trading.agents.account IS 'UID of the TradingAccount; it never changes.';
COMMENT ON COLUMN trading.agents.venue IS 'Venue of the account; it never changes.';
COMMENT ON COLUMN trading.agents.currency IS 'Currency that the agent''s book is kept in; it never changes.';
COMMENT ON COLUMN trading.agents.released_at IS 'When the agent was deleted and gave up its claims; null while it lives.';
COMMENT ON COLUMN trading.agents.recorded_at IS 'When the agent first came.';

CREATE TABLE trading.leases (
    agent_uid   text PRIMARY KEY REFERENCES trading.agents,
    epoch       bigint NOT NULL CHECK (epoch > 0),
    holder      text NOT NULL,
    acquired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.leases IS 'Which process may write for an agent. Every write locks the agent''s row, so none can pass a newer epoch.';
COMMENT ON COLUMN trading.leases.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.leases.epoch IS 'The current epoch; it only grows. A process of an older one writes nothing more.';
COMMENT ON COLUMN trading.leases.holder IS 'UID of the pod that holds the epoch.';
COMMENT ON COLUMN trading.leases.acquired_at IS 'When the epoch began.';

CREATE TABLE trading.claims (
    account    text NOT NULL,
    pair       text NOT NULL CHECK (pair <> ''),
    agent_uid  text NOT NULL REFERENCES trading.agents,
    base       text NOT NULL,
    quote      text NOT NULL,
    tick       numeric NOT NULL CHECK (tick > 0),
    lot        numeric NOT NULL CHECK (lot > 0),
    opened_at  timestamptz,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, pair)
);
CREATE INDEX claims_by_agent ON trading.claims (agent_uid);
COMMENT ON TABLE trading.claims IS 'Which agent trades a pair on an account: never two, so that every order, fill and position has one owner.';
COMMENT ON COLUMN trading.claims.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN trading.claims.pair IS 'Canonical name of the pair, such as BTC-USD.';
COMMENT ON COLUMN trading.claims.agent_uid IS 'The agent that trades it.';
COMMENT ON COLUMN trading.claims.base IS 'Base currency.';
COMMENT ON COLUMN trading.claims.quote IS 'Quote currency.';
COMMENT ON COLUMN trading.claims.tick IS 'Step of the price, in the quote currency.';
COMMENT ON COLUMN trading.claims.lot IS 'Step of the quantity, in the base currency.';
COMMENT ON COLUMN trading.claims.opened_at IS 'Market time at which the position that is held was opened; null while flat.';
COMMENT ON COLUMN trading.claims.claimed_at IS 'When the agent claimed the pair.';

CREATE TABLE trading.decisions (
    agent_uid   text NOT NULL REFERENCES trading.agents,
    sequence    bigint NOT NULL CHECK (sequence > 0),
    epoch       bigint NOT NULL,
    pair        text NOT NULL,
    bar_end     timestamptz NOT NULL,
    action      text NOT NULL CHECK (action IN ('Buy', 'Sell', 'Hold')),
    confidence  numeric(7, 6) NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    outcome     text NOT NULL CHECK (outcome <> ''),
    reasoning   json,
    intents     uuid[] NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent_uid, sequence),
    UNIQUE (agent_uid, pair, bar_end)
);
COMMENT ON TABLE trading.decisions IS 'What was ruled on each pair and bar, and why. Rows never change.';
COMMENT ON COLUMN trading.decisions.agent_uid IS 'The agent that decided.';
COMMENT ON COLUMN trading.decisions.sequence IS 'Counts the agent''s decisions and never restarts; order ids are made of it.';
COMMENT ON COLUMN trading.decisions.epoch IS 'Epoch of the process that decided.';
COMMENT ON COLUMN trading.decisions.pair IS 'The pair.';
COMMENT ON COLUMN trading.decisions.bar_end IS 'End of the bar that was decided on, in market time.';
COMMENT ON COLUMN trading.decisions.action IS 'Buy, Sell or Hold.';
COMMENT ON COLUMN trading.decisions.confidence IS 'Confidence as a fraction of 1.';
COMMENT ON COLUMN trading.decisions.outcome IS 'Ordered, or the reason why there was no order.';
COMMENT ON COLUMN trading.decisions.reasoning IS 'What bull, bear and judge said, as it was said.';
COMMENT ON COLUMN trading.decisions.intents IS 'Ids of the orders that follow from it.';
COMMENT ON COLUMN trading.decisions.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.intents (
    id             uuid PRIMARY KEY,
    ordinal        bigint GENERATED ALWAYS AS IDENTITY,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    account        text NOT NULL,
    sequence       bigint NOT NULL CHECK (sequence >= 0),
    leg            integer NOT NULL CHECK (leg >= 0),
    replacement    integer NOT NULL CHECK (replacement >= 0),
    epoch          bigint NOT NULL,
    pair           text NOT NULL,
    side           text NOT NULL CHECK (side IN ('Buy', 'Sell')),
    quantity       numeric NOT NULL CHECK (quantity > 0),
    limit_price    numeric NOT NULL CHECK (limit_price > 0),
    reduce_only    boolean NOT NULL,
    reserved       numeric NOT NULL CHECK (reserved >= 0),
    reason         text NOT NULL,
    quantity_lots  bigint NOT NULL CHECK (quantity_lots > 0),
    limit_ticks    bigint NOT NULL CHECK (limit_ticks > 0),
    market_time    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX intents_by_sequence ON trading.intents (agent_uid, sequence);
CREATE INDEX intents_by_time ON trading.intents (agent_uid, market_time) WHERE NOT reduce_only;
COMMENT ON TABLE trading.intents IS 'Orders as they were committed before their first byte was sent. Rows never change.';
COMMENT ON COLUMN trading.intents.id IS 'The client order id: made of account, agent, sequence, leg and replacement.';
COMMENT ON COLUMN trading.intents.ordinal IS 'Order of commit within an agent.';
COMMENT ON COLUMN trading.intents.agent_uid IS 'The agent that the order belongs to.';
COMMENT ON COLUMN trading.intents.account IS 'UID of the TradingAccount.';
COMMENT ON COLUMN trading.intents.sequence IS 'Sequence of the decision that it follows from.';
COMMENT ON COLUMN trading.intents.leg IS 'Which order of that decision.';
COMMENT ON COLUMN trading.intents.replacement IS 'Which replacement of that leg.';
COMMENT ON COLUMN trading.intents.epoch IS 'Epoch of the process that committed it.';
COMMENT ON COLUMN trading.intents.pair IS 'The pair.';
COMMENT ON COLUMN trading.intents.side IS 'Buy or Sell.';
COMMENT ON COLUMN trading.intents.quantity IS 'Quantity in the base currency.';
COMMENT ON COLUMN trading.intents.limit_price IS 'The worst acceptable price, in the quote currency.';
COMMENT ON COLUMN trading.intents.reduce_only IS 'Whether it must not enlarge or turn a position.';
COMMENT ON COLUMN trading.intents.reserved IS 'Exposure held for it while it is open, in the quote currency.';
COMMENT ON COLUMN trading.intents.reason IS 'Why it was made, such as Decision, Stop or Flatten.';
COMMENT ON COLUMN trading.intents.quantity_lots IS 'Quantity in lots, as it was counted.';
COMMENT ON COLUMN trading.intents.limit_ticks IS 'Limit in ticks, as it was counted.';
COMMENT ON COLUMN trading.intents.market_time IS 'Market time at which it was decided.';
COMMENT ON COLUMN trading.intents.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.orders (
    id             uuid PRIMARY KEY REFERENCES trading.intents,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    pair           text NOT NULL,
    state          text NOT NULL CHECK (state IN ('Intended', 'Sent', 'Acked', 'Unknown', 'Filled', 'Cancelled', 'Rejected')),
    venue_order_id text NOT NULL DEFAULT '',
    reason         text NOT NULL DEFAULT '',
    filled         numeric NOT NULL DEFAULT 0 CHECK (filled >= 0),
    filled_lots    bigint NOT NULL DEFAULT 0 CHECK (filled_lots >= 0),
    market_time    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX orders_open ON trading.orders (agent_uid, pair) WHERE state NOT IN ('Filled', 'Cancelled', 'Rejected');
COMMENT ON TABLE trading.orders IS 'What became of each intent. Filled, Cancelled and Rejected never change again.';
COMMENT ON COLUMN trading.orders.id IS 'The client order id.';
COMMENT ON COLUMN trading.orders.agent_uid IS 'The agent that the order belongs to.';
COMMENT ON COLUMN trading.orders.pair IS 'The pair.';
COMMENT ON COLUMN trading.orders.state IS 'Intended, Sent, Acked, Unknown, Filled, Cancelled or Rejected.';
COMMENT ON COLUMN trading.orders.venue_order_id IS 'The venue''s own id; empty until it is known.';
COMMENT ON COLUMN trading.orders.reason IS 'Why it was rejected or cancelled, or is unknown.';
COMMENT ON COLUMN trading.orders.filled IS 'Quantity filled, in the base currency.';
COMMENT ON COLUMN trading.orders.filled_lots IS 'Quantity filled, in lots.';
COMMENT ON COLUMN trading.orders.market_time IS 'Market time of the last news.';
COMMENT ON COLUMN trading.orders.recorded_at IS 'When the last news was committed, in real time.';

CREATE TABLE trading.marks (
    agent_uid        text NOT NULL REFERENCES trading.agents,
    pair             text NOT NULL,
    market_time      timestamptz NOT NULL,
    ordinal          bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    epoch            bigint NOT NULL,
    price            numeric NOT NULL CHECK (price > 0),
    equity           numeric NOT NULL,
    peak_equity      numeric NOT NULL,
    day_start        timestamptz NOT NULL,
    day_start_equity numeric NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent_uid, pair, market_time)
);
CREATE INDEX marks_by_time ON trading.marks (agent_uid, market_time, ordinal);
COMMENT ON TABLE trading.marks IS 'The value of an agent at the end of each bar.';
COMMENT ON COLUMN trading.marks.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.marks.pair IS 'The pair whose bar ended.';
COMMENT ON COLUMN trading.marks.market_time IS 'End of the bar.';
COMMENT ON COLUMN trading.marks.ordinal IS 'Order of recording: among marks of one market time the greatest is the newest.';
COMMENT ON COLUMN trading.marks.epoch IS 'Epoch of the process that marked.';
COMMENT ON COLUMN trading.marks.price IS 'Close of the bar, in the quote currency.';
COMMENT ON COLUMN trading.marks.equity IS 'Cash and positions at their last prices, as the agent reckoned it.';
COMMENT ON COLUMN trading.marks.peak_equity IS 'The highest equity ever.';
COMMENT ON COLUMN trading.marks.day_start IS 'Beginning of the trading day, in market time.';
COMMENT ON COLUMN trading.marks.day_start_equity IS 'Equity at the beginning of the trading day.';
COMMENT ON COLUMN trading.marks.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid    text NOT NULL REFERENCES trading.agents,
    topic        text NOT NULL CHECK (topic IN ('Decision', 'Order', 'Fill')),
    key          text NOT NULL,
    payload      jsonb NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz
);
CREATE INDEX outbox_waiting ON trading.outbox (id) WHERE delivered_at IS NULL;
COMMENT ON TABLE trading.outbox IS 'News committed with what it tells of, for those who listen.';
COMMENT ON COLUMN trading.outbox.id IS 'Order of the news within an agent.';
COMMENT ON COLUMN trading.outbox.agent_uid IS 'The agent that it is about.';
COMMENT ON COLUMN trading.outbox.topic IS 'Decision, Order or Fill.';
COMMENT ON COLUMN trading.outbox.key IS 'Sequence of the decision, id of the order or trade id of the fill.';
COMMENT ON COLUMN trading.outbox.payload IS 'The news.';
COMMENT ON COLUMN trading.outbox.recorded_at IS 'When it was committed, in real time.';
COMMENT ON COLUMN trading.outbox.delivered_at IS 'When it was delivered; null until then.';

-- +goose StatementBegin
CREATE FUNCTION trading.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of %.% never change: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.refuse_change() IS 'Keeps a table insert-only.';

-- +goose StatementBegin
CREATE FUNCTION trading.check_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('Filled', 'Cancelled', 'Rejected') AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'order % is %, which is final: it cannot become %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.filled_lots < OLD.filled_lots OR NEW.filled < OLD.filled OR NEW.id <> OLD.id OR NEW.agent_uid <> OLD.agent_uid THEN
        RAISE EXCEPTION 'order %: what is filled never shrinks and its owner never changes', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.check_order() IS 'Keeps final states final.';

-- +goose StatementBegin
CREATE FUNCTION trading.check_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch <= OLD.epoch THEN
        RAISE EXCEPTION 'agent %: epoch % cannot follow epoch %', OLD.agent_uid, NEW.epoch, OLD.epoch
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.check_lease() IS 'Lets an epoch only grow.';

CREATE TRIGGER decisions_insert_only BEFORE UPDATE OR DELETE ON trading.decisions FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER decisions_no_truncate BEFORE TRUNCATE ON trading.decisions EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER intents_insert_only BEFORE UPDATE OR DELETE ON trading.intents FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER intents_no_truncate BEFORE TRUNCATE ON trading.intents EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER orders_checked BEFORE UPDATE ON trading.orders FOR EACH ROW EXECUTE FUNCTION trading.check_order();
CREATE TRIGGER orders_no_delete BEFORE DELETE ON trading.orders FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER orders_no_truncate BEFORE TRUNCATE ON trading.orders EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER leases_checked BEFORE UPDATE ON trading.leases FOR EACH ROW EXECUTE FUNCTION trading.check_lease();
CREATE TRIGGER leases_no_delete BEFORE DELETE ON trading.leases FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER leases_no_truncate BEFORE TRUNCATE ON trading.leases EXECUTE FUNCTION trading.refuse_change();
