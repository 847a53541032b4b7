"""A worker process for tests: it does what each request says, and responds with the number of the request."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from assetstore.concurrency import worker_requests
from assetstore.concurrency.remote_file import RemoteFile
from assetstore.errors import StorageFault


def main(arguments: Sequence[str]) -> None:
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for asked in worker_requests.read(source):
        if "child" in asked:
            subprocess.Popen(["sleep", asked["child"]])
        if "dies" in asked:
            os._exit(1)
        for _ in range(asked.get("reads", 0)):
            with contextlib.suppress(StorageFault):
                RemoteFile(1, source, sink).read()
        if "requests" in asked:
            print(json.dumps({"read": [0, 1]}), flush=True)  # and ends before it has read the reply
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
