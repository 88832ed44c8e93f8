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
