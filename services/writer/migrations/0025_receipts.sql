-- Deliveries of reports that are on record: what became of each is told on audit.system, once it is sent or given up.
SET LOCAL ROLE piperoll_owner;

CREATE TABLE report.receipt (
    intent bigint PRIMARY KEY REFERENCES report.intent,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON report.receipt EXECUTE FUNCTION report.refuse_change();
ALTER TABLE report.receipt ENABLE ALWAYS TRIGGER refuse_change;
GRANT SELECT, INSERT ON report.receipt TO piperoll_reporter;
RESET ROLE;
