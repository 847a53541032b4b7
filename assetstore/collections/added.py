"""The collections that were added while the server ran: a small JSON file in the form of COLLECTION_DIRS.

`manage.py collections` writes it, and every process of the server reads it (`assetstore.collections.mapping`).

Concurrency: the file is never written in place, so a reader gets one complete version. Writers hold `changing`.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from assetstore.config import values
from assetstore.errors import StorageFault
from assetstore.files import durable
from assetstore.files.faults import faults
from assetstore.files.locks import locked
from assetstore.names import PRIVATE_FOLDER

_NAME = "collections.json"

#: The maximum length of the file, far more than any museum needs.
_LONGEST = 1 << 20


def location(base: Path) -> Path:
    """Returns the path of the file.

    Parameters:
        base: the folder of all attachments.
    """
    return base / PRIVATE_FOLDER / _NAME


def read(path: Path) -> dict[str, str]:
    """Returns the folders by collection name; none if there is no file.

    Raises:
        StorageFault: the file cannot be read or is invalid; the detail has the reason.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST)
        mapping = values.folders(text) or {}
        if not all(mapping) or not all(mapping.values()):
            raise ValueError("no empty names and folders")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageFault("The added collections cannot be read.", f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StorageFault("The added collections cannot be read.", f"{path}: expected {error}") from error
    return mapping


def write(path: Path, mapping: Mapping[str, str]) -> None:
    """Replaces the file, atomically and durably. Raises OutOfSpace, StorageFault."""
    text = json.dumps(dict(mapping), ensure_ascii=False, indent=2, sort_keys=True)
    with faults():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write_text(path, f"{text}\n")


@contextlib.contextmanager
def changing(base: Path) -> Iterator[None]:
    """Holds the lock for changing the file. Raises OutOfSpace, StorageFault."""
    with faults():
        location(base).parent.mkdir(mode=0o700, exist_ok=True)
    with locked(base, _NAME):
        yield
