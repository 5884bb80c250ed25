-- One hash chain per agent over everything that its journals hold. Each statement
-- that writes to a journal adds one link:
--
--     hash = sha256(hash before || journal/form/first/last/count || newline || rows)
--
-- where rows are the written rows of that agent in the order of their keys, each
-- as PostgreSQL writes the list of its columns, ROW(...)::text, with times in UTC,
-- joined by newlines. The columns are those named below, in that order; a later
-- schema that adds one begins another form. The first hash of a chain is that of
-- who the agent is.

-- +goose Up
CREATE TABLE trading.chains (
    agent_uid text PRIMARY KEY REFERENCES trading.agents,
    length    bigint NOT NULL CHECK (length >= 0),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32),
    forgot    text NOT NULL DEFAULT ''
);
COMMENT ON TABLE trading.chains IS 'The head of each agent''s chain.';
COMMENT ON COLUMN trading.chains.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.chains.length IS 'How many links the chain has.';
COMMENT ON COLUMN trading.chains.hash IS 'Hash of the last link; of who the agent is while there is none.';
COMMENT ON COLUMN trading.chains.forgot IS 'Why the agent must prove its open orders at the venue before it opens positions; empty if it need not.';

CREATE TABLE trading.links (
    agent_uid text NOT NULL REFERENCES trading.agents,
    ordinal   bigint NOT NULL,
    journal   text NOT NULL,
    form      smallint NOT NULL,
    first     bigint NOT NULL,
    last      bigint NOT NULL,
    count     bigint NOT NULL CHECK (count > 0),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (agent_uid, ordinal)
);
COMMENT ON TABLE trading.links IS 'The links of each agent''s chain. Rows never change.';
COMMENT ON COLUMN trading.links.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.links.ordinal IS 'Counts the links of the chain from 1, without gaps.';
COMMENT ON COLUMN trading.links.journal IS 'Table whose rows it covers.';
COMMENT ON COLUMN trading.links.form IS 'Which columns its hash covers.';
COMMENT ON COLUMN trading.links.first IS 'Smallest key of those rows.';
COMMENT ON COLUMN trading.links.last IS 'Greatest key of those rows.';
COMMENT ON COLUMN trading.links.count IS 'How many rows it covers.';
COMMENT ON COLUMN trading.links.hash IS 'Hash of the link before, of the other columns here, and of those rows.';

CREATE TRIGGER links_insert_only BEFORE UPDATE OR DELETE ON trading.links FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER links_no_truncate BEFORE TRUNCATE ON trading.links EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER chains_no_delete BEFORE DELETE ON trading.chains FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER chains_no_truncate BEFORE TRUNCATE ON trading.chains EXECUTE FUNCTION trading.refuse_change();

-- +goose StatementBegin
CREATE FUNCTION trading.begin_chain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $$
BEGIN
    INSERT INTO trading.chains (agent_uid, length, hash)
    VALUES (NEW.uid, 0, sha256(convert_to(ROW(NEW.uid, NEW.account, NEW.venue, NEW.currency, NEW.recorded_at)::text, 'UTF8')));
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.begin_chain() IS 'Begins the chain of a new agent with who it is.';
CREATE TRIGGER agents_begin_chain AFTER INSERT ON trading.agents FOR EACH ROW EXECUTE FUNCTION trading.begin_chain();

-- +goose StatementBegin
CREATE FUNCTION trading.check_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.uid, NEW.account, NEW.venue, NEW.currency, NEW.recorded_at) IS DISTINCT FROM (OLD.uid, OLD.account, OLD.venue, OLD.currency, OLD.recorded_at) THEN
        RAISE EXCEPTION 'agent %: its UID, account, venue and currency never change', OLD.uid USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.check_agent() IS 'Keeps an agent who it is.';
CREATE TRIGGER agents_checked BEFORE UPDATE ON trading.agents FOR EACH ROW EXECUTE FUNCTION trading.check_agent();
CREATE TRIGGER agents_no_delete BEFORE DELETE ON trading.agents FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER agents_no_truncate BEFORE TRUNCATE ON trading.agents EXECUTE FUNCTION trading.refuse_change();

-- +goose StatementBegin
CREATE FUNCTION trading.link(agent_uid text, journal text, form smallint, first bigint, last bigint, count bigint, body text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH head AS (
        UPDATE trading.chains c
           SET length = c.length + 1, hash = sha256(c.hash || convert_to(concat($2, '/', $3, '/', $4, '/', $5, '/', $6, E'\n', $7), 'UTF8'))
         WHERE c.agent_uid = $1 RETURNING c.length, c.hash
    )
    INSERT INTO trading.links (agent_uid, ordinal, journal, form, first, last, count, hash)
    SELECT $1, h.length, $2, $3, $4, $5, $6, h.hash FROM head h;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.link(text, text, smallint, bigint, bigint, bigint, text) IS 'Adds a link to an agent''s chain.';

-- Chains of agents that were there before begin with all that they have written,
-- journal by journal.
-- +goose StatementBegin
DO $do$
DECLARE
    journal record;
    listed text;
    checked text;
BEGIN
    PERFORM set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true);
    INSERT INTO trading.chains (agent_uid, length, hash)
    SELECT a.uid, 0, sha256(convert_to(ROW(a.uid, a.account, a.venue, a.currency, a.recorded_at)::text, 'UTF8')) FROM trading.agents a;
    FOR journal IN SELECT * FROM (VALUES
        ('epochs', 'epoch', '{agent_uid,epoch,holder,system_identifier,timeline,recorded_at}'::text[], false),
        ('intents', 'ordinal', '{id,ordinal,agent_uid,account,sequence,leg,replacement,epoch,pair,side,quantity,limit_price,reduce_only,reserved,reason,quantity_lots,limit_ticks,market_time,recorded_at,frozen,not_after}', true),
        ('decisions', 'sequence', '{agent_uid,sequence,epoch,pair,bar_end,action,confidence,outcome,reasoning,intents,recorded_at}', true),
        ('requests', 'ordinal', '{agent_uid,key,pair,epoch,intents,recorded_at,ordinal}', true),
        ('transactions', 'id', '{id,agent_uid,kind,epoch,market_time,recorded_at}', false),
        ('postings', 'id', '{id,transaction_id,agent_uid,ledger_account,pair,currency,amount}', false),
        ('adoptions', 'transaction_id', '{transaction_id,agent_uid,from_agent_uid,epoch,pair,quantity,cost,recorded_at}', true),
        ('fills', 'transaction_id', '{venue,account,trade_id,order_id,agent_uid,epoch,pair,side,quantity,price,value,fee,fee_currency,realised,quantity_lots,price_ticks,transaction_id,market_time,recorded_at,fee_quantity,opened_at}', true),
        ('order_updates', 'id', '{id,agent_uid,order_id,epoch,state,venue_order_id,reason,market_time,happened_at,recorded_at}', true),
        ('arming', 'id', '{id,agent_uid,kind,person,reason,epoch,after_sequence,after_transaction,market_time,recorded_at}', true),
        ('recoveries', 'id', '{id,agent_uid,kind,reason,epoch,recorded_at}', true),
        ('marks', 'ordinal', '{agent_uid,pair,market_time,ordinal,epoch,price,equity,peak_equity,day_start,day_start_equity,recorded_at}', true),
        ('api_uses', 'id', '{id,agent_uid,request,outcome,key_id,key_name,scope,method,path,status,recorded_at}', false)
    ) AS j (name, key, columns, of_epoch)
    LOOP
        SELECT string_agg(format('f.%I', c), ', ' ORDER BY n) INTO listed FROM unnest(journal.columns) WITH ORDINALITY AS x (c, n);
        checked := CASE WHEN journal.of_epoch THEN format($check$
    IF EXISTS (SELECT FROM fresh f JOIN trading.leases l ON l.agent_uid = f.agent_uid WHERE l.epoch <> f.epoch) THEN
        RAISE EXCEPTION '%s: the epoch is not the current one', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;$check$, '%') ELSE '' END;
        EXECUTE format($function$
CREATE FUNCTION trading.chain_%1$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $body$
BEGIN%4$s
    PERFORM trading.link(w.agent_uid, '%1$s', 1::smallint, w.first, w.last, w.count, w.body) FROM (
        SELECT f.agent_uid, min(f.%2$I) AS first, max(f.%2$I) AS last, count(*) AS count,
               string_agg(ROW(%3$s)::text, E'\n' ORDER BY f.%2$I) AS body
          FROM fresh f GROUP BY f.agent_uid ORDER BY f.agent_uid) w;
    RETURN NULL;
END $body$$function$, journal.name, journal.key, listed, checked);
        EXECUTE format('COMMENT ON FUNCTION trading.chain_%s() IS %L', journal.name, 'Adds what a statement wrote to ' || journal.name || ' to the chain.');
        EXECUTE format($before$
SELECT trading.link(w.agent_uid, '%1$s', 1::smallint, w.first, w.last, w.count, w.body) FROM (
    SELECT f.agent_uid, f.part, min(f.%2$I) AS first, max(f.%2$I) AS last, count(*) AS count, string_agg(ROW(%3$s)::text, E'\n' ORDER BY f.%2$I) AS body
      FROM (SELECT *, (row_number() OVER (PARTITION BY agent_uid ORDER BY %2$I) - 1) / 1000 AS part FROM trading.%1$s) f
     GROUP BY f.agent_uid, f.part ORDER BY f.agent_uid, f.part) w$before$, journal.name, journal.key, listed);
        EXECUTE format('CREATE TRIGGER %1$s_chained AFTER INSERT ON trading.%1$s REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION trading.chain_%1$s()', journal.name);
    END LOOP;
END $do$;
-- +goose StatementEnd
