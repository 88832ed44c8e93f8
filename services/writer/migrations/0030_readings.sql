-- The readings of shapes, which stand in the enrichment beside what rules say; and a model's text behind the sentence by rules.
SET LOCAL ROLE piperoll_owner;

CREATE OR REPLACE FUNCTION audit.risk_ai(enrichment jsonb, annotated integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(
    CASE WHEN enrichment ->> 'by' <> 'rules' THEN audit.risk_level(enrichment ->> 'risk') END,
    audit.risk_level(enrichment #>> '{ai,risk}'),
    annotated
);

-- The tags of an enrichment, of the reading of its shape and of all annotations, each once, sorted.
CREATE OR REPLACE FUNCTION audit.tags_of(enrichment jsonb, annotations jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT tag #>> '{}' COLLATE "C" FROM (
        SELECT jsonb_path_query(enrichment, 'lax $.tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(enrichment, 'lax $.writer_tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(enrichment, 'lax $.ai.tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(annotations, 'lax $[*].tags[*] ? (@.type() == "string")')
    ) AS found (tag) ORDER BY 1
);

-- As before, but for the text, who wrote it, and what the two functions above see.
CREATE OR REPLACE VIEW public.audit_events AS
SELECT
    (r.chain_no::bigint << 48) | r.seq AS id,
    coalesce(x.e ->> 'type', '') AS event_type,
    audit.event_data(p.body, x.e ->> 'form', x.e ->> 'content_type') AS event_data,
    CASE
        WHEN r.kind = 3 THEN coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e ->> 'reason', x.e ->> 'summary')
        ELSE nullif(concat_ws(' ', x.e ->> 'summary', coalesce(nullif(a.readings #>> '{0,summary}', ''), x.e #>> '{ai,summary}')), '')
    END AS ai_summary,
    audit.tags_of(x.e, a.readings) AS ai_tags,
    audit.moment(coalesce(r.event_time_us, audit.kafka_us(r.leaf), r.appended_us)) AS event_time,
    x.e ->> 'source' AS source,
    x.e ->> 'id' AS event_id,
    x.e ->> 'subject' AS subject,
    audit.risk_name(greatest(
        audit.risk_floor(x.e),
        CASE WHEN v.status = 'false-positive' THEN a.level_since ELSE audit.risk_ai(x.e, a.level) END
    )) AS risk,
    audit.risk_name(audit.risk_floor(x.e)) AS risk_floor,
    audit.risk_name(audit.risk_ai(x.e, a.level)) AS risk_ai,
    coalesce(a.readings #>> '{0,by}', a.readings #>> '{0,model}', x.e #>> '{ai,model}', x.e ->> 'by', CASE WHEN x.e IS NOT NULL THEN 'rules' END) AS summary_by,
    coalesce(x.e -> 'pending' = 'true' AND a.readings IS NULL, false) AS ai_pending,
    x.e #>> '{who,actor}' AS actor,
    x.e #>> '{who,action}' AS action,
    x.e #>> '{who,resource}' AS resource,
    x.e #>> '{who,origin}' AS origin,
    x.e #>> '{who,outcome}' AS outcome,
    coalesce(x.e -> 'rules', '[]') AS rules,
    x.e ->> 'log_source' AS log_source,
    c.topic AS kafka_topic,
    c.partition AS kafka_partition,
    r.source_offset AS kafka_offset,
    audit.moment(r.appended_us) AS appended_at,
    CASE r.kind WHEN 3 THEN 'poison' ELSE 'event' END AS kind,
    r.chain_no,
    r.seq,
    r.record_hash,
    v.status AS review,
    v.appended_at AS reviewed_at
FROM audit.record r
JOIN audit.chain c USING (chain_no)
LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
LEFT JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x ON true
LEFT JOIN LATERAL (
    SELECT said.j #>> '{data,status}' AS status, w.appended_at
    FROM audit.review w
    JOIN audit.payload t ON t.chain_no = w.chain_no AND t.seq = w.seq AND t.appended_at = w.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE w.topic_id = c.topic_id AND w.partition = c.partition AND w.source_offset = r.source_offset
        AND said.j ->> 'type' = 'piperoll.review'
        AND said.j #>> '{data,event,topic_id}' = encode(c.topic_id, 'hex')
        AND said.j #>> '{data,event,partition}' = c.partition::text
        AND said.j #>> '{data,event,source_offset}' = r.source_offset::text
    ORDER BY w.appended_at DESC, w.chain_no DESC, w.seq DESC
    LIMIT 1
) v ON true
LEFT JOIN LATERAL (
    SELECT
        max(audit.risk_level(said.j ->> 'risk')) AS level,
        max(audit.risk_level(said.j ->> 'risk')) FILTER (WHERE n.appended_at > v.appended_at) AS level_since,
        jsonb_agg(said.j ORDER BY n.appended_at DESC, n.chain_no DESC, n.seq DESC) AS readings
    FROM audit.annotation n
    JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
        AND jsonb_typeof(said.j) = 'object'
) a ON true
WHERE r.kind IN (1, 3);
RESET ROLE;
