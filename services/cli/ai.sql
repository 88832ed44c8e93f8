-- requests: requests to models that were recorded from $1 (microseconds) on, by model, purpose and outcome
SELECT said.j #>> '{data,model}' AS model, said.j #>> '{data,purpose}' AS purpose, said.j #>> '{data,outcome}' AS outcome,
    count(*) AS requests, sum((said.j #>> '{data,tokens_in}')::numeric)::bigint AS tokens_in,
    sum((said.j #>> '{data,tokens_out}')::numeric)::bigint AS tokens_out,
    sum((said.j #>> '{data,cost_usd}')::numeric)::float8 AS dollars,
    count(*) FILTER (WHERE said.j #>> '{data,cost_usd}' IS NULL) AS unpriced
FROM audit.chain c
JOIN audit.record r ON r.chain_no = c.chain_no AND r.kind = 8
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(p.body)) AS j OFFSET 0) said
WHERE c.topic LIKE '%.system' AND r.appended_us >= $1 AND said.j ->> 'type' = 'model_inference'
    AND said.j ->> 'source' IN ('piperoll/annotator', 'piperoll/reporter', 'piperoll/command')
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- events: events that were recorded from $1 (microseconds) on, and where their texts come from
SELECT count(*) AS events,
    count(*) FILTER (WHERE x.e ? 'ai') AS at_once,
    count(*) FILTER (WHERE x.e -> 'pending' = 'true' AND x.e ->> 'risk' NOT IN ('high', 'critical')) AS shape_awaited,
    count(*) FILTER (WHERE NOT x.e ? 'ai' AND a.level IS NOT NULL) AS late,
    count(*) FILTER (WHERE NOT x.e ? 'ai' AND a.level IS NULL) AS by_rules,
    count(*) FILTER (WHERE x.e ? 'ai' OR a.level IS NOT NULL) AS by_ai,
    count(*) FILTER (WHERE audit.risk_ai(x.e, a.level) > audit.risk_floor(x.e)) AS raised,
    count(*) FILTER (WHERE audit.risk_ai(x.e, a.level) < audit.risk_floor(x.e)) AS called_lower
FROM audit.record r
JOIN audit.chain c USING (chain_no)
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
CROSS JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x
LEFT JOIN LATERAL (
    SELECT max(audit.risk_level(said.j ->> 'risk')) AS level
    FROM audit.annotation n
    JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
) a ON true
WHERE r.kind = 1 AND r.appended_us >= $1;
