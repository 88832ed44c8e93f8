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
