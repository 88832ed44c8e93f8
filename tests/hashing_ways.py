"""Both ways to hash many byte strings. A test that takes `each_way_to_hash` runs once in each."""

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import hashing


def can_build() -> bool:
    """Whether `make setup` can build the native part here."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return (
        shutil.which(compiler) is not None and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
    )


WAYS = ("hashlib", "native") if hashing.NATIVE or can_build() else ("hashlib",)
"""Where it can be built it must have been: under REQUIRE_INFRA=1 the skip below is a failure."""


def use(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has everything hash in this way."""
    if way == "native" and not hashing.NATIVE:
        pytest.skip("schemas/_sha256.c is not built, and could be: touch setup.py, then make setup")
    if way == "hashlib":
        monkeypatch.setattr(hashing, "_digests", hashing._by_hashlib)


@pytest.fixture(scope="module", params=WAYS)
def each_way_to_hash(request: pytest.FixtureRequest) -> Iterator[str]:
    """A module's tests in one way, then in the other."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(request.param, monkeypatch)
        yield request.param
