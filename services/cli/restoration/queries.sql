-- chains: what finds a chain's messages and files
SELECT chain_no, chain_id, topic, topic_id, partition FROM audit.chain ORDER BY chain_no;

-- rows: the records with these numbers ($1 chain, $2 seqs) as they stand, with what stands of their payloads
SELECT r.seq, r.leaf, r.identity_hash, p.body, p.enrich
FROM audit.record r LEFT JOIN LATERAL (
    SELECT body, enrich FROM audit.payload p WHERE p.chain_no = r.chain_no AND p.seq = r.seq LIMIT 1
) p ON true
WHERE r.chain_no = $1 AND r.seq = ANY ($2::bigint[]);

-- stage: bytes on their way back, under a batch
INSERT INTO audit.restoration (batch, chain_no, seq, what, leaf, identity_hash, salt, body, enrich_salt, enrich)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- unstage: takes a batch away again
DELETE FROM audit.restoration WHERE batch = $1;
