-- On which account at its venue each agent trades, in the venue's own words, so that
-- a key of another account is noticed by a process that knows of none before it.

-- +goose Up
CREATE TABLE trading.venue_accounts (
    agent_uid     text PRIMARY KEY CHECK (agent_uid <> ''),
    venue_account text NOT NULL CHECK (venue_account <> ''),
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.venue_accounts IS 'On which account at its venue an agent trades. Rows never change.';
COMMENT ON COLUMN trading.venue_accounts.agent_uid IS 'The agent, which may be one that has not traded yet.';
COMMENT ON COLUMN trading.venue_accounts.venue_account IS 'Id of the account, as the venue says it.';
COMMENT ON COLUMN trading.venue_accounts.recorded_at IS 'When it was committed, in real time.';

CREATE TRIGGER venue_accounts_insert_only BEFORE UPDATE OR DELETE ON trading.venue_accounts FOR EACH ROW EXECUTE FUNCTION trading.refuse_change();
CREATE TRIGGER venue_accounts_no_truncate BEFORE TRUNCATE ON trading.venue_accounts EXECUTE FUNCTION trading.refuse_change();

-- +goose StatementBegin
CREATE FUNCTION trading.bind_venue_account(agent_uid text, venue_account text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO trading.venue_accounts (agent_uid, venue_account) VALUES ($1, $2) ON CONFLICT DO NOTHING;
    RETURN (SELECT v.venue_account FROM trading.venue_accounts v WHERE v.agent_uid = $1);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.bind_venue_account(text, text) IS 'Records on which account at its venue an agent trades, unless that is known, and returns the one that is known.';
