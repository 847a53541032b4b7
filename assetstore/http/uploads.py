"""Uploads: from the socket through a streaming multipart parser straight into a private file, hashed on the way.

The parts come in any order: Specify 7 and old Specify 6 send the file first, so the bytes are
written before token, name and collection are known, and get their name only after all of them
have been checked (protocol.md, "Routes").
"""

from collections.abc import Callable
from typing import Any

import multipart

from assetstore.errors import BadRequest, TooLarge
from assetstore.http.bodies import RequestBody, body_length
from assetstore.http.checksum import Checksum
from assetstore.http.parameters import CHARSETS, UNKNOWN_CHARSET, Parameters
from assetstore.storage.protocols import Incoming

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
_FIRST_CHUNK = 4 * 1024

#: An RFC 2046 boundary has at most 70 characters; a longer one costs time in the search for it.
_LONGEST_BOUNDARY = 200

#: Called when the file of an upload begins, with the fields that came before it; returns where to write it.
FileOpener = Callable[[Parameters], Incoming | None]


def read_form(environ: dict[str, Any]) -> Parameters:
    """Returns the fields of a form without files, urlencoded or multipart.

    Parameters:
        environ: of the WSGI request.

    Raises:
        BadRequest, TooLarge: as `Upload.receive`.
    """
    media_type, options = multipart.parse_options_header(environ.get("CONTENT_TYPE", ""))
    if media_type == "multipart/form-data":
        with Upload() as upload:
            upload.receive(environ, lambda _fields: None)
            return upload.fields
    body = body_of(environ)
    if body.length > LONGEST_FIELD:
        raise TooLarge("The request is too large.")
    data = bytearray()
    while chunk := body.read(_CHUNK):
        data += chunk
    return Parameters.from_urlencoded(bytes(data), options.get("charset"))


def body_of(environ: dict[str, Any]) -> RequestBody:
    """Returns the body of a WSGI request, which `serving.admission` may have wrapped already."""
    body = environ["wsgi.input"]
    return body if isinstance(body, RequestBody) else RequestBody(body, body_length(environ))


class Upload:
    """What a multipart upload brought: its fields, and the file in a private place, if there was one.

    Parameters:
        most_bytes: how long the file may be, None for any length (MAX_UPLOAD_BYTES).

    Attributes:
        on_data: called with the number of bytes before they are written; may raise to end the upload there.
        fields: the text fields.
        incoming: where the file was written; None if there was none, or it was read past.
        size: bytes of the file so far.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self.on_data: Callable[[int], None] = lambda _size: None
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

    def receive(self, environ: dict[str, Any], open_file: FileOpener) -> None:
        """Reads the whole body.

        Parameters:
            environ: of a WSGI request with multipart/form-data.
            open_file: called when the file begins, with the fields that came before it. Returns
                where to write it, None to read past it; may raise to end the upload there.

        Raises:
            BadRequest: not multipart, no or a broken boundary, truncated, two files.
            TooLarge: too many or too long fields, or the file is too long.
            OutOfSpace, StorageFault: from the store.
        """
        body = body_of(environ)
        if self._most_bytes is not None and body.length > self._most_bytes + _MOST_BYTES_BESIDES:
            raise self._too_long()
        media_type, options = multipart.parse_options_header(environ.get("CONTENT_TYPE", ""))
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
        self,
        parser: multipart.PushMultipartParser,
        body: RequestBody,
        open_file: FileOpener,
    ) -> None:
        field = bytearray()
        field_bytes = 0
        part: multipart.MultipartSegment | None = None
        # Small pieces until the file begins: a token that comes before it is judged before more is read.
        while chunk := body.read(_CHUNK if self.has_file else _FIRST_CHUNK):
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
        self.on_data(len(data))
        self._checksum.update(data)
        incoming.write(data)

    def _too_long(self) -> TooLarge:
        return TooLarge(f"The file is too large: this server takes at most {self._most_bytes} bytes.")

    def _begin_file(self, open_file: FileOpener) -> None:
        if self.has_file:
            raise BadRequest("An upload holds one file; this one holds more.")
        self.has_file = True
        self.incoming = open_file(self.fields)


def _charset(part: multipart.MultipartSegment) -> str:
    return CHARSETS.get((part.charset or "utf-8").lower(), UNKNOWN_CHARSET)
