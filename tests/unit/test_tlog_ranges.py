"""Proofs of ranges: every range of every small tree is shown, and no other leaves, places or hashes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tlog import ranges
from schemas.tlog.errors import VerificationError
from schemas.tlog.merkle import Frontier, leaf_hash, tree_root
from schemas.tlog.ranges import range_proof, verify_range

LEAVES = [leaf_hash(b"%d" % number) for number in range(70)]


def subtree(level, index):
    tree = Frontier()
    tree.extend(LEAVES[index << level : (index + 1) << level])
    return tree.root()


def check(leaves, start, end, size, proof):
    verify_range(iter(leaves), start, end, size, proof, tree_root(size, subtree))


def test_every_range_of_every_small_tree_is_shown(monkeypatch):
    for at_once in (4, 65_536):
        monkeypatch.setattr(ranges, "_AT_ONCE", at_once)
        for size in range(1, 20):
            for start in range(size):
                for end in range(start + 1, size + 1):
                    check(LEAVES[start:end], start, end, size, range_proof(start, end, size, subtree))


@given(st.data())
def test_nothing_else_is(data):
    size = data.draw(st.integers(2, 70))
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    proof, leaves = range_proof(start, end, size, subtree), LEAVES[start:end]
    changed = list(leaves)
    changed[data.draw(st.integers(0, len(leaves) - 1))] = bytes(32)
    tries = [
        (changed, start, end, proof),
        (leaves[:-1], start, end, proof),
        ([*leaves, LEAVES[0]], start, end, proof),
        (leaves, start, end, [*proof, bytes(32)]),
        (leaves[:-1], start, end - 1, proof),
        (leaves, start + 1, end + 1, proof),
    ]
    if proof:
        tries += [(leaves, start, end, proof[:-1]), (leaves, start, end, [bytes(32), *proof[1:]])]
    for one in tries:
        with pytest.raises(VerificationError):
            check(one[0], one[1], one[2], size, one[3])
