-- Reports: runs of schedules, editions and what is to be delivered, in a schema of their own, the one in which the reporter
-- writes; and reviews, which the view audit_events shows.
CREATE SCHEMA report AUTHORIZATION piperoll_owner;
SET LOCAL ROLE piperoll_owner;

CREATE FUNCTION report.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %.% refused: earlier editions are never overwritten', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- One period of one schedule, for which a report is made: from `starts` to before `ends`. `calendar` is how the schedule
-- cuts time, so that a changed one is noticed before a record falls into two periods, or into none. `due`: by when it must
-- be delivered; null where nobody waits for it.
CREATE TABLE report.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule text NOT NULL CHECK (schedule ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    label text NOT NULL CHECK (label ~ '^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$'),
    starts timestamptz NOT NULL,
    ends timestamptz NOT NULL CHECK (ends > starts),
    time_zone text NOT NULL,
    calendar jsonb NOT NULL,
    due timestamptz,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries integer NOT NULL DEFAULT 0,
    last_error text,
    late_at timestamptz,
    UNIQUE (schedule, starts, ends),
    UNIQUE (schedule, label)
);

-- An edition of a run's report: what it was made of (`inputs`, JSON as it was written), the hash and size of its canonical JSON, hashes of the
-- JSON's parts, its counts (no names from events) and how they differ from those of the edition that it replaces.
CREATE TABLE report.edition (
    id text PRIMARY KEY,
    run bigint NOT NULL REFERENCES report.run,
    number integer NOT NULL CHECK (number > 0),
    replaces text UNIQUE REFERENCES report.edition,
    why text CHECK (why <> ''),
    made_by text NOT NULL CHECK (made_by <> ''),
    made_at timestamptz NOT NULL,
    inputs text NOT NULL,
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size bigint NOT NULL,
    parts jsonb NOT NULL,
    counts jsonb NOT NULL,
    differs jsonb NOT NULL,
    good boolean NOT NULL,
    verdict text NOT NULL,
    UNIQUE (run, number),
    CHECK ((number = 1) = (replaces IS NULL) AND (number = 1 OR why IS NOT NULL))
);

-- The editions whose hash is on audit.system. None is delivered before.
CREATE TABLE report.recorded (
    edition text PRIMARY KEY REFERENCES report.edition,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Who has signed an edition. An index only: the signature is the own event `event_id`.
CREATE TABLE report.signature (
    edition text NOT NULL REFERENCES report.edition,
    signed_by text NOT NULL CHECK (signed_by <> ''),
    role text NOT NULL CHECK (role <> ''),
    event_id text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (edition, signed_by, role)
);

-- What is to be delivered to whom, written before anything is sent. `kind`: edition: the edition's files; alarm: that the
-- run's report is not delivered in time; test: `piperoll report send --test`.
CREATE TABLE report.intent (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL REFERENCES report.run,
    edition text REFERENCES report.edition,
    kind text NOT NULL DEFAULT 'edition' CHECK (kind IN ('edition', 'alarm', 'test')),
    recipient text NOT NULL CHECK (recipient <> ''),
    role text NOT NULL DEFAULT '',
    target text NOT NULL CHECK (target <> ''),
    detail text NOT NULL CHECK (detail IN ('figures', 'pseudonymous', 'full')),
    formats text[] NOT NULL,
    message_id text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'maybe-twice', 'given-up')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz,
    last_error text,
    sent_at timestamptz,
    receipt jsonb,
    CHECK (kind <> 'edition' OR edition IS NOT NULL)
);
CREATE UNIQUE INDEX intent_once ON report.intent (run, kind, coalesce(edition, ''), recipient, target) WHERE kind <> 'test';
CREATE INDEX intent_open ON report.intent (id) WHERE state IN ('waiting', 'sending');

DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['edition', 'recorded', 'signature'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON report.%I EXECUTE FUNCTION report.refuse_change()', named);
        EXECUTE pg_catalog.format('ALTER TABLE report.%I ENABLE ALWAYS TRIGGER refuse_change', named);
    END LOOP;
    FOREACH named IN ARRAY ARRAY['run', 'intent'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON report.%I EXECUTE FUNCTION report.refuse_change()', named);
        EXECUTE pg_catalog.format('ALTER TABLE report.%I ENABLE ALWAYS TRIGGER refuse_change', named);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA report FROM PUBLIC;
REVOKE ALL ON FUNCTION report.refuse_change() FROM PUBLIC;
GRANT USAGE ON SCHEMA report TO piperoll_reporter;
GRANT SELECT, INSERT ON report.run, report.edition, report.recorded, report.signature, report.intent TO piperoll_reporter;
GRANT UPDATE (tries, last_error, late_at) ON report.run TO piperoll_reporter;
GRANT UPDATE (state, attempts, next_at, last_error, sent_at, receipt) ON report.intent TO piperoll_reporter;

-- Which event each review (own event chain_no, seq) is about. An index only: what it says stands in its payload.
CREATE TABLE audit.review (
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, source_offset, chain_no, seq)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.review EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.review ENABLE ALWAYS TRIGGER refuse_change;
GRANT SELECT ON audit.review TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT INSERT ON audit.review TO piperoll_writer;

-- As before, and the last review of each event. A review `false-positive` takes out of `risk` what AI alone had said until
-- then, never the floor; risk_ai still shows what AI said. The status is read from the payload, which the chain commits to.
CREATE OR REPLACE VIEW public.audit_events AS
SELECT
    (r.chain_no::bigint << 48) | r.seq AS id,
    coalesce(x.e ->> 'type', '') AS event_type,
    audit.event_data(p.body, x.e ->> 'form', x.e ->> 'content_type') AS event_data,
    coalesce(nullif(a.readings #>> '{0,summary}', ''), CASE WHEN r.kind = 3 THEN x.e ->> 'reason' END, x.e ->> 'summary') AS ai_summary,
    audit.tags_of(x.e, a.readings) AS ai_tags,
    audit.moment(coalesce(r.event_time_us, audit.kafka_us(r.leaf), r.appended_us)) AS event_time,
    x.e ->> 'source' AS source,
    x.e ->> 'id' AS event_id,
    x.e ->> 'subject' AS subject,
    audit.risk_name(greatest(
        audit.risk_floor(x.e),
        CASE WHEN v.status = 'false-positive' THEN a.level_since ELSE audit.risk_ai(x.e, a.level) END
    )) AS risk,
    audit.risk_name(audit.risk_floor(x.e)) AS risk_floor,
    audit.risk_name(audit.risk_ai(x.e, a.level)) AS risk_ai,
    coalesce(a.readings #>> '{0,by}', a.readings #>> '{0,model}', x.e ->> 'by', CASE WHEN x.e IS NOT NULL THEN 'rules' END) AS summary_by,
    coalesce(x.e -> 'pending' = 'true' AND a.readings IS NULL, false) AS ai_pending,
    x.e #>> '{who,actor}' AS actor,
    x.e #>> '{who,action}' AS action,
    x.e #>> '{who,resource}' AS resource,
    x.e #>> '{who,origin}' AS origin,
    x.e #>> '{who,outcome}' AS outcome,
    coalesce(x.e -> 'rules', '[]') AS rules,
    x.e ->> 'log_source' AS log_source,
    c.topic AS kafka_topic,
    c.partition AS kafka_partition,
    r.source_offset AS kafka_offset,
    audit.moment(r.appended_us) AS appended_at,
    CASE r.kind WHEN 3 THEN 'poison' ELSE 'event' END AS kind,
    r.chain_no,
    r.seq,
    r.record_hash,
    v.status AS review,
    v.appended_at AS reviewed_at
FROM audit.record r
JOIN audit.chain c USING (chain_no)
LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
LEFT JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x ON true
LEFT JOIN LATERAL (
    SELECT said.j #>> '{data,status}' AS status, w.appended_at
    FROM audit.review w
    JOIN audit.payload t ON t.chain_no = w.chain_no AND t.seq = w.seq AND t.appended_at = w.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE w.topic_id = c.topic_id AND w.partition = c.partition AND w.source_offset = r.source_offset
        AND said.j ->> 'type' = 'piperoll.review'
        AND said.j #>> '{data,event,topic_id}' = encode(c.topic_id, 'hex')
        AND said.j #>> '{data,event,partition}' = c.partition::text
        AND said.j #>> '{data,event,source_offset}' = r.source_offset::text
    ORDER BY w.appended_at DESC, w.chain_no DESC, w.seq DESC
    LIMIT 1
) v ON true
LEFT JOIN LATERAL (
    SELECT
        max(audit.risk_level(said.j ->> 'risk')) AS level,
        max(audit.risk_level(said.j ->> 'risk')) FILTER (WHERE n.appended_at > v.appended_at) AS level_since,
        jsonb_agg(said.j ORDER BY n.appended_at DESC, n.chain_no DESC, n.seq DESC) AS readings
    FROM audit.annotation n
    JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
        AND jsonb_typeof(said.j) = 'object'
) a ON true
WHERE r.kind IN (1, 3);
RESET ROLE;
