"""Uploads: from the socket through a streaming multipart parser straight into a private file, hashed on the way.

The parts come in any order: Specify 7 and old Specify 6 send the file first, so the bytes are
written before token, name and collection are known, and get their name only after all of them
have been checked (protocol.md, "Routes").
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import multipart

from assetstore.checksums import Checksum
from assetstore.errors import BadRequest, LengthRequired, TooLarge
from assetstore.parameters import CHARSETS, UNKNOWN_CHARSET, Parameters
from assetstore.storage import Incoming

#: Specify sends eight parts; no client needs as many as this.
MOST_PARTS = 64

#: The longest text field in bytes. Names have at most 255, tokens some 50.
LONGEST_FIELD = 64 * 1024

#: All text fields together, in bytes.
MOST_FIELD_BYTES = 256 * 1024

#: What a request may be longer than its file: all fields, and the headers of all parts.
_MOST_BYTES_BESIDES = 2 * MOST_FIELD_BYTES

#: Bytes taken from the socket at a time; beyond this the speed no longer grows.
_CHUNK = 512 * 1024

#: An RFC 2046 boundary has at most 70 characters; a longer one costs time in the search for it.
_LONGEST_BOUNDARY = 200


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Fields:
        stream: where to read; never read beyond *length*.
        length: bytes, or None where the web server itself ends the stream (chunked).
        content_type: the header's value.
    """

    stream: BinaryIO
    length: int | None
    content_type: str

    @classmethod
    def of(cls, environ: dict[str, Any]) -> "Body":
        """Returns the body of a WSGI request. Raises BadRequest, LengthRequired as `body_length`."""
        return cls(environ["wsgi.input"], body_length(environ), environ.get("CONTENT_TYPE", ""))

    def media_type(self) -> tuple[str, dict[str, str]]:
        """Returns the media type in lower case and its parameters."""
        media_type, options = multipart.parse_options_header(self.content_type)
        return media_type, options

    def chunks(self) -> Iterator[bytes]:
        """Yields the body piece by piece.

        Raises:
            BadRequest: the connection ended or stalled before the announced length.
        """
        left = self.length
        while left is None or left > 0:
            try:
                data = self.stream.read(_CHUNK if left is None else min(_CHUNK, left))
            except OSError as error:
                raise BadRequest("The upload stalled or was cut off; nothing was stored.", str(error)) from error
            if not data:
                if left is None:
                    return
                raise BadRequest("The upload was cut off; nothing was stored.", f"{left} bytes are missing")
            if left is not None:
                left -= len(data)
            yield data

    def read_form(self) -> Parameters:
        """Returns the fields of a form without files, urlencoded or multipart.

        Raises:
            BadRequest, TooLarge: as `Upload.receive`.
        """
        media_type, options = self.media_type()
        if media_type != "multipart/form-data":
            return Parameters.from_urlencoded(self.read_all(LONGEST_FIELD), options.get("charset"))
        with Upload() as upload:
            upload.receive(self, lambda _fields: None)
            return upload.fields

    def read_all(self, limit: int) -> bytes:
        """Returns the whole body. Raises TooLarge beyond *limit* bytes, BadRequest as `chunks`."""
        if self.length is not None and self.length > limit:
            raise TooLarge("The request is too large.")
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise TooLarge("The request is too large.")
        return bytes(data)


def body_length(environ: dict[str, object]) -> int | None:
    """Returns the length of a request's body in bytes; None if the web server ends the stream.

    Raises:
        BadRequest: the Content-Length is not a number (RFC 9110, 8.6).
        LengthRequired: chunked, and the web server does not decode that.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        if environ.get("wsgi.input_terminated"):
            return None
        raise LengthRequired("The server needs the Content-Length of the upload; chunked transfer is not possible.")
    text = str(environ.get("CONTENT_LENGTH") or "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadRequest("The Content-Length is not a number of bytes.")
    return int(text)


class Upload:
    """What a multipart upload brought: its fields, and the file in a private place, if there was one.

    Parameters:
        most_bytes: how long the file may be, None for any length (MAX_UPLOAD_BYTES).

    Attributes:
        fields: the text fields.
        incoming: where the file was written; None if there was none, or it was read past.
        size: bytes of the file so far.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self.fields = Parameters()
        self.has_file = False
        self.incoming: Incoming | None = None
        self.size = 0
        self._most_bytes = most_bytes
        self._checksum = Checksum()

    @property
    def sha256(self) -> str:
        """The checksum of the file so far, hexadecimal."""
        return self._checksum.hexdigest()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *exception: object) -> None:
        self._checksum.close()
        if self.incoming is not None:
            self.incoming.__exit__(None, None, None)

    def receive(self, body: Body, open_file: Callable[[Parameters], Incoming | None]) -> None:
        """Reads the whole body.

        Parameters:
            body: of a multipart/form-data request.
            open_file: called when the file begins, with the fields that came before it. Returns
                where to write it, None to read past it; may raise to end the upload there.

        Raises:
            BadRequest: not multipart, no or a broken boundary, truncated, two files.
            TooLarge: too many or too long fields, or the file is too long.
            OutOfSpace, StorageFault: from the store.
        """
        if self._most_bytes is not None and (body.length or 0) > self._most_bytes + _MOST_BYTES_BESIDES:
            raise self._too_long()
        media_type, options = body.media_type()
        boundary = options.get("boundary", "")
        if media_type != "multipart/form-data":
            raise BadRequest("An upload must be sent as multipart/form-data.")
        if not boundary or len(boundary) > _LONGEST_BOUNDARY:
            raise BadRequest("The multipart boundary is missing or too long.")
        try:
            # Part headers hold local file names in whatever charset; nobody needs them to be right.
            parser = multipart.PushMultipartParser(boundary, max_segment_count=MOST_PARTS, header_charset="latin-1")
            with parser:
                self._read_parts(parser, body, open_file)
        except multipart.ParserLimitReached as error:
            raise TooLarge("The upload has too many parts or too long headers.", str(error)) from error
        except multipart.MultipartError as error:
            raise BadRequest("The multipart body is broken or cut off; nothing was stored.", str(error)) from error

    def _read_parts(
        self, parser: multipart.PushMultipartParser, body: Body, open_file: Callable[[Parameters], Incoming | None]
    ) -> None:
        field = bytearray()
        field_bytes = 0
        part: multipart.MultipartSegment | None = None
        for chunk in body.chunks():
            for event in parser.parse(chunk):
                if isinstance(event, multipart.MultipartSegment):
                    part = event
                    if part.filename is not None:
                        self._begin_file(open_file)
                elif part is None:
                    continue
                elif part.filename is not None:
                    if event and self.incoming is not None:
                        self._take(event, self.incoming)
                elif event:
                    field += event
                    field_bytes += len(event)
                    if len(field) > LONGEST_FIELD or field_bytes > MOST_FIELD_BYTES:
                        raise TooLarge("A text field of the upload is too long.")
                else:
                    self.fields.add(part.name or "", bytes(field), _charset(part))
                    field.clear()

    def _take(self, data: bytes | bytearray | memoryview, incoming: Incoming) -> None:
        self.size += len(data)
        if self._most_bytes is not None and self.size > self._most_bytes:
            raise self._too_long()
        self._checksum.update(data)
        incoming.write(data)

    def _too_long(self) -> TooLarge:
        return TooLarge(f"The file is too large: this server takes at most {self._most_bytes} bytes.")

    def _begin_file(self, open_file: Callable[[Parameters], Incoming | None]) -> None:
        if self.has_file:
            raise BadRequest("An upload holds one file; this one holds more.")
        self.has_file = True
        self.incoming = open_file(self.fields)


def _charset(part: multipart.MultipartSegment) -> str:
    return CHARSETS.get((part.charset or "utf-8").lower(), UNKNOWN_CHARSET)
