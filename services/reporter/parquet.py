"""Archives as Parquet: the same fields as JSON lines, exact bytes as bytes, for tools that read columns.

The package arro3 (extra `parquet`) reads and writes them; it is a tenth of pyarrow. A table is a way to keep lines, no more:
what is verified is what comes out as lines again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from services.common.errors import ConfigurationError

SUFFIX = ".parquet"
_ROWS = 5_000
_MAGIC = b"PAR1"


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


_WHOLE, _TEXT, _HEX, _BASE64, _JSON = (
    ("int64", None, None),
    ("utf8", None, None),
    ("binary", bytes.fromhex, bytes.hex),
    ("binary", _from_base64, _to_base64),
    ("utf8", json.dumps, json.loads),
)
COLUMNS: dict[str, tuple[str, Callable[[Any], Any] | None, Callable[[Any], Any] | None]] = {
    "chain_no": _WHOLE,
    "chain_id": _HEX,
    "topic": _TEXT,
    "topic_id": _HEX,
    "partition": _WHOLE,
    "cluster_id": _TEXT,
    "seq": _WHOLE,
    "kind": _WHOLE,
    "source_offset": _WHOLE,
    "appended_us": _WHOLE,
    "event_time_us": _WHOLE,
    "identity_hash": _WHOLE,
    "record_hash": _HEX,
    "leaf": _HEX,
    "payload_salt": _HEX,
    "body": _BASE64,
    "enrichment_salt": _HEX,
    "enrichment": _BASE64,
    "original_salt": _HEX,
    "event": _JSON,
}
"""Fields of a line: column type, how a value is put into it, and taken out again."""


def write_parquet(lines: Iterable[dict[str, Any]], out: BinaryIO) -> None:
    """Lines of an export as a Parquet file. Raises ConfigurationError where the package is missing."""
    core, io = _arro3()
    types = {name: getattr(core.DataType, kind)() for name, (kind, _, _) in COLUMNS.items()}
    schema = core.Schema([core.Field(name, type_, nullable=True) for name, type_ in types.items()])

    def batches() -> Iterator[Any]:
        remaining = iter(lines)
        while some := list(islice(remaining, _ROWS)):
            arrays = [core.Array(_column(some, name), type=types[name]) for name in COLUMNS]
            yield core.RecordBatch.from_arrays(arrays, schema=schema)

    io.write_parquet(core.RecordBatchReader.from_batches(schema, batches()), out, compression="zstd(3)")


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The lines again. Raises ConfigurationError where it is no such file, or damaged."""
    _, io = _arro3()
    try:
        _check_ends(path)
        for batch in io.read_parquet(str(path), batch_size=_ROWS):
            columns = {name: batch.column(name) for name in COLUMNS}
            for at in range(batch.num_rows):
                yield {name: _taken(name, column[at].as_py()) for name, column in columns.items()}
    except GeneratorExit:
        raise
    except BaseException as error:
        # arro3 answers some damages with a panic of Rust, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ConfigurationError(f"{path}: no Parquet archive, or damaged: {error}") from error
        raise


def _check_ends(path: Path) -> None:
    with path.open("rb") as file:
        first = file.read(4)
        file.seek(-4, 2)
        if (first, file.read(4)) != (_MAGIC, _MAGIC):
            raise ValueError("it does not begin and end as Parquet does")


def require_parquet() -> None:
    """Raises ConfigurationError where the package is missing."""
    _arro3()


def _column(lines: list[dict[str, Any]], name: str) -> list[Any]:
    put = COLUMNS[name][1]
    values = [line[name] for line in lines]
    return values if put is None else [None if value is None else put(value) for value in values]


def _taken(name: str, value: Any) -> Any:
    take = COLUMNS[name][2]
    return value if take is None or value is None else take(value)


def _arro3() -> tuple[Any, Any]:
    try:
        from arro3 import core, io  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Parquet needs the extra `parquet`: pip install 'piperoll[parquet]' (arro3-core and arro3-io, 11 MB)"
        ) from error
    return core, io
