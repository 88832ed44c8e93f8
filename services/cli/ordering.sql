-- recorded: own events of the topic with these identities, and how many places the index has of each
SELECT r.identity_hash, r.chain_no, r.seq, r.record_hash, r.appended_us,
    (SELECT count(*) FROM audit.erasure e WHERE e.chain_no = r.chain_no AND e.seq = r.seq) AS named
FROM audit.record r JOIN audit.chain c USING (chain_no)
WHERE r.identity_hash = ANY ($1::bigint[]) AND r.kind = 8 AND c.topic = $2
ORDER BY r.chain_no, r.seq;
