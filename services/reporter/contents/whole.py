"""The whole of the document, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.reporter.contents.ai import ai_account
from services.reporter.contents.changes import changes
from services.reporter.contents.citing import cite_records, cites
from services.reporter.contents.completeness import completeness
from services.reporter.contents.control_lines import control_lines
from services.reporter.contents.events import high_risk, late, unreadable
from services.reporter.contents.happened import happened
from services.reporter.contents.reviews import reviews
from services.reporter.contents.selection import Selection
from services.reporter.contents.skew import clock_skew
from services.reporter.contents.tables import by_day, judged_by, other_records, tables, totals
from services.reporter.contents.times import iso
from services.reporter.contents.words import GLOSSARY, METHOD
from services.reporter.figures import Figures, read_figures
from services.reporter.grounding.bases import facts_of
from services.reporter.grounding.summary import Choosing, summary_of
from services.reporter.inputs import Inputs
from services.reporter.store import Snapshot


async def read_contents(
    snapshot: Snapshot, inputs: Inputs, choosing: Choosing | None = None
) -> tuple[dict[str, Any], Figures]:
    """Every part of the document but its format; and the figures that it is made of. `choosing`: instead of `inputs.summary`."""
    selection = Selection(snapshot, inputs.period, inputs.cut, inputs.filters)
    figures = await read_figures(selection)
    chains = await selection.fetch_below("chains")
    grave, _ = await high_risk(selection)
    account = await completeness(selection, figures, chains)
    made = {
        **_frame(inputs, chains),
        "completeness": account,
        "totals": totals(figures),
        "tables": tables(figures),
        "by_day": by_day(inputs.period, figures),
        "other_records": other_records(figures),
        "high_risk": grave,
        "reviews": await reviews(selection),
        "changes": await changes(selection, figures),
        "ai": await ai_account(selection, figures),
        **await happened(selection),
        "late": await late(selection, {item.key: item for item in figures.table("late").figures}),
        "clock_skew": await clock_skew(selection),
        "judged_by": judged_by(figures),
        "unreadable": await unreadable(selection),
        "sequence_gaps": [
            {
                "source": gap.source,
                "missing": gap.missing,
                "gaps": gap.gaps,
                "numbers": gap.numbers,
                "cites": cites(gap.first_id),
            }
            for gap in figures.gaps
        ],
        "duplicates": {"repeats": totals(figures)["duplicates"], "unchecked": totals(figures)["unchecked"]},
        "attachments": [],
    }
    made |= control_lines(figures, made)
    facts = await facts_of(selection, made)
    made["facts"] = [fact.as_json() for fact in facts]
    chosen = inputs.summary if choosing is None else await choosing(facts)
    made["summary"] = summary_of(facts, chosen)
    return await cite_records(snapshot, made), figures


def _frame(inputs: Inputs, chains: list[Any]) -> dict[str, Any]:
    """What the edition is, of what, made when and by what: nothing of it is counted."""
    period, cut = inputs.period, inputs.cut
    return {
        "edition": {
            "id": inputs.edition,
            "schedule": inputs.schedule,
            "number": inputs.number,
            "replaces": inputs.replaces,
            "why": inputs.why,
            "by": inputs.by,
            "differs": inputs.differs,
        },
        "period": {
            "label": period.label,
            "title": period.title,
            "start": period.start.isoformat(),
            "end": period.end.isoformat(),
            "time_zone": period.zone,
            "rule": period.rule,
            "selected_by": period.explanation,
            "days": period.days,
        },
        "cut": {
            "seal_no": cut.seal_no,
            "root": cut.root,
            "time": iso(cut.time_us),
            "chains": [
                {
                    name: row[name]
                    for name in ("chain_no", "chain_id", "topic", "partition", "size", "last_hash")
                }
                | {"last_recorded": iso(row["last_us"])}
                for row in chains
            ],
        },
        "made": iso(inputs.made_us),
        "software": inputs.software,
        "filters": inputs.filters.as_json(),
        "language": inputs.language,
        "template": None if inputs.template is None else Path(inputs.template).name,
        "integrity": inputs.integrity,
        "glossary": [{"term": term, "meaning": meaning} for term, meaning in GLOSSARY],
        "method": METHOD,
    }
