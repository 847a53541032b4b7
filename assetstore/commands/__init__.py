"""The administrator's commands, one module each.

`workplace` opens settings and store for them; `parameters`, `remote_options`, `output` and `progress` are shared parts.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from assetstore.commands import (
    as_of,
    bags,
    collections,
    delete,
    doctor,
    get,
    journal,
    metadata,
    migrate,
    put,
    reconcile,
    thumbnails,
    token,
    trash,
    usage,
    verify,
)
from assetstore.commands.output import printable
from assetstore.commands.workplace import Workplace
from assetstore.config.loading import SettingsError
from assetstore.errors import AssetError

_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def _commands() -> None:
    """Looks after the attachments of Specify, also while the server runs.

    \b
    Exit status: 0  done, nothing is wrong
                 1  something is wrong, or not all could be done; the output says what
                 2  the command was called wrongly
                 130  interrupted
    """


_STORE = (
    trash.trash,
    journal.journal,
    as_of.as_of,
    verify.verify,
    migrate.migrate,
    reconcile.reconcile,
    bags.export_bag,
    bags.import_bag,
    usage.usage,
    thumbnails.thumbnails,
    collections.collections,
    doctor.doctor,
)
_CLIENT = (put.put, get.get, delete.delete, metadata.metadata, token.token)

for _command in (*_STORE, *_CLIENT):
    _commands.add_command(_command)


def main(arguments: Sequence[str], folder: Path) -> int:
    """Runs one command and returns its exit status.

    Parameters:
        arguments: of the command line, without the program's name.
        folder: of the program, with settings.py.
    """
    try:
        status = _commands.main(list(arguments), "manage.py", standalone_mode=False, obj=Workplace(folder))
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SettingsError as error:
        click.echo(f"The settings cannot be used. {error}", err=True)
    except AssetError as error:
        # Another server may have said it.
        click.echo(printable(f"{error.public} {error.detail}".strip()), err=True)
    else:
        return int(status or 0)
    return 1
