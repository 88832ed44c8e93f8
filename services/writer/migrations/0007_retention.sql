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
