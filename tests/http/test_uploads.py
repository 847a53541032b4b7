"""http.uploads: from multipart bytes to fields and one file, however the bytes are split and the parts ordered."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetstore.errors import AssetError, BadRequest, TooLarge
from assetstore.http import uploads
from assetstore.http.parameters import Parameters
from tests.support import multipart_body


class MemoryIncoming:
    """Takes an upload into memory."""

    def __init__(self) -> None:
        self.content = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.content += data

    def sync(self) -> None:
        pass

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        return False

    def __enter__(self) -> "MemoryIncoming":
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed = True


class Pieces(io.RawIOBase):
    """A stream that gives its content in the pieces of a bad network."""

    def __init__(self, content: bytes, sizes: Iterator[int]) -> None:
        self._content = io.BytesIO(content)
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, next(self._sizes, size)))


def environ(content: bytes, content_type: str, stream: object = None, length: int | None = None) -> dict[str, object]:
    size = str(len(content) if length is None else length)
    request = {"REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_TYPE": content_type}
    return {**request, "CONTENT_LENGTH": size, "wsgi.input": stream or io.BytesIO(content)}


def received(content: bytes, content_type: str, stream: object = None, length: int | None = None) -> uploads.Upload:
    upload = uploads.Upload()
    with upload:
        upload.receive(environ(content, content_type, stream, length), lambda fields: MemoryIncoming())
    return upload


FORM = [("type", "O"), ("store", "a.jpg"), ("token", "x:1"), ("coll", "KU Fish"), ("any name", ("l.jpg", b"\0bytes"))]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 1, 0, 3]])
def test_parts_may_arrive_in_any_order(order: list[int]) -> None:
    upload = received(*multipart_body([FORM[index] for index in order]))
    assert [upload.fields.get(name) for name in ("type", "store", "token", "coll")] == ["O", "a.jpg", "x:1", "KU Fish"]
    assert isinstance(upload.incoming, MemoryIncoming)
    assert upload.incoming.content == b"\0bytes"
    assert upload.incoming.closed


@given(
    st.binary(max_size=3000).map(lambda data: data.replace(b"7d81a9", b"")),
    st.lists(st.integers(1, 400)),
    st.permutations(range(5)),
)
def test_the_result_does_not_depend_on_how_the_bytes_are_split(
    content: bytes, sizes: list[int], order: list[int]
) -> None:
    form = [*FORM[:4], ("file", ("l.jpg", content))]
    body, content_type = multipart_body([form[index] for index in order])
    upload = received(body, content_type, Pieces(body, iter(sizes)))
    assert isinstance(upload.incoming, MemoryIncoming)
    assert upload.incoming.content == content
    assert upload.fields.get("coll") == "KU Fish"


@given(st.binary(max_size=2000))
def test_every_body_gives_a_result_or_a_public_error(body: bytes) -> None:
    try:
        received(body, "multipart/form-data; boundary=x")
    except AssetError as error:
        assert 400 <= error.status < 500
        assert error.public


def test_a_text_part_may_declare_its_charset() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="coll"\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n\r\n'
        b"Herpetolog\xeda\r\n--b--\r\n"
    )
    fields = received(body, "multipart/form-data; boundary=b; charset=UTF-8").fields
    assert fields.get("coll") == "Herpetología"


def test_local_file_names_may_be_in_any_charset() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="Jos\xe9.jpg"; filename="Jos\xe9.jpg"\r\n\r\nx\r\n--b--\r\n'
    upload = received(body, "multipart/form-data; boundary=b")
    assert upload.incoming is not None
    assert upload.original_name == "José.jpg"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Fötö 7.JPG", "Fötö 7.JPG"),
        ("C:\\Users\\José\\a.jpg", "a.jpg"),
        ("/home/a/b.jpg", "b.jpg"),
        (" a\x1b\u202e.jpg ", "a.jpg"),
        ("folder/", None),
        ("", None),
    ],
)
def test_the_name_at_the_client_is_taken_without_its_folder_and_control_characters(sent: str, name: str | None) -> None:
    assert received(*multipart_body([("file", (sent, b"x"))])).original_name == name


#: A good body, if its boundary had a good length.
LONG_BOUNDARY = b'--%s\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--%s--\r\n'


def test_a_boundary_of_the_greatest_length_is_accepted() -> None:
    boundary = b"b" * 200
    body = LONG_BOUNDARY % (boundary, boundary)
    assert received(body, f"multipart/form-data; boundary={boundary.decode()}").fields.get("a") == "x"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("application/x-www-form-urlencoded", b"store=a.jpg"),
        ("multipart/form-data", b"--b--\r\n"),
        ("multipart/form-data; boundary=", b"--b--\r\n"),
        (f"multipart/form-data; boundary={'b' * 201}", LONG_BOUNDARY % (b"b" * 201, b"b" * 201)),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\ncut'),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno disposition\r\n--b--\r\n"),
    ],
)
def test_a_broken_body_is_a_bad_request(content_type: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        received(body, content_type)


def test_a_field_in_an_unknown_charset_is_rejected_only_if_it_is_used() -> None:
    odd = "Content-Type: text/plain; charset=utf-7"
    body = f'--b\r\nContent-Disposition: form-data; name="coll"\r\n{odd}\r\n\r\n+AC8-\r\n--b--\r\n'.encode()
    fields = received(body, "multipart/form-data; boundary=b").fields
    with pytest.raises(BadRequest, match="charset"):
        fields.get("coll")


def test_two_files_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="one file"):
        received(*multipart_body([("a", ("a", b"1")), ("b", ("b", b"2"))]))


def test_a_file_part_without_a_name_and_bytes_is_no_file() -> None:
    nothing = ("f", ("", b""))
    assert received(*multipart_body([("store", "a"), nothing])).incoming is None
    chosen = ("g", ("a.jpg", b"1"))
    for parts in ([nothing, chosen], [chosen, nothing]):
        upload = received(*multipart_body(parts))
        assert isinstance(upload.incoming, MemoryIncoming)
        assert (upload.incoming.content, upload.size) == (b"1", 1)


@pytest.mark.parametrize(("name", "content"), [("a.jpg", b""), ("", b"1"), ("a.jpg", b"1")])
def test_a_file_part_with_a_name_or_bytes_is_a_file(name: str, content: bytes) -> None:
    upload = received(*multipart_body([("f", (name, content))]))
    assert isinstance(upload.incoming, MemoryIncoming)
    assert upload.incoming.content == content


def test_two_files_without_a_name_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="one file"):
        received(*multipart_body([("a", ("", b"1")), ("b", ("", b"2"))]))


def test_twenty_thousand_parts_and_a_huge_field_are_too_large() -> None:
    with pytest.raises(TooLarge):
        received(*multipart_body([("f", "x")] * 20_000))
    with pytest.raises(TooLarge):
        received(*multipart_body([("coll", "x" * 32_000_000)]))
    with pytest.raises(TooLarge):
        received(*multipart_body([(f"f{index}", "x" * 60_000) for index in range(10)]))


def test_a_body_shorter_than_announced_is_a_bad_request() -> None:
    body, content_type = multipart_body(FORM)
    with pytest.raises(BadRequest, match="interrupted"):
        received(body[:-20], content_type, length=len(body))


def test_a_stalled_connection_is_a_bad_request() -> None:
    class Stalled(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise TimeoutError

    with pytest.raises(BadRequest, match="stalled"):
        received(b"", "multipart/form-data; boundary=b", Stalled(), length=10)


def test_the_file_may_be_rejected_when_its_part_begins() -> None:
    def refuse(fields: Parameters) -> None:
        assert fields.get("store") == "a.jpg"
        raise TooLarge("no")

    body, content_type = multipart_body(FORM)
    with pytest.raises(TooLarge), uploads.Upload() as upload:
        upload.receive(environ(body, content_type), refuse)


def test_a_token_before_the_file_is_checked_before_much_is_read() -> None:
    def refuse(fields: Parameters) -> None:
        raise BadRequest("no")

    body, content_type = multipart_body([("store", "a"), ("token", "x"), ("f", ("f", bytes(1_000_000)))])
    stream = io.BytesIO(body)
    with pytest.raises(BadRequest), uploads.Upload() as upload:
        upload.receive(environ(body, content_type, stream), refuse)
    assert stream.tell() <= 4096


def test_the_byte_counter_may_abort_the_upload() -> None:
    counted: list[int] = []

    def count(size: int) -> None:
        counted.append(size)
        if sum(counted) > 1_000_000:
            raise TooLarge("enough")

    body, content_type = multipart_body([("f", ("f", bytes(3_000_000)))])
    incoming = MemoryIncoming()
    with pytest.raises(TooLarge, match="enough"), uploads.Upload() as upload:
        upload.on_data = count
        upload.receive(environ(body, content_type), lambda _fields: incoming)
    assert len(incoming.content) <= 1_000_000


@pytest.mark.parametrize("name_first", [True, False])
@pytest.mark.parametrize("size", [1000, 1001])
def test_a_file_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(size: int, name_first: bool) -> None:
    parts: list[tuple[str, str | tuple[str, bytes]]] = [("store", "a"), ("f", ("f", bytes(size)))]
    body, content_type = multipart_body(parts if name_first else parts[::-1])
    incoming = MemoryIncoming()
    with uploads.Upload(most_bytes=1000) as upload:
        try:
            upload.receive(environ(body, content_type), lambda _fields: incoming)
        except TooLarge as error:
            assert size == 1001
            assert "at most 1000 bytes" in error.public
        else:
            assert size == 1000
    assert len(incoming.content) <= 1000


def test_a_body_that_is_too_long_for_its_file_is_refused_unread() -> None:
    body, content_type = multipart_body([("f", ("f", bytes(10)))])
    stream = io.BytesIO(body)
    with uploads.Upload(most_bytes=1000) as upload, pytest.raises(TooLarge):
        upload.receive(environ(body, content_type, stream, 1000 + 600_000), lambda _fields: MemoryIncoming())
    assert stream.tell() == 0


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_a_form_of_too_many_bytes_is_refused(kind: str) -> None:
    good, bad = b"filename=" + b"a" * 60_000, b"filename=" + b"a" * 66_000
    if kind == "urlencoded":
        content_type = "application/x-www-form-urlencoded"
    else:
        good, content_type = multipart_body([("filename", "a" * 60_000)])
        bad, _ = multipart_body([("filename", "a" * 66_000)])
    assert uploads.read_form(environ(good, content_type)).get("filename") == "a" * 60_000
    with pytest.raises(TooLarge):
        uploads.read_form(environ(bad, content_type))


def test_a_form_in_latin_1_that_says_so_is_decoded() -> None:
    content_type = "application/x-www-form-urlencoded; charset=ISO-8859-1"
    assert uploads.read_form(environ(b"coll=Herpetolog%EDa", content_type)).get("coll") == "Herpetología"
