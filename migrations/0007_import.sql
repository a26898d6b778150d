-- Imports of history: how far each source is read, and the learning that follows.

CREATE TABLE import_source (
  source     text   NOT NULL,  -- the sender's own name for what it reads
  cursor     text   NOT NULL,  -- how far it is, in the sender's words; all before it is committed
  samples    bigint NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  brought_at timestamptz,      -- when it last brought samples that were new
  CONSTRAINT import_source_pk PRIMARY KEY (source)
);

-- One row a time that the aggregator learned anew from all that is stored. incidents_before is fixed when it is
-- asked for, so that a learning that was cut short and begun again gives its incidents the same ids.
CREATE TABLE relearning (
  number           bigint GENERATED ALWAYS AS IDENTITY,
  pages_from       timestamptz NOT NULL,  -- nothing that opens before it may wake anybody
  incidents_before bigint NOT NULL,       -- the highest number of an incident that was there
  wanted_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_at          timestamptz,
  CONSTRAINT relearning_pk PRIMARY KEY (number)
);
