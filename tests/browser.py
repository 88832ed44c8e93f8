"""A real Chromium for the tests: the machine's own, driven by Playwright. `make browser` installs one on Debian and Ubuntu."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NONE = "no Chromium on this machine: `make browser` installs one, or PIPEROLL_CHROMIUM names one"


def find_chromium() -> str | None:
    """Its program, None where there is none."""
    given = os.environ.get("PIPEROLL_CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)
