"""Makes a process return memory that it no longer uses to the system.

The memory allocator of glibc keeps what is freed, in one heap for each of many threads. After many uploads at once, a
server would keep some hundred megabytes until it ends.
"""

import ctypes

#: Options of mallopt(3) and their values: how many heaps there are, and from which size on, in bytes, a block is memory
#: of its own, which is returned when it is freed. By default, glibc raises this size to 32 MB.
_OPTIONS = {"M_ARENA_MAX": (-8, 4), "M_MMAP_THRESHOLD": (-3, 256 << 10)}


def return_freed_memory() -> None:
    """Changes the memory allocator of this process; does nothing with others than that of glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _OPTIONS.values():
            mallopt(option, value)
