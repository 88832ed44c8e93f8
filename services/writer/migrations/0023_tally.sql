-- What reports count by: one narrow row for each record, kept up as the log grows, so that a month of ten million events is
-- counted without reading their JSON again. Derived from schema audit alone and made anew from it at any time; nothing that a
-- verification believes. Names from events stand here too: an erasure takes them out in its own transaction.
CREATE SCHEMA tally AUTHORIZATION piperoll_owner;
SET LOCAL ROLE piperoll_owner;

-- `time_us` is the time that the view audit_events shows; `stated`: 0 the event's own time with a zone, 1 none, 2 without a
-- zone. `floor` and `ai` are levels as of audit.risk_level. `blank`: the payload is gone. `span`: offsets of a skip record.
-- `shape` is a hash over what most events have in common with others: by it they are counted, faster than by all that it stands for.
-- Of an annotation `ai`, `by` and `tags` are what it says; of an own event `type` and `source`; of a skip `type` is its reason.
CREATE TABLE tally.fact (
    seq bigint NOT NULL,
    appended_us bigint NOT NULL,
    time_us bigint NOT NULL,
    source_offset bigint,
    span bigint,
    chain_no smallint NOT NULL,
    kind smallint NOT NULL,
    stated smallint NOT NULL,
    floor smallint,
    ai smallint,
    pending boolean NOT NULL,
    blank boolean NOT NULL,
    type text COLLATE "C" NOT NULL,
    source text COLLATE "C",
    actor text COLLATE "C",
    by text COLLATE "C",
    tags text[] COLLATE "C" NOT NULL,
    rules text[] COLLATE "C",
    producer bytea,
    number numeric(20),
    shape uuid NOT NULL,
    PRIMARY KEY (chain_no, seq)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- Up to which record of each chain there are facts.
CREATE TABLE tally.folded (
    chain_no smallint PRIMARY KEY,
    next_seq bigint NOT NULL
);

CREATE INDEX fact_time ON tally.fact USING brin (appended_us, time_us) WITH (pages_per_range = 32);
CREATE INDEX fact_own ON tally.fact (type, appended_us) WHERE kind = 8;
CREATE INDEX fact_grave ON tally.fact (appended_us) WHERE floor >= 4 OR ai >= 4;
CREATE INDEX fact_other ON tally.fact (kind, appended_us) WHERE kind NOT IN (1, 8);
CREATE INDEX fact_numbered ON tally.fact (producer, number) WHERE number IS NOT NULL;
-- Was a name there before? By hash, since names have no length limit that an index would take.
CREATE INDEX fact_type ON tally.fact (hashtextextended(type, 0), least(time_us, appended_us)) WHERE kind = 1;
CREATE INDEX fact_source ON tally.fact (hashtextextended(source, 0), least(time_us, appended_us)) WHERE kind = 1;
CREATE INDEX fact_actor ON tally.fact (hashtextextended(actor, 0), least(time_us, appended_us)) WHERE actor IS NOT NULL;

-- A bigint in a JSON object, null where there is none.
CREATE FUNCTION tally.number_in(document jsonb, name text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN document ->> name ~ '^[0-9]{1,18}$' THEN (document ->> name)::bigint END;

-- The first half of SHA-256 over the fields' text, so that nobody makes two shapes alike.
CREATE FUNCTION tally.shape_of(
    kind smallint, floor smallint, ai smallint, pending boolean, blank boolean, type text, source text, by text, tags text[], rules text[]
) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(substr(sha256(convert_to(ROW(kind, floor, ai, pending, blank, type, source, by, tags, rules)::text, 'UTF8')), 1, 16), 'hex')::uuid;

-- The facts of records $2 to before $3 of a chain, from the records themselves.
CREATE FUNCTION tally.derive(of_chain smallint, first bigint, before bigint) RETURNS SETOF tally.fact
LANGUAGE sql STABLE AS $$
    SELECT f.*, tally.shape_of(f.kind, f.floor, f.ai, f.pending, f.blank, f.type, f.source, f.by, f.tags, f.rules)
    FROM (
        SELECT
            r.seq,
            r.appended_us,
            coalesce(r.event_time_us, CASE WHEN r.kind IN (1, 3) THEN audit.kafka_us(r.leaf) END, r.appended_us),
            r.source_offset,
            CASE WHEN r.kind = 4 THEN tally.number_in(x.j, 'last') - tally.number_in(x.j, 'first') + 1 END,
            r.chain_no,
            r.kind,
            (CASE WHEN r.event_time_us IS NULL THEN 1 WHEN r.kind = 1 AND x.j -> 'tags' ? 'time:no-zone' THEN 2 ELSE 0 END)::smallint,
            (CASE WHEN r.kind IN (1, 3) THEN audit.risk_floor(x.j) END)::smallint,
            (CASE WHEN r.kind IN (1, 3) THEN audit.risk_ai(x.j, NULL) WHEN r.kind = 7 THEN audit.risk_level(x.j ->> 'risk') END)::smallint,
            r.kind IN (1, 3) AND coalesce(x.j -> 'pending' = 'true', false),
            p.seq IS NULL OR (r.kind = 7 AND x.j IS NULL),
            CASE
                WHEN r.kind IN (1, 3) THEN coalesce(x.j ->> 'type', '')
                WHEN r.kind = 8 THEN coalesce(left(x.j ->> 'type', 200), '')
                WHEN r.kind = 4 THEN coalesce(x.j ->> 'reason', '')
                ELSE ''
            END,
            CASE WHEN r.kind IN (1, 3, 8) THEN x.j ->> 'source' END,
            CASE WHEN r.kind IN (1, 3) THEN x.j #>> '{who,actor}' END,
            CASE
                WHEN r.kind IN (1, 3) THEN coalesce(x.j ->> 'by', CASE WHEN x.j IS NOT NULL THEN 'rules' END)
                WHEN r.kind = 7 THEN coalesce(x.j ->> 'by', x.j ->> 'model')
            END,
            CASE WHEN r.kind IN (1, 2, 3, 7) THEN audit.tags_of(x.j, NULL) ELSE '{}' END,
            CASE WHEN r.kind IN (1, 3) AND x.j ? 'rules' THEN ARRAY(
                SELECT jsonb_build_array(hit ->> 'id', hit ->> 'title', hit ->> 'level')::text
                FROM jsonb_path_query(x.j, 'lax $.rules[*] ? (@.type() == "object")') WITH ORDINALITY AS found (hit, place) ORDER BY place
            ) END,
            CASE WHEN r.kind = 1 AND substr(r.leaf, 156, 8) <> '\x0000000000000000' THEN substr(r.leaf, 140, 16) END,
            CASE WHEN r.kind = 1 AND substr(r.leaf, 156, 8) <> '\x0000000000000000' THEN
                ('x' || encode(substr(r.leaf, 156, 4), 'hex'))::bit(32)::bigint::numeric * 4294967296
                + ('x' || encode(substr(r.leaf, 160, 4), 'hex'))::bit(32)::bigint END
        FROM audit.record r
        LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN jsonb_typeof(said.j) = 'object' THEN said.j END AS j FROM (
                SELECT CASE
                    WHEN r.kind IN (1, 3) THEN audit.json_of(p.enrich)
                    WHEN r.kind IN (2, 4, 7, 8) THEN audit.json_of(audit.value_of(p.body))
                END AS j OFFSET 0
            ) said OFFSET 0
        ) x
        WHERE r.chain_no = of_chain AND r.seq >= first AND r.seq < before
        OFFSET 0 -- as it stands: a range of one chain, never all of them joined
    ) f (seq, appended_us, time_us, source_offset, span, chain_no, kind, stated, floor, ai, pending, blank, type, source, actor, by, tags,
        rules, producer, number)
$$;

-- The facts of records that are not folded yet, from the records themselves; and those of all records.
CREATE VIEW tally.unfolded AS
SELECT d.*
FROM audit.chain_head h
LEFT JOIN tally.folded u USING (chain_no)
CROSS JOIN LATERAL tally.derive(h.chain_no, coalesce(u.next_seq, 0), h.next_seq) d;

CREATE VIEW tally.facts AS
SELECT f.* FROM tally.fact f UNION ALL SELECT u.* FROM tally.unfolded u;

-- The facts of one record, kept or derived.
CREATE FUNCTION tally.one(of_chain smallint, of_seq bigint) RETURNS SETOF tally.fact
LANGUAGE sql STABLE AS $$
    SELECT f.* FROM tally.fact f WHERE f.chain_no = of_chain AND f.seq = of_seq
    UNION ALL
    SELECT d.* FROM tally.derive(of_chain, of_seq, of_seq + 1) d
    WHERE of_seq >= coalesce((SELECT u.next_seq FROM tally.folded u WHERE u.chain_no = of_chain), 0)
$$;

-- Folds the next records of a chain, `most` at once, and returns how many numbers it went on. It takes the lock that
-- appending takes: no erasure comes between reading a payload and keeping its fact.
CREATE FUNCTION tally.fold(of_chain smallint, most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    first bigint;
    before bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(audit.order_lock());
    INSERT INTO tally.folded (chain_no, next_seq) VALUES (of_chain, 0) ON CONFLICT DO NOTHING;
    SELECT next_seq INTO first FROM tally.folded WHERE chain_no = of_chain FOR UPDATE;
    SELECT least(next_seq, first + most) INTO before FROM audit.chain_head WHERE chain_no = of_chain;
    IF before IS NULL OR before <= first THEN
        RETURN 0;
    END IF;
    INSERT INTO tally.fact SELECT d.* FROM tally.derive(of_chain, first, before) d ORDER BY d.seq;
    UPDATE tally.folded SET next_seq = before WHERE chain_no = of_chain;
    RETURN before - first;
END $$;

-- Makes facts anew from their records, where they are those of records that an order has changed.
CREATE FUNCTION tally.renew(of_chain smallint, of_seq bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH known AS (DELETE FROM tally.fact WHERE chain_no = of_chain AND seq = of_seq RETURNING seq)
    INSERT INTO tally.fact SELECT d.* FROM known CROSS JOIN LATERAL tally.derive(of_chain, known.seq, known.seq + 1) d
$$;

-- What is left of a fact when the payload is gone: what the record itself says.
CREATE FUNCTION tally.blank_erased() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE tally.fact f
    SET blank = true, type = '', source = NULL, actor = NULL, by = NULL, tags = '{}', rules = NULL, ai = NULL, pending = false,
        floor = CASE WHEN f.kind IN (1, 3) THEN 1 END, stated = CASE f.stated WHEN 2 THEN 0 ELSE f.stated END,
        shape = tally.shape_of(f.kind, (CASE WHEN f.kind IN (1, 3) THEN 1 END)::smallint, NULL, false, true, '', NULL, NULL, '{}', NULL)
    FROM (
        SELECT r.chain_no, r.seq
        FROM added e
        JOIN audit.chain c ON c.topic_id = e.topic_id AND c.partition = e.partition
        JOIN audit.record r ON r.chain_no = c.chain_no AND r.source_offset = e.source_offset
        WHERE r.kind IN (1, 2, 3, 7)
        UNION
        SELECT n.chain_no, n.seq
        FROM added e
        JOIN audit.annotation n USING (topic_id, partition, source_offset)
    ) gone
    WHERE f.chain_no = gone.chain_no AND f.seq = gone.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER blank_erased AFTER INSERT ON audit.erasure REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION tally.blank_erased();
ALTER TABLE audit.erasure ENABLE ALWAYS TRIGGER blank_erased;

-- The same for what was retained away, `most` facts at once; returns how many.
CREATE FUNCTION tally.blank_retained(most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bound bigint := (SELECT (extract(epoch FROM max(until)) * 1000000)::bigint FROM audit.retention);
    gone bigint;
BEGIN
    IF bound IS NULL THEN
        RETURN 0;
    END IF;
    WITH overdue AS (
        SELECT f.chain_no, f.seq FROM tally.fact f
        WHERE f.appended_us < bound AND NOT f.blank AND f.kind IN (1, 2, 3, 7, 8)
            AND NOT EXISTS (SELECT FROM audit.payload p WHERE p.chain_no = f.chain_no AND p.seq = f.seq)
        LIMIT most
    )
    UPDATE tally.fact f
    SET blank = true, type = '', source = NULL, actor = NULL, by = NULL, tags = '{}', rules = NULL, ai = NULL, pending = false,
        floor = CASE WHEN f.kind IN (1, 3) THEN 1 END, stated = CASE f.stated WHEN 2 THEN 0 ELSE f.stated END,
        shape = tally.shape_of(f.kind, (CASE WHEN f.kind IN (1, 3) THEN 1 END)::smallint, NULL, false, true, '', NULL, NULL, '{}', NULL)
    FROM overdue o WHERE f.chain_no = o.chain_no AND f.seq = o.seq;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- The time by which a record counts in a period (from `starts` to before `ends`; `before`: the start of the period before;
-- `grace`: how long after its end a period takes events that happened in it), null where it is in another one. Microseconds.
-- By rule: `append` when it was recorded; `event` when it happened; `schedule` when it happened if it says so, was not more
-- than five minutes ahead, and its period was still open when it was recorded; else when it was recorded. The periods of a
-- schedule then have every record exactly once, as long as none is shorter than its grace.
CREATE FUNCTION tally.counted_us(
    rule text, starts bigint, ends bigint, before bigint, grace bigint, stated smallint, time_us bigint, appended_us bigint
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE rule
    WHEN 'append' THEN CASE WHEN appended_us >= starts AND appended_us < ends THEN appended_us END
    WHEN 'event' THEN CASE WHEN time_us >= starts AND time_us < ends THEN time_us END
    ELSE CASE
        WHEN stated = 0 AND time_us >= starts AND time_us < ends AND time_us <= appended_us + 300000000
            AND appended_us < ends + grace THEN time_us
        WHEN appended_us >= starts AND appended_us < ends AND NOT (
            stated = 0 AND time_us <= appended_us + 300000000
            AND (time_us >= ends OR (time_us >= before AND time_us < starts AND appended_us < starts + grace))
        ) THEN appended_us
    END
END;

-- Whether a record counts in a period before the one that starts at $2 and ends at $3; by rule as in tally.counted_us.
CREATE FUNCTION tally.is_earlier(
    rule text, starts bigint, ends bigint, before bigint, grace bigint, stated smallint, time_us bigint, appended_us bigint
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE rule
    WHEN 'append' THEN appended_us < starts
    WHEN 'event' THEN time_us < starts
    ELSE appended_us < ends
        AND NOT (stated = 0 AND time_us >= ends AND time_us <= appended_us + 300000000)
        AND tally.counted_us(rule, starts, ends, before, grace, stated, time_us, appended_us) IS NULL
END;

GRANT USAGE ON SCHEMA tally TO piperoll_reporter;
GRANT SELECT ON tally.fact, tally.folded, tally.unfolded, tally.facts TO piperoll_reporter;
REVOKE ALL ON FUNCTION tally.number_in(jsonb, text),
    tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[]), tally.derive(smallint, bigint, bigint), tally.one(smallint, bigint), tally.fold(smallint, bigint),
    tally.renew(smallint, bigint), tally.blank_erased(), tally.blank_retained(bigint),
    tally.counted_us(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint),
    tally.is_earlier(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tally.number_in(jsonb, text),
    tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[]), tally.derive(smallint, bigint, bigint), tally.one(smallint, bigint), tally.fold(smallint, bigint),
    tally.renew(smallint, bigint), tally.blank_retained(bigint),
    tally.counted_us(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint),
    tally.is_earlier(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint) TO piperoll_reporter;
RESET ROLE;
