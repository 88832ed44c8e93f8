-- add_run: notes a period of a schedule, once
INSERT INTO report.run (schedule, label, starts, ends, time_zone, calendar, due)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
RETURNING id;

-- run: the run of a schedule and a label
SELECT id, schedule, label, starts, ends, time_zone, calendar, due, tries, last_error, late_at
FROM report.run WHERE schedule = $1 AND label = $2;

-- last_run: the last period of a schedule that was noted
SELECT id, schedule, label, starts, ends, time_zone, calendar, due, tries, last_error, late_at
FROM report.run WHERE schedule = $1 ORDER BY ends DESC LIMIT 1;

-- runs_to_make: runs of these schedules that have no edition, the oldest first
SELECT id, schedule, label, starts, ends, time_zone, calendar, due, tries, last_error, late_at
FROM report.run r
WHERE schedule = ANY ($1::text[]) AND NOT EXISTS (SELECT FROM report.edition e WHERE e.run = r.id)
ORDER BY ends, starts, id;

-- tried: that an edition could not be made, and why
UPDATE report.run SET tries = tries + 1, last_error = $2 WHERE id = $1;

-- late_runs: runs of these schedules that were due at $2 and are not delivered to everybody, and of which nobody was told
SELECT id, schedule, label, starts, ends, time_zone, calendar, due, tries, last_error, late_at
FROM report.run r
WHERE schedule = ANY ($1::text[]) AND due <= $2 AND late_at IS NULL AND (
    NOT EXISTS (SELECT FROM report.edition e WHERE e.run = r.id)
    OR EXISTS (SELECT FROM report.intent i WHERE i.run = r.id AND i.kind = 'edition' AND i.state NOT IN ('sent', 'maybe-twice'))
)
ORDER BY due, id;

-- late: that everybody concerned was told
UPDATE report.run SET late_at = $2 WHERE id = $1;

-- add_edition: an edition, unless there is one of this number
INSERT INTO report.edition (id, run, number, replaces, why, made_by, made_at, inputs, sha256, size, parts, counts, differs, good, verdict)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (run, number) DO NOTHING
RETURNING id;

-- edition: one edition
SELECT e.id, e.run, e.number, e.replaces, e.why, e.made_by, e.made_at, e.inputs, e.sha256, e.size, e.parts, e.counts, e.differs,
    e.good, e.verdict, k.recorded_at, (SELECT n.id FROM report.edition n WHERE n.replaces = e.id) AS replaced_by
FROM report.edition e LEFT JOIN report.recorded k ON k.edition = e.id
WHERE e.id = $1;

-- last_edition: the newest edition of a run
SELECT id FROM report.edition WHERE run = $1 ORDER BY number DESC LIMIT 1;

-- unrecorded: editions whose hash is not on audit.system yet, the oldest first
SELECT e.id FROM report.edition e
WHERE NOT EXISTS (SELECT FROM report.recorded k WHERE k.edition = e.id)
ORDER BY e.made_at, e.id;

-- recorded: that the hash of an edition is on audit.system
INSERT INTO report.recorded (edition) VALUES ($1) ON CONFLICT DO NOTHING;

-- add_intent: what is to be delivered to one recipient, once
INSERT INTO report.intent (run, edition, kind, recipient, role, target, detail, formats, message_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING;

-- open_intents: what is to be delivered at $1, the oldest first; editions only once they are on record
SELECT i.id, i.run, i.edition, i.kind, i.recipient, i.role, i.target, i.detail, i.formats, i.message_id, i.state, i.attempts,
    i.last_error, r.schedule, r.label
FROM report.intent i JOIN report.run r ON r.id = i.run
WHERE i.state IN ('waiting', 'sending') AND coalesce(i.next_at, '-infinity') <= $1
    AND (i.edition IS NULL OR EXISTS (SELECT FROM report.recorded k WHERE k.edition = i.edition))
ORDER BY i.id;

-- sending: that a delivery begins
UPDATE report.intent SET state = 'sending', attempts = attempts + 1 WHERE id = $1;

-- sent: that it is delivered
UPDATE report.intent SET state = $2, sent_at = $3, receipt = $4, last_error = NULL WHERE id = $1;

-- failed: that it was not, for the $5th time, and when it is tried again
UPDATE report.intent SET state = $2, next_at = $3, last_error = $4, attempts = $5 WHERE id = $1;

-- unreceipted: deliveries that are sent or given up and not on record yet, the oldest first
SELECT i.id, i.edition, i.kind, i.recipient, i.role, i.target, i.detail, i.formats, i.message_id, i.state, i.attempts, i.last_error,
    i.sent_at, i.receipt, r.schedule, r.label
FROM report.intent i JOIN report.run r ON r.id = i.run
WHERE i.state IN ('sent', 'maybe-twice', 'given-up') AND NOT EXISTS (SELECT FROM report.receipt k WHERE k.intent = i.id)
ORDER BY i.id LIMIT 1000;

-- receipted: that what became of these deliveries is on record
INSERT INTO report.receipt (intent) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING;

-- runs: the newest $1 editions, each run with its last one, those that somebody signed, and with $3 every one; and what became of their
-- deliveries. A run without an edition is there too
SELECT r.id, r.schedule, r.label, r.starts, r.ends, r.time_zone, r.due, r.tries, r.last_error, r.late_at,
    e.id AS edition, e.number, e.replaces, e.replaced_by, e.made_at, e.made_by, e.sha256, e.good, e.verdict, k.recorded_at,
    (SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'recipient', i.recipient, 'role', i.role, 'target', i.target,
        'detail', i.detail, 'edition', i.edition, 'state', i.state, 'attempts', i.attempts, 'sent_at', i.sent_at,
        'last_error', i.last_error) ORDER BY i.id)
        FROM report.intent i WHERE i.run = r.id AND (i.edition = e.id OR i.edition IS NULL AND e.replaced_by IS NULL)) AS deliveries,
    (SELECT jsonb_agg(jsonb_build_object('by', s.signed_by, 'role', s.role, 'at', s.signed_at, 'event_id', s.event_id) ORDER BY s.signed_at)
        FROM report.signature s WHERE s.edition = e.id) AS signatures
FROM report.run r
LEFT JOIN LATERAL (
    SELECT n.*, x.id AS replaced_by FROM report.edition n LEFT JOIN report.edition x ON x.replaces = n.id
    WHERE n.run = r.id AND ($3::boolean OR x.id IS NULL OR EXISTS (SELECT FROM report.signature s WHERE s.edition = n.id))
) e ON true
LEFT JOIN report.recorded k ON k.edition = e.id
WHERE $2::text IS NULL OR r.schedule = $2
ORDER BY r.ends DESC, r.id DESC, e.number DESC
LIMIT $1;

-- signing: what the first own events of these names ($1, by identity hash) say
SELECT DISTINCT ON (r.identity_hash) r.identity_hash, audit.json_of(audit.value_of(p.body)) -> 'data' AS said
FROM audit.record r
JOIN audit.payload p ON p.chain_no = r.chain_no AND p.seq = r.seq AND p.appended_at = audit.moment(r.appended_us)
WHERE r.identity_hash = ANY ($1::bigint[]) AND r.kind = 8
ORDER BY r.identity_hash, r.chain_no, r.seq;

-- add_signature: that somebody has signed, once
INSERT INTO report.signature (edition, signed_by, role, event_id) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING event_id;

-- signed: whether somebody has signed
SELECT event_id FROM report.signature WHERE edition = $1 AND signed_by = $2 AND role = $3;

-- recording_since: when the first record of all was appended
SELECT min(audit.moment(r.appended_us)) AS since FROM audit.record r WHERE r.seq = 0;
