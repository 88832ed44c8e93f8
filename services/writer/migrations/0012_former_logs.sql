-- A new log for a database that is sealed already: after a disaster, when what was signed cannot be continued.
SET LOCAL ROLE piperoll_owner;

-- Rows of logs that were set aside, as they were, for comparison with copies held elsewhere. `kind` names their table.
CREATE TABLE audit.former_log (
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    content jsonb NOT NULL
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.former_log EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.former_log ENABLE ALWAYS TRIGGER refuse_change;
GRANT SELECT ON audit.former_log TO piperoll_writer, piperoll_sealer, piperoll_reporter;

-- Moves seals, checkpoints, tiles and publications away, so that a sealer with another SEALER_ORIGIN and an empty SEALER_DIR
-- can begin. No service's role may call it. Whoever holds an old checkpoint finds out all the same: that is evidence.
CREATE FUNCTION audit.set_log_aside() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    named text;
    moved bigint := 0;
    count bigint;
BEGIN
    FOREACH named IN ARRAY ARRAY['seal', 'checkpoint', 'tile', 'publication'] LOOP
        EXECUTE format('ALTER TABLE audit.%I DISABLE TRIGGER refuse_change', named);
        EXECUTE format(
            'WITH gone AS (DELETE FROM audit.%I RETURNING *)
             INSERT INTO audit.former_log (kind, content) SELECT %L, to_jsonb(gone) FROM gone', named, named);
        GET DIAGNOSTICS count = ROW_COUNT;
        moved := moved + count;
        EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER refuse_change', named);
    END LOOP;
    RETURN moved;
END $$;
REVOKE ALL ON FUNCTION audit.set_log_aside() FROM PUBLIC;
RESET ROLE;
