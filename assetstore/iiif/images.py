"""The pictures of a store as IIIF has them: their pages, the parts of a page, and the state of its pyramid."""

from dataclasses import dataclass
from enum import Enum

from assetstore.storage.models import Version


@dataclass(frozen=True)
class Page:
    """A page of a picture: its width and height in pixels, upright."""

    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """The pages of one version of an original; at least one."""

    version: Version
    pages: tuple[Page, ...]


class Stage(Enum):
    """How far the pyramid of a page is."""

    NOT_NEEDED = "not needed"
    MISSING = "missing"
    WAITING = "waiting"
    BEING_MADE = "being made"
    READY = "ready"


@dataclass(frozen=True)
class PyramidState:
    """The state of the pyramid of a page, and the share of it that is done, from 0 to 1."""

    stage: Stage
    progress: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether every part of the page can be returned quickly."""
        return self.stage in (Stage.NOT_NEEDED, Stage.READY)


class Images:
    """The pictures of one store."""

    def picture(self, collection_dir: str, name: str, *, client: str) -> Picture:
        """Returns the pages of an original.

        Parameters:
            collection_dir, name: of the original.
            client: the address of the client; workers serve clients round robin.

        Raises NotFound, UnsupportedType (files of this type are no pictures), Unrenderable, Unavailable, StorageFault.
        """
        raise NotImplementedError

    def state(self, collection_dir: str, name: str, page: int, *, client: str) -> PyramidState:
        """Returns how far the pyramid of a page (from 1) is; does not start to make it. Raises as `picture`."""
        raise NotImplementedError
