"""Alerts of the sealer: what they say and how they are named."""

from __future__ import annotations

from services.writer.alert import Alert
from services.writer.sealer.look import Mismatch
from services.writer.sealer.memory import ChainMemory


def _where(chain: ChainMemory) -> str:
    return f"{chain.topic} partition {chain.partition} (chain {chain.tree})"


def _facts(chain: ChainMemory, **more: object) -> dict[str, object]:
    return {
        "chain_no": chain.tree,
        "chain_id": chain.chain_id.hex(),
        "topic": chain.topic,
        "partition": chain.partition,
        **more,
    }


def mismatch(chain: ChainMemory, found: Mismatch) -> Alert:
    """A record is not what the topic holds. It is never signed."""
    return Alert(
        f"sealer:mismatch:{chain.chain_id.hex()}:{found.seq}",
        "critical",
        "record_differs_from_topic",
        f"{_where(chain)}: record {found.seq} (source offset {found.source_offset}) is not what the topic holds: "
        f"{found.what}. It was changed after it was appended, or never came from the topic. Nothing from it on is signed "
        "until it is as it was: `piperoll verify`, then `piperoll restore`.",
        _facts(chain, seq=found.seq, source_offset=found.source_offset, what=found.what),
    )


def broken_link(chain: ChainMemory, seq: int) -> Alert:
    """A record does not follow the one that was signed before it."""
    return Alert(
        f"sealer:broken-link:{chain.chain_id.hex()}:{seq}",
        "critical",
        "chain_does_not_continue",
        f"{_where(chain)}: record {seq} does not continue what was signed: records were rewritten, or the database was "
        "set back and went on. Nothing from it on is signed. `piperoll verify` says what was changed.",
        _facts(chain, seq=seq),
    )


def not_appended(chain: ChainMemory) -> Alert:
    """The records behind the signed ones are not those that the writer said it appends."""
    return Alert(
        f"sealer:not-appended:{chain.chain_id.hex()}:{chain.size}",
        "critical",
        "records_not_appended",
        f"{_where(chain)}: records from {chain.size} on are not what the writer said it appended: one of them was changed "
        "in some part (its enrichment, a time), put in or taken out before it was sealed. Nothing from there on is signed. "
        "`piperoll verify`, then `piperoll restore`. After a lawful restore of the database: `piperoll seal forget-heads`.",
        _facts(chain, first_seq=chain.size),
    )


def set_back(chain: ChainMemory, next_seq: int | None) -> Alert:
    """The database has fewer records than were signed; None: not even the chain."""
    missing = "the chain is gone" if next_seq is None else f"records {next_seq} to {chain.size - 1} are gone"
    return Alert(
        f"sealer:set-back:{chain.chain_id.hex()}:{chain.size}:{'' if next_seq is None else next_seq}",
        "critical",
        "signed_records_gone",
        f"{_where(chain)}: {missing}, though they were signed. The tail was cut, or the database was restored to an older "
        "state. `piperoll verify` says which; `piperoll restore` brings records back from what is published.",
        _facts(chain, signed_size=chain.size, next_seq=next_seq),
    )


def lost(chain: ChainMemory, why: str) -> Alert:
    """What was signed cannot be found in the database any more."""
    return Alert(
        f"sealer:lost:{chain.chain_id.hex()}:{chain.size}",
        "critical",
        "signed_records_changed",
        f"{_where(chain)}: the database does not hold what was signed ({why}). The chain is not signed any further. "
        "`piperoll verify` says what was changed.",
        _facts(chain, signed_size=chain.size, why=why),
    )


def uncompared(chain: ChainMemory, first: int, last: int, why: str) -> Alert:
    """Records were signed without a second look."""
    return Alert(
        f"sealer:uncompared:{chain.chain_id.hex()}:{first}",
        "high",
        "sealed_uncompared",
        f"{_where(chain)}: records {first} to {last} were signed without comparing them with the topic: {why}. Until they "
        "were signed, whoever may write to the database could have changed them unseen.",
        _facts(chain, first_seq=first, last_seq=last, why=why),
    )


def target_fails(target: str, since_us: int, text: str) -> Alert:
    """A target has not taken checkpoints for a while."""
    return Alert(
        f"sealer:target:{target}:{since_us}",
        "high",
        "publication_fails",
        f"checkpoints do not reach {target}: {text}. It is tried again all the time; until it works, changes to newer "
        "records are not seen against the copies there.",
        {"target": target, "since_us": since_us, "error": text[:300]},
    )


def forked(target: str, size: int, text: str) -> Alert:
    """A target holds another history than ours under our name."""
    return Alert(
        f"sealer:forked:{target}:{size}",
        "critical",
        "checkpoints_contradict",
        f"{target} holds a checkpoint of this log that contradicts what was signed here: {text}. Either the sealer's memory "
        "was set back, or a second sealer signs with the same key.",
        {"target": target, "size": size, "detail": text[:300]},
    )
