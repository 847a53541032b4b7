"""Reads IPTC metadata: the datasets of the Information Interchange Model (IIM 4.2), the predecessor of XMP.

No library is suitable: iptcinfo3 reads only JPEG files and prints messages, and Pillow does not handle names and
encodings. The format is simple, with five bytes before each value.
"""

from collections.abc import Iterator

from assetstore.metadata.exif_texts import LONGEST_TEXT, latin

_MARKER = 0x1C
_ENVELOPE, _APPLICATION = 1, 2
_CHARACTER_SET = 90
_UTF_8 = b"\x1b%G"

_MOST_DATASETS = 2000

#: The datasets of record 2, with their names in IIM.
_NAMES = {
    **{5: "ObjectName", 7: "EditStatus", 10: "Urgency", 12: "SubjectReference", 15: "Category"},
    **{20: "SupplementalCategories", 22: "FixtureIdentifier", 25: "Keywords", 26: "ContentLocationCode"},
    **{27: "ContentLocationName", 30: "ReleaseDate", 35: "ReleaseTime", 37: "ExpirationDate", 38: "ExpirationTime"},
    **{40: "SpecialInstructions", 55: "DateCreated", 60: "TimeCreated", 62: "DigitalCreationDate"},
    **{63: "DigitalCreationTime", 65: "OriginatingProgram", 70: "ProgramVersion", 75: "ObjectCycle"},
    **{80: "By-line", 85: "By-lineTitle", 90: "City", 92: "Sub-location", 95: "Province-State"},
    **{100: "Country-PrimaryLocationCode", 101: "Country-PrimaryLocationName"},
    **{103: "OriginalTransmissionReference", 105: "Headline", 110: "Credit", 115: "Source"},
    **{
        116: "CopyrightNotice",
        118: "Contact",
        120: "Caption-Abstract",
        122: "Writer-Editor",
        135: "LanguageIdentifier",
    },
}


def read(data: bytes) -> dict[str, str]:
    """Returns the named datasets as `{name: text}`; several values of one name are separated by `; `."""
    found: dict[str, str] = {}
    is_utf_8 = False
    for record, number, value in _datasets(data):
        if (record, number) == (_ENVELOPE, _CHARACTER_SET):
            is_utf_8 = value == _UTF_8
        elif record == _APPLICATION and number in _NAMES:
            text = (value.decode("utf-8", "replace") if is_utf_8 else latin(value)).replace("\0", "").strip()
            name = _NAMES[number]
            if text:
                found[name] = (f"{found[name]}; {text}" if name in found else text)[:LONGEST_TEXT]
    return found


def _datasets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    for _ in range(_MOST_DATASETS):
        head = data[position : position + 5]
        if len(head) < 5 or head[0] != _MARKER:
            return
        length, position = int.from_bytes(head[3:]), position + 5
        if length & 0x8000:  # an extended dataset: the other bits are the number of bytes of the length
            width = length & 0x7FFF
            length, position = int.from_bytes(data[position : position + width]), position + width
        yield head[1], head[2], data[position : position + length]
        position += length
