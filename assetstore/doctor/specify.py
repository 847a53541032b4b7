"""Plays Specify 6 and Specify 7: key, upload in both orders of parts, reading, thumbnails, metadata, delete."""

import json
from collections.abc import Callable, Iterator

from assetstore import formats
from assetstore.auth import tokens
from assetstore.doctor import samples
from assetstore.doctor.client_simulation import SCALE, Reply, Visit
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault

#: Longer ago than any tolerance.
_LONG_AGO = 10**7

_LOOK = "Look into the server's log, and that of the proxy in front."


def key(visit: Visit, known: str | None) -> Iterator[Finding]:
    """Whether the server takes this key, and no other. Raises RemoteFault if nothing more can be tried."""
    meaning = "Specify says that attachments are unavailable, or refuses each upload."
    status, text = visit.remote.test_key()
    if status == 403 and known is None:
        remedy = "Set ASSET_SERVER_KEY, or say --key-file."
        yield warning("key", "No key was given: uploads cannot be tried.", "This report is not complete.", remedy)
        raise RemoteFault("Without the key nothing more can be tried.", answered=403)
    if status != 200:
        is_late = "TIME_TOLERANCE" in text
        remedy = "Let both machines get their time by NTP." if is_late else "Give Specify and the server the same KEY."
        yield error("key", f"The server refuses this key: {status} {text}", meaning, remedy)
        raise RemoteFault("With this key nothing more can be tried.", answered=403)
    now = int(tokens_time(visit))
    status, text = visit.remote.test_key(tokens.make("another key", "doctor", now))
    if status == 200:
        meaning = "Anybody who reaches the server can upload and delete attachments."
        yield warning("key", "The server takes any key: nothing is checked.", meaning, "Set KEY in its settings.")
        return
    if not text:
        yield warning(
            "key",
            "A refusal comes without a reason.",
            "Specify 7 takes it for an ended session, and people log in again and again.",
            "Let the proxy pass the bodies of errors on.",
        )
    if known is not None and visit.remote.test_key(tokens.make(known, "doctor", now - _LONG_AGO))[0] == 200:
        meaning = "Whoever overheard a token can use it for ever."
        yield warning("key", "The age of tokens is not checked.", meaning, "Set TIME_TOLERANCE in its settings.")
    yield ok("key", "The server takes this key, and no other.")


def tokens_time(visit: Visit) -> float:
    """Returns the server's time, seconds since 1970."""
    token = visit.remote.token("doctor")
    return float(token.rpartition(":")[2]) if token else 0.0


def cors(visit: Visit) -> Iterator[Finding]:
    """Whether pages of Specify 7, on another host, may upload and read what went wrong."""
    asked = {"Access-Control-Request-Method": "POST"}
    preflight = visit.ask("OPTIONS", "/fileupload", headers=asked)
    refusal = visit.ask("POST", "/fileupload", headers={"Content-Type": "text/plain"}, body=b"")
    for what, reply in (("Browsers ask before they upload (OPTIONS), and", preflight), ("A refused upload", refusal)):
        allowed = reply.header("Access-Control-Allow-Origin")
        if allowed in ("*", visit.origin) and (reply is refusal or 200 <= reply.status < 300):
            continue
        yield error(
            "CORS",
            f"{what} gets {reply.status} with Access-Control-Allow-Origin {allowed!r} instead of '*'.",
            "Uploads from the browser fail in Specify 7, without a reason being shown.",
            "Let the proxy pass OPTIONS and this header on, and add none of its own.",
        )
        return
    yield ok("CORS", "Pages of Specify 7 may upload and see errors.")


def uploads(visit: Visit) -> Iterator[Finding]:
    """An upload by each Specify, read again and deleted."""
    content = samples.JPEG.read()
    for who, name, file_first in (
        ("Specify 6", visit.desktop_name(".jpg"), False),
        ("Specify 7", visit.web_name(".jpg"), True),
    ):
        reply = visit.upload(name, content, file_first=file_first, local_name="specimen.jpg")
        if reply.status != 200:
            yield _upload_failed(who, reply)
            continue
        yield ok("upload", f"An upload as by {who} is stored.")
        yield from _reading(visit, name, content)
        yield from _metadata(visit, name)
        yield from _deleting(visit, name)
    yield from _names(visit)


def thumbnails(visit: Visit, expected: Callable[[str], bool]) -> Iterator[Finding]:
    """A thumbnail of each format.

    Parameters:
        visit: to the server.
        expected: whether the server ought to have thumbnails of a media type.
    """
    for sample in filter(lambda sample: expected(sample.media_type), samples.ALL):
        name = visit.web_name(sample.extension)
        reply = visit.upload(name, sample.read())
        if reply.status == 200:
            reply = visit.file(name, type="T", scale=str(SCALE))
            visit.delete(name)
        is_picture = formats.recognise(reply.body[: formats.HEAD_LENGTH]) is not None
        check, meaning = "thumbnails", f"Attachments of type {sample.title} have no thumbnails."
        if reply.status == 200 and is_picture:
            yield ok(check, f"{sample.title} has thumbnails.")
        elif reply.status == 415:
            yield warning(check, f"{sample.title} has none: {reply.text}", meaning, "Add it to CAN_THUMBNAIL.")
        else:
            remedy = "Run doctor on the server itself; it says which tool is wrong."
            yield error(check, f"{sample.title} has none: {reply.status} {_said(reply)}", meaning, remedy)


def _upload_failed(who: str, reply: Reply) -> Finding:
    found = f"An upload as by {who} gets {reply.status}: {_said(reply)}"
    meaning = "Nothing can be uploaded." if who == "Specify 6" else "Nothing can be uploaded from Specify 7."
    remedies = {
        403: "Give Specify and the server the same KEY, and both the right time.",
        404: "Say --collection with the name that Specify sends; COLLECTION_DIRS has to know it.",
        405: "Let the proxy pass POST on.",
        413: "Raise the proxy's limit (client_max_body_size 0 in nginx), or MAX_UPLOAD_BYTES.",
        507: "Make room on the server's disk.",
    }
    if 300 <= reply.status < 400:
        return error("upload", found, meaning, "Do not redirect uploads: no client follows. Use the final address.")
    return error("upload", found, meaning, remedies.get(reply.status, _LOOK))


def _reading(visit: Visit, name: str, content: bytes) -> Iterator[Finding]:
    meaning = "Downloads are wrong or break off; video and sound cannot be skipped through."
    whole = visit.file(name)
    if whole.status != 200 or whole.body != content:
        yield error("reading", f"The file comes back changed, or not: {whole.status} {_said(whole)}", meaning, _LOOK)
        return
    part = visit.file(name, {"Range": "bytes=100-199"})
    if part.status != 206 or part.body != content[100:200]:
        remedy = "Let the proxy pass Range on (no slices or caches that drop it)."
        yield warning("ranges", f"A part of the file gets {part.status} instead of 206.", meaning, remedy)
    head = visit.file(name, method="HEAD")
    if head.status != 200 or head.header("Content-Length") != str(len(content)):
        yield warning("reading", f"HEAD gets {head.status} without the right length.", meaning, _LOOK)
    etag = whole.header("ETag")
    if etag and visit.file(name, {"If-None-Match": etag}).status != 304:
        slow = "Galleries load slower than they could: browsers get each picture again."
        yield warning("reading", "What has not changed is sent again.", slow, "Let the proxy pass ETag on.")
    if whole.header("Content-Type") != samples.JPEG.media_type:
        shown = f"A JPEG comes as {whole.header('Content-Type')!r}."
        yield warning("reading", shown, "Browsers may offer pictures for saving instead of showing them.", _LOOK)
    yield ok("reading", "The file comes back byte for byte, and in parts.")


def _metadata(visit: Visit, name: str) -> Iterator[Finding]:
    signed = visit.remote.signed(name, {"filename": name})
    date = visit.ask("GET", "/getmetadata", {**signed, "dt": "date"})
    every = visit.ask("GET", "/getmetadata", {**signed, "dt": "json"})
    try:
        groups = json.loads(every.body) if every.status == 200 else None
    except ValueError:
        groups = None
    if date.text != samples.DATE or not isinstance(groups, list) or not groups:
        meaning = "Specify does not fill in the date when a picture was taken."
        found = f"The date of a photograph gets {date.status} {_said(date)!r}, all its metadata {every.status}."
        yield error("metadata", found, meaning, _LOOK)
        return
    yield ok("metadata", "Metadata of photographs can be read.")


def _deleting(visit: Visit, name: str) -> Iterator[Finding]:
    reply = visit.delete(name)
    meaning = "Attachments cannot be deleted in Specify; the record stays with an error."
    if reply.status != 200:
        remedy = "Do not redirect deletes: no client follows." if 300 <= reply.status < 400 else _LOOK
        yield error("delete", f"A delete gets {reply.status}: {_said(reply)}", meaning, remedy)
        return
    gone = visit.file(name)
    if gone.status != 404:
        shown = "Deleted pictures are still shown."
        remedy = "Let the proxy cache nothing, or ask the server each time (Cache-Control: no-cache)."
        yield error("delete", f"After the delete the file still gets {gone.status}.", shown, remedy)
        return
    yield ok("delete", "Deleted is deleted.")


def _names(visit: Visit) -> Iterator[Finding]:
    name = visit.web_name(" ä+植 &.txt")
    stored = visit.upload(name, b"doctor")
    if stored.status != 200 or visit.file(name).body != b"doctor":
        yield error(
            "names",
            f"A file whose name is not plain English does not come back: {stored.status} {_said(stored)}",
            "Attachments with such names are lost to view.",
            "Let the proxy pass addresses on as they come, without decoding them.",
        )
        return
    visit.delete(name)
    yield ok("names", "Names with blanks and letters of other languages work.")


def _said(reply: Reply) -> str:
    """What an answer says, unless it is a page or a picture."""
    return reply.text if reply.header("Content-Type").startswith("text/plain") else ""
