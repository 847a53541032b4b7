"""The library bagit, which only export and import need, and which need not be installed."""

from typing import Any

from assetstore.errors import Unavailable


def bagit() -> Any:
    """Returns the module bagit. Raises Unavailable if it is not installed."""
    try:
        import bagit  # noqa: PLC0415 - only these commands need it
    except ImportError as error:
        raise Unavailable("BagIt bags require the library bagit, which is not installed.", str(error)) from error
    return bagit
