"""The fast pass and `ChainVerifier` agree on what is clean, whatever was changed; and the fast pass reads what COPY sends."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import commitment, record
from schemas.chain import ChainVerifier
from schemas.record import ABSENT, Kind
from schemas.tlog.merkle import Frontier, leaf_hash
from schemas.verification import sweep
from schemas.verification.contents import Content
from schemas.verification.erasures import NOTHING_GONE, Coverage
from schemas.verification.image import ROW_BYTES, Image
from services.common.errors import TransientError
from services.reporter import copying
from services.reporter.copying import payload_rows
from tests.chain_rows import ChainRows
from tests.rewriting import ATTACKS, attack
from tests.swept_rows import copied, copied_records, feed, swept, swept_chain


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch):
    """Many borders between ranges, and within them."""
    monkeypatch.setattr(sweep, "RANGE", 16)
    monkeypatch.setattr(sweep, "STRIDE", 5)
    monkeypatch.setattr(copying, "PORTION", 1)


def taken(stream, pieces):
    """The payload rows of a stream, and what is left at its end."""
    found = []

    def take(data, at):
        rows, after = payload_rows(data, at)
        found.extend(rows.row(number) for number in range(len(rows.seqs)))
        return after

    return found, feed(take, stream, pieces).end()


def of_events():
    """Records of all kinds of a chain of events, plain ones most."""
    made = ChainRows(first_offset=7).events(15)
    made.skip(3)
    made.events(18)
    made.poison()
    made.withheld()
    made.duplicate(3)
    made.anchor(b"a checkpoint")
    made.event(shown_source="app/sh…")
    made.skip(5)
    return made.events(15)


def of_annotations():
    made = ChainRows(topic="audit.annotations", seed=3).events(0)
    for number in range(40):
        made.annotation(bytes(16), 0, number)
    return made


def of_own_events():
    made = ChainRows(topic="audit.system", seed=4)
    for _ in range(40):
        made.own_event()
    return made


def closed():
    made = of_events()
    made.close(bytes(16))
    return made


BUILT = {build.__name__: build() for build in (of_events, of_annotations, of_own_events, closed)}


class Tables:
    """What stands in the tables, to be changed at will."""

    def __init__(self, chain, random):
        self.info, self.head, self.random = chain.info, chain.head, random
        self.rows, self.contents = list(chain.rows), list(chain.contents)

    def rewrite(self, at, **fields):
        """Changes fields of a leaf, with its hash and its columns."""
        row = self.rows[at]
        try:
            leaf = record.encode(record.decode(row.leaf)._replace(**fields))
        except ValueError:
            return  # cut or spoilt by another change
        columns = {
            name: None if fields[name] == ABSENT else fields[name]
            for name in ("kind", "source_offset", "appended_us", "event_time_us")
            if name in fields
        }
        self.rows[at] = row._replace(leaf=leaf, record_hash=record.record_hash(leaf), **columns)

    def relink(self, at):
        """Links all records from one on anew, head included: as whoever has the whole database can."""
        for place in range(at, len(self.rows)):
            self.rewrite(place, prev=self.rows[place - 1].record_hash if place else bytes(32))
        self.head = self.head._replace(last_hash=self.rows[-1].record_hash)


def change_column(tables, at):
    columns = ("kind", "source_offset", "appended_us", "event_time_us", "identity_hash")
    name = tables.random.choice(columns)
    was = getattr(tables.rows[at], name)
    choices = (
        0,
        1,
        None if name in ("source_offset", "event_time_us", "identity_hash") else 3,
        (was or 5) + 1,
    )
    tables.rows[at] = tables.rows[at]._replace(**{name: tables.random.choice(choices)})


def change_leaf(tables, at):
    row, place = tables.rows[at], tables.random.randrange(len(tables.rows[at].leaf))
    leaf = (
        row.leaf[:place] + bytes([row.leaf[place] ^ tables.random.randrange(1, 256)]) + row.leaf[place + 1 :]
    )
    tables.rows[at] = row._replace(leaf=leaf)
    if tables.random.random() < 0.5:
        tables.rows[at] = tables.rows[at]._replace(record_hash=record.record_hash(leaf))


def change_hash(tables, at):
    tables.rows[at] = tables.rows[at]._replace(record_hash=tables.random.randbytes(32))


def cut_leaf(tables, at):
    tables.rows[at] = tables.rows[at]._replace(leaf=tables.rows[at].leaf[:-1])


def rewrite_field(tables, at):
    said = record.Record._make(record.unpack(tables.rows[at].leaf.ljust(record.RECORD_BYTES))[1:])
    name, value = tables.random.choice(
        [
            ("kind", tables.random.choice([*map(int, Kind), 77])),
            ("writer_epoch", tables.random.choice([0, 1, 2])),
            ("appended_us", said.appended_us + tables.random.choice([-5_000_000, 0, 1, 5_000_000])),
            ("source_offset", tables.random.choice([ABSENT, 0, said.source_offset + 1])),
            ("event_id", tables.random.randbytes(32)),
            ("producer_id", tables.random.randbytes(16)),
            ("payload_commitment", tables.random.choice([bytes(32), tables.random.randbytes(32)])),
            ("enrichment_commitment", tables.random.choice([bytes(32), tables.random.randbytes(32)])),
            ("producer_seq", 9),
        ]
    )
    tables.rewrite(at, **{name: value})
    tables.relink(at)


def rewrite_name(tables, at):
    """Another enrichment, with its commitment, under the same record."""
    content = tables.contents[at]
    if content.enrich is not None:
        enrich = tables.random.choice(
            [
                content.enrich.replace(b'"id":"', b'"id":"x'),
                content.enrich.replace(b"app/", b"ap/"),
                b"{}",
                b"no JSON",
                b'{"source":"\xff","id":"1"}',
                content.enrich + b" ",
            ]
        )
        tables.contents[at] = content._replace(enrich=enrich)
        made = commitment.enrichment_commitment(content.enrich_salt, enrich)
        tables.rewrite(at, enrichment_commitment=made)
        tables.relink(at)


def change_content(tables, at):
    name = tables.random.choice(Content._fields)
    was = getattr(tables.contents[at], name)
    if name in ("seq", "appended_us"):
        value = was + tables.random.choice([-1, 1, 100])
    else:
        value = tables.random.choice([None, b"", bytes(32), (was or b"") + b"\0", (was or b"")[:-1]])
    tables.contents[at] = tables.contents[at]._replace(**{name: value})


def move_salt(tables, at):
    """One byte of the body made one of the salt: the commitment is the same."""
    salt, body = tables.contents[at].salt, tables.contents[at].body
    if body:
        tables.contents[at] = tables.contents[at]._replace(salt=salt + body[:1], body=body[1:])


def drop_content(tables, at):
    del tables.contents[at]


def double_content(tables, at):
    tables.contents.insert(at, tables.contents[at]._replace(appended_us=tables.contents[at].appended_us - 1))


def drop_row(tables, at):
    del tables.rows[at]
    if tables.random.random() < 0.5:
        del tables.contents[at]


def swap_rows(tables, at):
    other = tables.random.randrange(len(tables.rows))
    one, two = tables.rows[at], tables.rows[other]
    tables.rows[at], tables.rows[other] = two._replace(seq=one.seq), one._replace(seq=two.seq)


def cut_off(tables, at):
    del tables.rows[at:], tables.contents[at:]
    if at and tables.random.random() < 0.7:
        last = tables.rows[-1]
        tables.head = tables.head._replace(next_seq=at, last_hash=last.record_hash)


def change_head(tables, at):
    name = tables.random.choice(tables.head._fields)
    values = {"last_hash": tables.random.randbytes(32), "closed": not tables.head.closed}
    tables.head = tables.head._replace(**{name: values.get(name, tables.random.choice([0, 1, at]))})


def change_chain(tables, at):
    name, value = tables.random.choice([("topic", "x"), ("partition", 5), ("chain_id", bytes(16))])
    tables.info = tables.info._replace(**{name: value})


CHANGES = (
    change_column,
    change_leaf,
    change_hash,
    cut_leaf,
    rewrite_field,
    rewrite_name,
    change_content,
    move_salt,
    drop_content,
    double_content,
    drop_row,
    swap_rows,
    cut_off,
    change_head,
    change_chain,
)


def thoroughly(tables, contents, coverage):
    verifier = ChainVerifier(tables.info, tables.head, coverage)
    rows = sorted(tables.rows, key=lambda row: row.seq)
    payloads = sorted(tables.contents, key=lambda row: (row.seq, row.appended_us)) if contents else None
    verifier.feed(rows, payloads)
    return verifier.finish()


def quickly(tables, contents, coverage, **options):
    rows = sorted(tables.rows, key=lambda row: row.seq)
    payloads = sorted(tables.contents, key=lambda row: (row.seq, row.appended_us)) if contents else None
    return swept_chain(tables.info, tables.head, rows, payloads, coverage=coverage, **options)


@pytest.mark.usefixtures("each_way_to_hash")
@settings(max_examples=200, deadline=None)
@given(
    built=st.sampled_from(sorted(BUILT)),
    changes=st.lists(st.tuples(st.sampled_from(CHANGES), st.floats(0, 1, exclude_max=True)), max_size=2),
    contents=st.booleans(),
    gone=st.sampled_from(["nothing", "erased", "retained"]),
    seed=st.integers(0, 2**16),
    pieces=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
)
def test_what_is_clean_is_clean_for_both_whatever_was_changed(built, changes, contents, gone, seed, pieces):
    """Clean quickly ⟺ nothing found thoroughly; and then both count the same."""
    random = Random(seed)
    tables, coverage = Tables(BUILT[built], random), NOTHING_GONE
    if gone == "erased":
        offsets = frozenset(random.sample(range(7, 60), 5))
        coverage = Coverage(offsets, frozenset(commitment.about_event(bytes(16), 0, at) for at in offsets))
    elif gone == "retained":
        coverage = Coverage(retained_us=tables.rows[random.randrange(40)].appended_us)
    if coverage is not NOTHING_GONE and random.random() < 0.9:
        tables.contents = [
            content
            for row, content in zip(tables.rows, tables.contents, strict=True)
            if not coverage.erased(record.decode(row.leaf)) and not coverage.retained(record.decode(row.leaf))
        ]
    for change, place in changes:
        if tables.rows and tables.contents:
            change(tables, int(place * min(len(tables.rows), len(tables.contents))))
    if len({row.seq for row in tables.rows}) < len(tables.rows) or not tables.rows:
        return  # the primary key does not allow it
    found = thoroughly(tables, contents, coverage)
    clean = quickly(tables, contents, coverage, pieces=pieces)
    assert (clean is not None) == found.good, found.findings[:3]
    if clean is not None:
        result, _ = clean
        result.genesis = found.genesis  # told by one part of many only
        assert result == found


@pytest.mark.parametrize("at", [0, 15, 16, 17, 40])
@pytest.mark.parametrize("change", ["moved payload", "time", "epoch"])
def test_a_time_or_epoch_that_goes_back_is_not_clean_also_at_the_borders_of_ranges(at, change):
    """And a payload row under another time."""
    tables = Tables(of_events(), Random(1))
    if change == "moved payload":
        tables.contents[at] = tables.contents[at]._replace(appended_us=tables.contents[at].appended_us + 1)
    else:
        last = len(tables.rows) - 1
        said = record.decode(tables.rows[at].leaf)
        if change == "time":
            tables.rewrite(min(at + 1, last), appended_us=said.appended_us - 1)
        else:
            tables.rewrite(at, writer_epoch=2)
            tables.head = tables.head._replace(epoch=2)
        tables.relink(at)
    assert not thoroughly(tables, True, NOTHING_GONE).good
    assert quickly(tables, True, NOTHING_GONE) is None


@pytest.mark.parametrize("built", ["of_events", "of_annotations"])
def test_a_payload_that_is_there_although_erased_is_not_clean(built):
    """Events by their offset, annotations by what they are about."""
    row = record.decode(BUILT[built].rows[20].leaf)
    coverage = Coverage(frozenset([row.source_offset]))
    if built == "of_annotations":
        coverage = Coverage(about=frozenset([row.event_id]))
    tables = Tables(BUILT[built], Random(1))
    assert quickly(tables, True, NOTHING_GONE) is not None
    assert not thoroughly(tables, True, coverage).good
    assert quickly(tables, True, coverage) is None


@pytest.mark.usefixtures("each_way_to_hash")
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_of_the_drill_is_judged_alike(name):
    chain, random = of_events(), Random(name)
    for _ in range(20):
        made = attack(chain, name, random)
        tables = Tables(chain, random)
        tables.rows, tables.contents, tables.head = list(made.rows), list(made.contents), made.head
        assert (quickly(tables, True, NOTHING_GONE) is not None) == thoroughly(
            tables, True, NOTHING_GONE
        ).good


@pytest.mark.usefixtures("each_way_to_hash")
@pytest.mark.parametrize("sizes", [(1, 5, 16, 17), (16,), (32,), (31, 32, 33, 48), (48,)])
def test_the_roots_are_those_of_the_tree_also_at_the_borders_of_ranges(sizes):
    chain = ChainRows().events(47)
    clean = swept_chain(chain.info, chain.head, chain.rows, chain.contents, sizes)
    tree, expected = Frontier(), []
    for size, row in enumerate(chain.rows, start=1):
        tree.append(leaf_hash(row.leaf))
        if size in sizes:
            expected.append((size, tree.root()))
    assert clean is not None
    assert clean[1] == expected


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_payload_rows_are_read_in_pieces_of_any_size(data):
    cell = st.one_of(st.none(), st.binary(max_size=40), st.just(bytes(32)))
    rows = data.draw(
        st.lists(
            st.builds(
                Content, st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**60), cell, cell, cell, cell
            ),
            max_size=12,
        )
    )
    pieces = data.draw(st.lists(st.integers(1, 120), min_size=1, max_size=4))
    assert taken(copied(rows), pieces) == (rows, b"")


def test_a_row_much_larger_than_the_pieces_is_taken_apart_in_time():
    """Not looked at anew with every piece: 32 MiB in pieces of 1 KiB."""
    row = Content(1, 10**15, bytes(32), bytes(2**25), bytes(32), b"{}")
    assert taken(copied([row]), (1024,)) == ([row], b"")


@pytest.mark.parametrize(
    "stream",
    [b"", copied([])[:-1], copied([])[:-2], b"x" * 40, copied([Content(1, 10**15, b"", b"", b"", b"")])[:-3]],
)
def test_a_stream_that_is_cut_or_none_is_an_error(stream):
    with pytest.raises(TransientError, match="COPY"):
        taken(stream, (7,))


@pytest.mark.parametrize("at", [0, 15, 16, 46])
@pytest.mark.parametrize(
    ("name", "cut"), [("leaf", -1), ("leaf", -226), ("record_hash", -1), ("record_hash", None)]
)
@pytest.mark.parametrize("portion", [1, 2**20])
def test_a_cell_of_another_length_is_not_clean_wherever_it_stands(at, name, cut, portion, monkeypatch):
    """Also in the last row of a range, where the stream only ends earlier; whether it comes in portions or at once."""
    monkeypatch.setattr(copying, "PORTION", portion)
    tables = Tables(BUILT["of_events"], Random(1))
    row = tables.rows[at]
    cell = getattr(row, name)
    tables.rows[at] = row._replace(**{name: cell + b"more" if cut is None else cell[:cut]})
    assert not thoroughly(tables, False, NOTHING_GONE).good
    assert quickly(tables, False, NOTHING_GONE) is None


def test_rows_of_another_chain_or_cut_are_not_taken():
    chain = ChainRows().events(3)
    rows = copied_records(chain.rows)[19:-2]
    assert Image(chain.chain_id).add(rows) == [row.record_hash for row in chain.rows]
    assert Image(bytes(16)).add(rows) is None
    assert Image(chain.chain_id).add(rows[:-1]) is None
    assert Image(chain.chain_id).add(b"") is None
    assert swept(chain.info, 0, [], []) is None


def test_rows_are_linked_over_the_border_of_two_portions():
    """Each row by itself is good; the second does not follow the first."""
    chain = ChainRows().events(3)
    rows = copied_records(chain.rows)[19:-2]
    image = Image(chain.chain_id)
    assert image.add(rows[:ROW_BYTES]) is not None
    assert image.add(rows[2 * ROW_BYTES : 3 * ROW_BYTES]) is None
