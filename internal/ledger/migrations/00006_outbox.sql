-- An agent reads its own news after the last that it has seen, however many other
-- agents have written since.

-- +goose Up
CREATE INDEX outbox_by_agent ON trading.outbox (agent_uid, id);
