"""Signatures of editions: own events that name the edition's hash."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from uuid import uuid4

from services.common.clock import Clock
from services.common.errors import ConfigurationError
from services.reporter.runs.ledger import Ledger, open_ledger
from services.reporter.runs.own_events import SIGNATURE, SystemTopic, own_event
from services.reporter.runs.rows import Edition

_MOST = 2000


class Signature(NamedTuple):
    """Who signs what, as what, and with what words; `user` is the name at the machine. `despite` and `reason`: although the
    edition's verification is red, or it was replaced."""

    edition: str
    by: str
    role: str
    statement: str
    user: str
    despite: bool = False
    reason: str | None = None


async def sign_edition(dsn: str, signature: Signature, topic: SystemTopic, clock: Clock) -> Edition:
    """Records the signature, then notes it. Returns the edition. Raises ConfigurationError where it is not to be signed so,
    TransientError where audit.system does not take it."""
    _complete(signature)
    async with open_ledger(dsn) as ledger:
        edition = await ledger.edition(signature.edition)
        await _check(ledger, signature, edition)
        event_id = f"report-signature:{edition.id}:{uuid4()}"
        data = {
            "edition": edition.id,
            "sha256": edition.sha256,
            "by": signature.by,
            "user": signature.user,
            "role": signature.role,
            "statement": signature.statement,
            "despite": signature.despite,
            "reason": signature.reason,
            "good": edition.good,
        }
        await asyncio.to_thread(topic.record, [own_event(SIGNATURE, event_id, data, clock())])
        await ledger.sign(edition.id, signature.by, signature.role, event_id)
    return edition


def _complete(signature: Signature) -> None:
    for name in ("by", "role", "statement", "reason"):
        text = getattr(signature, name)
        if text is not None and not (text.strip() and len(text) <= _MOST and text.isprintable()):
            raise ConfigurationError(
                f"--{name}: between 1 and {_MOST:,} printable characters in one line, please"
            )
    if signature.despite and signature.reason is None:
        raise ConfigurationError("--despite needs --reason: why it is signed all the same")
    if signature.reason is not None and not signature.despite:
        raise ConfigurationError("--reason goes with --despite; what you want to say stands in --statement")


async def _check(ledger: Ledger, signature: Signature, edition: Edition) -> None:
    if await ledger.signed(edition.id, signature.by, signature.role):
        raise ConfigurationError(f"{signature.by} has signed {edition.id} as {signature.role} already")
    if edition.recorded_at is None:
        raise ConfigurationError(
            f"the hash of {edition.id} is not on record yet: a reporter that runs puts it there; sign it then"
        )
    against = []
    if not edition.good:
        against.append(f"its verification is red ({edition.verdict})")
    if edition.replaced_by is not None:
        against.append(f"it was replaced by {edition.replaced_by}")
    if against and not signature.despite:
        raise ConfigurationError(
            f"{edition.id}: {' and '.join(against)}. To sign it all the same give --despite and --reason"
        )
    if signature.despite and not against:
        raise ConfigurationError(f"{edition.id} is in order: sign it without --despite")
