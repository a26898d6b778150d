-- What people declare (catalog) and what muster decides by (control).

-- Who uses what, a document a change; the newest version counts.
CREATE TABLE topology (
  version    bigint GENERATED ALWAYS AS IDENTITY,
  applied_at timestamptz NOT NULL,
  doc        jsonb NOT NULL,  -- muster-topology/1
  CONSTRAINT topology_pk PRIMARY KEY (version)
);

CREATE TABLE event (
  event_id    bigint NOT NULL,  -- 63-bit hash of the content: the same event sent twice is one
  ts          timestamptz NOT NULL,
  until_ts    timestamptz,
  kind        text NOT NULL,
  subject     text NOT NULL,
  title       text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT event_pk PRIMARY KEY (event_id)
);
CREATE INDEX event_by_ts ON event (ts);

-- A start of a collector. Its id is never used again, so its batches may be numbered from 1.
CREATE TABLE collector_incarnation (
  collector_id bigint GENERATED ALWAYS AS IDENTITY,
  name         text NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT collector_incarnation_pk PRIMARY KEY (collector_id)
);

-- What an aggregator knew, and how far in the log it was then. Two slots in turn, so that the one before the
-- last is there should the last one be unreadable.
CREATE TABLE aggregator_snapshot (
  aggregator text NOT NULL,
  slot       smallint NOT NULL,
  sequence   bigint NOT NULL,  -- the higher one is the last
  at_tick    timestamptz NOT NULL,
  positions  jsonb NOT NULL,   -- [[shard, collector, batch], …]
  bytes      bigint NOT NULL,
  checksum   bigint NOT NULL,  -- XXH3 of the state
  written_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT aggregator_snapshot_pk PRIMARY KEY (aggregator, slot),
  CONSTRAINT aggregator_snapshot_slot CHECK (slot IN (0, 1))
);
-- Its state in parts, as one value may not be larger than 1 GB.
CREATE TABLE aggregator_state (
  aggregator text NOT NULL,
  slot       smallint NOT NULL,
  part       int NOT NULL,
  bytes      bytea COMPRESSION lz4 NOT NULL,
  CONSTRAINT aggregator_state_pk PRIMARY KEY (aggregator, slot, part),
  CONSTRAINT aggregator_state_snapshot FOREIGN KEY (aggregator, slot)
    REFERENCES aggregator_snapshot (aggregator, slot) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 16);

CREATE TABLE incident (
  incident_id text NOT NULL,
  -- What the aggregator says. A newer finding replaces all of it.
  sequence    bigint NOT NULL,
  state       text NOT NULL,
  severity    text NOT NULL,
  paged       boolean NOT NULL,
  cause       text NOT NULL,
  cause_kind  text NOT NULL,
  team        text NOT NULL,
  title       text NOT NULL,
  score       float8 NOT NULL,
  opened_at   timestamptz NOT NULL,
  started_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  resolved_at timestamptz,
  merged_into text NOT NULL,
  reopened_at_sequence bigint NOT NULL,  -- of the last finding that opened or reopened it
  doc         jsonb COMPRESSION lz4 NOT NULL,
  -- What people say. A finding never touches it.
  acked_at      timestamptz,
  acked_by      text,
  snoozed_until timestamptz,
  assigned_to   text,
  closed_at     timestamptz,
  closed_by     text,
  -- The finding that they had seen. A reopening with a higher sequence makes the closing void.
  closed_at_sequence bigint,
  CONSTRAINT incident_pk PRIMARY KEY (incident_id),
  CONSTRAINT incident_state CHECK (state IN ('open', 'resolved', 'merged')),
  CONSTRAINT incident_severity CHECK (severity IN ('info', 'warning', 'critical')),
  CONSTRAINT incident_ack CHECK ((acked_at IS NULL) = (acked_by IS NULL)),
  CONSTRAINT incident_closed CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
CREATE INDEX incident_by_opening ON incident (opened_at DESC, incident_id DESC);
CREATE INDEX incident_open ON incident (state, opened_at DESC) WHERE state = 'open';

-- Every finding once: (incident, sequence) makes a replay after a crash harmless. `doc` is the incident's summary
-- as it stood then; the whole of it stands in `incident`.
CREATE TABLE incident_finding (
  incident_id text NOT NULL,
  sequence    bigint NOT NULL,
  at          timestamptz NOT NULL,
  what        text NOT NULL,
  doc         jsonb COMPRESSION lz4 NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT incident_finding_pk PRIMARY KEY (incident_id, sequence),
  CONSTRAINT incident_finding_incident FOREIGN KEY (incident_id) REFERENCES incident (incident_id)
);

-- What people did, in order: the history that the columns of `incident` are the sum of.
CREATE TABLE incident_action (
  action_id   bigint GENERATED ALWAYS AS IDENTITY,
  incident_id text NOT NULL,
  at          timestamptz NOT NULL,
  actor       text NOT NULL,
  what        text NOT NULL,
  note        text NOT NULL,
  CONSTRAINT incident_action_pk PRIMARY KEY (action_id),
  CONSTRAINT incident_action_incident FOREIGN KEY (incident_id) REFERENCES incident (incident_id),
  CONSTRAINT incident_action_what
    CHECK (what IN ('ack', 'unack', 'snooze', 'unsnooze', 'assign', 'resolve', 'note'))
);
CREATE INDEX incident_action_by_incident ON incident_action (incident_id, action_id);

-- What the router remembers (groups, timers, who was told), written with the notices that follow from it.
CREATE TABLE router_memory (
  router     text NOT NULL,
  version    bigint NOT NULL,  -- grows by one a change, so that two routers cannot overwrite each other unseen
  memory     bytea COMPRESSION lz4 NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT router_memory_pk PRIMARY KEY (router)
);

-- Why somebody was told, or was not.
CREATE TABLE decision (
  decision_id  bigint GENERATED ALWAYS AS IDENTITY,
  at           timestamptz NOT NULL,
  stage        text NOT NULL,
  subject_kind text NOT NULL,  -- incident, alert, group
  subject      text NOT NULL,
  receiver     text NOT NULL,
  integration  text NOT NULL,
  verdict      text NOT NULL,
  reason       text NOT NULL,
  details      jsonb NOT NULL,
  CONSTRAINT decision_pk PRIMARY KEY (decision_id)
);
CREATE INDEX decision_by_subject ON decision (subject_kind, subject, decision_id);
CREATE INDEX decision_by_time ON decision (at);

-- Notices on their way to people. Written in the transaction of what caused them, delivered after it.
CREATE TABLE outbox (
  outbox_id       bigint GENERATED ALWAYS AS IDENTITY,
  idempotency_key text NOT NULL,
  group_key       text NOT NULL,
  incident_id     text,            -- none: a notice that is about no incident
  receiver        text NOT NULL,
  integration     int NOT NULL,
  channel         text NOT NULL,
  target          text NOT NULL,
  kind            text NOT NULL,
  sequence        bigint NOT NULL,  -- grows within (group_key, target)
  reason          text NOT NULL,
  body            text COMPRESSION lz4 NOT NULL,  -- to the byte, so that each try sends the same
  line            text NOT NULL,    -- the same for people, in one line
  state           text NOT NULL DEFAULT 'due',
  created_at      timestamptz NOT NULL,
  next_try_at     timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL,
  tries           int NOT NULL DEFAULT 0,
  last_answer     text NOT NULL DEFAULT '',
  delivered_at    timestamptz,
  CONSTRAINT outbox_pk PRIMARY KEY (outbox_id),
  CONSTRAINT outbox_once UNIQUE (idempotency_key),
  CONSTRAINT outbox_kind CHECK (kind IN ('notice', 'resolved')),
  -- superseded: a newer notice of the group to the same target carries all that this one would have said.
  CONSTRAINT outbox_state CHECK (state IN ('due', 'sent', 'failed', 'superseded')),
  CONSTRAINT outbox_delivered CHECK ((delivered_at IS NOT NULL) = (state = 'sent'))
);
CREATE INDEX outbox_due ON outbox (next_try_at, outbox_id) WHERE state = 'due';
CREATE INDEX outbox_queue ON outbox (group_key, target, sequence) WHERE state = 'due';
CREATE INDEX outbox_by_incident ON outbox (incident_id, outbox_id);
CREATE INDEX outbox_by_creation ON outbox (created_at);

CREATE TABLE delivery_try (
  outbox_id bigint NOT NULL,
  try_no    int NOT NULL,
  at        timestamptz NOT NULL,
  delivered boolean NOT NULL,
  answer    text NOT NULL,
  CONSTRAINT delivery_try_pk PRIMARY KEY (outbox_id, try_no),
  CONSTRAINT delivery_try_outbox FOREIGN KEY (outbox_id) REFERENCES outbox (outbox_id) ON DELETE CASCADE
);

