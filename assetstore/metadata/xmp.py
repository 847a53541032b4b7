"""Reads XMP metadata: converts a packet of RDF to a flat list of names and texts (XMP specification, part 1).

No library is suitable: python-xmp-toolkit requires the system's exempi, pyexiv2 and exiv2 parse hostile files in C++
and are licensed under GPL 3, and Pillow returns nested dictionaries without prefixes. defusedxml rejects XML attacks
(entity expansion, references to other files); this module traverses the RDF.
"""

import logging
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from assetstore.metadata.exif_texts import LONGEST_TEXT

_log = logging.getLogger(__name__)

#: Larger packets contain embedded images and editing histories; they are left out.
_MOST_BYTES = 2 << 20

_MOST_FIELDS, _DEEPEST = 1000, 8

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_ARRAYS = (f"{_RDF}Bag", f"{_RDF}Seq")

#: The prefixes of common namespaces, because the declarations may differ from file to file.
_DECLARATION = re.compile(r"""xmlns:([\w.-]{1,40})\s*=\s*["']([^"']{1,300})["']""")
_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://rs.tdwg.org/dwc/terms/": "dwc",
}

_Field = tuple[str, str]


def read(packet: bytes) -> dict[str, str]:
    """Returns the properties of a packet as `{prefix:name: text}`; {} if it is damaged or too large.

    Several values are separated by `; `. Of a text in several languages, only the default is returned. Fields of a
    structure are named `prefix:name/prefix:field`.
    """
    if len(packet) > _MOST_BYTES:
        _log.info("XMP of %s bytes is too large", len(packet))
        return {}
    if not packet.startswith((b"\xff\xfe", b"\xfe\xff")):
        packet = packet.rstrip(b"\0 \t\r\n")  # the padding, which lets programs edit in place
    try:
        root = defusedxml.ElementTree.fromstring(packet, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        _log.info("XMP cannot be read: %r", error)
        return {}
    names = _Names(packet)
    found: dict[str, str] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, text in _properties(description, names, 0):
            if len(found) >= _MOST_FIELDS:
                return found
            if text:
                found[name] = (f"{found[name]}; {text}" if name in found else text)[:LONGEST_TEXT]
        description.clear()  # nested descriptions are already included
    return found


class _Names:
    """Converts names to the well-known prefixes."""

    def __init__(self, packet: bytes) -> None:
        declared = _DECLARATION.findall(packet.replace(b"\0", b"").decode("utf-8", "replace"))
        self._prefixes = {uri: prefix for prefix, uri in declared} | _PREFIXES

    def __getitem__(self, tag: str) -> str:
        uri, _, name = tag.removeprefix("{").rpartition("}")
        prefix = self._prefixes.get(uri, "")
        return f"{prefix}:{name}" if prefix else name


def _properties(element: Element, names: _Names, depth: int) -> Iterator[_Field]:
    """Yields the properties of a description: its attributes and its children."""
    for attribute, text in element.attrib.items():
        if not attribute.startswith((_RDF, "{http://www.w3.org/XML/")):
            yield names[attribute], text.strip()
    for child in element:
        yield from _values(names[child.tag], child, names, depth)


def _values(name: str, element: Element, names: _Names, depth: int) -> Iterator[_Field]:
    """Yields the texts of a property under its name, or those of a structure under the names of its fields."""
    if depth > _DEEPEST:
        return
    if (resource := element.get(f"{_RDF}resource")) is not None:
        yield name, resource
    if not len(element):
        yield name, (element.text or "").strip()
    for child in element:
        if child.tag == f"{_RDF}Alt":
            yield name, _in_default_language(child)
        elif child.tag in _ARRAYS:
            for item in child:
                yield from _values(name, item, names, depth + 1)
        elif child.tag == f"{_RDF}Description":
            yield from _fields(name, child, names, depth)
        elif child.tag.startswith(_RDF):
            continue
        else:
            yield from _values(f"{name}/{names[child.tag]}", child, names, depth + 1)
    if len(element) == 0:
        yield from _fields(name, element, names, depth)


def _fields(name: str, structure: Element, names: _Names, depth: int) -> Iterator[_Field]:
    for field, text in _properties(structure, names, depth + 1):
        yield f"{name}/{field}", text


def _in_default_language(alternatives: Element) -> str:
    texts = {item.get(_LANGUAGE, ""): (item.text or "").strip() for item in alternatives}
    return texts.get("x-default") or next(iter(texts.values()), "")
