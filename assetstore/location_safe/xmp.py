"""The XMP properties that a copy keeps, and a new packet with only these.

They are credits, licences, dates and the orientation. Captions, titles and keywords are left out: they often name the
locality. So are time zones, because they say a longitude. A text in several languages keeps that of the default.
"""

import re
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape, quoteattr

_NAMESPACES = {
    "cc": "http://creativecommons.org/ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}

#: Characters that XML does not allow.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?)?)?)?", re.ASCII)

#: Longer packets do not fit into a segment of a JPEG; only forged ones are.
_MOST_BYTES = 60_000

#: Between the values of a list, in the result of `metadata.xmp.read`.
_SEPARATOR = "; "


def _plain(text: str) -> str:
    return escape(text)


def _list(text: str) -> str:
    items = "".join(f"<rdf:li>{escape(item)}</rdf:li>" for item in text.split(_SEPARATOR) if item)
    return f"<rdf:Seq>{items}</rdf:Seq>"


def _languages(text: str) -> str:
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(text)}</rdf:li></rdf:Alt>'


def _date(text: str) -> str:
    match = _DATE.match(text)
    return match[0] if match else ""


def _orientation(text: str) -> str:
    return text if text in list("12345678") else ""


#: The names of properties, and of fields of structures, as `metadata.xmp.read` returns them -> how to write them.
_KEPT: Mapping[str, Callable[[str], str]] = {
    "cc:attributionName": _plain,
    "cc:attributionURL": _plain,
    "cc:license": _plain,
    "dc:creator": _list,
    "dc:rights": _languages,
    "exif:DateTimeOriginal": _date,
    "photoshop:Credit": _plain,
    "photoshop:DateCreated": _date,
    "plus:CopyrightOwner/plus:CopyrightOwnerName": _plain,
    "plus:Licensor/plus:LicensorName": _plain,
    "plus:Licensor/plus:LicensorURL": _plain,
    "tiff:Artist": _plain,
    "tiff:Copyright": _languages,
    "tiff:Orientation": _orientation,
    "xmp:CreateDate": _date,
    "xmpRights:Marked": _plain,
    "xmpRights:Owner": _list,
    "xmpRights:UsageTerms": _languages,
    "xmpRights:WebStatement": _plain,
}

#: The datasets of IPTC that become properties, by the mapping of the IPTC Photo Metadata Standard.
_FROM_IPTC = {"By-line": "dc:creator", "CopyrightNotice": "dc:rights", "Credit": "photoshop:Credit"}


def from_iptc(fields: Mapping[str, str]) -> dict[str, str]:
    """Returns the properties for the datasets that `metadata.iptc.read` returned."""
    return {name: fields[dataset] for dataset, name in _FROM_IPTC.items() if dataset in fields}


def packet(properties: Mapping[str, str]) -> bytes | None:
    """Returns a packet with those of the properties that a copy has; None if there are none.

    Parameters:
        properties: as `metadata.xmp.read` returns them.
    """
    elements, structures = [], dict[str, list[str]]()
    for name, write in _KEPT.items():
        content = write(_NOT_XML.sub(" ", properties.get(name, "")).strip()) if properties.get(name) else ""
        structure, _, field = name.rpartition("/")
        if not content:
            continue
        if structure:
            structures.setdefault(structure, []).append(f"<{field}>{content}</{field}>")
        else:
            elements.append(f"<{name}>{content}</{name}>")
    for name, fields in structures.items():
        elements.append(
            f'<{name}><rdf:Seq><rdf:li rdf:parseType="Resource">{"".join(fields)}</rdf:li></rdf:Seq></{name}>'
        )
    if not elements:
        return None
    declared = "".join(f" xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in _NAMESPACES.items())
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{declared}>{"".join(elements)}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    ).encode()
    return text if len(text) <= _MOST_BYTES else None
