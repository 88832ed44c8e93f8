"""What a writer says of its chains' ends, and how far it vouches for records."""

import os

import pytest

from services.writer.heads import KEPT, Head, decode_heads, encode_heads
from services.writer.sealer.vouch import Vouched, vouched

CHAIN = os.urandom(16)
HASHES = [bytes([number]) * 32 for number in range(1, 31)]
"""Of records 100 to 129."""


def head(seq, digest=None):
    return Head(CHAIN, seq, HASHES[seq - 101] if digest is None else digest)


def test_heads_are_read_as_they_were_written_and_fit_what_kafka_takes():
    heads = [Head(os.urandom(16), 2**63, os.urandom(32)) for _ in range(KEPT)]
    assert decode_heads(encode_heads(heads)) == heads
    assert decode_heads("") == []
    assert len(encode_heads(heads)) < 4096  # the broker's offset.metadata.max.bytes
    for text in ("nonsense!", "AAAA", encode_heads(heads)[:-4]):
        with pytest.raises(ValueError):  # noqa: PT011 - base64's words, or ours
            decode_heads(text)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], Vouched(0)),
        ([head(110), head(120)], Vouched(20)),
        ([head(130)], Vouched(30)),
        (
            [head(120), head(130, bytes(32))],
            Vouched(20),
        ),  # a batch that never came about, or one not yet there
        ([head(120, bytes(32)), head(120)], Vouched(20)),
        ([head(120, bytes(32))], Vouched(0, contradicted=True)),
        ([Head(CHAIN, 100, bytes(32)), Head(CHAIN, 131, bytes(32))], Vouched(0)),
    ],
)
def test_records_are_vouched_for_up_to_the_last_head_that_is_theirs(said, expected):
    assert vouched(100, HASHES, said) == expected
