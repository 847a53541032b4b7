"""What a copy keeps of the metadata of a file: a few tags of EXIF and XMP. IPTC credits become XMP."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from assetstore.location_safe import exif, xmp
from assetstore.location_safe.exif import Exif
from assetstore.metadata import iptc
from assetstore.metadata import xmp as xmp_reader
from assetstore.metadata.containers import finding
from assetstore.metadata.containers.blocks import EXIF, IPTC, XMP, Block


@dataclass(frozen=True)
class Kept:
    """What a copy has of the metadata.

    Fields:
        exif: the EXIF tags, None if there are none.
        properties: the XMP properties as `metadata.xmp.read` returns them; a copy has only some of them.
    """

    exif: Exif | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def xmp(self) -> bytes | None:
        """A new XMP packet; None if there is nothing to put into it."""
        return xmp.packet(self.properties)

    def with_properties(self, others: Mapping[str, str]) -> "Kept":
        """Returns the same with these properties, too, where there are none of the same names."""
        return Kept(self.exif, {**others, **self.properties})


def read(file: BinaryIO) -> Kept:
    """Returns what a copy has of the metadata of a file. Damaged blocks are left out. Raises StorageFault."""
    blocks = list(finding.find(file))
    tags = (exif.read(cast(BinaryIO, block.exif())) for block in blocks if block.kind == EXIF and block.name == "Image")
    properties = xmp.from_iptc(_first(iptc.read(data) for data in _data(blocks, IPTC)))
    properties |= _first(xmp_reader.read(data) for data in _data(blocks, XMP))
    return Kept(next((found for found in tags if found), None), properties)


def _data(blocks: Iterable[Block], kind: str) -> Iterable[bytes]:
    return (block.data for block in blocks if block.kind == kind and isinstance(block.data, bytes))


def _first(found: Iterable[dict[str, str]]) -> dict[str, str]:
    return next((fields for fields in found if fields), {})
