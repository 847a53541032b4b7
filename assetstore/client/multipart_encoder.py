"""The body of an upload, generated block by block, so that memory use does not depend on the size of the file."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from assetstore.errors import BadRequest

_BLOCK = 256 * 1024

#: How HTML encodes quotation marks and line breaks in file names (multipart/form-data).
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class UploadForm:
    """A form with one file, as multipart/form-data (RFC 7578).

    Parameters:
        fields: the other parts, by name.
        file: open at its beginning.
        size: of the file, bytes.
        local_name: of the file; the server does not need it.
        file_first: whether the file comes before the fields, as Specify 7 sends it, or after them.
        on_read: called with each block of the file that is sent.
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        file: BinaryIO,
        size: int,
        local_name: str,
        *,
        file_first: bool = False,
        on_read: Callable[[bytes], None] = lambda _block: None,
    ) -> None:
        self._boundary = secrets.token_hex(16)
        self._file, self._size, self._on_read = file, size, on_read
        name = local_name.translate(_ESCAPES)
        head = f'name="file"; filename="{name}"\r\nContent-Type: application/octet-stream'
        head_of_file = self._part(head)
        texts = b"".join(self._part(f'name="{name}"') + _bytes(value) + b"\r\n" for name, value in fields.items())
        end = f"--{self._boundary}--\r\n".encode("ascii")
        self._before, self._after = (
            (head_of_file, b"\r\n" + texts + end) if file_first else (texts + head_of_file, b"\r\n" + end)
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the body."""
        length = len(self._before) + self._size + len(self._after)
        return {"Content-Type": f"multipart/form-data; boundary={self._boundary}", "Content-Length": str(length)}

    def __iter__(self) -> Iterator[bytes]:
        """Yields the body. Raises BadRequest if the file has been truncated."""
        yield self._before
        left = self._size
        while left:
            block = self._file.read(min(left, _BLOCK))
            if not block:
                raise BadRequest("The file was truncated while it was read.")
            left -= len(block)
            self._on_read(block)
            yield block
        yield self._after

    def _part(self, disposition: str) -> bytes:
        return _bytes(f"--{self._boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n")


def _bytes(text: str) -> bytes:
    # surrogateescape: local file names may not be UTF-8.
    return text.encode("utf-8", "surrogateescape")
