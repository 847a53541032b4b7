"""Manifests of the IIIF Presentation API 3.0: the pages of originals, for viewers such as Mirador.

They are plain dictionaries: a library would check them, and so do the tests, but the server needs no models of what it
writes itself (https://iiif.io/api/presentation/3.0/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from assetstore import formats, media_types
from assetstore.iiif import levels
from assetstore.iiif.identifiers import Identifier
from assetstore.iiif.images import Page

#: The media type of manifests (Presentation API 3.0, section 6.2).
MEDIA_TYPE = 'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json"'

_CONTEXT = "http://iiif.io/api/presentation/3/context.json"

#: The least longer side of thumbnails, in pixels.
_THUMBNAIL = 200

_Data = dict[str, Any]


@dataclass(frozen=True)
class Original:
    """An original in a manifest.

    Fields:
        identifier: of its first page.
        size: bytes; None if it is not shown.
        sha256: in hexadecimal; None if it is not known or not shown.
        pages: at least one.
        has_more: whether the file has further pages, which are not shown.
    """

    identifier: Identifier
    size: int | None
    sha256: str | None
    pages: tuple[Page, ...]
    has_more: bool = False

    @property
    def query(self) -> str:
        """The parameters of routes that read the original."""
        collection = {} if self.identifier.collection is None else {"coll": self.identifier.collection}
        return urlencode({**collection, "filename": self.identifier.name})


def of_original(base: str, original: Original, has_viewer: bool = True) -> _Data:
    """Returns the manifest of an original, with a canvas for each page.

    Parameters:
        base: the address of the server, without a final slash.
        original: of which to return the manifest.
        has_viewer: whether the server has a page for it (VIEWER).
    """
    identifier = original.identifier.encoded
    viewer = {
        "id": f"{base}/view/{identifier}",
        "type": "Text",
        "label": {"en": ["Viewer"]},
        "format": "text/html",
    }
    return {
        "@context": _CONTEXT,
        "id": f"{base}/iiif/manifest/{identifier}",
        "type": "Manifest",
        "label": {"none": [original.identifier.name]},
        **_links_and_facts(base, original),
        "thumbnail": _thumbnail(base, original.identifier, original.pages[0]),
        **({"homepage": [viewer]} if has_viewer else {}),
        "items": _canvases(base, original, labelled=False),
    }


def of_collection(base: str, query: str, originals: Sequence[Original]) -> _Data:
    """Returns one manifest of several originals, in this order.

    Parameters:
        base: as for `of_original`.
        query: the parameters by which the manifest was requested, without tokens.
        originals: at least one.
    """
    first = originals[0]
    return {
        "@context": _CONTEXT,
        "id": f"{base}/iiif/collection?{query}",
        "type": "Manifest",
        "label": {"none": [", ".join(original.identifier.name for original in originals)]},
        "thumbnail": _thumbnail(base, first.identifier, first.pages[0]),
        "items": [canvas for original in originals for canvas in _canvases(base, original, labelled=True)],
    }


def _canvases(base: str, original: Original, labelled: bool) -> list[_Data]:
    """The pages; *labelled*: by the original as well, because the manifest has others."""
    canvases = []
    for number, page in enumerate(original.pages, 1):
        identifier = Identifier(original.identifier.collection, original.identifier.name, number)
        canvas = f"{base}/iiif/canvas/{identifier.encoded}"
        label = str(number)
        if labelled:
            label = f"{identifier.name}, page {number}" if len(original.pages) > 1 else identifier.name
        annotation = {
            "id": f"{canvas}/image",
            "type": "Annotation",
            "motivation": "painting",
            "body": _image(base, identifier, page),
            "target": canvas,
        }
        extra = _links_and_facts(base, original) if labelled else {}
        canvases.append(
            {
                "id": canvas,
                "type": "Canvas",
                "label": {"none": [label]},
                "width": page.width,
                "height": page.height,
                "thumbnail": _thumbnail(base, identifier, page),
                **extra,
                "items": [{"id": f"{canvas}/images", "type": "AnnotationPage", "items": [annotation]}],
            }
        )
    return canvases


def _image(base: str, identifier: Identifier, page: Page) -> _Data:
    width, height = levels.largest(page.width, page.height)
    return _part(_service_id(base, identifier), "max", width, height)


def _thumbnail(base: str, identifier: Identifier, page: Page) -> list[_Data]:
    offered = levels.sizes(page.width, page.height)
    width, height = next((size for size in offered if max(size) >= _THUMBNAIL), offered[-1])
    return [_part(_service_id(base, identifier), f"{width},{height}", width, height)]


def _part(service: str, size: str, width: int, height: int) -> _Data:
    """The whole page at a size."""
    return {
        "id": f"{service}/full/{size}/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": width,
        "height": height,
        "service": [{"id": service, "type": "ImageService3", "profile": "level2"}],
    }


def _service_id(base: str, identifier: Identifier) -> str:
    return f"{base}/iiif/3/{identifier.encoded}"


def _links_and_facts(base: str, original: Original) -> _Data:
    """What a manifest or canvas says about the file."""
    number = len(original.pages)
    summary = {"summary": {"en": [f"The file has more pages; only the first {number} are shown."]}}
    return {
        **(summary if original.has_more else {}),
        "metadata": _metadata(original),
        "seeAlso": [_file_metadata(base, original)],
        "rendering": [_file(base, original)],
    }


def _file(base: str, original: Original) -> _Data:
    """The original itself. `view=0`: browsers get the file and not the viewer."""
    media_type = media_types.guess(original.identifier.name)
    return {
        "id": f"{base}/fileget?{original.query}&view=0",
        "type": "Image" if media_type.startswith("image/") else "Text",
        "label": {"en": [_file_label(original)]},
        "format": media_type,
    }


def _file_metadata(base: str, original: Original) -> _Data:
    return {
        "id": f"{base}/getmetadata?{original.query}",
        "type": "Dataset",
        "label": {"en": ["Metadata of the file (EXIF and others)"]},
        "format": "application/json",
    }


def _metadata(original: Original) -> list[_Data]:
    pairs = [
        ("File name", original.identifier.name),
        ("File type", _format(original)),
        *([] if original.size is None else [("File size", _sizes(original.size))]),
        *([("SHA-256", original.sha256)] if original.sha256 else []),
    ]
    return [{"label": {"en": [label]}, "value": {"none": [value]}} for label, value in pairs]


def _file_label(original: Original) -> str:
    if original.size is None:
        return f"File ({_format(original)})"
    return f"Original file ({_format(original)}, {size_in_words(original.size)})"


def _sizes(size: int) -> str:
    return f"{size_in_words(size)} ({size:,} bytes)"


def _format(original: Original) -> str:
    return formats.title(media_types.guess(original.identifier.name))


def size_in_words(size: int) -> str:
    """Returns a number of bytes in a unit that people read, such as `324 MB`."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 99.5 else f"{value:.1f} {unit}"


def collection_query(identifiers: Sequence[Identifier]) -> str:
    """Returns the parameters of the manifest of several originals."""
    return "&".join(f"names={quote(str(identifier), safe='')}" for identifier in identifiers)
