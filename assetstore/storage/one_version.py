"""Reading a file again if it was replaced meanwhile.

An open file on a disk is one version, whatever happens to its name. Object storage keeps no version open: the next
request for a replaced object is refused, or gets another version.
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar

from assetstore.errors import Overtaken

Result = TypeVar("Result")

#: How often to read. Even if a file is replaced several times per second, most attempts succeed.
_ATTEMPTS = 10


def of_one_version(read: Callable[[], Result]) -> Result:
    """Calls *read*, which opens and reads a file, again if the file was replaced meanwhile.

    Raises Overtaken if it is replaced each time, and the other errors of *read*.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(Overtaken):
            return read()
    return read()
