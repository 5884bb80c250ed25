-- A database can forget once more while an agent still proves its orders. That is
-- written down too: what was lost then is waited for from then on.

-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION trading.record_recovery(agent_uid text, epoch bigint, kind text, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trading.hold($1, $2);
    INSERT INTO trading.recoveries (agent_uid, kind, reason, epoch)
    SELECT $1, $3, $4, $2 FROM trading.chains c WHERE c.agent_uid = $1 AND ($3 = 'Forgot' OR c.forgot <> '');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.record_recovery(text, bigint, text, text) IS 'Records for an agent that the database forgot, or that the agent has proven its orders since. Proving what is proven changes nothing.';
