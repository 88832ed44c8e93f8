"""Where the right bytes may still be: audit.enriched, an export, published entry bundles, the database itself.

A source only proposes: what is put back is decided by the hashes, in the database.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.commitment import (
    decode_body,
    encode_body,
    enrichment_commitment,
    identity_hash,
    payload_commitment,
)
from schemas.enrichment import Header, add_writer_tags, decode_header
from schemas.own_events import EventPlace
from schemas.record import RECORD_BYTES, Kind, Record, decode
from schemas.topics import PIPEROLL_HEADER
from schemas.verification.contents import read_named
from services.cli.restoration.damage import Damaged, What
from services.common.errors import ConfigurationError
from services.reporter.archive import read_lines

WRITER_TAGS: tuple[list[str], ...] = (["identity:conflict"],)
"""Tags that the writer may have added to an enrichment before it committed to it."""
BUNDLE = 256


class Spare(NamedTuple):
    """Bytes for one damaged record."""

    leaf: bytes | None = None
    identity_hash: int | None = None
    salt: bytes | None = None
    body: bytes | None = None
    enrich_salt: bytes | None = None
    enrich: bytes | None = None


Spares = dict[tuple[int, int, What], Spare]
"""By chain number, seq and what of the record."""


class ChainName(NamedTuple):
    """What finds a chain's messages and files."""

    chain_no: int
    chain_id: bytes
    topic: str
    topic_id: bytes
    partition: int


def from_messages(
    messages: Iterable[Any], wanted: Mapping[EventPlace, Sequence[tuple[int, Record]]]
) -> Spares:
    """Payloads out of audit.enriched, where salts and enrichment travel in the header; `wanted` maps places in
    audit.events to (chain number, the record as it commits)."""
    found: Spares = {}
    for message in messages:
        header = _header(message)
        if header is None:
            continue
        for chain_no, record in wanted.get(EventPlace(header.topic_id, header.partition, header.offset), ()):
            spare = _fitting(message, header, record)
            if spare is not None:
                found[chain_no, record.seq, "payload"] = spare
    return found


def _header(message: Any) -> Header | None:
    if not message.headers or message.headers[-1][0] != PIPEROLL_HEADER:
        return None
    try:
        return decode_header(message.headers[-1][1] or b"")
    except ValueError:
        return None


def _fitting(message: Any, header: Header, record: Record) -> Spare | None:
    body = encode_body(message.key, message.value, message.headers[:-1])
    if payload_commitment(header.payload_salt, body) != record.payload_commitment:
        return None
    for enrich in (header.enrichment, *(add_writer_tags(header.enrichment, tags) for tags in WRITER_TAGS)):
        if enrichment_commitment(header.enrichment_salt, enrich) == record.enrichment_commitment:
            return Spare(
                salt=header.payload_salt, body=body, enrich_salt=header.enrichment_salt, enrich=enrich
            )
    return None


def from_export(path: Path, chains: Mapping[str, int], wanted: set[Damaged]) -> Spares:
    """Leaves and payloads out of a `piperoll export` or an archive; `chains` maps chain ids (hex) to their numbers.
    Raises ConfigurationError where the file is none."""
    found: Spares = {}
    for line in read_lines(path):
        try:
            found |= _exported(line, chains, wanted)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path} is no export of records: {error!r}") from error
    return found


def _exported(line: dict[str, Any], chains: Mapping[str, int], wanted: set[Damaged]) -> Spares:
    chain_no, seq = chains.get(line["chain_id"]), line["seq"]
    found: Spares = {}
    if chain_no is None:
        return found
    if Damaged(chain_no, seq, "leaf") in wanted:
        found[chain_no, seq, "leaf"] = Spare(bytes.fromhex(line["leaf"]), line["identity_hash"])
    if Damaged(chain_no, seq, "payload") in wanted and line["payload_salt"] is not None:
        enrich_salt = line["enrichment_salt"]
        found[chain_no, seq, "payload"] = Spare(
            salt=bytes.fromhex(line["payload_salt"]),
            body=_base64(line["body"]),
            enrich_salt=None if enrich_salt is None else bytes.fromhex(enrich_salt),
            enrich=_base64(line["enrichment"]),
        )
    return found


def _base64(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def from_entries(folder: Path, chain: ChainName, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(seq, leaf) out of the published entry bundles of a chain: `<topic>/<partition>/<chain id, 16 digits>/tile/entries`."""
    prefix = folder / chain.topic / str(chain.partition) / chain.chain_id.hex()[:16] / "tile" / "entries"
    bundles: dict[int, list[bytes]] = {}
    for seq in numbers:
        n, at = divmod(seq, BUNDLE)
        if n not in bundles:
            bundles[n] = _read_bundle(prefix, n)
        if at < len(bundles[n]) and len(bundles[n][at]) == RECORD_BYTES:
            yield seq, bundles[n][at]


def _read_bundle(prefix: Path, n: int) -> list[bytes]:
    """The full bundle, else the widest partial one."""
    digits = f"{n:0{-(-len(str(n)) // 3) * 3}d}"
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = prefix.joinpath(*(f"x{group}" for group in groups[:-1]), groups[-1])
    partial = path.with_name(f"{path.name}.p")
    if path.is_file():
        chosen = path
    elif partial.is_dir() and (
        widths := [int(file.name) for file in partial.iterdir() if file.name.isdigit()]
    ):
        chosen = partial / str(max(widths))
    else:
        return []
    data, entries, at = chosen.read_bytes(), [], 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return entries


def identity_of(leaf: bytes, body: bytes | None, enrich: bytes | None) -> int | None:
    """The identity_hash column of a record, which no hash binds, made again from its payload; None where that does not
    tell."""
    kind = decode(leaf).kind
    try:
        if kind == Kind.EVENT and enrich is not None:
            named = read_named(enrich)
            return identity_hash(named.source, named.id)
        if kind in (Kind.ANNOTATION, Kind.OWN_EVENT) and body is not None:
            said = json.loads(decode_body(body).value or b"")
            name = [str(said.get(key, "")) for key in ("topic_id", "model", "prompt_version", "run")]
            listed = [name[0].lower(), said.get("partition"), said.get("offset"), *name[1:]]
            text = json.dumps(listed, separators=(",", ":"), ensure_ascii=False)
            own = ("own-event", str(said.get("id")))
            return identity_hash(*(own if kind == Kind.OWN_EVENT else ("annotation", text)))
    except (ValueError, AttributeError):
        return None
    return None
