"""Trees are those of RFC 6962, and no proof holds for anything but what it was made for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tile_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.tlog_vectors import hashes, vectors

LEAVES = [leaf_hash(bytes([number])) for number in range(200)]


def mth(leaves):
    """The recursive definition of RFC 6962 section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(mth(leaves[:split]), mth(leaves[split:]))


def subtree(level, index):
    made = LEAVES[index << level : (index + 1) << level]
    assert len(made) == 1 << level
    return mth(made)


@pytest.mark.parametrize("case", vectors("merkle_inclusion")["vectors"], ids=lambda case: case["file"])
def test_official_inclusion_proofs_are_judged_as_they_should(case):
    def run():
        (leaf, root), proof = hashes([case["leafHash"], case["root"]]), hashes(case["proof"])
        verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)

    _judge(run, case["wantErr"])


@pytest.mark.parametrize("case", vectors("merkle_consistency")["vectors"], ids=lambda case: case["file"])
def test_official_consistency_proofs_are_judged_as_they_should(case):
    def run():
        root1, root2 = hashes([case["root1"], case["root2"]])
        verify_consistency(case["size1"], case["size2"], hashes(case["proof"]), root1, root2)

    _judge(run, case["wantErr"])


def _judge(run, refused):
    if refused:
        with pytest.raises(VerificationError):
            run()
    else:
        run()


def test_known_hashes_are_ours():
    known = vectors("rfc6962_tree")["hash_kat"]
    assert EMPTY_ROOT.hex() == known["empty_root"]
    assert leaf_hash(b"").hex() == known["leaf_of_empty"]
    assert leaf_hash(b"L123456").hex() == known["leaf_L123456"]
    assert node_hash(b"N123", b"N456").hex() == known["node_N123_N456"]


def test_the_reference_tree_has_its_roots_and_proofs():
    known = vectors("rfc6962_tree")
    leaves = [leaf_hash(bytes.fromhex(item)) for item in known["leaf_data_hex"]]
    for size, root in enumerate(known["root_hex_by_size"]):
        frontier = Frontier()
        frontier.extend(leaves[:size])
        assert frontier.root().hex() == root

    def of_leaves(level, index):
        return mth(leaves[index << level : (index + 1) << level])

    for case in known["inclusion_all"]:
        made = inclusion_proof(case["index"], case["size"], of_leaves)
        assert [item.hex() for item in made] == case["proof_hex"]
    for case in known["consistency_all"]:
        made = consistency_proof(case["old"], case["new"], of_leaves)
        assert [item.hex() for item in made] == case["proof_hex"]


def test_proofs_of_a_real_log_of_a_billion_leaves_hold():
    log = vectors("rfc6962_tree")["argon2020"]
    root, old_root = hashes([log["root_b64"], log["old_root_b64"]])
    leaf, path = bytes.fromhex(log["leaf_hash_hex"]), hashes(log["audit_path_b64"])
    verify_inclusion(leaf, log["index"], log["size"], path, root)
    verify_consistency(log["old_size"], log["size"], hashes(log["consistency_b64"]), old_root, root)


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_frontier_grown_in_any_steps_has_the_root_of_the_definition(steps):
    frontier, size = Frontier(), 0
    for step in steps:
        frontier.extend(LEAVES[size : size + step] if size + step <= len(LEAVES) else [])
        size = frontier.size
        assert frontier.root() == mth(LEAVES[:size])
        assert Frontier.from_json(frontier.size, frontier.to_json()).root() == frontier.root()


def test_a_frontier_grown_leaf_by_leaf_has_the_root_of_the_definition():
    frontier = Frontier()
    for size in range(150):
        assert frontier.root() == mth(LEAVES[:size]) == tree_root(size, subtree)
        frontier.append(LEAVES[size])


def test_a_copied_frontier_grows_on_its_own():
    one = Frontier()
    one.extend(LEAVES[:3])
    other = one.copy()
    other.append(LEAVES[3])
    assert (one.root(), other.root()) == (mth(LEAVES[:3]), mth(LEAVES[:4]))


@pytest.mark.parametrize(
    ("size", "items"), [(3, ["00" * 32]), (1, ["00" * 31]), (-1, []), (1, ["xy"]), (1, [None])]
)
def test_a_frontier_that_cannot_be_is_refused(size, items):
    with pytest.raises(MalformedError):
        Frontier.from_json(size, items)


def test_a_leaf_hash_of_another_width_is_refused():
    with pytest.raises(MalformedError):
        Frontier().append(bytes(31))


def test_a_tile_hashes_to_the_root_of_its_hashes():
    for width in (1, 2, 64, 128):
        assert tile_root(b"".join(LEAVES[:width])) == mth(LEAVES[:width])
    for wrong in (b"", bytes(31), bytes(96)):
        with pytest.raises(MalformedError):
            tile_root(wrong)


def test_every_proof_of_every_tree_up_to_70_holds_and_no_longer_shorter_or_other_one_does():
    for size in range(1, 71):
        root = mth(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            refused = [proof[:-1], [*proof, bytes(32)], [bytes(32), *proof]]
            for other in refused if proof else refused[1:]:
                with pytest.raises(VerificationError):
                    verify_inclusion(LEAVES[index], index, size, other, root)
            with pytest.raises(VerificationError):
                verify_inclusion(LEAVES[index + 1], index, size, proof, root)
        for old in range(1, size + 1):
            proof, old_root = consistency_proof(old, size, subtree), mth(LEAVES[:old])
            verify_consistency(old, size, proof, old_root, root)
            refused = [proof[:-1], [*proof, bytes(32)], [bytes(32), *proof]]
            for other in refused if proof else refused[1:]:
                with pytest.raises(VerificationError):
                    verify_consistency(old, size, other, old_root, root)


@st.composite
def places(draw):
    size = draw(st.integers(1, 200))
    return draw(st.integers(0, size - 1)), size


@given(places(), st.data())
def test_an_inclusion_proof_with_any_changed_byte_or_number_is_refused(place, data):
    index, size = place
    proof, root = inclusion_proof(index, size, subtree), mth(LEAVES[:size])
    parts = [LEAVES[index], root, *proof]
    changed = data.draw(st.integers(0, len(parts) - 1))
    parts[changed] = _flip(parts[changed], data)
    with pytest.raises(VerificationError):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])
    other = data.draw(st.integers(0, 400).filter(lambda number: number != index))
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[index], other, size, proof, root)


@given(places(), st.data())
def test_a_consistency_proof_with_any_changed_byte_is_refused(place, data):
    old, size = place[0] + 1, place[1]
    parts = [mth(LEAVES[:old]), mth(LEAVES[:size]), *consistency_proof(old, size, subtree)]
    changed = data.draw(st.integers(0, len(parts) - 1))
    parts[changed] = _flip(parts[changed], data)
    with pytest.raises(VerificationError):
        verify_consistency(old, size, parts[2:], parts[0], parts[1])


def _flip(item, data):
    made = bytearray(item)
    made[data.draw(st.integers(0, 31))] ^= data.draw(st.integers(1, 255))
    return bytes(made)


def test_hashes_of_another_width_are_refused_in_proofs():
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[0][:31], 0, 1, [], LEAVES[0])
    with pytest.raises(VerificationError):
        verify_consistency(1, 2, [b""], LEAVES[0], LEAVES[1])


def test_proofs_of_what_is_not_there_are_not_made():
    for run in (lambda: inclusion_proof(3, 3, subtree), lambda: consistency_proof(4, 3, subtree)):
        with pytest.raises(ValueError, match="tree of"):
            run()
    assert consistency_proof(0, 3, subtree) == []
