-- leads: whether this session now leads all sealers of the database; the lock ends with the session
SELECT pg_try_advisory_lock(hashtextextended('audit.sealer', 0));

-- heads: every chain with the sequence number that its next record will have
SELECT c.chain_no, c.chain_id, c.topic, c.topic_id, c.partition, h.next_seq
FROM audit.chain c JOIN audit.chain_head h USING (chain_no) ORDER BY c.chain_no;

-- leaves: the leaves of chain $1 from $2 to before $3 one after the other, and how many
SELECT count(*) AS count, coalesce(string_agg(leaf, ''::bytea), ''::bytea) AS leaves
FROM (SELECT leaf FROM audit.record WHERE chain_no = $1 AND seq >= $2 AND seq < $3 ORDER BY seq) AS wanted;

-- salts: numbers and payload salts of the same records, each one after the other
SELECT coalesce(string_agg(int8send(seq), ''::bytea), ''::bytea) AS numbers, coalesce(string_agg(salt, ''::bytea), ''::bytea) AS salts
FROM (SELECT seq, salt FROM audit.payload WHERE chain_no = $1 AND seq >= $2 AND seq < $3 ORDER BY seq) AS wanted;

-- erasure_orders: for records $2 of chain $1: the own events by which the event that each is of, or about, was erased
WITH named AS (
    SELECT r.seq, e.topic_id, e.partition, e.source_offset, e.chain_no AS order_chain, e.seq AS order_seq
    FROM audit.record r
    JOIN audit.chain c USING (chain_no)
    JOIN audit.erasure e ON e.topic_id = c.topic_id AND e.partition = c.partition AND e.source_offset = r.source_offset
    WHERE r.chain_no = $1 AND r.seq = ANY ($2::bigint[])
    UNION
    SELECT n.seq, e.topic_id, e.partition, e.source_offset, e.chain_no, e.seq
    FROM audit.erasure e
    JOIN audit.annotation n USING (topic_id, partition, source_offset)
    WHERE n.chain_no = $1 AND n.seq = ANY ($2::bigint[])
)
SELECT n.seq, n.topic_id, n.partition, n.source_offset, p.body
FROM named n
JOIN audit.chain c ON c.chain_no = n.order_chain AND c.topic LIKE '%.system'
JOIN audit.record r ON r.chain_no = n.order_chain AND r.seq = n.order_seq AND r.kind = 8
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us);

-- own_bodies: bodies of our own records of chain $1 with the numbers $2
SELECT seq, body, original_salt FROM audit.payload WHERE chain_no = $1 AND seq = ANY ($2::bigint[]);

-- tile_roots: roots of the full tiles of tree $1 at level $2 from number $3 to before $4
SELECT root FROM audit.tile WHERE tree = $1 AND level = $2 AND n >= $3 AND n < $4 ORDER BY n;

-- seal_leaves: leaves of the seal log from $1 to before $2
SELECT seal_no, leaf FROM audit.seal WHERE seal_no >= $1 AND seal_no < $2 ORDER BY seal_no;

-- newest_checkpoint: the largest signed checkpoint of the seal log
SELECT note FROM audit.checkpoint WHERE tree = 0 ORDER BY size DESC LIMIT 1;

-- compared: how many records of tree $1 were compared when $2 of them were signed
SELECT compared_size FROM audit.checkpoint WHERE tree = $1 AND size <= $2 ORDER BY size DESC LIMIT 1;

-- add_tile: keeps a full tile; the same one again changes nothing
INSERT INTO audit.tile (tree, level, n, hashes, root) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- add_seal: keeps a leaf of the seal log
INSERT INTO audit.seal (seal_no, sealed_us, leaf) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- add_checkpoint: keeps a signed checkpoint
INSERT INTO audit.checkpoint (tree, size, root, note, sealed_us, seal_no, compared_size) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING;

-- add_publication: keeps what a target gave back
INSERT INTO audit.publication (target, size, published_us, receipt) VALUES ($1, $2, $3, $4);

-- own_event: the record of an event of our own, by the hash of its name
SELECT chain_no, seq FROM audit.record WHERE identity_hash = $1 AND kind = 8 ORDER BY chain_no, seq LIMIT 1;
