"""The URLs that the server tells clients. They never contain a port only because the server listens on it."""

from urllib.parse import quote

from assetstore.config.loading import Settings

_HTTP_PORT, _HTTPS_PORT = 80, 443

#: The routes that clients look up, by their names in web_asset_store.xml.
ROUTES = {
    "read": "/fileget",
    "write": "/fileupload",
    "delete": "/filedelete",
    "getmetadata": "/getmetadata",
    "testkey": "/testkey",
}


def base_url(settings: Settings, scheme: str) -> str:
    """Returns the URL to which clients add the routes, without a final slash.

    Parameters:
        settings: PUBLIC_URL if set, else SERVER_NAME and SERVER_PORT.
        scheme: of this request, `http` or `https`; with port 443, the URL is always https.
    """
    if settings.public_url is not None:
        return settings.public_url
    name, port = settings.server_name, settings.server_port
    host = f"[{name}]" if ":" in name else name
    if port == _HTTPS_PORT:
        return f"https://{host}"
    # Port 80 with https: a proxy encrypts, but the settings do not mention it.
    return f"{scheme}://{host}" if port == _HTTP_PORT else f"{scheme}://{host}:{port}"


def route_urls(base: str) -> dict[str, str]:
    """Returns the absolute URLs of the routes by their names in web_asset_store.xml."""
    return {kind: base + path for kind, path in ROUTES.items()}


def static_url(base: str, *path: str) -> str:
    """Returns the absolute URL of a file below /static/; *path* consists of its folders and its name."""
    return f"{base}/static/" + "/".join(quote(part, safe="") for folder in path for part in folder.split("/") if part)
