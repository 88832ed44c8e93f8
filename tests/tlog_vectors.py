"""The official vectors of the transparency log formats."""

import json
from base64 import b64decode
from functools import cache

from tests.service_process import ROOT


@cache
def vectors(name):
    """The parsed file schemas/vectors/tlog/<name>.json."""
    return json.loads((ROOT / "schemas" / "vectors" / "tlog" / f"{name}.json").read_text())


def hashes(items):
    """Bytes of a list of base64 strings; null is an empty list."""
    return [b64decode(item) for item in items or []]
