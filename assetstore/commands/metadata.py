"""`manage.py metadata`: the EXIF metadata of an original on an attachment server."""

import click

from assetstore import names
from assetstore.client.asset_client import RemoteServer
from assetstore.commands.output import Listing
from assetstore.commands.parameters import as_json_option
from assetstore.commands.remote_options import connecting, with_retries


@click.command()
@click.argument("store_name", metavar="NAME")
@connecting
@as_json_option
def metadata(store_name: str, remote: RemoteServer, as_json: bool) -> int:
    """Shows the metadata of an original: group, tag, text.

    \b
        manage.py metadata sp68478305178998511353.att.jpg | grep DateTimeOriginal
    """
    names.store_name(store_name)
    with Listing(("group", "tag", "text"), as_json, f"{store_name} has no metadata.") as listing:
        for group in with_retries(lambda: remote.metadata(store_name)):
            for tag, text in dict(group.get("Fields", {})).items():
                listing.show({"group": group.get("Name"), "tag": tag, "text": text})
    return 0
