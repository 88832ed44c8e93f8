-- lineage: all chains of a topic's partition, oldest first, with their heads
SELECT c.chain_no, c.chain_id, c.topic_id, h.next_source_offset, h.read_topic_id, h.next_read_offset, h.closed
FROM audit.chain c JOIN audit.chain_head h USING (chain_no)
WHERE c.topic = $1 AND c.partition = $2
ORDER BY c.chain_no;

-- claim: takes a chain over with a new epoch
SELECT chain_no, next_seq, last_hash, next_source_offset, epoch FROM audit.claim($1);

-- last_appended: when a record was appended, in microseconds
SELECT appended_us FROM audit.record WHERE chain_no = $1 AND seq = $2;

-- advance: moves the read positions of some chains in one call
SELECT audit.advance($1, $2, $3, $4);

-- open_chain: opens a chain and its partition
SELECT audit.open_chain($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- open_months: makes the payload partitions of this month and the two after it
SELECT audit.open_months(2);

-- recorded: what is recorded of source offsets that come again; a skip record's Kafka time is the smallest number
SELECT r.source_offset, r.leaf,
    CASE WHEN r.kind = 2 THEN audit.json_of(audit.value_of(p.body)) ->> 'payload_commitment' END AS original_commitment,
    CASE WHEN r.kind = 2 THEN p.original_salt WHEN p.body IS NOT NULL THEN p.salt END AS salt
FROM audit.record r
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.chain_no = ANY ($1::smallint[]) AND r.source_offset = ANY ($2::bigint[]);

-- candidates: earlier records with the same identity hash, since a time; 16 of each hash at most, so that a flood of
-- conflicting repeats costs no more
SELECT wanted.hash AS identity_hash, r.seq, p.seq IS NULL AS erased, sha256(audit.value_of(p.body)) AS value_hash,
    substr(p.body, 1 + key.bytes + value.bytes) AS headers,
    audit.json_of(p.enrich) ->> 'source' AS source, audit.json_of(p.enrich) ->> 'id' AS id
FROM unnest($2::bigint[]) AS wanted (hash)
CROSS JOIN LATERAL (
    SELECT seq, appended_us FROM audit.record
    WHERE chain_no = $1 AND identity_hash = wanted.hash AND kind IN (1, 7, 8) AND appended_us >= $3
    LIMIT 16
) r
LEFT JOIN audit.payload p ON p.chain_no = $1 AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
CROSS JOIN LATERAL (SELECT CASE get_byte(p.body, 0) WHEN 0 THEN 1
    ELSE 5 + ('x' || encode(substr(p.body, 2, 4), 'hex'))::bit(32)::int END AS bytes) key
CROSS JOIN LATERAL (SELECT CASE get_byte(p.body, key.bytes) WHEN 0 THEN 1
    ELSE 5 + ('x' || encode(substr(p.body, key.bytes + 2, 4), 'hex'))::bit(32)::int END AS bytes) value;

-- annotation: notes which event an annotation is about
INSERT INTO audit.annotation (topic_id, partition, source_offset, chain_no, seq, appended_at)
VALUES ($1, $2, $3, $4, $5, audit.moment($6));

-- review: notes which event a review is about
INSERT INTO audit.review (topic_id, partition, source_offset, chain_no, seq, appended_at)
VALUES ($1, $2, $3, $4, $5, audit.moment($6));

-- append_lock: taken before any other lock by what appends; shared
SELECT pg_advisory_xact_lock_shared(audit.order_lock());

-- order_lock: taken before any other lock by what carries out orders too; alone
SELECT pg_advisory_xact_lock(audit.order_lock());

-- erased: which source offsets of these (topic id, partition, first, last) were erased
SELECT e.topic_id, e.partition, e.source_offset
FROM unnest($1::bytea[], $2::integer[], $3::bigint[], $4::bigint[]) AS span (topic_id, partition, first, last)
CROSS JOIN LATERAL (
    SELECT topic_id, partition, source_offset FROM audit.erasure
    WHERE topic_id = span.topic_id AND partition = span.partition AND source_offset BETWEEN span.first AND span.last
) e;

-- erase: carries out an erasure that this transaction records
SELECT audit.erase($1, $2);

-- restore: carries out a restore that this transaction records
SELECT audit.restore($1, $2);

-- retain: carries out a retention that this transaction records
SELECT audit.retain($1, $2);

-- drop_retained: drops partitions of retained months that a reader held when the order came
SELECT audit.drop_retained();
