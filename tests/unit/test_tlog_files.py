"""Tiles, bundles, proofs, policies and the witness protocol read and write as their specifications say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tlog import base64
from schemas.tlog.checkpoint import Checkpoint, sign_checkpoint
from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from schemas.tlog.note import Signer, Verifier, open_note, split_note
from schemas.tlog.policy import parse_policy
from schemas.tlog.proof import TlogProof, decode_proof, verify_proof
from schemas.tlog.tiles import (
    Tile,
    decode_bundle,
    encode_bundle,
    entries_path,
    subtrees,
    tile_path,
    tree_tiles,
)
from schemas.tlog.witness import (
    AddCheckpoint,
    decode_request,
    encode_cosignatures,
    encode_size,
    read_cosignatures,
    read_size,
)
from tests.tlog_vectors import vectors

LOG = Signer("example.com/log", bytes(32))
WITNESSES = [CosignatureSigner(f"witness.example.com/w{n}", bytes([n]) * 32) for n in range(1, 6)]
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]


def read_tile(level, n):
    """The hashes of a tile of LEAVES, also of a partial one."""
    span = 256**level
    parts = []
    for at in range(n * 256, min((n + 1) * 256, len(LEAVES) // span)):
        part = Frontier()
        part.extend(LEAVES[at * span : (at + 1) * span])
        parts.append(part.root())
    return b"".join(parts)


@pytest.mark.parametrize(("n", "path"), vectors("tiles")["index_path"].items())
def test_official_tile_paths_are_ours(n, path):
    assert tile_path(0, int(n)) == f"tile/0/{path}"
    assert entries_path(int(n), 5) == f"tile/entries/{path}.p/5"


def test_official_trees_have_their_tiles():
    assert [tile.path() for tile in tree_tiles(256)] == vectors("tiles")["size_256"]
    known, tiles = vectors("tiles")["size_70000"], list(tree_tiles(70_000))
    assert len([tile for tile in tiles if tile.level == 0 and tile.width == 256]) == known["full_level0"]
    assert len([tile for tile in tiles if tile.level == 1 and tile.width == 256]) == known["full_level1"]
    assert [tile.path() for tile in tiles if tile.width < 256] == known["partial"]


@given(st.integers(0, 200_000), st.integers(0, 5_000))
def test_the_tiles_of_two_steps_are_those_of_the_larger_tree_but_for_old_partial_ones(old, more):
    before, after = set(tree_tiles(old)), set(tree_tiles(old + more))
    assert set(tree_tiles(old + more, old)) == after - before
    assert all(tile.width < 256 for tile in before - after)


def test_tiles_that_cannot_be_have_no_path():
    for tile in (Tile(64, 0), Tile(0, -1), Tile(0, 0, 0), Tile(0, 0, 257)):
        with pytest.raises(ValueError, match="no tile"):
            tile.path()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_a_bundle_reads_back(entries):
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for wrong, width in ((data[:-1], len(entries)), (data, len(entries) + 1), (data + b"\0", len(entries))):
        with pytest.raises(MalformedError):
            decode_bundle(wrong, width)


def test_a_bundle_that_cannot_be_is_not_made():
    for entries in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(ValueError, match=r"bundle|entry"):
            encode_bundle(entries)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000])
def test_proofs_from_tiles_hold(size):
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    subtree = subtrees(read_tile)
    for index in {0, size // 3, size - 1}:
        proof = inclusion_proof(index, size, subtree)
        verify_inclusion(LEAVES[index], index, size, proof, frontier.root())
    for old in {1, size // 2 + 1, size}:
        part = Frontier()
        part.extend(LEAVES[:old])
        proof = consistency_proof(old, size, subtree)
        verify_consistency(old, size, proof, part.root(), frontier.root())


def test_a_tile_with_too_few_hashes_is_refused():
    with pytest.raises(MalformedError, match=r"tile/0/000 does not have hashes 4 to 7"):
        subtrees(lambda level, n: bytes(32 * 6))(2, 1)


@pytest.mark.parametrize("case", vectors("tlog_proof")["marshal"], ids=lambda case: case["desc"])
def test_official_proofs_read_and_write(case):
    extra = None if case["extra_hex"] is None else bytes.fromhex(case["extra_hex"])
    hashes = tuple(bytes.fromhex(item) for item in case["hashes_hex"])
    made = TlogProof(case["index"], hashes, case["checkpoint"].encode(), extra)
    assert made.encode().decode() == case["file"]
    assert decode_proof(case["file"].encode()) == made


@pytest.mark.parametrize("file", vectors("tlog_proof")["must_reject"])
def test_official_bad_proofs_are_refused(file):
    with pytest.raises(MalformedError):
        decode_proof(file.encode())


def made_proof(index=5, size=21):
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    note = sign_checkpoint(Checkpoint(LOG.name, size, frontier.root()), [LOG])
    hashes = inclusion_proof(index, size, subtrees(read_tile))
    return TlogProof(index, tuple(hashes), note)


def test_a_proof_holds_for_its_leaf_only():
    proof = decode_proof(made_proof().encode())
    assert verify_proof(proof, LEAVES[5], LOG.verifier).checkpoint.size == 21
    with pytest.raises(VerificationError):
        verify_proof(proof, LEAVES[6], LOG.verifier)


@given(st.data())
def test_a_proof_with_any_changed_byte_is_refused(data):
    file = bytearray(made_proof().encode())
    file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedError, VerificationError)):
        verify_proof(decode_proof(bytes(file)), LEAVES[5], LOG.verifier)


def policy_text(*rest):
    keys = [f"witness W{n} {key.verifier.vkey()} https://w{n}.example" for n, key in enumerate(WITNESSES, 1)]
    return "\n".join([f"  log\t{LOG.verifier.vkey()}", "# a comment", "", *keys, *rest, ""]).encode()


@pytest.mark.parametrize(
    ("rest", "enough", "too_few"),
    [
        (["quorum none"], [""], []),
        (["quorum W2"], ["2", "12"], ["", "13"]),
        (["group g any W1 W2", "quorum g"], ["1", "2"], ["", "345"]),
        (["group g all W1 W2", "quorum g"], ["12", "123"], ["1", "2", "345"]),
        (["group g 2 W1 W2 W3", "quorum g"], ["12", "13", "23"], ["1", "145"]),
        (
            ["group x 2 W1 W2 W3", "group y any W4 W5", "group b all x y", "quorum b"],
            ["124", "235"],
            ["123", "145"],
        ),
    ],
)
def test_a_quorum_is_reached_by_enough_witnesses(rest, enough, too_few):
    policy = parse_policy(policy_text(*rest))
    assert [log.name for log in policy.logs] == [LOG.name]
    checkpoint = Checkpoint(LOG.name, 0, Frontier().root())
    signed, text = sign_checkpoint(checkpoint, [LOG]), checkpoint.text()
    for numbers in [*enough, *too_few]:
        lines = "".join(WITNESSES[int(number) - 1].cosign(text, 7).line() for number in numbers)
        note = open_note(signed + lines.encode(), [LOG.verifier, *policy.witnesses.values()])
        if numbers in enough:
            assert policy.check(note) == {f"W{number}" for number in numbers}
        else:
            with pytest.raises(VerificationError, match="quorum"):
                policy.check(note)


@pytest.mark.parametrize(
    "rest",
    [
        [],
        ["quorum none", "quorum none"],
        ["quorum W6"],
        ["quorum g", "group g any W1"],
        ["group g any", "quorum g"],
        ["group g 0 W1", "quorum g"],
        ["group g 3 W1 W2", "quorum g"],
        ["group g 01 W1 W2", "quorum g"],
        ["group g any W1 W1", "quorum g"],
        ["group g any W1", "group h any W1", "quorum g"],
        ["group W1 any W2", "quorum W1"],
        ["group none any W2", "quorum none"],
        ["group g any none", "quorum g"],
        ["group g any g", "quorum g"],
        ["log " + LOG.renamed("example.com/other").verifier.vkey(), "quorum none"],
        ["log " + WITNESSES[0].verifier.vkey(), "quorum none"],
        ["witness L " + LOG.verifier.vkey(), "quorum none"],
        ["witness again " + WITNESSES[0].verifier.vkey(), "quorum none"],
        ["log", "quorum none"],
        ["quorum"],
        ["Quorum none"],
        ["quorum none\r"],
        ["quorum none more"],
    ],
)
def test_a_policy_that_the_specification_does_not_allow_is_refused(rest):
    with pytest.raises(MalformedError):
        parse_policy(policy_text(*rest))


def test_names_in_a_policy_are_octets():
    policy = parse_policy(policy_text("group gr\u00fc\u00df\u212a any W1", "quorum gr\u00fc\u00df\u212a"))
    assert policy.is_met({"W1"})


def test_official_witness_requests_read_where_they_can_be_read():
    known = vectors("witness_add_checkpoint")
    log = Verifier.from_vkey(known["log_vkey"])
    for case in known["requests_in_order"]:
        body = case["body"].encode()
        if case["log_signature"] == "log signature valid":
            request = decode_request(body)
            assert request.encode() == body
            assert open_note(request.checkpoint, [log])
    unreadable = [case for case in known["requests_in_order"] if "\n\n\u2014" not in case["body"]]
    assert unreadable
    for case in unreadable:
        with pytest.raises(MalformedError):
            decode_request(case["body"].encode())


def test_the_official_consistency_proofs_of_witness_requests_are_judged_as_the_witness_did():
    known = vectors("witness_add_checkpoint")
    states = {}
    for case in known["requests_in_order"]:
        if case["log_signature"] != "log signature valid" or case["status"] not in (200, 422):
            continue
        request = decode_request(case["body"].encode())
        _, size, root = split_note(request.checkpoint)[0].split("\n")[:3]
        root, size = base64.decode(root), int(size)
        if request.old_size == 0:
            states[size] = root
        elif case["status"] == 200:
            verify_consistency(request.old_size, size, request.proof, states[request.old_size], root)
            states[size] = root
        else:
            with pytest.raises(VerificationError):
                verify_consistency(request.old_size, size, request.proof, states[request.old_size], root)
    assert len(states) >= 3


@pytest.mark.parametrize(
    "head",
    [
        "",
        "old\n",
        "old 01\n",
        "old -1\n",
        "new 1\n",
        "old 1\nAAAA\n",
        "old 0\n" + "A" * 43 + "=\n",
        "öld 1\n",
        "old 1\n" + ("A" * 43 + "=\n") * 64,
    ],
)
def test_a_witness_request_out_of_form_is_refused(head):
    note = sign_checkpoint(Checkpoint(LOG.name, 1, LEAVES[0]), [LOG])
    with pytest.raises(MalformedError):
        decode_request(head.encode() + b"\n" + note)


def test_a_request_that_no_witness_would_read_is_not_made():
    for old, proof in ((0, (bytes(32),)), (1, (bytes(32),) * 64)):
        with pytest.raises(ValueError, match="hashes from size"):
            AddCheckpoint(old, proof, b"").encode()


def test_the_cosignatures_of_an_answer_are_taken_only_where_they_are_good():
    one, other = WITNESSES[:2]
    checkpoint = Checkpoint(LOG.name, 1, LEAVES[0])
    note, text = sign_checkpoint(checkpoint, [LOG]), checkpoint.text()
    body = encode_cosignatures([other.cosign(text, 8), one.cosign(text, 9)])
    (found,) = read_cosignatures(body, note, one.verifier)
    assert found == one.cosign(text, 9)
    with pytest.raises(VerificationError, match="no cosignature"):
        read_cosignatures(body, note, WITNESSES[2].verifier)
    with pytest.raises(VerificationError, match="not good"):
        read_cosignatures(encode_cosignatures([one.cosign("x\n", 9)]), note, one.verifier)
    for body in (b"", b"<html>\n", b"\xff\n"):
        with pytest.raises(MalformedError):
            read_cosignatures(body, note, one.verifier)


def test_the_size_that_a_witness_knows_reads_back():
    assert read_size(encode_size(1234)) == 1234
    for body in (b"", b"12", b"012\n", b"12\n\n", b"\xff\n"):
        with pytest.raises(MalformedError):
            read_size(body)
