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
