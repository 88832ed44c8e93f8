"""What the verification found, and whether everything is there."""

from __future__ import annotations

from typing import Any

from services.reporter.formats.blocks import (
    Block,
    Code,
    Column,
    Facts,
    Listing,
    Mark,
    Ours,
    Paragraph,
    Prose,
    Section,
    Table,
    Text,
)
from services.reporter.formats.words import Object, cites, number, plural, said, when

_MOST = 100
_STEPS = {
    "emitted_by_sequence": "Emitted, by the numbers of the sources",
    "in_kafka": "In Kafka, by offsets",
    "enriched": "Enriched",
    "chained": "In the chains",
    "in_report": "In this report",
}


def integrity(document: Object) -> Section | None:
    """The verdict, its fixed sentences, findings, checkpoints and chains."""
    found = document.get("integrity") or {}
    good = bool(found.get("good"))
    blocks: list[Block] = [
        Paragraph([Mark("good" if good else "bad", Ours(found.get("verdict", "")))]),
        *[
            Paragraph([Ours(sentence)])
            for sentence in [*(found.get("assurance") or []), *(found.get("checked_by") or [])]
        ],
    ]
    drill = document.get("drill")
    blocks.append(Paragraph(_drill(drill)))
    if found.get("findings"):
        blocks.append(_findings(found))
    checkpoints = found.get("checkpoints")
    if checkpoints:
        blocks.append(Facts(_checkpoints(checkpoints)))
    if found.get("chains"):
        blocks.append(_chains(found["chains"], found))
    for name, what in (
        ("erased", "erased on recorded orders"),
        ("retained", "gone with their months on recorded orders (retention)"),
    ):
        if found.get(name):
            rest = Ours(f" {what}: these records stay, with time and place; their content is gone.")
            blocks.append(Paragraph([plural(int(found[name]), "payload"), rest]))
    return Section("integrity", Ours("Integrity"), blocks)


def _drill(drill: Object | None) -> Text:
    if not drill:
        return [Ours("No tamper drill is on record: whether changes would be found was not tried.")]
    how = Mark("good", Ours("passed")) if drill.get("passed") else Mark("bad", Ours("failed"))
    return [
        Ours("The last tamper drill on record: "), how,
        Ours(f", {drill.get('detected', 0)} of {drill.get('attacks', 0)} attacks on a copy of sealed records were found, the "
             f"slowest in {float(drill.get('slowest_seconds') or 0):.2f} s."),
    ]  # fmt: skip


def _findings(found: Object) -> Block:
    shown = found["findings"][:_MOST]
    count = int(found.get("found") or len(shown))
    caption = [
        plural(count, "finding"),
        Ours("." if count == len(shown) else f"; the first {len(shown)} are shown."),
    ]
    items = [[Prose(str(one.get("sentence", one)) if isinstance(one, dict) else str(one))] for one in shown]
    return Table(caption, [Column(Ours("No."), "number", 0.2), Column(Ours("Finding"), "text", 3)],
                 [[[number(at)], item] for at, item in enumerate(items, 1)])  # fmt: skip


def _checkpoints(checkpoints: Object) -> list[tuple[str, Text]]:
    rows: list[tuple[str, Text]] = []
    for one in checkpoints.get("compared_with") or []:
        by = (
            [Ours(", cosigned by "), ", ".join(map(str, one["cosigned_by"]))]
            if one.get("cosigned_by")
            else []
        )
        rows.append(
            (
                Ours("Compared with"),
                [plural(int(one.get("size") or 0), "seal"), Ours(" of "), str(one.get("place", "")), *by],
            )
        )
        if one.get("root"):
            rows.append((Ours("Root"), [Code(str(one["root"]))]))
    rows.append((Ours("Last seal"), [when(checkpoints.get("last_seal")), Ours(" (UTC)")]))
    rows.append((Ours("Behind it"), [plural(int(checkpoints.get("unsealed_records") or 0), "record")]))
    if checkpoints.get("key_from_the_same_place"):
        rows.append(
            (
                Ours("Key"),
                [
                    Ours(
                        "came from the same place as the checkpoint; for proof, name one that you got elsewhere"
                    )
                ],
            )
        )
    return rows


def _chains(chains: list[Any], found: Object) -> Block:
    columns = [
        Column(Ours("Chain"), "text", 0.6), Column(Ours("Topic and partition"), "text", 1.6), Column(Ours("Records"), "number", 0.8),
        Column(Ours("Source offsets"), "number", 1.2), Column(Ours("Repeats"), "number", 0.7), Column(Ours("Unread."), "number", 0.7),
        Column(Ours("Skips"), "number", 0.5), Column(Ours("Verified"), "text", 0.8), Column(Ours("Last hash"), "code", 1.4),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            [number(chain.get("chain_no"))],
            [str(chain.get("topic", "")), Ours(" / "), number(chain.get("partition"))],
            [number(chain.get("records"))],
            [_offsets(chain)],
            [number(chain.get("duplicates"))],
            [number(chain.get("poison"))],
            [number(chain.get("skips"))],
            [Mark("good", Ours("yes")) if chain.get("good") else Mark("bad", Ours("no"))],
            [Code(str(chain.get("last_hash") or "none")[:16] + "…")],
        ]
        for chain in chains
    ]
    return Table(
        [
            Ours(
                f"Chains as they were recomputed, whole, in one snapshot taken {when(found.get('taken'))} (UTC)."
            )
        ],
        columns,
        rows,
    )


def _offsets(chain: Object) -> Ours:
    first, last = chain.get("first_offset"), chain.get("last_offset")
    return (
        Ours("none")
        if first is None or last is None or last < first
        else Ours(f"{first:,}\N{EN DASH}{last:,}")
    )


def completeness(document: Object) -> Section | None:
    """From what was sent to what is counted here, with each difference named."""
    account = document.get("completeness")
    if not account:
        return None
    steps: list[tuple[str, Text]] = [
        (Ours(label), _step(account[key])) for key, label in _STEPS.items() if key in account
    ]
    steps += [
        (Ours("of these"), [number(one.get("count")), Ours(" "), str(one.get("what", "")), *cites(one)])
        for one in account.get("of_these") or []
    ]
    missing, explained = losses_of(account), explained_of(account)
    blocks: list[Block] = [Facts(steps), Paragraph([account_mark(account)])]
    if missing:
        blocks += [
            Paragraph([Ours("What is missing:")]),
            Listing([_difference(one) for one in missing]),
        ]
    if explained:
        blocks += [
            Paragraph([Ours("Where the rest is, of which nothing is missing:")]),
            Listing([_difference(one) for one in explained]),
        ]
    return Section("completeness", Ours("Completeness"), blocks)


def losses_of(account: Object) -> list[Any]:
    """Differences that stand for something that is not there, or cannot be explained."""
    return [one for one in account.get("differences") or [] if not _is_explained(one)]


def explained_of(account: Object) -> list[Any]:
    """Differences that say where the rest is."""
    return [one for one in account.get("differences") or [] if _is_explained(one)]


def _is_explained(one: Any) -> bool:
    return isinstance(one, dict) and one.get("explained") is True


def account_mark(account: Object) -> Mark:
    """Whether the account of completeness is balanced, and with how many named items."""
    missing, explained = len(losses_of(account)), len(explained_of(account))
    if missing or not account.get("balanced"):
        left = f"{plural(missing, 'difference')} not explained" if missing else "its numbers do not add up"
        return Mark("bad", Ours(f"Not balanced: {left}"))
    named = f", with {plural(explained, 'named item')}" if explained else ""
    return Mark("good", Ours(f"Balanced{named}: nothing is missing"))


def _step(value: Any) -> Text:
    if isinstance(value, dict) and "numbers" in value:
        numbered, there = int(value.get("numbers") or 0), int(value.get("recorded") or 0)
        return [
            Ours(
                f"{numbered:,} numbers of {plural(int(value.get('sources') or 0), 'source')}, {there:,} of them recorded"
            )
        ]
    return said(value)


def _difference(one: Any) -> Text:
    if isinstance(one, dict):
        told = one.get("sentence") or one.get("text")
        return said(one) if told is None else [Prose(str(told)), *cites(one)]
    return [str(one)]
