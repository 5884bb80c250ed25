-- What an agent may change although it may change no row: its lease, its claims,
-- its shares of budgets and its own record, each through a function that checks
-- what it is asked. The functions act with the rights of the schema's owner.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION trading.hold(agent_uid text, epoch bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM trading.leases l WHERE l.agent_uid = $1 AND l.epoch = $2 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'agent %: epoch % is not the current one', $1, $2 USING ERRCODE = 'restrict_violation';
    END IF;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.hold(text, bigint) IS 'Locks an agent''s lease until the transaction ends, or refuses an epoch that is not current.';

-- +goose StatementBegin
CREATE FUNCTION trading.acquire(uid text, namespace text, name text, account text, venue text, currency text, holder text, above bigint)
RETURNS TABLE (epoch bigint, known_account text, known_venue text, known_currency text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.agents AS a (uid, namespace, name, account, venue, currency) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT ON CONSTRAINT agents_pkey DO UPDATE SET namespace = excluded.namespace, name = excluded.name, released_at = NULL
        RETURNING a.account, a.venue, a.currency INTO known_account, known_venue, known_currency;
    INSERT INTO trading.leases AS l (agent_uid, epoch, holder) VALUES ($1, $8 + 1, $7)
        ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET epoch = greatest(l.epoch, $8) + 1, holder = excluded.holder, acquired_at = clock_timestamp()
        RETURNING l.epoch INTO epoch;
    RETURN NEXT;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.acquire(text, text, text, text, text, text, text, bigint) IS 'Makes an agent known and gives its process a new epoch, greater than the last and than the one given.';

-- +goose StatementBegin
CREATE FUNCTION trading.claim_of(account text, pair text)
RETURNS TABLE (owner_uid text, owner_namespace text, owner_name text, released boolean, base text, quote text, tick numeric, lot numeric,
    position_lots bigint, position_cost numeric, working bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.uid, a.namespace, a.name, a.released_at IS NOT NULL, c.base, c.quote, c.tick, c.lot,
        coalesce((SELECT (b.amount / c.lot)::bigint FROM trading.balances b
            WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:position' AND b.pair = c.pair AND b.currency = c.base), 0),
        coalesce((SELECT b.amount FROM trading.balances b
            WHERE b.agent_uid = c.agent_uid AND b.ledger_account = 'assets:cost' AND b.pair = c.pair AND b.currency = c.quote), 0),
        (SELECT count(*) FROM trading.orders o
            WHERE o.agent_uid = c.agent_uid AND o.pair = c.pair AND o.state NOT IN ('Filled', 'Cancelled', 'Rejected'))
      FROM trading.claims c JOIN trading.agents a ON a.uid = c.agent_uid
     WHERE c.account = $1 AND c.pair = $2 FOR UPDATE OF c
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.claim_of(text, text) IS 'Locks the claim of a pair and tells whose it is, what is held and how many orders are open.';

-- +goose StatementBegin
CREATE FUNCTION trading.claim(agent_uid text, epoch bigint, pair text, base text, quote text, tick numeric, lot numeric) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    INSERT INTO trading.claims (account, pair, agent_uid, base, quote, tick, lot)
        SELECT a.account, $3, $1, $4, $5, $6, $7 FROM trading.agents a WHERE a.uid = $1 ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.claim(text, bigint, text, text, text, numeric, numeric) IS 'Gives an agent a pair of its account that nobody has claimed; false if somebody has.';

-- +goose StatementBegin
CREATE FUNCTION trading.take_claim(agent_uid text, epoch bigint, pair text, base text, quote text, tick numeric, lot numeric) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held record;
BEGIN
    PERFORM trading.hold($1, $2);
    SELECT o.* INTO held FROM trading.agents a, trading.claim_of(a.account, $3) o WHERE a.uid = $1;
    IF held.owner_uid <> $1 AND (NOT held.released OR held.working > 0 OR held.position_lots <> 0) THEN
        RAISE EXCEPTION 'agent % cannot have %: agent % has it', $1, $3, held.owner_uid USING ERRCODE = 'restrict_violation';
    END IF;
    IF (held.base, held.quote, held.tick, held.lot) IS DISTINCT FROM ($4, $5, $6, $7) AND (held.working > 0 OR held.position_lots <> 0) THEN
        RAISE EXCEPTION '% cannot be counted otherwise while it is not flat', $3 USING ERRCODE = 'restrict_violation';
    END IF;
    UPDATE trading.claims c SET agent_uid = $1, base = $4, quote = $5, tick = $6, lot = $7,
        claimed_at = CASE WHEN c.agent_uid = $1 THEN c.claimed_at ELSE clock_timestamp() END
      FROM trading.agents a WHERE a.uid = $1 AND c.account = a.account AND c.pair = $3;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.take_claim(text, bigint, text, text, text, numeric, numeric) IS 'Gives an agent a pair that it has already, or that an agent had which is gone and whose position it has adopted.';

-- +goose StatementBegin
CREATE FUNCTION trading.claims_but(agent_uid text, epoch bigint, named text[]) RETURNS TABLE (pair text, position_lots bigint, working bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    FOR pair, position_lots, working IN
        SELECT c.pair, o.position_lots, o.working FROM trading.claims c, trading.claim_of(c.account, c.pair) o
         WHERE c.agent_uid = $1 AND c.pair <> ALL ($3) ORDER BY c.pair
    LOOP
        DELETE FROM trading.claims c WHERE c.agent_uid = $1 AND c.pair = claims_but.pair AND position_lots = 0 AND working = 0;
        RETURN NEXT;
    END LOOP;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.claims_but(text, bigint, text[]) IS 'Gives up an agent''s claims of all pairs but those named, and returns them. A pair that is not flat is kept.';

-- +goose StatementBegin
CREATE FUNCTION trading.inherit(agent_uid text, epoch bigint, gone text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    WITH left_over AS (
        DELETE FROM trading.shares s USING trading.agents a
         WHERE s.agent_uid = $3 AND a.uid = $3 AND a.released_at IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM trading.claims c WHERE c.agent_uid = $3) RETURNING s.scope, s.amount
    )
    INSERT INTO trading.shares AS s (scope, agent_uid, amount) SELECT l.scope, $1, l.amount FROM left_over l
        ON CONFLICT ON CONSTRAINT shares_pkey DO UPDATE SET amount = s.amount + excluded.amount, recorded_at = clock_timestamp();
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.inherit(text, bigint, text) IS 'Gives the shares of an agent that is gone and has no claims left to the one that took over the last of them.';

ALTER FUNCTION trading.fund(text, text, numeric, numeric) SECURITY DEFINER SET search_path = pg_catalog, pg_temp;

-- +goose StatementBegin
CREATE FUNCTION trading.fund(agent_uid text, epoch bigint, scope text, total numeric, want numeric) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    RETURN trading.fund($1, $3, $4, $5);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.fund(text, bigint, text, numeric, numeric) IS 'trading.fund for the process that holds the agent''s epoch.';

-- +goose StatementBegin
CREATE FUNCTION trading.give_back(agent_uid text, epoch bigint, kept text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    DELETE FROM trading.shares s WHERE s.agent_uid = $1 AND s.scope <> ALL ($3);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.give_back(text, bigint, text[]) IS 'Gives back an agent''s shares of all totals but those named.';

-- +goose StatementBegin
CREATE FUNCTION trading.record_arming(agent_uid text, kind text, person text, reason text, market_time timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trading.arming (agent_uid, kind, person, reason, epoch, after_sequence, after_transaction, market_time)
    SELECT l.agent_uid, $2, $3, $4, l.epoch,
           coalesce((SELECT max(i.sequence) FROM trading.intents i WHERE i.agent_uid = $1), 0),
           coalesce((SELECT max(t.id) FROM trading.transactions t WHERE t.agent_uid = $1), 0), $5
      FROM (SELECT * FROM trading.leases WHERE leases.agent_uid = $1 FOR NO KEY UPDATE) l;
    RETURN FOUND;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.record_arming(text, text, text, text, timestamptz) IS 'Records that an agent has stopped itself or that a person allowed it to go on, with its lease locked; false if no such agent is known.';

-- +goose StatementBegin
CREATE FUNCTION trading.disarm(agent_uid text, epoch bigint, reason text, market_time timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    RETURN trading.record_arming($1, 'Disarmed', '', $3, $4);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.disarm(text, bigint, text, timestamptz) IS 'Records that an agent opens nothing until a person allows it. Only a person with the owner''s rights can.';
