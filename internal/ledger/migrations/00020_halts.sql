-- Halts that bind agents, so that one stays in force when the object that asked
-- for it is gone and nobody has released it.

-- +goose Up
CREATE TABLE trading.halts (
    agent_uid   text NOT NULL CHECK (agent_uid <> ''),
    halt_uid    text NOT NULL CHECK (halt_uid <> ''),
    name        text NOT NULL CHECK (name <> ''),
    state       text NOT NULL CHECK (state IN ('ReduceOnly', 'Halted')),
    task        text NOT NULL CHECK (task IN ('Keep', 'CancelOrders', 'Flatten')),
    pairs       text[] CHECK (cardinality(pairs) > 0),
    reason      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent_uid, halt_uid)
);
COMMENT ON TABLE trading.halts IS 'Which halts have bound which agents. One without a row in halt_releases is in force. Rows never change.';
COMMENT ON COLUMN trading.halts.agent_uid IS 'The agent, which may be one that has not traded yet.';
COMMENT ON COLUMN trading.halts.halt_uid IS 'UID of the TradingHalt or ClusterTradingHalt.';
COMMENT ON COLUMN trading.halts.name IS 'Its kind and name, for people.';
COMMENT ON COLUMN trading.halts.state IS 'How far it lets the agent trade.';
COMMENT ON COLUMN trading.halts.task IS 'What becomes of open orders and positions.';
COMMENT ON COLUMN trading.halts.pairs IS 'The pairs that it binds; null for all of the agent''s.';
COMMENT ON COLUMN trading.halts.reason IS 'Why, in the words of who requested it.';
COMMENT ON COLUMN trading.halts.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.halt_releases (
    halt_uid    text PRIMARY KEY CHECK (halt_uid <> ''),
    released_by text NOT NULL CHECK (released_by <> ''),
    reason      text NOT NULL CHECK (reason <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.halt_releases IS 'Which halts were released, by whom and why. Rows never change.';
COMMENT ON COLUMN trading.halt_releases.halt_uid IS 'UID of the halt.';
COMMENT ON COLUMN trading.halt_releases.released_by IS 'Who released it.';
COMMENT ON COLUMN trading.halt_releases.reason IS 'Why trading may go on.';
COMMENT ON COLUMN trading.halt_releases.recorded_at IS 'When it was committed, in real time.';

CREATE TABLE trading.halt_fences (
    halt_uid    text NOT NULL CHECK (halt_uid <> ''),
    agent_uid   text NOT NULL REFERENCES trading.agents,
    epoch       bigint NOT NULL,
    holder      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (halt_uid, agent_uid, epoch)
);
COMMENT ON TABLE trading.halt_fences IS 'Which processes lost their epoch because they did not acknowledge a halt. Rows never change.';
COMMENT ON COLUMN trading.halt_fences.halt_uid IS 'UID of the halt.';
COMMENT ON COLUMN trading.halt_fences.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.halt_fences.epoch IS 'The epoch that the process lost.';
COMMENT ON COLUMN trading.halt_fences.holder IS 'UID of the pod that held it.';
COMMENT ON COLUMN trading.halt_fences.recorded_at IS 'When it was committed, in real time.';

CREATE TRIGGER halts_insert_only BEFORE UPDATE OR DELETE ON trading.halts FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER halts_no_truncate BEFORE TRUNCATE ON trading.halts EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER halt_releases_insert_only BEFORE UPDATE OR DELETE ON trading.halt_releases FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER halt_releases_no_truncate BEFORE TRUNCATE ON trading.halt_releases EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER halt_fences_insert_only BEFORE UPDATE OR DELETE ON trading.halt_fences FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER halt_fences_no_truncate BEFORE TRUNCATE ON trading.halt_fences EXECUTE FUNCTION trading.refuse_change();

-- Agents write and read their halts through functions that act with the rights of
-- the schema's owner; who may release a halt and who may fence is the owner alone.
-- +goose StatementBegin
CREATE FUNCTION trading.latch_halt(agent_uid text, halt_uid text, name text, state text, task text, pairs text[], reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO trading.halts (agent_uid, halt_uid, name, state, task, pairs, reason) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.latch_halt(text, text, text, text, text, text[], text) IS 'Records that a halt binds an agent. Repeating it changes nothing.';

-- +goose StatementBegin
CREATE FUNCTION trading.latched_halts(agent_uid text) RETURNS TABLE (halt_uid text, name text, state text, task text, reason text, pairs text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.halt_uid, h.name, h.state, h.task, h.reason, h.pairs FROM trading.halts h
     WHERE h.agent_uid = $1 AND NOT EXISTS (SELECT FROM trading.halt_releases r WHERE r.halt_uid = h.halt_uid)
     ORDER BY h.recorded_at, h.halt_uid
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.latched_halts(text) IS 'The halts that bind an agent and were not released, in the order in which they were latched.';

-- +goose StatementBegin
CREATE FUNCTION trading.fence_halted(agent_uid text, halt_uid text, holder text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lost bigint;
BEGIN
    UPDATE trading.leases l SET epoch = l.epoch + 1, holder = 'halt/' || $2, acquired_at = clock_timestamp()
     WHERE l.agent_uid = $1 AND l.holder = $3 RETURNING l.epoch - 1 INTO lost;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO trading.halt_fences (halt_uid, agent_uid, epoch, holder) VALUES ($2, $1, lost, $3);
    RETURN true;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.fence_halted(text, text, text) IS 'Takes the epoch from the process of an agent that does not acknowledge a halt, so that nothing of it is committed any more. False if the process does not hold it.';
REVOKE ALL ON FUNCTION trading.fence_halted(text, text, text) FROM PUBLIC;
