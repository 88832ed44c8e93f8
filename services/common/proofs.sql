-- record: record $2 of chain $1 and what it commits to, as far as that is kept
SELECT r.leaf, p.salt, p.body, p.enrich_salt, p.enrich
FROM audit.record r LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.chain_no = $1 AND r.seq = $2;

-- events: events whose identity hashes to $1, with their enrichments; at most $2
SELECT r.chain_no, r.seq, p.enrich
FROM audit.record r LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.identity_hash = $1 AND r.kind = 1 ORDER BY r.chain_no, r.seq LIMIT $2;

-- own_events: own events whose id hashes to $1; at most $2
SELECT r.chain_no, r.seq FROM audit.record r WHERE r.identity_hash = $1 AND r.kind = 8 ORDER BY r.chain_no, r.seq LIMIT $2;

-- coordinates: records of an offset of a topic (by its id) and partition; no skips, which stand for many
SELECT r.chain_no, r.seq FROM audit.chain c JOIN audit.record r ON r.chain_no = c.chain_no
WHERE c.topic_id = $1 AND c.partition = $2 AND r.source_offset = $3 AND r.kind <> 4 ORDER BY r.chain_no LIMIT $4;

-- first_checkpoint: the first checkpoint of tree $1 that covers leaf $2
SELECT size, root, note, seal_no FROM audit.checkpoint WHERE tree = $1 AND size > $2 ORDER BY size LIMIT 1;

-- last_checkpoint: the newest checkpoint of tree $1
SELECT size, root, note, sealed_us FROM audit.checkpoint WHERE tree = $1 ORDER BY size DESC LIMIT 1;

-- seal: leaf $1 of the seal log
SELECT leaf FROM audit.seal WHERE seal_no = $1;

-- cosignatures: the newest signature lines (they begin with U+2014 and a blank) that came back for checkpoints of the
-- seal log, of those that cover seal $1; among the last $2 publications
SELECT size, receipt FROM (
    SELECT number, size, receipt FROM audit.publication ORDER BY number DESC LIMIT $2
) AS newest
WHERE size > $1 AND substr(receipt, 1, 4) = '\xe2809420'::bytea ORDER BY number DESC;

-- checkpoint: the checkpoint of tree $1 of size $2
SELECT size, root, note FROM audit.checkpoint WHERE tree = $1 AND size = $2;

-- tiles: the full tiles of tree $1 among those with levels $2 and numbers $3
SELECT t.level, t.n, t.hashes
FROM unnest($2::smallint[], $3::bigint[]) AS wanted (level, n)
JOIN audit.tile t ON t.tree = $1 AND t.level = wanted.level AND t.n = wanted.n;

-- tile_roots: roots of the full tiles of tree $1 at level $2 from number $3 to before $4
SELECT root FROM audit.tile WHERE tree = $1 AND level = $2 AND n >= $3 AND n < $4 ORDER BY n;

-- record_hashes: hashes of the records of chain $1 from $2 to before $3
SELECT record_hash FROM audit.record WHERE chain_no = $1 AND seq >= $2 AND seq < $3 ORDER BY seq;

-- seal_leaves: leaves of the seal log from $1 to before $2
SELECT leaf FROM audit.seal WHERE seal_no >= $1 AND seal_no < $2 ORDER BY seal_no;
