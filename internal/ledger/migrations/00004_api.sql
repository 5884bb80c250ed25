-- What was done with the keys of the agents' HTTP APIs.

-- +goose Up
CREATE TABLE trading.api_uses (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_uid   text NOT NULL REFERENCES trading.agents,
    request     uuid NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('Begun', 'Done', 'Forbidden')),
    key_id      text NOT NULL CHECK (key_id <> ''),
    key_name    text NOT NULL,
    scope       text NOT NULL CHECK (scope IN ('trade', 'admin')),
    method      text NOT NULL,
    path        text NOT NULL CHECK (position('?' IN path) = 0),
    status      integer CHECK (status BETWEEN 100 AND 599),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (request, outcome),
    CHECK ((outcome = 'Begun') = (status IS NULL))
);
CREATE INDEX api_uses_by_agent ON trading.api_uses (agent_uid, id);
COMMENT ON TABLE trading.api_uses IS 'Every request that asked for more than reading. Begun is committed before it is carried out, Done after it was answered. Rows never change.';
COMMENT ON COLUMN trading.api_uses.id IS 'Order of arrival in the ledger.';
COMMENT ON COLUMN trading.api_uses.agent_uid IS 'The agent that was asked.';
COMMENT ON COLUMN trading.api_uses.request IS 'Tells which Done belongs to which Begun.';
COMMENT ON COLUMN trading.api_uses.outcome IS 'Begun, Done, or Forbidden for a key whose scope does not suffice.';
COMMENT ON COLUMN trading.api_uses.key_id IS 'Id of the key; the key itself is nowhere.';
COMMENT ON COLUMN trading.api_uses.key_name IS 'Name that the key had.';
COMMENT ON COLUMN trading.api_uses.scope IS 'Scope that the request asked for.';
COMMENT ON COLUMN trading.api_uses.method IS 'HTTP method.';
COMMENT ON COLUMN trading.api_uses.path IS 'Path without the query.';
COMMENT ON COLUMN trading.api_uses.status IS 'HTTP status of the answer; null for Begun.';
COMMENT ON COLUMN trading.api_uses.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.api_keys (
    agent_uid text NOT NULL REFERENCES trading.agents,
    key_id    text NOT NULL CHECK (key_id <> ''),
    used_at   timestamptz NOT NULL,
    PRIMARY KEY (agent_uid, key_id)
);
COMMENT ON TABLE trading.api_keys IS 'When each API key was last used, to the minute.';
COMMENT ON COLUMN trading.api_keys.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.api_keys.key_id IS 'Id of the key.';
COMMENT ON COLUMN trading.api_keys.used_at IS 'Its last use, in real time; it only moves forward.';

CREATE TRIGGER api_uses_insert_only BEFORE UPDATE OR DELETE ON trading.api_uses FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER api_uses_no_truncate BEFORE TRUNCATE ON trading.api_uses EXECUTE FUNCTION trading.refuse_change();
