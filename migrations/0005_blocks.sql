-- What the log becomes when its hour is over: blocks of samples and rollups, both in the form of
-- schema/block.hpp. The bytes are as short as they get, so PostgreSQL is not to compress them again; EXTERNAL
-- lets a reader fetch a slice of one. docs/storage.md explains the layout.

-- Samples of a set within one UTC day of event time. Samples that came late are a block of their own beside
-- those that were there, so readers merge. Partitions are days, made by the compactor when it needs them.
CREATE TABLE sample_block (
  shard   int         NOT NULL,
  set_id  bigint      NOT NULL,
  ts_from timestamptz NOT NULL,  -- of the first sample
  part    bigint      NOT NULL,  -- which compaction made it, so that pieces of one scrape can begin alike
  ts_to   timestamptz NOT NULL,  -- of the last sample
  samples int         NOT NULL,
  head    bytea       NOT NULL,
  body    bytea       NOT NULL,  -- a column a slot of the set
  CONSTRAINT sample_block_pk PRIMARY KEY (shard, set_id, ts_from, part)
) PARTITION BY RANGE (ts_from);
ALTER TABLE sample_block ALTER COLUMN head SET STORAGE MAIN, ALTER COLUMN body SET STORAGE EXTERNAL;

-- Series of one metric, over models, that are rolled up side by side. Immutable.
CREATE TABLE rollup_group (
  shard      int      NOT NULL,
  group_id   bigint   NOT NULL,  -- 63-bit hash of the metric and the list
  metric     text     NOT NULL,
  counter    boolean  NOT NULL,  -- its numbers are those of a counter: schema/rollup.hpp
  series_ids bigint[] NOT NULL,  -- ascending, 1 to 192
  CONSTRAINT rollup_group_pk PRIMARY KEY (shard, group_id)
);
CREATE INDEX rollup_group_by_metric ON rollup_group (shard, metric);

-- Rollups of a group over a range of buckets: five numbers a series and bucket. Rows may overlap, as blocks do;
-- what they say of one bucket adds up. Partitions are ranges of one level, made by the compactor.
CREATE TABLE metric_rollup (
  shard         int         NOT NULL,
  level_seconds int         NOT NULL,  -- 60, 300, 3600, 86400
  group_id      bigint      NOT NULL,
  bucket_from   timestamptz NOT NULL,  -- the first bucket
  part          bigint      NOT NULL,
  bucket_to     timestamptz NOT NULL,  -- the last one
  head          bytea       NOT NULL,
  body          bytea       NOT NULL,  -- columns for each series: count, total, low, high, nulls
  CONSTRAINT metric_rollup_pk PRIMARY KEY (shard, level_seconds, group_id, bucket_from, part)
) PARTITION BY RANGE (level_seconds, bucket_from);
ALTER TABLE metric_rollup ALTER COLUMN head SET STORAGE MAIN, ALTER COLUMN body SET STORAGE EXTERNAL;
