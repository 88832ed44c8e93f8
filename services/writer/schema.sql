-- The schema as all migrations together leave it; tests/integration/test_migrations.py holds the two to each other.

-- The tables of the chains and who may do what with them.
-- Run by migrate.py as the database's creator, after the roles exist; everything is owned by piperoll_owner.
CREATE SCHEMA audit AUTHORIZATION piperoll_owner;
GRANT USAGE, CREATE ON SCHEMA public TO piperoll_owner;
SET LOCAL ROLE piperoll_owner;

-- Which migrations this database has; the checksum is SHA-256 over the file.
CREATE TABLE audit.migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One chain of records: a partition of audit.enriched, audit.annotations or audit.system.
-- For enriched events topic and topic_id are those of audit.events, whose offsets are the source offsets.
-- A lineage is a line: one first chain a topic and partition, and each chain is followed by one other at most.
CREATE TABLE audit.chain (
    chain_no smallint PRIMARY KEY CHECK (chain_no > 0),
    chain_id bytea NOT NULL UNIQUE CHECK (octet_length(chain_id) = 16),
    topic text NOT NULL,
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL CHECK (partition >= 0),
    cluster_id text NOT NULL,
    previous smallint UNIQUE REFERENCES audit.chain,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX chain_first ON audit.chain (topic, partition) WHERE previous IS NULL;
CREATE SEQUENCE audit.chain_number AS smallint OWNED BY audit.chain.chain_no;

-- Where a chain ends and where its writer reads on: the one kind of row that is ever changed, and only by functions.
CREATE TABLE audit.chain_head (
    chain_no smallint PRIMARY KEY REFERENCES audit.chain,
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    last_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(last_hash) = 32),
    next_source_offset bigint NOT NULL,
    read_topic_id bytea NOT NULL CHECK (octet_length(read_topic_id) = 16),
    next_read_offset bigint NOT NULL,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0),
    closed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- The records. `leaf` is the truth; the other columns are bytes of it, held to it by the checks.
-- One partition a chain, made by audit.open_chain.
CREATE TABLE audit.record (
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    kind smallint NOT NULL,
    source_offset bigint,
    appended_us bigint NOT NULL,
    event_time_us bigint,
    identity_hash bigint,
    record_hash bytea NOT NULL,
    leaf bytea NOT NULL,
    PRIMARY KEY (chain_no, seq),
    UNIQUE (chain_no, source_offset),
    CONSTRAINT record_leaf_is_audit_rec_v1 CHECK (
        octet_length(leaf) = 227 AND substr(leaf, 1, 14) = '\x61756469742d7265632f76310a'::bytea || substr(int2send(kind), 2)
    ),
    CONSTRAINT record_hash_is_of_leaf CHECK (record_hash = sha256('\x00'::bytea || leaf)),
    CONSTRAINT record_seq_is_in_leaf CHECK (substr(leaf, 31, 8) = int8send(seq)),
    CONSTRAINT record_times_are_in_leaf CHECK (
        substr(leaf, 75, 8) = int8send(appended_us)
        AND substr(leaf, 100, 8) = int8send(coalesce(event_time_us, -9223372036854775808))
    ),
    CONSTRAINT record_source_offset_is_in_leaf CHECK (
        substr(leaf, 83, 8) = int8send(coalesce(source_offset, -9223372036854775808))
    )
) PARTITION BY LIST (chain_no);
CREATE INDEX record_identity ON audit.record (identity_hash);
CREATE INDEX record_appended ON audit.record USING brin (appended_us);

-- What the records commit to, erasable. No row for a record: its payload was erased. `body` is null where the value
-- was withheld (over the size limit). `original_salt` is a duplicate's: the salt of the commitment in its JSON.
-- Partitions by month, made ahead by audit.open_months; payload_default catches what no month takes.
CREATE TABLE audit.payload (
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    salt bytea NOT NULL CHECK (octet_length(salt) = 32),
    body bytea,
    enrich_salt bytea CHECK (octet_length(enrich_salt) = 32),
    enrich bytea CHECK ((enrich IS NULL) = (enrich_salt IS NULL)),
    original_salt bytea CHECK (octet_length(original_salt) = 32),
    PRIMARY KEY (chain_no, seq, appended_at)
) PARTITION BY RANGE (appended_at);
CREATE TABLE audit.payload_default PARTITION OF audit.payload DEFAULT;

-- Which event each annotation (kind 7 record chain_no, seq) is about. An index only: the texts stand in payload.
CREATE TABLE audit.annotation (
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, source_offset, chain_no, seq)
);

-- Append-only, first lock: grants. The writer has no right on partitions and none to change anything.
REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO piperoll_writer, piperoll_sealer, piperoll_reporter, piperoll_eraser;
GRANT SELECT ON audit.migration, audit.chain, audit.chain_head, audit.record, audit.payload, audit.annotation
    TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT INSERT ON audit.record, audit.payload, audit.annotation TO piperoll_writer;
GRANT SELECT, DELETE ON audit.payload TO piperoll_eraser;
RESET ROLE;

-- Append-only, second lock: triggers that hold for the owner too, and code that alone may move a chain's head.
-- SQLSTATE PR001: another writer has the chain (a zombie's transaction). PR002: the records do not continue the chain.
SET LOCAL ROLE piperoll_owner;

CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on %.% refused: audit data is only added to', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Payloads go only by the eraser's functions, which run as piperoll_eraser and leave a record behind.
CREATE FUNCTION audit.refuse_payload_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tg_op = 'DELETE' AND current_user = 'piperoll_eraser' THEN
        RETURN old;
    END IF;
    RAISE EXCEPTION '% on %.% refused: payloads are erased only by a recorded erasure', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit.guard_head() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF new.chain_no <> old.chain_no OR new.next_seq < old.next_seq OR new.epoch < old.epoch
        OR new.next_source_offset < old.next_source_offset OR (old.closed AND NOT new.closed) THEN
        RAISE EXCEPTION 'the head of chain % goes only forwards', old.chain_no USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN new;
END $$;

-- A chain is committed only with its genesis, and a successor only of a closed chain.
CREATE FUNCTION audit.guard_opening() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM audit.chain_head WHERE chain_no = new.chain_no AND next_seq = 0) THEN
        RAISE EXCEPTION 'chain % has no genesis record', new.chain_no USING ERRCODE = 'PR002';
    END IF;
    IF EXISTS (SELECT FROM audit.chain_head WHERE chain_no = new.previous AND NOT closed) THEN
        RAISE EXCEPTION 'chain % follows chain %, which is not closed', new.chain_no, new.previous USING ERRCODE = 'PR002';
    END IF;
    RETURN NULL;
END $$;

-- The link check: runs once a statement, over all rows that it added. Each chain's rows must continue its head
-- (seq, prev, epoch, time, every source offset once or in a skip record), and the head moves by compare-and-set.
CREATE FUNCTION audit.link_records() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chains smallint[];
    moved bigint;
BEGIN
    SELECT array_agg(DISTINCT chain_no) INTO chains FROM added;
    PERFORM FROM audit.chain_head WHERE chain_no = ANY (chains) ORDER BY chain_no FOR UPDATE;
    WITH placed AS (
        SELECT chain_no, seq, kind, source_offset, appended_us, record_hash,
            substr(leaf, 39, 36) AS prev_and_epoch, substr(leaf, 15, 16) AS chain_id,
            lag(seq) OVER line AS seq_before, lag(record_hash) OVER line AS hash_before,
            lag(kind) OVER line AS kind_before, lag(appended_us) OVER line AS appended_before,
            max(source_offset) OVER (line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS offset_before,
            lead(seq) OVER line IS NULL AS is_last
        FROM added WINDOW line AS (PARTITION BY chain_no ORDER BY seq)
    ), compared AS (
        SELECT p.chain_no, p.seq, p.kind, p.source_offset, p.record_hash, p.is_last,
            p.seq = coalesce(p.seq_before + 1, h.next_seq)
            AND p.prev_and_epoch = coalesce(p.hash_before, h.last_hash) || int4send(h.epoch)
            AND p.chain_id = c.chain_id
            AND p.appended_us >= coalesce(p.appended_before, audit.last_appended(p.chain_no, h.next_seq))
            AND CASE
                WHEN p.source_offset IS NULL THEN p.kind IN (5, 6, 9) AND p.kind_before IS DISTINCT FROM 4
                WHEN p.kind_before = 4 THEN p.kind <> 4 AND p.source_offset > p.offset_before
                ELSE p.kind NOT IN (5, 6, 9) AND p.source_offset = coalesce(p.offset_before + 1, h.next_source_offset)
            END
            AND (p.kind = 5) = (p.seq = 0)
            AND (p.is_last OR p.kind <> 6) AND NOT (p.is_last AND p.kind = 4) AS fits
        FROM placed p JOIN audit.chain_head h USING (chain_no) JOIN audit.chain c USING (chain_no)
    ), ends AS (
        SELECT chain_no, bool_and(fits) AS fits, max(seq) AS last_seq, max(source_offset) AS last_offset,
            (array_agg(record_hash) FILTER (WHERE is_last))[1] AS last_hash, bool_or(kind = 6) AS closing
        FROM compared GROUP BY chain_no
    )
    UPDATE audit.chain_head h
    SET next_seq = e.last_seq + 1, last_hash = e.last_hash,
        next_source_offset = coalesce(e.last_offset + 1, h.next_source_offset), closed = e.closing
    FROM ends e WHERE h.chain_no = e.chain_no AND e.fits AND NOT h.closed;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> coalesce(cardinality(chains), 0) THEN
        IF EXISTS (
            SELECT FROM added a JOIN audit.chain_head h USING (chain_no) WHERE substr(a.leaf, 71, 4) <> int4send(h.epoch)
        ) THEN
            RAISE EXCEPTION 'another writer has claimed a chain of %', chains USING ERRCODE = 'PR001';
        END IF;
        RAISE EXCEPTION 'records do not continue their chains %', chains USING ERRCODE = 'PR002';
    END IF;
    RETURN NULL;
END $$;

-- When the record before `next_seq` was appended, in microseconds; the smallest number for a chain without records.
CREATE FUNCTION audit.last_appended(chain smallint, next_seq bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(appended_us), -9223372036854775808) FROM audit.record r WHERE r.chain_no = chain AND r.seq = next_seq - 1
$$;

-- Takes a chain over: the new epoch makes every later transaction of the writer before fail.
CREATE FUNCTION audit.claim(chain smallint) RETURNS SETOF audit.chain_head
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY UPDATE audit.chain_head SET epoch = epoch + 1 WHERE chain_no = chain AND NOT closed RETURNING *;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'chain % is closed or does not exist', chain USING ERRCODE = 'PR001';
    END IF;
END $$;

-- Moves where the chains' writer reads on, in the transaction of the records; locks the heads in chain order.
CREATE FUNCTION audit.advance(chains smallint[], epochs integer[], topic_ids bytea[], read_offsets bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moved bigint;
BEGIN
    PERFORM FROM audit.chain_head WHERE chain_no = ANY (chains) ORDER BY chain_no FOR UPDATE;
    UPDATE audit.chain_head h SET read_topic_id = m.topic_id, next_read_offset = m.read_offset
    FROM unnest(chains, epochs, topic_ids, read_offsets) AS m (chain_no, epoch, topic_id, read_offset)
    WHERE h.chain_no = m.chain_no AND h.epoch = m.epoch AND NOT h.closed;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(chains) THEN
        RAISE EXCEPTION 'another writer has claimed a chain of %', chains USING ERRCODE = 'PR001';
    END IF;
END $$;

-- Guards a partition: neither statement triggers nor TRUNCATE triggers of the parent fire for it.
CREATE FUNCTION audit.guard_partition(part text, changes text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.%I EXECUTE FUNCTION audit.refuse_change()', part);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER refuse_truncate', part);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER %I', part, changes);
END $$;

-- Opens a chain with epoch 1 and its partition; the genesis record and, in the chain before, the close record must
-- follow in the same transaction. ATTACH, unlike CREATE … PARTITION OF, waits for no reader.
CREATE FUNCTION audit.open_chain(
    new_chain_id bytea, new_topic text, new_topic_id bytea, new_partition integer, new_cluster_id text,
    previous_chain smallint, first_offset bigint, new_read_topic_id bytea, first_read_offset bigint
) RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number smallint := nextval('audit.chain_number');
    part text := 'record_' || number;
BEGIN
    IF previous_chain IS NOT NULL AND NOT EXISTS (
        SELECT FROM audit.chain WHERE chain_no = previous_chain AND topic = new_topic AND partition = new_partition
    ) THEN
        RAISE EXCEPTION 'chain % is not of % partition %', previous_chain, new_topic, new_partition USING ERRCODE = 'PR002';
    END IF;
    INSERT INTO audit.chain (chain_no, chain_id, topic, topic_id, partition, cluster_id, previous)
    VALUES (number, new_chain_id, new_topic, new_topic_id, new_partition, new_cluster_id, previous_chain);
    INSERT INTO audit.chain_head (chain_no, next_source_offset, read_topic_id, next_read_offset)
    VALUES (number, first_offset, new_read_topic_id, first_read_offset);
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
    EXECUTE format('ALTER TABLE audit.record ATTACH PARTITION audit.%I FOR VALUES IN (%s)', part, number);
    EXECUTE format(
        'CREATE TRIGGER link_records AFTER INSERT ON audit.%I REFERENCING NEW TABLE AS added
         FOR EACH STATEMENT EXECUTE FUNCTION audit.link_records()', part);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER link_records', part);
    PERFORM audit.guard_partition(part, 'refuse_change');
    RETURN number;
END $$;

-- Makes payload's partitions for this month (UTC) and `ahead` more; returns the names of the new ones. A month whose
-- rows already stand in payload_default is left there.
CREATE FUNCTION audit.open_months(ahead integer) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz;
    part text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit.open_months', 0));
    FOR first IN
        SELECT date_trunc('month', now()) + make_interval(months => n) FROM generate_series(0, least(ahead, 120)) AS n
    LOOP
        part := 'payload_' || to_char(first, 'YYYYMM');
        CONTINUE WHEN to_regclass('audit.' || part) IS NOT NULL OR EXISTS (
            SELECT FROM audit.payload_default WHERE appended_at >= first AND appended_at < first + interval '1 month');
        EXECUTE format('CREATE TABLE audit.%I (LIKE audit.payload INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
        EXECUTE format('ALTER TABLE audit.payload ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
            part, first, first + interval '1 month');
        PERFORM audit.guard_partition(part, 'refuse_payload_change');
        RETURN NEXT part;
    END LOOP;
END $$;

CREATE TRIGGER link_records AFTER INSERT ON audit.record REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION audit.link_records();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit.record
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.record EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_payload_change BEFORE UPDATE OR DELETE ON audit.payload
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_payload_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.payload EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.annotation EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.chain EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.migration EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON audit.chain_head EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER guard_head BEFORE UPDATE ON audit.chain_head FOR EACH ROW EXECUTE FUNCTION audit.guard_head();
CREATE CONSTRAINT TRIGGER guard_opening AFTER INSERT ON audit.chain DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION audit.guard_opening();

-- ALWAYS: session_replication_role = replica does not switch them off.
ALTER TABLE audit.record ENABLE ALWAYS TRIGGER link_records;
ALTER TABLE audit.record ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.record ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE audit.payload ENABLE ALWAYS TRIGGER refuse_payload_change;
ALTER TABLE audit.payload ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE audit.annotation ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.chain ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.chain ENABLE ALWAYS TRIGGER guard_opening;
ALTER TABLE audit.migration ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.chain_head ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.chain_head ENABLE ALWAYS TRIGGER guard_head;
SELECT audit.guard_partition('payload_default', 'refuse_payload_change');

REVOKE ALL ON FUNCTION audit.refuse_change(), audit.refuse_payload_change(), audit.guard_head(), audit.guard_opening(),
    audit.link_records(), audit.last_appended(smallint, bigint), audit.claim(smallint),
    audit.advance(smallint[], integer[], bytea[], bigint[]), audit.guard_partition(text, text),
    audit.open_chain(bytea, text, bytea, integer, text, smallint, bigint, bytea, bigint), audit.open_months(integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.claim(smallint), audit.advance(smallint[], integer[], bytea[], bigint[]),
    audit.open_chain(bytea, text, bytea, integer, text, smallint, bigint, bytea, bigint), audit.open_months(integer)
    TO piperoll_writer;
SELECT audit.open_months(2);
RESET ROLE;

-- The view audit_events: one row an event, as if it were a plain table.
-- Everything recorded is data and may be anything: no function here raises for any bytes.
SET LOCAL ROLE piperoll_owner;

-- Microseconds since 1970 as a time, kept within the years 1 to 9999, which every client can show.
CREATE FUNCTION audit.moment(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(least(greatest(us, -62135596800000000), 253402300799000000)::float8 / 1000000::float8);

-- Kafka's time in a leaf, in microseconds; null where there is none.
CREATE FUNCTION audit.kafka_us(leaf bytea) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ms bigint := ('x' || encode(substr(leaf, 91, 8), 'hex'))::bit(64)::bigint;
BEGIN
    RETURN CASE WHEN ms BETWEEN -62135596800000 AND 253402300799000 THEN ms * 1000 END;
END $$;

-- JSON bytes as jsonb, null where they are none that jsonb takes (U+0000, lone surrogates, NaN, huge numbers, …).
CREATE FUNCTION audit.json_of(raw bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN convert_from(raw, 'UTF8')::jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

-- Any bytes as jsonb: a JSON string of the text, or {"base64": …} where they are no UTF-8.
CREATE FUNCTION audit.text_of(raw bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN to_jsonb(convert_from(raw, 'UTF8'));
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_object('base64', replace(encode(raw, 'base64'), E'\n', ''));
END $$;

-- The Kafka value in a body (schemas.commitment): opt(key) opt(value) …; null for a null value and for no body.
CREATE FUNCTION audit.value_of(body bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    start integer := 1;
BEGIN
    IF get_byte(body, 0) = 1 THEN
        start := 5 + ('x' || encode(substr(body, 2, 4), 'hex'))::bit(32)::integer + 1;
    ELSE
        start := 2;
    END IF;
    IF get_byte(body, start - 1) = 0 THEN
        RETURN NULL;
    END IF;
    RETURN substr(body, start + 5, ('x' || encode(substr(body, start + 1, 4), 'hex'))::bit(32)::integer);
EXCEPTION WHEN OTHERS THEN
    RETURN body;
END $$;

-- Whether a media type is JSON; an absent one counts as JSON (schemas.events.is_json).
CREATE FUNCTION audit.is_json(content_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN content_type IS NULL
    OR lower(btrim(split_part(content_type, ';', 1), E' \t')) IN ('application/json', 'text/json')
    OR lower(btrim(split_part(content_type, ';', 1), E' \t')) LIKE '%+json';

-- Whether a JSON text has a number with an exponent of 400 or more, or of 400 digits: jsonb would write it out digit by
-- digit, a few bytes becoming many megabytes, and few clients can read it. Strings are cut out only after a first look.
CREATE FUNCTION audit.has_huge_number(document text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN document ~ '[0-9][eE][+-]?0*([4-9][0-9]{2}|[1-9][0-9]{3})|([0-9.]{100}){4}'
    AND regexp_replace(document, '"([^"\\]|\\.)*"', '""', 'g')
        ~ '[0-9][eE][+-]?0*([4-9][0-9]{2}|[1-9][0-9]{3})|([0-9.]{100}){4}';

-- The data of an event, by the form in which it stands in its Kafka value.
CREATE FUNCTION audit.event_data(body bytea, form text, content_type text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    raw bytea := audit.value_of(body);
    whole jsonb;
BEGIN
    IF form = 'binary' AND NOT audit.is_json(content_type) THEN
        RETURN audit.text_of(raw);
    END IF;
    whole := audit.json_of(raw);
    IF whole IS NULL OR audit.has_huge_number(convert_from(raw, 'UTF8')) THEN
        RETURN audit.text_of(raw);
    END IF;
    RETURN CASE form
        WHEN 'structured' THEN coalesce(nullif(whole -> 'data', 'null'), whole -> 'data_base64')
        WHEN 'short' THEN whole -> 'event_data'
        ELSE whole
    END;
END $$;

-- Risk levels as numbers, lowest 1; null for anything else.
CREATE FUNCTION audit.risk_level(risk text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position(ARRAY['informational', 'low', 'medium', 'high', 'critical'], risk);

CREATE FUNCTION audit.risk_name(level integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY['informational', 'low', 'medium', 'high', 'critical'])[level];

-- The rules' risk: what the enrichment says where rules made it, else the highest level of the rules that fired;
-- at least high where the writer found the identity contested. Without a subquery, so that PostgreSQL inlines it.
CREATE FUNCTION audit.risk_floor(enrichment jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(
    1,
    CASE WHEN coalesce(enrichment ->> 'by', 'rules') = 'rules' THEN audit.risk_level(enrichment ->> 'risk') END,
    CASE WHEN enrichment ? 'writer_tags' THEN 4 END,
    CASE WHEN enrichment ? 'rules' THEN CASE
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "critical")') THEN 5
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "high")') THEN 4
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "medium")') THEN 3
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "low")') THEN 2
    END END
);

CREATE FUNCTION audit.risk_ai(enrichment jsonb, annotated integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(
    CASE WHEN enrichment ->> 'by' <> 'rules' THEN audit.risk_level(enrichment ->> 'risk') END,
    audit.risk_level(enrichment #>> '{ai,risk}'),
    annotated
);

-- The tags of an enrichment, of the reading of its shape and of all annotations, each once, sorted.
CREATE FUNCTION audit.tags_of(enrichment jsonb, annotations jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT tag #>> '{}' COLLATE "C" FROM (
        SELECT jsonb_path_query(enrichment, 'lax $.tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(enrichment, 'lax $.writer_tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(enrichment, 'lax $.ai.tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(annotations, 'lax $[*].tags[*] ? (@.type() == "string")')
    ) AS found (tag) ORDER BY 1
);

-- Duplicates and Piperoll's own records are left out. An event whose payload was erased keeps its row, times and risk
-- of none. A model's text stands behind the sentence made by rules: that of the latest annotation, else of the event's shape.
-- It raises the risk, never lowers it.
CREATE VIEW public.audit_events AS
SELECT
    (r.chain_no::bigint << 48) | r.seq AS id,
    coalesce(x.e ->> 'type', '') AS event_type,
    audit.event_data(p.body, x.e ->> 'form', x.e ->> 'content_type') AS event_data,
    CASE
        WHEN r.kind = 3 THEN coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e ->> 'reason', x.e ->> 'summary')
        ELSE nullif(concat_ws(' ', x.e ->> 'summary', coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e #>> '{ai,summary}')), '')
    END AS ai_summary,
    audit.tags_of(x.e, a.readings) AS ai_tags,
    audit.moment(coalesce(r.event_time_us, audit.kafka_us(r.leaf), r.appended_us)) AS event_time,
    x.e ->> 'source' AS source,
    x.e ->> 'id' AS event_id,
    x.e ->> 'subject' AS subject,
    audit.risk_name(greatest(audit.risk_floor(x.e), audit.risk_ai(x.e, a.level))) AS risk,
    audit.risk_name(audit.risk_floor(x.e)) AS risk_floor,
    audit.risk_name(audit.risk_ai(x.e, a.level)) AS risk_ai,
    coalesce(a.readings #>> '{0,by}', a.readings #>> '{0,model}', x.e #>> '{ai,model}', x.e ->> 'by', CASE WHEN x.e IS NOT NULL THEN 'rules' END) AS summary_by,
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
    r.record_hash
FROM audit.record r
JOIN audit.chain c USING (chain_no)
LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
LEFT JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x ON true
LEFT JOIN LATERAL (
    SELECT
        max(audit.risk_level(said.j ->> 'risk')) AS level,
        jsonb_agg(said.j ORDER BY n.appended_at DESC, n.chain_no DESC, n.seq DESC) AS readings
    FROM audit.annotation n
    JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
        AND jsonb_typeof(said.j) = 'object'
) a ON true
WHERE r.kind IN (1, 3);

GRANT SELECT ON public.audit_events TO piperoll_reporter, piperoll_sealer;
REVOKE ALL ON FUNCTION audit.moment(bigint), audit.json_of(bytea), audit.text_of(bytea), audit.value_of(bytea),
    audit.is_json(text), audit.has_huge_number(text), audit.kafka_us(bytea), audit.event_data(bytea, text, text), audit.risk_level(text), audit.risk_name(integer),
    audit.risk_floor(jsonb), audit.risk_ai(jsonb, integer), audit.tags_of(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.moment(bigint), audit.json_of(bytea), audit.text_of(bytea), audit.value_of(bytea),
    audit.is_json(text), audit.has_huge_number(text), audit.kafka_us(bytea), audit.event_data(bytea, text, text), audit.risk_level(text), audit.risk_name(integer),
    audit.risk_floor(jsonb), audit.risk_ai(jsonb, integer), audit.tags_of(jsonb, jsonb)
    TO piperoll_reporter, piperoll_sealer, piperoll_writer;
RESET ROLE;

-- What the sealer signs, kept beside the records: tiles, seals, checkpoints, and where they were published.
-- None of it is trusted by a verifier that holds a checkpoint from elsewhere; all of it can be computed anew.
SET LOCAL ROLE piperoll_owner;

-- Full tiles (tlog-tiles, height 8) of the tree of chain `tree`, 0 for the seal log: 256 hashes, and the one that goes up.
CREATE TABLE audit.tile (
    tree smallint NOT NULL CHECK (tree >= 0),
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    n bigint NOT NULL CHECK (n >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (tree, level, n)
);

-- The seal log: each leaf lists every chain with its size and root (schemas/seal.py). `seal_no` is its place in the log.
CREATE TABLE audit.seal (
    seal_no bigint PRIMARY KEY CHECK (seal_no >= 0),
    sealed_us bigint NOT NULL,
    leaf bytea NOT NULL
);

-- Signed notes of the trees. `compared_size`: so many records of the chain were compared with Kafka before.
CREATE TABLE audit.checkpoint (
    tree smallint NOT NULL CHECK (tree >= 0),
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note bytea NOT NULL,
    sealed_us bigint NOT NULL,
    seal_no bigint NOT NULL,
    compared_size bigint NOT NULL,
    PRIMARY KEY (tree, size)
);

-- What came back from a target that took a checkpoint of the seal log: cosignatures, timestamp tokens, object versions.
CREATE TABLE audit.publication (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    size bigint NOT NULL,
    published_us bigint NOT NULL,
    receipt bytea
);
CREATE INDEX publication_size ON audit.publication (target, size);

GRANT SELECT ON audit.tile, audit.seal, audit.checkpoint, audit.publication
    TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT INSERT ON audit.tile, audit.seal, audit.checkpoint, audit.publication TO piperoll_sealer;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.tile EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.seal EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.checkpoint EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.publication EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.tile ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.seal ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.checkpoint ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.publication ENABLE ALWAYS TRIGGER refuse_change;
RESET ROLE;

-- Erasure: payloads go only in the transaction that records the own event which orders it.
-- SQLSTATE PR003: called for a record that is no own event of this transaction.
SET LOCAL ROLE piperoll_owner;

-- What was erased, by coordinates, and the own event (record chain_no, seq) that ordered it. An index only: what a
-- verification believes is the own event.
CREATE TABLE audit.erasure (
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (topic_id, partition, source_offset, chain_no, seq)
);
CREATE INDEX erasure_order ON audit.erasure (chain_no, seq);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.erasure EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.erasure ENABLE ALWAYS TRIGGER refuse_change;

-- The one lock between appending (shared) and carrying out orders (alone), taken before any other by both. Heads alone
-- would not do: a chain that another transaction is opening has none to lock yet.
CREATE FUNCTION audit.order_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 7021802845270041202;

-- The data of an order, read from the payload that its record commits to. The record must be of this transaction, so
-- that nothing is carried out that leaves no record; null where the own event is of another type.
CREATE FUNCTION audit.order_data(order_chain smallint, order_seq bigint, wanted text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    document jsonb;
BEGIN
    SELECT audit.json_of(audit.value_of(p.body)) INTO document
    FROM audit.record r
    JOIN audit.chain c USING (chain_no)
    JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
    WHERE r.chain_no = order_chain AND r.seq = order_seq AND r.kind = 8 AND c.topic LIKE '%.system'
        AND r.xmin = pg_current_xact_id()::xid
        AND substr(r.leaf, 164, 32) = sha256('\x61756469742d7061792f76310a'::bytea || p.salt || p.body);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'record % of chain % is no own event of this transaction', order_seq, order_chain USING ERRCODE = 'PR003';
    END IF;
    RETURN CASE WHEN document ->> 'type' = wanted THEN document -> 'data' END;
END $$;

-- Carries out an erasure: deletes payload, salts and enrichment of the events, repeats, poison messages and annotations
-- that it names, and of all annotations about them. Returns how many rows went; null, and nothing done, where the order
-- cannot be read. The planner's settings: rows are looked up by their keys whatever the statistics say.
CREATE FUNCTION audit.erase(order_chain smallint, order_seq bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    said jsonb;
    gone bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(audit.order_lock());
    said := audit.order_data(order_chain, order_seq, 'piperoll.erasure');
    IF jsonb_typeof(said -> 'events') IS DISTINCT FROM 'array' THEN
        RETURN NULL;
    END IF;
    BEGIN
        INSERT INTO audit.erasure (topic_id, partition, source_offset, chain_no, seq)
        SELECT DISTINCT decode(e ->> 'topic_id', 'hex'), (e ->> 'partition')::integer, (e ->> 'source_offset')::bigint,
            order_chain, order_seq
        FROM jsonb_array_elements(said -> 'events') AS e;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        RETURN NULL;
    END;
    WITH places AS MATERIALIZED (
        SELECT r.chain_no, r.seq, audit.moment(r.appended_us) AS appended_at
        FROM audit.erasure e
        JOIN audit.chain c ON c.topic_id = e.topic_id AND c.partition = e.partition
        JOIN audit.record r ON r.chain_no = c.chain_no AND r.source_offset = e.source_offset
        WHERE e.chain_no = order_chain AND e.seq = order_seq AND r.kind IN (1, 2, 3, 7)
        UNION
        SELECT n.chain_no, n.seq, n.appended_at
        FROM audit.erasure e
        JOIN audit.annotation n
            ON n.topic_id = e.topic_id AND n.partition = e.partition AND n.source_offset = e.source_offset
        WHERE e.chain_no = order_chain AND e.seq = order_seq
    )
    DELETE FROM audit.payload p USING places
    WHERE p.chain_no = places.chain_no AND p.seq = places.seq AND p.appended_at = places.appended_at;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

GRANT SELECT ON audit.erasure TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT SELECT, INSERT ON audit.erasure TO piperoll_eraser;
GRANT SELECT ON audit.chain, audit.record, audit.annotation TO piperoll_eraser;
REVOKE ALL ON FUNCTION audit.order_lock(), audit.order_data(smallint, bigint, text), audit.erase(smallint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.order_lock(), audit.erase(smallint, bigint) TO piperoll_writer;
GRANT EXECUTE ON FUNCTION audit.order_lock(), audit.order_data(smallint, bigint, text), audit.moment(bigint),
    audit.json_of(bytea), audit.value_of(bytea) TO piperoll_eraser;

-- payload's trigger lets the eraser delete, and the eraser signs in nowhere: only this function acts as it.
GRANT CREATE ON SCHEMA audit TO piperoll_eraser;
RESET ROLE;
ALTER FUNCTION audit.erase(smallint, bigint) OWNER TO piperoll_eraser;
SET LOCAL ROLE piperoll_owner;
REVOKE CREATE ON SCHEMA audit FROM piperoll_eraser;
RESET ROLE;

-- Restore: damaged payloads and records are put right by a recorded order, and only with bytes that fit the hashes.
SET LOCAL ROLE piperoll_owner;

-- Bytes on their way back, put here by `piperoll restore` (role piperoll_operator) and named by its order. They are
-- deleted when the order is carried out, and by erasures.
CREATE TABLE audit.restoration (
    batch bytea NOT NULL CHECK (octet_length(batch) = 16),
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    what text NOT NULL CHECK (what IN ('leaf', 'payload')),
    leaf bytea CHECK (octet_length(leaf) = 227),
    identity_hash bigint,
    salt bytea CHECK (octet_length(salt) = 32),
    body bytea,
    enrich_salt bytea CHECK (octet_length(enrich_salt) = 32),
    enrich bytea,
    staged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch, chain_no, seq, what)
);

-- A big-endian i64 within a leaf, null for the smallest number, which stands for none.
CREATE FUNCTION audit.leaf_number(leaf bytea, start integer) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN nullif(('x' || encode(substr(leaf, start, 8), 'hex'))::bit(64)::bigint, -9223372036854775808);

-- Deletes every payload row of a record. Owned by piperoll_eraser, whom payload's trigger lets delete.
CREATE FUNCTION audit.drop_payload(of_chain smallint, of_seq bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM audit.payload WHERE chain_no = of_chain AND seq = of_seq
$$;

-- Whether an erasure covers a record, or an annotation's event.
CREATE FUNCTION audit.is_erased(of_chain smallint, of_seq bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM audit.record r
        JOIN audit.chain c USING (chain_no)
        JOIN audit.erasure e ON e.topic_id = c.topic_id AND e.partition = c.partition AND e.source_offset = r.source_offset
        WHERE r.chain_no = of_chain AND r.seq = of_seq
    ) OR EXISTS (
        SELECT FROM audit.annotation n
        JOIN audit.erasure e ON e.topic_id = n.topic_id AND e.partition = n.partition AND e.source_offset = n.source_offset
        WHERE n.chain_no = of_chain AND n.seq = of_seq
    )
$$;

-- Puts a record's leaf back. It must have the hash that the record behind it (or the head) names and, where the sealer
-- has made the tile, the hash in there. For the time of one statement the triggers of its partition are off: the lock
-- that orders take keeps every writer out meanwhile.
CREATE FUNCTION audit.restore_leaf(of_chain smallint, of_seq bigint, new_leaf bytea, identity bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    digest bytea := sha256('\x00'::bytea || new_leaf);
    part text := 'record_' || of_chain;
    tile bytea;
BEGIN
    IF digest IS DISTINCT FROM coalesce(
        (SELECT substr(leaf, 39, 32) FROM audit.record WHERE chain_no = of_chain AND seq = of_seq + 1),
        (SELECT last_hash FROM audit.chain_head WHERE chain_no = of_chain AND next_seq = of_seq + 1)
    ) OR substr(new_leaf, 31, 8) <> int8send(of_seq)
        OR substr(new_leaf, 15, 16) IS DISTINCT FROM (SELECT chain_id FROM audit.chain WHERE chain_no = of_chain) THEN
        RETURN 0;
    END IF;
    SELECT hashes INTO tile FROM audit.tile WHERE tree = of_chain AND level = 0 AND n = of_seq / 256;
    IF substr(tile, (of_seq % 256)::integer * 32 + 1, 32) <> digest THEN
        RETURN 0;
    END IF;
    EXECUTE format('ALTER TABLE audit.%I DISABLE TRIGGER refuse_change, DISABLE TRIGGER link_records', part);
    EXECUTE format(
        'INSERT INTO audit.%I (chain_no, seq, kind, source_offset, appended_us, event_time_us, identity_hash, record_hash, leaf)
         VALUES ($1, $2, get_byte($3, 13), audit.leaf_number($3, 83), audit.leaf_number($3, 75), audit.leaf_number($3, 100), $4, $5, $3)
         ON CONFLICT (chain_no, seq) DO UPDATE SET kind = excluded.kind, source_offset = excluded.source_offset,
             appended_us = excluded.appended_us, event_time_us = excluded.event_time_us,
             identity_hash = excluded.identity_hash, record_hash = excluded.record_hash, leaf = excluded.leaf', part)
        USING of_chain, of_seq, new_leaf, identity, digest;
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER link_records', part);
    RETURN 1;
END $$;

-- Puts a payload back: body and enrichment, each with its salt, must be what the record commits to.
CREATE FUNCTION audit.restore_payload(staged audit.restoration) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    committed bytea;
    appended timestamptz;
    second_salt bytea;
BEGIN
    SELECT r.leaf, audit.moment(r.appended_us) INTO committed, appended
    FROM audit.record r
    WHERE r.chain_no = staged.chain_no AND r.seq = staged.seq AND r.record_hash = sha256('\x00'::bytea || r.leaf)
        AND r.record_hash = coalesce(
            (SELECT substr(n.leaf, 39, 32) FROM audit.record n WHERE n.chain_no = r.chain_no AND n.seq = r.seq + 1),
            (SELECT last_hash FROM audit.chain_head h WHERE h.chain_no = r.chain_no AND h.next_seq = r.seq + 1));
    IF NOT FOUND OR audit.is_erased(staged.chain_no, staged.seq)
        OR sha256('\x61756469742d7061792f76310a'::bytea || staged.salt || staged.body) IS DISTINCT FROM substr(committed, 164, 32)
        OR substr(committed, 196, 32) IS DISTINCT FROM coalesce(
            sha256('\x61756469742d656e722f76310a'::bytea || staged.enrich_salt || staged.enrich), decode(repeat('00', 32), 'hex')) THEN
        RETURN 0;
    END IF;
    -- No hash binds a repeat's second salt: kept where it is, not brought back.
    SELECT original_salt INTO second_salt FROM audit.payload p
    WHERE p.chain_no = staged.chain_no AND p.seq = staged.seq AND p.original_salt IS NOT NULL LIMIT 1;
    PERFORM audit.drop_payload(staged.chain_no, staged.seq);
    INSERT INTO audit.payload (chain_no, seq, appended_at, salt, body, enrich_salt, enrich, original_salt)
    VALUES (staged.chain_no, staged.seq, appended, staged.salt, staged.body, staged.enrich_salt, staged.enrich, second_salt);
    RETURN 1;
END $$;

-- Carries out a restore: what its order names and what is staged under its batch. Leaves first, the highest numbers
-- first, since each is held to the one behind it. Returns how many were put back; what does not fit is left as it is.
CREATE FUNCTION audit.restore(order_chain smallint, order_seq bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said jsonb;
    ordered bytea;
    staged audit.restoration;
    done bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(audit.order_lock());
    said := audit.order_data(order_chain, order_seq, 'piperoll.restore');
    IF jsonb_typeof(said -> 'records') IS DISTINCT FROM 'array' OR said ->> 'batch' !~ '^[0-9a-f]{32}$' THEN
        RETURN NULL;
    END IF;
    ordered := decode(said ->> 'batch', 'hex');
    FOR staged IN
        SELECT s.* FROM audit.restoration s
        WHERE s.batch = ordered AND (s.chain_no, s.seq::text, s.what) IN (
            SELECT c.chain_no, e ->> 'seq', e ->> 'what' FROM jsonb_array_elements(said -> 'records') AS e
            JOIN audit.chain c ON encode(c.chain_id, 'hex') = e ->> 'chain_id')
        ORDER BY s.what, s.chain_no, s.seq DESC
    LOOP
        BEGIN
            done := done + CASE staged.what
                WHEN 'leaf' THEN audit.restore_leaf(staged.chain_no, staged.seq, staged.leaf, staged.identity_hash)
                ELSE audit.restore_payload(staged)
            END;
        EXCEPTION WHEN integrity_constraint_violation THEN
            NULL; -- another row stands in its place
        END;
    END LOOP;
    DELETE FROM audit.restoration WHERE batch = ordered OR staged_at < clock_timestamp() - interval '1 day';
    RETURN done;
END $$;

-- Bytes that wait to be put back go with an erasure too.
CREATE FUNCTION audit.drop_staged() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM audit.restoration s WHERE audit.is_erased(s.chain_no, s.seq);
    RETURN NULL;
END $$;
CREATE TRIGGER drop_staged AFTER INSERT ON audit.erasure FOR EACH STATEMENT EXECUTE FUNCTION audit.drop_staged();
ALTER TABLE audit.erasure ENABLE ALWAYS TRIGGER drop_staged;

GRANT USAGE ON SCHEMA audit TO piperoll_operator;
GRANT SELECT ON audit.migration, audit.chain, audit.chain_head, audit.record, audit.payload, audit.annotation, audit.tile,
    audit.erasure TO piperoll_operator;
GRANT SELECT, INSERT, DELETE ON audit.restoration TO piperoll_operator;
REVOKE ALL ON FUNCTION audit.leaf_number(bytea, integer), audit.drop_payload(smallint, bigint), audit.is_erased(smallint, bigint),
    audit.restore_leaf(smallint, bigint, bytea, bigint), audit.restore_payload(audit.restoration), audit.restore(smallint, bigint),
    audit.drop_staged() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.restore(smallint, bigint) TO piperoll_writer;
GRANT EXECUTE ON FUNCTION audit.json_of(bytea), audit.value_of(bytea), audit.moment(bigint) TO piperoll_operator;
GRANT CREATE ON SCHEMA audit TO piperoll_eraser;
RESET ROLE;
ALTER FUNCTION audit.drop_payload(smallint, bigint) OWNER TO piperoll_eraser;
SET LOCAL ROLE piperoll_eraser;
GRANT EXECUTE ON FUNCTION audit.drop_payload(smallint, bigint) TO piperoll_owner;
RESET ROLE;
SET LOCAL ROLE piperoll_owner;
REVOKE CREATE ON SCHEMA audit FROM piperoll_eraser;
RESET ROLE;

-- Retention: payload partitions of whole months go by a recorded order; records, and what verification needs, stay.
SET LOCAL ROLE piperoll_owner;

-- Until when payloads were retained away, and the own event (record chain_no, seq) that ordered it. An index only, as
-- audit.erasure is.
CREATE TABLE audit.retention (
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (chain_no, seq)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.retention EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.retention ENABLE ALWAYS TRIGGER refuse_change;

-- Whether a payload is kept for good: bodies by which chains are verified, and orders. None holds personal data.
CREATE FUNCTION audit.is_kept(record_kind smallint, body bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT record_kind IN (4, 5, 6, 9) OR (record_kind = 8 AND coalesce(audit.json_of(audit.value_of(body)) ->> 'type' IN (
        'piperoll.erasure', 'piperoll.restore', 'piperoll.retention', 'piperoll.key-change', 'piperoll.drill'), false))
$$;

-- Deletes from payload_default what stands there of months that were retained away. Owned by piperoll_eraser.
CREATE FUNCTION audit.drop_default_before(bound timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM audit.payload_default p USING audit.record r
    WHERE p.appended_at < bound AND r.chain_no = p.chain_no AND r.seq = p.seq AND NOT audit.is_kept(r.kind, p.body)
$$;

-- Drops the payload partitions of retained months, what is kept moved to payload_default before; returns their names.
-- Where a reader holds a partition for longer than a moment it is left to the next call: no writer waits for a reader.
CREATE FUNCTION audit.drop_retained() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    bound timestamptz := (SELECT max(until) FROM audit.retention);
    part text;
BEGIN
    IF bound IS NULL THEN
        RETURN;
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit.payload'::regclass AND c.relname ~ '^payload_[0-9]{6}$'
            AND to_date(substr(c.relname, 9), 'YYYYMM') + interval '1 month' <= bound
        ORDER BY 1
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE audit.payload DETACH PARTITION audit.%I', part);
            EXECUTE format(
                'INSERT INTO audit.payload SELECT p.* FROM audit.%I p JOIN audit.record r USING (chain_no, seq)
                 WHERE p.enrich IS NULL AND audit.is_kept(r.kind, p.body)', part);
            EXECUTE format('DROP TABLE audit.%I', part);
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
        RETURN NEXT part;
    END LOOP;
    PERFORM audit.drop_default_before(bound);
END $$;

-- Carries out a retention: payloads appended before the end of the month (UTC) that its order names. The month must be
-- over. Returns how many partitions went at once (the rest goes by drop_retained); null where the order has no effect.
CREATE FUNCTION audit.retain(order_chain smallint, order_seq bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    said jsonb;
    bound timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(audit.order_lock());
    said := audit.order_data(order_chain, order_seq, 'piperoll.retention');
    IF (said ->> 'month' ~ '^[0-9]{4}-(0[1-9]|1[0-2])$') IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    bound := to_date(said ->> 'month', 'YYYY-MM') + interval '1 month';
    IF bound > date_trunc('month', clock_timestamp()) THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit.retention (chain_no, seq, until) VALUES (order_chain, order_seq, bound);
    RETURN (SELECT count(*) FROM audit.drop_retained());
END $$;

-- From here on what was retained away is not brought back either.
CREATE OR REPLACE FUNCTION audit.is_erased(of_chain smallint, of_seq bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM audit.record r
        JOIN audit.chain c USING (chain_no)
        JOIN audit.erasure e ON e.topic_id = c.topic_id AND e.partition = c.partition AND e.source_offset = r.source_offset
        WHERE r.chain_no = of_chain AND r.seq = of_seq
    ) OR EXISTS (
        SELECT FROM audit.annotation n
        JOIN audit.erasure e ON e.topic_id = n.topic_id AND e.partition = n.partition AND e.source_offset = n.source_offset
        WHERE n.chain_no = of_chain AND n.seq = of_seq
    ) OR EXISTS (
        SELECT FROM audit.record r
        WHERE r.chain_no = of_chain AND r.seq = of_seq AND r.kind IN (1, 2, 3, 7, 8)
            AND audit.moment(r.appended_us) < (SELECT max(until) FROM audit.retention)
    )
$$;

GRANT SELECT ON audit.retention TO piperoll_writer, piperoll_sealer, piperoll_reporter, piperoll_operator;
REVOKE ALL ON FUNCTION audit.is_kept(smallint, bytea), audit.drop_default_before(timestamptz), audit.drop_retained(),
    audit.retain(smallint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.retain(smallint, bigint), audit.drop_retained() TO piperoll_writer;
GRANT EXECUTE ON FUNCTION audit.is_kept(smallint, bytea) TO piperoll_eraser, piperoll_reporter, piperoll_operator;
GRANT SELECT, DELETE ON audit.payload_default TO piperoll_eraser;
GRANT CREATE ON SCHEMA audit TO piperoll_eraser;
RESET ROLE;
ALTER FUNCTION audit.drop_default_before(timestamptz) OWNER TO piperoll_eraser;
SET LOCAL ROLE piperoll_eraser;
GRANT EXECUTE ON FUNCTION audit.drop_default_before(timestamptz) TO piperoll_owner;
RESET ROLE;
SET LOCAL ROLE piperoll_owner;
REVOKE CREATE ON SCHEMA audit FROM piperoll_eraser;
RESET ROLE;

-- Views for who has only psql: each returns what is wrong, and no row where nothing is. A screen, not a proof: it runs on
-- the server that is judged. Whoever rewrote a chain with all its hashes is found by `piperoll verify` alone, against a
-- checkpoint from elsewhere.
SET LOCAL ROLE piperoll_owner;

CREATE VIEW audit.screen_links AS
SELECT chain_no, seq, problem
FROM (
    SELECT
        r.chain_no,
        r.seq,
        pg_catalog.concat_ws(
            ', ',
            CASE WHEN r.record_hash IS DISTINCT FROM pg_catalog.sha256('\x00'::bytea || r.leaf) THEN 'record_hash is not that of the leaf' END,
            CASE WHEN pg_catalog.substr(r.leaf, 15, 16) IS DISTINCT FROM c.chain_id THEN 'leaf of another chain' END,
            CASE WHEN r.seq <> coalesce(lag(r.seq) OVER w + 1, 0) THEN 'records before it are missing' END,
            CASE WHEN pg_catalog.substr(r.leaf, 39, 32) IS DISTINCT FROM coalesce(lag(r.record_hash) OVER w, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'))
                THEN 'prev is not the hash of the record before' END,
            CASE WHEN r.appended_us < lag(r.appended_us) OVER w THEN 'appended before the record before it' END,
            CASE WHEN lead(r.seq) OVER w IS NULL AND (h.next_seq, h.last_hash) IS DISTINCT FROM (r.seq + 1, r.record_hash)
                THEN 'the head says otherwise' END
        ) AS problem
    FROM audit.record r
    LEFT JOIN audit.chain c USING (chain_no)
    LEFT JOIN audit.chain_head h USING (chain_no)
    WINDOW w AS (PARTITION BY r.chain_no ORDER BY r.seq)
) checked
WHERE problem <> ''
UNION ALL
SELECT h.chain_no, h.next_seq - 1, 'the chain has no records, and its head says otherwise'
FROM audit.chain_head h
WHERE h.next_seq > 0 AND NOT EXISTS (SELECT FROM audit.record r WHERE r.chain_no = h.chain_no);
COMMENT ON VIEW audit.screen_links IS
'Records whose hash, chain, number, link or order does not fit, and chains whose head does not fit. Not seen here: a chain '
'that was rewritten from some record on with all hashes and its head.';

CREATE VIEW audit.screen_columns AS
SELECT chain_no, seq, problem
FROM (
    SELECT
        r.chain_no,
        r.seq,
        pg_catalog.concat_ws(
            ', ',
            CASE WHEN pg_catalog.octet_length(r.leaf) <> 227
                OR pg_catalog.substr(r.leaf, 1, 13) IS DISTINCT FROM '\x61756469742d7265632f76310a'::bytea THEN 'not an audit-rec/v1 leaf' END,
            CASE WHEN pg_catalog.substr(r.leaf, 14, 1) IS DISTINCT FROM pg_catalog.substr(pg_catalog.int2send(r.kind), 2) THEN 'kind' END,
            CASE WHEN pg_catalog.substr(r.leaf, 31, 8) IS DISTINCT FROM pg_catalog.int8send(r.seq) THEN 'seq' END,
            CASE WHEN pg_catalog.substr(r.leaf, 75, 8) IS DISTINCT FROM pg_catalog.int8send(r.appended_us) THEN 'appended_us' END,
            CASE WHEN pg_catalog.substr(r.leaf, 83, 8)
                IS DISTINCT FROM pg_catalog.int8send(coalesce(r.source_offset, -9223372036854775808)) THEN 'source_offset' END,
            CASE WHEN pg_catalog.substr(r.leaf, 100, 8)
                IS DISTINCT FROM pg_catalog.int8send(coalesce(r.event_time_us, -9223372036854775808)) THEN 'event_time_us' END
        ) AS problem
    FROM audit.record r
) checked
WHERE problem <> '';
COMMENT ON VIEW audit.screen_columns IS
'Records whose columns differ from the bytes of their leaf. Not seen here: identity_hash, which is not in the leaf '
'(`piperoll verify` recomputes it), and a leaf that was changed with its columns: that is for audit.screen_links.';

CREATE VIEW audit.screen_payloads AS
SELECT chain_no, seq, problem
FROM (
    SELECT
        p.chain_no,
        p.seq,
        CASE WHEN r.seq IS NULL THEN 'a payload without its record' ELSE pg_catalog.concat_ws(
            ', ',
            CASE WHEN p.appended_at IS DISTINCT FROM audit.moment(r.appended_us) THEN 'appended_at is not that of the record' END,
            CASE WHEN p.body IS NOT NULL AND pg_catalog.sha256('\x61756469742d7061792f76310a'::bytea || p.salt || p.body)
                IS DISTINCT FROM pg_catalog.substr(r.leaf, 164, 32) THEN 'body or salt is not what the record commits to' END,
            CASE WHEN p.body IS NULL AND r.kind <> 3 THEN 'the body is missing' END,
            CASE WHEN coalesce(
                    pg_catalog.sha256('\x61756469742d656e722f76310a'::bytea || p.enrich_salt || p.enrich),
                    pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex')
                ) IS DISTINCT FROM pg_catalog.substr(r.leaf, 196, 32) THEN 'the enrichment is not what the record commits to' END
        ) END AS problem
    FROM audit.payload p
    LEFT JOIN audit.record r ON r.chain_no = p.chain_no AND r.seq = p.seq
) checked
WHERE problem <> '';
COMMENT ON VIEW audit.screen_payloads IS
'Payloads that are not what their records commit to. Not seen here: payloads that are gone (audit.screen_missing), the '
'body of poison that was withheld for its size, and a payload that was changed together with its record.';

CREATE VIEW audit.screen_missing AS
SELECT r.chain_no, r.seq, 'committed to and not there, and neither an erasure nor a retention covers it' AS problem
FROM audit.record r
JOIN audit.chain c USING (chain_no)
WHERE pg_catalog.substr(r.leaf, 164, 32) <> pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex')
    AND NOT EXISTS (SELECT FROM audit.payload p WHERE p.chain_no = r.chain_no AND p.seq = r.seq)
    AND NOT EXISTS (
        SELECT FROM audit.erasure e
        WHERE e.topic_id = c.topic_id AND e.partition = c.partition AND e.source_offset = r.source_offset
            AND r.kind IN (1, 2, 3, 7)
    )
    AND NOT EXISTS (
        SELECT FROM audit.annotation n JOIN audit.erasure e USING (topic_id, partition, source_offset)
        WHERE n.chain_no = r.chain_no AND n.seq = r.seq AND r.kind = 7
    )
    AND NOT (
        r.kind NOT IN (4, 5, 6, 9)
        AND audit.moment(r.appended_us) < coalesce((SELECT max(until) FROM audit.retention), '-infinity')
    );
COMMENT ON VIEW audit.screen_missing IS
'Records whose payload is gone though no erasure or retention covers it. It believes the tables audit.erasure and '
'audit.retention, into which a superuser can write: `piperoll verify` holds them against the records of these orders.';

CREATE VIEW audit.screen_seals AS
WITH last AS (SELECT seal_no, leaf FROM audit.seal ORDER BY seal_no DESC LIMIT 1),
sealed AS (
    SELECT
        seal_no,
        pg_catalog.substr(leaf, 35 + 64 * i, 16) AS chain_id,
        ('x' || pg_catalog.encode(pg_catalog.substr(leaf, 51 + 64 * i, 8), 'hex'))::bit(64)::bigint AS size
    FROM last, pg_catalog.generate_series(0, (pg_catalog.octet_length(leaf) - 34) / 64 - 1) AS i
),
compared AS (
    SELECT
        s.seal_no,
        s.chain_id,
        c.chain_no,
        s.size,
        coalesce((SELECT max(r.seq) + 1 FROM audit.record r WHERE r.chain_no = c.chain_no), 0) AS records
    FROM sealed s LEFT JOIN audit.chain c USING (chain_id)
)
SELECT
    chain_no,
    chain_id,
    size AS sealed,
    records,
    CASE WHEN chain_no IS NULL THEN 'a sealed chain is gone' ELSE 'the chain is shorter than what was sealed' END AS problem
FROM compared WHERE chain_no IS NULL OR records < size
UNION ALL
SELECT NULL, NULL, s.seal_no, NULL, 'the seal before it is missing'
FROM audit.seal s
WHERE s.seal_no > 0 AND NOT EXISTS (SELECT FROM audit.seal o WHERE o.seal_no = s.seal_no - 1)
UNION ALL
SELECT NULL, NULL, s.seal_no, NULL, 'the leaf is that of another seal'
FROM audit.seal s
WHERE pg_catalog.substr(s.leaf, 1, 22) IS DISTINCT FROM '\x61756469742d7365616c2f76310a'::bytea || pg_catalog.int8send(s.seal_no)
UNION ALL
SELECT NULL, NULL, max(k.size), (SELECT count(*) FROM audit.seal), 'signed seals are gone'
FROM audit.checkpoint k WHERE k.tree = 0 HAVING max(k.size) > (SELECT count(*) FROM audit.seal);
COMMENT ON VIEW audit.screen_seals IS
'Chains that are gone or shorter than the last seal says, and seals that are missing. It believes the seals that this '
'database has: one that was set back whole shows nothing. Only a checkpoint from elsewhere tells.';

GRANT SELECT ON audit.screen_links, audit.screen_columns, audit.screen_payloads, audit.screen_missing, audit.screen_seals
    TO piperoll_reporter;
RESET ROLE;

-- A new log for a database that is sealed already: after a disaster, when what was signed cannot be continued.
SET LOCAL ROLE piperoll_owner;

-- Rows of logs that were set aside, as they were, for comparison with copies held elsewhere. `kind` names their table.
CREATE TABLE audit.former_log (
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    content jsonb NOT NULL
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.former_log EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.former_log ENABLE ALWAYS TRIGGER refuse_change;
GRANT SELECT ON audit.former_log TO piperoll_writer, piperoll_sealer, piperoll_reporter;

-- Moves seals, checkpoints, tiles and publications away, so that a sealer with another SEALER_ORIGIN and an empty SEALER_DIR
-- can begin. No service's role may call it. Whoever holds an old checkpoint finds out all the same: that is evidence.
CREATE FUNCTION audit.set_log_aside() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    named text;
    moved bigint := 0;
    count bigint;
BEGIN
    FOREACH named IN ARRAY ARRAY['seal', 'checkpoint', 'tile', 'publication'] LOOP
        EXECUTE format('ALTER TABLE audit.%I DISABLE TRIGGER refuse_change', named);
        EXECUTE format(
            'WITH gone AS (DELETE FROM audit.%I RETURNING *)
             INSERT INTO audit.former_log (kind, content) SELECT %L, to_jsonb(gone) FROM gone', named, named);
        GET DIAGNOSTICS count = ROW_COUNT;
        moved := moved + count;
        EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER refuse_change', named);
    END LOOP;
    RETURN moved;
END $$;
REVOKE ALL ON FUNCTION audit.set_log_aside() FROM PUBLIC;
RESET ROLE;

-- Archives get proofs: who orders a retention as piperoll_operator reads what was sealed.
SET LOCAL ROLE piperoll_owner;
GRANT SELECT ON audit.tile, audit.seal, audit.checkpoint, audit.publication TO piperoll_operator;
RESET ROLE;

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

-- Deliveries of reports that are on record.
CREATE TABLE report.receipt (
    intent bigint PRIMARY KEY REFERENCES report.intent,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON report.receipt EXECUTE FUNCTION report.refuse_change();
ALTER TABLE report.receipt ENABLE ALWAYS TRIGGER refuse_change;
GRANT SELECT, INSERT ON report.receipt TO piperoll_reporter;

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
    CASE
        WHEN r.kind = 3 THEN coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e ->> 'reason', x.e ->> 'summary')
        ELSE nullif(concat_ws(' ', x.e ->> 'summary', coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e #>> '{ai,summary}')), '')
    END AS ai_summary,
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
    coalesce(a.readings #>> '{0,by}', a.readings #>> '{0,model}', x.e #>> '{ai,model}', x.e ->> 'by', CASE WHEN x.e IS NOT NULL THEN 'rules' END) AS summary_by,
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

-- Time anchors (records of kind 9) are looked for by every verification and take-over; there are few of them.
SET LOCAL ROLE piperoll_owner;
CREATE INDEX record_time_anchor ON audit.record (chain_no, seq) WHERE kind = 9;
RESET ROLE;

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

-- Until when facts of retained payloads are blank: one row.
CREATE TABLE tally.blanked (
    until_us bigint NOT NULL
);
INSERT INTO tally.blanked VALUES (-9223372036854775808);

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

-- The same with the versions of what judged an event: events of other rules are of another shape, by which they are told apart.
CREATE FUNCTION tally.shape_of(
    kind smallint, floor smallint, ai smallint, pending boolean, blank boolean, type text, source text, by text, tags text[], rules text[],
    judged jsonb
) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(substr(sha256(convert_to(CASE WHEN judged IS NULL
    THEN ROW(kind, floor, ai, pending, blank, type, source, by, tags, rules)::text
    ELSE ROW(kind, floor, ai, pending, blank, type, source, by, tags, rules, judged)::text END, 'UTF8')), 1, 16), 'hex')::uuid;

-- The facts of records $2 to before $3 of a chain, from the records themselves.
CREATE FUNCTION tally.derive(of_chain smallint, first bigint, before bigint) RETURNS SETOF tally.fact
LANGUAGE sql STABLE AS $$
    SELECT f.seq, f.appended_us, f.time_us, f.source_offset, f.span, f.chain_no, f.kind, f.stated, f.floor, f.ai, f.pending, f.blank, f.type,
        f.source, f.actor, f.by, f.tags, f.rules, f.producer, f.number,
        tally.shape_of(f.kind, f.floor, f.ai, f.pending, f.blank, f.type, f.source, f.by, f.tags, f.rules, f.judged)
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
                + ('x' || encode(substr(r.leaf, 160, 4), 'hex'))::bit(32)::bigint END,
            CASE WHEN r.kind = 1 THEN x.j -> 'versions' END
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
        rules, producer, number, judged)
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    bound bigint := (SELECT (extract(epoch FROM max(until)) * 1000000)::bigint FROM audit.retention);
    gone bigint;
BEGIN
    IF bound IS NULL OR bound <= (SELECT until_us FROM tally.blanked) THEN
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
    -- Done for good once the payloads themselves are gone: their partitions may wait for a reader (audit.drop_retained).
    IF gone = 0 AND NOT EXISTS (
        SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit.payload'::regclass AND c.relname ~ '^payload_[0-9]{6}$'
            AND to_date(substr(c.relname, 9), 'YYYYMM') + interval '1 month' <= (SELECT max(until) FROM audit.retention)
    ) THEN
        UPDATE tally.blanked SET until_us = bound;
    END IF;
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
    tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[]), tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[], jsonb), tally.derive(smallint, bigint, bigint), tally.one(smallint, bigint), tally.fold(smallint, bigint),
    tally.renew(smallint, bigint), tally.blank_erased(), tally.blank_retained(bigint),
    tally.counted_us(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint),
    tally.is_earlier(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tally.number_in(jsonb, text),
    tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[]), tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[], jsonb), tally.derive(smallint, bigint, bigint), tally.one(smallint, bigint), tally.fold(smallint, bigint),
    tally.renew(smallint, bigint), tally.blank_retained(bigint),
    tally.counted_us(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint),
    tally.is_earlier(text, bigint, bigint, bigint, bigint, smallint, bigint, bigint) TO piperoll_reporter;
RESET ROLE;
