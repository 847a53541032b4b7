"""Reads all metadata of a file, in the form of the protocol (protocol.md, `getmetadata`). Runs in a worker process."""

from typing import BinaryIO

from assetstore.metadata import exif, iptc, xmp
from assetstore.metadata.containers import finding
from assetstore.metadata.containers.blocks import EXIF, IPTC, XMP
from assetstore.metadata.models import Metadata


def read(file: BinaryIO) -> Metadata:
    """Returns the metadata of an open file. Damaged parts are left out and cause no error.

    Parameters:
        file: a seekable file, opened for reading in binary mode.

    Raises:
        StorageFault: the bytes cannot be read.
    """
    blocks = list(finding.find(file))
    groups, date = exif.read(block for block in blocks if block.kind == EXIF)
    for kind, parse in ((IPTC, iptc.read), (XMP, xmp.read)):
        for block in blocks:
            if block.kind == kind and isinstance(block.data, bytes) and (fields := parse(block.data)):
                groups[kind] = fields | groups.get(kind, {})  # the first block counts
    return Metadata([{"Name": name, "Fields": fields} for name, fields in groups.items()], date)
