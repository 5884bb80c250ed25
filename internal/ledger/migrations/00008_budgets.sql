-- What several agents may be worth together, handed out in shares, so that none
-- of them needs to look at the others when it trades.

-- +goose Up
CREATE TABLE trading.budgets (
    scope       text PRIMARY KEY CHECK (scope <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE trading.budgets IS 'One row for each total of a policy or an account; whoever changes its shares locks it.';
COMMENT ON COLUMN trading.budgets.scope IS 'What is limited: policy or account, its UID, and for a policy whether live or paper.';
COMMENT ON COLUMN trading.budgets.recorded_at IS 'When a share of it was first asked for.';

CREATE TABLE trading.shares (
    scope       text NOT NULL REFERENCES trading.budgets,
    agent_uid   text NOT NULL REFERENCES trading.agents,
    amount      numeric NOT NULL CHECK (amount > 0 AND amount < 'Infinity'),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, agent_uid)
);
CREATE INDEX shares_by_agent ON trading.shares (agent_uid);
COMMENT ON TABLE trading.shares IS 'What each agent may be worth of a total. The sum over agents is never above the total at the time of the newest grant.';
COMMENT ON COLUMN trading.shares.scope IS 'The total.';
COMMENT ON COLUMN trading.shares.agent_uid IS 'The agent.';
COMMENT ON COLUMN trading.shares.amount IS 'Its share, in the currency of the policy or account.';
COMMENT ON COLUMN trading.shares.recorded_at IS 'When it changed last, in real time.';

-- +goose StatementBegin
CREATE FUNCTION trading.fund(agent_uid text, scope text, total numeric, want numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    held numeric;
    free numeric;
    granted numeric;
BEGIN
    INSERT INTO trading.budgets (scope) VALUES ($2) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM trading.budgets b WHERE b.scope = $2 FOR UPDATE;
    SELECT coalesce(sum(s.amount) FILTER (WHERE s.agent_uid = $1), 0), $3 - coalesce(sum(s.amount), 0) INTO held, free
      FROM trading.shares s WHERE s.scope = $2;
    granted := least($4, held + greatest(free, 0));
    IF granted <= 0 THEN
        DELETE FROM trading.shares s WHERE s.scope = $2 AND s.agent_uid = $1;
        RETURN 0;
    END IF;
    INSERT INTO trading.shares AS s (scope, agent_uid, amount) VALUES ($2, $1, granted)
        ON CONFLICT ON CONSTRAINT shares_pkey DO UPDATE SET amount = excluded.amount, recorded_at = clock_timestamp();
    RETURN granted;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION trading.fund(text, text, numeric, numeric) IS 'Gives an agent as much of a total as it wants and as is left, or takes back what it wants no more, and returns its share.';
