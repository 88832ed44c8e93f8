"""A damaged archive or export ends in a clear error, never in a traceback or in fewer records."""

import gzip
import json
import random

import pytest

from services.cli.restoration.sources import from_export
from services.common.errors import ConfigurationError
from services.reporter.archive import read_archive, read_lines

LINES = b"".join(
    json.dumps({"chain_id": f"{random.Random(number).randbytes(400).hex()}", "seq": number}).encode() + b"\n"
    for number in range(50)
)
PACKED = gzip.compress(LINES)


def _restored(path):
    from_export(path, {}, set())


def _read(path):
    return list(read_lines(path))


@pytest.mark.parametrize("read", [_restored, _read])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jsonl.gz", PACKED[: len(PACKED) // 2]),
        ("spoilt.jsonl.gz", PACKED[:40] + bytes([PACKED[40] ^ 255]) + PACKED[41:]),
        ("plain.jsonl.gz", LINES),
        ("cut.jsonl", LINES[:-20]),
        ("deep.jsonl", b"[" * 200_000),
    ],
)
def test_a_damaged_file_is_a_clear_error(tmp_path, read, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{name}, about line .*cut short, damaged"):
        read(path)


def test_a_sound_file_is_read_to_its_end(tmp_path):
    (tmp_path / "good.jsonl.gz").write_bytes(PACKED)
    assert from_export(tmp_path / "good.jsonl.gz", {}, set()) == {}


def test_sound_lines_that_are_no_records_are_named(tmp_path):
    (tmp_path / "other.jsonl").write_bytes(b'{"a": 1}\n')
    with pytest.raises(ConfigurationError, match="no export of records"):
        _restored(tmp_path / "other.jsonl")
    with pytest.raises(ConfigurationError, match="line 1: no archive of records"):
        list(read_archive(tmp_path / "other.jsonl"))
