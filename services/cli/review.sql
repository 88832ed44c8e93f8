-- event: the event that is record $2 of chain $1, and its last review
SELECT v.id, v.chain_no, v.seq, c.topic_id, c.partition, v.kafka_offset, v.event_type, v.risk, v.risk_floor, v.risk_ai, v.review
FROM audit_events v JOIN audit.chain c USING (chain_no)
WHERE v.chain_no = $1 AND v.seq = $2;

-- kind: what record $2 of chain $1 is
SELECT kind FROM audit.record WHERE chain_no = $1 AND seq = $2;

-- placed: records of a source offset
SELECT r.chain_no, r.seq FROM audit.record r JOIN audit.chain c USING (chain_no)
WHERE c.topic_id = $1 AND c.partition = $2 AND r.source_offset = $3;

-- named: events with this identity hash
SELECT chain_no, seq FROM audit.record WHERE identity_hash = $1 AND kind = 1 ORDER BY chain_no, seq;
