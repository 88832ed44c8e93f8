"""An auditor's sample on a real database: the same for everybody, of the population that the report counts."""

import json

import pytest

from services.common.errors import ConfigurationError
from services.reporter.contents.selection import Selection
from services.reporter.cutting import find_cut
from services.reporter.document import Inputs, make_document
from services.reporter.evidence import Evidence
from services.reporter.facts_kept import keep_facts
from services.reporter.period import period_named
from services.reporter.sampled import GIVEN, Seed, draw_sample, find_seed
from services.reporter.sampling import ticket
from services.reporter.store import open_snapshot
from tests.audit_tables import fill
from tests.report_month import Month

OCTOBER = period_named("2026-10", "UTC", "schedule")


async def test_a_sample_is_of_the_reports_population_and_follows_from_its_seed(database):
    await fill(database.admin_dsn, Month().chains)
    await keep_facts(database.reporter_dsn)
    async with open_snapshot(database.reporter_dsn) as snapshot:
        cut = await find_cut(snapshot)
        told = await make_document(snapshot, Inputs("monthly", OCTOBER, cut))
        selection = Selection(snapshot, OCTOBER, cut)
        drawn = await draw_sample(selection, Seed("the auditor's", GIVEN), 25, ("risk", "source"))
        again = await draw_sample(selection, Seed("the auditor's", GIVEN), 25, ("risk", "source"))
        all_of_them = await draw_sample(selection, Seed("x", GIVEN), 10_000, ())
        with pytest.raises(ConfigurationError, match="no seal is younger"):
            await find_seed(snapshot, OCTOBER, Evidence())
        nothing = Selection(snapshot, period_named("2031-10", "UTC", "schedule"), cut)
        with pytest.raises(ConfigurationError, match="nothing to draw from"):
            await draw_sample(nothing, Seed("x", GIVEN), 1, ())
    said = drawn.as_json()
    assert said == again.as_json()
    assert said["population"] == told["totals"]["all"]["events"] == len(all_of_them.drawn)
    assert len(said["records"]) == 25 == sum(one["drawn"] for one in said["strata"])
    assert sum(one["records"] for one in said["strata"]) == said["population"]
    hashes = {one.member.id: one.member.record_hash for one in all_of_them.drawn}
    for one in said["records"]:
        assert hashes[one["id"]].hex() == one["hash"]
        assert ticket("the auditor's", bytes.fromhex(one["hash"])).hex() == one["ticket"]
    assert "critical" in {one["stratum"][0] for one in said["records"]}
    json.dumps(said)
