-- last_seal: the newest seal, and when
SELECT seal_no, sealed_us FROM audit.seal ORDER BY seal_no DESC LIMIT 1;

-- chains: of each chain how many records it has, and how many of them are sealed and were compared with Kafka
SELECT c.chain_no, c.topic, c.partition, h.next_seq AS records, coalesce(s.size, 0) AS sealed,
    coalesce(s.compared_size, 0) AS compared
FROM audit.chain c
JOIN audit.chain_head h USING (chain_no)
LEFT JOIN LATERAL (
    SELECT size, compared_size FROM audit.checkpoint WHERE tree = c.chain_no ORDER BY size DESC LIMIT 1
) s ON true
ORDER BY c.chain_no;

-- targets: what each target outside took last
SELECT DISTINCT ON (target) target, size, published_us FROM audit.publication ORDER BY target, number DESC;
