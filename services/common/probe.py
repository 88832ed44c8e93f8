"""`python -m services.common.probe SERVICE`: what a container's health check runs. Exit status 0 where /readyz says 200, else 1.

It asks this machine at HEALTH_PORT; an ingest at INGEST_PORT, where it serves that beside its API, by HTTPS or HTTP.
"""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPException
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

_TIMEOUT_S = 1.0


def main() -> int:
    ingest = sys.argv[1:] == ["ingest"]
    port = os.environ.get("INGEST_PORT" if ingest else "HEALTH_PORT") or "8080"
    places = [
        f"{scheme}://127.0.0.1:{port}/readyz" for scheme in (("https", "http") if ingest else ("http",))
    ]
    wrong = {place: _wrong(place) for place in places}
    if None in wrong.values():
        return 0
    sys.stdout.write("".join(f"{place}: {why}\n" for place, why in wrong.items()))
    return 1


def _wrong(place: str) -> str | None:
    unchecked = ssl._create_unverified_context()  # noqa: SLF001, S323 - the certificate is for another name than this
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=unchecked))
    try:
        with opener.open(place, timeout=_TIMEOUT_S):
            return None
    except (OSError, HTTPException) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
