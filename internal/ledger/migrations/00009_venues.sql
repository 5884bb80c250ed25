-- What an order at a real venue needs: its request as it leaves, until when the
-- venue may accept it, when its send was begun and by whom, and fees that are not
-- paid in the quote currency.

-- +goose Up
ALTER TABLE trading.intents ADD COLUMN frozen text NOT NULL DEFAULT '';
ALTER TABLE trading.intents ADD COLUMN not_after timestamptz;
COMMENT ON COLUMN trading.intents.frozen IS 'Body of the request, byte for byte as it is sent; empty where the venue needs none.';
COMMENT ON COLUMN trading.intents.not_after IS 'End of the time in which the venue may still accept the order, in real time; null if nothing bounds it.';

ALTER TABLE trading.orders ADD COLUMN late_lots bigint NOT NULL DEFAULT 0 CHECK (late_lots >= 0);
ALTER TABLE trading.orders ADD COLUMN sent_at timestamptz;
ALTER TABLE trading.orders ADD COLUMN sent_epoch bigint;
COMMENT ON COLUMN trading.orders.late_lots IS 'How much of what is filled was booked after the order had ended, in lots.';
COMMENT ON COLUMN trading.orders.sent_at IS 'When its send was begun, in real time by the clock of the process that sent it; null if it never was.';
COMMENT ON COLUMN trading.orders.sent_epoch IS 'Epoch of the process that began to send it.';

ALTER TABLE trading.fills ADD COLUMN fee_quantity numeric NOT NULL DEFAULT 0 CHECK (fee_quantity >= 0);
COMMENT ON COLUMN trading.fills.fee_quantity IS 'What a fee in the base currency took from the position, rounded up to whole lots; what is left of the last lot is cash.';

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION trading.trades(agent_uid text) RETURNS TABLE (pair text, trade bigint, result numeric, ended bigint)
LANGUAGE sql STABLE AS $$
    WITH moves AS (
        SELECT f.transaction_id, f.pair, CASE f.side WHEN 'Buy' THEN f.quantity ELSE -f.quantity END - f.fee_quantity AS moved,
               f.realised - CASE WHEN f.fee_currency = a.currency THEN f.fee ELSE 0 END AS result
          FROM trading.fills f JOIN trading.agents a ON a.uid = f.agent_uid WHERE f.agent_uid = $1
        UNION ALL
        SELECT d.transaction_id, d.pair, d.quantity, 0 FROM trading.adoptions d WHERE d.agent_uid = $1
    ), held AS (
        SELECT m.*, sum(m.moved) OVER (PARTITION BY m.pair ORDER BY m.transaction_id) AS position FROM moves m
    ), marked AS (
        SELECT h.*, h.position - h.moved <> 0 AND sign(h.position) <> sign(h.position - h.moved) AS ends FROM held h
    ), numbered AS (
        SELECT m.*, count(*) FILTER (WHERE m.ends) OVER (PARTITION BY m.pair ORDER BY m.transaction_id)
                  - CASE WHEN m.ends THEN 1 ELSE 0 END AS trade
          FROM marked m
    )
    SELECT n.pair, n.trade, sum(n.result), max(n.transaction_id) FILTER (WHERE n.ends)
      FROM numbered n GROUP BY n.pair, n.trade
$$;
-- +goose StatementEnd
