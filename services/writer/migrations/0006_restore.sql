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
