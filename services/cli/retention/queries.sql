-- oldest: when the oldest record was appended, microseconds
SELECT min(r.appended_us) AS appended_us
FROM audit.chain c
CROSS JOIN LATERAL (SELECT appended_us FROM audit.record WHERE chain_no = c.chain_no ORDER BY seq LIMIT 1) r;

-- month: records appended from $1 to before $2, and their payloads that a retention takes
SELECT count(*) AS records, count(p.seq) FILTER (WHERE NOT audit.is_kept(r.kind, p.body)) AS payloads
FROM audit.record r
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.appended_us >= $1 AND r.appended_us < $2;
