"""A worker process for tests: it does what each request says, and answers with the number of the request."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "child" in asked:
            subprocess.Popen(["sleep", asked["child"]])
        if "dies" in asked:
            os._exit(1)
        time.sleep(asked.get("sleeps", 0))
        print(json.dumps({"number": asked["number"], "files": _files(), "arguments": arguments}), flush=True)


def _files() -> list[str]:
    """What the process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # that of the list itself
    return found
