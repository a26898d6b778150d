-- What the mapping rules say of a series, and where a model runs.

ALTER TABLE series
  ADD COLUMN direction smallint NOT NULL DEFAULT 0,  -- which way harm lies: 0 both, 1 up, 2 down
  ADD COLUMN unit smallint NOT NULL DEFAULT 0;       -- schema/series.hpp
COMMENT ON COLUMN series.kind IS
  '0 gauge, 1 counter, 2 bucket, 3 delta, 4 bucket of deltas, 5 ratio, 6 duration';

ALTER TABLE series_set ADD COLUMN environment text NOT NULL DEFAULT '';
