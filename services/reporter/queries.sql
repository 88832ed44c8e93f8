-- chains: all chains with their heads
SELECT c.chain_no, c.chain_id, c.topic, c.topic_id, c.partition, c.cluster_id, c.previous,
    h.next_seq, h.last_hash, h.next_source_offset, h.epoch, h.closed
FROM audit.chain c LEFT JOIN audit.chain_head h USING (chain_no)
ORDER BY c.chain_no;

-- chain_numbers: every chain number under which rows stand, whether or not a chain has it
WITH RECURSIVE records AS (
    SELECT min(chain_no) AS chain_no FROM audit.record
    UNION ALL
    SELECT (SELECT min(r.chain_no) FROM audit.record r WHERE r.chain_no > n.chain_no) FROM records n WHERE n.chain_no IS NOT NULL
), payloads AS (
    SELECT min(chain_no) AS chain_no FROM audit.payload
    UNION ALL
    SELECT (SELECT min(p.chain_no) FROM audit.payload p WHERE p.chain_no > n.chain_no) FROM payloads n WHERE n.chain_no IS NOT NULL
)
SELECT chain_no FROM records WHERE chain_no IS NOT NULL UNION SELECT chain_no FROM payloads WHERE chain_no IS NOT NULL
ORDER BY chain_no;

-- told: the own events with these identity hashes, the earliest of each
SELECT DISTINCT ON (identity_hash) identity_hash, chain_no, seq FROM audit.record
WHERE identity_hash = ANY ($1::bigint[]) AND kind = 8 ORDER BY identity_hash, chain_no, seq;

-- next_range: the next numbers of a chain from $2 on, at most $3 rows and about $4 bytes of payload; nulls at the end
WITH records AS (
    SELECT seq FROM audit.record WHERE chain_no = $1 AND seq >= $2 ORDER BY seq LIMIT $3
), payloads AS (
    SELECT seq, sum(coalesce(octet_length(body), 0) + coalesce(octet_length(enrich), 0)) OVER (ORDER BY seq) AS bytes,
        row_number() OVER (ORDER BY seq) AS number
    FROM (
        SELECT seq, body, enrich FROM audit.payload WHERE chain_no = $1 AND seq >= $2 ORDER BY seq LIMIT $3
    ) AS next
), ends AS (
    SELECT (SELECT CASE WHEN count(*) = $3 THEN max(seq) END FROM records) AS last_record,
        (SELECT CASE WHEN count(*) = $3 OR max(bytes) > $4 THEN max(seq) FILTER (WHERE bytes <= $4 OR number = 1) END
         FROM payloads) AS last_payload,
        least((SELECT min(seq) FROM records), (SELECT min(seq) FROM payloads)) AS first
)
SELECT first, coalesce(least(last_record, last_payload), 9223372036854775807) AS last FROM ends WHERE first IS NOT NULL;

-- next_records: the same where payloads are not wanted
SELECT min(seq) AS first, max(seq) AS last FROM (
    SELECT seq FROM audit.record WHERE chain_no = $1 AND seq >= $2 ORDER BY seq LIMIT $3
) AS next HAVING count(*) > 0;

-- records: the records of a chain from $2 to $3
SELECT seq, kind, source_offset, appended_us, event_time_us, identity_hash, record_hash, leaf
FROM audit.record WHERE chain_no = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq;

-- payloads: the payload rows of a chain from $2 to $3
SELECT seq, appended_at, salt, body, enrich_salt, enrich
FROM audit.payload WHERE chain_no = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, appended_at;

-- erasures: the index of what was erased, and by which own event
SELECT topic_id, partition, source_offset, chain_no, seq FROM audit.erasure;

-- retentions: the index of what was retained away, and by which own event
SELECT chain_no, seq, (extract(epoch FROM until) * 1000000)::bigint AS until_us FROM audit.retention;

-- hashes: the hashes of a chain's records from $2 to $3
SELECT seq, record_hash FROM audit.record WHERE chain_no = $1 AND seq BETWEEN $2 AND $3;

-- orders: the own events of type $1 and their records
SELECT r.chain_no, r.seq, p.body
FROM audit.chain c
JOIN audit.record r ON r.chain_no = c.chain_no AND r.kind = 8
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE c.topic LIKE '%.system' AND audit.json_of(audit.value_of(p.body)) ->> 'type' = $1
ORDER BY r.chain_no, r.seq;

-- payloads_within: the same, as far as they have about $4 bytes, at least one
SELECT seq, appended_at, salt, body, enrich_salt, enrich FROM (
    SELECT seq, appended_at, salt, body, enrich_salt, enrich,
        sum(coalesce(octet_length(body), 0) + coalesce(octet_length(enrich), 0)) OVER running AS bytes, row_number() OVER running AS number
    FROM audit.payload WHERE chain_no = $1 AND seq BETWEEN $2 AND $3 WINDOW running AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) AS wanted WHERE bytes <= $4::bigint OR number = 1 ORDER BY seq, appended_at;

-- leaves: the leaves of chain $1 from $2 on, $3 at most
SELECT seq, leaf FROM audit.record WHERE chain_no = $1 AND seq >= $2 ORDER BY seq LIMIT $3;

-- strays: whether rows of chain $1 stand under numbers that it does not have: below 0, or from $2 on
SELECT EXISTS (SELECT FROM audit.record WHERE chain_no = $1 AND seq < 0)
    OR EXISTS (SELECT FROM audit.record WHERE chain_no = $1 AND seq >= $2)
    OR EXISTS (SELECT FROM audit.payload WHERE chain_no = $1 AND seq < 0)
    OR EXISTS (SELECT FROM audit.payload WHERE chain_no = $1 AND seq >= $2) AS strays;

-- appended: when record $2 of chain $1 was appended, in microseconds
SELECT appended_us FROM audit.record WHERE chain_no = $1 AND seq = $2;

-- time_anchors: the time anchors of all chains
SELECT r.chain_no, r.seq, r.leaf, p.salt, p.body
FROM audit.record r
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.kind = 9 ORDER BY r.chain_no, r.seq;

-- seals: the database's own copy of the seal log
SELECT seal_no, leaf FROM audit.seal ORDER BY seal_no;

-- range_hashes: hashes of the full ranges of 65,536 records of chain $1, the first $2 of them
SELECT root FROM audit.tile WHERE tree = $1 AND level = 1 AND n < $2 ORDER BY n;

-- citations: number, hash, append time and kind of the records with these ids
SELECT (r.chain_no::bigint << 48) | r.seq AS id, r.chain_no, r.seq, r.record_hash, audit.moment(r.appended_us) AS appended_at, r.kind
FROM unnest($1::bigint[]) AS wanted (id)
JOIN audit.record r ON r.chain_no = (wanted.id >> 48)::smallint AND r.seq = wanted.id & 281474976710655
ORDER BY 1;

-- export: records with all that is needed to verify them anew, by append time from $1 to before $2, of event type $3
SELECT r.chain_no, c.chain_id, c.topic, c.topic_id, c.partition, c.cluster_id, r.seq, r.kind, r.source_offset, r.appended_us, r.event_time_us,
    r.identity_hash, r.record_hash, r.leaf, p.salt, p.body, p.enrich_salt, p.enrich, p.original_salt
FROM audit.record r
JOIN audit.chain c USING (chain_no)
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE ($1::bigint IS NULL OR r.appended_us >= $1) AND ($2::bigint IS NULL OR r.appended_us < $2)
    AND ($3::text IS NULL OR audit.json_of(p.enrich) ->> 'type' = $3)
ORDER BY r.chain_no, r.seq;

-- lead: whether this session holds the lock $1 from now on, which it does until it ends
SELECT pg_try_advisory_lock($1);

-- shadow_seal: the seal log, for a shadow copy
SELECT seal_no, sealed_us, leaf FROM audit.seal ORDER BY seal_no;

-- shadow_erasure: the index of erasures, for a shadow copy
SELECT * FROM audit.erasure;

-- shadow_retention: the index of retentions, for a shadow copy
SELECT * FROM audit.retention;
