-- Journals only grow. What changes over time, such as the state of an order, is
-- worked out of them by triggers, so that who writes needs no right to change
-- anything.

-- +goose Up
CREATE TABLE trading.order_updates (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid      text NOT NULL REFERENCES trading.agents,
    order_id       uuid NOT NULL REFERENCES trading.intents,
    epoch          bigint NOT NULL,
    state          text NOT NULL CHECK (state IN ('Intended', 'Sent', 'Acked', 'Unknown', 'Filled', 'Cancelled', 'Rejected')),
    venue_order_id text NOT NULL,
    reason         text NOT NULL,
    market_time    timestamptz NOT NULL,
    happened_at    timestamptz,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX order_updates_by_agent ON trading.order_updates (agent_uid, id);
COMMENT ON TABLE trading.order_updates IS 'News of orders, fills apart. trading.orders is what they and the fills come to. Rows never change.';
COMMENT ON COLUMN trading.order_updates.id IS 'Order of commit within an agent.';
COMMENT ON COLUMN trading.order_updates.agent_uid IS 'The agent that the order belongs to.';
COMMENT ON COLUMN trading.order_updates.order_id IS 'The client order id.';
COMMENT ON COLUMN trading.order_updates.epoch IS 'Epoch of the process that learnt it.';
COMMENT ON COLUMN trading.order_updates.state IS 'Intended, Sent, Acked, Unknown, Filled, Cancelled or Rejected.';
COMMENT ON COLUMN trading.order_updates.venue_order_id IS 'The venue''s own id; empty if it was not told.';
COMMENT ON COLUMN trading.order_updates.reason IS 'Why it was rejected or cancelled, or is unknown; empty if there is nothing to say.';
COMMENT ON COLUMN trading.order_updates.market_time IS 'Market time of the news.';
COMMENT ON COLUMN trading.order_updates.happened_at IS 'When the process learnt it, in real time by its own clock; null if it did not say.';
COMMENT ON COLUMN trading.order_updates.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.epochs (
    agent_uid         text NOT NULL REFERENCES trading.agents,
    epoch             bigint NOT NULL,
    holder            text NOT NULL,
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent_uid, epoch)
);
COMMENT ON TABLE trading.epochs IS 'Every epoch that ever began, and on which server. Rows never change.';
COMMENT ON COLUMN trading.epochs.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.epochs.epoch IS 'The epoch.';
COMMENT ON COLUMN trading.epochs.holder IS 'UID of the pod that held it.';
COMMENT ON COLUMN trading.epochs.system_identifier IS 'Which database cluster it began on, as PostgreSQL numbers them.';
COMMENT ON COLUMN trading.epochs.timeline IS 'Timeline of that cluster: a fail-over or a restore begins a new one.';
COMMENT ON COLUMN trading.epochs.recorded_at IS 'When it began, in real time.';
CREATE TRIGGER epochs_insert_only BEFORE UPDATE OR DELETE ON trading.epochs FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER epochs_no_truncate BEFORE TRUNCATE ON trading.epochs EXECUTE FUNCTION trading.refuse_change();

CREATE TABLE trading.recoveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid   text NOT NULL REFERENCES trading.agents,
    kind        text NOT NULL CHECK (kind IN ('Forgot', 'Proven')),
    reason      text NOT NULL CHECK (reason <> ''),
    epoch       bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX recoveries_by_agent ON trading.recoveries (agent_uid, id);
COMMENT ON TABLE trading.recoveries IS 'When this database was found to have forgotten what it was told, or may have, and when the agent had proven all its open orders at the venue. Rows never change.';
COMMENT ON COLUMN trading.recoveries.id IS 'Order of commit.';
COMMENT ON COLUMN trading.recoveries.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.recoveries.kind IS 'Forgot, or Proven once the venue has been asked.';
COMMENT ON COLUMN trading.recoveries.reason IS 'How it was found, or what was proven.';
COMMENT ON COLUMN trading.recoveries.epoch IS 'Epoch of the agent at that time.';
COMMENT ON COLUMN trading.recoveries.recorded_at IS 'When it was committed, in real time.';
CREATE TRIGGER recoveries_insert_only BEFORE UPDATE OR DELETE ON trading.recoveries FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER recoveries_no_truncate BEFORE TRUNCATE ON trading.recoveries EXECUTE FUNCTION trading.refuse_change();

-- +goose StatementBegin
CREATE FUNCTION trading.record_epoch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.epochs (agent_uid, epoch, holder, system_identifier, timeline)
    SELECT NEW.agent_uid, NEW.epoch, NEW.holder, s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
      FROM pg_control_system() s;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.record_epoch() IS 'Writes down each epoch as it begins.';
CREATE TRIGGER leases_recorded AFTER INSERT OR UPDATE ON trading.leases FOR EACH ROW EXECUTE FUNCTION trading.record_epoch();

INSERT INTO trading.epochs (agent_uid, epoch, holder, system_identifier, timeline, recorded_at)
SELECT l.agent_uid, l.epoch, l.holder, s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, l.acquired_at
  FROM trading.leases l, pg_control_system() s;

-- What earlier schemas wrote over is told once more, as it stands.
INSERT INTO trading.order_updates (agent_uid, order_id, epoch, state, venue_order_id, reason, market_time, happened_at, recorded_at)
SELECT o.agent_uid, o.id, coalesce(o.sent_epoch, i.epoch), o.state, o.venue_order_id, o.reason, o.market_time, o.sent_at, o.recorded_at
  FROM trading.orders o JOIN trading.intents i ON i.id = o.id WHERE o.state <> 'Intended' ORDER BY i.ordinal;

ALTER TABLE trading.requests ADD COLUMN ordinal bigint GENERATED ALWAYS AS IDENTITY;
COMMENT ON COLUMN trading.requests.ordinal IS 'Order of commit within an agent.';

ALTER TABLE trading.fills ADD COLUMN opened_at timestamptz;
COMMENT ON COLUMN trading.fills.opened_at IS 'Market time at which the position was opened that the fill has left; null if it left none.';

ALTER TABLE trading.marks DROP CONSTRAINT marks_pkey;
ALTER TABLE trading.marks ADD PRIMARY KEY (ordinal);
CREATE INDEX marks_by_pair ON trading.marks (agent_uid, pair, market_time, ordinal);
COMMENT ON TABLE trading.marks IS 'The value of an agent at the end of each bar. A bar that was marked twice has two rows, of which the one of the greater ordinal holds. Rows never change.';

-- An agent's rows in the order of their commit, for those who check them.
DROP INDEX trading.postings_by_agent;
CREATE INDEX postings_by_agent ON trading.postings (agent_uid, id);
CREATE UNIQUE INDEX fills_by_transaction ON trading.fills (transaction_id);

-- +goose StatementBegin
CREATE FUNCTION trading.begin_orders() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.orders (id, agent_uid, pair, state, market_time, recorded_at)
    SELECT f.id, f.agent_uid, f.pair, 'Intended', f.market_time, f.recorded_at FROM fresh f;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.begin_orders() IS 'Begins the order of each new intent.';

-- +goose StatementBegin
CREATE FUNCTION trading.apply_update() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE trading.orders o
       SET state = NEW.state, market_time = NEW.market_time, recorded_at = NEW.recorded_at,
           venue_order_id = CASE WHEN NEW.venue_order_id = '' THEN o.venue_order_id ELSE NEW.venue_order_id END,
           reason = CASE WHEN NEW.reason = '' THEN o.reason ELSE NEW.reason END,
           sent_at = CASE WHEN NEW.state = 'Sent' THEN coalesce(o.sent_at, NEW.happened_at, NEW.recorded_at) ELSE o.sent_at END,
           sent_epoch = CASE WHEN NEW.state = 'Sent' THEN coalesce(o.sent_epoch, NEW.epoch) ELSE o.sent_epoch END
     WHERE o.id = NEW.order_id AND o.agent_uid = NEW.agent_uid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'agent % has no order %', NEW.agent_uid, NEW.order_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.apply_update() IS 'Makes an order what the news of it say.';

-- +goose StatementBegin
CREATE FUNCTION trading.apply_fill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE trading.orders o
       SET filled = o.filled + NEW.quantity, filled_lots = o.filled_lots + NEW.quantity_lots,
           late_lots = o.late_lots + CASE WHEN o.state IN ('Filled', 'Cancelled', 'Rejected') THEN NEW.quantity_lots ELSE 0 END,
           state = CASE WHEN o.state IN ('Filled', 'Cancelled', 'Rejected') THEN o.state
                        WHEN o.filled_lots + NEW.quantity_lots >= i.quantity_lots THEN 'Filled' ELSE 'Acked' END,
           market_time = NEW.market_time, recorded_at = NEW.recorded_at
      FROM trading.intents i
     WHERE o.id = NEW.order_id AND o.agent_uid = NEW.agent_uid AND i.id = o.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'agent % has no order %', NEW.agent_uid, NEW.order_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    UPDATE trading.claims c SET opened_at = NEW.opened_at
     WHERE c.account = NEW.account AND c.pair = NEW.pair AND c.agent_uid = NEW.agent_uid;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.apply_fill() IS 'Adds a fill to its order and to the claim of its pair. An order that has ended stays what it is and counts the fill as late.';

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION trading.sum_postings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    off record;
BEGIN
    SELECT f.transaction_id, f.agent_uid, f.currency, sum(f.amount) AS amount INTO off
      FROM fresh f GROUP BY f.transaction_id, f.agent_uid, f.currency HAVING sum(f.amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction %: the postings of agent % in % sum to %, not to zero',
            off.transaction_id, off.agent_uid, off.currency, off.amount USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO trading.balances AS b (agent_uid, ledger_account, pair, currency, amount)
    SELECT f.agent_uid, f.ledger_account, f.pair, f.currency, sum(f.amount)
      FROM fresh f GROUP BY f.agent_uid, f.ledger_account, f.pair, f.currency
        ON CONFLICT (agent_uid, ledger_account, pair, currency) DO UPDATE SET amount = b.amount + excluded.amount;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.sum_postings() IS 'Refuses postings that do not sum to zero, per transaction, agent and currency, within the statement that writes them, and keeps the balances.';

-- All postings of a transaction come in one statement, which is checked as it ends.
DROP TRIGGER postings_balanced ON trading.postings;
DROP FUNCTION trading.check_balanced();

CREATE TRIGGER intents_begin_orders AFTER INSERT ON trading.intents REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION trading.begin_orders();
CREATE TRIGGER order_updates_applied AFTER INSERT ON trading.order_updates FOR EACH ROW EXECUTE FUNCTION trading.apply_update();
CREATE TRIGGER fills_applied AFTER INSERT ON trading.fills FOR EACH ROW EXECUTE FUNCTION trading.apply_fill();

CREATE TRIGGER order_updates_insert_only BEFORE UPDATE OR DELETE ON trading.order_updates FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER order_updates_no_truncate BEFORE TRUNCATE ON trading.order_updates EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER marks_insert_only BEFORE UPDATE OR DELETE ON trading.marks FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER marks_no_truncate BEFORE TRUNCATE ON trading.marks EXECUTE FUNCTION trading.refuse_change();

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION trading.equity(agent_uid text, at timestamptz DEFAULT 'infinity') RETURNS numeric LANGUAGE sql STABLE AS $$
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
                ORDER BY marks.market_time DESC, marks.ordinal DESC LIMIT 1) m ON true
         WHERE b.ledger_account = 'assets:position' AND b.amount <> 0
    )
    SELECT trim_scale(
        coalesce((SELECT sum(b.amount) FROM booked b WHERE b.ledger_account = 'assets:cash' AND b.currency = a.currency), 0)
        + coalesce((SELECT sum(coalesce(h.value, (SELECT c.amount FROM booked c WHERE c.ledger_account = 'assets:cost' AND c.pair = h.pair), 0)) FROM held h), 0))
      FROM trading.agents a WHERE a.uid = $1
$$;
-- +goose StatementEnd
