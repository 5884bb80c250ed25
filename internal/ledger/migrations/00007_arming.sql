-- What the gate counts over restarts: stops, trades that lost, and who allowed an
-- agent to open positions again.

-- +goose Up
CREATE TABLE trading.arming (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid         text NOT NULL REFERENCES trading.agents,
    kind              text NOT NULL CHECK (kind IN ('Disarmed', 'Rearmed')),
    person            text NOT NULL CHECK ((person <> '') = (kind = 'Rearmed')),
    reason            text NOT NULL CHECK (reason <> ''),
    epoch             bigint NOT NULL,
    after_sequence    bigint NOT NULL,
    after_transaction bigint NOT NULL,
    market_time       timestamptz,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX arming_by_agent ON trading.arming (agent_uid, id);
COMMENT ON TABLE trading.arming IS 'When an agent stopped opening positions by itself, and who allowed it again and why. The newest row holds. Rows never change.';
COMMENT ON COLUMN trading.arming.id IS 'Order of commit.';
COMMENT ON COLUMN trading.arming.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.arming.kind IS 'Disarmed by the agent itself, or Rearmed by a person.';
COMMENT ON COLUMN trading.arming.person IS 'Who allowed it; empty where the agent stopped itself.';
COMMENT ON COLUMN trading.arming.reason IS 'Word of the limit, or why the person allowed it.';
COMMENT ON COLUMN trading.arming.epoch IS 'Epoch of the agent at that time.';
COMMENT ON COLUMN trading.arming.after_sequence IS 'The agent''s last sequence at that time: stops up to it count no more after a person has allowed trading.';
COMMENT ON COLUMN trading.arming.after_transaction IS 'The agent''s last transaction at that time: trades up to it count no more after a person has allowed trading.';
COMMENT ON COLUMN trading.arming.market_time IS 'Market time at which the agent stopped itself; null for a person.';
COMMENT ON COLUMN trading.arming.recorded_at IS 'When it was committed, in real time.';

CREATE TRIGGER arming_insert_only BEFORE UPDATE OR DELETE ON trading.arming FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER arming_no_truncate BEFORE TRUNCATE ON trading.arming EXECUTE FUNCTION trading.refuse_change();

CREATE INDEX intents_stops ON trading.intents (agent_uid, sequence) WHERE reason = 'Stop';

-- +goose StatementBegin
CREATE FUNCTION trading.trades(agent_uid text) RETURNS TABLE (pair text, trade bigint, result numeric, ended bigint)
LANGUAGE sql STABLE AS $$
    WITH moves AS (
        SELECT f.transaction_id, f.pair, CASE f.side WHEN 'Buy' THEN f.quantity ELSE -f.quantity END AS moved,
               f.realised - CASE WHEN f.fee_currency = a.currency THEN f.fee ELSE 0 END AS result
          FROM trading.fills f JOIN trading.agents a ON a.uid = f.agent_uid WHERE f.agent_uid = $1
        UNION ALL
        SELECT d.transaction_id, d.pair, d.quantity, 0 FROM trading.adoptions d WHERE d.agent_uid = $1
    ), held AS (
        SELECT m.*, sum(m.moved) OVER (PARTITION BY m.pair ORDER BY m.transaction_id) AS position FROM moves m
    ), marked AS (
        SELECT h.*, h.position - h.moved <> 0 AND sign(h.position) <> sign(h.position - h.moved) AS ends FROM held h
    ), numbered AS (
        SELECT m.*, count(*) FILTER (WHERE m.ends) OVER (PARTITION BY m.pair ORDER BY m.transaction_id)
                  - CASE WHEN m.ends THEN 1 ELSE 0 END AS trade
          FROM marked m
    )
    SELECT n.pair, n.trade, sum(n.result), max(n.transaction_id) FILTER (WHERE n.ends)
      FROM numbered n GROUP BY n.pair, n.trade
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.trades(text) IS 'The trades of an agent, each from flat to flat or to the other side: their pair, number, result after fees, and the transaction that ended them; null for one that is under way.';
