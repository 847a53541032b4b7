"""IIIF identifiers: which page of which original an address names.

The identifier is the store name; with collections, it is `COLLECTION/NAME`. `;page=N` at its end selects a page of a
PDF or TIFF; without it, the first one. The web server has decoded the address, once, so a slash in an identifier may
have been sent as `/` or as `%2F`.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from assetstore import names
from assetstore.errors import NotFound

_PAGE = re.compile(r"(.*);page=([1-9][0-9]{0,4})", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Identifier:
    """A page of an original.

    Fields:
        collection: the name of the collection; None if all collections share one folder.
        name: the store name.
        page: the number of the page, from 1.
    """

    collection: str | None
    name: str
    page: int = 1

    def __str__(self) -> str:
        """The identifier as text, not encoded."""
        # A store name may end like a page.
        page = f";page={self.page}" if self.page > 1 or _PAGE.fullmatch(self.name) else ""
        return f"{self.name}{page}" if self.collection is None else f"{self.collection}/{self.name}{page}"

    @property
    def encoded(self) -> str:
        """The identifier as one segment of an address, percent-encoded (Image API 3.0, section 9)."""
        return quote(str(self), safe=";=,")


def parse(text: str, has_collections: bool) -> Identifier:
    """Returns what an identifier names.

    Parameters:
        text: the decoded identifier.
        has_collections: whether originals are in folders of their collections.

    Raises:
        NotFound: the form of the identifier is that of no original.
        BadRequest: the name is no store name.
    """
    match = _PAGE.fullmatch(text)
    file, page = (match[1], int(match[2])) if match else (text, 1)
    collection, slash, name = file.rpartition("/")
    if has_collections and not slash:
        raise NotFound(
            "The identifier must have the form COLLECTION/NAME, because this server has several collections."
        )
    if slash and not has_collections:
        raise NotFound("There is no such file.")
    return Identifier(collection if has_collections else None, names.store_name(name), page)
