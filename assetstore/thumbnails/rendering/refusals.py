"""The reasons why a file has no thumbnail, which all engines share.

An engine raises `Damaged` for a file that it cannot read. Another engine may be able to read it, so the client gets
this error only if all of them raise it. The other errors are definite.
"""

from assetstore.errors import AssetError, OutOfSpace, Unavailable, Unrenderable


class Damaged(Unrenderable):
    """An engine cannot read the file, for no more specific reason."""


class Blank(Damaged):
    """An engine rendered an empty page: it may be empty, or a font may be missing. The thumbnail was written."""


class Refused(Unrenderable):
    """The file may be valid, but there is a definite reason why the server does not render it."""


class Encrypted(Refused):
    """The file requires a password. Ghostscript also tries the empty one as the owner's, PDFium only as the user's."""


class EncryptedOtherwise(Encrypted):
    """The file requires more than a password. No other engine is tried, because it could render only garbage."""


_ALL = (Blank, Damaged, EncryptedOtherwise, Encrypted, Refused, Unrenderable, Unavailable, OutOfSpace, AssetError)

#: By name, for messages between processes. Subclasses come before their base classes.
KINDS: dict[str, type[AssetError]] = {kind.__name__: kind for kind in _ALL}


def damaged(detail: str) -> Damaged:
    """Returns the error for an image that cannot be read."""
    return Damaged("The file is damaged: the image cannot be read.", detail)


def too_large(detail: str) -> Refused:
    """Returns the error for more pixels or memory than the limits allow."""
    return Refused("The image is too large for the server to render.", detail)


def too_slow(detail: str) -> Refused:
    """Returns the error for an image that exceeded the time limit."""
    return Refused("The image takes too long to render.", detail)


def encrypted(detail: str) -> Encrypted:
    """Returns the error for a PDF that requires a password."""
    return Encrypted("The PDF is encrypted and requires a password.", detail)


def encrypted_otherwise(detail: str) -> EncryptedOtherwise:
    """Returns the error for a PDF whose encryption requires a certificate or a special program."""
    return EncryptedOtherwise("The PDF is encrypted and requires a certificate or a special program.", detail)


def unsupported_compression(name: str, detail: str) -> Refused:
    """Returns the error for a compression that no engine supports."""
    return Refused(f"The server does not support the compression of this image ({name}).", detail)


def unsupported_planes(detail: str) -> Refused:
    """Returns the error for a TIFF whose samples are arranged in a way that no engine supports."""
    return Refused("The server does not support this TIFF, because its channels are stored separately.", detail)
