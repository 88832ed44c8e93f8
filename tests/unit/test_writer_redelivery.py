"""Whatever the enricher sends again, in whatever pieces: every offset ends in exactly one record."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.record import ABSENT, Kind
from services.writer.found import Found
from tests.builders import Log, Message
from tests.linking import Chained

COUNT = 12


def sent(log: Log, offsets: list[int], values: dict[int, bytes], start: int, end: int) -> list[Message]:
    """What an enricher sends that starts at index `start`: `prev` of its first is that of the committed position."""
    messages = []
    for index in range(start, min(end, len(offsets))):
        offset = offsets[index]
        prev = offsets[index - 1] if index else -1
        messages.append(log.event(offset, prev, value=values[offset]))
    return messages


@st.composite
def streams(draw):
    """Offsets with lawful holes, and runs of an enricher that restarts where it has committed."""
    gaps = draw(st.lists(st.integers(1, 3), min_size=COUNT, max_size=COUNT))
    offsets = [sum(gaps[: n + 1]) - 1 for n in range(COUNT)]
    values = {offset: b"%d" % draw(st.integers(0, 3)) for offset in offsets}
    runs, committed = [], 0
    while committed < COUNT:
        end = draw(st.integers(committed, COUNT))
        runs.append((committed, end))
        committed = draw(st.integers(committed, end))
        if len(runs) > 8:
            runs.append((committed, COUNT))
            break
    return offsets, values, runs


@settings(max_examples=150, deadline=None)
@given(streams(), st.lists(st.integers(1, 7), min_size=1, max_size=6), st.booleans())
def test_every_interleaving_of_redeliveries_gives_each_offset_one_record(stream, sizes, forgets):
    offsets, values, runs = stream
    log, chained = Log(), Chained()
    messages = [message for start, end in runs for message in sent(log, offsets, values, start, end)]
    number, known, before = 0, {}, {}
    while messages:
        size = sizes[number % len(sizes)]
        number += 1
        chained.link(*messages[:size], found=Found(known))
        known = chained.recorded(log) if forgets else before  # the database lags by the batch under way
        before = chained.recorded(log)
        if forgets:
            chained.forget()
        del messages[:size]
    assert chained.offsets() == offsets
    assert not chained.alerts
    covered = []
    for record, document in zip(chained.records, chained.documents, strict=True):
        if record.kind == Kind.SKIP:
            covered += range(document["first"], document["last"] + 1)
        elif record.source_offset != ABSENT:
            covered.append(record.source_offset)
    first = chained.documents[0]["first_offset"]
    assert covered == list(range(first, offsets[-1] + 1))
    assert chained.commitments_hold()


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 5))
def test_batches_out_of_order_lose_nothing_once_they_are_sent_again(order, size):
    log, chained = Log(), Chained()
    everything = [log.event(offset, offset - 1) for offset in range(12)]
    chained.link(everything[0])
    for piece in order:
        chained.link(*everything[1 + piece : 1 + piece + size + 1], found=Found(chained.recorded(log)))
    chained.link(*everything, found=Found(chained.recorded(log)))
    assert chained.offsets() == list(range(12))
