-- The facts: who is measured, and the durable log of what was measured. docs/storage.md explains the layout.
-- Every fact table has `shard` first in its primary key, so that it can be distributed by it.

CREATE TABLE series (
  shard      int      NOT NULL,
  series_id  bigint   NOT NULL,  -- 63-bit hash of (model, metric); no sequence, so any collector may create it
  model      text     NOT NULL,
  metric     text     NOT NULL,
  kind       smallint NOT NULL,  -- 0 gauge, 1 counter, 2 bucket
  first_seen timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT series_pk PRIMARY KEY (shard, series_id)
);

-- Series of one model that arrive together. Immutable: a row of the log says only which set it is of.
CREATE TABLE series_set (
  shard      int      NOT NULL,
  set_id     bigint   NOT NULL,  -- 63-bit hash of the model, its attributes and the list
  model      text     NOT NULL,
  version    text     NOT NULL,
  region     text     NOT NULL,
  family     text     NOT NULL,
  team       text     NOT NULL,
  series_ids bigint[] NOT NULL,  -- slot order, 1 to 192
  CONSTRAINT series_set_pk PRIMARY KEY (shard, set_id)
);

-- One row per commit. It makes a resend harmless: the row is written in the transaction of its batch, so
-- whoever finds it there knows that the batch is. batch_id is dense from 1 for each (shard, collector_id).
CREATE TABLE sample_batch (
  shard        int    NOT NULL,
  collector_id bigint NOT NULL,
  batch_id     bigint NOT NULL,
  written_at   timestamptz NOT NULL,  -- arrival; also the partition its rows lie in
  row_count    int    NOT NULL,       -- 0: a batch that was given up, written so that readers can step over it
  sample_count int    NOT NULL,
  ts_min       timestamptz,
  ts_max       timestamptz,
  CONSTRAINT sample_batch_pk PRIMARY KEY (shard, collector_id, batch_id)
);

-- The log itself, partitioned by the hour of arrival; partitions are created ahead by the store. A row holds
-- as many sets as fit into a page, each at one instant, their values one after the other: a row a set would
-- spend as many bytes on its head and its key as on twenty values. A value keeps its bits (NaNs have
-- meanings: docs/storage.md); a hole is a slot missing from `pos`, never a NaN.
CREATE TABLE sample_log (
  shard        int      NOT NULL,
  collector_id bigint   NOT NULL,
  batch_id     bigint   NOT NULL,
  row_no       int      NOT NULL,
  written_at   timestamptz NOT NULL,
  set_ids      bigint[] NOT NULL,
  ts           timestamptz NOT NULL,  -- event time of the first set
  pos          smallint[],            -- the slot of each value; NULL: all slots of all sets are there
  vals         float8[] NOT NULL,
  ts_off       int[],                 -- microseconds from ts to the event time of each set; NULL: all at ts
  counts       smallint[],            -- values of each set; NULL: one set, which has them all
  CONSTRAINT sample_log_pk PRIMARY KEY (shard, collector_id, batch_id, row_no, written_at)
) PARTITION BY RANGE (written_at);

-- A row fills a page at most, so nothing needs to be moved out of it or compressed: both cost CPU, and the
-- log is read once and then becomes blocks.
ALTER TABLE sample_log ALTER COLUMN set_ids SET STORAGE PLAIN, ALTER COLUMN pos SET STORAGE PLAIN,
  ALTER COLUMN vals SET STORAGE PLAIN, ALTER COLUMN ts_off SET STORAGE PLAIN,
  ALTER COLUMN counts SET STORAGE PLAIN;
