-- The view audit_events: one row an event, as if it were a plain table.
-- Everything recorded is data and may be anything: no function here raises for any bytes.
SET LOCAL ROLE piperoll_owner;

-- Microseconds since 1970 as a time, kept within the years 1 to 9999, which every client can show.
CREATE FUNCTION audit.moment(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(least(greatest(us, -62135596800000000), 253402300799000000)::float8 / 1000000::float8);

-- Kafka's time in a leaf, in microseconds; null where there is none.
CREATE FUNCTION audit.kafka_us(leaf bytea) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ms bigint := ('x' || encode(substr(leaf, 91, 8), 'hex'))::bit(64)::bigint;
BEGIN
    RETURN CASE WHEN ms BETWEEN -62135596800000 AND 253402300799000 THEN ms * 1000 END;
END $$;

-- JSON bytes as jsonb, null where they are none that jsonb takes (U+0000, lone surrogates, NaN, huge numbers, …).
CREATE FUNCTION audit.json_of(raw bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN convert_from(raw, 'UTF8')::jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

-- Any bytes as jsonb: a JSON string of the text, or {"base64": …} where they are no UTF-8.
CREATE FUNCTION audit.text_of(raw bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN to_jsonb(convert_from(raw, 'UTF8'));
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_object('base64', replace(encode(raw, 'base64'), E'\n', ''));
END $$;

-- The Kafka value in a body (schemas.commitment): opt(key) opt(value) …; null for a null value and for no body.
CREATE FUNCTION audit.value_of(body bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    start integer := 1;
BEGIN
    IF get_byte(body, 0) = 1 THEN
        start := 5 + ('x' || encode(substr(body, 2, 4), 'hex'))::bit(32)::integer + 1;
    ELSE
        start := 2;
    END IF;
    IF get_byte(body, start - 1) = 0 THEN
        RETURN NULL;
    END IF;
    RETURN substr(body, start + 5, ('x' || encode(substr(body, start + 1, 4), 'hex'))::bit(32)::integer);
EXCEPTION WHEN OTHERS THEN
    RETURN body;
END $$;

-- Whether a media type is JSON; an absent one counts as JSON (schemas.events.is_json).
CREATE FUNCTION audit.is_json(content_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN content_type IS NULL
    OR lower(btrim(split_part(content_type, ';', 1), E' \t')) IN ('application/json', 'text/json')
    OR lower(btrim(split_part(content_type, ';', 1), E' \t')) LIKE '%+json';

-- Whether a JSON text has a number with an exponent of 400 or more, or of 400 digits: jsonb would write it out digit by
-- digit, a few bytes becoming many megabytes, and few clients can read it. Strings are cut out only after a first look.
CREATE FUNCTION audit.has_huge_number(document text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN document ~ '[0-9][eE][+-]?0*([4-9][0-9]{2}|[1-9][0-9]{3})|([0-9.]{100}){4}'
    AND regexp_replace(document, '"([^"\\]|\\.)*"', '""', 'g')
        ~ '[0-9][eE][+-]?0*([4-9][0-9]{2}|[1-9][0-9]{3})|([0-9.]{100}){4}';

-- The data of an event, by the form in which it stands in its Kafka value.
CREATE FUNCTION audit.event_data(body bytea, form text, content_type text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    raw bytea := audit.value_of(body);
    whole jsonb;
BEGIN
    IF form = 'binary' AND NOT audit.is_json(content_type) THEN
        RETURN audit.text_of(raw);
    END IF;
    whole := audit.json_of(raw);
    IF whole IS NULL OR audit.has_huge_number(convert_from(raw, 'UTF8')) THEN
        RETURN audit.text_of(raw);
    END IF;
    RETURN CASE form
        WHEN 'structured' THEN coalesce(nullif(whole -> 'data', 'null'), whole -> 'data_base64')
        WHEN 'short' THEN whole -> 'event_data'
        ELSE whole
    END;
END $$;

-- Risk levels as numbers, lowest 1; null for anything else.
CREATE FUNCTION audit.risk_level(risk text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position(ARRAY['informational', 'low', 'medium', 'high', 'critical'], risk);

CREATE FUNCTION audit.risk_name(level integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY['informational', 'low', 'medium', 'high', 'critical'])[level];

-- The rules' risk: what the enrichment says where rules made it, else the highest level of the rules that fired;
-- at least high where the writer found the identity contested. Without a subquery, so that PostgreSQL inlines it.
CREATE FUNCTION audit.risk_floor(enrichment jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(
    1,
    CASE WHEN coalesce(enrichment ->> 'by', 'rules') = 'rules' THEN audit.risk_level(enrichment ->> 'risk') END,
    CASE WHEN enrichment ? 'writer_tags' THEN 4 END,
    CASE WHEN enrichment ? 'rules' THEN CASE
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "critical")') THEN 5
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "high")') THEN 4
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "medium")') THEN 3
        WHEN jsonb_path_exists(enrichment, 'lax $.rules[*].level ? (@ == "low")') THEN 2
    END END
);

CREATE FUNCTION audit.risk_ai(enrichment jsonb, annotated integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(
    CASE WHEN enrichment ->> 'by' <> 'rules' THEN audit.risk_level(enrichment ->> 'risk') END, annotated
);

-- The tags of an enrichment and of all annotations, each once, sorted.
CREATE FUNCTION audit.tags_of(enrichment jsonb, annotations jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT tag #>> '{}' COLLATE "C" FROM (
        SELECT jsonb_path_query(enrichment, 'lax $.tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(enrichment, 'lax $.writer_tags[*] ? (@.type() == "string")')
        UNION ALL SELECT jsonb_path_query(annotations, 'lax $[*].tags[*] ? (@.type() == "string")')
    ) AS found (tag) ORDER BY 1
);

-- Duplicates and Piperoll's own records are left out. An event whose payload was erased keeps its row, times and risk
-- of none. Annotations give the latest text and raise the risk, never lower it.
CREATE VIEW public.audit_events AS
SELECT
    (r.chain_no::bigint << 48) | r.seq AS id,
    coalesce(x.e ->> 'type', '') AS event_type,
    audit.event_data(p.body, x.e ->> 'form', x.e ->> 'content_type') AS event_data,
    coalesce(nullif(a.readings #>> '{0,summary}', ''), CASE WHEN r.kind = 3 THEN x.e ->> 'reason' END, x.e ->> 'summary') AS ai_summary,
    audit.tags_of(x.e, a.readings) AS ai_tags,
    audit.moment(coalesce(r.event_time_us, audit.kafka_us(r.leaf), r.appended_us)) AS event_time,
    x.e ->> 'source' AS source,
    x.e ->> 'id' AS event_id,
    x.e ->> 'subject' AS subject,
    audit.risk_name(greatest(audit.risk_floor(x.e), audit.risk_ai(x.e, a.level))) AS risk,
    audit.risk_name(audit.risk_floor(x.e)) AS risk_floor,
    audit.risk_name(audit.risk_ai(x.e, a.level)) AS risk_ai,
    coalesce(a.readings #>> '{0,by}', a.readings #>> '{0,model}', x.e ->> 'by', CASE WHEN x.e IS NOT NULL THEN 'rules' END) AS summary_by,
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
    r.record_hash
FROM audit.record r
JOIN audit.chain c USING (chain_no)
LEFT JOIN audit.payload p
    ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
LEFT JOIN LATERAL (SELECT audit.json_of(p.enrich) AS e OFFSET 0) x ON true
LEFT JOIN LATERAL (
    SELECT
        max(audit.risk_level(said.j ->> 'risk')) AS level,
        jsonb_agg(said.j ORDER BY n.appended_at DESC, n.chain_no DESC, n.seq DESC) AS readings
    FROM audit.annotation n
    JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) said
    WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
        AND jsonb_typeof(said.j) = 'object'
) a ON true
WHERE r.kind IN (1, 3);

GRANT SELECT ON public.audit_events TO piperoll_reporter, piperoll_sealer;
REVOKE ALL ON FUNCTION audit.moment(bigint), audit.json_of(bytea), audit.text_of(bytea), audit.value_of(bytea),
    audit.is_json(text), audit.has_huge_number(text), audit.kafka_us(bytea), audit.event_data(bytea, text, text), audit.risk_level(text), audit.risk_name(integer),
    audit.risk_floor(jsonb), audit.risk_ai(jsonb, integer), audit.tags_of(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.moment(bigint), audit.json_of(bytea), audit.text_of(bytea), audit.value_of(bytea),
    audit.is_json(text), audit.has_huge_number(text), audit.kafka_us(bytea), audit.event_data(bytea, text, text), audit.risk_level(text), audit.risk_name(integer),
    audit.risk_floor(jsonb), audit.risk_ai(jsonb, integer), audit.tags_of(jsonb, jsonb)
    TO piperoll_reporter, piperoll_sealer, piperoll_writer;
RESET ROLE;
