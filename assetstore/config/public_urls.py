"""The addresses that the server tells its clients: never the port that it happens to listen on."""

from urllib.parse import quote

from assetstore.config.loading import Settings

_HTTP_PORT, _HTTPS_PORT = 80, 443

#: The routes that clients look up, by the name under which web_asset_store.xml lists them.
ROUTES = {
    "read": "/fileget",
    "write": "/fileupload",
    "delete": "/filedelete",
    "getmetadata": "/getmetadata",
    "testkey": "/testkey",
}


def base_url(settings: Settings, scheme: str) -> str:
    """Returns the address below which clients find the routes, without a final slash.

    Parameters:
        settings: PUBLIC_URL if set, else SERVER_NAME and SERVER_PORT.
        scheme: by which this request came, `http` or `https`; on port 443 it is always https.
    """
    if settings.public_url is not None:
        return settings.public_url
    name, port = settings.server_name, settings.server_port
    host = f"[{name}]" if ":" in name else name
    if port == _HTTPS_PORT:
        return f"https://{host}"
    # Port 80 with https is a proxy that encrypts, in front of a server that was told nothing of it.
    return f"{scheme}://{host}" if port == _HTTP_PORT else f"{scheme}://{host}:{port}"


def route_urls(base: str) -> dict[str, str]:
    """Returns the absolute URLs of the routes by their names in web_asset_store.xml."""
    return {kind: base + path for kind, path in ROUTES.items()}


def static_url(base: str, *path: str) -> str:
    """Returns the absolute URL under /static/ of a file; *path* are folders and file name."""
    return f"{base}/static/" + "/".join(quote(part, safe="") for folder in path for part in folder.split("/") if part)
