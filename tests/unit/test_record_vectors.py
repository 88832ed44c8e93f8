"""The golden vectors and the format page say what the code does, byte for byte."""

import json
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from schemas import commitment, record
from schemas.chain import ChainVerifier
from schemas.enrichment import Header, decode_header, encode_header
from schemas.own_bodies import Close, Duplicate, Genesis, Skip, TimeAnchor, read_own
from schemas.record import GENESIS_PREV, Kind, Record
from schemas.verification.contents import Content
from schemas.verification.links import ChainInfo, Head, Row, or_none

FOLDER = Path(record.__file__).parent
VECTORS = json.loads((FOLDER / "vectors" / "record.json").read_text())
PAGE = (FOLDER / "RECORD_FORMAT.md").read_text()


def named(group):
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: vector["name"])


def raw(text):
    return None if text is None else bytes.fromhex(text)


def typed(kind, fields):
    """Fields with hex as bytes, by the types of a NamedTuple."""
    types = get_type_hints(kind)
    return kind(**{name: raw(value) if types[name] is bytes else value for name, value in fields.items()})


@named("bodies")
def test_a_body_is_encoded_as_in_its_vector(vector):
    headers = [(raw(name), raw(value)) for name, value in vector["headers"]]
    text = [(name.decode("utf-8", "surrogateescape"), value) for name, value in headers]
    body = commitment.encode_body(raw(vector["key"]), raw(vector["value"]), text)
    assert body.hex() == vector["body"]
    assert commitment.decode_body(body) == (raw(vector["key"]), raw(vector["value"]), headers)


@named("commitments")
def test_a_commitment_is_as_in_its_vector(vector):
    commit = {
        "audit-pay/v1": commitment.payload_commitment,
        "audit-enr/v1": commitment.enrichment_commitment,
    }[vector["label"]]
    assert commit(raw(vector["salt"]), raw(vector["bytes"])).hex() == vector["commitment"]


@named("identities")
def test_an_identity_is_hashed_as_in_its_vector(vector):
    source, identifier = vector["source"], vector["id"]
    salted = commitment.event_id(raw(vector["payload_salt"]), source, identifier)
    assert salted.hex() == vector["event_id"]
    assert commitment.producer_id(source).hex() == vector["producer_id"]
    assert commitment.identity_hash(source, identifier) == vector["identity_hash"]
    many = commitment.identities_each([raw(vector["payload_salt"])] * 3, [(source, identifier)] * 3)
    assert [(salted.hex(), number) for salted, number in many] == [
        (vector["event_id"], vector["identity_hash"])
    ] * 3


@named("headers")
def test_a_header_is_encoded_as_in_its_vector(vector):
    header = typed(Header, vector["fields"])
    assert encode_header(header).hex() == vector["header"]
    assert decode_header(raw(vector["header"])) == header


@named("records")
def test_a_record_is_encoded_and_hashed_as_in_its_vector(vector):
    made = typed(Record, vector["fields"])
    leaf = record.encode(made)
    assert leaf.hex() == vector["leaf"]
    assert record.decode(leaf) == made
    assert record.record_hash(leaf).hex() == vector["record_hash"]


@named("records")
def test_the_contents_in_a_vector_are_what_its_record_commits_to(vector):
    made = typed(Record, vector["fields"])
    if vector["body"] is not None:
        assert (
            commitment.payload_commitment(raw(vector["payload_salt"]), raw(vector["body"]))
            == made.payload_commitment
        )
    if vector["enrichment"] is not None:
        enrichment = vector["enrichment"].encode()
        assert (
            commitment.enrichment_commitment(raw(vector["enrichment_salt"]), enrichment)
            == made.enrichment_commitment
        )
    own = {
        Kind.GENESIS: Genesis,
        Kind.SKIP: Skip,
        Kind.CLOSE: Close,
        Kind.DUPLICATE: Duplicate,
        Kind.TIME_ANCHOR: TimeAnchor,
    }.get(made.kind)
    if own is not None:
        read_own(own, raw(vector["body"]))


def test_there_is_a_vector_of_every_kind_and_they_are_one_chain():
    records = VECTORS["records"]
    assert {vector["fields"]["kind"] for vector in records} == {kind.value for kind in Kind}
    hashes = [GENESIS_PREV.hex(), *(vector["record_hash"] for vector in records)]
    assert [vector["fields"]["prev"] for vector in records] == hashes[:-1]


def test_the_vectors_verify_as_a_chain():
    made = [typed(Record, vector["fields"]) for vector in VECTORS["records"]]
    genesis = read_own(Genesis, raw(VECTORS["records"][0]["body"]))
    info = ChainInfo(
        1, made[0].chain_id, genesis.topic, raw(genesis.topic_id), genesis.partition, genesis.cluster_id, None
    )
    rows, contents = [], []
    for one, vector in zip(made, VECTORS["records"], strict=True):
        rows.append(
            Row(
                one.seq,
                one.kind,
                or_none(one.source_offset),
                one.appended_us,
                or_none(one.event_time_us),
                _identity(vector),
                raw(vector["record_hash"]),
                raw(vector["leaf"]),
            )
        )
        enrichment = vector["enrichment"]
        contents.append(
            Content(
                one.seq,
                one.appended_us,
                raw(vector["payload_salt"]),
                raw(vector["body"]),
                raw(vector["enrichment_salt"]),
                None if enrichment is None else enrichment.encode(),
            )
        )
    head = Head(len(rows), rows[-1].record_hash, 17, 1, closed=True)
    verifier = ChainVerifier(info, head)
    verifier.feed(rows, contents)
    assert verifier.finish().findings == []


def _identity(vector):
    if vector["fields"]["kind"] == Kind.EVENT:
        said = json.loads(vector["enrichment"])
        return commitment.identity_hash(said["source"], said["id"])
    if vector["fields"]["kind"] == Kind.OWN_EVENT:
        return commitment.identity_hash("own-event", json.loads(vector["json"])["id"])
    if vector["fields"]["kind"] == Kind.ANNOTATION:
        said = json.loads(vector["json"])
        name = [said[key] for key in ("topic_id", "partition", "offset", "model", "prompt_version", "run")]
        return commitment.identity_hash("annotation", json.dumps(name, separators=(",", ":")))
    return None


@pytest.mark.parametrize("block", ["body", "record", "hash"])
def test_the_worked_example_on_the_format_page_is_the_vector(block):
    text = re.search(rf"^```{block}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE).group(1)
    digits = "".join(re.findall(r"^[0-9a-f ]{1,65}", text, re.MULTILINE)).replace(" ", "")
    vector = VECTORS["records"][1]
    assert f"{len(vector['body']) // 2} bytes" in PAGE
    assert digits == {"body": vector["body"], "record": vector["leaf"], "hash": vector["record_hash"]}[block]


def test_the_format_page_gives_each_field_its_place_and_width():
    rows = re.findall(r"^ *\| (\d+) \| (\d+|…) \| ", PAGE, re.MULTILINE)
    record_rows, header_rows = rows[:16], rows[16:]
    for table, total in ((record_rows, record.RECORD_BYTES), (header_rows[:-1], 216)):
        at = 0
        for start, width in table:
            assert int(start) == at
            at += int(width)
        assert at == total


def test_the_format_page_numbers_its_statements():
    numbers = [int(text) for text in re.findall(r"^(\d+)\. ", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 32
