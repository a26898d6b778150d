-- History for people: blocks and rollups read with SQL alone, some microseconds a value, behind views. muster
-- itself reads them with schema/block.hpp, whose form this follows; docs/storage.md shows how to ask.
-- The functions are pure: they turn bytes into arrays and read no table.

CREATE FUNCTION muster_varint(bytes bytea, INOUT at int, OUT value numeric)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  b int;
  weight numeric := 1;
BEGIN
  value := 0;
  LOOP
    b := get_byte(bytes, at);
    at := at + 1;
    value := value + (b & 127) * weight;
    EXIT WHEN b < 128;
    weight := weight * 128;
  END LOOP;
END $$;

CREATE FUNCTION muster_unzigzag(z numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT CASE WHEN mod(z, 2) = 0 THEN div(z, 2) ELSE -div(z + 1, 2) END $$;

-- n integers from a place on, and the place behind them.
CREATE FUNCTION muster_ints(bytes bytea, INOUT at int, n int, OUT x numeric[])
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  how int;
  degree int;
  divisor numeric := 1;
  origin numeric := 0;
  first numeric;
  step numeric := 0;
  last numeric;
  i int := 1;
  stop int;
  k int;
  bits bit varying;
  p int;
  ones int;
  z numeric;
BEGIN
  how := get_byte(bytes, at);
  at := at + 1;
  degree := how & 3;
  IF how & 4 <> 0 THEN
    SELECT v.at, v.value INTO at, divisor FROM muster_varint(bytes, at) v;
    SELECT v.at, muster_unzigzag(v.value) INTO at, origin FROM muster_varint(bytes, at) v;
  END IF;
  SELECT v.at, muster_unzigzag(v.value) INTO at, first FROM muster_varint(bytes, at) v;
  IF degree > 0 THEN
    SELECT v.at, muster_unzigzag(v.value) INTO at, step FROM muster_varint(bytes, at) v;
    x[1] := first;
    last := first;
    i := 2;
  END IF;
  IF degree > 1 THEN
    last := first + step;
    x[2] := last;
    i := 3;
  END IF;
  WHILE i <= n LOOP
    k := get_byte(bytes, at);
    at := at + 1;
    stop := least(i + 127, n);
    IF k < 64 THEN
      -- A residual takes 84 bits at most.
      bits := ('x' || encode(substring(bytes FROM at + 1 FOR (stop - i + 1) * 11), 'hex'))::bit varying;
      p := 1;
    END IF;
    FOR j IN i .. stop LOOP
      IF k = 64 THEN
        z := 0;
      ELSE
        ones := position(B'0' IN substring(bits FROM p FOR 20)) - 1;
        IF ones < 0 THEN
          z := (substring(bits FROM p + 20 FOR 64)::bit(64))::bigint;
          IF z < 0 THEN z := z + 18446744073709551616; END IF;
          p := p + 84;
        ELSE
          p := p + ones + 1;
          z := ones;
          IF k > 0 THEN
            z := z * (1::bigint << k) + ((substring(bits FROM p FOR k)::bit(64)) >> (64 - k))::bigint;
            p := p + k;
          END IF;
        END IF;
        z := CASE WHEN mod(z, 2) = 0 THEN div(z, 2) ELSE -div(z + 1, 2) END;
      END IF;
      IF degree = 0 THEN
        last := first + z;
      ELSIF degree = 1 THEN
        last := last + step + z;
      ELSE
        step := step + z;
        last := last + step;
      END IF;
      x[j] := last;
    END LOOP;
    IF k < 64 THEN at := at + (p + 6) / 8; END IF;
    i := stop + 1;
  END LOOP;
  -- Arithmetic is that of 64 bits.
  FOR j IN 1 .. n LOOP
    last := origin + x[j] * divisor;
    IF last < -9223372036854775808 OR last > 9223372036854775807 THEN
      last := last - 18446744073709551616 * floor((last + 9223372036854775808) / 18446744073709551616);
    END IF;
    x[j] := last;
  END LOOP;
END $$;

-- The times of a block, and where its columns end in the body.
CREATE FUNCTION muster_head(head bytea, OUT ts timestamptz[], OUT ends int[])
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  at int := 1;
  n int;
  columns int;
  x numeric[];
  b int;
  size int;
  shift int;
  total int := 0;
BEGIN
  IF get_byte(head, 0) <> 1 THEN RAISE 'a block of a form that these functions do not know'; END IF;
  SELECT v.at, v.value::int INTO at, n FROM muster_varint(head, at) v;
  SELECT v.at, v.value::int INTO at, columns FROM muster_varint(head, at) v;
  SELECT v.at, v.x INTO at, x FROM muster_ints(head, at, n) v;
  FOR i IN 1 .. n LOOP
    ts[i] := timestamptz 'epoch' + x[i]::float8 * interval '1 microsecond';
  END LOOP;
  FOR c IN 1 .. columns LOOP
    size := 0;
    shift := 0;
    LOOP
      b := get_byte(head, at);
      at := at + 1;
      size := size + ((b & 127) << shift);
      EXIT WHEN b < 128;
      shift := shift + 7;
    END LOOP;
    total := total + (size >> 1);
    ends[c] := total;
  END LOOP;
END $$;

-- A double by its bits, read as an unsigned number; NULL for null and stale, which are markers.
CREATE FUNCTION muster_double(bits numeric) RETURNS float8
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  exponent int := div(mod(bits, 9223372036854775808), 4503599627370496);
  mantissa float8 := mod(bits, 4503599627370496);
  v float8;
BEGIN
  IF bits = 9221120237048329580 OR bits = 9218868437227405314 THEN RETURN NULL; END IF;
  IF exponent = 2047 THEN
    v := CASE WHEN mantissa = 0 THEN 'Infinity' ELSE 'NaN' END;
  ELSIF exponent = 0 THEN
    v := mantissa * 4.9406564584124654e-324;
  ELSE
    v := (4503599627370496 + mantissa) * power(2::float8, exponent - 1075);
  END IF;
  RETURN CASE WHEN bits >= 9223372036854775808 THEN -v ELSE v END;
END $$;

-- A column (counted from 0) of a block with n times: NULL where there is no value, or where a marker says why.
-- `markers` is NULL when there is none.
CREATE FUNCTION muster_column(body bytea, ends int[], slot int, n int, OUT vals float8[], OUT markers text[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  bytes bytea;
  at int := 0;
  tag int;
  form int;
  runs int;
  run int;
  present boolean[];
  count int := n;
  kinds numeric[] := '{}';
  kind numeric;
  kind_count int := 0;
  exceptions int := 0;
  exception_at int[] := '{}';
  exception_kind int[] := '{}';
  gap int;
  which int;
  after int := 0;
  scale int;
  x numeric[];
  constant float8;
  marker text;
  v float8;
  ordinary int := 0;
  e int := 1;
  o int := 1;
  i int := 1;
BEGIN
  vals := array_fill(NULL::float8, ARRAY[n]);
  bytes := substring(body FROM CASE WHEN slot = 0 THEN 0 ELSE ends[slot] END + 1
                          FOR ends[slot + 1] - CASE WHEN slot = 0 THEN 0 ELSE ends[slot] END);
  IF length(bytes) = 0 THEN RETURN; END IF;
  tag := get_byte(bytes, 0);
  at := 1;
  form := tag & 7;
  IF tag & 8 <> 0 THEN
    count := 0;
    SELECT v.at, v.value::int INTO at, runs FROM muster_varint(bytes, at) v;
    IF runs = 0 THEN
      FOR r IN 1 .. n LOOP
        present[r] := (get_byte(bytes, at + (r - 1) / 8) >> ((r - 1) % 8)) & 1 = 1;
        IF present[r] THEN count := count + 1; END IF;
      END LOOP;
      at := at + (n + 7) / 8;
    ELSE
      FOR r IN 1 .. runs LOOP
        SELECT v.at, v.value::int INTO at, run FROM muster_varint(bytes, at) v;
        FOR s IN 1 .. run LOOP
          present[i] := r % 2 = 1;
          i := i + 1;
        END LOOP;
        IF r % 2 = 1 THEN count := count + run; END IF;
      END LOOP;
    END IF;
  END IF;
  IF tag & 16 <> 0 THEN
    SELECT v.at, v.value::int INTO at, kind_count FROM muster_varint(bytes, at) v;
    FOR r IN 1 .. kind_count LOOP
      kind := 0;
      FOR s IN REVERSE 7 .. 0 LOOP
        kind := kind * 256 + get_byte(bytes, at + s);
      END LOOP;
      kinds[r] := kind;
      at := at + 8;
    END LOOP;
    SELECT v.at, v.value::int INTO at, exceptions FROM muster_varint(bytes, at) v;
    FOR r IN 1 .. exceptions LOOP
      SELECT v.at, v.value::int INTO at, gap FROM muster_varint(bytes, at) v;
      which := 0;
      IF kind_count > 1 THEN SELECT v.at, v.value::int INTO at, which FROM muster_varint(bytes, at) v; END IF;
      exception_at[r] := after + gap;
      exception_kind[r] := which + 1;
      after := after + gap + 1;
    END LOOP;
  END IF;
  ordinary := count - exceptions;
  IF form = 0 THEN
    SELECT muster_unzigzag(v.value) INTO constant FROM muster_varint(bytes, at) v;
  ELSIF form = 1 THEN
    kind := 0;
    FOR s IN REVERSE 7 .. 0 LOOP
      kind := kind * 256 + get_byte(bytes, at + s);
    END LOOP;
    constant := muster_double(kind);
    marker := CASE kind WHEN 9221120237048329580 THEN 'null' WHEN 9218868437227405314 THEN 'stale' END;
  ELSIF form IN (2, 3) THEN
    scale := get_byte(bytes, at);
    SELECT v.x INTO x FROM muster_ints(bytes, at + 1, ordinary) v;
  END IF;

  -- In their places: ordinary values and exceptions as they follow each other, where there is a value at all.
  i := 0;
  FOR r IN 1 .. n LOOP
    CONTINUE WHEN present IS NOT NULL AND NOT present[r];
    IF e <= exceptions AND exception_at[e] = i THEN
      kind := kinds[exception_kind[e]];
      vals[r] := muster_double(kind);
      IF kind IN (9221120237048329580, 9218868437227405314) THEN
        markers[r] := CASE kind WHEN 9221120237048329580 THEN 'null' ELSE 'stale' END;
      END IF;
      e := e + 1;
    ELSIF form < 2 THEN
      vals[r] := constant;
      IF marker IS NOT NULL THEN markers[r] := marker; END IF;
    ELSIF form = 2 THEN
      vals[r] := x[o]::float8 / ('1e' || scale)::float8;
      o := o + 1;
    ELSE
      kind := x[o] * power(2::numeric, scale);
      vals[r] := muster_double(trunc(kind - 18446744073709551616 * floor(kind / 18446744073709551616)));
      o := o + 1;
    END IF;
    i := i + 1;
  END LOOP;
END $$;

-- One row per sample that lies in a block. `part_from` and `part_to` are the first and last time of the block: a
-- condition on them lets PostgreSQL leave blocks and days out, one on `ts` alone does not.
CREATE VIEW v_sample_block AS
SELECT b.shard, r.series_id, s.model, r.metric, s.version, h.ts[i] AS ts, c.vals[i] AS value, c.markers[i] AS marker,
       b.ts_from AS part_from, b.ts_to AS part_to
FROM sample_block b
JOIN series_set s ON s.shard = b.shard AND s.set_id = b.set_id
CROSS JOIN LATERAL unnest(s.series_ids) WITH ORDINALITY AS m (series_id, place)
JOIN series r ON r.shard = b.shard AND r.series_id = m.series_id
CROSS JOIN LATERAL muster_head(b.head) AS h
CROSS JOIN LATERAL muster_column(b.body, h.ends, m.place::int - 1, cardinality(h.ts)) AS c
CROSS JOIN LATERAL generate_subscripts(h.ts, 1) AS i
WHERE c.vals[i] IS NOT NULL OR c.markers[i] IS NOT NULL;

-- One row per sample of the last two hours: those that arrived in them and are in the log, and those that were
-- measured in them and are in a block. `marker` names the two NaNs that have a meaning; their value is NULL.
CREATE OR REPLACE VIEW v_sample_recent AS
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
WHERE l.written_at > now() - interval '2 hours'
UNION ALL
SELECT shard, series_id, model, metric, version, ts, value, marker FROM v_sample_block
WHERE part_to > now() - interval '2 hours' AND part_from > now() - interval '26 hours' AND ts > now() - interval '2 hours';

-- One row per model, metric and bucket. Late samples make a second row of a bucket, so add up:
-- sum(sum) / sum(samples), min(min), max(max). Of a counter `increase` is that between samples of the bucket,
-- `first` and `last` its values.
CREATE VIEW v_metric AS
SELECT CASE r.level_seconds WHEN 60 THEN '1m' WHEN 300 THEN '5m' WHEN 3600 THEN '1h' WHEN 86400 THEN '1d' END AS level,
       s.model, g.metric, h.ts[i] AS ts, coalesce(c.vals[i], 0)::bigint AS samples, coalesce(x.vals[i], 0)::bigint AS nulls,
       CASE WHEN NOT g.counter THEN t.vals[i] / c.vals[i] END AS avg,
       CASE WHEN NOT g.counter THEN a.vals[i] END AS min, CASE WHEN NOT g.counter THEN z.vals[i] END AS max,
       CASE WHEN NOT g.counter THEN t.vals[i] END AS sum,
       CASE WHEN g.counter THEN t.vals[i] END AS increase,
       CASE WHEN g.counter THEN a.vals[i] END AS first, CASE WHEN g.counter THEN z.vals[i] END AS last,
       r.bucket_from AS part_from, r.bucket_to AS part_to
FROM rollup_group g
JOIN metric_rollup r ON r.shard = g.shard AND r.group_id = g.group_id
CROSS JOIN LATERAL muster_head(r.head) AS h
CROSS JOIN LATERAL unnest(g.series_ids) WITH ORDINALITY AS m (series_id, place)
JOIN series s ON s.shard = g.shard AND s.series_id = m.series_id
CROSS JOIN LATERAL muster_column(r.body, h.ends, m.place::int * 5 - 5, cardinality(h.ts)) AS c
CROSS JOIN LATERAL muster_column(r.body, h.ends, m.place::int * 5 - 4, cardinality(h.ts)) AS t
CROSS JOIN LATERAL muster_column(r.body, h.ends, m.place::int * 5 - 3, cardinality(h.ts)) AS a
CROSS JOIN LATERAL muster_column(r.body, h.ends, m.place::int * 5 - 2, cardinality(h.ts)) AS z
CROSS JOIN LATERAL muster_column(r.body, h.ends, m.place::int * 5 - 1, cardinality(h.ts)) AS x
CROSS JOIN LATERAL generate_subscripts(h.ts, 1) AS i
WHERE c.vals[i] IS NOT NULL OR x.vals[i] IS NOT NULL;

-- One row per block: what a set takes, and whether late samples split it.
CREATE VIEW v_block AS
SELECT b.shard, b.set_id, s.model, s.version, b.ts_from, b.ts_to, b.samples,
       octet_length(b.head) + octet_length(b.body) AS bytes
FROM sample_block b
JOIN series_set s ON s.shard = b.shard AND s.set_id = b.set_id;

-- One row per partition, with indexes and TOAST; rows as PostgreSQL estimates them.
CREATE VIEW v_storage AS
SELECT CASE p.relname WHEN 'sample_log' THEN 'log' WHEN 'sample_block' THEN 'blocks'
                      ELSE CASE split_part(c.relname, '_', 3) WHEN '60' THEN '1m' WHEN '300' THEN '5m' WHEN '3600' THEN '1h' ELSE '1d' END
       END AS kind,
       c.relname::text AS partition, pg_get_expr(c.relpartbound, c.oid) AS range,
       pg_total_relation_size(c.oid) AS bytes, greatest(c.reltuples, 0)::bigint AS rows
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_class p ON p.oid = i.inhparent
WHERE p.oid IN ('sample_log'::regclass, 'sample_block'::regclass, 'metric_rollup'::regclass);
