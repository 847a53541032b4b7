"""The administrator's commands, one module each.

`installation` opens the settings and the store for them. They share `parameters`, `remote_options`, `output` and
`progress`.
"""

import importlib
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import printable
from assetstore.config.loading import SettingsError
from assetstore.errors import AssetError
from assetstore.programs import admin_name

_INTERRUPTED = 130


#: The commands in the order of the help, each with the module that defines it.
MODULES = {
    "trash": "trash",
    "journal": "journal",
    "as-of": "as_of",
    "verify": "verify",
    "migrate": "migrate",
    "names": "names",
    "reconcile": "reconcile",
    "export": "bags",
    "import": "bags",
    "usage": "usage",
    "visibility": "visibility",
    "thumbnails": "thumbnails",
    "pyramids": "pyramids",
    "collections": "collections",
    "doctor": "doctor",
    "put": "put",
    "get": "get",
    "delete": "delete",
    "metadata": "metadata",
    "token": "token",
}


class _LazyGroup(click.Group):
    """Imports the module of a command when it is used; importing all of them takes as long as most commands."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in MODULES:
            return None
        module = importlib.import_module(f"{__name__}.{MODULES[name]}")
        command = next(
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == name
        )
        _name_program(command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def _commands() -> None:
    """Manages the attachments of Specify. All commands can run while the server is running.

    Commands use the same store as the server: BASE_DIR, or the buckets of STORAGE_URL. They read the first of these
    files with settings: the one that ASSETSTORE_SETTINGS names, /etc/asset-server/settings.py, in the container
    /home/specify/settings.py, and settings.py beside server.py. Environment variables take precedence.
    `doctor --only settings` shows which file and which store it is. Run commands as the user of the server. Only
    `collections add` creates a store.

    \b
    Exit status: 0  success, no problems found
                 1  problems found, or not everything could be done;
                    the output gives the reason
                 2  invalid arguments or options
                 130  interrupted
    """


def _name_program(command: click.Command) -> None:
    """Makes the examples in the help, which say `manage.py`, name the program as it was called."""
    command.help = (command.help or "").replace("manage.py", admin_name())
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            _name_program(subcommand)


def main(arguments: Sequence[str], folder: Path) -> int:
    """Runs one command and returns its exit status.

    Parameters:
        arguments: the command line, without the program's name.
        folder: the program's folder, which contains settings.py.
    """
    try:
        status = _commands.main(list(arguments), admin_name(), standalone_mode=False, obj=Installation(folder))
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PermissionError as error:
        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:  # in a container
            user = f"with ID {os.geteuid()}"
        remedy = "Run this command as the user of the server: runuser -u USER -- …"
        click.echo(f"The user {user} may not use {error.filename}. {remedy}", err=True)
    except SettingsError as error:
        click.echo(f"The settings cannot be used. {error}", err=True)
    except AssetError as error:
        # The text may come from another server.
        click.echo(printable(f"{error.public} {error.detail}".strip()), err=True)
    else:
        return int(status or 0)
    return 1
