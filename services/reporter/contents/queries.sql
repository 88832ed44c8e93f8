-- selected: what every count begins with: the events of a period ($1 rule, $2 start, $3 end, $4 start of the period before, $5 grace:
-- as of tally.counted_us; $11 to before $12 by append time and $13 to before $14 by event time lies all of it) below a cut
-- ($6 chains, $7 the size of each chain by its number), of one of the sources $8 and types $9 and with one of the tags $10, empty for
-- any; with the risk, tags and author that readings by AI and reviews below the cut give them. `late` says why an event counts when it
-- was recorded. Events with neither reading nor review are counted without a join, whatever the planner thinks of their number
WITH cut AS MATERIALIZED (
    SELECT c.chain_no, ($7::bigint[])[c.chain_no] AS size, c.topic_id, c.partition FROM audit.chain c WHERE c.chain_no = ANY ($6::smallint[])
), reviewed AS MATERIALIZED (
    SELECT e.chain_no, e.seq, f.appended_us, x.said ->> 'status' AS status, (f.chain_no::bigint << 48) | f.seq AS id
    FROM tally.facts f
    CROSS JOIN LATERAL (SELECT p.body FROM audit.payload p
        WHERE p.chain_no = f.chain_no AND p.seq = f.seq AND p.appended_at = audit.moment(f.appended_us) OFFSET 0) p
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(p.body)) -> 'data' AS said OFFSET 0) x
    JOIN cut c ON encode(c.topic_id, 'hex') = x.said #>> '{event,topic_id}' AND c.partition::text = x.said #>> '{event,partition}'
    CROSS JOIN LATERAL (SELECT c.chain_no, r.seq FROM audit.record r
        WHERE r.chain_no = c.chain_no AND r.source_offset = tally.number_in(x.said -> 'event', 'source_offset') AND r.seq < c.size
        OFFSET 0) e
    WHERE f.kind = 8 AND f.type = 'piperoll.review' AND f.seq < ($7::bigint[])[f.chain_no]
), reviews AS MATERIALIZED (
    SELECT DISTINCT ON (chain_no, seq) chain_no, seq, appended_us, status, id,
        min(appended_us) FILTER (WHERE status <> 'open') OVER (PARTITION BY chain_no, seq) AS answered_us
    FROM reviewed ORDER BY chain_no, seq, appended_us DESC, id DESC
), said AS MATERIALIZED (
    SELECT e.chain_no, e.seq, f.ai, f.by, f.tags, f.appended_us, (n.chain_no::bigint << 48) | n.seq AS id
    FROM audit.annotation n
    JOIN cut c ON c.topic_id = n.topic_id AND c.partition = n.partition
    CROSS JOIN LATERAL (SELECT c.chain_no, r.seq FROM audit.record r
        WHERE r.chain_no = c.chain_no AND r.source_offset = n.source_offset AND r.seq < c.size OFFSET 0) e
    CROSS JOIN LATERAL tally.one(n.chain_no, n.seq) f
    WHERE n.seq < ($7::bigint[])[n.chain_no] AND NOT f.blank
), readings AS MATERIALIZED (
    SELECT s.chain_no, s.seq, max(s.ai) AS level, max(s.ai) FILTER (WHERE s.appended_us > v.appended_us) AS level_since,
        (array_agg(s.by ORDER BY s.appended_us DESC, s.id DESC))[1] AS by,
        ARRAY(SELECT DISTINCT tag FROM said o, unnest(o.tags) AS tag WHERE o.chain_no = s.chain_no AND o.seq = s.seq) AS tags
    FROM said s LEFT JOIN reviews v USING (chain_no, seq)
    GROUP BY s.chain_no, s.seq
), touched AS MATERIALIZED (
    SELECT chain_no, seq, (chain_no::bigint << 48) | seq AS id, level, level_since, a.by, a.tags, a.seq IS NOT NULL AS is_read,
        v.status, v.appended_us AS reviewed_us, v.id AS review_id, v.answered_us
    FROM readings a FULL JOIN reviews v USING (chain_no, seq)
), everything AS NOT MATERIALIZED (
    SELECT f.chain_no, f.seq, f.kind, f.type, f.source, f.actor, f.blank, f.rules, f.stated, f.time_us, f.appended_us, f.floor, f.by, f.pending,
        f.tags, f.ai, f.shape, false AS is_touched, greatest(f.floor, f.ai) AS risk, NULL::text AS review, NULL::bigint AS reviewed_us,
        NULL::bigint AS review_id, NULL::bigint AS answered_us
    FROM tally.facts f
    WHERE NOT ((f.chain_no::bigint << 48) | f.seq IN (SELECT id FROM touched))
        AND f.appended_us >= $11::bigint AND f.appended_us < $12::bigint AND f.time_us >= $13::bigint AND f.time_us < $14::bigint
    UNION ALL
    SELECT f.chain_no, f.seq, f.kind, f.type, f.source, f.actor, f.blank, f.rules, f.stated, f.time_us, f.appended_us, f.floor,
        coalesce(t.by, f.by), f.pending AND NOT t.is_read,
        CASE WHEN t.tags IS NULL THEN f.tags ELSE ARRAY(SELECT DISTINCT tag COLLATE "C" FROM unnest(f.tags || t.tags) AS tag ORDER BY 1) END,
        greatest(f.ai, t.level), f.shape, true,
        greatest(f.floor, CASE WHEN t.status = 'false-positive' THEN t.level_since ELSE greatest(f.ai, t.level) END),
        t.status, t.reviewed_us, t.review_id, t.answered_us
    FROM touched t CROSS JOIN LATERAL tally.one(t.chain_no, t.seq) f
), selected AS NOT MATERIALIZED (
    SELECT (f.chain_no::bigint << 48) | f.seq AS id, f.*, k.counted_us,
        CASE
            WHEN $1::text <> 'schedule' OR f.kind <> 1 OR (k.counted_us = f.time_us AND f.stated = 0) THEN ''
            WHEN f.stated = 1 THEN 'missing' WHEN f.stated = 2 THEN 'no-zone'
            WHEN f.time_us > f.appended_us + 300000000 THEN 'future' ELSE 'late'
        END AS late
    FROM everything f
    CROSS JOIN LATERAL (SELECT tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) AS counted_us) k
    WHERE f.kind IN (1, 3) AND f.seq < ($7::bigint[])[f.chain_no] AND k.counted_us IS NOT NULL
        AND (cardinality($8::text[]) = 0 OR f.source = ANY ($8::text[]))
        AND (cardinality($9::text[]) = 0 OR f.type = ANY ($9::text[]))
        AND (cardinality($10::text[]) = 0 OR f.tags && $10::text[])
)

-- counts: after `selected`: all counts by figure and key: events, those of high or critical risk, the share of all in percent, the first
-- record; $15 days begin at these times; at most $16 keys of a figure. What was erased (blank) has neither type, source nor risk that could be
-- told, so it is in none of figures type, source and risk. Figures new-type, new-source and new-actor: at most $17 names that
-- no event of an earlier period has; of figures tag and judged at most $18
, shaped AS NOT MATERIALIZED (
    SELECT kind, type, source, risk, by, pending, tags, rules, blank, late, width_bucket(counted_us, $15::bigint[]) AS day, id, shape, is_touched
    FROM selected
), plain AS MATERIALIZED (
    SELECT shape, late, day, count(*) AS events, min(id) AS first_id FROM shaped WHERE NOT is_touched GROUP BY shape, late, day
), shapes AS MATERIALIZED (
    SELECT f.kind, f.type, f.source, greatest(f.floor, f.ai) AS risk, f.by, f.pending, f.tags, f.rules, f.blank, p.late, p.day, p.events,
        CASE WHEN greatest(f.floor, f.ai) >= 4 THEN p.events ELSE 0 END AS high, p.first_id
    FROM plain p CROSS JOIN LATERAL tally.one((p.first_id >> 48)::smallint, p.first_id & 281474976710655) f
    UNION ALL
    SELECT kind, type, source, risk, by, pending, tags, rules, blank, late, day, 1, CASE WHEN risk >= 4 THEN 1 ELSE 0 END, id
    FROM shaped WHERE is_touched
), judged AS ( -- events of a shape were judged by the same versions: those of its first record
    SELECT coalesce(nullif(x.versions, '{}')::text, '') AS key, sum(s.events) AS events, min(s.first_id) AS first_id
    FROM (
        SELECT shape, sum(events) AS events, min(first_id) AS first_id
        FROM (SELECT shape, events, first_id FROM plain UNION ALL SELECT shape, 1, id FROM shaped WHERE is_touched) AS a GROUP BY shape OFFSET 0
    ) s
    CROSS JOIN LATERAL (SELECT r.chain_no, r.seq, r.appended_us FROM audit.record r
        WHERE r.chain_no = (s.first_id >> 48)::smallint AND r.seq = s.first_id & 281474976710655 AND r.kind = 1 OFFSET 0) r
    LEFT JOIN LATERAL (SELECT audit.json_of(p.enrich) -> 'versions' AS versions FROM audit.payload p
        WHERE p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us) OFFSET 0) x ON true
    GROUP BY 1
), actors AS (
    SELECT actor, count(*) AS events, count(*) FILTER (WHERE risk >= 4) AS high, min(id) AS first_id
    FROM selected WHERE actor IS NOT NULL GROUP BY actor
), counted AS MATERIALIZED (
    SELECT 'all' AS figure, '' COLLATE "C" AS key, sum(events) AS events, sum(high) AS high, min(first_id) AS first_id FROM shapes
    UNION ALL SELECT 'readable', '', sum(events), sum(high), min(first_id) FROM shapes WHERE kind = 1
    UNION ALL SELECT 'poison', '', sum(events), sum(high), min(first_id) FROM shapes WHERE kind = 3
    UNION ALL SELECT 'pending', '', sum(events), sum(high), min(first_id) FROM shapes WHERE pending
    UNION ALL SELECT 'ai', '', sum(events), sum(high), min(first_id) FROM shapes WHERE by <> 'rules'
    UNION ALL SELECT 'erased', '', sum(events), sum(high), min(first_id) FROM shapes WHERE blank
    UNION ALL SELECT 'typed', '', sum(events), sum(high), min(first_id) FROM shapes WHERE kind = 1 AND NOT blank
    UNION ALL SELECT 'named', '', sum(events), sum(high), min(first_id) FROM actors
    UNION ALL SELECT 'day', lpad(day::text, 6, '0'), sum(events), sum(high), min(first_id) FROM shapes GROUP BY 2
    UNION ALL SELECT 'type', type, sum(events), sum(high), min(first_id) FROM shapes WHERE kind = 1 AND NOT blank GROUP BY 2
    UNION ALL SELECT 'source', source, sum(events), sum(high), min(first_id) FROM shapes WHERE kind = 1 AND NOT blank GROUP BY 2
    UNION ALL SELECT 'actor', actor, events, high, first_id FROM actors
    UNION ALL SELECT 'judged', key, events, 0, first_id FROM judged
    UNION ALL SELECT 'risk', audit.risk_name(risk), sum(events), sum(high), min(first_id) FROM shapes WHERE NOT blank GROUP BY 2
    UNION ALL SELECT 'by', by, sum(events), sum(high), min(first_id) FROM shapes WHERE by IS NOT NULL GROUP BY 2
    UNION ALL SELECT 'late', late, sum(events), sum(high), min(first_id) FROM shapes WHERE late <> '' GROUP BY 2
    UNION ALL SELECT 'tag', tag, sum(events), sum(high), min(first_id) FROM shapes, unnest(tags) AS tag GROUP BY 2
    UNION ALL SELECT 'noticed', tag, sum(events), sum(high), min(first_id) FROM shapes, unnest(tags) AS tag
        WHERE split_part(tag, ':', 1) IN ('catalog', 'cloudevent', 'data', 'identity', 'json', 'poison', 'source', 'time') GROUP BY 2
    UNION ALL SELECT 'rule', rule, sum(events), sum(high), min(first_id) FROM shapes, unnest(rules) AS rule GROUP BY 2
    UNION ALL SELECT 'catalogue', jsonb_build_array(type, tag)::text, sum(events), sum(high), min(first_id)
        FROM shapes, unnest(tags) AS tag WHERE tag LIKE 'catalog:%' GROUP BY 2
), rest AS MATERIALIZED (
    SELECT u.actor, u.type, u.source FROM tally.unfolded u
    WHERE u.kind = 1 AND u.seq < ($7::bigint[])[u.chain_no] AND tally.is_earlier($1, $2, $3, $4, $5, u.stated, u.time_us, u.appended_us)
), fresh AS (
    SELECT 'new-actor' AS figure, n.key, n.events, n.high, n.first_id FROM counted n
    WHERE n.figure = 'actor' AND NOT (n.key IN (SELECT actor FROM rest WHERE actor IS NOT NULL)) AND NOT EXISTS (
        SELECT FROM tally.fact p
        WHERE p.actor IS NOT NULL AND hashtextextended(p.actor, 0) = hashtextextended(n.key, 0) AND least(p.time_us, p.appended_us) < $2
            AND p.actor = n.key AND p.kind = 1 AND p.seq < ($7::bigint[])[p.chain_no]
            AND tally.is_earlier($1, $2, $3, $4, $5, p.stated, p.time_us, p.appended_us) OFFSET 0)
    UNION ALL
    SELECT 'new-type' AS figure, n.key, n.events, n.high, n.first_id FROM counted n
    WHERE n.figure = 'type' AND NOT (n.key IN (SELECT type FROM rest)) AND NOT EXISTS (
        SELECT FROM tally.fact p
        WHERE p.kind = 1 AND hashtextextended(p.type, 0) = hashtextextended(n.key, 0) AND least(p.time_us, p.appended_us) < $2
            AND p.type = n.key AND p.seq < ($7::bigint[])[p.chain_no]
            AND tally.is_earlier($1, $2, $3, $4, $5, p.stated, p.time_us, p.appended_us) OFFSET 0)
    UNION ALL
    SELECT 'new-source' AS figure, n.key, n.events, n.high, n.first_id FROM counted n
    WHERE n.figure = 'source' AND NOT (n.key IN (SELECT source FROM rest WHERE source IS NOT NULL)) AND NOT EXISTS (
        SELECT FROM tally.fact p
        WHERE p.kind = 1 AND hashtextextended(p.source, 0) = hashtextextended(n.key, 0) AND least(p.time_us, p.appended_us) < $2
            AND p.source = n.key AND p.seq < ($7::bigint[])[p.chain_no]
            AND tally.is_earlier($1, $2, $3, $4, $5, p.stated, p.time_us, p.appended_us) OFFSET 0)
), ranked AS (
    SELECT figure, key, events, high, first_id,
        round(100.0 * events / nullif((SELECT sum(events) FROM shapes), 0), 1) AS share,
        count(*) OVER (PARTITION BY figure) AS keys,
        row_number() OVER (PARTITION BY figure ORDER BY events DESC, key) AS rank
    FROM (SELECT * FROM counted UNION ALL SELECT * FROM fresh) AS c
)
SELECT figure, key, coalesce(events, 0)::bigint AS events, coalesce(high, 0)::bigint AS high, share, keys, rank, first_id
FROM ranked WHERE figure = 'day' OR rank <= CASE WHEN figure LIKE 'new-%' THEN $17::bigint WHEN figure IN ('tag', 'judged') THEN $18::bigint ELSE $16::bigint END ORDER BY figure, rank

-- grave: after `selected`: events that had high or critical risk at any time, also where a review has withdrawn it: the worst and earliest
-- first, $15 at most; `of` are all whose risk is still high
SELECT id, risk, floor, ai, by, tags, counted_us, late, review, review_id, reviewed_us,
    count(*) OVER () AS of
FROM selected WHERE (floor >= 4 OR ai >= 4) AND risk >= 4
ORDER BY risk DESC, counted_us, id LIMIT $15::bigint

-- grave_reviews: after `selected`: of those by the status of the last review: how many, and the median of hours from the recording of the
-- event to the first review that is not `open`
SELECT coalesce(nullif(review, ''), 'none') AS status, count(*) AS events, count(*) FILTER (WHERE risk >= 4) AS high, min(id) AS first_id,
    (percentile_cont(0.5) WITHIN GROUP (ORDER BY answered_us - appended_us)) / 3600000000.0 AS median_hours,
    GROUPING(review) = 1 AS all_of_them
FROM (SELECT review, risk, id, answered_us, appended_us FROM selected WHERE floor >= 4 OR ai >= 4 OFFSET 0) AS grave
GROUP BY GROUPING SETS ((review), ()) ORDER BY 6, 1

-- carried: after `selected`: events of high or critical risk of earlier periods whose last review below the cut is `open`, or that have
-- none; the oldest first, $15 at most, `of` in all. To be asked with the widest bounds
SELECT (f.chain_no::bigint << 48) | f.seq AS id, f.risk, f.review, f.time_us, f.appended_us, count(*) OVER () AS of
FROM everything f
WHERE (f.floor >= 4 OR f.ai >= 4) AND f.risk >= 4 AND f.kind IN (1, 3) AND coalesce(f.review, 'open') = 'open'
    AND f.seq < ($7::bigint[])[f.chain_no]
    AND tally.is_earlier($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us)
    AND (cardinality($8::text[]) = 0 OR f.source = ANY ($8::text[]))
    AND (cardinality($9::text[]) = 0 OR f.type = ANY ($9::text[]))
    AND (cardinality($10::text[]) = 0 OR f.tags && $10::text[])
ORDER BY f.appended_us, f.chain_no, f.seq LIMIT $15::bigint

-- late: after `selected`: events that count when they were recorded, not when they happened: $15 of them
SELECT id, late, time_us, appended_us FROM selected WHERE late <> '' ORDER BY id LIMIT $15::bigint

-- skew: after `selected`: by source: events whose own time is more than $15 microseconds ahead of their recording, and more than $16 behind
-- it, the most of each, with the first record; the $17 sources with the most of both, and the sums and number of all (behind them, as blank, those of no
-- source any more, since they were erased)
, apart AS MATERIALIZED (
    SELECT blank, coalesce(source, '') AS source, count(*) FILTER (WHERE time_us > appended_us) AS ahead, max(greatest(time_us, -62135596800000000) - appended_us) AS most_ahead_us,
        count(*) FILTER (WHERE time_us < appended_us) AS behind, max(appended_us - greatest(time_us, -62135596800000000)) AS most_behind_us,
        min(id) FILTER (WHERE time_us > appended_us) AS first_ahead, min(id) FILTER (WHERE time_us < appended_us) AS first_behind
    FROM selected WHERE kind = 1 AND stated = 0 AND (time_us > appended_us + $15::bigint OR time_us < appended_us - $16::bigint) GROUP BY 1, 2
)
SELECT *, count(*) FILTER (WHERE NOT blank) OVER () AS sources, sum(ahead) OVER ()::bigint AS all_ahead, sum(behind) OVER ()::bigint AS all_behind,
    max(most_ahead_us) OVER () AS all_most_ahead_us, max(most_behind_us) OVER () AS all_most_behind_us,
    min(first_ahead) OVER () AS all_first_ahead, min(first_behind) OVER () AS all_first_behind
FROM apart ORDER BY blank, ahead + behind DESC, source LIMIT $17::bigint

-- log: after `selected`: all events, in the order of the times by which they count
SELECT id, kind, time_us, counted_us, late, risk, floor, ai, by, pending, tags, review FROM selected ORDER BY counted_us, id

-- poison: after `selected`: messages that could not be read, $15 of them
SELECT id FROM selected WHERE kind = 3 ORDER BY id LIMIT $15::bigint

-- compared: after `selected`: counts of a period for comparison with another: all, and by the types $15 and sources $16
, plain AS MATERIALIZED (
    SELECT count(*) AS events, min(id) AS first_id FROM selected WHERE NOT is_touched GROUP BY shape
), grouped AS MATERIALIZED (
    SELECT f.kind, f.type, f.source, f.blank, p.events, CASE WHEN greatest(f.floor, f.ai) >= 4 THEN p.events ELSE 0 END AS high,
        CASE WHEN greatest(f.floor, f.ai) = 5 THEN p.events ELSE 0 END AS critical
    FROM plain p CROSS JOIN LATERAL tally.one((p.first_id >> 48)::smallint, p.first_id & 281474976710655) f
    UNION ALL
    SELECT kind, type, source, blank, 1, CASE WHEN risk >= 4 THEN 1 ELSE 0 END, CASE WHEN risk = 5 THEN 1 ELSE 0 END FROM selected WHERE is_touched
), named AS (SELECT * FROM grouped WHERE kind = 1 AND NOT blank)
SELECT 'all' AS figure, '' COLLATE "C" AS key, coalesce(sum(events), 0)::bigint AS events, coalesce(sum(high), 0)::bigint AS high,
    coalesce(sum(critical), 0)::bigint AS critical FROM grouped
UNION ALL SELECT 'poison', '', coalesce(sum(events), 0)::bigint, 0, 0 FROM grouped WHERE kind = 3
UNION ALL SELECT 'types', '', count(DISTINCT type), 0, 0 FROM named
UNION ALL SELECT 'sources', '', count(DISTINCT source), 0, 0 FROM named
UNION ALL SELECT 'actors', '', count(*), 0, 0 FROM (SELECT actor FROM selected WHERE actor IS NOT NULL GROUP BY actor) AS a
UNION ALL SELECT 'type', type, sum(events)::bigint, sum(high)::bigint, sum(critical)::bigint FROM named WHERE type = ANY ($15::text[]) GROUP BY type
UNION ALL SELECT 'source', source, sum(events)::bigint, sum(high)::bigint, sum(critical)::bigint
    FROM named WHERE source = ANY ($16::text[]) GROUP BY source
ORDER BY 1, 2

-- earlier: after `selected`: whether any event below the cut, of whatever source and type, is of an earlier period
SELECT EXISTS (
    SELECT FROM tally.facts p
    WHERE p.kind IN (1, 3) AND (p.appended_us < $2 OR p.time_us < $2) AND p.seq < ($7::bigint[])[p.chain_no]
        AND tally.is_earlier($1, $2, $3, $4, $5, p.stated, p.time_us, p.appended_us)
) AS there

-- silent: after `selected`, asked for the period before: its sources, the most frequent first, $15 at most
SELECT source, count(*) AS events, max(time_us) AS last_us, max(id) AS last_id FROM selected WHERE kind = 1 AND source IS NOT NULL
GROUP BY source ORDER BY events DESC, source LIMIT $15::bigint

-- present: after `selected`: which of the sources $15 have an event
SELECT source FROM selected WHERE kind = 1 AND source = ANY ($15::text[]) GROUP BY source

-- other_kinds: after `selected`: records of the period that are no events, by kind, with the first of each, and the offsets that skip
-- records stand for. `ours`: repeats and unreadable messages on our own topics, which are no part of what was sent to us
SELECT f.kind, f.kind IN (2, 3) AND x.topic ~ '[.](annotations|system)$' AS ours, count(*) AS records, min((f.chain_no::bigint << 48) | f.seq) AS first_id, coalesce(sum(f.span), 0)::bigint AS offsets,
    count(*) FILTER (WHERE 'identity:unchecked' = ANY (f.tags)) AS unchecked,
    min((f.chain_no::bigint << 48) | f.seq) FILTER (WHERE 'identity:unchecked' = ANY (f.tags)) AS first_unchecked
FROM (
    SELECT * FROM tally.facts WHERE kind = 8 AND appended_us >= $11::bigint AND appended_us < $12::bigint
    UNION ALL SELECT * FROM tally.facts WHERE kind NOT IN (1, 8) AND appended_us >= $11::bigint AND appended_us < $12::bigint
) f
JOIN audit.chain x ON x.chain_no = f.chain_no
WHERE f.seq < ($7::bigint[])[f.chain_no] AND f.time_us >= $13::bigint AND f.time_us < $14::bigint
    AND tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) IS NOT NULL
    AND (f.kind <> 3 OR x.topic ~ '[.](annotations|system)$')
GROUP BY 1, 2 ORDER BY 1, 2

-- repeats: after `selected`: the repeats of the period as `other_kinds` counts them; where $15 says so, all of those that could not be compared
SELECT (f.chain_no::bigint << 48) | f.seq AS id
FROM tally.facts f
JOIN audit.chain x ON x.chain_no = f.chain_no
WHERE f.kind = 2 AND f.kind NOT IN (1, 8) AND f.appended_us >= $11::bigint AND f.appended_us < $12::bigint AND f.seq < ($7::bigint[])[f.chain_no]
    AND f.time_us >= $13::bigint AND f.time_us < $14::bigint
    AND tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) IS NOT NULL
    AND CASE WHEN $15::boolean THEN 'identity:unchecked' = ANY (f.tags) ELSE x.topic !~ '[.](annotations|system)$' END

-- gaps: after `selected`: by source that numbers its events: the numbers from the lowest to the highest of the period, how many are in
-- no record below the cut, in how many gaps, and of the $15 sources that miss most the first $16 gaps with the record before the first
, spans AS (
    SELECT f.producer, min(f.number) AS low, max(f.number) AS high FROM tally.facts f
    WHERE f.number IS NOT NULL AND f.kind = 1 AND f.seq < ($7::bigint[])[f.chain_no]
        AND tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) IS NOT NULL
    GROUP BY f.producer
), followed AS (
    SELECT n.producer, n.number, n.id, lead(n.number) OVER (PARTITION BY n.producer ORDER BY n.number) AS next
    FROM (
        SELECT f.producer, f.number, min((f.chain_no::bigint << 48) | f.seq) AS id FROM tally.facts f
        WHERE f.number IS NOT NULL AND f.kind = 1 AND f.seq < ($7::bigint[])[f.chain_no] GROUP BY f.producer, f.number
    ) n JOIN spans s ON s.producer = n.producer AND n.number BETWEEN s.low AND s.high
), holes AS (
    SELECT producer, number + 1 AS first, next - 1 AS last, id, row_number() OVER (PARTITION BY producer ORDER BY number) AS place
    FROM followed WHERE next > number + 1
), summed AS (
    SELECT producer, sum(last - first + 1) AS missing, count(*) AS gaps, min(id) FILTER (WHERE place = 1) AS id,
        array_agg(first ORDER BY first) FILTER (WHERE place <= $16::bigint) AS firsts,
        array_agg(last ORDER BY first) FILTER (WHERE place <= $16::bigint) AS lasts
    FROM holes GROUP BY producer
), ranked AS (
    SELECT encode(s.producer, 'hex') AS producer, s.high - s.low + 1 AS numbers, coalesce(g.missing, 0) AS missing, coalesce(g.gaps, 0) AS gaps,
        g.id, g.firsts, g.lasts, row_number() OVER (ORDER BY coalesce(g.missing, 0) DESC, s.producer) AS rank, s.producer AS producer_id
    FROM spans s LEFT JOIN summed g USING (producer)
)
SELECT r.producer, r.numbers, r.missing, r.gaps, r.id, r.firsts, r.lasts, r.rank,
    sum(r.numbers) OVER () AS all_numbers, sum(r.missing) OVER () AS all_missing, count(*) OVER () AS all_sources,
    count(*) FILTER (WHERE r.missing > 0) OVER () AS all_missing_sources,
    CASE WHEN r.missing > 0 THEN (SELECT o.source FROM tally.one((r.id >> 48)::smallint, r.id & 281474976710655) o) END AS source
FROM ranked r ORDER BY r.rank LIMIT $15::bigint

-- texts: what is shown of the events $3: what they say, and the readings by AI below the cut ($1 chains, $2 sizes by chain number), the
-- latest first; the data of the events where $4 says so
SELECT w.id, r.chain_no, r.seq, encode(r.record_hash, 'hex') AS record_hash,
    audit.moment(coalesce(r.event_time_us, audit.kafka_us(r.leaf), r.appended_us)) AS event_time, audit.moment(r.appended_us) AS appended_at,
    r.kind, r.source_offset, c.topic, c.partition, encode(c.topic_id, 'hex') AS topic_id, p.seq IS NULL AS erased, audit.json_of(p.enrich) AS said,
    CASE WHEN $4::boolean THEN audit.event_data(p.body, x.form, x.content_type) END AS event_data,
    (
        SELECT jsonb_agg(jsonb_build_object('said', x.j, 'id', (n.chain_no::bigint << 48) | n.seq)
            ORDER BY n.appended_at DESC, n.chain_no DESC, n.seq DESC)
        FROM audit.annotation n
        JOIN audit.payload t ON t.chain_no = n.chain_no AND t.seq = n.seq AND t.appended_at = n.appended_at
        CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(t.body)) AS j OFFSET 0) x
        WHERE n.topic_id = c.topic_id AND n.partition = c.partition AND n.source_offset = r.source_offset
            AND n.chain_no = ANY ($1::smallint[]) AND n.seq < ($2::bigint[])[n.chain_no] AND jsonb_typeof(x.j) = 'object'
    ) AS readings
FROM unnest($3::bigint[]) WITH ORDINALITY AS w (id, place)
JOIN audit.record r ON r.chain_no = (w.id >> 48)::smallint AND r.seq = w.id & 281474976710655
JOIN audit.chain c ON c.chain_no = r.chain_no
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
CROSS JOIN LATERAL (SELECT audit.json_of(p.enrich) ->> 'form' AS form, audit.json_of(p.enrich) ->> 'content_type' AS content_type) x
ORDER BY w.place

-- own: after `selected`: own events of the types $15 that belong to the period, the earliest first, from place $16 on $17 at most, `of` in
-- all. Of a period by event time: all from its start to the cut, since its events may have been recorded later
, mine AS MATERIALIZED (
    SELECT f.chain_no, f.seq, f.appended_us, f.type, f.source, count(*) OVER (PARTITION BY f.type) AS of,
        row_number() OVER (PARTITION BY f.type ORDER BY f.appended_us, f.chain_no, f.seq) AS place
    FROM tally.facts f
    WHERE f.kind = 8 AND f.type = ANY ($15::text[]) AND f.seq < ($7::bigint[])[f.chain_no]
        AND CASE $1::text WHEN 'event' THEN f.appended_us >= $2
            ELSE tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) IS NOT NULL END
)
SELECT (m.chain_no::bigint << 48) | m.seq AS id, m.type, m.source, m.appended_us, m.of, audit.json_of(audit.value_of(p.body)) AS said
FROM mine m
LEFT JOIN audit.payload p ON p.chain_no = m.chain_no AND p.seq = m.seq AND p.appended_at = audit.moment(m.appended_us)
WHERE m.place > $16::bigint AND m.place <= $16::bigint + $17::bigint
ORDER BY m.type, m.place

-- reads: after `selected`: who read what, a row for each read that began in the period, the earliest first, $16 at most, `of` in all. Its own
-- events of type $15 (an intent, then an outcome) have one request id and say the same of who, what and which range. An outcome is looked for
-- up to $17 microseconds after the period, too; `unfinished` are those of which none is below the cut
, noted AS MATERIALIZED (
    SELECT (f.chain_no::bigint << 48) | f.seq AS id, f.source, f.stated, f.time_us, f.appended_us,
        CASE WHEN jsonb_typeof(x.said -> 'data') = 'object' THEN x.said -> 'data' ELSE '{}' END AS data
    FROM tally.facts f
    LEFT JOIN audit.payload p ON p.chain_no = f.chain_no AND p.seq = f.seq AND p.appended_at = audit.moment(f.appended_us)
    CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(p.body)) AS said OFFSET 0) x
    WHERE f.kind = 8 AND f.type = $15::text AND f.seq < ($7::bigint[])[f.chain_no]
        AND f.appended_us >= $2 - $17::bigint AND ($1::text = 'event' OR f.appended_us < $3 + $17::bigint)
), told AS (
    SELECT n.*, data ? 'count' OR data ? 'outcome' AS ends, coalesce(data ->> 'request', id::text) AS request,
        jsonb_build_array(data -> 'by', data -> 'what', data -> 'range') AS said
    FROM noted n
), paired AS (
    SELECT t.*, row_number() OVER (PARTITION BY request, said ORDER BY appended_us, id) AS place,
        bool_or(ends) OVER whole AS finished, max(id) FILTER (WHERE ends) OVER whole AS outcome_id,
        max(tally.number_in(data, 'count')) OVER whole AS count
    FROM told t WINDOW whole AS (PARTITION BY request, said)
)
SELECT id, source, appended_us, data, finished, outcome_id, count, count(*) OVER () AS of, count(*) FILTER (WHERE NOT finished) OVER () AS unfinished
FROM paired
WHERE place = 1 AND CASE $1::text WHEN 'event' THEN appended_us >= $2
    ELSE tally.counted_us($1, $2, $3, $4, $5, stated, time_us, appended_us) IS NOT NULL END
ORDER BY appended_us, id LIMIT $16::bigint

-- own_below: the last own events of the types $3 below the cut ($1 chains, $2 sizes by chain number), of all time, $4 of each, the latest
-- first
SELECT (f.chain_no::bigint << 48) | f.seq AS id, f.type, f.source, f.appended_us, audit.json_of(audit.value_of(p.body)) AS said
FROM unnest($3::text[]) AS t (type)
CROSS JOIN LATERAL (
    SELECT * FROM tally.facts o
    WHERE o.kind = 8 AND o.type = t.type AND o.chain_no = ANY ($1::smallint[]) AND o.seq < ($2::bigint[])[o.chain_no]
    ORDER BY o.appended_us DESC, o.chain_no DESC, o.seq DESC LIMIT $4::bigint
) f
LEFT JOIN audit.payload p ON p.chain_no = f.chain_no AND p.seq = f.seq AND p.appended_at = audit.moment(f.appended_us)
ORDER BY f.type, f.appended_us DESC, f.chain_no DESC, f.seq DESC

-- inferences: after `selected`: requests to models in the period, by model, purpose and outcome
SELECT coalesce(x.d ->> 'model', '') AS model, coalesce(x.d ->> 'purpose', '') AS purpose, coalesce(x.d ->> 'prompt_version', '') AS prompt_version,
    coalesce(x.d ->> 'outcome', '') AS outcome, count(*) AS requests, min((f.chain_no::bigint << 48) | f.seq) AS first_id,
    coalesce(sum(tally.number_in(x.d, 'tokens_in')), 0)::bigint AS tokens_in,
    coalesce(sum(tally.number_in(x.d, 'tokens_out')), 0)::bigint AS tokens_out,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY tally.number_in(x.d, 'latency_ms')) AS median_latency_ms
FROM tally.facts f
JOIN audit.payload p ON p.chain_no = f.chain_no AND p.seq = f.seq AND p.appended_at = audit.moment(f.appended_us)
CROSS JOIN LATERAL (SELECT audit.json_of(audit.value_of(p.body)) -> 'data' AS d OFFSET 0) x
WHERE f.kind = 8 AND f.type = 'model_inference' AND f.seq < ($7::bigint[])[f.chain_no]
    AND CASE $1::text WHEN 'event' THEN f.appended_us >= $2
        ELSE tally.counted_us($1, $2, $3, $4, $5, f.stated, f.time_us, f.appended_us) IS NOT NULL END
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4

-- raised: after `selected`: what AI did: events read by AI, raised above the rules' floor, raised to high or critical by AI alone, and of
-- these those that a review has withdrawn
SELECT count(*) FILTER (WHERE ai IS NOT NULL) AS read, count(*) FILTER (WHERE ai > floor) AS raised,
    count(*) FILTER (WHERE ai > floor AND ai >= 4 AND floor < 4) AS raised_high,
    count(*) FILTER (WHERE ai >= 4 AND floor < 4 AND risk < 4) AS withdrawn,
    min(id) FILTER (WHERE ai IS NOT NULL) AS first_read, min(id) FILTER (WHERE ai > floor) AS first_raised,
    min(id) FILTER (WHERE ai > floor AND ai >= 4 AND floor < 4) AS first_raised_high,
    min(id) FILTER (WHERE ai >= 4 AND floor < 4 AND risk < 4) AS first_withdrawn
FROM selected WHERE ai IS NOT NULL

-- chains: the chains below the cut ($1 chains, $2 sizes by chain number): what they are of, their last record's hash and time, how many
-- records of each kind they have, and the source offsets that these cover
SELECT c.chain_no, encode(c.chain_id, 'hex') AS chain_id, c.topic, encode(c.topic_id, 'hex') AS topic_id, c.partition, s.size, encode(l.record_hash, 'hex') AS last_hash,
    l.appended_us AS last_us, (SELECT o.source_offset FROM audit.record o WHERE o.chain_no = c.chain_no AND o.seq < s.size AND o.source_offset IS NOT NULL
        ORDER BY o.seq LIMIT 1) AS first_offset,
    (SELECT o.source_offset FROM audit.record o WHERE o.chain_no = c.chain_no AND o.seq < s.size AND o.source_offset IS NOT NULL
        ORDER BY o.seq DESC LIMIT 1) AS last_offset
FROM audit.chain c
CROSS JOIN LATERAL (SELECT ($2::bigint[])[c.chain_no] AS size) s
LEFT JOIN audit.record l ON l.chain_no = c.chain_no AND l.seq = s.size - 1
WHERE c.chain_no = ANY ($1::smallint[])
ORDER BY c.chain_no

-- kinds_below: records that are no events, by chain and kind, below the cut ($1 chains, $2 sizes by chain number); skips by reason
SELECT f.chain_no, f.kind, CASE f.kind WHEN 4 THEN f.type ELSE '' END AS reason, count(*) AS records, coalesce(sum(f.span), 0)::bigint AS offsets,
    min((f.chain_no::bigint << 48) | f.seq) AS first_id, count(*) FILTER (WHERE f.blank) AS blank
FROM tally.facts f
WHERE f.kind NOT IN (1, 8) AND f.chain_no = ANY ($1::smallint[]) AND f.seq < ($2::bigint[])[f.chain_no]
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- gone: own events of the types $3 from the cut on ($1 chains, $2 sizes by chain number), the earliest first, $4 at most
SELECT (f.chain_no::bigint << 48) | f.seq AS id, f.type, f.appended_us, audit.json_of(audit.value_of(p.body)) AS said
FROM tally.facts f
JOIN audit.payload p ON p.chain_no = f.chain_no AND p.seq = f.seq AND p.appended_at = audit.moment(f.appended_us)
WHERE f.kind = 8 AND f.type = ANY ($3::text[])
    AND (NOT f.chain_no = ANY ($1::smallint[]) OR f.seq >= ($2::bigint[])[f.chain_no])
ORDER BY f.appended_us, f.chain_no, f.seq LIMIT $4::bigint

-- last_seal: the last seal of the database's own log that a checkpoint covers, with the log's root then; or the seal $1
SELECT s.seal_no, s.sealed_us, s.leaf, k.root FROM audit.seal s
JOIN audit.checkpoint k ON k.tree = 0 AND k.size = s.seal_no + 1
WHERE $1::bigint IS NULL OR s.seal_no = $1::bigint ORDER BY s.seal_no DESC LIMIT 1

-- heads: where the chains end now
SELECT chain_no, next_seq FROM audit.chain_head ORDER BY chain_no

-- own_events_at: the own events with the numbers $3 ($1 and $2 as of every query below the cut)
SELECT w.id, audit.moment(r.appended_us) AS appended_at, r.appended_us, audit.json_of(audit.value_of(p.body)) AS said
FROM unnest($3::bigint[]) AS w (id)
JOIN audit.record r ON r.chain_no = (w.id >> 48)::smallint AND r.seq = w.id & 281474976710655
    AND r.chain_no = ANY ($1::smallint[]) AND r.seq < ($2::bigint[])[r.chain_no]
LEFT JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)

-- folded: up to which record of each chain facts are kept
SELECT chain_no, next_seq FROM tally.folded ORDER BY chain_no

-- refold: the facts of chain $1 from $2 to before $3 as they are kept against those made anew: how many, how many differ, the first
WITH kept AS (
    SELECT f.* FROM tally.fact f WHERE f.chain_no = $1 AND f.seq >= $2 AND f.seq < $3
), anew AS (
    SELECT d.* FROM tally.folded u CROSS JOIN LATERAL tally.derive(u.chain_no, $2::bigint, least($3::bigint, u.next_seq)) d WHERE u.chain_no = $1
), different AS (
    SELECT seq FROM ((SELECT * FROM kept EXCEPT SELECT * FROM anew) UNION ALL (SELECT * FROM anew EXCEPT SELECT * FROM kept)) AS d
)
SELECT (SELECT count(*) FROM kept) AS facts, count(DISTINCT seq) AS different, min(seq) AS first FROM different

-- population: after `selected`: every event that a report counts, with its record's hash and what strata are made of; in the order of chains
SELECT f.id, r.record_hash, audit.risk_name(f.risk) AS risk, coalesce(f.source, '') AS source, coalesce(f.type, '') AS type,
    coalesce(f.actor, '') AS actor
FROM selected f JOIN audit.record r ON r.chain_no = f.chain_no AND r.seq = f.seq

-- seal_after: the first seal at or after $1 (microseconds since 1970) that a checkpoint covers, with the seal log's root then
SELECT s.seal_no, s.sealed_us, k.root FROM audit.seal s
JOIN audit.checkpoint k ON k.tree = 0 AND k.size = s.seal_no + 1
WHERE s.sealed_us >= $1::bigint ORDER BY s.seal_no LIMIT 1
