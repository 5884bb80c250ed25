-- A halt can be released for one agent alone: who frees an agent whose halt has no
-- object any more frees no other agent of that halt.

-- +goose Up
ALTER TABLE trading.halt_releases ADD COLUMN agent_uid text NOT NULL DEFAULT '';
ALTER TABLE trading.halt_releases DROP CONSTRAINT halt_releases_pkey;
ALTER TABLE trading.halt_releases ADD PRIMARY KEY (halt_uid, agent_uid);
COMMENT ON TABLE trading.halt_releases IS 'Which halts were released, for whom, by whom and why. Rows never change.';
COMMENT ON COLUMN trading.halt_releases.agent_uid IS 'The agent that was freed; empty for all that the halt has bound.';

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION trading.latched_halts(agent_uid text) RETURNS TABLE (halt_uid text, name text, state text, task text, reason text, pairs text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.halt_uid, h.name, h.state, h.task, h.reason, h.pairs FROM trading.halts h
     WHERE h.agent_uid = $1 AND NOT EXISTS (SELECT FROM trading.halt_releases r WHERE r.halt_uid = h.halt_uid AND r.agent_uid IN ('', h.agent_uid))
     ORDER BY h.recorded_at, h.halt_uid
$$;
-- +goose StatementEnd
