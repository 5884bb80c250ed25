-- A fee in the base currency is paid from what earlier ones have left of their lots,
-- and whole lots of that come back into the position with the next one. What was
-- left needs no column: it is what the postings of a pair in its base currency lack
-- to zero.

-- +goose Up
ALTER TABLE trading.fills DROP CONSTRAINT fills_fee_quantity_check;
COMMENT ON COLUMN trading.fills.fee_quantity IS 'What a fee in the base currency took from the position in whole lots, beyond what earlier ones had left as cash; negative if whole lots of that came back.';
