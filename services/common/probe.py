"""`python -m services.common.probe`: what a container's health check runs. Exit status 0 where /readyz says 200, else 1.

It asks this machine at HEALTH_PORT, and at INGEST_PORT, where ingest serves it beside its API, by HTTPS too.
"""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPException
from urllib.request import urlopen

_TIMEOUT_S = 1.0


def main() -> int:
    health, ingest = (os.environ.get(name) or "8080" for name in ("HEALTH_PORT", "INGEST_PORT"))
    places = [f"http://127.0.0.1:{health}", f"https://127.0.0.1:{ingest}", f"http://127.0.0.1:{ingest}"]
    wrong = [_wrong(place) for place in places]
    if None in wrong:
        return 0
    sys.stdout.write(
        "\n".join(f"{place}/readyz: {why}" for place, why in zip(places, wrong, strict=True)) + "\n"
    )
    return 1


def _wrong(place: str) -> str | None:
    unchecked = ssl._create_unverified_context()  # noqa: SLF001, S323 - the certificate is for another name than this
    try:
        with urlopen(f"{place}/readyz", timeout=_TIMEOUT_S, context=unchecked):  # noqa: S310 - a place of ours
            return None
    except (OSError, HTTPException) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
