-- Orders that people ask for, so that asking twice never orders twice.

-- +goose Up
CREATE TABLE trading.requests (
    agent_uid   text NOT NULL REFERENCES trading.agents,
    key         text NOT NULL CHECK (key ~ '^[0-9a-f]{64}$'),
    pair        text NOT NULL,
    epoch       bigint NOT NULL,
    intents     uuid[] NOT NULL CHECK (cardinality(intents) > 0),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent_uid, key)
);
COMMENT ON TABLE trading.requests IS 'What people asked for that led to orders, by the idempotency key that they gave. Committed with the orders. Rows never change.';
COMMENT ON COLUMN trading.requests.agent_uid IS 'The agent that was asked.';
COMMENT ON COLUMN trading.requests.key IS 'SHA-256 of the idempotency key, in hexadecimal digits: what a client sends is stored nowhere.';
COMMENT ON COLUMN trading.requests.pair IS 'The pair whose position was to be closed.';
COMMENT ON COLUMN trading.requests.epoch IS 'Epoch of the process that was asked.';
COMMENT ON COLUMN trading.requests.intents IS 'Ids of the orders that follow from it.';
COMMENT ON COLUMN trading.requests.recorded_at IS 'When it was committed, in real time.';

CREATE TRIGGER requests_insert_only BEFORE UPDATE OR DELETE ON trading.requests FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER requests_no_truncate BEFORE TRUNCATE ON trading.requests EXECUTE FUNCTION trading.refuse_change();
