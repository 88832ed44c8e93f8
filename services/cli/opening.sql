-- body: the message of the event with this id, null where it is gone
SELECT p.body
FROM audit.record r
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.chain_no = ($1::bigint >> 48)::smallint AND r.seq = $1::bigint & 281474976710655 AND r.kind IN (1, 3);
