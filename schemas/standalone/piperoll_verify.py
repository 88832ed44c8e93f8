#!/usr/bin/env python3
"""Checks the proof of one record, an archive, an evidence pack, or any file of an edition, offline:

    python piperoll_verify.py PROOF --policy POLICY [--payload FILE] [--json]
    python piperoll_verify.py ARCHIVE.proof --policy POLICY [--json]        (of `piperoll retain`, beside its archive)
    python piperoll_verify.py evidence.zip --policy POLICY [--edition EDITION-PROOF] [--json]
    python piperoll_verify.py report.html --policy POLICY --edition EDITION-PROOF [--json]

One file, to be read before it is trusted; it needs Python 3.9 or newer and the package `cryptography`. The policy says whose
signatures count (https://c2sp.org/tlog-policy); get it from elsewhere than the proof. With --payload, also checks that the
record holds exactly the bytes of FILE as the value of the message. With --edition, checks every byte of the file against the
hash that the record of its edition holds. Exit status: 0 proved, 1 refused, 2 could not be checked.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import re
import struct
import sys
import zipfile
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any, Collection, Iterator, NamedTuple

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.stderr.write("could not check: the package `cryptography` is missing (pip install cryptography)\n")
    sys.exit(2)

FORMAT, ARCHIVE_FORMAT = "piperoll-proof/v1", "piperoll-archive-proof/v1"
RECORD = struct.Struct(">13sB16sQ32sIqqqBq32s16sQ32s32s")
SEAL, SEALED_CHAIN = struct.Struct(">14sQQI"), struct.Struct(">16sQ32sQ")
ABSENT = -(2**63)
KINDS = ("event", "duplicate", "poison", "skip", "genesis", "close", "annotation", "own-event", "time-anchor")
DATABASE = (
    "Changes by database administrators would be found; changes by whoever holds the signing key and all copies of the "
    "checkpoints might not."
)
WITNESSED = "Changes to records sealed up to {time} would be found against copies held by {names}."
LIMITS = "It says nothing about events that were never sent, nor whether their content is true."


class Refused(Exception):  # noqa: N818 - an outcome, no error
    """The proof does not show what it says."""


class Unchecked(Exception):  # noqa: N818 - an outcome, no error
    """The check could not be made: nothing is known of the proof."""


def require(holds: object, text: str) -> None:
    if not holds:
        raise Refused(text)


# Encodings: each value has one spelling.
def unbase64(text: Any, what: str, length: int | None = None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise Refused(f"{what} is not base64") from None
    require(base64.b64encode(data).decode() == text, f"{what} is base64 in a second spelling")
    require(length is None or len(data) == length, f"{what} has {len(data)} bytes, not {length}")
    return data


def decimal(text: str, what: str) -> int:
    require(re.fullmatch(r"0|[1-9][0-9]{0,18}", text) and int(text) < 2**63, f"{what} is not a number")
    return int(text)


class Key(NamedTuple):
    """A public key: of a log (kind 1), of a cosigner (4, 6)."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]


# Signed notes: text, blank line, signature lines (https://c2sp.org/signed-note).
def read_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text, and (name, key id, signature) of each line below it."""
    require(not re.search("[\x00-\x09\x0b-\x1f]", note), "a note has control characters")
    text, blank, lines = note.rpartition("\n\n")
    require(blank and lines.endswith("\n"), "not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, material = [*line.split(" "), "", ""][:3]
        require(dash == "\u2014" and line.count(" ") == 2 and name_is_good(name), "not a signature line")
        raw = unbase64(material, "a signature")
        require(len(raw) > 4, "a signature is too short")
        signatures.append((name, raw[:4], raw[4:]))
    require(len(signatures) <= 100, "more than 100 signatures")
    return text + "\n", signatures


def name_is_good(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def read_key(vkey: str) -> Key:
    name, _, rest = vkey.partition("+")
    identifier, _, material = rest.partition("+")
    raw = unbase64(material, "the key")
    require(raw and name_is_good(name), "not a verifier key")
    key = Key(name, raw[0], raw[1:])
    require(key.id.hex() == identifier, "the key id does not fit the key")
    require(
        len(key.public) == {1: 32, 4: 32, 6: 1312}.get(key.kind, len(key.public)), "a key of another length"
    )
    return key


def signed_by(note: str, keys: list[Key]) -> dict[Key, int | None]:
    """The keys of `keys` that signed, with the time that a cosigner states (None of a log). A bad signature by one of
    them refuses the whole note."""
    text, signatures = read_note(note)
    found: dict[Key, int | None] = {}
    for name, identifier, value in signatures:
        for key in keys:
            if (name, identifier) == (key.name, key.id):
                found.setdefault(key, check_signature(key, text, value))
    return found


def check_signature(key: Key, text: str, value: bytes) -> int | None:
    name, kind, public = key
    if kind == 1:
        verify_ed25519(name, public, value, text.encode())
        return None
    require(len(value) > 8, f"the cosignature of {name} is too short")
    seconds: int = struct.unpack(">Q", value[:8])[0]
    require(seconds < 2**63, f"the cosignature of {name} has no time")
    if kind == 4:
        verify_ed25519(name, public, value[8:], f"cosignature/v1\ntime {seconds}\n{text}".encode())
    else:
        verify_mldsa(name, public, value[8:], text, seconds)
    return seconds


def verify_ed25519(name: str, public: bytes, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused(f"the signature of {name} is not good") from None


def verify_mldsa(name: str, public: bytes, signature: bytes, text: str, seconds: int) -> None:
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey  # noqa: PLC0415 - not in old versions
    except ImportError:
        raise Unchecked("this version of cryptography has no ML-DSA-44: take a newer one") from None
    origin, size, root = read_checkpoint(text)
    names = [item.encode() for item in (name, origin)]
    require(all(len(item) < 256 for item in names), "a name is too long for ML-DSA-44")
    head = b"subtree/v1\n\0" + bytes([len(names[0])]) + names[0] + struct.pack(">Q", seconds)
    message = head + bytes([len(names[1])]) + names[1] + struct.pack(">QQ", 0, size) + root
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except UnsupportedAlgorithm:
        raise Unchecked("the OpenSSL of cryptography has no ML-DSA-44: take a newer one") from None
    except (InvalidSignature, ValueError):
        raise Refused(f"the cosignature of {name} is not good") from None


def read_checkpoint(text: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    lines = text[:-1].split("\n")
    require(len(lines) >= 3 and all(lines), "a checkpoint has lines for origin, size and root")
    return lines[0], decimal(lines[1], "the size of a checkpoint"), unbase64(lines[2], "a root", 32)


# Merkle trees (RFC 9162 section 2.1).
def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def check_inclusion(leaf: bytes, index: int, size: int, hashes: list[bytes], root: bytes, what: str) -> None:
    node, last, made = index, size - 1, leaf
    require(0 <= index < size, f"{what} is not in a tree of {size}")
    for item in hashes:
        require(last > 0, f"the proof of {what} is too long")
        if node & 1 or node == last:
            made = node_hash(item, made)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            made = node_hash(made, item)
        node, last = node >> 1, last >> 1
    require(last == 0, f"the proof of {what} is too short")
    require(made == root, f"{what} is not in the tree that was signed: it was changed, or never was there")


def read_tlog_proof(text: Any, what: str) -> tuple[int, list[bytes], str]:
    """Index, hashes and checkpoint of a .tlog-proof (https://c2sp.org/tlog-proof); `extra` has no place here."""
    require(isinstance(text, str), f"{what} is missing")
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    good = blank and len(lines) > 1 and lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index ")
    require(good, f"{what} is not a tlog-proof")
    return decimal(lines[1][6:], "an index"), [unbase64(line, "a hash", 32) for line in lines[2:]], note


# Policies (https://c2sp.org/tlog-policy).
class Policy:
    """Logs and witnesses that are trusted; who must have cosigned."""

    def __init__(self, data: bytes) -> None:
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum: str | None = None
        members: set[str] = set()
        for number, line in enumerate(data.decode("latin-1").split("\n"), 1):
            try:
                require(not re.search("[\x00-\x08\x0a-\x1f\x7f]", line), "a control character")
                words = [word for word in re.split("[ \t]+", line) if word]
                if words and not words[0].startswith("#"):
                    self.take(words, members)
            except (Refused, UnicodeDecodeError) as error:
                raise Unchecked(f"line {number} of the policy: {error}") from None
        if self.quorum is None:
            raise Unchecked("the policy has no quorum line")

    def take(self, words: list[str], members: set[str]) -> None:
        what, rest = words[0], words[1:]
        if what == "log" and len(rest) in (1, 2):
            key = read_key(rest[0].encode("latin-1").decode())
            known = [log.public for log in self.logs]
            require(key.kind == 1 and key.public not in known, "not an Ed25519 key, or twice")
            self.logs.append(key)
        elif what == "witness" and len(rest) in (2, 3):
            key = read_key(rest[1].encode("latin-1").decode())
            known = [witness.public for witness in self.witnesses.values()]
            require(key.kind in (4, 6) and key.public not in known, "not the key of a cosigner, or twice")
            self.define(rest[0], self.witnesses, key)
        elif what == "group" and len(rest) > 2:
            names = rest[2:]
            require(all(self.knows(name) for name in names), "an unknown member")
            require(len(set(names)) == len(names) and not members & set(names), "a member of a group twice")
            members.update(names)
            least = {"any": 1, "all": len(names)}.get(rest[1]) or decimal(rest[1], "the threshold")
            require(1 <= least <= len(names), "a threshold that cannot be")
            self.define(rest[0], self.groups, (least, names))
        else:
            require(what == "quorum" and len(rest) == 1 and self.quorum is None, "not a line of a policy")
            require(rest[0] == "none" or self.knows(rest[0]), "an unknown quorum")
            self.quorum = rest[0]

    def define(self, name: str, where: dict[str, Any], what: Any) -> None:
        require(name != "none" and not self.knows(name), f"the name {name} is taken")
        where[name] = what

    def knows(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def is_met(self, names: Collection[str], by: str | None = None) -> bool:
        by = self.quorum if by is None else by
        if by in self.groups:
            least, members = self.groups[by]
            return sum(self.is_met(names, member) for member in members) >= least
        return by == "none" or by in names


# The proof file (PROOF_FORMAT.md).
FIELDS = {"format", "leaf", "payload", "enrichment", "chain_proof", "seal_leaf", "seal_proof"}
ARCHIVE_FIELDS = {"format", "seal_leaf", "seal_proof", "chains"}


def read_proof(data: bytes, form: str = FORMAT, fields: set[str] = FIELDS) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        require(len(dict(pairs)) == len(pairs), "a name stands twice")
        return dict(pairs)

    try:
        proof = json.loads(data.decode("utf-8"), object_pairs_hook=once)
        json.dumps(proof, ensure_ascii=False).encode("utf-8")  # no half characters
    except (ValueError, RecursionError):
        raise Refused("not a proof file: it is not JSON in UTF-8") from None
    require(isinstance(proof, dict) and proof.get("format") == form, f"not a proof file of format {form}")
    require(set(proof) == fields, f"a proof file has the fields {', '.join(sorted(fields))}, and no other")
    return dict(proof)


def check_seal(proof: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """The seal that the policy trusts: (no, time_us, chains by id), the log's origin, times of the cosigners by name."""
    leaf = unbase64(proof["seal_leaf"], "seal_leaf")
    index, hashes, note = read_tlog_proof(proof["seal_proof"], "seal_proof")
    signers = signed_by(note, [*policy.logs, *policy.witnesses.values()])
    origin, size, root = read_checkpoint(read_note(note)[0])
    require(
        any(key.name == origin and key in policy.logs for key in signers),
        "no log of the policy signed the seal",
    )
    check_inclusion(leaf_hash(leaf), index, size, hashes, root, "the seal")
    times = {name: signers[key] for name, key in policy.witnesses.items() if key in signers}
    require(
        policy.is_met(times),
        f"the quorum {policy.quorum!r} is not reached: cosigned by {sorted(times) or 'none'}",
    )
    require(leaf[:14] == b"audit-seal/v1\n" and len(leaf) >= SEAL.size, "seal_leaf is not a seal")
    _, number, time_us, count = SEAL.unpack_from(leaf)
    require(len(leaf) == SEAL.size + count * SEALED_CHAIN.size, "the seal has another length than it says")
    require(number == index, "the seal's number is not its place in the seal log")
    chains = {item[0]: item[1:] for item in SEALED_CHAIN.iter_unpack(leaf[SEAL.size :])}
    return {"no": number, "time_us": time_us, "chains": chains, "origin": origin, "cosigned": times}


def check_chain(
    proof: dict[str, Any], policy: Policy, seal: dict[str, Any]
) -> tuple[tuple[Any, ...], str, int]:
    """The record's fields, and the origin and size of the tree that it is in."""
    leaf = unbase64(proof["leaf"], "leaf", RECORD.size)
    fields = RECORD.unpack(leaf)
    require(fields[0] == b"audit-rec/v1\n", "leaf is not an audit-rec/v1 record")
    index, hashes, note = read_tlog_proof(proof["chain_proof"], "chain_proof")
    origin, size, root = read_checkpoint(read_note(note)[0])
    if not seal["origin"].endswith("/seal"):
        raise Unchecked(f"the log of the policy is {seal['origin']}; the name of a seal log ends in /seal")
    base, tail = seal["origin"][: -len("/seal")], fields[2].hex()[:16]
    require(
        re.fullmatch(re.escape(base) + rf"/[^/]+/[0-9]+/{tail}", origin),
        f"{origin} is not the chain's origin",
    )
    # The policy names each key once, under the seal log's name; a chain is signed by the same key under its own.
    keys = [Key(origin, 1, log.public) for log in policy.logs]
    require(signed_by(note, keys), "no key of the policy signed the chain's checkpoint")
    check_inclusion(leaf_hash(leaf), index, size, hashes, root, "the record")
    require(index == fields[3], "the record's number is not its place in the tree")
    sealed = seal["chains"].get(fields[2])
    require(sealed is not None, "the seal does not list the chain of the record")
    require(
        sealed[:2] == (size, root), "the seal lists the chain with another size or root than its checkpoint"
    )
    return fields, origin, size


def open_content(part: Any, label: bytes, commitment: bytes, name: str, inner: str) -> bytes | None:
    """The bytes that a record commits to; None where the proof leaves them out."""
    if part is None:
        return None
    require(
        isinstance(part, dict) and set(part) == {"salt", inner}, f"{name} has the fields salt and {inner}"
    )
    salt, data = unbase64(part["salt"], f"the salt of {name}", 32), unbase64(part[inner], inner)
    made = hashlib.sha256(label + salt + data).digest()
    require(made == commitment, f"the {name} is not what the record commits to: it or its salt was changed")
    return data


# Archives (PROOF_FORMAT.md 6): all records of a range of each chain, and the hashes around them.
COLUMNS = (("kind", 1), ("seq", 3), ("appended_us", 6), ("source_offset", 7), ("event_time_us", 10))


def range_root(
    low: int, high: int, span: tuple[int, int], leaves: Iterator[bytes], hashes: Iterator[bytes]
) -> bytes:
    """The hash over leaves low to high, of which those of the span come from the archive, all others from the proof."""
    if high <= span[0] or low >= span[1]:
        outside = next(hashes, None)
        require(outside, "the proof has too few hashes")
        return outside or b""
    if high - low == 1:
        leaf = next(leaves, None)
        require(leaf, f"the archive ends before record {low}")
        return leaf or b""
    middle = low + (1 << ((high - low - 1).bit_length() - 1))
    left = range_root(low, middle, span, leaves, hashes)
    return node_hash(left, range_root(middle, high, span, leaves, hashes))


def archived_lines(path: str) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise Unchecked(f"{path} cannot be read to its end: {error!r}") from None


class Archive:
    """Goes through the lines once; `take` gives the leaf hashes of one range. Counts what it has seen."""

    def __init__(self, path: str) -> None:
        self.lines = archived_lines(path)
        self.records = self.payloads = self.enrichments = 0

    def take(self, chain_id: bytes, first: int, end: int) -> Iterator[bytes]:
        for seq in range(first, end):
            line = next(self.lines, None)
            require(line is not None, f"the archive ends before record {seq} of chain {chain_id.hex()}")
            yield self.leaf_of(line, chain_id, seq)

    def leaf_of(self, line: Any, chain_id: bytes, seq: int) -> bytes:
        """The leaf hash of a line that says what its leaf says and commits to."""
        try:
            leaf = bytes.fromhex(line["leaf"])
            require(len(leaf) == RECORD.size, f"record {seq} is not a record")
            fields = RECORD.unpack(leaf)
            require(
                fields[2:4] == (chain_id, seq),
                f"record {seq} of chain {chain_id.hex()} is not where it belongs",
            )
            for name, at in COLUMNS:
                said = ABSENT if line[name] is None else line[name]
                require(said == fields[at], f"{name} of record {seq} is not what its leaf says")
            contents = (
                ("payload_salt", "body", b"audit-pay/v1\n", 14),
                ("enrichment_salt", "enrichment", b"audit-enr/v1\n", 15),
            )
            for salt, data, label, at in contents:
                if line[data] is not None:
                    made = hashlib.sha256(
                        label + bytes.fromhex(line[salt]) + unbase64(line[data], data)
                    ).digest()
                    require(
                        made == fields[at], f"the {data} of record {seq} is not what the record commits to"
                    )
            self.payloads += line["body"] is not None
            self.enrichments += line["enrichment"] is not None
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"record {seq} is not a line of an archive: {error!r}") from None
        self.records += 1
        return leaf_hash(leaf)


def check_archive(path: str, policy_data: bytes) -> dict[str, Any]:
    """All that the proof beside an archive shows. Raises Refused or Unchecked."""
    if path.endswith(".parquet"):
        raise Unchecked(
            "this file reads JSON lines: check a Parquet archive with `piperoll verify --archive FILE --alone`"
        )
    policy = Policy(policy_data)
    proof = read_proof(read_file(path + ".proof"), ARCHIVE_FORMAT, ARCHIVE_FIELDS)
    seal, archive, chains = check_seal(proof, policy), Archive(path), {}
    require(isinstance(proof["chains"], list) and proof["chains"], "the proof names no chain")
    for item in proof["chains"]:
        good = isinstance(item, dict) and set(item) == {"chain_id", "first", "end", "hashes"}
        require(good and isinstance(item["hashes"], list), "a range of the proof has other fields")
        chain_id, first, end = item["chain_id"], item["first"], item["end"]
        require(
            type(first) is int and type(end) is int and isinstance(chain_id, str),
            "a range of the proof has other fields",
        )
        require(
            re.fullmatch("[0-9a-f]{32}", chain_id) and chain_id not in chains, "no chain id, or one twice"
        )
        sealed = seal["chains"].get(bytes.fromhex(chain_id))
        require(
            sealed and 0 <= first < end <= sealed[0],
            f"the seal does not cover records {first} to {end} of chain {chain_id}",
        )
        leaves = archive.take(bytes.fromhex(chain_id), first, end)
        hashes = iter([unbase64(text, "a hash", 32) for text in item["hashes"]])
        root = range_root(0, sealed[0], (first, end), leaves, hashes)
        require(next(hashes, None) is None, "the proof has too many hashes")
        require(
            root == sealed[1],
            f"the records of chain {chain_id} are not those that were sealed: one was changed",
        )
        chains[chain_id] = {"first": first, "last": end - 1}
    require(next(archive.lines, None) is None, "the archive has more records than the proof shows")
    return {
        "result": "proved",
        "records": archive.records,
        "payloads": archive.payloads,
        "enrichments": archive.enrichments,
        "chains": chains,
        "log": seal["origin"],
        "seal": seal["no"],
        "sealed_at": told_time(seal["time_us"]),
        "cosigned": {name: told_time(seconds * 10**6) for name, seconds in sorted(seal["cosigned"].items())},
    }


def archive_sentences(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    spans = [f"{item['first']} to {item['last']} of chain {name}" for name, item in found["chains"].items()]
    where = f"as they were sealed at {found['sealed_at']} (seal {found['seal']} of {found['log']}, the log's own clock)"
    proved = [
        f"The {found['records']:,} records are all of {'; '.join(spans)}, {where}: none is missing, none was changed.",
        f"{found['payloads']:,} payloads and {found['enrichments']:,} enrichments are byte for byte what was recorded.",
    ]
    if found["cosigned"]:
        names, first = ", ".join(found["cosigned"]), min(found["cosigned"].values())
        proved.append(WITNESSED.format(time=first, names=names))
    else:
        proved.append(DATABASE)
    gone = found["records"] - found["payloads"]
    unproved = [f"{gone:,} payloads are not in the archive: what these said is not shown."] if gone else []
    return proved, [*unproved, "All times are what the log, the writer or the sender said.", LIMITS]


def value_of(body: bytes) -> bytes | None:
    """The message's value: opt(key) opt(value) …, opt = 00 | 01 u32 bytes; None for a null."""
    at = 0
    for _ in range(2):
        require(body[at : at + 1] in (b"\0", b"\1"), "the payload is not a body")
        length = struct.unpack(">I", body[at + 1 : at + 5])[0] if body[at] else None
        start, at = at + 5, at + 1 if length is None else at + 5 + length
        require(at <= len(body), "the payload ends too soon")
    return None if length is None else body[start:at]


def moment(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=us)).isoformat()


def told_time(us: int) -> str:
    try:
        return moment(us)
    except OverflowError:
        return f"{us} µs since 1970"


def check(data: bytes, policy_data: bytes, wanted: bytes | None = None) -> dict[str, Any]:
    """All that the proof shows, as a dictionary. Raises Refused or Unchecked."""
    policy = Policy(policy_data)
    proof = read_proof(data)
    seal = check_seal(proof, policy)
    fields, origin, size = check_chain(proof, policy, seal)
    _, kind, chain_id, seq, _, _, appended_us, offset, _, _, event_us, *_, payload_hash, enrichment_hash = (
        fields
    )
    body = open_content(proof["payload"], b"audit-pay/v1\n", payload_hash, "payload", "body")
    said = open_content(proof["enrichment"], b"audit-enr/v1\n", enrichment_hash, "enrichment", "json")
    value = None if body is None else value_of(body)
    if wanted is not None:
        if body is None:
            raise Unchecked("the proof holds no payload, so FILE cannot be compared: ask for a proof with it")
        require(value == wanted, "the record's payload is another than FILE")
    return {
        "result": "proved",
        "kind": KINDS[kind - 1] if 1 <= kind <= len(KINDS) else f"kind {kind}",
        "chain": origin,
        "chain_id": chain_id.hex(),
        "seq": seq,
        "record_hash": leaf_hash(base64.b64decode(proof["leaf"])).hex(),
        "source_offset": None if offset == ABSENT else offset,
        "appended_at": told_time(appended_us),
        "event_time": None if event_us == ABSENT else told_time(event_us),
        "sealed_at": told_time(seal["time_us"]),
        "seal": seal["no"],
        "sealed_size": size,
        "cosigned": {name: told_time(seconds * 10**6) for name, seconds in sorted(seal["cosigned"].items())},
        "payload": None if body is None else "as recorded",
        "value_sha256": None if value is None else hashlib.sha256(value).hexdigest(),
        "same_as_file": None if wanted is None else True,
        "enrichment": None if said is None else "as recorded",
    }


def sentences(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What was proved, then what was not, in plain words."""
    where = f"Record {found['seq']} ({found['kind']}) stands in the chain {found['chain']}, as it was when the first "
    when = f"{found['sealed_size']:,} records were sealed at {found['sealed_at']} (seal {found['seal']}, the log's own clock)."
    said = f"It says: source offset {found['source_offset']}, event time {found['event_time']}, appended at {found['appended_at']}."
    proved = [where + when, said]
    if found["payload"]:
        proved.append("The payload in the proof is byte for byte what was recorded.")
    if found["same_as_file"]:
        proved.append("The message's value is byte for byte the file.")
    if found["enrichment"]:
        proved.append("The enrichment in the proof is what was recorded.")
    if found["cosigned"]:
        names, first = ", ".join(found["cosigned"]), min(found["cosigned"].values())
        proved += [f"Cosigned by {name} at {time}." for name, time in found["cosigned"].items()]
        proved.append(WITNESSED.format(time=first, names=names))
    else:
        proved.append(DATABASE)
    missing = [name for name in ("payload", "enrichment") if not found[name]]
    unproved = [
        f"The proof holds no {name}: what it said is not shown, only that it was fixed." for name in missing
    ]
    if not found["cosigned"]:
        unproved.append(
            "No witness of the policy cosigned: that others were shown the same log is not known."
        )
    return proved, [*unproved, "All times are what the log, the writer or the sender said.", LIMITS]


# Evidence packs and files of an edition.
PACK_FORMAT, TRAILER, DIGITS = "piperoll-pack/v1", b"piperoll-pack/v1 sha256:", 64
EDITION = ("piperoll.report.edition", "piperoll.report.files")
"""Own events that hold an edition's hash; the second also those of the files that somebody got."""
OTHER = "other_than_edition"
"""Key of a report that was made again and is not the edition."""


def hashed(file: IO[bytes], size: int = -1) -> str:
    """SHA-256 of the next `size` bytes of a file, of all of them without a size."""
    digest = hashlib.sha256()
    while size:
        piece = file.read(2**20 if size < 0 else min(size, 2**20))
        if not piece:
            break
        digest.update(piece)
        size -= len(piece) if size > 0 else 0
    return digest.hexdigest()


def check_edition(path: str, proof: bytes, policy: bytes) -> dict[str, Any]:
    """That the record of an edition holds the hash of this file."""
    record = check(proof, policy)
    require(
        re.search(r"\.system/[0-9]+/[0-9a-f]{16}$", record["chain"]),
        "the record is not one of Piperoll's own events (audit.system)",
    )
    payload = json.loads(proof)["payload"]
    if payload is None:
        raise Unchecked("the proof of the edition holds no payload: ask for one with it")
    try:
        event = json.loads(value_of(base64.b64decode(payload["body"])) or b"")
        said = event["data"]
        edition, whole, known = (
            said["edition"],
            said["sha256"],
            {said["sha256"]: "the edition itself, as JSON"},
        )
        known.update({item["sha256"]: item["name"] for item in said.get("files", [])})
        require(event["type"] in EDITION, "the record is not that of an edition")
        own = whole if said.get("detail", "full") == "full" else None
        documents = [item["sha256"] for item in said.get("files", []) if item["name"] == "report.json"]
        require(
            own is None or set(documents) <= {own},
            "the record's report.json is not the edition that it names",
        )
    except (ValueError, TypeError, KeyError):
        raise Refused("the record is not that of an edition") from None
    with Path(path).open("rb") as file:
        found = hashed(file)
    require(found in known, f"the file is not as it was recorded: its SHA-256 is {found}")
    if own is not None and is_pack(path):
        require(document_in(path) == own, "the pack's report.json is not the edition that the record names")
    told = {name: record[name] for name in ("chain", "seq", "sealed_at", "seal", "cosigned")}
    return {
        "edition": edition,
        "edition_sha256": whole,
        "detail": said.get("detail", "full"),
        "file": known[found],
        "sha256": found,
        **told,
    }


def document_in(path: str) -> str:
    """SHA-256 of the document in a pack."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("report/report.json") as file:
            return hashed(file)
    except (zipfile.BadZipFile, KeyError, NotImplementedError):
        raise Refused(f"not a pack of format {PACK_FORMAT}") from None


def read_manifest(archive: zipfile.ZipFile) -> dict[str, dict[str, Any]]:
    """The files that a pack says it has, by name; they are all that it has."""
    names = archive.namelist()
    require(
        len(set(names)) == len(names) and "manifest.json" in names,
        "the pack has no manifest, or a name twice",
    )
    manifest = json.loads(archive.read("manifest.json"))
    require(manifest["format"] == PACK_FORMAT, f"not a pack of format {PACK_FORMAT}")
    files = {item["name"]: item for item in manifest["files"]}
    require(
        len(files) == len(manifest["files"]) and {*files, "manifest.json"} == set(names),
        "the manifest lists other files than the pack has",
    )
    require(
        files["report/report.json"]["sha256"] == manifest["sha256"],
        "the edition is another than the manifest says",
    )
    return files


def check_pack(path: str, policy: bytes) -> dict[str, Any]:
    """That every byte of a pack is as it was made, and that the records that its report names are under signed checkpoints."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as whole:
        made = hashed(whole, max(size - DIGITS, 0))
        require(whole.read() == made.encode(), "the pack was changed after it was made")
    proved = 0
    try:
        with zipfile.ZipFile(path) as archive:
            require(archive.comment == TRAILER + made.encode(), f"not a pack of format {PACK_FORMAT}")
            files = read_manifest(archive)
            for name, item in files.items():
                with archive.open(name) as file:
                    require(hashed(file) == item["sha256"], f"{name} is not the file that the manifest lists")
            report = json.loads(archive.read("report/report.json"))
            for one in report["cited"]:
                proof = f"proofs/{one['record'].replace(':', '-')}.piperoll-proof"
                if proof in files:
                    found = check(archive.read(proof), policy)["record_hash"]
                    require(found == one["hash"], f"record {one['record']} is not the one that was sealed")
                    proved += 1
            attached = {item["sha256"] for name, item in files.items() if name.startswith("events/")}
            listed = {item["sha256"] for item in report.get("attachments", [])}
            require(attached <= listed, "the pack holds events that the report does not list")
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError):
        raise Refused(f"not a pack of format {PACK_FORMAT}") from None
    return {
        "files": len(files) + 1,
        "cited": len(report["cited"]),
        "proved": proved,
        "other": OTHER in report,
    }


def run_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """A pack, or a file with the proof of its edition."""
    policy = read_file(arguments.policy)
    found: dict[str, Any] = {"result": "proved"}
    unproved = ["All times are what the log, the writer or the sender said.", LIMITS]
    proved = []
    if arguments.edition is not None:
        edition = check_edition(arguments.proof, read_file(arguments.edition), policy)
        found["edition"] = edition
        shown = "" if edition["detail"] == "full" else f" in a copy with less detail ({edition['detail']})"
        proved.append(
            f"The file is byte for byte {edition['file']} of edition {edition['edition']} (SHA-256 {edition['edition_sha256']}){shown}, as recorded in record "
            f"{edition['seq']} of {edition['chain']} and sealed at {edition['sealed_at']} (seal {edition['seal']}, the log's own clock)."
        )
    if is_pack(arguments.proof):
        pack = check_pack(arguments.proof, policy)
        found["pack"] = pack
        proved.append(f"The pack's {pack['files']} files are as they were made.")
        proved.append(
            f"{pack['proved']:,} of the {pack['cited']:,} records that the report names are under signed checkpoints."
        )
        if pack["proved"] < pack["cited"]:
            unproved.insert(
                0,
                f"{pack['cited'] - pack['proved']:,} records that the report names have no proof in the pack.",
            )
        if pack["other"]:
            unproved.insert(0, "The report says itself that it is not the edition: made again, and other.")
        if arguments.edition is None:
            unproved.insert(
                0, "Whether this is the pack that was recorded: give the proof of its edition with --edition."
            )
    return {**found, "proved": proved, "not_proved": unproved}


def read_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unchecked(f"{path}: {error.strerror}") from None


def is_pack(path: str) -> bool:
    return path.endswith(".zip") or zipfile.is_zipfile(path)


def is_of_archive(path: str) -> bool:
    """Whatever the name, a file that says that it is the proof of a record is taken for one."""
    return path.endswith(".proof") and b'"' + FORMAT.encode() + b'"' not in read_file(path)


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str], int]:
    try:
        status = 0
        if arguments.edition is not None or is_pack(arguments.proof):
            found = run_files(arguments)
        elif is_of_archive(arguments.proof):
            found = check_archive(arguments.proof[: -len(".proof")], read_file(arguments.policy))
            found["proved"], found["not_proved"] = archive_sentences(found)
        else:
            wanted = None if arguments.payload is None else read_file(arguments.payload)
            found = check(read_file(arguments.proof), read_file(arguments.policy), wanted)
            found["proved"], found["not_proved"] = sentences(found)
        proved, unproved = found["proved"], found["not_proved"]
        lines = [
            "PROVED",
            *(f"  {line}" for line in proved),
            "NOT PROVED",
            *(f"  {line}" for line in unproved),
        ]
    except Refused as error:
        found, lines, status = {"result": "refused", "why": str(error)}, [f"REFUSED: {error}"], 1
    return found, lines, status


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proof", metavar="PROOF", help="a proof, an evidence pack, or a file of an edition")
    parser.add_argument("--policy", required=True)
    parser.add_argument("--payload", metavar="FILE")
    parser.add_argument("--edition", metavar="EDITION-PROOF")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        found, lines, status = run(arguments)
    except (Unchecked, OSError) as error:
        found, lines, status = {"result": "unchecked", "why": str(error)}, [f"COULD NOT CHECK: {error}"], 2
    text = json.dumps(found, indent=1) if arguments.json else "\n".join(lines)
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
