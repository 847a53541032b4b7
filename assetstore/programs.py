"""The two programs, `server.py` and `manage.py`: the commands that pip installs for them, and their names in messages.

In a checkout, and thus in an editable installation, both are beside this package. A wheel has them in the package.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

#: The User-Agent of the commands, and of the doctor, whose test files the journal marks.
COMMAND_AGENT = "manage.py"
DOCTOR_AGENT = "manage.py doctor"


def server() -> int:
    """The command `asset-server`; returns the exit status."""
    return _main("server")


def admin() -> int:
    """The command `asset-admin`; returns the exit status."""
    return _main("manage")


def admin_name() -> str:
    """Returns how to call the administrator's commands, such as `asset-admin` or `python manage.py`.

    In a process that runs one of them, that is how it was called; in the server, it depends on the installation.
    """
    called = sys.argv[0]
    if Path(called).name == "manage.py":
        return called if called.startswith("./") else f"python {called}"
    if Path(called).name == "asset-admin" or _is_in_package("manage"):
        return "asset-admin"
    return "python manage.py"


def _main(name: str) -> int:
    module = importlib.import_module(f"assetstore.{name}" if _is_in_package(name) else name)
    status: int = module.main()
    return status


def _is_in_package(name: str) -> bool:
    return importlib.util.find_spec(f"assetstore.{name}") is not None
