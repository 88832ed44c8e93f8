"""Every statement that could change anything, tried by every login role on every table and partition."""

import io

import asyncpg
import pytest

from deploy.local.postgres import run_async
from services.writer.migrate import LOGIN_ROLES
from tests.builders import Log, annotation
from tests.orders import erasure
from tests.recording import TOPICS, Recorder

MAY = {
    "piperoll_writer": {
        ("record", "INSERT"),
        ("payload", "INSERT"),
        ("annotation", "INSERT"),
        ("review", "INSERT"),
    },
    "piperoll_sealer": {
        ("tile", "INSERT"),
        ("seal", "INSERT"),
        ("checkpoint", "INSERT"),
        ("publication", "INSERT"),
    },
    "piperoll_reporter": {
        *(
            (f"report.{table}", "INSERT")
            for table in ("run", "edition", "recorded", "signature", "intent", "receipt")
        ),
    },
    "piperoll_operator": {("restoration", "INSERT"), ("restoration", "DELETE")},
    # roles as which nobody signs in: their functions act as them
    "piperoll_eraser": {
        ("payload", "DELETE"),
        ("payload_default", "DELETE"),
        ("erasure", "INSERT"),
    },
}
"""All rights beyond reading: in schema audit, and where it is named in schema report."""
COLUMNS = {
    *(("report.run", column) for column in ("tries", "last_error", "late_at")),
    *(
        ("report.intent", column)
        for column in ("state", "attempts", "next_at", "last_error", "sent_at", "receipt")
    ),
}
"""The columns that are ever changed, all of them by piperoll_reporter."""
CALLS = {
    "piperoll_writer": {
        *("claim", "advance", "open_chain", "open_months"),
        *("order_lock", "erase", "restore", "retain", "drop_retained"),
    },
    "piperoll_sealer": set(),
    "piperoll_reporter": {"is_kept"},
    "piperoll_operator": {"is_kept"},
}
"""Functions beyond those of the view, all of which only compute."""
VIEW = frozenset(
    (
        *("moment", "json_of", "text_of", "value_of", "is_json", "has_huge_number", "kafka_us", "event_data"),
        *("risk_level", "risk_name", "risk_floor", "risk_ai", "tags_of"),
    )
)

ON_A_TABLE = {
    "INSERT": "INSERT INTO {} DEFAULT VALUES",
    "UPDATE": "UPDATE {} SET {column} = {column} WHERE false",
    "DELETE": "DELETE FROM {} WHERE false",
    "TRUNCATE": "TRUNCATE {} CASCADE",
    "merge": "MERGE INTO {} USING (SELECT 1) AS s ON false WHEN MATCHED THEN DELETE",
    "lock": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    "alter": "ALTER TABLE {} ADD COLUMN more int",
    "disable": "ALTER TABLE {} DISABLE TRIGGER ALL",
    "drop a column": "ALTER TABLE {} DROP COLUMN {column}",
    "owner": "ALTER TABLE {} OWNER TO CURRENT_USER",
    "unlogged": "ALTER TABLE {} SET UNLOGGED",
    "row security": "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
    "trigger": "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "rule": "CREATE RULE mine AS ON INSERT TO {} DO INSTEAD NOTHING",
    "index": "CREATE INDEX ON {} ({column})",
    "policy": "CREATE POLICY mine ON {}",
    "drop": "DROP TABLE {} CASCADE",
    "comment": "COMMENT ON TABLE {} IS 'mine'",
    "statistics": "ALTER TABLE {} ALTER COLUMN {column} SET STATISTICS 0",
    "detach": "ALTER TABLE audit.payload DETACH PARTITION {}",
}
EVERYWHERE = [
    "CREATE TABLE audit.mine (a int)",
    "CREATE TABLE report.mine (a int)",
    "DROP SCHEMA report CASCADE",
    "ALTER FUNCTION report.refuse_change() RENAME TO refused",
    "CREATE FUNCTION audit.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE OR REPLACE FUNCTION audit.is_erased(of_chain smallint, of_seq bigint) RETURNS boolean LANGUAGE sql RETURN false",
    "ALTER FUNCTION audit.refuse_change() RENAME TO refused",
    "DROP FUNCTION audit.refuse_change() CASCADE",
    "CREATE SCHEMA mine",
    "DROP SCHEMA audit CASCADE",
    "ALTER SCHEMA audit RENAME TO old",
    "SET session_replication_role = replica",
    "SET ROLE piperoll_owner",
    "SET ROLE piperoll_eraser",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION piperoll_owner",
    "CREATE ROLE mine",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE piperoll_owner LOGIN",
    "GRANT piperoll_owner TO CURRENT_USER",
    "ALTER SYSTEM SET fsync = off",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION audit.refuse_change()",
    "CREATE EXTENSION lo",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "SELECT pg_switch_wal()",
    "REASSIGN OWNED BY piperoll_owner TO CURRENT_USER",
    "DROP OWNED BY piperoll_owner",
    "CREATE VIEW public.mine AS SELECT 1",
    "DROP VIEW public.audit_events",
    "CREATE OR REPLACE VIEW public.audit_events AS SELECT 1",
    "SELECT nextval('audit.chain_number')",
    "SELECT setval('audit.chain_number', 1)",
    "UPDATE pg_catalog.pg_class SET relname = relname WHERE false",
    "UPDATE pg_catalog.pg_trigger SET tgenabled = 'D' WHERE false",
]


@pytest.fixture
def filled(database):
    """A chain of each topic, an erasure, and partitions of each kind."""

    async def fill():
        log = Log()
        async with Recorder(database.writer_dsn) as events:
            await events.record(log.event(0, -1), log.event(1))
        async with Recorder(database.writer_dsn, TOPICS.annotations) as said:
            await said.record(log.event(0)._replace(value=annotation(log.topic_id, 0, 1), headers=[]))
        async with Recorder(database.writer_dsn, TOPICS.system) as system:
            await system.record(erasure([(log.topic_id, 0, 1)]))

    run_async(fill())
    return database


def dsn_of(database, role: str) -> str:
    return getattr(database, f"{role.removeprefix('piperoll_')}_dsn")


def qualified(table: str) -> str:
    return table if "." in table else f"audit.{table}"


async def tables(connection) -> dict[str, str]:
    """Every table and partition of ours, with a column of it."""
    rows = await connection.fetch(
        "SELECT CASE c.relnamespace WHEN 'audit'::regnamespace THEN c.relname ELSE 'report.' || c.relname END AS relname, (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0"
        " AND attidentity = '' ORDER BY attnum LIMIT 1) AS first"
        " FROM pg_class c WHERE c.relnamespace IN ('audit'::regnamespace, 'report'::regnamespace) AND c.relkind IN ('r', 'p')"
    )
    return {row["relname"]: row["first"] for row in rows}


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_no_role_gets_any_statement_through_that_it_is_not_meant_to(filled, role):
    admin = await asyncpg.connect(filled.admin_dsn)
    every = await tables(admin)
    assert {"record", "record_1", "payload", "payload_default", "erasure", "tile", "restoration"} <= set(
        every
    )
    assert {"review", "report.run", "report.edition", "report.intent"} <= set(every)
    connection = await asyncpg.connect(dsn_of(filled, role))
    through = []
    for table, column in every.items():
        for name, sql in ON_A_TABLE.items():
            if await _goes_through(connection, sql.format(qualified(table), column=column)):
                through.append((table, name))
    await connection.close()
    await admin.close()
    assert {(table, name) for table, name in through if name not in ("merge", "lock")} == MAY[role]
    # who may change a row of some columns may lock the table too
    changed = {table for table, _ in COLUMNS} if role == "piperoll_reporter" else set()
    assert {table for table, name in through if name in ("merge", "lock")} <= {"restoration"} | changed


async def _goes_through(connection, sql: str) -> bool:
    """Whether the role may do this, tried in a transaction that is undone."""
    undone = connection.transaction()
    await undone.start()
    try:
        await connection.execute(sql)
    except (
        asyncpg.InsufficientPrivilegeError,
        asyncpg.WrongObjectTypeError,
        asyncpg.FeatureNotSupportedError,
    ):
        return False  # no right to it, or no such thing can be done to such a table by anybody
    except asyncpg.IntegrityConstraintViolationError:
        return True  # the right was there
    else:
        return True
    finally:
        await undone.rollback()


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_no_role_gets_at_anything_around_the_tables(filled, role):
    connection = await asyncpg.connect(dsn_of(filled, role))
    for sql in EVERYWHERE:
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.execute(sql)
        assert caught.value.sqlstate[:2] in ("42", "0A", "28", "58"), (sql, caught.value)
    await connection.close()


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_copy_goes_only_where_insert_does(filled, role):
    admin = await asyncpg.connect(filled.admin_dsn)
    connection = await asyncpg.connect(dsn_of(filled, role))
    through = set()
    for table in await tables(admin):
        try:
            schema, _, name = qualified(table).partition(".")
            await connection.copy_to_table(name, schema_name=schema, source=io.BytesIO(), format="text")
        except asyncpg.InsufficientPrivilegeError:
            continue
        through.add((table, "INSERT"))
    assert through == {right for right in MAY[role] if right[1] == "INSERT"}
    await connection.close()
    await admin.close()


async def test_rights_are_exactly_these(filled):
    """From the catalogue: tables, columns, sequences, functions, schemas and memberships of every role."""
    admin = await asyncpg.connect(filled.admin_dsn)
    rows = await admin.fetch(
        "SELECT CASE c.relnamespace WHEN 'audit'::regnamespace THEN c.relname ELSE 'report.' || c.relname END AS relname,"
        " a.privilege_type, a.grantee::regrole::text AS role FROM pg_class c, aclexplode(c.relacl) a"
        " WHERE c.relnamespace IN ('audit'::regnamespace, 'report'::regnamespace) AND a.privilege_type <> 'SELECT' AND a.grantee <> c.relowner"
    )
    rights = {(row["role"], row["relname"], row["privilege_type"]) for row in rows}
    assert rights == {(role, *right) for role, some in MAY.items() for right in some}
    columns = await admin.fetch(
        "SELECT attrelid::regclass::text AS of_table, attname, a.privilege_type, a.grantee::regrole::text AS role"
        " FROM pg_attribute, aclexplode(attacl) a WHERE attrelid::regclass::text ~ '^(audit|report)[.]'"
    )
    assert {(row["of_table"], row["attname"]) for row in columns} == COLUMNS
    assert {(row["role"], row["privilege_type"]) for row in columns} == {("piperoll_reporter", "UPDATE")}
    for role in LOGIN_ROLES:
        named = await admin.fetch(
            "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'audit'::regnamespace"
            " AND has_function_privilege($1, oid, 'EXECUTE')",
            role,
        )
        assert {row["proname"] for row in named} - VIEW == CALLS[role]
        assert not await admin.fetchval("SELECT has_schema_privilege($1, 'audit', 'CREATE')", role)
    members = await admin.fetch(
        "SELECT roleid::regrole::text AS role, member::regrole::text AS member FROM pg_auth_members"
        " WHERE roleid::regrole::text LIKE 'piperoll%' AND member::regrole::text LIKE 'piperoll%'"
    )
    assert members == []
    await admin.close()


async def test_every_definer_function_fixes_its_search_path_and_every_guard_is_always_on(filled):
    """A search path of the caller's could put other functions in place of ours."""
    admin = await asyncpg.connect(filled.admin_dsn)
    loose = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'audit'::regnamespace AND prosecdef"
        " AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']"
    )
    assert loose == []
    off = await admin.fetch(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"
    )
    assert off == []
    bare = await admin.fetch(
        "SELECT c.relname FROM pg_class c"
        " WHERE c.relnamespace IN ('audit'::regnamespace, 'report'::regnamespace) AND c.relkind IN ('r', 'p')"
        " AND c.relname <> 'restoration' AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid"
        " AND t.tgtype & 32 = 32 AND t.tgenabled = 'A')"
    )
    assert bare == []  # each refuses TRUNCATE
    await admin.close()
