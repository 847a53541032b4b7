"""The file with the settings: which one it is, and its names and values.

The first of these files is read, and no other: the one that the environment variable ASSETSTORE_SETTINGS names,
/etc/asset-server/settings.py, /home/specify/settings.py in the container (where the sample server's compose file mounts
it), and settings.py beside server.py. A program that pip installed has no file beside it.
"""

import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path

from assetstore.config.loading import SETTINGS_FILE_VARIABLE, SettingsError

#: Of this machine, whatever folder the program is in.
SYSTEM_FILE = Path("/etc/asset-server/settings.py")

#: The folder of the program in the container, and the file that the sample server's compose file mounts.
CONTAINER_FOLDER, CONTAINER_FILE = Path("/home/specify/server"), Path("/home/specify/settings.py")


def find(folder: Path, is_installed: bool, environ: Mapping[str, str]) -> Path | None:
    """Returns the path of the file to read, None if there is none.

    Parameters:
        folder: of the program.
        is_installed: whether pip installed the program.
        environ: the environment.

    Raises:
        SettingsError: the file that ASSETSTORE_SETTINGS names does not exist, or a folder is in the place of a file.
    """
    named = environ.get(SETTINGS_FILE_VARIABLE)
    if named:
        if not _exists(Path(named)):
            raise SettingsError(f"The variable {SETTINGS_FILE_VARIABLE} is {named!r}; there is no such file.")
        return Path(named).absolute()
    candidates = [SYSTEM_FILE]
    if folder == CONTAINER_FOLDER:
        candidates.append(CONTAINER_FILE)
    if not is_installed:
        candidates.append(folder / "settings.py")
    return next(filter(_exists, candidates), None)


def _exists(path: Path) -> bool:
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error
    if is_folder:
        # Docker creates a folder if the file to mount does not exist.
        raise SettingsError(f"{path} is a folder; expected a file. Perhaps a file was mounted that does not exist.")
    return exists


def read(path: Path | None) -> Mapping[str, object]:
    """Returns the names and values of a file with settings; none if there is no file.

    Raises:
        SettingsError: it cannot be read, or is not valid Python; the message has the line and what is wrong there.
    """
    if path is None:
        return {}
    try:
        return runpy.run_path(str(path))
    except OSError as error:
        if error.filename == str(path):
            raise _unreadable(path, error) from error
        raise SettingsError(f"{path} cannot be used{_place(path, error)}: {error!r}") from error
    except SyntaxError as error:
        # Python's own lines: the file, the line, and a caret below the mistake.
        shown = "".join(traceback.format_exception_only(error)).rstrip()
        raise SettingsError(f"{path} is not valid Python.\n{shown}") from error
    except (Exception, SystemExit) as error:  # the file is a program of the administrator and may raise any error
        raise SettingsError(f"{path} cannot be used{_place(path, error)}: {error!r}") from error


def _unreadable(path: Path, error: OSError) -> SettingsError:
    remedy = "Run this as root or as the user of the server." if isinstance(error, PermissionError) else ""
    return SettingsError(f"{path} cannot be read: {error.strerror}. {remedy}".rstrip())


def _place(path: Path, error: BaseException) -> str:
    """The line of the file at which an error occurred."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""
