-- By which versions of rules, mappings and catalogue events were judged: a part of a fact's shape, since reports count by it. What
-- a shape stands for is looked up in one of its records. Facts are made anew by the next report.
SET LOCAL ROLE piperoll_owner;

-- The same with the versions of what judged an event: events of other rules are of another shape, by which they are told apart.
CREATE FUNCTION tally.shape_of(
    kind smallint, floor smallint, ai smallint, pending boolean, blank boolean, type text, source text, by text, tags text[], rules text[],
    judged jsonb
) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(substr(sha256(convert_to(CASE WHEN judged IS NULL
    THEN ROW(kind, floor, ai, pending, blank, type, source, by, tags, rules)::text
    ELSE ROW(kind, floor, ai, pending, blank, type, source, by, tags, rules, judged)::text END, 'UTF8')), 1, 16), 'hex')::uuid;

CREATE OR REPLACE FUNCTION tally.derive(of_chain smallint, first bigint, before bigint) RETURNS SETOF tally.fact
LANGUAGE sql STABLE AS $$
    SELECT f.seq, f.appended_us, f.time_us, f.source_offset, f.span, f.chain_no, f.kind, f.stated, f.floor, f.ai, f.pending, f.blank, f.type,
        f.source, f.actor, f.by, f.tags, f.rules, f.producer, f.number,
        tally.shape_of(f.kind, f.floor, f.ai, f.pending, f.blank, f.type, f.source, f.by, f.tags, f.rules, f.judged)
    FROM (
        SELECT
            r.seq,
            r.appended_us,
            coalesce(r.event_time_us, CASE WHEN r.kind IN (1, 3) THEN audit.kafka_us(r.leaf) END, r.appended_us),
            r.source_offset,
            CASE WHEN r.kind = 4 THEN tally.number_in(x.j, 'last') - tally.number_in(x.j, 'first') + 1 END,
            r.chain_no,
            r.kind,
            (CASE WHEN r.event_time_us IS NULL THEN 1 WHEN r.kind = 1 AND x.j -> 'tags' ? 'time:no-zone' THEN 2 ELSE 0 END)::smallint,
            (CASE WHEN r.kind IN (1, 3) THEN audit.risk_floor(x.j) END)::smallint,
            (CASE WHEN r.kind IN (1, 3) THEN audit.risk_ai(x.j, NULL) WHEN r.kind = 7 THEN audit.risk_level(x.j ->> 'risk') END)::smallint,
            r.kind IN (1, 3) AND coalesce(x.j -> 'pending' = 'true', false),
            p.seq IS NULL OR (r.kind = 7 AND x.j IS NULL),
            CASE
                WHEN r.kind IN (1, 3) THEN coalesce(x.j ->> 'type', '')
                WHEN r.kind = 8 THEN coalesce(left(x.j ->> 'type', 200), '')
                WHEN r.kind = 4 THEN coalesce(x.j ->> 'reason', '')
                ELSE ''
            END,
            CASE WHEN r.kind IN (1, 3, 8) THEN x.j ->> 'source' END,
            CASE WHEN r.kind IN (1, 3) THEN x.j #>> '{who,actor}' END,
            CASE
                WHEN r.kind IN (1, 3) THEN coalesce(x.j ->> 'by', CASE WHEN x.j IS NOT NULL THEN 'rules' END)
                WHEN r.kind = 7 THEN coalesce(x.j ->> 'by', x.j ->> 'model')
            END,
            CASE WHEN r.kind IN (1, 2, 3, 7) THEN audit.tags_of(x.j, NULL) ELSE '{}' END,
            CASE WHEN r.kind IN (1, 3) AND x.j ? 'rules' THEN ARRAY(
                SELECT jsonb_build_array(hit ->> 'id', hit ->> 'title', hit ->> 'level')::text
                FROM jsonb_path_query(x.j, 'lax $.rules[*] ? (@.type() == "object")') WITH ORDINALITY AS found (hit, place) ORDER BY place
            ) END,
            CASE WHEN r.kind = 1 AND substr(r.leaf, 156, 8) <> '\x0000000000000000' THEN substr(r.leaf, 140, 16) END,
            CASE WHEN r.kind = 1 AND substr(r.leaf, 156, 8) <> '\x0000000000000000' THEN
                ('x' || encode(substr(r.leaf, 156, 4), 'hex'))::bit(32)::bigint::numeric * 4294967296
                + ('x' || encode(substr(r.leaf, 160, 4), 'hex'))::bit(32)::bigint END,
            CASE WHEN r.kind = 1 THEN x.j -> 'versions' END
        FROM audit.record r
        LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN jsonb_typeof(said.j) = 'object' THEN said.j END AS j FROM (
                SELECT CASE
                    WHEN r.kind IN (1, 3) THEN audit.json_of(p.enrich)
                    WHEN r.kind IN (2, 4, 7, 8) THEN audit.json_of(audit.value_of(p.body))
                END AS j OFFSET 0
            ) said OFFSET 0
        ) x
        WHERE r.chain_no = of_chain AND r.seq >= first AND r.seq < before
        OFFSET 0 -- as it stands: a range of one chain, never all of them joined
    ) f (seq, appended_us, time_us, source_offset, span, chain_no, kind, stated, floor, ai, pending, blank, type, source, actor, by, tags,
        rules, producer, number, judged)
$$;

REVOKE ALL ON FUNCTION tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tally.shape_of(smallint, smallint, smallint, boolean, boolean, text, text, text, text[], text[], jsonb) TO piperoll_reporter;
TRUNCATE tally.fact, tally.folded;
RESET ROLE;
