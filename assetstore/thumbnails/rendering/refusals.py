"""Why a file has no thumbnail: sentences that several engines use.

`Damaged` is what one engine says of a file that it cannot read. Another may read it, so only if all of them say
so it reaches the client. The other refusals are about something that is certain.
"""

from assetstore.errors import AssetError, OutOfSpace, Unavailable, Unrenderable


class Damaged(Unrenderable):
    """An engine cannot read the file and knows no better reason."""


class Blank(Damaged):
    """An engine drew an empty page: it may be empty, or the engine may lack a font. The thumbnail is made."""


class Refused(Unrenderable):
    """The file may be sound, and there is a certain reason why the server does not draw it."""


class Encrypted(Refused):
    """The file cannot be opened, and another engine would at best draw rubbish."""


_ALL = (Blank, Damaged, Encrypted, Refused, Unrenderable, Unavailable, OutOfSpace, AssetError)

#: By name, as the processes tell each other; a class stands before those that it is derived from.
KINDS: dict[str, type[AssetError]] = {kind.__name__: kind for kind in _ALL}


def damaged(detail: str) -> Damaged:
    """Returns the error for a picture that cannot be read."""
    return Damaged("The file is damaged: the picture cannot be read.", detail)


def too_large(detail: str) -> Refused:
    """Returns the error for more pixels or memory than the limits allow."""
    return Refused("The picture is larger than the server may draw.", detail)


def too_slow(detail: str) -> Refused:
    """Returns the error for a picture that took all of its time."""
    return Refused("The picture takes too long to make.", detail)


def encrypted(detail: str) -> Encrypted:
    """Returns the error for a PDF that opens with a password only."""
    return Encrypted("The PDF is encrypted: it opens with a password only.", detail)


def encrypted_otherwise(detail: str) -> Encrypted:
    """Returns the error for a PDF whose encryption needs a certificate or a program of its own."""
    return Encrypted("The PDF is encrypted: it opens with a certificate or a special program only.", detail)


def unsupported_compression(name: str, detail: str) -> Refused:
    """Returns the error for pixels that are compressed in a way that no engine knows."""
    return Refused(f"The server does not support the compression of this picture ({name}).", detail)
