-- What a database can be held to from outside, and who may write to it.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION trading.own(agent_uid text) RETURNS TABLE (epoch bigint, holder text, links bigint, forgot text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT l.epoch, l.holder, c.length, c.forgot FROM trading.leases l JOIN trading.chains c ON c.agent_uid = l.agent_uid
        WHERE l.agent_uid = $1 FOR NO KEY UPDATE OF l;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.own(text) IS 'Locks an agent''s lease until the transaction ends, and tells its epoch, the length of its chain and what it must prove.';

-- +goose StatementBegin
CREATE FUNCTION trading.apply_recovery() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE trading.chains c SET forgot = CASE NEW.kind WHEN 'Forgot' THEN NEW.reason ELSE '' END WHERE c.agent_uid = NEW.agent_uid;
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.apply_recovery() IS 'Makes a chain tell what its agent must prove.';
CREATE TRIGGER recoveries_applied AFTER INSERT ON trading.recoveries FOR EACH ROW EXECUTE FUNCTION trading.apply_recovery();

-- +goose StatementBegin
CREATE FUNCTION trading.record_recovery(agent_uid text, epoch bigint, kind text, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    INSERT INTO trading.recoveries (agent_uid, kind, reason, epoch)
    SELECT $1, $3, $4, $2 FROM trading.chains c WHERE c.agent_uid = $1 AND (c.forgot <> '') = ($3 = 'Proven');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.record_recovery(text, bigint, text, text) IS 'Records for an agent that the database forgot, or that the agent has proven its orders since. Repeating it changes nothing.';

-- +goose StatementBegin
CREATE FUNCTION trading.forget(reason text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    told bigint;
BEGIN
    INSERT INTO trading.recoveries (agent_uid, kind, reason, epoch)
    SELECT l.agent_uid, 'Forgot', $1, l.epoch
      FROM (SELECT * FROM trading.leases ORDER BY agent_uid FOR NO KEY UPDATE) l
      JOIN trading.chains c ON c.agent_uid = l.agent_uid JOIN trading.agents a ON a.uid = l.agent_uid
     WHERE a.released_at IS NULL AND c.forgot = '';
    GET DIAGNOSTICS told = ROW_COUNT;
    RETURN told;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.forget(text) IS 'Records for every agent that the database forgot, and returns for how many it was news.';

CREATE TABLE trading.anchors (
    serial            bigint PRIMARY KEY,
    agents            bigint NOT NULL,
    links             bigint NOT NULL,
    epochs            bigint NOT NULL,
    digest            bytea NOT NULL CHECK (octet_length(digest) = 32),
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.anchors IS 'What was copied to the status of the Ledger object, so that this database can be held to it. Rows never change.';
COMMENT ON COLUMN trading.anchors.serial IS 'Counts the anchors.';
COMMENT ON COLUMN trading.anchors.agents IS 'How many chains there were.';
COMMENT ON COLUMN trading.anchors.links IS 'How many links they had together.';
COMMENT ON COLUMN trading.anchors.epochs IS 'Sum of the agents'' epochs.';
COMMENT ON COLUMN trading.anchors.digest IS 'SHA-256 of the heads of all chains: agent, length and hash, in the order of the agents'' UIDs.';
COMMENT ON COLUMN trading.anchors.system_identifier IS 'Which database cluster it was, as PostgreSQL numbers them.';
COMMENT ON COLUMN trading.anchors.timeline IS 'Timeline of that cluster.';
COMMENT ON COLUMN trading.anchors.recorded_at IS 'When it was taken.';
CREATE TRIGGER anchors_insert_only BEFORE UPDATE OR DELETE ON trading.anchors FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER anchors_no_truncate BEFORE TRUNCATE ON trading.anchors EXECUTE FUNCTION trading.refuse_change();

CREATE TABLE trading.anchored (
    agent_uid text PRIMARY KEY REFERENCES trading.agents,
    length    bigint NOT NULL
);
COMMENT ON TABLE trading.anchored IS 'How long each chain was at the newest anchor.';
COMMENT ON COLUMN trading.anchored.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.anchored.length IS 'Links of its chain then.';

-- +goose StatementBegin
CREATE FUNCTION trading.anchor() RETURNS SETOF trading.anchors LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE trading.anchors IN SHARE ROW EXCLUSIVE MODE;
    RETURN QUERY WITH heads AS (
        SELECT c.agent_uid, c.length, c.hash FROM trading.chains c
    ), kept AS (
        INSERT INTO trading.anchored (agent_uid, length) SELECT h.agent_uid, h.length FROM heads h
            ON CONFLICT ON CONSTRAINT anchored_pkey DO UPDATE SET length = excluded.length WHERE anchored.length <> excluded.length
    )
    INSERT INTO trading.anchors (serial, agents, links, epochs, digest, system_identifier, timeline)
    SELECT (SELECT coalesce(max(a.serial), 0) + 1 FROM trading.anchors a), count(*), coalesce(sum(h.length), 0),
           (SELECT coalesce(sum(l.epoch), 0) FROM trading.leases l),
           sha256(convert_to(coalesce(string_agg(concat(h.agent_uid, ' ', h.length, ' ', encode(h.hash, 'hex')), E'\n' ORDER BY h.agent_uid COLLATE "C"), ''), 'UTF8')),
           (SELECT s.system_identifier FROM pg_control_system() s),
           ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
      FROM heads h RETURNING *;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.anchor() IS 'Takes an anchor: what all chains come to at this moment.';

-- +goose StatementBegin
CREATE FUNCTION trading.admit(role name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    entry text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA trading, paper TO %I', role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA trading TO %I', role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA paper TO %I', role);
    FOREACH entry IN ARRAY ARRAY['intents', 'decisions', 'requests', 'transactions', 'postings', 'adoptions', 'fills',
        'order_updates', 'marks', 'api_uses', 'api_keys', 'outbox']
    LOOP
        EXECUTE format('GRANT INSERT ON trading.%I TO %I', entry, role);
    END LOOP;
    EXECUTE format('GRANT UPDATE (used_at) ON trading.api_keys TO %I', role);
    FOREACH entry IN ARRAY ARRAY['own(text)', 'acquire(text, text, text, text, text, text, text, bigint)', 'claim_of(text, text)',
        'claim(text, bigint, text, text, text, numeric, numeric)', 'take_claim(text, bigint, text, text, text, numeric, numeric)',
        'claims_but(text, bigint, text[])', 'inherit(text, bigint, text)', 'fund(text, bigint, text, numeric, numeric)',
        'give_back(text, bigint, text[])', 'disarm(text, bigint, text, timestamptz)', 'record_recovery(text, bigint, text, text)',
        'trades(text)', 'equity(text, timestamptz)', 'round_money(numeric)']
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION trading.%s TO %I', entry, role);
    END LOOP;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.admit(name) IS 'Gives a role what agents need: to read, to add to journals, and the functions that change the rest by rules. It may be repeated.';

-- +goose StatementBegin
CREATE FUNCTION trading.admit_again() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    admitted name;
BEGIN
    FOR admitted IN SELECT pg_get_userbyid(g.grantee) FROM pg_proc p, aclexplode(p.proacl) g
        WHERE p.oid = 'trading.own(text)'::regprocedure AND g.grantee NOT IN (0, p.proowner)
    LOOP
        PERFORM trading.admit(admitted);
    END LOOP;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.admit_again() IS 'Gives the roles that were admitted what a newer schema has added.';

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA trading FROM PUBLIC;
