-- The face for SQL users and Grafana: stable, while tables may change. Columns are only ever added, at the end.

CREATE VIEW v_incident AS
SELECT incident_id AS id, state, severity, paged, cause, cause_kind, team, title, doc ->> 'why' AS why, score,
       opened_at, started_at, updated_at, resolved_at, NULLIF(merged_into, '') AS merged_into,
       (doc ->> 'moved')::bigint AS moved, (doc ->> 'members')::bigint AS members,
       acked_at, acked_by, snoozed_until, assigned_to, closed_at, closed_by,
       coalesce(closed_at_sequence >= reopened_at_sequence, false) AS closed_by_person
FROM incident;

CREATE VIEW v_outbox AS
SELECT outbox_id AS id, incident_id, kind, receiver, channel, target, state, reason, line AS text, tries, last_answer,
       created_at, next_try_at, expires_at, delivered_at, idempotency_key
FROM outbox;

-- One row per sample that arrived in the last two hours. `marker` names the two NaNs that have a meaning; their
-- value is NULL.
CREATE VIEW v_sample_recent AS
SELECT l.shard, r.series_id, r.model, r.metric, s.version,
       l.ts + coalesce(l.ts_off[p.place], 0) * interval '1 microsecond' AS ts,
       CASE WHEN m.marker IS NULL THEN v.value END AS value, m.marker
FROM sample_log l
-- Its sets, each with its place in the row and how many values stand before its own.
CROSS JOIN LATERAL (
  SELECT u.set_id, u.place, coalesce(u.n, cardinality(l.vals)) AS n,
         coalesce(sum(u.n) OVER (ORDER BY u.place) - u.n, 0)::int AS before
  FROM unnest(l.set_ids, l.counts) WITH ORDINALITY AS u (set_id, n, place)) AS p
JOIN series_set s ON s.shard = l.shard AND s.set_id = p.set_id
CROSS JOIN LATERAL generate_series(1, p.n) AS k
CROSS JOIN LATERAL (SELECT l.vals[p.before + k] AS value) AS v
CROSS JOIN LATERAL (SELECT CASE float8send(v.value)
                             WHEN '\x7ff80000006e756c'::bytea THEN 'null'
                             WHEN '\x7ff0000000000002'::bytea THEN 'stale'
                           END AS marker) AS m
JOIN series r ON r.shard = l.shard
  -- `pos` counts slots from 0, arrays from 1.
  AND r.series_id = s.series_ids[CASE WHEN l.pos IS NULL THEN k ELSE l.pos[p.before + k] + 1 END]
WHERE l.written_at > now() - interval '2 hours';
