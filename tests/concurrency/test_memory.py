"""Memory that is no longer used goes back to the system."""

import platform
import subprocess
import sys

import pytest

from tests.support import PROJECT

PROGRAM = """
import resource, threading
from assetstore.concurrency.memory import return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20

def work():
    bytearray(b"x" * 16_000_000)
    pieces = []
    for _ in range(20):
        pieces.append(bytearray(b"x" * 500_000))
        stays.append(bytes(5000))  # between the others, so that the heap cannot simply shrink
    together.wait()

return_freed_memory()
stays, together = [], threading.Barrier(32)
threads = [threading.Thread(target=work) for _ in range(32)]
before = resident()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory in this way")
def test_memory_that_is_freed_is_returned_to_the_system() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 20
