"""When a change was made, as far as seals, time anchors and rows tell."""

import pytest

from schemas.verification.findings import Change, Finding, Part
from schemas.verification.seals import Sealed
from schemas.verification.windows import AnchoredAt, Times, with_window

SEALED = [
    Sealed(size, b"", 0, number, time)
    for number, (size, time) in enumerate([(10, 100), (20, 200), (30, 300)])
]
TIMES = Times(SEALED, [AnchoredAt(5, 50), AnchoredAt(15, 150), AnchoredAt(35, 350)])
READ = 999


def window(change, part, seq, last=None, appended=None, times=TIMES):
    found = with_window(Finding(1, change, part, "x", seq, last, appended_us=appended), times, READ)
    return found.not_before_us, found.not_after_us


@pytest.mark.parametrize(
    ("seq", "last", "since"),
    [
        (9, None, 100),
        (10, None, 200),
        (8, 12, 200),
        (29, None, 300),
        (30, None, 150),
        (36, None, 350),
        (0, 40, None),
    ],
)
def test_a_record_was_changed_after_the_first_seal_over_it_or_else_after_the_anchor_before_it(
    seq, last, since
):
    assert window(Change.EDITED, Part.RECORD, seq, last, appended=7) == (since, READ)


@pytest.mark.parametrize(
    ("seq", "appended", "since"), [(16, 7, 150), (16, 180, 180), (3, None, None), (3, 7, 7)]
)
def test_a_payload_was_changed_after_it_came_and_that_was_after_the_anchor_before_it(seq, appended, since):
    assert window(Change.MISSING, Part.PAYLOAD, seq, appended=appended) == (since, READ)


def test_without_seals_a_changed_record_tells_no_time_and_a_fault_has_no_window():
    assert window(Change.DELETED, Part.RECORD, 4, times=Times()) == (None, READ)
    assert window(Change.EXPIRED, Part.RECORD, 4) == (None, None)
    assert window(Change.ROLLED_BACK, Part.SEAL, None) == (None, READ)


def test_the_window_stands_in_the_sentence():
    found = with_window(Finding(1, Change.EDITED, Part.RECORD, "x", 12), TIMES, READ)
    assert found.sentence().endswith(
        "; done after 1970-01-01T00:00:00.000200Z, before 1970-01-01T00:00:00.000999Z"
    )
    assert found.as_json()["not_before_us"] == 200
