"""Sends the requests of Specify 6 and 7: key, upload in both orders of parts, read, thumbnails, metadata, delete."""

import json
from collections.abc import Callable, Iterator

from assetstore import formats
from assetstore.auth import tokens
from assetstore.doctor import samples
from assetstore.doctor.client_simulation import SCALE, Reply, SimulatedClient
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault

#: Seconds, more than any TIME_TOLERANCE.
_LONG_AGO = 10**7

_CHECK_LOGS = "Check the logs of the server and the proxy."


def key(client: SimulatedClient, known: str | None) -> Iterator[Finding]:
    """Whether the server accepts only this key. Raises RemoteFault if further checks are not possible."""
    meaning = "Specify says that attachments are unavailable, or all uploads fail."
    status, text = client.remote.test_key()
    if status == 403 and known is None:
        remedy = "Set ASSET_SERVER_KEY, or use --key-file."
        yield warning("key", "No key was given, so uploads are not checked.", "This report is incomplete.", remedy)
        raise RemoteFault("Without the key, further checks are not possible.", answered=403)
    if status != 200:
        is_late = "TIME_TOLERANCE" in text
        remedy = "Synchronize both clocks by NTP." if is_late else "Set the same KEY in Specify and the server."
        yield error("key", f"The server rejects this key: {status} {text}", meaning, remedy)
        raise RemoteFault("With this key, further checks are not possible.", answered=403)
    now = int(tokens_time(client))
    status, text = client.remote.test_key(tokens.make("another key", "doctor", now))
    if status == 200:
        meaning = "Anyone who can reach the server can upload and delete attachments."
        yield warning("key", "The server accepts any key.", meaning, "Set KEY in its settings.")
        return
    if not text:
        yield warning(
            "key",
            "Error responses have no body.",
            "Specify 7 treats them as an expired session, and asks users to log in again and again.",
            "Configure the proxy to pass the bodies of error responses on.",
        )
    if known is not None and client.remote.test_key(tokens.make(known, "doctor", now - _LONG_AGO))[0] == 200:
        meaning = "Anyone who captures a token can use it forever."
        yield warning("key", "The age of tokens is not checked.", meaning, "Set TIME_TOLERANCE in its settings.")
    yield ok("key", "The server accepts only this key.")


def tokens_time(client: SimulatedClient) -> float:
    """Returns the server's time, seconds since 1970."""
    token = client.remote.token("doctor")
    return float(token.rpartition(":")[2]) if token else 0.0


def cors(client: SimulatedClient) -> Iterator[Finding]:
    """Whether pages of Specify 7, on another host, may upload and read error messages."""
    asked = {"Access-Control-Request-Method": "POST"}
    preflight = client.ask("OPTIONS", "/fileupload", headers=asked)
    refusal = client.ask("POST", "/fileupload", headers={"Content-Type": "text/plain"}, body=b"")
    for what, reply in (("The preflight request (OPTIONS) of an upload", preflight), ("A rejected upload", refusal)):
        allowed = reply.header("Access-Control-Allow-Origin")
        if allowed in ("*", client.origin) and (reply is refusal or 200 <= reply.status < 300):
            continue
        yield error(
            "CORS",
            f"{what} returns {reply.status} with Access-Control-Allow-Origin {allowed!r} instead of '*'.",
            "Uploads from the browser fail in Specify 7, without an error message.",
            "Configure the proxy to pass OPTIONS and this header on, and to add no such header of its own.",
        )
        return
    yield ok("CORS", "Pages of Specify 7 may upload and read error messages.")


def uploads(client: SimulatedClient) -> Iterator[Finding]:
    """An upload as from Specify 6 and from Specify 7, which is read and deleted."""
    content = samples.JPEG.read()
    for who, name, file_first in (
        ("Specify 6", client.desktop_name(".jpg"), False),
        ("Specify 7", client.web_name(".jpg"), True),
    ):
        reply = client.upload(name, content, file_first=file_first, local_name="specimen.jpg")
        if reply.status != 200:
            yield _upload_failed(who, reply)
            continue
        yield ok("upload", f"An upload as from {who} is stored.")
        yield from _reading(client, name, content)
        yield from _metadata(client, name)
        yield from _deleting(client, name)
    yield from _names(client)


def thumbnails(client: SimulatedClient, expected: Callable[[str], bool]) -> Iterator[Finding]:
    """A thumbnail of each format.

    Parameters:
        client: of the server.
        expected: whether the server should have thumbnails of a media type.
    """
    for sample in filter(lambda sample: expected(sample.media_type), samples.ALL):
        name = client.web_name(sample.extension)
        reply = client.upload(name, sample.read())
        if reply.status == 200:
            reply = client.file(name, type="T", scale=str(SCALE))
            client.delete(name)
        is_picture = formats.recognise(reply.body[: formats.HEAD_LENGTH]) is not None
        check, meaning = "thumbnails", f"Attachments of type {sample.title} have no thumbnails."
        if reply.status == 200 and is_picture:
            yield ok(check, f"{sample.title} has thumbnails.")
        elif reply.status == 415:
            found = f"{sample.title} has no thumbnails: {reply.text}"
            yield warning(check, found, meaning, "Add the format to CAN_THUMBNAIL.")
        else:
            found = f"{sample.title} has no thumbnails: {reply.status} {_message(reply)}"
            remedy = "Run doctor on the server's machine to find the tool that fails."
            yield error(check, found, meaning, remedy)


def _upload_failed(who: str, reply: Reply) -> Finding:
    found = f"An upload as from {who} returns {reply.status}: {_message(reply)}"
    meaning = "Nothing can be uploaded." if who == "Specify 6" else "Nothing can be uploaded from Specify 7."
    remedies = {
        403: "Set the same KEY in Specify and the server, and synchronize their clocks.",
        404: "Use --collection with a name that Specify sends and that is in COLLECTION_DIRS.",
        405: "Configure the proxy to allow POST.",
        413: "Raise the proxy's limit (client_max_body_size 0 in nginx), or MAX_UPLOAD_BYTES.",
        507: "Free space on the server's disk.",
    }
    if 300 <= reply.status < 400:
        return error(
            "upload", found, meaning, "Use the final address in Specify. No client follows redirects of uploads."
        )
    return error("upload", found, meaning, remedies.get(reply.status, _CHECK_LOGS))


def _reading(client: SimulatedClient, name: str, content: bytes) -> Iterator[Finding]:
    meaning = "Downloads are damaged or incomplete, or seeking in video and audio does not work."
    whole = client.file(name)
    if whole.status != 200 or whole.body != content:
        found = f"The file is not returned unchanged: {whole.status} {_message(whole)}"
        yield error("reading", found, meaning, _CHECK_LOGS)
        return
    part = client.file(name, {"Range": "bytes=100-199"})
    if part.status != 206 or part.body != content[100:200]:
        remedy = "Configure the proxy to pass the Range header on; slicing and caching may remove it."
        yield warning("ranges", f"A range request returns {part.status} instead of 206.", meaning, remedy)
    head = client.file(name, method="HEAD")
    if head.status != 200 or head.header("Content-Length") != str(len(content)):
        found = f"HEAD returns {head.status}, or a wrong Content-Length."
        yield warning("reading", found, meaning, _CHECK_LOGS)
    etag = whole.header("ETag")
    if etag and client.file(name, {"If-None-Match": etag}).status != 304:
        slow = "Galleries load slowly, because browsers download each image again."
        remedy = "Configure the proxy to pass the ETag and If-None-Match headers on."
        yield warning("reading", "An unchanged file is sent again.", slow, remedy)
    if whole.header("Content-Type") != samples.JPEG.media_type:
        found = f"A JPEG has the Content-Type {whole.header('Content-Type')!r}."
        yield warning("reading", found, "Browsers may download images instead of showing them.", _CHECK_LOGS)
    yield ok("reading", "The file is returned byte for byte.")


def _metadata(client: SimulatedClient, name: str) -> Iterator[Finding]:
    signed = client.remote.signed(name, {"filename": name})
    date = client.ask("GET", "/getmetadata", {**signed, "dt": "date"})
    every = client.ask("GET", "/getmetadata", {**signed, "dt": "json"})
    try:
        groups = json.loads(every.body) if every.status == 200 else None
    except ValueError:
        groups = None
    if date.text != samples.DATE or not isinstance(groups, list) or not groups:
        meaning = "Specify does not fill in the date when a photograph was taken."
        found = f"The date of a photograph returns {date.status} {_message(date)!r}, all metadata {every.status}."
        yield error("metadata", found, meaning, _CHECK_LOGS)
        return
    yield ok("metadata", "Metadata of photographs can be read.")


def _deleting(client: SimulatedClient, name: str) -> Iterator[Finding]:
    reply = client.delete(name)
    meaning = "Deleting an attachment in Specify fails, and the record stays."
    if reply.status != 200:
        is_redirect = 300 <= reply.status < 400
        remedy = "Do not redirect deletes, because no client follows redirects." if is_redirect else _CHECK_LOGS
        yield error("delete", f"A delete returns {reply.status}: {_message(reply)}", meaning, remedy)
        return
    gone = client.file(name)
    if gone.status != 404:
        shown = "Deleted images are still shown."
        remedy = "Disable caching in the proxy, or have it revalidate each response (Cache-Control: no-cache)."
        yield error("delete", f"A deleted file still returns {gone.status}.", shown, remedy)
        return
    yield ok("delete", "A deleted file is no longer served.")


def _names(client: SimulatedClient) -> Iterator[Finding]:
    name = client.web_name(" ä+植 &.txt")
    stored = client.upload(name, b"doctor")
    if stored.status != 200 or client.file(name).body != b"doctor":
        yield error(
            "names",
            f"A file with spaces and non-ASCII characters in its name fails: {stored.status} {_message(stored)}",
            "Attachments with such names cannot be stored or shown.",
            "Configure the proxy to pass URLs on unchanged, without decoding them.",
        )
        return
    client.delete(name)
    yield ok("names", "Names with spaces and non-ASCII characters work.")


def _message(reply: Reply) -> str:
    """The error message in a response; empty unless the response is plain text."""
    return reply.text if reply.header("Content-Type").startswith("text/plain") else ""
