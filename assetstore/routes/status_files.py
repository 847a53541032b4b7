"""The routes of the status page for several files at once: download as a zip archive, delete, restore.

Each request has its list as JSON in the body, and its token covers the body: the address has its digest. Only the
archive itself is requested without a token, by a ticket (`assetstore.listing.selections`).
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import bottle

from assetstore import names
from assetstore.app.bootstrap import AppContext
from assetstore.auth.tokens import Refusals
from assetstore.collections.mapping import Collections
from assetstore.errors import AssetError, BadRequest, Forbidden, NotFound, TooLarge
from assetstore.http import file_response, uploads
from assetstore.journal.events import Origin
from assetstore.originals.zip_archive import ZipArchive
from assetstore.routes import status
from assetstore.routes.responses import FileHTTPResponse, request_context, request_parameters
from assetstore.storage.models import DELETED

#: The longest list, in bytes, and how many files may be changed by one request, which takes some seconds then.
_MOST_BYTES, _MOST_CHANGES = 4 << 20, 200

#: How many files an archive may have.
MOST_FILES = 10_000

_Pair = tuple[str, str]


class StatusFiles:
    """The routes.

    Parameters:
        context: the open store and its settings.
        collections: the mapping of collections.
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, context: AppContext, collections: Collections, refused_tokens: Refusals) -> None:
        self._settings = context.settings
        self._originals = context.originals
        self._thumbnails = context.thumbnails
        self._selections = context.listing.selections
        self._collections = collections
        self._refused_tokens = refused_tokens

    def select(self) -> bottle.HTTPResponse:
        """Returns a ticket with which an archive of the files can be downloaded."""
        return _json({"ticket": self._selections.add(self._list(MOST_FILES))})

    def archive(self) -> bottle.HTTPResponse:
        """Sends the files of a ticket as one zip archive. Its length is not known before."""
        ticket = request_parameters().get("ticket") or ""  # not in the path, which is logged
        files = [(collection_dir, names.unspelled(name)) for collection_dir, name in self._selections.get(ticket)]
        name = f"{time.strftime('%Y-%m-%d')} {len(files)} {'file' if len(files) == 1 else 'files'}.zip"
        disposition = (file_response.content_disposition(name) or "").replace("inline", "attachment", 1)
        headers = {"Content-Type": "application/zip", "Content-Disposition": disposition, "Cache-Control": "no-store"}
        if bottle.request.method == "HEAD":
            return FileHTTPResponse("", 200, headers)
        archive, context = ZipArchive(self._originals, files, self._collections.named()), request_context()
        archive.on_close = lambda: setattr(context, "sent", archive.sent)
        return FileHTTPResponse(archive, 200, headers)

    def delete(self) -> bottle.HTTPResponse:
        """Deletes files, and returns which are in the trash under which entry, and which could not be deleted."""
        began_ns = time.time_ns()
        deleted, failed = self._each(self._list(_MOST_CHANGES), self._delete_one)
        entries = {}
        for where in {collection_dir for collection_dir, _ in deleted} if self._originals.keeps_trash else ():
            for entry in self._originals.trash_storage.entries(where):
                if entry.reason == DELETED and entry.removed_ns >= began_ns:
                    entries[where, entry.name] = entry.identifier
        rows = [{"place": pair[0], "name": pair[1], "entry": entries.get(pair)} for pair in deleted]
        return _json({"deleted": rows, "failed": failed})

    def _delete_one(self, collection_dir: str, name: str) -> None:
        origin = Origin(self._collections.named().get(collection_dir, ""), request_context().client)
        existed = self._originals.delete(collection_dir, names.store_name(name), origin)
        self._thumbnails.discard(collection_dir, name)
        if not existed:
            raise NotFound("There is no such file.")

    def restore(self) -> bottle.HTTPResponse:
        """Restores entries of the trash, unless a file of their name exists; returns which could not be restored."""
        pairs = self._list(_MOST_CHANGES)
        entries = {
            (where, entry.identifier): entry
            for where in {collection_dir for collection_dir, _ in pairs}
            for entry in self._originals.trash_storage.entries(where)
        }
        origin = Origin("", request_context().client)

        def restore_one(collection_dir: str, identifier: str) -> None:
            entry = entries.get((collection_dir, identifier))
            if entry is None:
                raise NotFound("The file is no longer in the trash.")
            self._originals.restore(entry, origin, may_replace=False)
            self._thumbnails.discard(collection_dir, entry.name)

        restored, failed = self._each(pairs, restore_one)
        return _json({"restored": len(restored), "failed": failed})

    def _each(self, pairs: list[_Pair], change: Callable[[str, str], None]) -> tuple[list[_Pair], list[dict[str, str]]]:
        """Makes a change for each pair; returns those for which it worked, and the others with the reason."""
        done, failed = [], []
        for pair in pairs:
            try:
                change(*pair)
                done.append(pair)
            except AssetError as error:
                failed.append({"place": pair[0], "name": pair[1], "reason": error.public})
        return done, failed

    def _list(self, most: int) -> list[_Pair]:
        """The list in the body, of pairs of a collection folder and a text. Raises Forbidden, BadRequest, TooLarge."""
        status.check_token(self._settings, self._refused_tokens)
        body = uploads.body_of(bottle.request.environ)
        if body.length > _MOST_BYTES:
            raise TooLarge("The list of files is too long.")
        data = bytearray()
        while chunk := body.read(64 * 1024):
            data += chunk
        # With the function that the page has for tokens; it only has to resist the change of a given list.
        digest = hmac.new(b"", data, hashlib.md5).hexdigest()
        if not hmac.compare_digest(digest.encode(), (request_parameters().get("digest") or "").encode()):
            raise Forbidden("The list of files is not the one that was signed.")
        pairs = _pairs(data)
        if len(pairs) > most:
            raise TooLarge(f"At most {most} files can be processed at once.")
        known = self._collections.collection_dirs()
        if any(collection_dir not in known for collection_dir, _ in pairs):
            raise NotFound("The collection does not exist any more.")
        return pairs


def install(app: bottle.Bottle, context: AppContext, collections: Collections, refused_tokens: Refusals) -> None:
    """Adds the routes to *app* if the status page is enabled (STATUS_PAGE); the parameters are those of `status`."""
    if not context.settings.status_page:
        return
    routes = StatusFiles(context, collections, refused_tokens)
    app.route("/status/zip", "POST", routes.select)
    app.route("/status/zip", "GET", routes.archive)
    app.route("/status/delete", "POST", routes.delete)
    app.route("/status/undelete", "POST", routes.restore)


def _pairs(data: bytes | bytearray) -> list[_Pair]:
    try:
        found = [(collection_dir, text) for collection_dir, text in json.loads(data)]
    except (ValueError, TypeError, RecursionError):
        raise BadRequest("The list of files is invalid.") from None
    if not all(isinstance(collection_dir, str) and isinstance(text, str) for collection_dir, text in found):
        raise BadRequest("The list of files is invalid.")
    return list(dict.fromkeys(found))


def _json(data: dict[str, Any]) -> bottle.HTTPResponse:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return bottle.HTTPResponse(json.dumps(data), 200, **headers)
