-- heads: where the writer reads on in each partition of these topics (of audit.events: in audit.enriched)
SELECT c.topic, c.topic_id, c.partition, h.read_topic_id, h.next_read_offset, h.next_source_offset
FROM audit.chain c JOIN audit.chain_head h USING (chain_no)
WHERE c.topic = ANY ($1::text[]) AND NOT h.closed;

-- named: events whose actor is one of $1 or whose CloudEvents subject is one of $2, as their enrichment has them
SELECT r.chain_no, r.seq, r.kind, c.topic, c.topic_id, c.partition, r.source_offset, r.appended_us, r.record_hash, r.leaf,
    x.e ->> 'type' AS event_type, NULL::bytea AS body, NULL::bytea AS enrich
FROM audit.payload p
JOIN audit.record r ON r.chain_no = p.chain_no AND r.seq = p.seq
JOIN audit.chain c ON c.chain_no = r.chain_no
CROSS JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x
WHERE r.kind IN (1, 3) AND (x.e #>> '{who,actor}' = ANY ($1::text[]) OR x.e ->> 'subject' = ANY ($2::text[]))
ORDER BY r.chain_no, r.seq;

-- containing: events and annotations in whose bytes one of these stands
SELECT r.chain_no, r.seq, r.kind, c.topic, c.topic_id, c.partition, r.source_offset, r.appended_us, r.record_hash, r.leaf,
    audit.json_of(p.enrich) ->> 'type' AS event_type, p.body, p.enrich
FROM audit.payload p
JOIN audit.record r ON r.chain_no = p.chain_no AND r.seq = p.seq
JOIN audit.chain c ON c.chain_no = r.chain_no
WHERE r.kind IN (1, 3, 7)
    AND EXISTS (SELECT FROM unnest($1::bytea[]) AS text WHERE position(text IN p.body) > 0 OR position(text IN p.enrich) > 0)
ORDER BY r.chain_no, r.seq;

-- by_id: the records of events with these ids
SELECT r.chain_no, r.seq, r.kind, c.topic, c.topic_id, c.partition, r.source_offset, r.appended_us, r.record_hash, r.leaf,
    audit.json_of(p.enrich) ->> 'type' AS event_type, NULL::bytea AS body, NULL::bytea AS enrich
FROM unnest($1::bigint[]) AS wanted (id)
JOIN audit.record r ON r.chain_no = (wanted.id >> 48)::smallint AND r.seq = wanted.id & 281474976710655
JOIN audit.chain c ON c.chain_no = r.chain_no
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.kind IN (1, 2, 3, 7)
ORDER BY r.chain_no, r.seq;

-- repeats: duplicate records of these records (chain, seq) whose payload is still there
SELECT d.chain_no, d.seq, d.kind, c.topic, c.topic_id, c.partition, d.source_offset, d.appended_us, d.record_hash, d.leaf,
    NULL::text AS event_type, NULL::bytea AS body, NULL::bytea AS enrich
FROM unnest($1::smallint[], $2::bigint[]) AS f (chain_no, seq)
JOIN audit.record r ON r.chain_no = f.chain_no AND r.seq = f.seq
JOIN audit.record d ON d.chain_no = r.chain_no AND d.identity_hash = r.identity_hash AND d.kind = 2
JOIN audit.chain c ON c.chain_no = d.chain_no
JOIN audit.payload p ON p.chain_no = d.chain_no AND p.seq = d.seq AND p.appended_at = audit.moment(d.appended_us)
WHERE audit.json_of(audit.value_of(p.body)) ->> 'first_seq' = r.seq::text AND p.original_salt IS NOT NULL
ORDER BY d.chain_no, d.seq;

-- annotations: the annotations about these events whose text is still there
SELECT r.chain_no, r.seq, r.kind, c.topic, c.topic_id, c.partition, r.source_offset, r.appended_us, r.record_hash, r.leaf,
    NULL::text AS event_type, NULL::bytea AS body, NULL::bytea AS enrich
FROM unnest($1::bytea[], $2::integer[], $3::bigint[]) AS f (topic_id, partition, source_offset)
JOIN audit.annotation n
    ON n.topic_id = f.topic_id AND n.partition = f.partition AND n.source_offset = f.source_offset
JOIN audit.record r ON r.chain_no = n.chain_no AND r.seq = n.seq
JOIN audit.chain c ON c.chain_no = r.chain_no
JOIN audit.payload p ON p.chain_no = n.chain_no AND p.seq = n.seq AND p.appended_at = n.appended_at
ORDER BY r.chain_no, r.seq;

-- remaining: how many of these records (chain, seq) still have a payload
SELECT count(*) AS count
FROM unnest($1::smallint[], $2::bigint[]) AS f (chain_no, seq)
JOIN audit.record r ON r.chain_no = f.chain_no AND r.seq = f.seq
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us);
