-- An operator migrates the databases of its desk as soon as it runs, and agents of an
-- older image are started again after that: after a crash, or a lost node.

-- +goose Up
CREATE VIEW trading.compatibility AS SELECT 25::bigint AS oldest;
COMMENT ON VIEW trading.compatibility IS 'Which programs can work with this schema. A migration after which older programs would fail, or would write what is wrong, replaces it and names itself.';
COMMENT ON COLUMN trading.compatibility.oldest IS 'The oldest schema whose programs can work with this one.';
