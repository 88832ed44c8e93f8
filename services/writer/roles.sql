-- The roles, made if missing. They belong to the whole cluster, so several databases share them and several
-- migrations may make them at once: migrate.py repeats this when it loses such a race.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['piperoll_owner', 'piperoll_eraser', 'piperoll_writer', 'piperoll_sealer', 'piperoll_reporter', 'piperoll_operator']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted);
            IF wanted = 'piperoll_reporter' THEN
                -- the view joins large tables, over many partitions
                ALTER ROLE piperoll_reporter SET work_mem = '64MB';
                ALTER ROLE piperoll_reporter SET jit = off;
            END IF;
        END IF;
    END LOOP;
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
        AND NOT pg_catalog.pg_has_role(current_user, 'piperoll_owner', 'USAGE') THEN
        EXECUTE pg_catalog.format('GRANT piperoll_owner TO %I', current_user);
    END IF;
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
        AND NOT pg_catalog.pg_has_role(current_user, 'piperoll_eraser', 'USAGE') THEN
        EXECUTE pg_catalog.format('GRANT piperoll_eraser TO %I', current_user);
    END IF;
END $$;
