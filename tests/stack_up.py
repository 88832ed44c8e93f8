"""`python -m tests.stack_up`: `up` with a stub service as a process of its own, for tests that interrupt it."""

import sys

from deploy.local.home import find_home
from deploy.local.services import Service
from deploy.local.stack import up

if __name__ == "__main__":
    try:
        up(
            find_home(),
            lambda line: print(line, flush=True),
            services=[Service("stub", "stub_service", (), 8085)],
        )
    except KeyboardInterrupt:
        sys.exit(130)
