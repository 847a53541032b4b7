"""Uploads: a streaming multipart parser that writes the file to the store and computes its checksum while it arrives.

The parts may come in any order. Specify 7 and old versions of Specify 6 send the file first, so its bytes are
written before token, name and collection are known. The file gets its name only after all of them have been
checked (docs/protocol.md).
"""

import re
from collections.abc import Callable
from typing import Any

import multipart

from assetstore.errors import BadRequest, TooLarge
from assetstore.http.bodies import RequestBody, body_length
from assetstore.http.checksum import Checksum
from assetstore.http.parameters import CHARSETS, UNKNOWN_CHARSET, Parameters
from assetstore.names import LONGEST_NAME
from assetstore.storage.protocols import Incoming

#: The maximum number of parts; Specify sends eight.
MOST_PARTS = 64

#: The longest text field, in bytes. Names have at most 255, tokens about 50.
LONGEST_FIELD = 64 * 1024

#: All text fields together, in bytes.
MOST_FIELD_BYTES = 256 * 1024

#: How much longer than its file a request may be: all fields, and the headers of all parts.
_MOST_BYTES_BESIDES = 2 * MOST_FIELD_BYTES

#: Bytes read from the socket at a time; larger pieces are not faster.
_CHUNK = 512 * 1024
_FIRST_CHUNK = 4 * 1024

#: A boundary has at most 70 characters (RFC 2046); searching for a very long one is slow.
_LONGEST_BOUNDARY = 200

#: Called when the file of an upload begins, with the fields that came before it; returns where to write the file.
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
        raise TooLarge(f"The form is too large: this server accepts at most {LONGEST_FIELD} bytes.")
    data = bytearray()
    while chunk := body.read(_CHUNK):
        data += chunk
    return Parameters.from_urlencoded(bytes(data), options.get("charset"))


def body_of(environ: dict[str, Any]) -> RequestBody:
    """Returns the body of a WSGI request, which `serving.admission` may have wrapped already."""
    body = environ["wsgi.input"]
    return body if isinstance(body, RequestBody) else RequestBody(body, body_length(environ))


class Upload:
    """A multipart upload: its text fields, and its file if there is one.

    Parameters:
        most_bytes: the maximum size of the file (MAX_UPLOAD_BYTES), None for no limit.

    Attributes:
        on_data: called with the number of bytes before they are written; may raise an error to end the upload.
        fields: the text fields.
        incoming: where the file was written; None if there was no file, or it was ignored.
        size: bytes of the file received so far.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self.on_data: Callable[[int], None] = lambda _size: None
        self.fields = Parameters()
        self._file_part: multipart.MultipartSegment | None = None
        self.incoming: Incoming | None = None
        self.size = 0
        self._most_bytes = most_bytes
        self._checksum = Checksum()

    @property
    def sha256(self) -> str:
        """The checksum of the file so far, in hexadecimal."""
        return self._checksum.hexdigest()

    @property
    def original_name(self) -> str | None:
        """The name of the file at the client, without its folder and control characters; None if it sent none.

        It is only for people to recognise the file.
        """
        sent = (self._file_part.filename if self._file_part else None) or ""
        data = sent.encode("latin-1", "replace")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        base = re.split(r"[/\\]", text)[-1]
        return "".join(letter for letter in base if letter.isprintable()).strip()[:LONGEST_NAME] or None

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
            open_file: called when the file begins, with the fields that came before it. Returns where to
                write the file, None to ignore it; may raise an error to end the upload.

        Raises:
            BadRequest: the body is not multipart, malformed or incomplete, or contains two files.
            TooLarge: the fields or the file exceed a limit.
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
            # Part headers contain local file names in any charset; only `original_name` uses them.
            parser = multipart.PushMultipartParser(boundary, max_segment_count=MOST_PARTS, header_charset="latin-1")
            with parser:
                self._read_parts(parser, body, open_file)
        except multipart.ParserLimitReached as error:
            raise TooLarge("The upload has too many parts, or too long headers.", str(error)) from error
        except multipart.MultipartError as error:
            raise BadRequest("The multipart body is invalid or incomplete; nothing was stored.", str(error)) from error

    def _read_parts(
        self,
        parser: multipart.PushMultipartParser,
        body: RequestBody,
        open_file: FileOpener,
    ) -> None:
        field = bytearray()
        field_bytes = 0
        part: multipart.MultipartSegment | None = None
        # Small pieces until the file begins: a token that comes before the file is checked before more is read.
        while chunk := body.read(_FIRST_CHUNK if self._file_part is None else _CHUNK):
            for event in parser.parse(chunk):
                if isinstance(event, multipart.MultipartSegment):
                    part = event
                    if part.filename:
                        self._begin_file(part, open_file)
                elif part is None:
                    continue
                elif part.filename is not None:
                    if event:
                        # Without a local name, only bytes are a file: browsers send neither if no file was chosen
                        # (HTML, "constructing the entry list").
                        if part is not self._file_part:
                            self._begin_file(part, open_file)
                        self._take(event)
                elif event:
                    field += event
                    field_bytes += len(event)
                    if len(field) > LONGEST_FIELD or field_bytes > MOST_FIELD_BYTES:
                        raise TooLarge("A text field of the upload is too long.")
                else:
                    self.fields.add(part.name or "", bytes(field), _charset(part))
                    field.clear()

    def _take(self, data: bytes | bytearray | memoryview) -> None:
        if self.incoming is None:
            return
        self.size += len(data)
        if self._most_bytes is not None and self.size > self._most_bytes:
            raise self._too_long()
        self.on_data(len(data))
        self._checksum.update(data)
        self.incoming.write(data)

    def _too_long(self) -> TooLarge:
        return TooLarge(f"The file is too large: this server accepts at most {self._most_bytes} bytes.")

    def _begin_file(self, part: multipart.MultipartSegment, open_file: FileOpener) -> None:
        if self._file_part is not None:
            raise BadRequest("The upload contains more than one file; send each file in an upload of its own.")
        self._file_part = part
        self.incoming = open_file(self.fields)


def _charset(part: multipart.MultipartSegment) -> str:
    return CHARSETS.get((part.charset or "utf-8").lower(), UNKNOWN_CHARSET)
