"""`manage.py token`: signs a name, for curl and scripts."""

import json

import click

from assetstore.client.asset_client import RemoteServer
from assetstore.commands.parameters import as_json_option
from assetstore.commands.remote_options import connecting, with_retries


@click.command()
@click.argument("name")
@connecting
@as_json_option
def token(name: str, remote: RemoteServer, as_json: bool) -> int:
    """Prints a token for NAME.

    The token has the current time of the server's clock. With the default TIME_TOLERANCE, it is valid for two and a
    half minutes. NAME is a store name, or the value of `random` for /testkey.

    \b
        curl -F store=a.jpg -F token=$(manage.py token a.jpg) -F file=@a.jpg http://localhost:8080/fileupload
    """
    signature = with_retries(lambda: remote.token(name))
    if signature is None:
        raise click.UsageError("The key is missing. Set ASSET_SERVER_KEY, or use --key-file.")
    if as_json:
        text = {"name": name, "token": signature, "seconds_ahead": round(remote.skew())}
        click.echo(json.dumps(text, ensure_ascii=False))
    else:
        click.echo(signature)
    return 0
