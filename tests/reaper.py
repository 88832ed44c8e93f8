"""`python -m tests.reaper FOLDER`: ends what a test run has started, also when the run itself was killed.

It reads handles, one JSON object a line, until its standard input closes, which the system does however the run ends.
Then it kills those that are still alive and removes the folder.
"""

import json
import shutil
import sys

from deploy.local import processes

if __name__ == "__main__":
    handles = [processes.Handle(**json.loads(line)) for line in sys.stdin]
    for handle in reversed(handles):
        processes.stop(handle, grace=0)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
