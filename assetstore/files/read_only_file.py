"""A read-only, seekable file whose bytes are not in one place."""

import io


class ReadOnlyFile(io.RawIOBase):
    """The position in a file; a subclass reads.

    Parameters:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position, without reading."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def _left(self, size: int | None) -> int:
        """How many bytes a `read` of this size returns at most."""
        left = max(0, self._size - self._position)
        return left if size is None or size < 0 else min(size, left)
