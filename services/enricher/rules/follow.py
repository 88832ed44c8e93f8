"""Rules that change while the enricher runs: a changed folder is noticed within seconds and its rules take over.

Nothing is judged without rules in between: the new set is compiled beside the old one, in a thread, and then takes its
place. A rule that cannot be used is named with file and line and left out, the others go on; a folder that has gone
leaves the rules as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from schemas.documents import DocumentError
from schemas.mapping import load_mappings
from services.common.logging import get_logger
from services.enricher.rules.index import RuleSet
from services.enricher.rules.load import PACK, Files

log = get_logger(__name__)

LOOK_EVERY_S = 2.0


async def follow_rules(
    directory: Path | None,
    version: str,
    take: Callable[[RuleSet], None],
    *,
    every_s: float = LOOK_EVERY_S,
    pack: Path = PACK,
) -> None:
    """Hands every set of rules that differs from `version`, and then from the one before, to `take`, until cancelled.
    Without a folder of the user's there is nothing to follow: the pack changes only with the program."""
    if directory is None:
        return
    files, mappings = Files([pack, directory]), load_mappings().all
    state: dict[Path, tuple[int, int]] | None = None
    while True:
        now = await asyncio.to_thread(_state, files)
        if now is not None and now != state:
            try:
                read = await asyncio.to_thread(files.read)
            except DocumentError as error:
                log.error("rules_not_reloaded", error=str(error))  # noqa: TRY400 - the text says all
            else:
                if read.version != version:
                    rules = await asyncio.to_thread(RuleSet, read, mappings)
                    take(rules)
                    tell(rules)
                state, version = now, read.version
        await asyncio.sleep(every_s)


def tell(rules: RuleSet) -> None:
    """Logs what was loaded, and what was refused by file, line and reason."""
    for refused in rules.report.refused:
        where = f"{refused.file}:{refused.line}" if refused.line else refused.file
        log.warning("rule_refused", file=where, title=refused.title, reason=refused.reason)
    for idle in rules.correlations.idle:
        rule = idle.correlation
        log.warning(
            "rule_does_not_run", file=f"{rule.file}:{rule.line}", title=rule.title, reason=idle.reason
        )
    log.info(
        "rules_loaded",
        loaded=len(rules.report.loaded),
        refused=len(rules.report.refused),
        dormant=len(rules.report.dormant),
        windowed=len(rules.correlations.running),
        version=rules.version,
    )


def _state(files: Files) -> dict[Path, tuple[int, int]] | None:
    try:
        return files.state()
    except DocumentError as error:
        log.error("rules_not_reloaded", error=str(error))  # noqa: TRY400 - the text says all
        return None
