"""From the collection that Specify names to the folder that holds its files."""

from collections.abc import Mapping

from assetstore.errors import NotFound
from assetstore.parameters import Parameters


class Collections:
    """The mapping COLLECTION_DIRS.

    Parameters:
        folders: collection names to folders, or None: all share one folder, names are ignored.
    """

    def __init__(self, folders: Mapping[str, str] | None) -> None:
        self._folders = folders

    def places(self) -> list[str]:
        """Returns all folders relative to the store, at least one."""
        return [""] if self._folders is None else sorted(set(self._folders.values()))

    def named(self) -> dict[str, str]:
        """Returns each folder with a name of a collection that it is for; an empty name where all share one."""
        if self._folders is None:
            return {"": ""}
        return {folder: name for name, folder in sorted(self._folders.items(), reverse=True)}

    def place(self, parameters: Parameters) -> str:
        """Returns the folder of the collection that the parameter `coll` names.

        Raises:
            NotFound: no collection of that name.
            BadRequest: the name is given twice or not decodable.
        """
        if self._folders is None:
            return ""
        name = parameters.get("coll")
        folder = self._folders.get(name or "")
        if folder is None and name and "?" in name:
            folder = _find_squeezed(self._folders, name)
        if folder is None:
            raise NotFound("The asset server does not know this collection.", f"COLLECTION_DIRS has no {name!r}")
        return folder


def _find_squeezed(folders: Mapping[str, str], name: str) -> str | None:
    # Specify 6 sends collection names in ISO-8859-1; letters outside it arrive as question marks.
    found = {
        folder
        for collection, folder in folders.items()
        if collection.encode("latin-1", "replace").decode("latin-1") == name
    }
    return found.pop() if len(found) == 1 else None
