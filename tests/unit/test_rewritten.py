"""A chain rewritten with all its hashes is found by one signed root, and the published leaves say what was done."""

from random import Random

import pytest

from schemas.tlog.merkle import Frontier, leaf_hash
from schemas.verification.findings import Change, Part
from schemas.verification.rewritten import explain_rewritten, unexplained
from schemas.verification.seals import Sealed
from tests.chain_rows import ChainRows
from tests.rewriting import ATTACKS, attack
from tests.swept_rows import swept

CONSISTENT = ("edited payload", "cut off", "set back and gone on")
"""Attacks after which the chain is consistent with itself: nothing inside the database tells."""


def sealed(chain):
    tree = Frontier()
    tree.extend([leaf_hash(row.leaf) for row in chain.rows])
    return Sealed(tree.size, tree.root(), chain.next_offset, 0, 1)


def explain(chain, made):
    signed, found = [row.leaf for row in chain.rows], [row.leaf for row in made.rows]
    first = next((at for at, leaf in enumerate(signed) if at >= len(found) or found[at] != leaf), None)
    assert first is not None, "nothing was changed"
    return explain_rewritten(1, signed[first:], found[first:], first, sealed(chain))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_rewriting_is_named_and_placed_a_hundred_times(name):
    chain, random = ChainRows().events(60), Random(name)
    for _ in range(100):
        made = attack(chain, name, random)
        findings = explain(chain, made)
        found = [item for item in findings if item.change is made.change and item.seq == made.seq]
        assert len(found) == 1, (made.change, made.seq, findings)
        if made.fields:
            assert found[0].fields == made.fields
        assert {item.change for item in findings} == {made.change}, findings
        assert all(item.part is Part.RECORD for item in findings)


@pytest.mark.parametrize("at", [5, 20, 59, 60])
@pytest.mark.parametrize("spoil", [lambda leaf: leaf[:-1], lambda leaf: b"x" + leaf[1:], lambda _: b""])
def test_a_leaf_that_is_none_any_more_is_edited_and_not_gone(at, spoil):
    """Whether its length or its label is wrong; another record was deleted behind it."""
    chain = ChainRows().events(60)
    signed = [row.leaf for row in chain.rows]
    found = [*signed[:at], spoil(signed[at]), *signed[at + 1 :]]
    gone = [] if at > 50 else [found.pop(at + 7)]
    findings = explain_rewritten(1, signed, found, 0, sealed(chain))
    told = [(item.change, item.seq, item.fields) for item in findings]
    assert told == [(Change.EDITED, at, ("leaf",)), *((Change.DELETED, at + 7, ()) for _ in gone)]


def test_rows_that_only_changed_places_are_reordered_and_nothing_else():
    """Their leaves as they were signed, under each other's numbers."""
    chain = ChainRows().events(60)
    signed = [row.leaf for row in chain.rows]
    found = [*signed[:30], signed[31], signed[30], *signed[32:]]
    findings = explain_rewritten(1, signed[30:], found[30:], 30, sealed(chain))
    assert [(item.change, item.seq, item.last_seq) for item in findings] == [(Change.REORDERED, 30, 31)]


@pytest.mark.parametrize("name", CONSISTENT)
def test_nothing_inside_the_database_tells_of_these(name):
    """The reason for checkpoints: the sweep finds every hash, link, number, time and commitment as it should be."""
    chain, random = ChainRows().events(60), Random(name)
    made = attack(chain, name, random)
    found = swept(chain.info, 0, made.rows, made.contents, (len(made.rows),))
    assert found is not None
    assert Frontier(len(made.rows), found.sealed[0][1]).root() != sealed(chain).root


@pytest.mark.usefixtures("each_way_to_hash")
def test_records_appended_after_the_seal_are_no_finding():
    """An attack in front of new records: only what was signed is spoken of."""
    chain = ChainRows().events(40)
    known = sealed(chain)
    signed = [row.leaf for row in chain.rows]
    chain.events(20)
    made = attack(chain, "edited payload", Random(1))
    while made.seq >= len(signed):
        made = attack(chain, "edited payload", Random(made.seq))
    findings = explain_rewritten(
        1, signed[made.seq :], [row.leaf for row in made.rows][made.seq :], made.seq, known
    )
    assert [(item.change, item.seq) for item in findings] == [(Change.EDITED, made.seq)]


@pytest.mark.usefixtures("each_way_to_hash")
def test_several_attacks_at_once_are_all_named():
    chain = ChainRows().events(60)
    one = attack(chain, "edited payload", Random(2))
    again = ChainRows().events(60)
    again.rows, again.contents = one.rows, one.contents
    two = attack(again, "cut off", Random(5))
    findings = explain(chain, two)
    changes = {(item.change, item.seq) for item in findings}
    expected = {(Change.TRUNCATED, two.seq)}
    if one.seq < two.seq:
        expected.add((Change.EDITED, one.seq))
    assert changes == expected


def test_without_the_published_leaves_the_window_is_told():
    good, bad = Sealed(10, bytes(32), 9, 3, 1_000), Sealed(25, bytes(32), 24, 4, 2_000)
    found = unexplained(1, good, bad, short=False)
    assert (found.change, found.seq, found.last_seq, found.appended_us, found.until_us) == (
        Change.FORKED,
        10,
        24,
        1_000,
        2_000,
    )
    assert unexplained(1, None, bad, short=True).change is Change.TRUNCATED
